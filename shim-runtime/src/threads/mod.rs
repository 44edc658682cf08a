//! Threads of a world: they pass a baton, and exactly one runs at any moment.
//!
//! Owns who holds the baton: one thread is the *driver*, which runs the scheduler's loop; the others are
//! blocking closures, an application's `fn main()`, the `block_on` of a multi-threaded runtime, and whoever
//! blocks. Must not know what they run.
//! Invariant: a thread other than the driver runs only between being picked by the loop and giving the
//! baton back to the driver.

mod adopted;
mod driver;
mod ending;
pub(crate) mod guest;
mod outlive;

pub use outlive::wait_or_fail;
pub(crate) use outlive::{end_if_node_is_gone, wait_tidily};

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

pub(crate) use adopted::{Adopted, adopt, begin_adopted, end_adopted, register, wait_for_adopted};
pub(crate) use driver::{Role, is_retired, still_driver};
use driver::{stand_in, take_stall};
pub(crate) use ending::{end_all, kill};

use crate::context::{self, Current, Entered, Shared, Wait};
use crate::host::baton::Parker;
use crate::host::watchdog;
use crate::node::NodeId;
use crate::report::Stalled;
use crate::scheduler::{self, Event};
use crate::task::header::Header;
use crate::task::{Body, TaskRef};
use crate::world::World;

/// A thread of a world.
#[derive(Default)]
pub(crate) struct SimThread {
    parker: Parker,
    /// It must unwind (or never run again) instead of going on.
    killed: AtomicBool,
    /// It waits in a call that fails instead, where it is killed.
    survives: AtomicBool,
    /// A stand-in driver that is no longer needed.
    retired: AtomicBool,
    /// An adopted thread that has begun.
    runs: AtomicBool,
    /// It waits where it can be told that the run cannot go on.
    hears_stalls: AtomicBool,
    /// It runs the loop, or stands in for one that does: its polls are not its own.
    drives: bool,
    job: Mutex<Option<Job>>,
    /// It has nothing left to do but to end.
    gone: AtomicBool,
    /// Where the engine started it.
    os_thread: Mutex<Option<thread::JoinHandle<()>>>,
}

pub(crate) type ThreadRef = Arc<SimThread>;

/// A closure to run on a thread, and the task that stands for it.
pub(crate) struct Job {
    pub(crate) run: Box<dyn FnOnce() + Send>,
    pub(crate) current: Current,
}

/// The threads of a world.
#[derive(Default)]
pub(crate) struct Threads {
    /// Who runs the loop: the last; those before it wait in the middle of a poll.
    drivers: Vec<ThreadRef>,
    /// Threads that drove, and may again.
    reserve: Vec<ThreadRef>,
    /// How many threads from outside have been let in.
    guests: usize,
    /// Residents that leave once these have.
    leaving: Vec<Waker>,
    /// Why the run cannot go on, on its way to whoever hears it.
    stalled: Option<Stalled>,
    /// Threads for blocking closures that have nothing to do, with their names.
    idle: Vec<(Arc<str>, ThreadRef)>,
    /// Threads that the application started itself, by libc's names for them.
    adopted: BTreeMap<u64, AdoptedState>,
}

struct AdoptedState {
    header: Arc<Header>,
    joiners: Vec<Waker>,
}

impl Threads {
    fn driver(&self) -> ThreadRef {
        Arc::clone(self.drivers.last().expect("invariant: a world that runs has a driver"))
    }
}

#[cfg(tokio_unstable)]
impl Threads {
    /// How many threads of this name wait for a blocking closure.
    pub(crate) fn count_idle(&self, name: Option<&str>) -> usize {
        self.idle.iter().filter(|(own, _)| Some(&**own) == name).count()
    }
}

/// The panic payload that unwinds a thread whose node is gone.
pub(crate) struct Killed;

thread_local! {
    /// What the calling thread is to its world.
    static SELF: RefCell<Option<Own>> = const { RefCell::new(None) };
    /// How often the calling thread waited and was picked again.
    static PICKS: Cell<u64> = const { Cell::new(0) };
}

#[derive(Clone)]
struct Own {
    thread: ThreadRef,
    /// The task that stands for the thread while it blocks; none on a driver.
    entry: Option<(TaskRef, Arc<Header>)>,
}

fn own() -> Option<Own> {
    SELF.try_with(|own| own.borrow().clone()).ok().flatten()
}

/// Says what the calling thread is from now on: what it was. A thread that is ending cannot say it any more.
fn replace_own(own: Option<Own>) -> Option<Own> {
    SELF.try_with(|slot| slot.replace(own)).ok().flatten()
}

