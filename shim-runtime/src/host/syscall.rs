//! `syscall(2)`: the door that getrandom 0.2, parking_lot and std's locks go through.
//!
//! Owns the choice of which numbers are answered from the world. Must not answer what it does not know:
//! everything else goes to the kernel. Invariant: arguments are passed on unchanged.

use libc::{c_long, timespec};

use super::{clock, entropy, futex, identity, kill, raw};
use crate::context;

/// `syscall(2)`. Declared with all six arguments: a caller that passes fewer leaves registers that the kernel
/// does not look at.
///
/// # Safety
/// As the system call itself.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(
    number: c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> c_long {
    if context::in_run() {
        // SAFETY: as the system call.
        if let Some(result) = unsafe { answer(number, [a, b, c, d, e, f]) } {
            return result;
        }
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { raw::syscall6(number, a, b, c, d, e, f) }) as c_long
}

/// The world's answer, where it has one.
///
/// # Safety
/// As the system call itself.
unsafe fn answer(number: c_long, arguments: [usize; 6]) -> Option<c_long> {
    let [a, b, c, d, ..] = arguments;
    // SAFETY: each call is made with the arguments that the caller vouches for.
    unsafe {
        match number {
            libc::SYS_getrandom => Some(entropy::getrandom(a as *mut libc::c_void, b, c as u32) as c_long),
            libc::SYS_clock_gettime => Some(c_long::from(clock::clock_gettime(a as i32, b as *mut timespec))),
            libc::SYS_gettimeofday => {
                Some(c_long::from(clock::gettimeofday(a as *mut libc::timeval, b as *mut libc::c_void)))
            }
            libc::SYS_nanosleep => {
                Some(c_long::from(clock::nanosleep(a as *const timespec, b as *mut timespec)))
            }
            libc::SYS_clock_nanosleep => {
                let errno =
                    clock::clock_nanosleep(a as i32, b as i32, c as *const timespec, d as *mut timespec);
                if errno == 0 {
                    return Some(0);
                }
                raw::set_errno(errno);
                Some(-1)
            }
            libc::SYS_getpid => Some(c_long::from(identity::getpid())),
            libc::SYS_gettid => Some(c_long::from(identity::gettid())),
            libc::SYS_sched_getaffinity => {
                let result = identity::sched_getaffinity(a as i32, b, c as *mut libc::cpu_set_t);
                Some(if result == 0 { b as c_long } else { c_long::from(result) })
            }
            libc::SYS_futex => {
                futex::answer(a, b, c, d, arguments[5]).map(|result| raw::to_libc(result) as c_long)
            }
            other => kill::answer(other, arguments),
        }
    }
}
