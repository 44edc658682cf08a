//! `truncate`, `fallocate`, `statfs`: how long files are and how much room there is.
//!
//! Owns the symbols. Must not know contents beyond their length. Invariant: a file never grows past its disk.

use libc::{c_char, c_int, off_t};
use shim_runtime::device::DeviceContext;

use super::call::{At, now, with_file, with_path};
use super::data::room;
use super::{int, kernel};
use crate::disks::Disks;
use crate::error::{Result, refuse};
use crate::faults::DiskOp;
use crate::tree::attributes::WRITE;
use crate::tree::walk::Found;
use crate::tree::{Ino, Volume};

const BLOCK_BYTES: u64 = 4096;
/// What a disk without bound says that it has.
const UNBOUNDED_BYTES: u64 = 1 << 40;

/// `ftruncate(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn ftruncate64(fd: c_int, len: off_t) -> c_int {
    with_file(
        DiskOp::Write,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_ftruncate, [int(fd), len as usize]) },
        |disks, cx, (node, ino, flags)| {
            if len < 0 || flags & libc::O_ACCMODE == libc::O_RDONLY {
                return refuse(libc::EINVAL);
            }
            let now = now(cx);
            let volume = disks.volume(node, cx)?;
            if volume.is_folder(ino) {
                return refuse(libc::EINVAL);
            }
            volume.content(ino)?.set_len(len as u64)?;
            volume.touch(ino, now);
            Ok(0)
        },
    ) as c_int
}

/// `ftruncate(2)`, by its other name.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn ftruncate(fd: c_int, len: off_t) -> c_int {
    ftruncate64(fd, len)
}

/// `truncate(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn truncate64(path: *const c_char, len: off_t) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_truncate, [at.1 as usize, len as usize]) };
    let answer = |volume: &mut Volume, found: Found, now| {
        let ino = found.existing()?;
        if len < 0 {
            return refuse(libc::EINVAL);
        }
        if volume.switches.read_only {
            return refuse(libc::EROFS);
        }
        if volume.is_folder(ino) {
            return refuse(libc::EISDIR);
        }
        if !volume.may(ino, WRITE) {
            return refuse(libc::EACCES);
        }
        volume.content(ino)?.set_len(len as u64)?;
        volume.touch(ino, now);
        Ok(0)
    };
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Write, At::here(path), true, real, answer) as c_int }
}

/// `truncate(2)`, by its other name.
///
/// # Safety
/// As [`truncate64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn truncate(path: *const c_char, len: off_t) -> c_int {
    // SAFETY: as this call.
    unsafe { truncate64(path, len) }
}

/// `fallocate(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fallocate64(fd: c_int, mode: c_int, from: off_t, len: off_t) -> c_int {
    with_file(
        DiskOp::Write,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_fallocate, [int(fd), int(mode), from as usize, len as usize]) },
        |disks, cx, file| match mode {
            0 => allocate(disks, cx, file, from, len).map(|()| 0),
            libc::FALLOC_FL_KEEP_SIZE if from >= 0 && len > 0 => Ok(0),
            _ => refuse(libc::EOPNOTSUPP),
        },
    ) as c_int
}

/// `fallocate(2)`, by its other name.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fallocate(fd: c_int, mode: c_int, from: off_t, len: off_t) -> c_int {
    fallocate64(fd, mode, from, len)
}

/// `posix_fallocate(3)`, which returns its error.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn posix_fallocate64(fd: c_int, from: off_t, len: off_t) -> c_int {
    // SAFETY: errno is always readable.
    if fallocate64(fd, 0, from, len) == 0 { 0 } else { unsafe { *libc::__errno_location() } }
}

/// `posix_fallocate(3)`, by its other name.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn posix_fallocate(fd: c_int, from: off_t, len: off_t) -> c_int {
    posix_fallocate64(fd, from, len)
}

fn allocate(
    disks: &mut Disks,
    cx: &mut DeviceContext<'_>,
    (node, ino, flags): (u32, Ino, c_int),
    from: off_t,
    len: off_t,
) -> Result<()> {
    if from < 0 || len <= 0 {
        return refuse(libc::EINVAL);
    }
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        return refuse(libc::EBADF);
    }
    let wanted = from as u64 + len as u64;
    let now = now(cx);
    let old_len = disks.volume(node, cx)?.content(ino)?.len();
    let missing = wanted.saturating_sub(old_len) as usize;
    if room(disks, cx, (node, ino), old_len, missing)? < missing {
        return refuse(libc::ENOSPC);
    }
    let volume = disks.volume(node, cx)?;
    if missing > 0 {
        volume.content(ino)?.set_len(wanted)?;
        volume.touch(ino, now);
    }
    Ok(())
}

/// Blocks in all, and free ones.
fn blocks(volume: &Volume) -> (u64, u64) {
    let capacity = volume.switches.capacity_bytes.unwrap_or(UNBOUNDED_BYTES);
    (capacity / BLOCK_BYTES, capacity.saturating_sub(volume.used_bytes()) / BLOCK_BYTES)
}

