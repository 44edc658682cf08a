//! The socket half of the host layer: libc's symbols, answered from the world for simulated descriptors.
//!
//! Owns every `unsafe` block of this crate. Must not know protocols: every answer comes through `sys`.
//! Invariants: a call on any other descriptor is the raw system call and costs one atomic load more;
//! outside a simulation a process behaves as if this crate were not there; nothing here unwinds.
//!
//! * `table` says which descriptors are simulated, and which socket each one is; `pollers` has the others; [`fd`] is the mirror's way in;
//! * `calls_open`, `calls_data`, `message`, `options`, `flags`, `poll`, `epoll`, `eventfd` are the system calls by topic;
//! * `transfer` and `wait` are what those have in common: how much is moved, and how a thread waits;
//! * `resolver` and `names` are `getaddrinfo`; `interfaces` is `getifaddrs`; `files` is `/dev/urandom`;
//! * `address` and `control` put what they are given into the kernel's forms and back, and call nobody;
//!   `ancillary` is what control messages mean.
#![allow(unsafe_code, reason = "this folder is where the crate meets the operating system")]

mod address;
pub(crate) mod adopt;
mod ancillary;
mod async_fd;
mod calls_data;
mod calls_open;
mod control;
mod epoll;
mod eventfd;
pub mod fd;
mod files;
mod flags;
mod from_raw;
mod interfaces;
mod message;
mod names;
mod options;
mod pipe;
mod poll;
pub(crate) mod pollers;
mod resolver;
pub(crate) mod table;
mod target;
mod transfer;
mod wait;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use libc::{c_int, c_long};
use shim_runtime::device;
use shim_runtime::host::raw;

use crate::error::Errno;
use crate::net::Net;
use crate::sys::SocketId;
use table::Mark;

/// Whose a descriptor is.
enum Owner {
    /// The kernel's.
    Kernel,
    /// The world's.
    World(SocketId),
    /// A world's, but not that of the calling thread.
    Elsewhere,
}

fn owner(fd: c_int) -> Owner {
    if !table::mark(fd).is_simulated() {
        return Owner::Kernel;
    }
    match device::try_with::<Net, _>(|net, _| net.descriptors.find(fd)).flatten() {
        Some(id) => Owner::World(id),
        None => Owner::Elsewhere,
    }
}

/// The calls that are for descriptors of every kind; the others are for sockets.
const FOR_FILES: [&str; 5] = ["read", "write", "readv", "writev", "ioctl"];

/// Answers `call` on `fd` as libc does: from the world, or from the kernel.
fn answer(
    call: &'static str,
    fd: c_int,
    kernel: impl FnOnce() -> isize,
    world: impl FnOnce(SocketId) -> io::Result<isize>,
) -> isize {
    match owner(fd) {
        Owner::Kernel => raw::to_libc(kernel()),
        Owner::World(_) if table::mark(fd) == Mark::Pipe && !FOR_FILES.contains(&call) => {
            fail(libc::ENOTSOCK)
        }
        Owner::World(id) => to_libc(world(id)),
        Owner::Elsewhere => {
            loud(&format!(
                "{call}: descriptor {fd} is a simulated socket, and this thread is not in its simulation"
            ));
            fail(libc::EBADF)
        }
    }
}

/// A result as libc gives it.
fn to_libc(result: io::Result<isize>) -> isize {
    match result {
        Ok(value) => value,
        Err(error) => fail(number(&error)),
    }
}

fn fail(errno: c_int) -> isize {
    raw::set_errno(errno);
    -1
}

/// The number of an error.
fn number(error: &io::Error) -> c_int {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// An error that the application is given.
fn refuse<T>(errno: Errno) -> io::Result<T> {
    Err(errno.into())
}

fn would_block(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}

/// The system call itself.
///
/// # Safety
/// As the system call.
unsafe fn kernel<const N: usize>(call: c_long, arguments: [usize; N]) -> isize {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the caller vouches for the arguments; those that the call does not have are not looked at.
    unsafe { raw::syscall6(call, a, b, c, d, e, f) }
}

/// `value` as an argument of a system call: the kernel looks at the low half alone.
fn int(value: c_int) -> usize {
    value as isize as usize
}

/// Says on standard error, once, that something is not simulated.
#[expect(clippy::disallowed_macros, reason = "what is not simulated must be seen")]
fn loud(text: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
        eprintln!("simulation: unsupported: {text}");
    }
}
