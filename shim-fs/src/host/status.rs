//! `stat` in all its forms, and `access`.
//!
//! Owns the symbols. Must not know the structures' fields: `fill` does. Invariant: all forms tell the same.

use libc::{c_char, c_int, c_uint};
use shim_runtime::host::raw;

use super::call::{At, gate, on_machine, resolve, start, with_path, world};
use super::fill::{self, DeviceNumber};
use super::{fail, int, kernel, marks};
use crate::error::{Result, refuse};
use crate::faults::DiskOp;
use crate::tree::Volume;
use crate::tree::attributes::Status;
use crate::tree::walk::Found;

enum Known {
    Here(Status, DeviceNumber),
    Machine(Vec<u8>),
}

/// What is known about a path, or with `AT_EMPTY_PATH` about a descriptor; `None` where the kernel must tell.
///
/// # Safety
/// The path must be null or a C string.
unsafe fn status(at: At, flags: c_int) -> Option<Result<Known>> {
    // SAFETY: as this function.
    let is_empty = at.1.is_null() || unsafe { *at.1 } == 0;
    if is_empty && flags & libc::AT_EMPTY_PATH != 0 && at.0 != libc::AT_FDCWD {
        return status_of(at.0);
    }
    // SAFETY: as this function.
    unsafe {
        if !at.is_simulated() {
            return None;
        }
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        Some(resolve(at, follow).and_then(|(node, found)| {
            if let Found::Machine(path) = found {
                return Ok(Known::Machine(path));
            }
            gate(node, DiskOp::Stat)?;
            let text = at.text();
            world(|disks, cx| {
                let (node, start) = start(disks, cx, at.0, text)?;
                let volume = disks.volume(node, cx)?;
                let ino = volume.walk(start, text, follow)?.existing()?;
                let status = volume.status(ino);
                Ok(Known::Here(status, DeviceNumber::of(node, disks.disk(node, cx).starts)))
            })
        }))
    }
}

fn status_of(fd: c_int) -> Option<Result<Known>> {
    if !marks::is_file(fd) || !shim_runtime::device::is_reachable() {
        return None;
    }
    Some(world(|disks, _| disks.open_file(fd)).and_then(|(node, ..)| gate(node, DiskOp::Stat)).and_then(
        |()| {
            world(|disks, cx| {
                let (node, ino, _) = disks.open_file(fd)?;
                let status = disks.volume(node, cx)?.status(ino);
                Ok(Known::Here(status, DeviceNumber::of(node, disks.disk(node, cx).starts)))
            })
        },
    ))
}

/// `fstatat(2)`.
///
/// # Safety
/// `path` must be a C string, and `out` valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstatat64(
    folder: c_int,
    path: *const c_char,
    out: *mut libc::stat64,
    flags: c_int,
) -> c_int {
    let at = At(folder, path);
    // SAFETY: as the system call.
    let real = |at: At, flags| unsafe {
        kernel(libc::SYS_newfstatat, [int(at.0), at.1 as usize, out as usize, int(flags)])
    };
    // SAFETY: the caller vouches for both.
    match unsafe { status(at, flags) } {
        None => raw::to_libc(real(at, flags)) as c_int,
        Some(Ok(Known::Machine(path))) => raw::to_libc(on_machine(&path, |at| real(at, flags))) as c_int,
        Some(Ok(Known::Here(status, device))) => {
            // SAFETY: the caller vouches for `out`.
            unsafe { *out = fill::stat(&status, device) };
            0
        }
        Some(Err(errno)) => fail(errno) as c_int,
    }
}

macro_rules! stat_forms {
    ($($name:ident, $text:literal, $folder:expr, $flags:expr;)*) => {
        $(
            #[doc = $text]
            ///
            /// # Safety
            /// As [`fstatat64`].
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name(path: *const c_char, out: *mut libc::stat64) -> c_int {
                // SAFETY: as this call.
                unsafe { fstatat64($folder, path, out, $flags) }
            }
        )*
    };
}

stat_forms! {
    stat, "`stat(2)`.", libc::AT_FDCWD, 0;
    stat64, "`stat(2)`, by glibc's other name.", libc::AT_FDCWD, 0;
    lstat, "`lstat(2)`.", libc::AT_FDCWD, libc::AT_SYMLINK_NOFOLLOW;
    lstat64, "`lstat(2)`, by glibc's other name.", libc::AT_FDCWD, libc::AT_SYMLINK_NOFOLLOW;
}