impl SimThread {
    fn is_thread(&self, handle: thread::JoinHandle<()>) {
        *self.os_thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Waits, in real time, until the operating system's thread is over: while it ends it holds locks of the
    /// allocator and of std, which must not be met by whoever runs next.
    fn join(&self) {
        let handle = self.os_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            // Its closure catches what it runs; there is nothing to be told.
            let _ = crate::host::without_notice(|| handle.join());
        }
    }

    fn driver() -> ThreadRef {
        Arc::new(SimThread { drives: true, ..SimThread::default() })
    }

    /// Hands the baton to this thread and waits until it comes back.
    fn run_and_wait(&self, me: &SimThread) {
        self.parker.unpark();
        me.parker.park();
    }

    /// As [`SimThread::run_and_wait`]: whoever ran meanwhile, the calling thread goes on as what it was, also where it
    /// unwinds.
    fn run_and_wait_as(&self, shared: &Shared, me: &SimThread) {
        let before = shared.current.get();
        self.run_and_wait(me);
        shared.current.set(before);
    }
}

/// Makes the calling thread the driver of `shared` while `f` runs.
pub(crate) fn as_driver<R>(shared: &Arc<Shared>, f: impl FnOnce() -> R) -> R {
    let me = SimThread::driver();
    let before = replace_own(Some(Own { thread: Arc::clone(&me), entry: None }));
    let before_drivers = shared.with(|world| std::mem::replace(&mut world.threads.drivers, vec![me]));
    let _restore = Restore { shared, before: Some((before, before_drivers)) };
    f()
}

struct Restore<'a> {
    shared: &'a Shared,
    before: Option<(Option<Own>, Vec<ThreadRef>)>,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        if let Some((own, drivers)) = self.before.take() {
            drop(replace_own(own));
            self.shared.with(|world| world.threads.drivers = drivers);
        }
    }
}

/// Makes the thread-locals that the end of the thread's run needs.
pub(crate) fn prepare_thread() {
    SELF.with(|_| ());
    crate::runtime::real::prepare_thread();
}

/// Whether the calling thread is a worker (a blocking closure or an application's `main`).
pub(crate) fn on_worker() -> bool {
    own().is_some_and(|own| own.entry.is_some())
}

/// Runs `job` on a thread of its own: called by the loop when the task that stands for it is first picked.
pub(crate) fn start(shared: &Arc<Shared>, job: Job) -> ThreadRef {
    let runtime = job.current.runtime;
    let (idle, name) = shared.with(|world| {
        let name = runtime.and_then(|id| world.runtimes.get(&id)).map(|state| state.thread_name());
        let name = name.unwrap_or_else(|| Arc::from("tokio-rt-worker"));
        let place = world.threads.idle.iter().rposition(|(own, _)| *own == name);
        (place.map(|place| world.threads.idle.remove(place).1), name)
    });
    let thread = idle.unwrap_or_else(|| {
        let thread = ThreadRef::default();
        let (own, run) = (Arc::clone(&thread), Arc::clone(shared));
        let os_name = name.to_string();
        let spawned = crate::host::without_notice(|| {
            thread::Builder::new().name(os_name).spawn(move || worker(&run, &own, &name))
        });
        let handle = spawned.expect("failed to start a thread for a blocking call");
        thread.is_thread(handle);
        thread
    });
    *thread.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    thread
}

/// The loop picked a thread: it runs until it blocks or ends.
pub(crate) fn resume(shared: &Shared, task: TaskRef, thread: &ThreadRef) {
    let me = own().expect("invariant: the loop runs on a driver").thread;
    let location = shared.with(|world| world.tasks.find(task).map(|entry| entry.location));
    if let Some(location) = location {
        watchdog::poll_begins(task.id, location);
    }
    thread.run_and_wait_as(shared, &me);
    if thread.gone.load(Ordering::Acquire) {
        thread.join();
    }
    watchdog::poll_ends();
}

