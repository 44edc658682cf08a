//! The world: the single owner of everything in a run.
//!
//! Owns the queue, streams, trace, nodes, tasks, runtimes, threads and the devices. Must not poll or drop
//! foreign code. Invariant: whatever could run foreign code on drop is moved out before it is dropped.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::clock::SimTime;
use crate::config::Config;
use crate::device::Devices;
use crate::host::futex::Futexes;
use crate::node::process::Programs;
use crate::node::signal::Signals;
use crate::node::{Node, NodeId};
use crate::queue::Queue;
use crate::rng::Streams;
use crate::runtime::{Hook, RuntimeId, Runtimes};
use crate::scheduler::{Event, Ready};
use crate::task::{TaskRef, Tasks};
use crate::threads::Threads;
use crate::trace::Trace;

pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) queue: Queue<Event>,
    pub(crate) streams: Streams,
    pub(crate) trace: Trace,
    pub(crate) nodes: Vec<Node>,
    /// Each node by its name; of several with one name, the first.
    pub(crate) names: BTreeMap<String, NodeId>,
    pub(crate) tasks: Tasks,
    pub(crate) ready: Ready,
    pub(crate) runtimes: Runtimes,
    /// Hooks of workers that were unparked, to be called before the task is polled.
    pub(crate) unpark_hooks: Vec<(RuntimeId, Hook)>,
    pub(crate) threads: Threads,
    pub(crate) signals: Signals,
    pub(crate) programs: Programs,
    pub(crate) futexes: Futexes,
    pub(crate) devices: Devices,
    /// A buffer that devices put wakers into, kept for its capacity.
    pub(crate) wakes: Vec<Waker>,
    /// A buffer for what the inbox held, kept for its capacity.
    pub(crate) woken: Vec<TaskRef>,
    /// The task that was polled last: what it wakes of itself goes behind the others.
    pub(crate) last_polled: Option<TaskRef>,
    /// When a task was polled last.
    pub(crate) last_poll_at: SimTime,
    /// The step at which the last event fired.
    pub(crate) last_event_step: u64,
    /// Why the run cannot be repeated exactly, one line each.
    pub(crate) not_deterministic: Vec<String>,
    /// Nodes whose main function failed, in words: the run ends.
    pub(crate) failures: Vec<String>,
    /// Set once the run is over: nothing may be spawned any more.
    pub(crate) closing: bool,
}

impl World {
    pub(crate) fn new(config: Config) -> World {
        World {
            queue: Queue::default(),
            streams: Streams::new(config.seed),
            trace: Trace::new(config.seed, config.log),
            nodes: Vec::new(),
            names: BTreeMap::new(),
            tasks: Tasks::default(),
            ready: Ready::new(config.policy),
            runtimes: Runtimes::default(),
            unpark_hooks: Vec::new(),
            threads: Threads::default(),
            signals: Signals::new(),
            programs: Programs::new(),
            futexes: Futexes::default(),
            devices: Devices::default(),
            wakes: Vec::new(),
            woken: Vec::new(),
            last_polled: None,
            last_poll_at: SimTime::ZERO,
            last_event_step: 0,
            not_deterministic: Vec::new(),
            failures: Vec::new(),
            closing: false,
            config,
        }
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// The name of threads that drive: that of the newest multi-threaded runtime's workers.
    pub(crate) fn worker_name(&self) -> String {
        self.runtimes.worker_name().to_string()
    }

    pub(crate) fn record(&mut self, now: SimTime, kind: crate::trace::Kind, a: u64, b: u64) {
        self.trace.record(now, kind, a, b);
    }
}
