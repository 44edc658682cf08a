//! Reading, writing and syncing of simulated files; those of sockets and others are not here.
//!
//! Owns what a write does beside moving bytes: pre-images, room on the disk, times. Must not know names.
//! Invariant: bytes are moved by the kernel, so offsets are its own.

use libc::{c_int, c_void, iovec, off_t, size_t, ssize_t};
use shim_runtime::device::{self, DeviceContext};
use shim_runtime::host::raw;
use shim_runtime::trace::Kind as Traced;

use super::call::{from_kernel, gate, now, with_file, world};
use super::{fail, int, kernel, marks, to_libc};
use crate::disks::Disks;
use crate::error::{Result, refuse};
use crate::faults::DiskOp;
use crate::tree::{Ino, Kind};

/// Where a write goes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// To the description's own offset.
    Offset,
    /// To an offset of the caller's.
    At(u64),
}

/// A read of `fd`, which the kernel does; `None` where it is no simulated file.
pub(super) fn read_with(fd: c_int, read: impl FnOnce() -> isize) -> Option<ssize_t> {
    if !marks::is_file(fd) || !device::is_reachable() {
        return None;
    }
    let found = world(|disks, cx| {
        let (node, ino, _) = disks.open_file(fd)?;
        let volume = disks.volume(node, cx)?;
        Ok((node, volume.is_folder(ino)))
    });
    Some(match found {
        Err(errno) => fail(errno),
        Ok((_, true)) => fail(crate::error::Errno(libc::EISDIR)),
        Ok((node, false)) => match gate(node, DiskOp::Read) {
            Ok(()) => raw::to_libc(read()),
            Err(errno) => fail(errno),
        },
    })
}

/// A write of `len` bytes to `fd`; `write` moves as many as it is told. `None` where it is no simulated file.
pub(super) fn write_with(
    fd: c_int,
    place: Place,
    len: usize,
    write: impl FnOnce(usize) -> isize,
) -> Option<ssize_t> {
    if !marks::is_file(fd) || !device::is_reachable() {
        return None;
    }
    let gated = world(|disks, _| disks.open_file(fd)).and_then(|(node, ..)| gate(node, DiskOp::Write));
    if let Err(errno) = gated {
        return Some(fail(errno));
    }
    Some(to_libc(world(|disks, cx| {
        let file = disks.open_file(fd)?;
        write_here(disks, cx, fd, file, place, len, write)
    })))
}

fn write_here(
    disks: &mut Disks,
    cx: &mut DeviceContext<'_>,
    fd: c_int,
    (node, ino, flags): (u32, Ino, c_int),
    place: Place,
    len: usize,
    write: impl FnOnce(usize) -> isize,
) -> Result<isize> {
    let time = now(cx);
    let volume = disks.volume(node, cx)?;
    if volume.is_folder(ino) || flags & libc::O_ACCMODE == libc::O_RDONLY {
        return refuse(libc::EBADF);
    }
    if volume.switches.read_only {
        return refuse(libc::EROFS);
    }
    let old_len = volume.content(ino)?.len();
    // SAFETY: the call has no pointers.
    let status = unsafe { kernel(libc::SYS_fcntl, [int(fd), int(libc::F_GETFL)]) as c_int };
    let appends = status & libc::O_APPEND != 0;
    let from = match place {
        _ if appends => old_len,
        Place::At(from) => from,
        // SAFETY: the call has no pointers.
        Place::Offset => unsafe { kernel(libc::SYS_lseek, [int(fd), 0, int(libc::SEEK_CUR)]) as u64 },
    };
    let len = room(disks, cx, (node, ino), from, len)?;
    let content = disks.volume(node, cx)?.content(ino)?;
    content.will_write(from, len as u64)?;
    let written = from_kernel(write(len))?;
    content.did_write(if written > 0 { from + written as u64 } else { 0 });
    let volume = disks.volume(node, cx)?;
    if written > 0 {
        volume.touch(ino, time);
    }
    if flags & libc::O_DSYNC != 0 {
        disks.synced(node, ino, cx)?;
    }
    Ok(written)
}

/// How many of `len` bytes at `from` fit on the disk.
pub(super) fn room(
    disks: &mut Disks,
    cx: &mut DeviceContext<'_>,
    (node, ino): (u32, Ino),
    from: u64,
    len: usize,
) -> Result<usize> {
    let volume = disks.volume(node, cx)?;
    let Some(capacity) = volume.switches.capacity_bytes else { return Ok(len) };
    let old_len = volume.content(ino)?.len();
    let grows = (from + len as u64).saturating_sub(old_len);
    let free = capacity.saturating_sub(volume.used_bytes());
    if grows <= free {
        return Ok(len);
    }
    volume.switches.stats.full += 1;
    let fits = (old_len + free).saturating_sub(from).min(len as u64) as usize;
    cx.record(Traced::Fault, u64::from(node), fits as u64);
    if fits == 0 { refuse(libc::ENOSPC) } else { Ok(fits) }
}

/// Writes what is in a list of buffers, as much as is to be written: one that is cut is written by itself.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them for its bytes.
pub(super) unsafe fn write_list(
    vector: *const iovec,
    count: usize,
    wanted: usize,
    all: impl FnOnce() -> isize,
    one: impl FnOnce(*const c_void, usize) -> isize,
) -> isize {
    // SAFETY: the caller vouches for the entries.
    unsafe {
        if list_len(vector, count) == wanted {
            return all();
        }
        let first = (0..count).map(|place| &*vector.add(place)).find(|entry| entry.iov_len > 0);
        first.map_or(0, |entry| one(entry.iov_base, entry.iov_len.min(wanted)))
    }
}

