//! Mirror of `UdpSocket`: sending.
//!
//! Owns methods only. Must not know routes or links. Invariant: a datagram is sent whole or not at all.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use real::io::Interest;

use super::UdpSocket;
use crate::mirror::addr::{self, ToSocketAddrs};
use crate::sys::{Addr, op};

impl UdpSocket {
    /// Sends to the peer that the socket is connected to.
    ///
    /// # Cancel safety
    /// Nothing is sent where this is dropped before it is ready.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.async_call(Interest::WRITABLE, op::send(self.socket.id, buf)).await
    }

    /// As [`send`](UdpSocket::send); only the task that polled last is woken.
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, buf)
    }

    /// As [`send`](UdpSocket::send), where there is room.
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send(self.socket.id, buf))
    }

    /// Sends to the first of the addresses.
    ///
    /// # Errors
    /// Where there is no address.
    ///
    /// # Cancel safety
    /// Nothing is sent where this is dropped before it is ready.
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        match addr::to_socket_addrs(addr).await?.next() {
            Some(target) => {
                let target = Addr::Inet(target);
                let op = op::send_to(self.socket.id, buf, Some(&target));
                self.socket.async_call(Interest::WRITABLE, op).await
            }
            None => Err(io::Error::new(io::ErrorKind::InvalidInput, "no addresses to send data to")),
        }
    }

    /// As [`send_to`](UdpSocket::send_to); only the task that polled last is woken.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_to(cx, buf, &Addr::Inet(target))
    }

    /// As [`send_to`](UdpSocket::send_to), where there is room.
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        let target = Addr::Inet(target);
        self.socket.try_call(Interest::WRITABLE, op::send_to(self.socket.id, buf, Some(&target)))
    }
}
