//! Mirror of `tokio::net::tcp`.
//!
//! Owns nothing itself. Must not know Unix sockets. Invariant: the public names are tokio's.

pub(crate) mod listener;
pub(crate) mod socket;
mod split;
mod split_owned;
pub(crate) mod stream;

pub use split::{ReadHalf, WriteHalf};
pub use split_owned::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};

use std::io;
use std::net::SocketAddr;

use crate::sys::Addr;

/// The address of a socket of this family.
pub(super) fn inet(address: Addr) -> io::Result<SocketAddr> {
    match address {
        Addr::Inet(address) => Ok(address),
        Addr::Unix(_) | Addr::Netlink { .. } => {
            let text = "invalid address family (not IPv4 or IPv6)";
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}
