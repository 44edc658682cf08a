//! A runtime as the world knows it: its simulated workers, what they did, and which of them may poll now.
//!
//! Owns the counts behind `RuntimeMetrics` and the rule that a runtime polls no more tasks at a time than it has
//! workers. Must not poll or call hooks. Invariant: a worker that is parked polls nothing until it is unparked,
//! and a task that found no worker is made ready again when one is free.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::task_hooks::TaskHooks;
use super::{RuntimeFlavor, RuntimeId};
use crate::context::{Current, Shared};
use crate::node::NodeId;
use crate::task::TaskRef;

/// Something that a program wants to be called for.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// What a program wants to be called for its workers.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) start: Option<Hook>,
    pub(crate) stop: Option<Hook>,
    pub(crate) park: Option<Hook>,
    pub(crate) unpark: Option<Hook>,
}

/// A simulated worker.
#[derive(Clone, Default)]
pub(crate) struct Worker {
    is_parked: bool,
    /// It is in the middle of a poll that waits, as in a call that blocks.
    is_held: bool,
    pub(crate) parks: u64,
    pub(crate) parks_and_unparks: u64,
    pub(crate) polls: u64,
    pub(crate) busy: Duration,
    /// The thread that stood for it when it polled last.
    #[cfg(tokio_unstable)]
    pub(crate) thread: Option<std::thread::ThreadId>,
}

impl Worker {
    fn park(&mut self) {
        self.is_parked = true;
        self.parks += 1;
        self.parks_and_unparks += 1;
    }

    fn unpark(&mut self) {
        self.is_parked = false;
        self.parks_and_unparks += 1;
    }
}

/// How long a worker is busy with starting, at least: nothing takes no time.
const START_COST: Duration = Duration::from_nanos(1_000);

/// A runtime, as the world knows it. What every poll looks at stands first, in one line of the processor's cache.
#[repr(C)]
pub(crate) struct RuntimeState {
    pub(crate) flavor: RuntimeFlavor,
    /// Whether it is in the world: not once it has ended.
    is_alive: bool,
    /// Whether it is among the runtimes whose workers may be awake.
    is_awake: bool,
    /// Whether workers have hooks.
    has_hooks: bool,
    /// How many callers drive it: a single-threaded one polls its tasks only while there are any.
    driven: u32,
    pub(crate) workers: Vec<Worker>,
    /// How many of them are not parked.
    awake: usize,
    /// Which worker polled last: they take turns.
    turn: usize,
    hooks: Hooks,
    pub(crate) task_hooks: TaskHooks,
    pub(crate) name: Option<String>,
    thread_name: Option<Arc<str>>,
    pub(crate) is_shut_down: bool,
    /// Whether it is a `LocalRuntime`, with local tasks of its own.
    pub(crate) is_local: bool,
    pub(crate) has_timers: bool,
    pub(crate) has_io: bool,
    pub(crate) spawned: u64,
    pub(crate) alive: u64,
    pub(crate) max_blocking: usize,
    /// Blocking closures that have begun.
    pub(crate) blocking: usize,
    /// Blocking closures that have not ended, begun or not.
    pub(crate) jobs: usize,
    blocked: VecDeque<TaskRef>,
    /// Whether a panic of a task ends it, and one did.
    pub(crate) ends_on_panic: bool,
    pub(crate) has_panicked: bool,
    /// Whether the clock stands still for it: no longer than it lives.
    pub(crate) pauses_clock: bool,
    /// Whose process it is in.
    pub(crate) node: NodeId,
    /// How often a task's budget was spent.
    #[cfg(tokio_unstable)]
    pub(crate) forced_yields: u64,
    /// The callers of `block_on`, by their tasks; the first has the core of a single-threaded runtime.
    cores: Vec<u64>,
    /// Ready tasks that found no worker.
    unserved: Vec<TaskRef>,
}

