//! Threads that an application starts itself: `pthread_create` and `pthread_join`.
//!
//! Owns how such a thread joins its run: it waits for the baton before its first instruction, and gives it on
//! after its last. Must not start threads. Invariant: the engine's own threads, and those outside a run, are
//! libc's alone.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use libc::{c_int, c_void, pthread_attr_t, pthread_t};

use super::next::Next;
use crate::context::{self, Shared};
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
    // The thread takes part in its run until the last destructor of a thread-local is over: those of keys come
    // after those of Rust's own.
    MEMBER.set(Box::into_raw(Box::new(adopted)));
    // SAFETY: the key was made with a destructor that takes what is stored here, once.
    unsafe { libc::pthread_setspecific(end_key(), MEMBER.get().cast()) };
    start(argument)
}

thread_local! {
    /// What the calling thread is to its run, if the application started it there.
    static MEMBER: Cell<*mut Adopted> = const { Cell::new(std::ptr::null_mut()) };
}

/// The run that the application started the calling thread in.
pub(crate) fn run_of_adopted() -> Option<Arc<Shared>> {
    // SAFETY: the pointer is null, or what `begin` put there, which lives until `end` has made it null.
    let adopted = unsafe { MEMBER.get().as_ref() }?;
    Some(Arc::clone(&adopted.shared))
}

/// Whether the application started the calling thread in a run.
pub(crate) fn is_adopted() -> bool {
    !MEMBER.get().is_null()
}

/// The key whose destructor ends an adopted thread.
fn end_key() -> libc::pthread_key_t {
    static KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: `key` is valid to write; `end` has the type of a destructor.
        let result = unsafe { libc::pthread_key_create(&mut key, Some(end)) };
        assert_eq!(result, 0, "no key is left for the threads of a simulation");
        key
    })
}

unsafe extern "C" fn end(adopted: *mut c_void) {
    // SAFETY: `begin` made this for this thread alone, and a key's destructor is called once.
    let adopted = unsafe { Box::from_raw(adopted.cast::<Adopted>()) };
    // Before the baton is given away: from there on another thread may be in the run.
    MEMBER.set(std::ptr::null_mut());
    threads::end_adopted(&adopted);
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
        // A thread of the same process may never have ended.
        threads::end_if_node_is_gone();
    }
    // SAFETY: the caller's own arguments.
    unsafe { real_join()(thread, result) }
}
