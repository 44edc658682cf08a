//! Threads of a world: they pass a baton, and exactly one runs at any moment.
//!
//! Owns who holds the baton: one thread is the *driver*, which runs the scheduler's loop; the others are
//! blocking closures, an application's `fn main()`, and whoever blocks. Must not know what they run.
//! Invariant: a thread other than the driver runs only between being picked by the loop and giving the
//! baton back to the driver.

mod outlive;

pub(crate) use outlive::end_if_node_is_gone;
pub use outlive::wait_or_fail;

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::context::{self, Current, Shared, Wait};
use crate::host::baton::Parker;
use crate::host::watchdog;
use crate::scheduler::{self, Event};
use crate::task::header::Header;
use crate::task::{Body, Task, TaskRef};

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
    job: Mutex<Option<Job>>,
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
    idle: Vec<ThreadRef>,
    handles: Vec<thread::JoinHandle<()>>,
    /// Threads that the application started itself, by libc's names for them.
    adopted: BTreeMap<u64, AdoptedState>,
    next_name: usize,
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

/// The panic payload that unwinds a thread whose node is gone.
pub(crate) struct Killed;

thread_local! {
    /// What the calling thread is to its world.
    static SELF: RefCell<Option<Own>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Own {
    thread: ThreadRef,
    /// The task that stands for the thread while it blocks; none on a driver.
    entry: Option<(TaskRef, Arc<Header>)>,
}

fn own() -> Option<Own> {
    SELF.with(|own| own.borrow().clone())
}

impl SimThread {
    /// Hands the baton to this thread and waits until it comes back.
    fn run_and_wait(&self, me: &SimThread) {
        self.parker.unpark();
        me.parker.park();
    }
}

/// Makes the calling thread the driver of `shared` while `f` runs.
pub(crate) fn as_driver<R>(shared: &Arc<Shared>, f: impl FnOnce() -> R) -> R {
    let me: ThreadRef = ThreadRef::default();
    let before = SELF.with(|own| own.replace(Some(Own { thread: Arc::clone(&me), entry: None })));
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
            SELF.with(|slot| *slot.borrow_mut() = own);
            self.shared.with(|world| world.threads.drivers = drivers);
        }
    }
}

/// Whether the calling thread is a worker (a blocking closure or an application's `main`).
pub(crate) fn on_worker() -> bool {
    own().is_some_and(|own| own.entry.is_some())
}

/// Runs `job` on a thread of its own: called by the loop when the task that stands for it is first picked.
pub(crate) fn start(shared: &Arc<Shared>, job: Job) -> ThreadRef {
    let (idle, number) = shared.with(|world| {
        world.threads.next_name += usize::from(world.threads.idle.is_empty());
        (world.threads.idle.pop(), world.threads.next_name)
    });
    let thread = idle.unwrap_or_else(|| {
        let thread = ThreadRef::default();
        let (own, run) = (Arc::clone(&thread), Arc::clone(shared));
        let spawned = crate::host::without_notice(|| {
            thread::Builder::new().name(format!("sim-blocking-{number}")).spawn(move || worker(&run, &own))
        });
        let handle = spawned.expect("failed to start a thread for a blocking call");
        shared.with(|world| world.threads.handles.push(handle));
        thread
    });
    *thread.job.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    thread
}

/// The loop picked a thread: it runs until it blocks or ends.
pub(crate) fn resume(shared: &Shared, task: TaskRef, thread: &ThreadRef) {
    let me = own().expect("invariant: the loop runs on a driver").thread;
    let before = shared.current.get();
    let location = shared.with(|world| world.tasks.find(task).map(|entry| entry.location));
    if let Some(location) = location {
        watchdog::poll_begins(task.id, location);
    }
    thread.run_and_wait(&me);
    watchdog::poll_ends();
    shared.current.set(before);
}

fn worker(shared: &Arc<Shared>, me: &ThreadRef) {
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
                world.threads.idle.push(Arc::clone(me));
            }
            world.threads.driver()
        });
        driver.parker.unpark();
        if killed {
            return;
        }
    }
}

/// A waker for the calling thread, to be used with [`park`]. `None` on a driver that is not in a poll: it
/// has no entry, and waits by driving.
pub(crate) fn entry_waker(shared: &Arc<Shared>) -> (TaskRef, Arc<Header>) {
    let own = own();
    if let Some(Own { entry: Some(entry), .. }) = own {
        return entry;
    }
    let current = shared.current.get();
    let thread = own.map_or_else(ThreadRef::default, |own| own.thread);
    let in_poll = current.in_runtime;
    let body = if in_poll { Body::Thread(thread) } else { Body::Root };
    scheduler::add_entry(shared, body, if in_poll { "blocked poll" } else { "blocked thread" })
}

