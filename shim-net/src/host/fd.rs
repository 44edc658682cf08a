//! Descriptors of simulated sockets: made on demand, given away, taken back.
//!
//! Owns the placeholders. Must not know protocols. Invariant: what cannot be done yet is an error that says
//! so, never a number that means nothing.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use crate::sys::SocketId;

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "simulation: file descriptors of simulated sockets are not supported yet",
    ))
}

/// The descriptor of a socket, made where there is none. It stays the world's.
///
/// # Errors
/// Always, for now.
pub fn descriptor(_id: SocketId) -> io::Result<RawFd> {
    unsupported()
}

/// The descriptor of a socket, for as long as its `owner` is borrowed.
///
/// # Panics
/// Where [`descriptor`] fails.
#[track_caller]
pub fn as_fd<T: ?Sized>(_owner: &T, id: SocketId) -> BorrowedFd<'_> {
    match descriptor(id) {
        Ok(_) => unreachable!("invariant: nobody makes descriptors yet"),
        Err(error) => panic!("{error}"),
    }
}

/// Gives a socket away: who closes the descriptor closes the socket.
///
/// # Errors
/// Always, for now.
pub fn into_owned(_id: SocketId) -> io::Result<OwnedFd> {
    unsupported()
}

/// Takes a socket that was opened through std or another library inside the simulation.
///
/// # Errors
/// `InvalidInput` where the descriptor is a real one of the process.
pub fn adopt(_fd: OwnedFd) -> io::Result<SocketId> {
    unsupported()
}

/// Whether `O_NONBLOCK` is set.
pub fn is_nonblocking(_id: SocketId) -> bool {
    true
}