impl RuntimeState {
    pub(crate) fn new(flavor: RuntimeFlavor, workers: usize, node: NodeId) -> RuntimeState {
        let mut state = RuntimeState {
            flavor,
            name: None,
            thread_name: None,
            is_shut_down: false,
            is_alive: true,
            is_awake: true,
            has_hooks: false,
            is_local: false,
            has_timers: true,
            has_io: true,
            spawned: 0,
            alive: 0,
            max_blocking: 512,
            blocking: 0,
            jobs: 0,
            blocked: VecDeque::new(),
            hooks: Hooks::default(),
            task_hooks: TaskHooks::default(),
            ends_on_panic: false,
            has_panicked: false,
            pauses_clock: false,
            node,
            #[cfg(tokio_unstable)]
            forced_yields: 0,
            workers: Vec::new(),
            awake: 0,
            turn: 0,
            driven: 0,
            cores: Vec::new(),
            unserved: Vec::new(),
        };
        state.set_kind(flavor, workers);
        state
    }

    /// Says what the runtime is. The workers of a multi-threaded one start, find nothing to do, and park.
    pub(crate) fn set_kind(&mut self, flavor: RuntimeFlavor, workers: usize) {
        self.flavor = flavor;
        let mut worker = Worker { busy: START_COST, ..Worker::default() };
        if flavor == RuntimeFlavor::MultiThread {
            worker.park();
        }
        self.workers = vec![worker; workers.max(1)];
        self.awake = if flavor == RuntimeFlavor::MultiThread { 0 } else { self.workers.len() };
    }

    pub(crate) fn set_hooks(&mut self, hooks: Hooks) {
        let Hooks { start, stop, park, unpark } = &hooks;
        self.has_hooks = [start, stop, park, unpark].into_iter().any(Option::is_some);
        self.hooks = hooks;
    }

    /// What is to be called when a worker wakes.
    pub(crate) fn unpark_hook(&self) -> Option<&Hook> {
        if self.has_hooks { self.hooks.unpark.as_ref() } else { None }
    }

    fn park_hook(&self) -> Option<&Hook> {
        if self.has_hooks { self.hooks.park.as_ref() } else { None }
    }

    pub(crate) fn set_thread_name(&mut self, name: Option<Arc<str>>) {
        self.thread_name = name;
    }

    pub(crate) fn thread_name(&self) -> Arc<str> {
        self.thread_name.clone().unwrap_or_else(|| Arc::from("tokio-rt-worker"))
    }

    /// A task is picked: the worker that polls it, and whether that one was parked; `None` where all are taken, and
    /// the task is kept.
    pub(crate) fn serve(&mut self, task: TaskRef) -> Option<(u32, bool)> {
        let count = self.workers.len();
        if self.flavor == RuntimeFlavor::CurrentThread {
            if self.driven == 0 || self.workers[0].is_held {
                self.unserved.push(task);
                return None;
            }
            return Some((0, self.polls(0)));
        }
        for _ in 0..count {
            self.turn = if self.turn + 1 >= count { 0 } else { self.turn + 1 };
            if !self.workers[self.turn].is_held {
                return Some((self.turn as u32, self.polls(self.turn)));
            }
        }
        self.unserved.push(task);
        None
    }

    /// Worker `index` polls; whether it was parked.
    fn polls(&mut self, index: usize) -> bool {
        let worker = &mut self.workers[index];
        worker.polls += 1;
        #[cfg(tokio_unstable)]
        {
            worker.thread = Some(std::thread::current().id());
        }
        let parked = worker.is_parked;
        if parked {
            worker.unpark();
            self.awake += 1;
        }
        parked
    }

    /// The future of a `block_on` is polled, which on a single-threaded runtime is a worker's work.
    pub(crate) fn polls_root(&mut self) -> bool {
        if self.flavor == RuntimeFlavor::MultiThread {
            return false;
        }
        let parked = self.polls(0);
        self.workers[0].polls -= 1;
        parked
    }

    /// The worker of `current`, where it polls the future of a `block_on`.
    pub(crate) fn core_of(&self, current: Current) -> Option<usize> {
        let single = self.flavor == RuntimeFlavor::CurrentThread && current.entered.forbids_blocking();
        (single && self.cores.first() == current.task.map(|task| task.id).as_ref()).then_some(0)
    }

