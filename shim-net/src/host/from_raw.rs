//! `FromRawFd` of the mirror types that have it.
//!
//! Owns two `unsafe` functions. Must not know what adopting means. Invariant: the number becomes an
//! `OwnedFd` at once, so nothing is leaked where it is refused.
#![expect(unsafe_code, reason = "the trait's function is unsafe")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::mirror::{TcpSocket, UnixSocket};

impl FromRawFd for TcpSocket {
    unsafe fn from_raw_fd(fd: RawFd) -> TcpSocket {
        // SAFETY: the caller owns the descriptor, as the trait demands.
        TcpSocket::from_descriptor(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

impl FromRawFd for UnixSocket {
    unsafe fn from_raw_fd(fd: RawFd) -> UnixSocket {
        // SAFETY: the caller owns the descriptor, as the trait demands.
        UnixSocket::from_descriptor(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
