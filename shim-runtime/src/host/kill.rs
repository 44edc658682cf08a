//! Signals that a program sends: `kill`, `raise`, `tgkill`, `pthread_kill`, `killpg`.
//!
//! Owns the choice of who is meant: a process of the world, or one of the machine. Must not know what a signal
//! does. Invariant: no signal leaves a simulation, unless real children were allowed.
//!
//! A handler that the program installed itself (`sigaction`, signal-hook) is the kernel's: where tokio never
//! listened for a signal that the process sends to itself, the kernel calls the handler, at that place in the run.

use std::sync::Arc;

use libc::{c_int, c_long, pid_t, pthread_t};

use super::next::Next;
use super::{raw, watchdog};
use crate::context::{self, Shared};
use crate::external;
use crate::node::{NodeId, process, signal};

/// `kill(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn kill(pid: pid_t, number: c_int) -> c_int {
    if let Some(shared) = context::run_of_thread() {
        return finish(send(&shared, pid, number), || real_kill(pid, number));
    }
    // SAFETY: the call has no arguments.
    let own = unsafe { raw::syscall6(libc::SYS_getpid, 0, 0, 0, 0, 0, 0) } as pid_t;
    if pid == own && number > 0 && external::send_to_listeners(number) {
        return 0;
    }
    real_kill(pid, number)
}

/// `killpg(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn killpg(group: pid_t, number: c_int) -> c_int {
    kill(-group, number)
}

/// `raise(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn raise(number: c_int) -> c_int {
    if let Some(shared) = context::run_of_thread() {
        return finish(send(&shared, 0, number), || to_own_thread(number));
    }
    if number > 0 && external::send_to_listeners(number) {
        return 0;
    }
    to_own_thread(number)
}

/// `tgkill(2)`: threads of a node's process cannot be told apart by signals.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tgkill(process: pid_t, thread: pid_t, number: c_int) -> c_int {
    if let Some(shared) = context::run_of_thread() {
        return finish(send(&shared, process, number), || real_tgkill(process, thread, number));
    }
    real_tgkill(process, thread, number)
}

/// `pthread_kill(3)`: returns the error instead of setting `errno`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pthread_kill(thread: pthread_t, number: c_int) -> c_int {
    if number != 0
        && let Some(shared) = context::run_of_thread()
        && let Some(answer) = send(&shared, 0, number)
    {
        return answer;
    }
    static NEXT: Next = Next::new(c"pthread_kill");
    // SAFETY: libc's symbol has this type.
    let function: extern "C" fn(pthread_t, c_int) -> c_int = unsafe { std::mem::transmute(NEXT.address()) };
    function(thread, number)
}

fn finish(answer: Option<c_int>, real: impl FnOnce() -> c_int) -> c_int {
    match answer {
        Some(0) => 0,
        Some(errno) => {
            raw::set_errno(errno);
            -1
        }
        None => real(),
    }
}

/// Sends a signal within the world: zero or an errno; `None` where the machine is to be asked.
fn send(shared: &Arc<Shared>, pid: pid_t, number: c_int) -> Option<c_int> {
    if !(0..=libc::SIGRTMAX()).contains(&number) {
        return Some(libc::EINVAL);
    }
    let own = shared.current.get().node;
    let Some(node) = process::find(shared, own, pid) else {
        return if process::real_children_allowed(shared) { None } else { Some(libc::ESRCH) };
    };
    if node == own && !signal::is_listened(shared, own, number) && is_handled_by_kernel(number) {
        to_own_thread(number);
        return Some(0);
    }
    signal::send_in(shared, node, number);
    if node == own {
        end_here_if_dead(shared, own);
    }
    Some(0)
}

/// A thread whose process just died does not come back from the call; a task's poll does, and is its last.
fn end_here_if_dead(shared: &Arc<Shared>, own: NodeId) {
    let dead = own != NodeId(0) && shared.with(|world| !world.node(own).alive());
    if dead && crate::threads::on_worker() {
        crate::threads::wait_for_end(shared);
    }
}

/// Whether the program has a handler of its own for the signal, or ignores it.
fn is_handled_by_kernel(number: c_int) -> bool {
    if number == 0 || number == libc::SIGSEGV || number == watchdog::signal_number() {
        return false;
    }
    // SAFETY: all-zero is a valid action, and this call only asks.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(number, std::ptr::null(), &mut action) != 0 {
            return false;
        }
        action.sa_sigaction
    };
    action != libc::SIG_DFL && action != libc::SIG_IGN
}

fn real_kill(pid: pid_t, number: c_int) -> c_int {
    // SAFETY: the caller's own arguments.
    raw::to_libc(unsafe { raw::syscall6(libc::SYS_kill, pid as usize, number as usize, 0, 0, 0, 0) }) as c_int
}

fn real_tgkill(process: pid_t, thread: pid_t, number: c_int) -> c_int {
    let (process, thread) = (process as usize, thread as usize);
    // SAFETY: the caller's own arguments.
    let result = unsafe { raw::syscall6(libc::SYS_tgkill, process, thread, number as usize, 0, 0, 0) };
    raw::to_libc(result) as c_int
}

fn to_own_thread(number: c_int) -> c_int {
    // SAFETY: the calls have no arguments.
    let (process, thread) = unsafe {
        (raw::syscall6(libc::SYS_getpid, 0, 0, 0, 0, 0, 0), raw::syscall6(libc::SYS_gettid, 0, 0, 0, 0, 0, 0))
    };
    real_tgkill(process as pid_t, thread as pid_t, number)
}

/// The same through `syscall(2)`, where it is one of these calls.
pub(super) fn answer(number: c_long, arguments: [usize; 6]) -> Option<c_long> {
    let [a, b, c, ..] = arguments;
    match number {
        libc::SYS_kill => Some(c_long::from(kill(a as pid_t, b as c_int))),
        libc::SYS_tgkill => Some(c_long::from(tgkill(a as pid_t, b as pid_t, c as c_int))),
        libc::SYS_tkill => Some(c_long::from(raise(b as c_int))),
        _ => None,
    }
}