/// Blocks the calling thread until `done` answers; `done` is asked again after each wake of the entry.
///
/// The thread unwinds with [`Killed`] where its node is gone, if `may_unwind`; otherwise it never returns.
pub(crate) fn block<R>(
    shared: &Arc<Shared>,
    wait: Wait,
    may_unwind: bool,
    mut done: impl FnMut(&Waker) -> Option<R>,
) -> R {
    let own_entry = own().and_then(|own| own.entry);
    let (task, header) = entry_waker(shared);
    let waker = Waker::from(Arc::clone(&header));
    let before = shared.current.get();
    let result = loop {
        header.begin_poll();
        if let Some(result) = done(&waker) {
            break result;
        }
        shared.with(|world| {
            if let Some(entry) = world.tasks.find(task) {
                entry.wait = wait;
            }
        });
        if own_entry.is_some() {
            give_back(shared, may_unwind);
        } else if before.in_runtime {
            stand_in(shared, may_unwind);
        } else {
            scheduler::drive_until_picked(shared, task);
        }
        shared.current.set(before);
    };
    if own_entry.is_none() {
        header.close();
        shared.with(|world| world.tasks.remove(task));
    }
    result
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
    let deadline = timeout.map(|timeout| shared.now.get() + timeout);
    let mut timer = None;
    let result = block(&shared, Wait::Blocked(what), false, |waker| {
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

/// A worker gives the baton to the driver and waits for it.
fn give_back(shared: &Shared, may_unwind: bool) {
    let me = own().expect("invariant: only threads of a world block").thread;
    // One that outlived its node ends where it waits next.
    end_if_killed(shared, &me, may_unwind);
    let driver = shared.with(|world| world.threads.driver());
    driver.run_and_wait(&me);
    end_if_killed(shared, &me, may_unwind);
}

/// The driver must wait in the middle of a poll: another thread takes over the loop until it is picked.
fn stand_in(shared: &Arc<Shared>, may_unwind: bool) {
    let me = own().expect("invariant: a poll runs on a driver").thread;
    if !Arc::ptr_eq(&shared.with(|world| world.threads.driver()), &me) {
        // Somebody stands in already, from an earlier wait in this same poll.
        give_back(shared, may_unwind);
        return;
    }
    shared.stand_ins.set(shared.stand_ins.get() + 1);
    let other = ThreadRef::default();
    let (own, run) = (Arc::clone(&other), Arc::clone(shared));
    let spawned = crate::host::without_notice(|| {
        thread::Builder::new().name("sim-driver".to_owned()).spawn(move || {
            own.parker.park();
            crate::host::tsc::begin();
            run.current.set(Current::NONE);
            SELF.with(|slot| *slot.borrow_mut() = Some(Own { thread: Arc::clone(&own), entry: None }));
            run.enter(|| scheduler::drive_until_retired(&run));
        })
    });
    let handle = spawned.expect("failed to start a thread for a blocking call");
    shared.with(|world| {
        world.threads.drivers.push(Arc::clone(&other));
        world.threads.handles.push(handle);
    });
    other.run_and_wait(&me);
    end_if_killed(shared, &me, may_unwind);
}

/// After a poll: whether the calling thread is still the driver. If others stood in for it, it takes the
/// role back; if it was itself only a stand-in, and is no longer needed, it must end (false).
///
/// `seen` is how often anybody had stood in for a driver when this was asked last: where nobody did since, there
/// is nothing to look at.
pub(crate) fn still_driver(shared: &Arc<Shared>, seen: &mut u64) -> bool {
    if *seen == shared.stand_ins.get() {
        return true;
    }
    let drives = take_role_back(shared);
    *seen = shared.stand_ins.get();
    drives
}

fn take_role_back(shared: &Arc<Shared>) -> bool {
    let me = own().expect("invariant: the loop runs on a driver").thread;
    let (driver, others) = shared.with(|world| {
        let drivers = &mut world.threads.drivers;
        let own_place = drivers.iter().position(|driver| Arc::ptr_eq(driver, &me));
        let others = own_place.map(|place| drivers.split_off(place + 1)).unwrap_or_default();
        (world.threads.driver(), others)
    });
    if me.retired.load(Ordering::Acquire) {
        driver.parker.unpark();
        return false;
    }
    for other in &others {
        other.retired.store(true, Ordering::Release);
    }
    if let Some(last) = others.last() {
        last.run_and_wait(&me);
    }
    true
}

/// Whether the calling thread, a stand-in, was told to end while it waited; if so the baton is given on.
pub(crate) fn is_retired(shared: &Shared) -> bool {
    let me = own().expect("invariant: the loop runs on a driver").thread;
    let retired = me.retired.load(Ordering::Acquire);
    if retired {
        shared.with(|world| world.threads.driver()).parker.unpark();
    }
    retired
}

fn end_if_killed(shared: &Shared, me: &SimThread, may_unwind: bool) {
    if !me.killed.load(Ordering::Acquire) || me.survives.load(Ordering::Acquire) {
        return;
    }
    if may_unwind {
        let payload: Box<dyn Any + Send> = Box::new(Killed);
        resume_unwind(payload);
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

/// A thread that the application started itself, and that takes part in the run.
#[derive(Clone)]
pub(crate) struct Adopted {
    pub(crate) shared: Arc<Shared>,
    thread: ThreadRef,
    task: TaskRef,
    header: Arc<Header>,
    current: Current,
}

/// Enters a thread that is about to be started, on the current node.
pub(crate) fn adopt(shared: &Arc<Shared>) -> Adopted {
    let thread = ThreadRef::default();
    let (task, header) = scheduler::add_entry(shared, Body::Thread(Arc::clone(&thread)), "thread");
    let node = shared.current.get().node;
    let current = Current { node, task: Some(task), ..Current::NONE };
    Adopted { shared: Arc::clone(shared), thread, task, header, current }
}

/// Notes the name by which libc knows a thread.
pub(crate) fn register(shared: &Shared, name: u64, adopted: &Adopted) {
    shared.with(|world| {
        let state = AdoptedState { header: Arc::clone(&adopted.header), joiners: Vec::new() };
        world.threads.adopted.insert(name, state);
    });
}

/// On the new thread: waits for the baton. False where the thread's node is gone already.
pub(crate) fn begin_adopted(adopted: &Adopted) -> bool {
    adopted.thread.parker.park();
    crate::host::tsc::begin();
    adopted.shared.current.set(adopted.current);
    let own =
        Own { thread: Arc::clone(&adopted.thread), entry: Some((adopted.task, Arc::clone(&adopted.header))) };
    SELF.with(|slot| *slot.borrow_mut() = Some(own));
    !adopted.thread.killed.load(Ordering::Acquire)
}

/// The thread is over: whoever joins it goes on.
pub(crate) fn end_adopted(adopted: &Adopted) {
    let Adopted { shared, task, header, .. } = adopted;
    scheduler::finish_thread(shared, *task, false);
    let (driver, joiners) = shared.with(|world| {
        let own = world.threads.adopted.values_mut().find(|state| Arc::ptr_eq(&state.header, header));
        let joiners = own.map(|state| std::mem::take(&mut state.joiners)).unwrap_or_default();
        (world.threads.drivers.last().cloned(), joiners)
    });
    joiners.into_iter().for_each(Waker::wake);
    let runs_here = own().is_some_and(|own| Arc::ptr_eq(&own.thread, &adopted.thread));
    if runs_here && let Some(driver) = driver {
        driver.parker.unpark();
    }
}

/// Waits until the thread that libc calls `name` is over, if it is one of the run's.
pub(crate) fn wait_for_adopted(shared: &Arc<Shared>, name: u64) {
    let known = shared.with(|world| world.threads.adopted.get(&name).map(|state| Arc::clone(&state.header)));
    let Some(header) = known else { return };
    block(shared, Wait::Join(header.task.id), false, |waker| {
        if header.is_finished() {
            return Some(());
        }
        shared.with(|world| {
            if let Some(state) = world.threads.adopted.get_mut(&name) {
                state.joiners.push(waker.clone());
            }
        });
        None
    });
    let gone = shared.with(|world| world.threads.adopted.remove(&name));
    drop(gone);
}

/// Marks the thread of a task whose node is gone; it ends when it is next picked.
pub(crate) fn kill(thread: &ThreadRef) {
    thread.killed.store(true, Ordering::Release);
}

/// Ends every thread that waits, at the end of a run. Called by the driver.
pub(crate) fn end_all(shared: &Arc<Shared>) {
    let waiting: Vec<(TaskRef, ThreadRef)> = shared.with(|world| {
        let threads = world.tasks.iter().filter_map(|(task, entry)| match &entry.body {
            Body::Thread(thread) => Some((task, Arc::clone(thread))),
            _ => None,
        });
        threads.collect()
    });
    for (task, thread) in waiting {
        kill(&thread);
        resume(shared, task, &thread);
        let entry: Option<Task> = shared.with(|world| world.tasks.remove(task));
        drop(entry);
    }
    let idle = shared.with(|world| std::mem::take(&mut world.threads.idle));
    for thread in idle {
        kill(&thread);
        thread.parker.unpark();
    }
}
