//! The parts of the mirror whose interface is `unsafe`, or that lend a descriptor.
//!
//! Must not do more than pass on. Invariant: what is asked of the caller is what std asks.
#![allow(unsafe_code, reason = "tokio's own interface is")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;

use super::{ChildStderr, ChildStdin, ChildStdout, Command};

impl Command {
    /// Runs `f` in a real child before its program; a simulated one has no such moment, and does not run it.
    ///
    /// # Safety
    /// As std's: `f` runs between `fork` and `exec`.
    pub unsafe fn pre_exec<F>(&mut self, f: F) -> &mut Command
    where
        F: FnMut() -> io::Result<()> + Send + Sync + 'static,
    {
        // SAFETY: the caller vouches for `f`.
        unsafe { self.as_std_mut().pre_exec(f) };
        self
    }
}

/// A descriptor for what `number` is, which somebody else keeps open during the call.
pub(super) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the command that owns the descriptor is borrowed by whoever calls.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}

macro_rules! lends {
    ($name:ident) => {
        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.raw_fd()
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                // SAFETY: the descriptor belongs to `self` and is open while it lives.
                unsafe { BorrowedFd::borrow_raw(self.raw_fd()) }
            }
        }
    };
}

lends!(ChildStdin);
lends!(ChildStdout);
lends!(ChildStderr);
