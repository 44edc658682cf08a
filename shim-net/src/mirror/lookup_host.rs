//! Mirror of `lookup_host`.
//!
//! Owns one function. Must not know the table of names. Invariant: the answer is the one that the current
//! node sees.

use std::io;
use std::net::SocketAddr;

use super::addr::{self, ToSocketAddrs};

/// The addresses of `host`, from the simulation's DNS.
///
/// # Errors
/// Where nobody has the name, or the text is not a host and a port.
pub async fn lookup_host<T>(host: T) -> io::Result<impl Iterator<Item = SocketAddr>>
where
    T: ToSocketAddrs,
{
    addr::to_socket_addrs(host).await
}