fn statfs_of(volume: &Volume) -> libc::statfs64 {
    const EXT4: u32 = 0xEF53;
    // SAFETY: all fields of the structure may be zero.
    let mut out: libc::statfs64 = unsafe { std::mem::zeroed() };
    let (all, free) = blocks(volume);
    out.f_type = EXT4 as _;
    out.f_bsize = BLOCK_BYTES as _;
    out.f_frsize = BLOCK_BYTES as _;
    (out.f_blocks, out.f_bfree, out.f_bavail) = (all, free, free);
    (out.f_files, out.f_ffree) = (1 << 32, (1 << 32) - volume.inodes.len() as u64);
    out.f_namelen = 255;
    out
}

/// `statfs(2)`.
///
/// # Safety
/// `path` must be a C string, and `out` valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn statfs64(path: *const c_char, out: *mut libc::statfs64) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_statfs, [at.1 as usize, out as usize]) };
    let answer = |volume: &mut Volume, found: Found, _| {
        found.existing()?;
        // SAFETY: the caller vouches for `out`.
        unsafe { *out = statfs_of(volume) };
        Ok(0)
    };
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Stat, At::here(path), true, real, answer) as c_int }
}

/// `statfs(2)`, by its other name.
///
/// # Safety
/// As [`statfs64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn statfs(path: *const c_char, out: *mut libc::statfs64) -> c_int {
    // SAFETY: as this call; the structures are the same on machines of 64 bits.
    unsafe { statfs64(path, out) }
}

/// `fstatfs(2)`.
///
/// # Safety
/// `out` must be valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstatfs64(fd: c_int, out: *mut libc::statfs64) -> c_int {
    with_file(
        DiskOp::Stat,
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_fstatfs, [int(fd), out as usize]) },
        |disks, cx, (node, ..)| {
            // SAFETY: the caller vouches for `out`.
            unsafe { *out = statfs_of(disks.volume(node, cx)?) };
            Ok(0)
        },
    ) as c_int
}

/// `fstatfs(2)`, by its other name.
///
/// # Safety
/// As [`fstatfs64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstatfs(fd: c_int, out: *mut libc::statfs64) -> c_int {
    // SAFETY: as this call.
    unsafe { fstatfs64(fd, out) }
}

/// `statvfs(3)`.
///
/// # Safety
/// `path` must be a C string, and `out` valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn statvfs64(path: *const c_char, out: *mut libc::statvfs64) -> c_int {
    // SAFETY: the structure may be zero, and the caller vouches for the rest.
    unsafe {
        let mut found: libc::statfs64 = std::mem::zeroed();
        let result = statfs64(path, &mut found);
        if result == 0 {
            give_statvfs(&found, out);
        }
        result
    }
}

/// `statvfs(3)`, by its other name.
///
/// # Safety
/// As [`statvfs64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn statvfs(path: *const c_char, out: *mut libc::statvfs64) -> c_int {
    // SAFETY: as this call.
    unsafe { statvfs64(path, out) }
}

/// `fstatvfs(3)`.
///
/// # Safety
/// `out` must be valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstatvfs64(fd: c_int, out: *mut libc::statvfs64) -> c_int {
    // SAFETY: the structure may be zero, and the caller vouches for `out`.
    unsafe {
        let mut found: libc::statfs64 = std::mem::zeroed();
        let result = fstatfs64(fd, &mut found);
        if result == 0 {
            give_statvfs(&found, out);
        }
        result
    }
}

/// `fstatvfs(3)`, by its other name.
///
/// # Safety
/// As [`fstatvfs64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fstatvfs(fd: c_int, out: *mut libc::statvfs64) -> c_int {
    // SAFETY: as this call.
    unsafe { fstatvfs64(fd, out) }
}

/// # Safety
/// `out` must be valid to write.
unsafe fn give_statvfs(found: &libc::statfs64, out: *mut libc::statvfs64) {
    // SAFETY: the structure may be zero; the caller vouches for `out`.
    unsafe {
        let mut shown: libc::statvfs64 = std::mem::zeroed();
        (shown.f_bsize, shown.f_frsize) = (found.f_bsize as u64, found.f_frsize.max(1) as u64);
        (shown.f_blocks, shown.f_bfree, shown.f_bavail) = (found.f_blocks, found.f_bfree, found.f_bavail);
        (shown.f_files, shown.f_ffree, shown.f_favail) = (found.f_files, found.f_ffree, found.f_ffree);
        shown.f_namemax = found.f_namelen as u64;
        shown.f_flag = found.f_flags as u64 & 0xfff;
        *out = shown;
    }
}

/// `sync(2)`: everything of the node is durable.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sync() {
    if !shim_runtime::device::is_reachable() {
        // SAFETY: the call has no arguments.
        unsafe { kernel(libc::SYS_sync, []) };
        return;
    }
    let node = super::call::current_node();
    let _ = super::call::gate(node, DiskOp::Sync)
        .and_then(|()| super::call::world(|disks, cx| disks.volume(node, cx)?.sync_all()));
}
