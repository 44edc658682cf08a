//! The loop of a run: collect wakes, fire what is due, pick a ready task, poll it; or jump to the next event.
//!
//! Owns the order of things. Must not know what tasks and devices do. Invariant: the clock moves only here
//! (and by reads of the clock and `time::advance`), and never while something is ready, but for the small
//! slice that each poll costs.

mod policy;
mod polling;

use std::future::poll_fn;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub(crate) use policy::Ready;
use polling::{Polling, cancel, poll_task, protected};
pub(crate) use polling::{drop_future, end_task, finish_thread};

use crate::clock::SimTime;
use crate::context::{Current, Shared, Wait};
use crate::device::DeviceId;
use crate::host::watchdog;
use crate::node::State;
use crate::report::{Stall, Stalled};
use crate::runtime::RuntimeId;
use crate::task::header::Header;
use crate::task::{Body, Task, TaskRef};
use crate::threads::{self, Job, ThreadRef};
use crate::trace::Kind;
use crate::world::World;

/// When only a device has events left (keep-alive probes, which never end) and no task was polled for this
/// long, nobody waits for anything that will come.
const QUIET: Duration = Duration::from_secs(24 * 3600);

/// Something that will happen.
pub(crate) enum Event {
    /// A timer: wake whoever waits for it.
    Timer(Waker),
    /// The device's, with its token.
    Device(DeviceId, u64),
}

/// What one step did.
enum Step {
    /// It polled a task, or let a thread run.
    Ran,
    /// It moved the clock, or passed over a task.
    Moved,
    /// The root task was picked: its future is on the driver's stack.
    Root(TaskRef),
    /// The calling driver is no longer needed.
    Retired,
    /// Nothing will ever happen, or a bound was passed.
    Stalled(Stall),
}

/// What is to be done next, with all that is needed to do it without the world.
enum Picked {
    Wakes(Vec<Waker>),
    Future(TaskRef, Polling),
    Abort(TaskRef),
    Root(TaskRef),
    Thread(TaskRef, ThreadRef),
    Job(TaskRef, Job),
    Frozen,
    Nothing,
    Stall(Stall),
}

/// Polls `root` to its end, and every other task meanwhile.
pub(crate) fn drive<R>(
    shared: &Arc<Shared>,
    current: Current,
    location: &'static Location<'static>,
    mut root: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Result<R, Stalled> {
    threads::as_driver(shared, || {
        let (task, header) = add_entry_for(shared, Body::Root, "main", current, location);
        let waker = Waker::from(Arc::clone(&header));
        let _entry = Entry { shared, task, header: Arc::clone(&header) };
        let mut cx = Context::from_waker(&waker);
        run_loop(shared, |picked| {
            if picked != task {
                return Poll::Pending;
            }
            header.begin_poll();
            shared.current.set(Current { task: Some(task), task_id: None, in_runtime: true, ..current });
            shared.wait.set(Wait::Waker);
            watchdog::poll_begins(task.id, location);
            let polled = protected(|| root(&mut cx));
            watchdog::poll_ends();
            polled
        })
        .map(|result| result.expect("invariant: only a stand-in is retired"))
    })
}

/// Drives until `task`, which stands for the calling thread, is picked.
///
/// # Panics
/// With the report, where that will never be.
pub(crate) fn drive_until_picked(shared: &Arc<Shared>, task: TaskRef) {
    let ended = threads::as_driver(shared, || {
        run_loop(shared, |picked| if picked == task { Poll::Ready(()) } else { Poll::Pending })
    });
    if let Err(stalled) = ended {
        crate::run::stalled(stalled);
    }
}

/// Drives in place of a driver that waits, until that one takes over again.
pub(crate) fn drive_until_retired(shared: &Arc<Shared>) {
    if let Err(stalled) = run_loop::<()>(shared, |_| Poll::Pending) {
        crate::run::stalled_in_stand_in(stalled);
    }
}

/// Takes the entry of a thread out of the table when its wait is over.
struct Entry<'a> {
    shared: &'a Shared,
    task: TaskRef,
    header: Arc<Header>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.header.close();
        let task = self.shared.with(|world| world.tasks.remove(self.task));
        drop(task);
    }
}

