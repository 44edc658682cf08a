//! Where a node's process is: `getcwd`, `chdir`, `realpath`, `umask`.
//!
//! Owns the symbols. Must not change the process's own folder while the world has the path. Invariant: each
//! node has a current folder and a mask of its own.

use std::ffi::CString;

use libc::{c_char, c_int, mode_t};
use shim_runtime::device;
use shim_runtime::host::next::Next;
use shim_runtime::host::raw;

use super::call::{At, gate, resolve, start, with_file, with_path, world};
use super::{fail, int, kernel};
use crate::error::{Errno, Result, refuse};
use crate::faults::DiskOp;
use crate::tree::Volume;
use crate::tree::attributes::EXECUTE;
use crate::tree::walk::Found;

/// `getcwd(3)`.
///
/// # Safety
/// `buffer` must be null or valid to write for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getcwd(buffer: *mut c_char, len: usize) -> *mut c_char {
    static NEXT: Next = Next::new(c"getcwd");
    if !device::is_reachable() {
        // SAFETY: as libc's, whose symbol has this type.
        unsafe {
            let real: unsafe extern "C" fn(*mut c_char, usize) -> *mut c_char =
                std::mem::transmute(NEXT.address());
            return real(buffer, len);
        }
    }
    let path = world(|disks, cx| {
        let node = cx.node().0;
        let volume = disks.volume(node, cx)?;
        volume.path_of(volume.cwd)
    });
    // SAFETY: the caller vouches for the buffer.
    unsafe { give(path, buffer, len) }
}

/// `getcwd(3)` as code compiled with `_FORTIFY_SOURCE` calls it.
///
/// # Safety
/// As [`getcwd`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __getcwd_chk(buffer: *mut c_char, len: usize, _: usize) -> *mut c_char {
    // SAFETY: as this call.
    unsafe { getcwd(buffer, len) }
}

/// Puts a path into a caller's buffer, or into one that the caller will free.
///
/// # Safety
/// `buffer` must be null or valid to write for `len` bytes.
unsafe fn give(path: Result<Vec<u8>>, buffer: *mut c_char, len: usize) -> *mut c_char {
    let path = match path {
        Ok(path) => path,
        Err(errno) => {
            fail(errno);
            return std::ptr::null_mut();
        }
    };
    let needed = path.len() + 1;
    let len = if buffer.is_null() && len == 0 { needed } else { len };
    if needed > len {
        raw::set_errno(libc::ERANGE);
        return std::ptr::null_mut();
    }
    // SAFETY: the buffer is the caller's, or new, and long enough.
    unsafe {
        let buffer = if buffer.is_null() { libc::malloc(len).cast::<c_char>() } else { buffer };
        if !buffer.is_null() {
            std::ptr::copy_nonoverlapping(path.as_ptr(), buffer.cast(), path.len());
            *buffer.add(path.len()) = 0;
        }
        buffer
    }
}

/// `chdir(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn chdir(path: *const c_char) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_chdir, [at.1 as usize]) };
    let answer = |volume: &mut Volume, found: Found, _| {
        let ino = found.existing()?;
        enter(volume, ino)
    };
    let at = At::here(path);
    // SAFETY: the caller vouches for the path.
    unsafe {
        if at.is_simulated() && matches!(resolve(at, true), Ok((_, Found::Machine(_)))) {
            // The process's own folder is all nodes'.
            return fail(Errno(libc::EACCES)) as c_int;
        }
        with_path(DiskOp::Stat, at, true, real, answer) as c_int
    }
}

fn enter(volume: &mut Volume, ino: crate::tree::Ino) -> Result<isize> {
    volume.folder(ino)?;
    if !volume.may(ino, EXECUTE) {
        return refuse(libc::EACCES);
    }
    let before = std::mem::replace(&mut volume.cwd, ino);
    volume.opened(ino);
    volume.closed(before);
    Ok(0)
}

/// `fchdir(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fchdir(fd: c_int) -> c_int {
    with_file(
        DiskOp::Stat,
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_fchdir, [int(fd)]) },
        |disks, cx, (node, ino, _)| enter(disks.volume(node, cx)?, ino),
    ) as c_int
}

/// `umask(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn umask(mask: mode_t) -> mode_t {
    if device::is_reachable() {
        let before = world(|disks, cx| {
            let node = cx.node().0;
            let volume = disks.volume(node, cx)?;
            Ok::<_, Errno>(std::mem::replace(&mut volume.umask, mask & 0o777))
        });
        return before.unwrap_or(0o022);
    }
    // SAFETY: the call has no pointers.
    unsafe { kernel(libc::SYS_umask, [mask as usize]) as mode_t }
}

/// `realpath(3)`.
///
/// # Safety
/// `path` must be a C string, and `out` null or valid to write for `PATH_MAX` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realpath(path: *const c_char, out: *mut c_char) -> *mut c_char {
    static NEXT: Next = Next::new(c"realpath");
    let at = At::here(path);
    // SAFETY: the caller vouches for both; libc's symbol has this type.
    unsafe {
        let real: unsafe extern "C" fn(*const c_char, *mut c_char) -> *mut c_char =
            std::mem::transmute(NEXT.address());
        if !at.is_simulated() {
            return real(path, out);
        }
        let found = resolve(at, true);
        if let Ok((_, Found::Machine(path))) = &found {
            let Ok(path) = CString::new(path.as_slice()) else { return std::ptr::null_mut() };
            return real(path.as_ptr(), out);
        }
        let text = at.text();
        let whole = found.and_then(|(node, _)| gate(node, DiskOp::Stat)).and_then(|()| {
            world(|disks, cx| {
                let (node, start) = start(disks, cx, at.0, text)?;
                let volume = disks.volume(node, cx)?;
                let found = volume.walk(start, text, true)?;
                canonical(volume, found)
            })
        });
        give(whole, out, if out.is_null() { 0 } else { libc::PATH_MAX as usize })
    }
}

fn canonical(volume: &Volume, found: Found) -> Result<Vec<u8>> {
    let (folder, name) = match found {
        Found::Here(ino) => return volume.path_of(ino),
        Found::Entry { folder, name, ino: Some(_), .. } => (folder, name),
        _ => return refuse(libc::ENOENT),
    };
    let mut path = volume.path_of(folder)?;
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend(name);
    Ok(path)
}

/// `realpath(3)` as code compiled with `_FORTIFY_SOURCE` calls it.
///
/// # Safety
/// As [`realpath`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __realpath_chk(
    path: *const c_char,
    out: *mut c_char,
    _: usize,
) -> *mut c_char {
    // SAFETY: as this call.
    unsafe { realpath(path, out) }
}

/// `canonicalize_file_name(3)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn canonicalize_file_name(path: *const c_char) -> *mut c_char {
    // SAFETY: as this call.
    unsafe { realpath(path, std::ptr::null_mut()) }
}
