//! Which descriptors are simulated files: one bit for each number of the process.
//!
//! Owns the marks. Must not know what a file is. Invariant: a descriptor is marked exactly while one world's
//! disks have it.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// Descriptors from this number on are never simulated: it is the most that Linux gives by default.
const DESCRIPTORS_MAX: usize = 1 << 20;
static MARKS: [AtomicU8; DESCRIPTORS_MAX] = [const { AtomicU8::new(0) }; DESCRIPTORS_MAX];

/// Whether `fd` is a simulated file: one load, for any number.
pub(crate) fn is_file(fd: RawFd) -> bool {
    MARKS.get(fd as usize).is_some_and(|mark| mark.load(Ordering::Relaxed) != 0)
}

/// Sets the mark of `fd`; false where the number is too large for one.
pub(crate) fn set(fd: RawFd, marked: bool) -> bool {
    MARKS.get(fd as usize).map(|mark| mark.store(u8::from(marked), Ordering::Relaxed)).is_some()
}
