//! Files in memory: `mmap` and `msync`.
//!
//! Owns which shared mappings can be written. Must not change any mapping: the kernel makes them all, of the
//! file of memory. Invariant: before a page can be written unseen, what is durable of it is saved.

use libc::{c_int, c_void, off_t};
use shim_runtime::device;
use shim_runtime::host::raw;

use super::call::{gate, world};
use super::{fail, int, kernel, marks};
use crate::error::Errno;
use crate::faults::DiskOp;

/// `mmap(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mmap(
    address: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: off_t,
) -> *mut c_void {
    let arguments = [address as usize, len, int(protection), int(flags), int(fd), at as usize];
    // SAFETY: as the system call.
    let real = || unsafe { raw::to_libc(kernel(libc::SYS_mmap, arguments)) as *mut c_void };
    let is_shared = flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
    if flags & libc::MAP_ANONYMOUS != 0 || !is_shared || !marks::is_file(fd) || !device::is_reachable() {
        return real();
    }
    let prepared = world(|disks, cx| {
        let (node, ino, open_flags) = disks.open_file(fd)?;
        // One that is mapped for reading may be made writable later, if it was opened so.
        if open_flags & libc::O_ACCMODE != libc::O_RDWR {
            return Ok(None);
        }
        disks.volume(node, cx)?.content(ino)?.expect_unseen_writers()?;
        Ok(Some((node, ino)))
    });
    match prepared {
        Err(errno) => {
            fail(errno);
            libc::MAP_FAILED
        }
        Ok(of) => {
            let mapped = real();
            if let Some((node, ino)) = of
                && mapped != libc::MAP_FAILED
            {
                world(|disks, _| disks.mappings.insert(mapped as usize, (len, node, ino)));
            }
            mapped
        }
    }
}

/// `mmap(2)`, by glibc's other name.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mmap64(
    address: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: off_t,
) -> *mut c_void {
    // SAFETY: as this call.
    unsafe { mmap(address, len, protection, flags, fd, at) }
}

/// `msync(2)`: with `MS_SYNC` the files of the mappings are durable.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn msync(address: *mut c_void, len: usize, flags: c_int) -> c_int {
    let from = address as usize;
    if flags & libc::MS_SYNC != 0 && device::is_reachable() {
        let files: Vec<_> = world(|disks, _| {
            let mappings = disks.mappings.range(..from.saturating_add(len));
            let touched = mappings.filter(|(start, (length, ..))| **start + *length > from);
            touched.map(|(_, (_, node, ino))| (*node, *ino)).collect()
        });
        for (node, ino) in files {
            let synced = gate(node, DiskOp::Sync).and_then(|()| {
                world(|disks, cx| {
                    if !disks.volume(node, cx)?.inodes.contains_key(&ino) {
                        return Err(Errno(libc::EIO));
                    }
                    disks.synced(node, ino, cx)
                })
            });
            if let Err(errno) = synced {
                return fail(errno) as c_int;
            }
        }
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(libc::SYS_msync, [from, len, int(flags)]) }) as c_int
}
