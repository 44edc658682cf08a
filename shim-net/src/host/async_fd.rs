//! The ways to make an [`AsyncFd`], which tokio has as `unsafe`, and its descriptor as a borrowed one.
//!
//! Owns methods only. Must not know the reactor. Invariant: who makes one vouches that the descriptor stays open.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use real::io::Interest;

use crate::mirror::unix_io::{AsyncFd, AsyncFdRegisterError};

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

impl<T: AsRawFd> AsyncFd<T> {
    /// Watches `inner` for reading and writing.
    ///
    /// # Errors
    /// Where its descriptor is closed (`EBADF`), is none that can be waited for (`EPERM`), or is not the
    /// simulation's; where the runtime was shut down.
    ///
    /// # Panics
    /// Outside a runtime, or in one without I/O.
    ///
    /// # Safety
    /// The descriptor stays open, and the same, for as long as the result holds `inner`.
    #[track_caller]
    pub unsafe fn register(inner: T) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::watch(inner, BOTH)
    }

    /// Watches `inner` for `interest`.
    ///
    /// # Errors
    /// As [`register`](AsyncFd::register).
    ///
    /// # Panics
    /// As [`register`](AsyncFd::register).
    ///
    /// # Safety
    /// As [`register`](AsyncFd::register).
    #[track_caller]
    pub unsafe fn register_with_interest(
        inner: T,
        interest: Interest,
    ) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::watch(inner, interest)
    }

    /// As [`register`](AsyncFd::register), without its promise.
    ///
    /// # Errors
    /// As [`register`](AsyncFd::register).
    ///
    /// # Panics
    /// As [`register`](AsyncFd::register).
    #[track_caller]
    #[deprecated(note = "the descriptor may be closed too early; use `AsyncFd::register` instead")]
    pub fn new(inner: T) -> io::Result<AsyncFd<T>> {
        Ok(AsyncFd::watch(inner, BOTH)?)
    }

    /// As [`register_with_interest`](AsyncFd::register_with_interest), without its promise.
    ///
    /// # Errors
    /// As [`register`](AsyncFd::register).
    ///
    /// # Panics
    /// As [`register`](AsyncFd::register).
    #[track_caller]
    #[deprecated(
        note = "the descriptor may be closed too early; use `AsyncFd::register_with_interest` instead"
    )]
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
        Ok(AsyncFd::watch(inner, interest)?)
    }

    /// As [`register`](AsyncFd::register), without its promise.
    ///
    /// # Errors
    /// As [`register`](AsyncFd::register).
    ///
    /// # Panics
    /// As [`register`](AsyncFd::register).
    #[track_caller]
    #[deprecated(note = "the descriptor may be closed too early; use `AsyncFd::register` instead")]
    pub fn try_new(inner: T) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::watch(inner, BOTH)
    }

    /// As [`register_with_interest`](AsyncFd::register_with_interest), without its promise.
    ///
    /// # Errors
    /// As [`register`](AsyncFd::register).
    ///
    /// # Panics
    /// As [`register`](AsyncFd::register).
    #[track_caller]
    #[deprecated(
        note = "the descriptor may be closed too early; use `AsyncFd::register_with_interest` instead"
    )]
    pub fn try_with_interest(inner: T, interest: Interest) -> Result<AsyncFd<T>, AsyncFdRegisterError<T>> {
        AsyncFd::watch(inner, interest)
    }
}

impl<T: AsRawFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: who made this vouched that the descriptor stays open.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}
