//! `fcntl`, `ioctl` and `dup`: what belongs to a descriptor, not to a socket.
//!
//! Owns copies of descriptors, and what `ioctl` tells of a socket's queues. Must not know options. Invariant:
//! flags are the placeholder's, so that `FD_CLOEXEC` and `O_NONBLOCK` cost nothing here.
//!
//! `fcntl` and `ioctl` are variadic in C. With the calling conventions of x86-64 and AArch64 Linux a variadic
//! argument comes in the register that a third named one would have, so they are defined with three.

use std::io;

use libc::{c_int, c_ulong};
use shim_fs::host::shared;
use shim_runtime::host::raw;

use super::table::{self, Mark};
use super::{Owner, answer, calls_open, epoll, fd, int, kernel, loud, owner};
use crate::sys::{self, Kind};

/// `SIOCOUTQ`, which is `TIOCOUTQ`.
const UNSENT_BYTES: c_ulong = 0x5411;
/// `fcntl(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: as this call.
    if let Some(result) = unsafe { shared::fcntl(fd, command, argument) } {
        return result;
    }
    // SAFETY: as the system call.
    let result = unsafe { kernel(libc::SYS_fcntl, [int(fd), int(command), argument]) };
    if matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) {
        return copied(fd, result);
    }
    if command == libc::F_SETPIPE_SZ
        && result > 0
        && let Owner::World(id) = owner(fd)
        && let Err(error) = sys::pipe_resize(id, result as usize)
    {
        return super::fail(super::number(&error)) as c_int;
    }
    raw::to_libc(result) as c_int
}

/// `fcntl(2)`, by glibc's other name.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: as this call.
    unsafe { fcntl(fd, command, argument) }
}

/// `dup(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn dup(fd: c_int) -> c_int {
    // SAFETY: the call has no pointers.
    copied(fd, unsafe { kernel(libc::SYS_dup, [int(fd)]) })
}

/// `dup2(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn dup2(fd: c_int, new: c_int) -> c_int {
    if fd == new {
        // SAFETY: the call has no pointers.
        let flags = unsafe { kernel(libc::SYS_fcntl, [int(fd), int(libc::F_GETFD)]) };
        return if flags < 0 { raw::to_libc(flags) as c_int } else { fd };
    }
    dup3(fd, new, 0)
}

/// `dup3(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn dup3(fd: c_int, new: c_int, flags: c_int) -> c_int {
    // SAFETY: the call has no pointers.
    let result = unsafe { kernel(libc::SYS_dup3, [int(fd), int(new), int(flags)]) };
    if result >= 0 {
        // What the number was before is closed.
        calls_open::forget(new);
    }
    copied(fd, result)
}

/// The kernel copied `fd`: the copy is the same socket.
fn copied(fd: c_int, result: isize) -> c_int {
    if result < 0 {
        return raw::to_libc(result) as c_int;
    }
    let copy = result as c_int;
    match (table::mark(fd), owner(fd)) {
        (Mark::Socket | Mark::Pipe, Owner::World(id)) => match fd::register(copy, id) {
            Ok(()) => copy,
            Err(error) => super::fail(super::number(&error)) as c_int,
        },
        (Mark::Entropy, _) => {
            table::set_mark(copy, Mark::Entropy);
            copy
        }
        (Mark::Poller | Mark::Counter, _) => {
            epoll::copied(fd, copy);
            copy
        }
        _ => {
            shared::copied(fd, copy);
            copy
        }
    }
}

/// `ioctl(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    // SAFETY: as the system call.
    let real = || unsafe { kernel(libc::SYS_ioctl, [int(fd), request as usize, argument]) };
    answer("ioctl", fd, real, |id| match request {
        libc::FIONBIO | libc::FIOCLEX | libc::FIONCLEX => match real() {
            result if result < 0 => Err(io::Error::from_raw_os_error(-result as i32)),
            result => Ok(result),
        },
        libc::FIONREAD => {
            let count = sys::unread(id)?;
            // SAFETY: the caller vouches for the argument, which is a pointer to a number.
            unsafe { *(argument as *mut c_int) = count as c_int };
            Ok(0)
        }
        UNSENT_BYTES if sys::describe(id)?.1 == Kind::Datagram => {
            // SAFETY: as above.
            unsafe { *(argument as *mut c_int) = 0 };
            Ok(0)
        }
        _ => {
            loud(&format!("ioctl: request {request:#x} on a socket"));
            Err(io::Error::from_raw_os_error(libc::ENOTTY))
        }
    }) as c_int
}
