//! The loop of a run: collect wakes, fire what is due, pick a ready task, poll it; or jump to the next event.
//!
//! Owns the order of things. Must not know what tasks and devices do. Invariant: the clock moves only here
//! (and by reads of the clock and `time::advance`), and never while something is ready, but for the small
//! slice that each poll costs.

mod foreign;
mod policy;
mod polling;
mod root;
mod workers;

use std::future::poll_fn;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

pub(crate) use policy::Ready;
use polling::{Polling, cancel, poll_task};
pub(crate) use polling::{drop_future, end_task, finish_thread};
pub(crate) use root::{drive, drive_until_retired, rewake_roots, take_core};
use root::{root_is_elsewhere, root_waits};
use workers::call_hooks;
pub(crate) use workers::hold_worker;

use crate::clock::SimTime;
use crate::context::{Current, Entered, Shared, Wait};
use crate::device::DeviceId;
use crate::external;
use crate::node::State;
use crate::report::{Stall, Stalled};
use crate::runtime::{Hook, RuntimeId};
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
    Park(Vec<(RuntimeId, Hook)>),
    Future(TaskRef, Polling),
    Abort(TaskRef),
    Root(TaskRef),
    Thread(TaskRef, ThreadRef),
    Job(TaskRef, Job),
    Frozen,
    Nothing,
    Stall(Stall),
}

/// The loop itself, polled through the handle of the thread's real runtime, whose cooperative budget the tasks spend.
/// `None` where the calling stand-in was retired.
fn run_loop<R>(
    shared: &Arc<Shared>,
    mut root: impl FnMut(TaskRef) -> Option<Poll<R>>,
) -> Result<Option<R>, Stalled> {
    let mut seen = shared.stand_ins.get();
    crate::runtime::real::block_on(poll_fn(|real_cx| {
        loop {
            match step(shared, &mut seen) {
                Step::Moved => continue,
                Step::Ran => {}
                Step::Root(task) => {
                    let Some(polled) = root(task) else {
                        root_is_elsewhere(shared, task);
                        continue;
                    };
                    if !threads::still_driver(shared, &mut seen) {
                        return Poll::Ready(Ok(None));
                    }
                    shared.current.set(Current::NONE);
                    if let Poll::Ready(result) = polled {
                        return Poll::Ready(Ok(Some(result)));
                    }
                    root_waits(shared, task);
                }
                Step::Retired => return Poll::Ready(Ok(None)),
                Step::Stalled(Stall::Deadlock) if foreign::wait(shared) => continue,
                Step::Stalled(stall) => return Poll::Ready(Err(Stalled::new(shared, stall))),
            }
            // Each poll begins with a fresh budget: the real `block_on` gives one whenever it polls this, and
            // calls the wakers of tasks whose budget is spent, which real primitives hand to it.
            real_cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }))
}

fn step(shared: &Arc<Shared>, seen: &mut u64) -> Step {
    shared.clock_reads.set(0);
    external::deliver(shared);
    let picked = loop {
        threads::guest::admit(shared);
        match shared.with(|world| next(shared, world)) {
            Picked::Wakes(wakes) => call_wakers(shared, wakes),
            // A hook may have made something ready: look again.
            Picked::Park(hooks) => call_hooks(shared, hooks),
            picked => break picked,
        }
    };
    if shared.has_hooks.replace(false) {
        let current = shared.current.get();
        let hooks = shared.with(|world| std::mem::take(&mut world.unpark_hooks));
        call_hooks(shared, hooks);
        shared.current.set(current);
    }
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
        Picked::Wakes(_) | Picked::Park(_) => {}
    }
    if threads::still_driver(shared, seen) { Step::Ran } else { Step::Retired }
}

fn resume_thread(shared: &Arc<Shared>, task: TaskRef, thread: &ThreadRef) -> Step {
    threads::resume(shared, task, thread);
    if threads::is_retired() { Step::Retired } else { Step::Ran }
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
    world.ready.push_woken(&mut woken, world.last_polled, &mut world.streams.schedule);
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
        wall_base_ns: shared.wall_base_ns,
        caller: crate::node::NodeId(0),
        nodes: &world.nodes,
        rng: &mut world.streams,
        wakes: &mut world.wakes,
        queue: &mut world.queue,
        trace: &mut world.trace,
    };
    device.fire(token, &mut cx);
}

