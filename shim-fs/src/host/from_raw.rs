//! `FromRawFd` of the mirror's file, which is unsafe to call.
//!
//! Owns the one impl. Must not do more. Invariant: the file owns the descriptor from then on.

use std::fs::File as StdFile;
use std::os::fd::{FromRawFd, RawFd};

use crate::mirror::File;

impl FromRawFd for File {
    unsafe fn from_raw_fd(fd: RawFd) -> File {
        // SAFETY: the caller vouches that nobody else owns the descriptor.
        File::from_std(unsafe { StdFile::from_raw_fd(fd) })
    }
}
