//! `open` and its kin.
//!
//! Owns what an open file is to the kernel: a new description of its file of memory, the machine's own file,
//! or, for a folder, a placeholder. Must not know data. Invariant: a call that fails leaves no descriptor.
//!
//! `open` and `openat` are variadic in C. With the calling conventions of x86-64 and AArch64 Linux a variadic
//! argument comes in the register that a named one would have, so they are defined with it.

use std::os::fd::RawFd;

use libc::{c_char, c_int, mode_t};
use shim_runtime::device::DeviceContext;
use shim_runtime::host::raw;

use super::call::{At, gate, now, on_machine, resolve, start, world};
use super::{fail, int, kernel, machine};
use crate::disks::Disks;
use crate::error::{Errno, Result, refuse};
use crate::faults::DiskOp;
use crate::special;
use crate::tree::attributes::{READ, WRITE};
use crate::tree::walk::{Found, Last};
use crate::tree::{Ino, Kind, Volume};

/// `open(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
}

/// `open(2)`, by glibc's other name.
///
/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
}

/// `creat(2)`.
///
/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn creat(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(libc::AT_FDCWD, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode) }
}

/// `openat(2)`, by glibc's other name.
///
/// # Safety
/// As [`openat`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn openat64(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(folder, path, flags, mode) }
}

/// `openat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn openat(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    let at = At(folder, path);
    // SAFETY: as the system call.
    let real =
        |at: At| unsafe { kernel(libc::SYS_openat, [int(at.0), at.1 as usize, int(flags), mode as usize]) };
    // SAFETY: the caller vouches for the path.
    unsafe {
        if !at.is_simulated() {
            return raw::to_libc(real(at)) as c_int;
        }
        match open_path(at, flags, mode) {
            Ok(Opened::Here(fd)) => fd,
            Ok(Opened::Machine(path)) => {
                let result = on_machine(&path, real);
                if result >= 0 {
                    told(result as RawFd, &path);
                }
                raw::to_libc(result) as c_int
            }
            Err(errno) => fail(errno) as c_int,
        }
    }
}

/// Tells the owner of special files that a device of the machine was opened.
fn told(fd: RawFd, path: &[u8]) {
    if let Some(owner) = special::owner()
        && path.starts_with(b"/dev/")
    {
        (owner.device_opened)(fd, path);
    }
}

enum Opened {
    Here(RawFd),
    Machine(Vec<u8>),
}

/// What opening found, before a descriptor is made.
enum Target {
    /// A file or a folder of the node.
    Inode(u32, Ino),
    /// A device.
    Machine(Vec<u8>),
    /// A named pipe, by its number.
    Pipe(u64),
}

/// # Safety
/// The path must be a C string.
unsafe fn open_path(at: At, flags: c_int, mode: mode_t) -> Result<Opened> {
    let exclusive = flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL;
    let follow = flags & libc::O_NOFOLLOW == 0 && !exclusive;
    // SAFETY: as this function.
    let text = unsafe { at.text() };
    // What `O_CREAT` could only make as a folder is refused, whatever is there.
    let last = if flags & libc::O_CREAT != 0 && text.ends_with(b"/") { Last::Name } else { follow.into() };
    // SAFETY: as this function.
    let found = unsafe { resolve(at, last)? };
    match found {
        (_, Found::Machine(path)) => return Ok(Opened::Machine(path)),
        // A device is no part of the disk.
        (node, found) if !world(|disks, cx| is_device(disks, cx, node, &found)) => gate(node, DiskOp::Open)?,
        _ => {}
    }
    let target = world(|disks, cx| {
        let (node, start) = start(disks, cx, at.0, text)?;
        let time = now(cx);
        let volume = disks.volume(node, cx)?;
        let found = volume.walk(start, text, last)?;
        let target = find_or_make(volume, &found, flags, mode, time)?;
        Ok::<_, Errno>(match target {
            Target::Inode(_, ino) => Target::Inode(node, ino),
            other => other,
        })
    })?;
    match target {
        Target::Machine(path) => Ok(Opened::Machine(path)),
        Target::Pipe(id) => match special::owner() {
            Some(owner) => (owner.open_pipe)(id, flags).map(Opened::Here).map_err(Errno),
            None => refuse(libc::ENXIO),
        },
        Target::Inode(node, ino) => {
            world(|disks, cx| describe(disks, cx, node, ino, flags)).map(Opened::Here)
        }
    }
}

