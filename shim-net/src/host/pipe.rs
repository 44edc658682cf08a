//! `pipe`, and FIFOs that are opened by path.
//!
//! Owns the placeholders of pipes, and how an opening of a FIFO waits. Must not know the buffer. Invariant: the
//! placeholder of an end is a real end of a real pipe, unused, so that `fstat`, `F_GETFL`, `F_GETPIPE_SZ` and
//! `lseek` are the kernel's own answers.

use std::io;
use std::os::fd::RawFd;

use libc::c_int;
use shim_runtime::host::raw;
use shim_runtime::runtime::is_reachable;
use shim_runtime::threads;

use super::{fd, int, kernel, refuse, to_libc};
use crate::error::Errno;
use crate::sys::{self, Direction, SocketId};

/// `pipe(2)`.
///
/// # Safety
/// `ends` must be valid to write for two descriptors.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pipe(ends: *mut c_int) -> c_int {
    // SAFETY: as this call.
    unsafe { pipe2(ends, 0) }
}

/// `pipe2(2)`.
///
/// # Safety
/// `ends` must be valid to write for two descriptors.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pipe2(ends: *mut c_int, flags: c_int) -> c_int {
    if !is_reachable() {
        // SAFETY: as the system call.
        return raw::to_libc(unsafe { kernel(libc::SYS_pipe2, [ends as usize, int(flags)]) }) as c_int;
    }
    let made = make(flags).map(|pair| {
        // SAFETY: the caller vouches for `ends`.
        unsafe { *ends.cast::<[c_int; 2]>() = pair };
        0
    });
    to_libc(made) as c_int
}

fn make(flags: c_int) -> io::Result<[RawFd; 2]> {
    let pair = placeholders(flags)?;
    if flags & libc::O_DIRECT != 0 {
        super::loud("pipe2: O_DIRECT");
        pair.into_iter().for_each(fd::close_placeholder);
        return refuse(Errno::EINVAL);
    }
    let both = || pair.into_iter().for_each(fd::close_placeholder);
    let (reader, writer) = sys::pipe().inspect_err(|_| both())?;
    fd::register(pair[0], reader)?;
    fd::register(pair[1], writer)?;
    Ok(pair)
}

/// Both ends of a real pipe.
fn placeholders(flags: c_int) -> io::Result<[RawFd; 2]> {
    let mut pair: [c_int; 2] = [-1; 2];
    // SAFETY: the pair is valid to write.
    let made = unsafe { kernel(libc::SYS_pipe2, [pair.as_mut_ptr() as usize, int(flags)]) };
    if made < 0 { Err(io::Error::from_raw_os_error(-made as c_int)) } else { Ok(pair) }
}

/// Makes a descriptor of the end `id`, with `flags` as `socket(2)` takes them, which are those of `pipe2(2)`.
pub(super) fn open(id: SocketId, flags: c_int) -> io::Result<RawFd> {
    let number = placeholder(sys::pipe_access(id)?, flags)?;
    fd::register(number, id)?;
    Ok(number)
}

/// An end of a real pipe with the given access.
fn placeholder((reads, writes): (bool, bool), flags: c_int) -> io::Result<RawFd> {
    let pair = placeholders(flags)?;
    let (wanted, other) = if reads { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
    fd::close_placeholder(other);
    if !(reads && writes) {
        return Ok(wanted);
    }
    let path = format!("/proc/self/fd/{wanted}\0");
    let arguments = [int(libc::AT_FDCWD), path.as_ptr() as usize, int(libc::O_RDWR | flags), 0];
    // SAFETY: the path ends with a zero.
    let both = unsafe { kernel(libc::SYS_openat, arguments) };
    fd::close_placeholder(wanted);
    if both < 0 { Err(io::Error::from_raw_os_error(-both as c_int)) } else { Ok(both as RawFd) }
}

/// `open(2)` of the FIFO whose file has the number `key` on its node.
pub(super) fn open_fifo(key: u64, flags: c_int) -> io::Result<RawFd> {
    let access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => (true, false),
        libc::O_WRONLY => (false, true),
        _ => (true, true),
    };
    let waits = flags & libc::O_NONBLOCK == 0;
    let (id, must_wait) = sys::fifo_open(key, access, waits)?;
    if must_wait {
        meet(id).inspect_err(|_| sys::close(id))?;
    }
    let number = placeholder(access, flags & (libc::O_NONBLOCK | libc::O_CLOEXEC));
    let number = number.inspect_err(|_| sys::close(id))?;
    fd::register(number, id)?;
    Ok(number)
}

/// Waits until the other side has come, if only for a moment.
fn meet(id: SocketId) -> io::Result<()> {
    let before = sys::fifo_count(id)?;
    let met = threads::block_on_waker("open of a FIFO", None, |waker| match sys::fifo_count(id) {
        Ok(count) if count == before => {
            let everything = Direction::Read.mask() | Direction::Write.mask();
            sys::wait_in_thread(id, everything, waker).err().map(Err)
        }
        result => Some(result.map(drop)),
    });
    met.expect("invariant: a wait without a limit does not end by time")
}
