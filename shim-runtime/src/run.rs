//! A run: a world from its making to its end.
//!
//! Owns the start (node 0 and the main future), the end (every task dropped, every thread ended) and what
//! is told of it. Must not know how many runs there are. Invariant: after a run nothing of it is left.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{MONOTONIC_BASE_NS, SimTime, WALL_BASE_NS};
use crate::config::Config;
use crate::context::{Current, Entered, Shared, Wait};
use crate::host::tsc::Counter;
use crate::host::watchdog;
use crate::node::{NodeId, NodeMain, State, lifecycle};
use crate::report::{Stall, Stalled};
use crate::runtime::RuntimeFlavor;
use crate::scheduler;
use crate::task::header::Inbox;
use crate::threads;
use crate::threads::guest::Door;
use crate::world::World;

/// The name of node 0, on which a test's own body runs.
pub const TEST_NODE: &str = "test";

/// What a run did, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// The hash over every decision: equal for equal runs.
    pub trace_hash: u64,
    /// How many tasks were polled.
    pub steps: u64,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// Why the run cannot be repeated exactly, one line each; empty where it can.
    pub not_deterministic: Vec<String>,
}

/// Why a run failed.
pub enum FailureKind {
    /// The run could not go on.
    Stalled(Stall),
    /// The main future panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
}

/// A failed run.
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// The report, or the panic's message.
    pub report: String,
    /// The numbers up to the failure.
    pub summary: Summary,
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seed, steps, elapsed, trace_hash, .. } = &self.summary;
        write!(
            f,
            "{}\n(seed {seed}, step {steps}, virtual time {elapsed:?}, trace {trace_hash:016x})",
            self.report
        )
    }
}

impl Error for Failure {}

/// How node 0's runtime looks to the program.
#[derive(Clone, Copy, Debug)]
pub struct MainRuntime {
    /// Where the main future comes from, for reports.
    pub location: &'static Location<'static>,
    /// Whether it says that it is multi-threaded, and with how many workers (0: as many as processors).
    pub workers: Option<usize>,
    /// Whether the clock stands still from the beginning.
    pub start_paused: bool,
    /// The runtime's name.
    pub name: Option<&'static str>,
    /// Whether a panic of a task ends the runtime (`unhandled_panic`).
    pub ends_on_panic: bool,
}

impl Default for MainRuntime {
    #[track_caller]
    fn default() -> Self {
        MainRuntime {
            location: Location::caller(),
            workers: None,
            start_paused: false,
            name: None,
            ends_on_panic: false,
        }
    }
}

thread_local! {
    /// The run that loose runtimes of this thread share.
    static AMBIENT: RefCell<Option<Home>> = const { RefCell::new(None) };
    /// Whether there is one: a thread that has none must not touch the above, which would be made too early.
    static HAS_AMBIENT: Cell<bool> = const { Cell::new(false) };
}

/// The run of a thread's loose runtimes, which ends with the thread.
struct Home(Arc<Shared>);

impl Drop for Home {
    fn drop(&mut self) {
        let shared = &self.0;
        // Nothing may unwind out of a thread's end.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            threads::guest::wait_for_guests(shared);
            if !shared.with(|world| world.runtimes.any_loose()) {
                close(shared);
            }
            threads::guest::leave(shared);
            crate::host::tsc::end();
        }));
    }
}

/// Runs `make`'s future on node 0 of a new world, on the calling thread, to its end.
///
/// # Errors
/// Where the run cannot go on, or the future panics.
pub fn run<F: Future>(
    config: Config,
    runtime: MainRuntime,
    make: impl FnOnce() -> F,
) -> (Result<F::Output, FailureKind>, String, Summary) {
    watchdog::start(config.poll_limit, config.real_limit);
    let shared = new_world(config, runtime, false);
    let ended = shared.enter(|| {
        crate::host::tsc::begin();
        let current = shared.current.get();
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let mut future = pin!(make());
            let flavor = runtime.workers.map_or(RuntimeFlavor::CurrentThread, |_| RuntimeFlavor::MultiThread);
            let current = Current { entered: Entered::into(flavor), ..current };
            scheduler::drive(&shared, current, runtime.location, |cx| future.as_mut().poll(cx))
        }));
        shared.current.set(current);
        crate::host::tsc::end();
        ended
    });
    let summary = summary(&shared);
    let (result, text) = match ended {
        Ok(Ok(output)) => (Ok(output), String::new()),
        Ok(Err(Stalled { stall, report })) => (Err(FailureKind::Stalled(stall)), report),
        Err(payload) => {
            let text = crate::task::payload_text(&*payload).unwrap_or_else(|| "a panic".to_owned());
            (Err(FailureKind::Panicked(payload)), text)
        }
    };
    close(&shared);
    watchdog::stop();
    (result, text, summary)
}

fn summary(shared: &Shared) -> Summary {
    shared.with(|world| Summary {
        seed: world.config.seed,
        trace_hash: world.trace.hash(),
        steps: world.trace.step,
        elapsed: shared.now.get().since_start(),
        not_deterministic: world.not_deterministic.clone(),
    })
}

