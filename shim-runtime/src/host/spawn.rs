//! Processes that a program starts by libc: `posix_spawn`, `posix_spawnp`, `fork`, `vfork`, `execv`, `execve`, `execvp`.
//!
//! Owns their refusal inside a simulation, which is loud: a process of the machine knows nothing of the world. Must
//! not start simulated ones. Invariant: outside a simulation, and where real processes were allowed, each call is
//! libc's own.

use libc::{c_char, c_int, c_void, pid_t};

use super::next::Next;
use super::{raw, tsc};
use crate::node::process;
use crate::{context, external};

type Texts = *const *const c_char;
type Spawn =
    unsafe extern "C" fn(*mut pid_t, *const c_char, *const c_void, *const c_void, Texts, Texts) -> c_int;

/// Whether the call must be refused; says so on standard error.
fn refused(call: &str) -> bool {
    let refused = context::in_run() && !process::may_start_real();
    if refused {
        refuse(call);
    }
    refused
}

/// Says what to do instead of starting a process of the machine.
#[expect(clippy::disallowed_macros, reason = "the program only sees an errno")]
pub(crate) fn refuse(what: &str) {
    eprintln!(
        "simulation: {what} would start a process of the machine, which is refused. Register the program with \
         `tokio::sim::program` and start it by `tokio::process`, or allow real processes by SIM_REAL_PROCESSES=1; \
         such a run cannot be repeated (see SUPPORT.md)"
    );
}

/// Makes a call that starts a process of the machine, which must not inherit the trap of the time-stamp counter.
fn untrapped<R>(call: impl FnOnce() -> R, is_child: impl FnOnce(&R) -> bool) -> R {
    if !context::in_run() {
        return call();
    }
    external::mark_not_deterministic("the program started a process of the machine");
    tsc::end();
    let result = call();
    if !is_child(&result) {
        tsc::begin();
    }
    result
}

/// `posix_spawn(3)`: returns the error instead of setting `errno`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_spawn(
    pid: *mut pid_t,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Texts,
    environment: Texts,
) -> c_int {
    if refused("posix_spawn") {
        return libc::ENOSYS;
    }
    static NEXT: Next = Next::new(c"posix_spawn");
    // SAFETY: libc's symbol has this type, and the arguments are the caller's own.
    unsafe {
        let function: Spawn = std::mem::transmute(NEXT.address());
        untrapped(|| function(pid, path, actions, attributes, arguments, environment), |_| false)
    }
}

/// `posix_spawnp(3)`: returns the error instead of setting `errno`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_spawnp(
    pid: *mut pid_t,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    arguments: Texts,
    environment: Texts,
) -> c_int {
    if refused("posix_spawnp") {
        return libc::ENOSYS;
    }
    static NEXT: Next = Next::new(c"posix_spawnp");
    // SAFETY: libc's symbol has this type, and the arguments are the caller's own.
    unsafe {
        let function: Spawn = std::mem::transmute(NEXT.address());
        untrapped(|| function(pid, file, actions, attributes, arguments, environment), |_| false)
    }
}

/// `fork(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn fork() -> pid_t {
    if refused("fork") {
        raw::set_errno(libc::ENOSYS);
        return -1;
    }
    static NEXT: Next = Next::new(c"fork");
    // SAFETY: libc's symbol has this type.
    let function: extern "C" fn() -> pid_t = unsafe { std::mem::transmute(NEXT.address()) };
    untrapped(|| function(), |child| *child == 0)
}

/// `vfork(2)`, which may be a `fork`, and here is: its caller's frame must outlive it.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn vfork() -> pid_t {
    fork()
}

/// `execv(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execv(path: *const c_char, arguments: Texts) -> c_int {
    if refused("execv") {
        raw::set_errno(libc::ENOSYS);
        return -1;
    }
    static NEXT: Next = Next::new(c"execv");
    // SAFETY: libc's symbol has this type, and the arguments are the caller's own.
    unsafe {
        let function: unsafe extern "C" fn(*const c_char, Texts) -> c_int =
            std::mem::transmute(NEXT.address());
        function(path, arguments)
    }
}

/// `execvp(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execvp(file: *const c_char, arguments: Texts) -> c_int {
    if refused("execvp") {
        raw::set_errno(libc::ENOSYS);
        return -1;
    }
    static NEXT: Next = Next::new(c"execvp");
    // SAFETY: libc's symbol has this type, and the arguments are the caller's own.
    unsafe {
        let function: unsafe extern "C" fn(*const c_char, Texts) -> c_int =
            std::mem::transmute(NEXT.address());
        function(file, arguments)
    }
}

/// `execve(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn execve(path: *const c_char, arguments: Texts, environment: Texts) -> c_int {
    if refused("execve") {
        raw::set_errno(libc::ENOSYS);
        return -1;
    }
    // SAFETY: the caller's own arguments.
    let result = unsafe {
        raw::syscall6(libc::SYS_execve, path as usize, arguments as usize, environment as usize, 0, 0, 0)
    };
    raw::to_libc(result) as c_int
}