/// `fstatat(2)`, by its other name.
///
/// # Safety
/// As [`fstatat64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstatat(
    folder: c_int,
    path: *const c_char,
    out: *mut libc::stat64,
    flags: c_int,
) -> c_int {
    // SAFETY: as this call.
    unsafe { fstatat64(folder, path, out, flags) }
}

/// `fstat(2)`.
///
/// # Safety
/// `out` must be valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstat64(fd: c_int, out: *mut libc::stat64) -> c_int {
    match status_of(fd) {
        Some(Ok(Known::Here(status, device))) => {
            // SAFETY: the caller vouches for `out`.
            unsafe { *out = fill::stat(&status, device) };
            0
        }
        Some(Err(errno)) => fail(errno) as c_int,
        // SAFETY: as the system call.
        _ => raw::to_libc(unsafe { kernel(libc::SYS_fstat, [int(fd), out as usize]) }) as c_int,
    }
}

/// `fstat(2)`, by its other name.
///
/// # Safety
/// As [`fstat64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstat(fd: c_int, out: *mut libc::stat64) -> c_int {
    // SAFETY: as this call.
    unsafe { fstat64(fd, out) }
}

/// `statx(2)`.
///
/// # Safety
/// `path` must be null or a C string, and `out` valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn statx(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    out: *mut libc::statx,
) -> c_int {
    let at = At(folder, path);
    // SAFETY: as the system call.
    let real = |at: At| unsafe {
        kernel(libc::SYS_statx, [int(at.0), at.1 as usize, int(flags), mask as usize, out as usize])
    };
    // std asks with null pointers whether the call exists.
    if out.is_null() {
        return raw::to_libc(real(at)) as c_int;
    }
    // SAFETY: the caller vouches for both.
    match unsafe { status(at, flags) } {
        None => raw::to_libc(real(at)) as c_int,
        Some(Ok(Known::Machine(path))) => raw::to_libc(on_machine(&path, real)) as c_int,
        Some(Ok(Known::Here(status, device))) => {
            // SAFETY: the caller vouches for `out`.
            unsafe { *out = fill::statx(&status, device) };
            0
        }
        Some(Err(errno)) => fail(errno) as c_int,
    }
}

/// `access(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: as this call.
    unsafe { faccessat(libc::AT_FDCWD, path, mode, 0) }
}

/// `faccessat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn faccessat(
    folder: c_int,
    path: *const c_char,
    mode: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_faccessat, [int(at.0), at.1 as usize, int(mode)]) };
    let answer = |volume: &mut Volume, found: Found, _| {
        let ino = found.existing()?;
        let wanted = mode as u32 & 7;
        if wanted & 2 != 0 && volume.switches.read_only {
            return refuse(libc::EROFS);
        }
        if volume.may(ino, wanted) { Ok(0) } else { refuse(libc::EACCES) }
    };
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Stat, At(folder, path), follow, real, answer) as c_int }
}

/// `readlink(2)`.
///
/// # Safety
/// `path` must be a C string, and `buffer` valid to write for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readlink(path: *const c_char, buffer: *mut c_char, len: usize) -> isize {
    // SAFETY: as this call.
    unsafe { readlinkat(libc::AT_FDCWD, path, buffer, len) }
}

/// `readlinkat(2)`.
///
/// # Safety
/// As [`readlink`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readlinkat(
    folder: c_int,
    path: *const c_char,
    buffer: *mut c_char,
    len: usize,
) -> isize {
    // SAFETY: as the system call.
    let real =
        |at: At| unsafe { kernel(libc::SYS_readlinkat, [int(at.0), at.1 as usize, buffer as usize, len]) };
    let answer = |volume: &mut Volume, found: Found, _| {
        let ino = found.existing()?;
        let crate::tree::Kind::Link(target) = &volume.inode(ino).kind else { return refuse(libc::EINVAL) };
        let count = target.len().min(len);
        // SAFETY: the caller vouches for the buffer.
        unsafe { std::ptr::copy_nonoverlapping(target.as_ptr(), buffer.cast(), count) };
        Ok(count as isize)
    };
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Stat, At(folder, path), false, real, answer) }
}

/// `readlink(2)` as code compiled with `_FORTIFY_SOURCE` calls it.
///
/// # Safety
/// As [`readlink`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __readlink_chk(
    path: *const c_char,
    buffer: *mut c_char,
    len: usize,
    _: usize,
) -> isize {
    // SAFETY: as this call.
    unsafe { readlink(path, buffer, len) }
}
