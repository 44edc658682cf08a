//! The file half of the host layer: libc's symbols, answered from the world's disks.
//!
//! Owns every `unsafe` block of this crate. Must not know what a file is: every answer comes from `tree`.
//! Invariants: a call on any other descriptor is the raw system call and costs one load more; outside a
//! simulation a process behaves as if this crate were not there; nothing here unwinds.
//!
//! * [`marks`] says which descriptors are simulated files; [`machine`] is the way to the real ones;
//! * `call` has in common what all symbols do: whose is it, does it fail, how long does it take;
//! * `open`, `data`, `space`, `names`, `status`, `attributes`, `folder`, `place`, `locks`, `mapping`, `streams` are the system calls by topic;
//! * [`shared`] are the functions that the owner of `read`, `write`, `close`, `dup` and `fcntl` asks.
#![allow(unsafe_code, reason = "this folder is where the crate meets the operating system")]

mod attributes;
mod call;
mod data;
mod fill;
mod folder;
mod from_raw;
mod locks;
pub(crate) mod machine;
mod mapping;
pub(crate) mod marks;
mod names;
mod open;
mod place;
pub mod shared;
mod space;
mod status;
mod streams;

use libc::{c_int, c_long};
use shim_runtime::host::raw;

use crate::error::{Errno, Result};

/// A result as libc gives it.
fn to_libc(result: Result<isize>) -> isize {
    match result {
        Ok(value) => value,
        Err(errno) => fail(errno),
    }
}

fn fail(errno: Errno) -> isize {
    raw::set_errno(errno.0);
    -1
}

/// The system call itself.
///
/// # Safety
/// As the system call.
pub(crate) unsafe fn kernel<const N: usize>(call: c_long, arguments: [usize; N]) -> isize {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the caller vouches for the arguments; those that the call does not have are not looked at.
    unsafe { raw::syscall6(call, a, b, c, d, e, f) }
}

/// `value` as an argument of a system call: the kernel looks at the low half alone.
pub(crate) fn int(value: c_int) -> usize {
    value as isize as usize
}
