//! Threads that an application starts itself: `pthread_create`.
//!
//! Owns the notice that such a thread makes a run not repeatable. Must not keep the thread from running.
//! Invariant: the engine's own threads are not noticed.

use libc::{c_int, c_void, pthread_attr_t, pthread_t};

use super::next::Next;
use crate::context;

type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// `pthread_create(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    static NEXT: Next = Next::new(c"pthread_create");
    type Create = unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;
    // SAFETY: libc's symbol has this type.
    let create: Create = unsafe { std::mem::transmute(NEXT.address()) };
    if !super::is_own_thread() {
        notice();
    }
    // SAFETY: the caller's own arguments.
    unsafe { create(thread, attributes, start, argument) }
}

fn notice() {
    context::try_with_run(|shared| {
        if let Ok(mut world) = shared.world.try_borrow_mut() {
            world.threads.foreign += 1;
            let node = world.nodes.get(shared.current.get().node.0 as usize).map(|node| node.name.clone());
            let node = node.unwrap_or_default();
            let reason = format!(
                "node {node:?} started a thread of its own (pthread_create), which the scheduler does not control"
            );
            if !world.not_deterministic.contains(&reason) {
                world.not_deterministic.push(reason);
            }
        }
    });
}
