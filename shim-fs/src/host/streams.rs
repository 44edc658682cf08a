//! libc's own streams: `fopen` and `tmpfile` open files by calls that nobody can replace.
//!
//! Owns how one is opened instead. Must not know what is read or written: the stream does that past this
//! layer. Invariant: a file that a stream may write is one with unseen writers.

use std::ffi::CStr;

use libc::{FILE, c_char, c_int};
use shim_runtime::device;
use shim_runtime::host::next::Next;

use super::call::{At, world};
use super::{fail, marks, open, shared};
use crate::error::Errno;

/// The flags of `open(2)` that a mode of `fopen(3)` means.
fn flags(mode: &[u8]) -> Option<c_int> {
    let plus = mode.contains(&b'+');
    let access = |alone| if plus { libc::O_RDWR } else { alone };
    let mut flags = match mode.first()? {
        b'r' => access(libc::O_RDONLY),
        b'w' => access(libc::O_WRONLY) | libc::O_CREAT | libc::O_TRUNC,
        b'a' => access(libc::O_WRONLY) | libc::O_CREAT | libc::O_APPEND,
        _ => return None,
    };
    if mode.contains(&b'x') {
        flags |= libc::O_EXCL;
    }
    if mode.contains(&b'e') {
        flags |= libc::O_CLOEXEC;
    }
    Some(flags)
}

/// `fopen(3)`.
///
/// # Safety
/// Both must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    static NEXT: Next = Next::new(c"fopen");
    // SAFETY: the caller vouches for both; libc's symbol has this type.
    unsafe {
        if !At::here(path).is_simulated() {
            let real: unsafe extern "C" fn(*const c_char, *const c_char) -> *mut FILE =
                std::mem::transmute(NEXT.address());
            return real(path, mode);
        }
        let Some(flags) = flags(CStr::from_ptr(mode).to_bytes()) else {
            fail(Errno(libc::EINVAL));
            return std::ptr::null_mut();
        };
        let fd = open::open(path, flags, 0o666);
        if fd < 0 {
            return std::ptr::null_mut();
        }
        expect_stream(fd);
        let stream = libc::fdopen(fd, mode);
        if stream.is_null() {
            shared::close(fd);
        }
        stream
    }
}

/// `fopen(3)`, by glibc's other name.
///
/// # Safety
/// As [`fopen`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: as this call.
    unsafe { fopen(path, mode) }
}

fn expect_stream(fd: c_int) {
    if !marks::is_file(fd) || !device::is_reachable() {
        return;
    }
    let _ = world(|disks, cx| {
        let (node, ino, flags) = disks.open_file(fd)?;
        if flags & libc::O_ACCMODE == libc::O_RDONLY {
            return Ok(());
        }
        // The stream closes the descriptor unseen, too: it is left to the process.
        disks.volume(node, cx)?.content(ino)?.expect_unseen_writers()
    });
}

/// `fclose(3)`: the descriptor is closed past `close`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fclose(stream: *mut FILE) -> c_int {
    static NEXT: Next = Next::new(c"fclose");
    // SAFETY: the caller vouches for the stream; libc's symbol has this type.
    unsafe {
        let fd = if stream.is_null() { -1 } else { libc::fileno(stream) };
        let real: unsafe extern "C" fn(*mut FILE) -> c_int = std::mem::transmute(NEXT.address());
        // What the stream holds back is written while the descriptor is known.
        let result = real(stream);
        shared::forget(fd);
        result
    }
}
