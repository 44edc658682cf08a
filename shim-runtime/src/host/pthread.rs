//! Threads that an application starts itself: `pthread_create` and `pthread_join`.
//!
//! Owns how such a thread joins its run: it waits for the baton before its first instruction, and gives it on
//! after its last. Must not start threads. Invariant: the engine's own threads, and those outside a run, are
//! libc's alone.

use std::sync::Arc;

use libc::{c_int, c_void, pthread_attr_t, pthread_t};

use super::next::Next;
use crate::context;
use crate::threads::{self, Adopted};

type Start = extern "C-unwind" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;
type Join = unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int;

fn real_create() -> Create {
    static NEXT: Next = Next::new(c"pthread_create");
    // SAFETY: libc's symbol has this type.
    unsafe { std::mem::transmute::<*mut c_void, Create>(NEXT.address()) }
}

fn real_join() -> Join {
    static NEXT: Next = Next::new(c"pthread_join");
    // SAFETY: libc's symbol has this type.
    unsafe { std::mem::transmute::<*mut c_void, Join>(NEXT.address()) }
}

/// What a thread of a run is started with.
struct Beginning {
    adopted: Adopted,
    start: Start,
    argument: *mut c_void,
}

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
    let shared = if super::is_own_thread() { None } else { context::run_of_thread() };
    let Some(shared) = shared else {
        // SAFETY: the caller's own arguments.
        return unsafe { real_create()(thread, attributes, start, argument) };
    };
    let adopted = threads::adopt(&shared);
    let beginning = Box::into_raw(Box::new(Beginning { adopted: adopted.clone(), start, argument }));
    // SAFETY: the caller's own arguments, but for the function, which takes what it is given here.
    let result = unsafe { real_create()(thread, attributes, begin, beginning.cast()) };
    if result == 0 {
        // SAFETY: on success libc has written the thread's name.
        threads::register(&shared, unsafe { *thread }, &adopted);
    } else {
        // SAFETY: the thread that would have taken it was not started.
        drop(unsafe { Box::from_raw(beginning) });
        threads::end_adopted(&adopted);
    }
    result
}

extern "C-unwind" fn begin(beginning: *mut c_void) -> *mut c_void {
    // SAFETY: `pthread_create` above made this for this thread alone.
    let Beginning { adopted, start, argument } = *unsafe { Box::from_raw(beginning.cast::<Beginning>()) };
    if !threads::begin_adopted(&adopted) {
        threads::end_adopted(&adopted);
        return std::ptr::null_mut();
    }
    let shared = Arc::clone(&adopted.shared);
    let result = shared.enter(|| start(argument));
    threads::end_adopted(&adopted);
    result
}

/// `pthread_join(3)`: a thread of a run waits for another with the baton given away.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pthread_join(thread: pthread_t, result: *mut *mut c_void) -> c_int {
    if !super::is_own_thread()
        && let Some(shared) = context::run_of_thread()
    {
        threads::wait_for_adopted(&shared, thread);
    }
    // SAFETY: the caller's own arguments.
    unsafe { real_join()(thread, result) }
}
