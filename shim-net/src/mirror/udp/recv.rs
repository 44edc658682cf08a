//! Mirror of `UdpSocket`: receiving and peeking.
//!
//! Owns methods only. Must not know queues. Invariant: what a buffer has no room for is lost, as with
//! Linux; a peeked datagram stays.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use real::io::{Interest, ReadBuf};

use super::UdpSocket;
use crate::mirror::socket::receive_into;
use crate::mirror::tcp::inet;
use crate::sys::{self, Received, op};

/// As tokio waits to receive: an error is an event, too.
const INCOMING: Interest = Interest::READABLE.add(Interest::ERROR);

impl UdpSocket {
    /// Receives one datagram.
    ///
    /// # Cancel safety
    /// No datagram is lost where this is dropped; so it is with everything that receives.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.async_call(INCOMING, op::recv(self.socket.id, buf, false)).await
    }

    /// As [`recv`](UdpSocket::recv); only the task that polled last is woken.
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv(cx, buf)
    }

    /// As [`recv`](UdpSocket::recv), where there is one.
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv(self.socket.id, buf, false))
    }

    /// As [`try_recv`](UdpSocket::try_recv), at the end of `buf`.
    pub fn try_recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.try_recv_buf_from(buf).map(|(len, _)| len)
    }

    /// As [`recv`](UdpSocket::recv), at the end of `buf`.
    pub async fn recv_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        self.recv_buf_from(buf).await.map(|(len, _)| len)
    }

    /// As [`try_recv_from`](UdpSocket::try_recv_from), at the end of `buf`.
    pub fn try_recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_io(Interest::READABLE, || receive_into(buf, |space| self.receive(space)))
    }

    /// As [`recv_from`](UdpSocket::recv_from), at the end of `buf`.
    pub async fn recv_buf_from<B: BufMut>(&self, buf: &mut B) -> io::Result<(usize, SocketAddr)> {
        self.socket.async_io(INCOMING, || receive_into(buf, |space| self.receive(space))).await
    }

    /// Receives one datagram, and tells who sent it.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket
            .async_call(INCOMING, op::recv_from(self.socket.id, buf, false))
            .await
            .and_then(with_sender)
    }

    /// As [`recv_from`](UdpSocket::recv_from); only the task that polled last is woken.
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_receive(cx, buf, false)
    }

    /// As [`recv_from`](UdpSocket::recv_from), where there is one.
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket
            .try_call(Interest::READABLE, op::recv_from(self.socket.id, buf, false))
            .and_then(with_sender)
    }

    /// As [`recv`](UdpSocket::recv), and leaves the datagram.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.async_call(INCOMING, op::recv(self.socket.id, buf, true)).await
    }

    /// As [`peek`](UdpSocket::peek); only the task that polled last is woken.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_peek(cx, buf).map_ok(drop)
    }

    /// As [`peek`](UdpSocket::peek), where there is one.
    pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv(self.socket.id, buf, true))
    }

    /// As [`recv_from`](UdpSocket::recv_from), and leaves the datagram.
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.async_call(INCOMING, op::recv_from(self.socket.id, buf, true)).await.and_then(with_sender)
    }

    /// As [`peek_from`](UdpSocket::peek_from); only the task that polled last is woken.
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_receive(cx, buf, true)
    }

    /// As [`peek_from`](UdpSocket::peek_from), where there is one.
    pub fn try_peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket
            .try_call(Interest::READABLE, op::recv_from(self.socket.id, buf, true))
            .and_then(with_sender)
    }

    /// Waits for a datagram, leaves it, and tells who sent it.
    pub async fn peek_sender(&self) -> io::Result<SocketAddr> {
        self.peek_from(&mut []).await.map(|(_, from)| from)
    }

    /// As [`peek_sender`](UdpSocket::peek_sender); only the task that polled last is woken.
    pub fn poll_peek_sender(&self, cx: &mut Context<'_>) -> Poll<io::Result<SocketAddr>> {
        self.poll_receive(cx, &mut ReadBuf::new(&mut []), true)
    }

    /// As [`peek_sender`](UdpSocket::peek_sender), where there is one.
    pub fn try_peek_sender(&self) -> io::Result<SocketAddr> {
        self.try_peek_from(&mut []).map(|(_, from)| from)
    }

    fn receive(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        sys::recv_from(self.socket.id, buf, false).and_then(with_sender)
    }

    fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        peek: bool,
    ) -> Poll<io::Result<SocketAddr>> {
        Poll::Ready(sender(ready!(self.socket.poll_recv_from(cx, buf, peek))?))
    }
}

/// How much came, and who sent it.
fn with_sender(received: Received) -> io::Result<(usize, SocketAddr)> {
    let len = received.len;
    Ok((len, sender(received)?))
}

/// Who sent it; nobody where reading was shut down, which is an error with std, too.
fn sender(received: Received) -> io::Result<SocketAddr> {
    let nobody = || io::Error::new(io::ErrorKind::InvalidInput, "a datagram without a sender");
    received.from.ok_or_else(nobody).and_then(inet)
}