fn worker(shared: &Arc<Shared>, me: &ThreadRef, name: &Arc<str>) {
    crate::host::tsc::begin();
    loop {
        me.parker.park();
        if me.killed.load(Ordering::Acquire) {
            return;
        }
        let job = me.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Job { run, current }) = job else { panic!("invariant: a thread was picked without a job") };
        let task = current.task.expect("invariant: a job has a task");
        shared.current.set(current);
        let header = shared.with(|world| world.tasks.find(task).map(|entry| Arc::clone(&entry.header)));
        let header = header.expect("invariant: a running job's task is in the table");
        SELF.with(|own| {
            *own.borrow_mut() = Some(Own { thread: Arc::clone(me), entry: Some((task, header)) })
        });
        let ended = catch_unwind(AssertUnwindSafe(|| shared.enter(run)));
        let killed = me.killed.load(Ordering::Acquire);
        if let Err(payload) = ended
            && !payload.is::<Killed>()
        {
            shared.with(|world| {
                world.not_deterministic.push("a thread's closure panicked in a destructor".to_owned());
            });
        }
        scheduler::finish_thread(shared, task, killed);
        let driver = shared.with(|world| {
            if !killed {
                world.threads.idle.push((Arc::clone(name), Arc::clone(me)));
            }
            world.threads.driver()
        });
        me.gone.store(killed, Ordering::Release);
        driver.parker.unpark();
        if killed {
            return;
        }
    }
}

/// Blocks the calling thread until `done` answers; `done` is asked again after each wake of the entry.
///
/// The thread unwinds with [`Killed`] where its node is gone, if `may_unwind`; otherwise it never returns. Where
/// the run cannot go on, it panics with the report, or ends the process.
pub(crate) fn block<R>(
    shared: &Arc<Shared>,
    wait: Wait,
    may_unwind: bool,
    mut done: impl FnMut(&Waker) -> Option<R>,
) -> R {
    if let Some(entry) = own().and_then(|own| own.entry) {
        let ended = turns(shared, &entry, wait, &mut done, || give_back(shared, may_unwind));
        return ended.expect("invariant: only a waiting driver hears of a stall");
    }
    let current = shared.current.get();
    if current.entered != Entered::No {
        let me = own().map_or_else(SimThread::driver, |own| own.thread);
        let entry = scheduler::add_entry(shared, Body::Thread(me), "blocked poll");
        let _leave = Leave { shared, entry: &entry };
        let _held = scheduler::hold_worker(shared, current);
        let ended = turns(shared, &entry, wait, &mut done, || stand_in(shared, may_unwind));
        return ended.expect("invariant: only a waiting driver hears of a stall");
    }
    match beside(shared, "blocked thread", wait, may_unwind, done) {
        Ok(result) => result,
        Err(stalled) if may_unwind => crate::run::stalled(&stalled),
        Err(stalled) => crate::run::stalled_in_stand_in(&stalled),
    }
}

/// As [`block`], on a thread that does not belong to the loop: another thread drives while this one waits.
///
/// # Errors
/// Where the run cannot go on.
#[track_caller]
pub(crate) fn beside<R>(
    shared: &Arc<Shared>,
    what: &'static str,
    wait: Wait,
    may_unwind: bool,
    mut done: impl FnMut(&Waker) -> Option<R>,
) -> Result<R, Stalled> {
    as_driver(shared, || {
        let me = own().expect("invariant: as_driver names the thread").thread;
        let entry = scheduler::add_entry(shared, Body::Thread(Arc::clone(&me)), what);
        let _leave = Leave { shared, entry: &entry };
        let _role = Role::of(shared);
        turns(shared, &entry, wait, &mut done, || {
            me.hears_stalls.store(true, Ordering::Release);
            stand_in(shared, may_unwind);
            me.hears_stalls.store(false, Ordering::Release);
        })
    })
}

/// Takes the entry of a wait out of the table, also when it unwinds.
struct Leave<'a> {
    shared: &'a Arc<Shared>,
    entry: &'a (TaskRef, Arc<Header>),
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.entry.1.close();
        let entry = self.shared.with(|world| world.tasks.remove(self.entry.0));
        drop(entry);
    }
}

/// Asks `done` and gives the baton away, in turns.
fn turns<R>(
    shared: &Arc<Shared>,
    (task, header): &(TaskRef, Arc<Header>),
    wait: Wait,
    done: &mut dyn FnMut(&Waker) -> Option<R>,
    mut give_way: impl FnMut(),
) -> Result<R, Stalled> {
    let waker = Waker::from(Arc::clone(header));
    let picks = || PICKS.try_with(Cell::get).unwrap_or_default();
    loop {
        header.begin_poll();
        let picked = picks();
        if let Some(result) = done(&waker) {
            return Ok(result);
        }
        if picks() != picked {
            // The thread waited in there, too: what woke this wait meanwhile was taken for the inner one's.
            shared.inbox.push(*task);
        }
        shared.with(|world| {
            if let Some(entry) = world.tasks.find(*task) {
                entry.wait = wait;
            }
        });
        give_way();
        let _ = PICKS.try_with(|picks| picks.set(picks.get() + 1));
        if let Some(stalled) = take_stall(shared) {
            return Err(stalled);
        }
    }
}