/// How many bytes a list of buffers has.
///
/// # Safety
/// `vector` must be valid to read for `count` entries.
pub(super) unsafe fn list_len(vector: *const iovec, count: usize) -> usize {
    // SAFETY: the caller vouches for the entries.
    (0..count).map(|place| unsafe { (*vector.add(place)).iov_len }).sum()
}

/// `pread(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pread64(fd: c_int, buffer: *mut c_void, len: size_t, at: off_t) -> ssize_t {
    // SAFETY: as the system call.
    let real = || unsafe { kernel(libc::SYS_pread64, [int(fd), buffer as usize, len, at as usize]) };
    read_with(fd, real).unwrap_or_else(|| raw::to_libc(real()))
}

/// `pread(2)`, by its other name.
///
/// # Safety
/// As [`pread64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pread(fd: c_int, buffer: *mut c_void, len: size_t, at: off_t) -> ssize_t {
    // SAFETY: as this call.
    unsafe { pread64(fd, buffer, len, at) }
}

/// `pwrite(2)`.
///
/// # Safety
/// `buffer` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pwrite64(
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    at: off_t,
) -> ssize_t {
    // SAFETY: as the system call, with at most `len` bytes.
    let real = |len| unsafe { kernel(libc::SYS_pwrite64, [int(fd), buffer as usize, len, at as usize]) };
    if at < 0 {
        return raw::to_libc(real(len));
    }
    write_with(fd, Place::At(at as u64), len, real).unwrap_or_else(|| raw::to_libc(real(len)))
}

/// `pwrite(2)`, by its other name.
///
/// # Safety
/// As [`pwrite64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pwrite(fd: c_int, buffer: *const c_void, len: size_t, at: off_t) -> ssize_t {
    // SAFETY: as this call.
    unsafe { pwrite64(fd, buffer, len, at) }
}

/// `preadv(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn preadv64(
    fd: c_int,
    vector: *const iovec,
    count: c_int,
    at: off_t,
) -> ssize_t {
    // SAFETY: as the system call; the offset's high half is for machines of 32 bits.
    let real = || unsafe { kernel(libc::SYS_preadv, [int(fd), vector as usize, int(count), at as usize, 0]) };
    read_with(fd, real).unwrap_or_else(|| raw::to_libc(real()))
}

/// `preadv(2)`, by its other name.
///
/// # Safety
/// As [`preadv64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn preadv(fd: c_int, vector: *const iovec, count: c_int, at: off_t) -> ssize_t {
    // SAFETY: as this call.
    unsafe { preadv64(fd, vector, count, at) }
}

/// `pwritev(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them for its bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pwritev64(
    fd: c_int,
    vector: *const iovec,
    count: c_int,
    at: off_t,
) -> ssize_t {
    // SAFETY: as the system call.
    let real =
        || unsafe { kernel(libc::SYS_pwritev, [int(fd), vector as usize, int(count), at as usize, 0]) };
    if at < 0 || !marks::is_file(fd) {
        return raw::to_libc(real());
    }
    // SAFETY: the caller vouches for the entries.
    let len = unsafe { list_len(vector, count as usize) };
    let write = |wanted| {
        // SAFETY: the caller vouches for the entries.
        unsafe {
            write_list(vector, count as usize, wanted, real, |buffer, len| {
                kernel(libc::SYS_pwrite64, [int(fd), buffer as usize, len, at as usize])
            })
        }
    };
    write_with(fd, Place::At(at as u64), len, write).unwrap_or_else(|| raw::to_libc(real()))
}

/// `pwritev(2)`, by its other name.
///
/// # Safety
/// As [`pwritev64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pwritev(fd: c_int, vector: *const iovec, count: c_int, at: off_t) -> ssize_t {
    // SAFETY: as this call.
    unsafe { pwritev64(fd, vector, count, at) }
}

/// `fsync(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

/// `fdatasync(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

fn sync(fd: c_int, call: libc::c_long) -> c_int {
    with_file(
        DiskOp::Sync,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(call, [int(fd)]) },
        |disks, cx, (node, ino, flags)| {
            let kind = &disks.volume(node, cx)?.inode(ino).kind;
            if flags & libc::O_PATH != 0 {
                return refuse(libc::EBADF);
            }
            if !matches!(kind, Kind::File(_) | Kind::Folder(_)) {
                return refuse(libc::EINVAL);
            }
            disks.synced(node, ino, cx).map(|()| 0)
        },
    ) as c_int
}

/// `sync_file_range(2)`: it promises nothing about a loss of power, so it makes nothing durable.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sync_file_range(fd: c_int, from: i64, len: i64, flags: libc::c_uint) -> c_int {
    with_file(
        DiskOp::Sync,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe {
            kernel(libc::SYS_sync_file_range, [int(fd), from as usize, len as usize, flags as usize])
        },
        |_, _, _| Ok(0),
    ) as c_int
}

/// `syncfs(2)` and `sync(2)`: everything of the node is durable.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn syncfs(fd: c_int) -> c_int {
    with_file(
        DiskOp::Sync,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_syncfs, [int(fd)]) },
        |disks, cx, (node, ..)| disks.volume(node, cx)?.sync_all().map(|()| 0),
    ) as c_int
}

/// `copy_file_range(2)`: never with a simulated file; std's copies fall back to reading and writing.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_offset: *mut i64,
    to: c_int,
    to_offset: *mut i64,
    len: size_t,
    flags: libc::c_uint,
) -> ssize_t {
    if marks::is_file(from) || marks::is_file(to) {
        return fail(crate::error::Errno(libc::EXDEV));
    }
    let arguments = [int(from), from_offset as usize, int(to), to_offset as usize, len, flags as usize];
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(libc::SYS_copy_file_range, arguments) })
}