    /// There is nothing to do: whoever is not parked parks. How many did, and whether some still do not.
    fn park_all(&mut self) -> (usize, bool) {
        if self.flavor == RuntimeFlavor::CurrentThread && self.driven == 0 {
            return (0, true);
        }
        let mut parked = 0;
        // Mostly it is the one that polled last.
        let from_last = (self.turn..self.workers.len()).chain(0..self.turn);
        for place in from_last {
            if parked == self.awake {
                break;
            }
            let worker = &mut self.workers[place];
            if !worker.is_parked && !worker.is_held {
                worker.park();
                parked += 1;
            }
        }
        self.awake -= parked;
        (parked, self.awake > 0)
    }

    /// Worker `index` waits in the middle of a poll, or no longer does: the tasks that may go on then.
    pub(crate) fn hold(&mut self, index: u32, is_held: bool) -> Vec<TaskRef> {
        if let Some(worker) = self.workers.get_mut(index as usize) {
            worker.is_held = is_held;
        }
        if is_held { Vec::new() } else { std::mem::take(&mut self.unserved) }
    }

    /// Somebody begins to drive the runtime: the tasks that waited for that.
    pub(crate) fn begin_drive(&mut self) -> Vec<TaskRef> {
        self.driven += 1;
        std::mem::take(&mut self.unserved)
    }

    pub(crate) fn end_drive(&mut self) {
        self.driven = self.driven.saturating_sub(1);
    }

    pub(crate) fn take_core(&mut self, task: u64) {
        self.cores.push(task);
    }

    pub(crate) fn give_core(&mut self, task: u64) {
        self.cores.retain(|own| *own != task);
    }

    /// The workers wake to end.
    pub(crate) fn stop_workers(&mut self) {
        self.is_shut_down = true;
        self.workers.iter_mut().filter(|worker| worker.is_parked).for_each(Worker::unpark);
        self.awake = self.workers.len();
    }

    /// Whether this task is ready, and kept here until a worker is free.
    pub(crate) fn keeps(&self, task: u64) -> bool {
        self.unserved.iter().any(|kept| kept.id == task)
    }

    /// Ready tasks that are kept here.
    pub(crate) fn unserved(&self) -> usize {
        self.unserved.len()
    }

    /// How many blocking closures wait for a thread.
    #[cfg(tokio_unstable)]
    pub(crate) fn blocked(&self) -> usize {
        self.blocked.len()
    }

    /// Whether a blocking closure may begin; if not, it is kept until another ends.
    pub(crate) fn admit_blocking(&mut self, task: TaskRef) -> bool {
        if self.blocking >= self.max_blocking {
            self.blocked.push_back(task);
            return false;
        }
        self.blocking += 1;
        true
    }

    /// A blocking closure ended: the next one that waits, if any.
    pub(crate) fn blocking_ended(&mut self) -> Option<TaskRef> {
        self.blocking = self.blocking.saturating_sub(1);
        self.jobs = self.jobs.saturating_sub(1);
        self.blocked.pop_front()
    }
}

/// The runtimes of a world: those that live, and what is remembered of those that ended.
#[derive(Default)]
pub(crate) struct Runtimes {
    /// Every runtime that there ever was, by its number; those of a world begin with 1.
    ever: Vec<RuntimeState>,
    living: usize,
    /// Those that may have workers who do not park: whoever was looked at to be changed since the last idle moment.
    awake: Vec<RuntimeId>,
}

impl Runtimes {
    fn place(id: RuntimeId) -> usize {
        (id.0 as usize).wrapping_sub(1)
    }

    fn add(&mut self, state: RuntimeState) -> RuntimeId {
        self.ever.push(state);
        self.living += 1;
        let id = RuntimeId(self.ever.len() as u64);
        self.awake.push(id);
        id
    }

    /// A runtime has ended: what the program wanted to be called for.
    fn end(&mut self, id: RuntimeId) -> Option<(Hooks, TaskHooks)> {
        let state = self.get_mut(&id)?;
        (state.is_alive, state.pauses_clock) = (false, false);
        let hooks = (std::mem::take(&mut state.hooks), std::mem::take(&mut state.task_hooks));
        self.living -= 1;
        Some(hooks)
    }

    pub(crate) fn get(&self, id: &RuntimeId) -> Option<&RuntimeState> {
        self.get_ever(id).filter(|state| state.is_alive)
    }

