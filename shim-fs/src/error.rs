//! The errors of system calls.
//!
//! Owns [`Errno`]. Must not know what failed. Invariant: the numbers are Linux'.

use std::io;

/// A number of `errno(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// What a system call gives.
pub type Result<T> = std::result::Result<T, Errno>;

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        Errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// `Err(errno)`.
pub(crate) fn refuse<T>(errno: i32) -> Result<T> {
    Err(Errno(errno))
}