/// Blocks the calling thread of a run until `done` answers, or `timeout` (virtual) has passed (`None`). `done`
/// registers the waker that it is given wherever its answer will come from. Never unwinds.
///
/// # Panics
/// Outside a simulation.
pub fn block_on_waker<R>(
    what: &'static str,
    timeout: Option<Duration>,
    mut done: impl FnMut(&Waker) -> Option<R>,
) -> Option<R> {
    let shared = context::with_shared(Arc::clone);
    shared.enter(|| block_until(&shared, what, timeout, &mut done))
}

fn block_until<R>(
    shared: &Arc<Shared>,
    what: &'static str,
    timeout: Option<Duration>,
    done: &mut dyn FnMut(&Waker) -> Option<R>,
) -> Option<R> {
    let deadline = timeout.map(|timeout| shared.now.get() + timeout);
    let mut timer = None;
    let result = block(shared, Wait::Blocked(what), false, |waker| {
        if let Some(result) = done(waker) {
            return Some(Some(result));
        }
        let at = deadline?;
        if shared.now.get() >= at {
            return Some(None);
        }
        timer.get_or_insert_with(|| shared.with(|world| world.queue.push(at, Event::Timer(waker.clone()))));
        None
    });
    let timer = timer.and_then(|timer| shared.with(|world| world.queue.cancel(timer)));
    drop(timer);
    result
}

/// The calling thread's process is gone: the thread gives the baton on, and is never picked again.
pub(crate) fn wait_for_end(shared: &Arc<Shared>) {
    block::<()>(shared, Wait::Blocked("the end of its process"), false, |_| None);
}

/// A worker gives the baton to the driver and waits for it.
fn give_back(shared: &Shared, may_unwind: bool) {
    let me = own().expect("invariant: only threads of a world block").thread;
    // One that outlived its node ends where it waits next.
    end_if_killed(shared, &me, may_unwind);
    let driver = shared.with(|world| world.threads.driver());
    driver.run_and_wait_as(shared, &me);
    end_if_killed(shared, &me, may_unwind);
}

fn end_if_killed(shared: &Shared, me: &SimThread, may_unwind: bool) {
    if !me.killed.load(Ordering::Acquire) || me.survives.load(Ordering::Acquire) {
        return;
    }
    if may_unwind && !thread::panicking() {
        if me.drives {
            // The poll ends; its thread is the run's.
            me.killed.store(false, Ordering::Release);
        }
        let payload: Box<dyn Any + Send> = Box::new(Killed);
        resume_unwind(payload);
    }
    let holds_root = |world: &mut World| world.threads.drivers.first().is_some_and(|first| is(first, me));
    if me.drives && shared.with(holds_root) {
        // The run's own future stands below this poll, which therefore waits to its end.
        me.killed.store(false, Ordering::Release);
        return;
    }
    // The thread waits inside a C call, through which nothing may unwind: it sleeps for ever, and whoever
    // wakes it gets the baton back.
    if let Some((task, _)) = own().and_then(|own| own.entry) {
        scheduler::finish_thread(shared, task, true);
    }
    loop {
        shared.with(|world| world.threads.driver()).parker.unpark();
        me.parker.park();
    }
}

fn is(thread: &ThreadRef, other: &SimThread) -> bool {
    std::ptr::eq(Arc::as_ptr(thread), other)
}

/// Ends the threads of `node`, whose process is gone, before anything else happens: so what they do on their way out
/// is done on a node that is dead, also where it starts again at once. Those that poll end when they are picked.
pub(crate) fn end_threads_of(shared: &Arc<Shared>, node: NodeId) {
    let me = own().map(|own| own.thread);
    let is_mine = |thread: &ThreadRef| me.as_ref().is_some_and(|me| Arc::ptr_eq(me, thread));
    let doomed: Vec<(TaskRef, ThreadRef)> = shared.with(|world| {
        let own = world.tasks.iter().filter(|(_, entry)| entry.node == node);
        let threads = own.filter_map(|(task, entry)| match &entry.body {
            Body::Thread(thread) if !thread.drives && !is_mine(thread) => Some((task, Arc::clone(thread))),
            _ => None,
        });
        threads.collect()
    });
    if !doomed.is_empty() {
        as_driver(shared, || doomed.iter().for_each(|(task, thread)| resume(shared, *task, thread)));
    }
}
