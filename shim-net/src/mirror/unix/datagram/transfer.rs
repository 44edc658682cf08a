//! Mirror of `UnixDatagram`: sending and receiving.
//!
//! Owns methods only. Must not know queues. Invariant: a datagram is sent and received whole, or cut by the
//! receiver's buffer.

use std::io;
use std::path::Path;
use std::task::{Context, Poll};

use bytes::BufMut;
use real::io::{Interest, ReadBuf};

use super::UnixDatagram;
use crate::mirror::socket::receive_into;
use crate::mirror::unix::{SocketAddr, path_address, sender};
use crate::sys::{self, Received, op};

/// Sending.
impl UnixDatagram {
    /// Sends to the peer.
    ///
    /// # Cancel safety
    /// Nothing is sent where this is dropped before it is ready.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.async_call(Interest::WRITABLE, op::send(self.socket.id, buf)).await
    }

    /// As [`send`](UnixDatagram::send); only the task that polled last is woken.
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, buf)
    }

    /// As [`send`](UnixDatagram::send), where there is room.
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send(self.socket.id, buf))
    }

    /// Sends to `target`.
    ///
    /// # Cancel safety
    /// Nothing is sent where this is dropped before it is ready.
    pub async fn send_to<P>(&self, buf: &[u8], target: P) -> io::Result<usize>
    where
        P: AsRef<Path>,
    {
        let target = path_address(target.as_ref())?;
        self.socket.async_call(Interest::WRITABLE, op::send_to(self.socket.id, buf, Some(&target))).await
    }

    /// As [`send_to`](UnixDatagram::send_to); only the task that polled last is woken.
    pub fn poll_send_to<P>(&self, cx: &mut Context<'_>, buf: &[u8], target: P) -> Poll<io::Result<usize>>
    where
        P: AsRef<Path>,
    {
        self.socket.poll_send_to(cx, buf, &path_address(target.as_ref())?)
    }

    /// As [`send_to`](UnixDatagram::send_to), where there is room.
    pub fn try_send_to<P>(&self, buf: &[u8], target: P) -> io::Result<usize>
    where
        P: AsRef<Path>,
    {
        let target = path_address(target.as_ref())?;
        self.socket.try_call(Interest::WRITABLE, op::send_to(self.socket.id, buf, Some(&target)))
    }
}

/// Receiving.
impl UnixDatagram {
    /// Receives one datagram.
    ///
    /// # Cancel safety
    /// No datagram is lost where this is dropped; so it is with everything that receives.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.async_call(Interest::READABLE, op::recv(self.socket.id, buf, false)).await
    }

    /// As [`recv`](UnixDatagram::recv); only the task that polled last is woken.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv(cx, buf)
    }

    /// As [`recv`](UnixDatagram::recv), where there is one.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv(self.socket.id, buf, false))
    }

    /// As [`recv`](UnixDatagram::recv), at the end of `buf`.
    pub async fn recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.recv_buf_from(buf).await.map(|(len, _)| len)
    }

    /// As [`try_recv`](UnixDatagram::try_recv), at the end of `buf`.
    pub fn try_recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.try_recv_buf_from(buf).map(|(len, _)| len)
    }

    /// Receives one datagram, and tells who sent it.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket
            .async_call(Interest::READABLE, op::recv_from(self.socket.id, buf, false))
            .await
            .map(with_sender)
    }

    /// As [`recv_from`](UnixDatagram::recv_from); only the task that polled last is woken.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.socket.poll_recv_from(cx, buf, false).map_ok(sender)
    }

    /// As [`recv_from`](UnixDatagram::recv_from), where there is one.
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_call(Interest::READABLE, op::recv_from(self.socket.id, buf, false)).map(with_sender)
    }

    /// As [`recv_from`](UnixDatagram::recv_from), at the end of `buf`.
    pub async fn recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.socket.async_io(Interest::READABLE, || receive_into(buf, |space| self.receive(space))).await
    }

    /// As [`try_recv_from`](UnixDatagram::try_recv_from), at the end of `buf`.
    pub fn try_recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, || receive_into(buf, |space| self.receive(space)))
    }

    fn receive(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        sys::recv_from(self.socket.id, buf, false).map(with_sender)
    }
}

/// How much came, and who sent it.
fn with_sender(received: Received) -> (usize, SocketAddr) {
    (received.len, sender(received))
}