fn pick(shared: &Shared, world: &mut World) -> Picked {
    loop {
        let Some(task) = world.ready.pick(&mut world.streams.schedule) else {
            let hooks = world.runtimes.park();
            return if hooks.is_empty() { Picked::Nothing } else { Picked::Park(hooks) };
        };
        let Some(entry) = world.tasks.find(task) else { continue };
        let node = entry.node;
        let owner = &mut world.nodes[node.0 as usize];
        if owner.state == State::Paused {
            owner.frozen.push(task);
            return Picked::Frozen;
        }
        let mut current = Current {
            node,
            task: Some(task),
            task_id: Some(task.id),
            runtime: Some(entry.runtime),
            entered: Entered::Yes { may_block_in_place: false },
            worker: None,
        };
        let Some(picked) = take(shared, world, task, &mut current) else { continue };
        world.trace.step += 1;
        world.last_polled = Some(task);
        let slice_ns = charge_slice(shared, world);
        if let (Some(worker), Some(runtime)) = (current.worker, current.runtime) {
            world.runtimes.charge(runtime, worker, slice_ns);
        }
        world.last_poll_at = shared.now.get();
        world.record(shared.now.get(), Kind::Poll, task.id, u64::from(node.0));
        if matches!(picked, Picked::Future(..) | Picked::Abort(_)) {
            shared.current.set(current);
            shared.wait.set(Wait::Waker);
        }
        return picked;
    }
}

/// Takes what is to be run out of a ready task; `None` where it cannot run now, and will be made ready again.
fn take(shared: &Shared, world: &mut World, task: TaskRef, current: &mut Current) -> Option<Picked> {
    let entry = world.tasks.find(task)?;
    let aborted = entry.header.is_aborted();
    match &mut entry.body {
        Body::Root => Some(Picked::Root(task)),
        Body::Thread(thread) => Some(Picked::Thread(task, Arc::clone(thread))),
        Body::Future(None) => {
            // It is being polled further up, by a thread that waits.
            entry.is_rewoken = true;
            None
        }
        Body::Job(_) | Body::Future(_) if aborted => Some(Picked::Abort(task)),
        Body::Job(job) => {
            let Some(runtime) = world.runtimes.get_mut(&entry.runtime) else {
                return Some(Picked::Abort(task));
            };
            if !runtime.admit_blocking(task) {
                return None;
            }
            job.take().map(|job| Picked::Job(task, job))
        }
        Body::Future(future) => {
            if let Some(runtime) = world.runtimes.get_mut(&entry.runtime) {
                let (worker, was_parked) = runtime.serve(task)?;
                current.worker = Some(worker);
                current.entered = Entered::into(runtime.flavor);
                if let (true, Some(hook)) = (was_parked, runtime.unpark_hook()) {
                    world.unpark_hooks.push((entry.runtime, Arc::clone(hook)));
                    shared.has_hooks.set(true);
                }
            }
            let (waker, header) = (entry.waker.clone(), Arc::clone(&entry.header));
            let location = entry.location;
            future.take().map(|future| Picked::Future(task, Polling { future, waker, header, location }))
        }
    }
}

/// Each poll costs a little virtual time, so that a loop that waits for a deadline ends: how much.
fn charge_slice(shared: &Shared, world: &mut World) -> u64 {
    let (low, high) = (world.config.slice_min_ns, world.config.slice_max_ns);
    if shared.paused.get() > 0 {
        return low;
    }
    if high == 0 {
        return 0;
    }
    let slice = low + u64::from(world.streams.schedule.below((high - low + 1) as u32));
    shared.now.set(SimTime(shared.now.get().0 + slice));
    slice
}

/// Nothing is ready: the clock jumps to the next event.
fn jump(shared: &Shared) -> Step {
    if external::wait(shared) {
        return Step::Moved;
    }
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
        is_rewoken: false,
        header: Arc::clone(&header),
    };
    shared.with(|world| world.tasks.insert(task, entry));
    header.notify();
    (task, header)
}
