//! The mirror of `tokio::net`, file by file as tokio has it.
//!
//! Owns the types that an application holds. Must not know protocols, links or the world: every method is
//! one line to `sys`, by way of the shared holder in `socket`. Invariant: a value here holds a socket's
//! number and nothing else, so it is `Send` and `Sync` as tokio's is.

#[macro_use]
mod io;

mod addr;
mod async_fd;
mod lookup_host;
mod options;
mod readiness;
mod registered;
mod socket;
pub mod tcp;
mod udp;
pub mod unix;
pub mod unix_io;

pub use addr::ToSocketAddrs;
pub use lookup_host::lookup_host;
pub use tcp::listener::TcpListener;
pub use tcp::socket::TcpSocket;
pub use tcp::stream::TcpStream;
pub use udp::UdpSocket;
pub use unix::datagram::UnixDatagram;
pub use unix::listener::UnixListener;
pub use unix::socket::UnixSocket;
pub use unix::stream::UnixStream;