fn is_device(disks: &mut Disks, cx: &DeviceContext<'_>, node: u32, found: &Found) -> bool {
    let volume = disks.volume(node, cx);
    volume.is_ok_and(|volume| {
        found.existing().is_ok_and(|ino| matches!(volume.inode(ino).kind, Kind::Device(..)))
    })
}

/// The inode that is to be opened, made where `O_CREAT` says so; emptied where `O_TRUNC` does.
fn find_or_make(volume: &mut Volume, found: &Found, flags: c_int, mode: mode_t, now: i64) -> Result<Target> {
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        let folder = found.existing()?;
        return volume.make_nameless(folder, mode, now).map(|ino| Target::Inode(0, ino));
    }
    let creates = flags & libc::O_CREAT != 0;
    let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    let ino = match found {
        Found::Entry { must_be_folder: true, .. } if creates => return refuse(libc::EISDIR),
        Found::Entry { folder, name, ino: None, .. } if creates => {
            let ino = volume.make_file(*folder, name, mode, now)?;
            return Ok(Target::Inode(0, ino));
        }
        found => found.existing()?,
    };
    if creates && flags & libc::O_EXCL != 0 {
        return refuse(libc::EEXIST);
    }
    let path_only = flags & libc::O_PATH != 0;
    match &volume.inode(ino).kind {
        Kind::Folder(_) if (writes || creates) && !path_only => return refuse(libc::EISDIR),
        Kind::Folder(_) => {}
        _ if flags & libc::O_DIRECTORY != 0 => return refuse(libc::ENOTDIR),
        Kind::Link(_) if !path_only => return refuse(libc::ELOOP),
        Kind::Device(_, path) => return Ok(Target::Machine(path.clone())),
        Kind::Fifo => return Ok(Target::Pipe(ino)),
        Kind::Socket if !path_only => return refuse(libc::ENXIO),
        _ => {}
    }
    if path_only {
        return Ok(Target::Inode(0, ino));
    }
    if writes && volume.switches.read_only {
        return refuse(libc::EROFS);
    }
    let wanted = match flags & libc::O_ACCMODE {
        libc::O_WRONLY => WRITE,
        libc::O_RDWR => READ | WRITE,
        _ if flags & libc::O_TRUNC != 0 => READ | WRITE,
        _ => READ,
    };
    if !volume.may(ino, wanted) {
        return refuse(libc::EACCES);
    }
    if flags & libc::O_TRUNC != 0 && !volume.is_folder(ino) {
        volume.content(ino)?.set_len(0)?;
        volume.touch(ino, now);
    }
    Ok(Target::Inode(0, ino))
}

/// Makes a descriptor for `ino`.
fn describe(
    disks: &mut Disks,
    cx: &mut DeviceContext<'_>,
    node: u32,
    ino: Ino,
    flags: c_int,
) -> Result<RawFd> {
    let volume = disks.volume(node, cx)?;
    let is_file = matches!(volume.inode(ino).kind, Kind::File(_)) && flags & libc::O_PATH == 0;
    let made = if is_file {
        let kept = flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_CLOEXEC | libc::O_NONBLOCK);
        let content = volume.content(ino)?;
        match content.image_path() {
            Some(path) if flags & libc::O_ACCMODE == libc::O_RDONLY => machine::open(path, kept, 0),
            _ => content.memory()?.reopen(kept),
        }
    } else {
        // Its number and flags are all that is used of it.
        let kept = flags & libc::O_CLOEXEC;
        machine::open(b"/", libc::O_PATH | libc::O_DIRECTORY | kept, 0)
    };
    match made {
        Ok(fd) => disks.enter(fd, node, ino, flags).map(|()| fd),
        Err(errno) => {
            // What `O_TMPFILE` made has no name and would stay.
            let volume = disks.volume(node, cx)?;
            volume.opened(ino);
            volume.closed(ino);
            Err(errno)
        }
    }
}

/// `open(2)` as code compiled with `_FORTIFY_SOURCE` calls it.
///
/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as this call.
    unsafe { open(path, flags, 0) }
}

/// As [`__open_2`].
///
/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as this call.
    unsafe { open(path, flags, 0) }
}