fn new_world(config: Config, runtime: MainRuntime, is_ambient: bool) -> Arc<Shared> {
    let (monotonic_base_ns, wall_base_ns) =
        if is_ambient { crate::host::clock::real_bases_ns() } else { (MONOTONIC_BASE_NS, WALL_BASE_NS) };
    let shared = Arc::new(Shared {
        now: Cell::new(SimTime::ZERO),
        current: Cell::new(Current::NONE),
        wait: Cell::new(Wait::Waker),
        clock_reads: Cell::new(0),
        counter: Cell::new(Counter::new(config.seed)),
        stand_ins: Cell::new(0),
        has_hooks: Cell::new(false),
        has_task_hooks: Cell::new(runtime.ends_on_panic),
        paused: Cell::new(u32::from(runtime.start_paused)),
        inbox: Arc::new(Inbox::default()),
        external: Arc::default(),
        monotonic_base_ns,
        wall_base_ns,
        is_ambient,
        door: Door::default(),
        world: RefCell::new(World::new(config)),
    });
    let node = lifecycle::add_machine(&shared, TEST_NODE, NodeMain::Nothing);
    let id = shared.with(|world| {
        let id = world.node(node).runtime;
        world.node_mut(node).state = State::Running;
        world.node_mut(node).starts = 1;
        let cpus = world.config.cpus;
        if let Some(state) = world.runtimes.get_mut(&id) {
            state.name = runtime.name.map(str::to_owned);
            state.ends_on_panic = runtime.ends_on_panic;
            state.pauses_clock = runtime.start_paused;
            match runtime.workers {
                None => state.set_kind(RuntimeFlavor::CurrentThread, 1),
                Some(0) => state.set_kind(RuntimeFlavor::MultiThread, cpus),
                Some(workers) => state.set_kind(RuntimeFlavor::MultiThread, workers),
            }
            // The run drives it from its first step to its last.
            let waiting = state.begin_drive();
            debug_assert!(waiting.is_empty());
        }
        id
    });
    shared.current.set(Current { node, runtime: Some(id), ..Current::NONE });
    shared
}

/// Ends what is left of a run.
fn close(shared: &Arc<Shared>) {
    shared.enter(|| {
        shared.with(|world| {
            world.closing = true;
            for node in &mut world.nodes {
                node.state = State::Off;
            }
        });
        threads::as_driver(shared, || {
            lifecycle::end_tasks(shared, |_| true);
            threads::end_all(shared);
        });
        let (queue, runtimes) =
            shared.with(|world| (std::mem::take(&mut world.queue), world.runtimes.close()));
        drop((queue, runtimes));
        let devices = shared.with(|world| std::mem::take(&mut world.devices));
        drop(devices);
    });
}

/// The run that a runtime made outside any run belongs to: one for each thread, until it ends.
pub(crate) fn ambient() -> Arc<Shared> {
    // Thread-locals go in the order opposite to their making: what the run's end needs must be there before.
    threads::prepare_thread();
    AMBIENT.with(|ambient| {
        let found = ambient.borrow().as_ref().map(|home| Arc::clone(&home.0));
        found.unwrap_or_else(|| {
            let shared = new_world(crate::sweep::config_from_environment(), MainRuntime::default(), true);
            let current = shared.current.get();
            shared.current.set(Current { runtime: None, ..current });
            *ambient.borrow_mut() = Some(Home(Arc::clone(&shared)));
            HAS_AMBIENT.set(true);
            crate::host::tsc::begin();
            shared
        })
    })
}

/// Makes the run that loose runtimes of this thread share, where the thread is in none: for what tokio allows outside
/// of a runtime.
pub fn ensure() {
    if crate::context::shared().is_none() {
        let _run = ambient();
    }
}

/// The run that loose runtimes of this thread share, if there is one.
pub(crate) fn existing_ambient() -> Option<Arc<Shared>> {
    if !HAS_AMBIENT.get() {
        return None;
    }
    let found = |ambient: &RefCell<Option<Home>>| Some(Arc::clone(&ambient.try_borrow().ok()?.as_ref()?.0));
    AMBIENT.try_with(found).ok().flatten()
}

/// Whether loose runtimes of this thread have a run.
pub(crate) fn has_ambient() -> bool {
    HAS_AMBIENT.get()
        && AMBIENT.try_with(|ambient| ambient.try_borrow().is_ok_and(|home| home.is_some())).unwrap_or(false)
}

/// A blocking call outside any poll can never end.
#[track_caller]
pub(crate) fn stalled(stalled: &Stalled) -> ! {
    panic!("{}", stalled.report);
}

/// A stand-in driver found that the run cannot go on: nobody could be told but by ending the process.
pub(crate) fn stalled_in_stand_in(stalled: &Stalled) -> ! {
    // Past a test harness that captures what its tests print, and would lose it.
    crate::host::process::print_error(&stalled.report);
    crate::host::process::exit_now(crate::sweep::EXIT_STALLED);
}

/// The numbers of the run so far.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn summary_so_far() -> Summary {
    crate::context::with_shared(|shared| summary(shared))
}

/// Draws a number from the test's own stream.
pub fn draw_u64() -> u64 {
    crate::context::with_world(|world| world.streams.test.next_u64())
}

/// Adds a number of the test's own to the trace.
pub fn mark(value: u64) {
    crate::context::with_shared(|shared| {
        let node: NodeId = shared.current.get().node;
        shared
            .with(|world| world.record(shared.now.get(), crate::trace::Kind::Mark, value, u64::from(node.0)));
    });
}