    pub(crate) fn get_mut(&mut self, id: &RuntimeId) -> Option<&mut RuntimeState> {
        let state = self.ever.get_mut(Runtimes::place(*id)).filter(|state| state.is_alive)?;
        if !std::mem::replace(&mut state.is_awake, true) {
            self.awake.push(*id);
        }
        Some(state)
    }

    /// Every runtime ends with its run: what the program wanted to be called for.
    pub(crate) fn close(&mut self) -> Vec<(Hooks, TaskHooks)> {
        let all = 1..=self.ever.len() as u64;
        let hooks = all.filter_map(|number| self.end(RuntimeId(number))).collect();
        self.ever.iter_mut().for_each(|state| state.is_shut_down = true);
        hooks
    }

    /// What the worker threads of the newest multi-threaded runtime are called.
    pub(crate) fn worker_name(&self) -> Arc<str> {
        let threaded = |state: &&RuntimeState| state.is_alive && state.flavor == RuntimeFlavor::MultiThread;
        let newest = self.ever.iter().rev().find(threaded);
        newest.map_or_else(|| Arc::from("tokio-rt-worker"), RuntimeState::thread_name)
    }

    /// Also where the runtime has ended: for metrics, which outlive it.
    pub(crate) fn get_ever(&self, id: &RuntimeId) -> Option<&RuntimeState> {
        self.ever.get(Runtimes::place(*id))
    }

    /// How many runtimes hold the clock.
    pub(crate) fn pausing(&self) -> u32 {
        self.ever.iter().filter(|state| state.pauses_clock).count() as u32
    }

    /// The clock runs again, for all.
    pub(crate) fn resume_clock(&mut self) {
        self.ever.iter_mut().for_each(|state| state.pauses_clock = false);
    }

    /// Whether there are runtimes other than the node's own.
    pub(crate) fn any_loose(&self) -> bool {
        self.living > 1
    }

    /// Notes that a worker of a runtime was busy.
    pub(crate) fn charge(&mut self, id: RuntimeId, worker: u32, nanos: u64) {
        let worker = self.get_mut(&id).and_then(|state| state.workers.get_mut(worker as usize));
        if let Some(worker) = worker {
            worker.busy += Duration::from_nanos(nanos);
        }
    }

    /// Parks the workers that have nothing to do; the hooks to call, with the runtimes that they belong to.
    pub(crate) fn park(&mut self) -> Vec<(RuntimeId, Hook)> {
        let mut hooks = Vec::new();
        let ever = &mut self.ever;
        self.awake.retain(|id| {
            let Some(state) = ever.get_mut(Runtimes::place(*id)).filter(|state| state.is_alive) else {
                return false;
            };
            let count;
            (count, state.is_awake) = state.park_all();
            if let Some(hook) = state.park_hook() {
                hooks.extend((0..count).map(|_| (*id, Arc::clone(hook))));
            }
            state.is_awake
        });
        // In the order of their numbers, not in that in which they were looked at.
        hooks.sort_by_key(|(id, _)| *id);
        hooks
    }
}

/// Enters a runtime into the world.
pub(crate) fn add_runtime(shared: &Shared, node: NodeId, flavor: RuntimeFlavor, workers: usize) -> RuntimeId {
    shared.with(|world| {
        let workers = if workers == 0 { world.config.cpus } else { workers };
        world.runtimes.add(RuntimeState::new(flavor, workers, node))
    })
}

/// The clock stands still while runtime `id` lives, or until it is resumed.
pub(crate) fn pause_clock(shared: &Shared, id: RuntimeId) {
    let pausing = shared.with(|world| {
        if let Some(state) = world.runtimes.get_mut(&id) {
            state.pauses_clock = true;
        }
        world.runtimes.pausing()
    });
    shared.paused.set(pausing);
}

/// Takes a runtime that has ended out of the world; its numbers are kept.
pub(crate) fn end_runtime(shared: &Shared, id: RuntimeId) {
    let (hooks, pausing) = shared.with(|world| (world.runtimes.end(id), world.runtimes.pausing()));
    shared.paused.set(pausing);
    drop(hooks);
}
