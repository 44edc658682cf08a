//! Mirror of `tokio::net::unix::SocketAddr`: the address of a Unix socket.
//!
//! Owns the type and its two translations. Must not know who has an address. Invariant: what std refuses as
//! an address is refused here, with std's error.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net;
use std::path::Path;

use crate::sys::{Addr, Received, UnixAddr};

/// The address of a Unix socket.
#[derive(Clone)]
pub struct SocketAddr(net::SocketAddr);

impl SocketAddr {
    /// Whether there is none.
    pub fn is_unnamed(&self) -> bool {
        self.0.is_unnamed()
    }

    /// The path, where it is one.
    pub fn as_pathname(&self) -> Option<&Path> {
        self.0.as_pathname()
    }

    /// The name in the abstract name space, where it is one.
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        self.0.as_abstract_name()
    }

    /// As the simulation puts it.
    pub(crate) fn to_addr(&self) -> Addr {
        Addr::Unix(match (self.as_pathname(), self.as_abstract_name()) {
            (Some(path), _) => UnixAddr::Path(path.as_os_str().as_bytes().to_vec()),
            (None, Some(name)) => UnixAddr::Abstract(name.to_vec()),
            (None, None) => UnixAddr::Unnamed,
        })
    }
}

/// What `path` means: a path, or after a leading zero byte an abstract name.
pub(crate) fn address_of(path: &Path) -> io::Result<Addr> {
    let address = match path.as_os_str().as_bytes() {
        [0, name @ ..] => net::SocketAddr::from_abstract_name(name)?,
        _ => net::SocketAddr::from_pathname(path)?,
    };
    Ok(SocketAddr(address).to_addr())
}

/// As [`address_of`], but paths only: so it is with tokio's datagram sockets.
pub(crate) fn path_address(path: &Path) -> io::Result<Addr> {
    net::SocketAddr::from_pathname(path).map(|address| SocketAddr(address).to_addr())
}

/// As tokio puts it. A socket of another family has no name here.
pub(crate) fn unix(address: Addr) -> SocketAddr {
    match address {
        Addr::Unix(address) => unix_name(address),
        Addr::Inet(_) | Addr::Netlink { .. } => unix_name(UnixAddr::Unnamed),
    }
}

/// As [`unix`].
pub(crate) fn unix_name(address: UnixAddr) -> SocketAddr {
    let address = match &address {
        // The empty path is std's way to the unnamed address.
        UnixAddr::Unnamed => net::SocketAddr::from_pathname(""),
        UnixAddr::Path(path) => net::SocketAddr::from_pathname(OsStr::from_bytes(path)),
        UnixAddr::Abstract(name) => net::SocketAddr::from_abstract_name(name),
    };
    SocketAddr(address.expect("invariant: a bound address is a valid one"))
}

/// Who sent a datagram.
pub(crate) fn sender(received: Received) -> SocketAddr {
    unix(received.from.unwrap_or(Addr::Unix(UnixAddr::Unnamed)))
}

impl fmt::Debug for SocketAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<net::SocketAddr> for SocketAddr {
    fn from(address: net::SocketAddr) -> SocketAddr {
        SocketAddr(address)
    }
}

impl From<SocketAddr> for net::SocketAddr {
    fn from(address: SocketAddr) -> net::SocketAddr {
        address.0
    }
}
