//! What all symbols do: find out whose a call is, let it wait or fail, and answer it.
//!
//! Owns the order of that. Must not know any call. Invariant: a fault is decided once for each call, before
//! anything is changed; the world is never borrowed while a thread waits.

use std::ffi::{CStr, CString};

use libc::{c_char, c_int};
use shim_runtime::device::{self, DeviceContext};
use shim_runtime::host::raw;
use shim_runtime::threads;

use super::marks;
use super::to_libc;
use crate::disks::Disks;
use crate::error::{Errno, Result, refuse};
use crate::faults::{DiskOp, Switches, Verdict};
use crate::tree::walk::{Found, Last};
use crate::tree::{Ino, Volume};

/// The world's disks.
pub(super) fn world<R>(f: impl FnOnce(&mut Disks, &mut DeviceContext<'_>) -> R) -> R {
    device::with::<Disks, _>(f)
}

/// The time as files have it.
pub(super) fn now(cx: &DeviceContext<'_>) -> i64 {
    cx.wall_ns() as i64
}

/// Lets a call of `node` wait, and tells whether it fails on purpose.
pub(super) fn gate(node: u32, op: DiskOp) -> Result<()> {
    if !world(|disks, cx| disks.concerns(node, op, cx)) {
        return Ok(());
    }
    if let Verdict::Wait(delay) = world(|disks, cx| disks.judge(node, op, cx, Switches::delay))
        && !threads::wait_or_fail("a disk", delay)
    {
        return refuse(libc::EIO);
    }
    match world(|disks, cx| disks.judge(node, op, cx, Switches::failure)) {
        Verdict::Fail(errno) => refuse(errno),
        _ => Ok(()),
    }
}

/// The node that the calling thread runs on.
pub(super) fn current_node() -> u32 {
    shim_runtime::current_node().0
}

/// A path as a caller gave it: a folder's descriptor, and a C string.
#[derive(Clone, Copy)]
pub(super) struct At(pub(super) c_int, pub(super) *const c_char);

impl At {
    /// A path from the current folder.
    pub(super) fn here(path: *const c_char) -> At {
        At(libc::AT_FDCWD, path)
    }

    /// Whether files are simulated for the caller, and the path is not inside of a folder that is the kernel's.
    ///
    /// # Safety
    /// The path must be null or a C string.
    pub(super) unsafe fn is_simulated(self) -> bool {
        if self.1.is_null() || !device::is_reachable() {
            return false;
        }
        // SAFETY: the caller vouches for the string, which has at least its end.
        let first = unsafe { *self.1 } as u8;
        first == b'/' || self.0 == libc::AT_FDCWD || marks::is_file(self.0)
    }

    /// # Safety
    /// The path must be a C string.
    pub(super) unsafe fn text<'a>(self) -> &'a [u8] {
        // SAFETY: the caller vouches for it; the result is used within the call.
        unsafe { CStr::from_ptr(self.1) }.to_bytes()
    }
}

/// The node of a path, and where a relative one begins.
pub(super) fn start(
    disks: &mut Disks,
    cx: &DeviceContext<'_>,
    folder: c_int,
    text: &[u8],
) -> Result<(u32, Ino)> {
    if folder != libc::AT_FDCWD && !text.starts_with(b"/") {
        let (node, ino, _) = disks.open_file(folder)?;
        return Ok((node, ino));
    }
    let node = cx.node().0;
    let volume = disks.volume(node, cx)?;
    Ok((node, volume.cwd))
}

/// What `path` means on the current node.
///
/// # Safety
/// The path must be a C string.
pub(super) unsafe fn resolve(at: At, last: impl Into<Last>) -> Result<(u32, Found)> {
    // SAFETY: the caller vouches for it.
    let text = unsafe { at.text() };
    world(|disks, cx| {
        let (node, start) = start(disks, cx, at.0, text)?;
        Ok((node, disks.volume(node, cx)?.walk(start, text, last)?))
    })
}

/// Answers a call with one path: by the kernel's, or by the world.
///
/// # Safety
/// The path must be null or a C string; `kernel` is called with the caller's own arguments, or with a path of
/// the machine.
pub(super) unsafe fn with_path(
    op: DiskOp,
    at: At,
    last: impl Into<Last>,
    kernel: impl Fn(At) -> isize,
    answer: impl FnOnce(&mut Volume, Found, i64) -> Result<isize>,
) -> isize {
    let last = last.into();
    // SAFETY: as this function.
    unsafe {
        if !at.is_simulated() {
            return raw::to_libc(kernel(at));
        }
        match resolve(at, last) {
            Ok((_, Found::Machine(path))) => return raw::to_libc(on_machine(&path, kernel)),
            Ok((node, _)) => {
                if let Err(errno) = gate(node, op) {
                    return super::fail(errno);
                }
            }
            Err(errno) => return super::fail(errno),
        }
        let text = at.text();
        to_libc(world(|disks, cx| {
            let (node, start) = start(disks, cx, at.0, text)?;
            let now = now(cx);
            let volume = disks.volume(node, cx)?;
            let found = volume.walk(start, text, last)?;
            answer(volume, found, now)
        }))
    }
}

/// Makes the kernel's call with a path of the machine.
pub(super) fn on_machine(path: &[u8], kernel: impl Fn(At) -> isize) -> isize {
    match CString::new(path) {
        Ok(path) => kernel(At::here(path.as_ptr())),
        Err(_) => -(libc::EINVAL as isize),
    }
}

/// Answers a call with a descriptor: by the kernel's, or by the world, which is told node, inode and flags.
pub(super) fn with_file(
    op: DiskOp,
    fd: c_int,
    kernel: impl FnOnce() -> isize,
    answer: impl FnOnce(&mut Disks, &mut DeviceContext<'_>, (u32, Ino, c_int)) -> Result<isize>,
) -> isize {
    if !marks::is_file(fd) || !device::is_reachable() {
        return raw::to_libc(kernel());
    }
    let result = world(|disks, _| disks.open_file(fd)).and_then(|(node, ..)| gate(node, op));
    to_libc(result.and_then(|()| {
        world(|disks, cx| {
            let file = disks.open_file(fd)?;
            answer(disks, cx, file)
        })
    }))
}

/// The kernel's own result, for answers that it gives in part.
pub(super) fn from_kernel(result: isize) -> Result<isize> {
    if result < 0 { Err(Errno(-result as i32)) } else { Ok(result) }
}
