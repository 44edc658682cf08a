//! `chmod`, `chown`, `utimensat` and their kin.
//!
//! Owns the symbols. Must not know the rules: `tree::attributes` does. Invariant: times are the node's wall clock.

use libc::{c_char, c_int, gid_t, mode_t, timespec, uid_t};

use super::call::{At, now, with_file, with_path};
use super::{int, kernel};
use crate::error::{Result, refuse};
use crate::faults::DiskOp;
use crate::tree::walk::Found;
use crate::tree::{Ino, Volume};

/// `chmod(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn chmod(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { fchmodat(libc::AT_FDCWD, path, mode, 0) }
}

/// `fchmodat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fchmodat(
    folder: c_int,
    path: *const c_char,
    mode: mode_t,
    flags: c_int,
) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_fchmodat, [int(at.0), at.1 as usize, mode as usize]) };
    let answer = |volume: &mut Volume, found: Found, now| {
        let ino = found.existing()?;
        volume.set_mode(ino, mode, now).map(|()| 0)
    };
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Attributes, At(folder, path), follow, real, answer) as c_int }
}

/// `fchmod(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fchmod(fd: c_int, mode: mode_t) -> c_int {
    with_file(
        DiskOp::Attributes,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_fchmod, [int(fd), mode as usize]) },
        |disks, cx, (node, ino, _)| {
            let now = now(cx);
            disks.volume(node, cx)?.set_mode(ino, mode, now).map(|()| 0)
        },
    ) as c_int
}

/// `fchownat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fchownat(
    folder: c_int,
    path: *const c_char,
    uid: uid_t,
    gid: gid_t,
    flags: c_int,
) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe {
        kernel(libc::SYS_fchownat, [int(at.0), at.1 as usize, uid as usize, gid as usize, int(flags)])
    };
    let answer = |volume: &mut Volume, found: Found, now| {
        let ino = found.existing()?;
        volume.set_owner(ino, uid, gid, now).map(|()| 0)
    };
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Attributes, At(folder, path), follow, real, answer) as c_int }
}

/// `chown(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn chown(path: *const c_char, uid: uid_t, gid: gid_t) -> c_int {
    // SAFETY: as this call.
    unsafe { fchownat(libc::AT_FDCWD, path, uid, gid, 0) }
}

/// `lchown(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn lchown(path: *const c_char, uid: uid_t, gid: gid_t) -> c_int {
    // SAFETY: as this call.
    unsafe { fchownat(libc::AT_FDCWD, path, uid, gid, libc::AT_SYMLINK_NOFOLLOW) }
}

/// `fchown(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fchown(fd: c_int, uid: uid_t, gid: gid_t) -> c_int {
    with_file(
        DiskOp::Attributes,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_fchown, [int(fd), uid as usize, gid as usize]) },
        |disks, cx, (node, ino, _)| {
            let now = now(cx);
            disks.volume(node, cx)?.set_owner(ino, uid, gid, now).map(|()| 0)
        },
    ) as c_int
}

/// The times that `utimensat(2)` is given; `None` is to leave a time as it is.
///
/// # Safety
/// `times` must be null or valid to read for two of them.
unsafe fn wanted(times: *const timespec, now: i64) -> Result<[Option<i64>; 2]> {
    if times.is_null() {
        return Ok([Some(now); 2]);
    }
    let mut wanted = [None; 2];
    for (place, time) in wanted.iter_mut().enumerate() {
        // SAFETY: the caller vouches for both.
        let given = unsafe { *times.add(place) };
        *time = match given.tv_nsec {
            libc::UTIME_OMIT => None,
            libc::UTIME_NOW => Some(now),
            nanos @ 0..1_000_000_000 => {
                Some(given.tv_sec.saturating_mul(1_000_000_000).saturating_add(nanos))
            }
            _ => return refuse(libc::EINVAL),
        };
    }
    Ok(wanted)
}

/// # Safety
/// As [`wanted`].
unsafe fn set(volume: &mut Volume, ino: Ino, times: *const timespec, now: i64) -> Result<isize> {
    // SAFETY: as this function.
    let [accessed, modified] = unsafe { wanted(times, now) }?;
    volume.set_times(ino, accessed, modified, now).map(|()| 0)
}

/// `utimensat(2)`.
///
/// # Safety
/// `path` must be a C string, and `times` null or valid to read for two of them.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn utimensat(
    folder: c_int,
    path: *const c_char,
    times: *const timespec,
    flags: c_int,
) -> c_int {
    if path.is_null() {
        // SAFETY: as this call: the kernel's own form of `futimens`.
        return unsafe { futimens(folder, times) };
    }
    // SAFETY: as the system call.
    let real = |at: At| unsafe {
        kernel(libc::SYS_utimensat, [int(at.0), at.1 as usize, times as usize, int(flags)])
    };
    let answer = |volume: &mut Volume, found: Found, now| {
        let ino = found.existing()?;
        // SAFETY: the caller vouches for the times.
        unsafe { set(volume, ino, times, now) }
    };
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Attributes, At(folder, path), follow, real, answer) as c_int }
}

/// `futimens(3)`.
///
/// # Safety
/// `times` must be null or valid to read for two of them.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn futimens(fd: c_int, times: *const timespec) -> c_int {
    with_file(
        DiskOp::Attributes,
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_utimensat, [int(fd), 0, times as usize, 0]) },
        |disks, cx, (node, ino, _)| {
            let now = now(cx);
            let volume = disks.volume(node, cx)?;
            // SAFETY: the caller vouches for the times.
            unsafe { set(volume, ino, times, now) }
        },
    ) as c_int
}