/// The loop itself, inside a real current-thread runtime, whose cooperative budget the tasks spend.
/// `None` where the calling stand-in was retired.
fn run_loop<R>(shared: &Arc<Shared>, mut root: impl FnMut(TaskRef) -> Poll<R>) -> Result<Option<R>, Stalled> {
    let mut seen = shared.stand_ins.get();
    crate::runtime::real::block_on(poll_fn(|real_cx| {
        loop {
            match step(shared, &mut seen) {
                Step::Moved => continue,
                Step::Ran => {}
                Step::Root(task) => {
                    let polled = root(task);
                    if !threads::still_driver(shared, &mut seen) {
                        return Poll::Ready(Ok(None));
                    }
                    shared.current.set(Current::NONE);
                    if let Poll::Ready(result) = polled {
                        return Poll::Ready(Ok(Some(result)));
                    }
                    keep_wait(shared, task);
                }
                Step::Retired => return Poll::Ready(Ok(None)),
                Step::Stalled(stall) => return Poll::Ready(Err(Stalled::new(shared, stall))),
            }
            // Each poll begins with a fresh budget: the real scheduler gives one whenever it polls this, and
            // calls the wakers of tasks whose budget is spent, which real primitives hand to it.
            real_cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }))
}

fn step(shared: &Arc<Shared>, seen: &mut u64) -> Step {
    shared.clock_reads.set(0);
    let picked = loop {
        match shared.with(|world| next(shared, world)) {
            Picked::Wakes(wakes) => call_wakers(shared, wakes),
            picked => break picked,
        }
    };
    match picked {
        Picked::Stall(stall) => return Step::Stalled(stall),
        Picked::Root(task) => return Step::Root(task),
        Picked::Frozen => return Step::Moved,
        Picked::Nothing => return jump(shared),
        Picked::Thread(task, thread) => return resume_thread(shared, task, &thread),
        Picked::Job(task, job) => {
            let thread = threads::start(shared, job);
            shared.with(|world| {
                if let Some(entry) = world.tasks.find(task) {
                    entry.body = Body::Thread(Arc::clone(&thread));
                }
            });
            return resume_thread(shared, task, &thread);
        }
        Picked::Future(task, polling) => poll_task(shared, task, polling),
        Picked::Abort(task) => cancel(shared, task),
        Picked::Wakes(_) => {}
    }
    if threads::still_driver(shared, seen) { Step::Ran } else { Step::Retired }
}

fn resume_thread(shared: &Arc<Shared>, task: TaskRef, thread: &ThreadRef) -> Step {
    threads::resume(shared, task, thread);
    if threads::is_retired(shared) { Step::Retired } else { Step::Ran }
}

fn call_wakers(shared: &Shared, mut wakes: Vec<Waker>) {
    wakes.drain(..).for_each(Waker::wake);
    shared.with(|world| world.wakes = wakes);
}

/// One look at the world: what is to be done next.
fn next(shared: &Shared, world: &mut World) -> Picked {
    collect_wakes(shared, world);
    if world.queue.next_at().is_some_and(|at| at <= shared.now.get()) {
        fire_due(shared, world);
        return Picked::Wakes(std::mem::take(&mut world.wakes));
    }
    if let Some(failure) = world.failures.first() {
        return Picked::Stall(Stall::NodeFailed(failure.clone()));
    }
    if world.trace.step >= world.config.max_steps {
        return Picked::Stall(Stall::StepLimit);
    }
    if world.trace.step - world.last_event_step > world.config.max_steps_without_event {
        return Picked::Stall(Stall::Livelock);
    }
    pick(shared, world)
}

/// Moves wakes from the inbox to the ready queue.
fn collect_wakes(shared: &Shared, world: &mut World) {
    if shared.inbox.is_empty() {
        return;
    }
    let mut woken = std::mem::take(&mut world.woken);
    shared.inbox.drain_into(&mut woken);
    for task in woken.drain(..) {
        world.ready.push(task, Some(task) == world.last_polled, &mut world.streams.schedule);
    }
    world.woken = woken;
}

/// Fires the events that are due: one at a time, since each may cancel others.
fn fire_due(shared: &Shared, world: &mut World) {
    world.last_polled = None;
    while let Some((_, number, event)) = world.queue.pop_due(shared.now.get()) {
        world.last_event_step = world.trace.step;
        match event {
            Event::Timer(waker) => {
                world.record(shared.now.get(), Kind::Timer, number, 0);
                world.wakes.push(waker);
            }
            Event::Device(device, token) => {
                world.record(shared.now.get(), Kind::Device, number, token);
                fire_device(shared, world, device, token);
            }
        }
    }
}

fn fire_device(shared: &Shared, world: &mut World, id: DeviceId, token: u64) {
    let Some(device) = world.devices.of(id) else { return };
    let mut cx = crate::device::DeviceContext {
        device: id,
        now: shared.now.get(),
        wall_ns: shared.wall_base_ns + shared.now.get().nanos(),
        node: crate::node::NodeId(0),
        rng: &mut world.streams,
        wakes: &mut world.wakes,
        queue: &mut world.queue,
        trace: &mut world.trace,
    };
    device.fire(token, &mut cx);
}

fn pick(shared: &Shared, world: &mut World) -> Picked {
    loop {
        let Some(task) = world.ready.pick(&mut world.streams.schedule) else { return Picked::Nothing };
        let Some(entry) = world.tasks.find(task) else { continue };
        let node = entry.node;
        let owner = &mut world.nodes[node.0 as usize];
        if owner.state == State::Paused {
            owner.frozen.push(task);
            return Picked::Frozen;
        }
        let current = Current {
            node,
            task: Some(task),
            task_id: Some(task.id),
            runtime: Some(entry.runtime),
            in_runtime: true,
        };
        let aborted = entry.header.is_aborted();
        let picked = match &mut entry.body {
            Body::Root => Picked::Root(task),
            Body::Thread(thread) => Picked::Thread(task, Arc::clone(thread)),
            Body::Job(_) | Body::Future(_) if aborted => Picked::Abort(task),
            Body::Job(job) => {
                let Some(runtime) = world.runtimes.get_mut(&entry.runtime) else {
                    return Picked::Abort(task);
                };
                if !runtime.admit_blocking(task) {
                    continue;
                }
                match job.take() {
                    Some(job) => Picked::Job(task, job),
                    None => continue,
                }
            }
            Body::Future(future) => match future.take() {
                Some(future) => Picked::Future(
                    task,
                    Polling {
                        future,
                        waker: entry.waker.clone(),
                        header: Arc::clone(&entry.header),
                        location: entry.location,
                    },
                ),
                None => continue,
            },
        };
        world.trace.step += 1;
        world.last_polled = Some(task);
        charge_slice(shared, world);
        world.last_poll_at = shared.now.get();
        world.record(shared.now.get(), Kind::Poll, task.id, u64::from(node.0));
        if matches!(picked, Picked::Future(..) | Picked::Abort(_)) {
            shared.current.set(current);
            shared.wait.set(Wait::Waker);
        }
        return picked;
    }
}

/// Each poll costs a little virtual time, so that a loop that waits for a deadline ends.
fn charge_slice(shared: &Shared, world: &mut World) {
    if shared.paused.get() > 0 {
        return;
    }
    let (low, high) = (world.config.slice_min_ns, world.config.slice_max_ns);
    if high > 0 {
        let slice = low + u64::from(world.streams.schedule.below((high - low + 1) as u32));
        shared.now.set(SimTime(shared.now.get().0 + slice));
    }
}

/// Nothing is ready: the clock jumps to the next event.
fn jump(shared: &Shared) -> Step {
    shared.with(|world| {
        let Some(at) = world.queue.next_at() else {
            return Step::Stalled(Stall::Deadlock);
        };
        if at - world.last_poll_at > QUIET
            && !world.queue.iter().any(|(_, event)| matches!(event, Event::Timer(_)))
        {
            return Step::Stalled(Stall::Deadlock);
        }
        if at.since_start() > world.config.time_limit {
            return Step::Stalled(Stall::TimeLimit);
        }
        shared.now.set(shared.now.get().max(at));
        Step::Moved
    })
}

fn keep_wait(shared: &Shared, task: TaskRef) {
    let wait = shared.wait.get();
    shared.with(|world| {
        if let Some(entry) = world.tasks.find(task) {
            entry.wait = wait;
        }
    });
}

/// Enters a task that stands for the calling thread, on the current node.
#[track_caller]
pub(crate) fn add_entry(shared: &Shared, body: Body, what: &'static str) -> (TaskRef, Arc<Header>) {
    add_entry_for(shared, body, what, shared.current.get(), Location::caller())
}

fn add_entry_for(
    shared: &Shared,
    body: Body,
    what: &'static str,
    current: Current,
    location: &'static Location<'static>,
) -> (TaskRef, Arc<Header>) {
    let task = shared.with(|world| world.tasks.reserve());
    let header = Header::new(task, Arc::clone(&shared.inbox));
    let entry = Task {
        id: task.id,
        node: current.node,
        runtime: current.runtime.unwrap_or(RuntimeId::NONE),
        body,
        waker: Waker::from(Arc::clone(&header)),
        completion: None,
        location,
        what,
        wait: Wait::Waker,
        header: Arc::clone(&header),
    };
    shared.with(|world| world.tasks.insert(task, entry));
    header.notify();
    (task, header)
}
