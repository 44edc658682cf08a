//! Who a process thinks that it is: its number, its thread's number, its host's name, its processors.
//!
//! Owns the answers, which are the current node's. Must not know sockets. Invariant: nothing that differs
//! between two machines, or two runs on one, can be learnt through these calls.

use libc::{c_char, c_int, c_long, cpu_set_t, pid_t, size_t, utsname};

use super::raw;
use crate::context::{self, Shared};
use crate::node::{Node, NodeId};

fn of_node<R>(f: impl FnOnce(&Node) -> R) -> Option<R> {
    context::try_with_run(|shared| {
        let node = shared.current.get().node;
        shared.world.try_borrow().ok().and_then(|world| world.nodes.get(node.0 as usize).map(f))
    })
    .flatten()
}

fn of_given<R>(node: NodeId, f: impl FnOnce(&Node) -> R) -> Option<R> {
    context::try_with_run(|shared| {
        shared.world.try_borrow().ok().and_then(|world| world.nodes.get(node.0 as usize).map(f))
    })
    .flatten()
}

fn cpus(shared: &Shared) -> usize {
    shared.world.try_borrow().map_or(1, |world| world.config.cpus)
}

/// `getpid(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn getpid() -> pid_t {
    // SAFETY: the call has no arguments.
    of_node(|node| node.pid as pid_t)
        .unwrap_or_else(|| unsafe { raw::syscall6(libc::SYS_getpid, 0, 0, 0, 0, 0, 0) } as pid_t)
}

/// `getppid(2)`: a machine's own process was started by its init.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn getppid() -> pid_t {
    // SAFETY: the call has no arguments.
    parent_id().unwrap_or_else(|| unsafe { raw::syscall6(libc::SYS_getppid, 0, 0, 0, 0, 0, 0) } as pid_t)
}

fn parent_id() -> Option<pid_t> {
    let parent = of_node(|node| node.parent)?;
    let parent = parent.and_then(|parent| of_given(parent, |node| node.pid as pid_t));
    Some(parent.unwrap_or(1))
}

/// `gettid(2)`: a node's tasks share one thread, as far as they can tell.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gettid() -> pid_t {
    thread_id().unwrap_or_else(|| {
        // SAFETY: the call has no arguments.
        unsafe { raw::syscall6(libc::SYS_gettid, 0, 0, 0, 0, 0, 0) as pid_t }
    })
}

/// The number of the current node's thread inside a simulation.
pub(crate) fn thread_id() -> Option<pid_t> {
    of_node(|node| node.pid as pid_t)
}

/// `gethostname(2)`.
///
/// # Safety
/// `name` must be valid to write for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn gethostname(name: *mut c_char, length: size_t) -> c_int {
    // SAFETY: all-zero is a valid utsname.
    let mut system: utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `system` is valid to write.
    if unsafe { uname(&mut system) } != 0 {
        return -1;
    }
    let own = &system.nodename;
    let end = own.iter().position(|byte| *byte == 0).unwrap_or(own.len() - 1);
    if end + 1 > length {
        raw::set_errno(libc::ENAMETOOLONG);
        return -1;
    }
    // SAFETY: the caller vouches for `name`, which has room for the name and its end.
    unsafe { std::ptr::copy_nonoverlapping(own.as_ptr(), name, end + 1) };
    0
}

/// `uname(2)`: the node's name; the kernel's is fixed.
///
/// # Safety
/// `out` must be valid to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn uname(out: *mut utsname) -> c_int {
    let name = of_node(|node| node.machine).and_then(|machine| of_given(machine, |node| node.name.clone()));
    let Some(name) = name else {
        // SAFETY: as the system call.
        let result = unsafe { raw::syscall6(libc::SYS_uname, out as usize, 0, 0, 0, 0, 0) };
        return raw::to_libc(result) as c_int;
    };
    // SAFETY: the caller vouches for `out`; all-zero is a valid utsname.
    let system = unsafe {
        out.write(std::mem::zeroed());
        &mut *out
    };
    put(&mut system.sysname, "Linux");
    put(&mut system.nodename, &name);
    put(&mut system.release, "6.6.0-sim");
    put(&mut system.version, "#1 SMP");
    put(&mut system.machine, std::env::consts::ARCH);
    put(&mut system.domainname, "(none)");
    0
}

fn put(field: &mut [c_char], text: &str) {
    let room = field.len() - 1;
    for (to, from) in field.iter_mut().zip(text.bytes().take(room)) {
        *to = from as c_char;
    }
}

/// `sched_getaffinity(2)`: std's `available_parallelism`.
///
/// # Safety
/// `mask` must be valid to write for `size` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sched_getaffinity(pid: pid_t, size: size_t, mask: *mut cpu_set_t) -> c_int {
    let Some(cpus) = context::try_with_run(|shared| cpus(shared)) else {
        // SAFETY: as the system call.
        let result =
            unsafe { raw::syscall6(libc::SYS_sched_getaffinity, pid as usize, size, mask as usize, 0, 0, 0) };
        if result < 0 {
            return raw::to_libc(result) as c_int;
        }
        // The system call returns how many bytes it wrote; libc clears the rest and returns zero.
        // SAFETY: the caller vouches for `size` bytes.
        unsafe { std::ptr::write_bytes(mask.cast::<u8>().add(result as usize), 0, size - result as usize) };
        return 0;
    };
    // SAFETY: the caller vouches for `mask`.
    unsafe {
        std::ptr::write_bytes(mask.cast::<u8>(), 0, size);
        for cpu in 0..cpus.min(size * 8) {
            *mask.cast::<u8>().add(cpu / 8) |= 1 << (cpu % 8);
        }
    }
    0
}

/// `sysconf(3)`: the number of processors is the configuration's; all else is the system's.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sysconf(name: c_int) -> c_long {
    if matches!(name, libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF)
        && let Some(cpus) = context::try_with_run(|shared| cpus(shared))
    {
        return cpus as c_long;
    }
    super::next::sysconf(name)
}
