//! The seam to what hangs off the engine: a [`Device`] has events in the queue and wakes tasks.
//!
//! Owns the trait, the context a device is called with, and the way in for mirrors ([`with`]). Must not
//! know any device. Invariant: wakers that a device collects are called after the world is given back.

use std::any::Any;
use std::task::Waker;

use crate::clock::SimTime;
use crate::context;
use crate::node::NodeId;
use crate::queue::{EventId, Queue};
use crate::rng::Streams;
use crate::scheduler::Event;
use crate::trace::{Kind, Trace};

/// What becomes of a node, as devices are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeChange {
    /// The node was made (or started again after a crash).
    Started,
    /// Its process is gone; its kernel lives and closes what the process had open.
    ProcessDied,
    /// The machine lost power: silence.
    PoweredOff,
    /// The node's threads and tasks do not run; its kernel does.
    Paused,
    /// The node goes on.
    Resumed,
}

/// Something outside the scheduler that reacts to events: the network.
pub trait Device: Any {
    /// The event that the device scheduled with `token` is due.
    fn fire(&mut self, token: u64, cx: &mut DeviceContext<'_>);

    /// A node changed its state.
    fn node_changed(&mut self, node: NodeId, name: &str, change: NodeChange, cx: &mut DeviceContext<'_>);

    /// The runtime with this number (`runtime::current_number`) was shut down: whoever waits on its behalf must look
    /// again.
    fn runtime_ended(&mut self, runtime: u64, cx: &mut DeviceContext<'_>) {
        let _ = (runtime, cx);
    }

    /// Lines for the report of a stalled run: what `node` has open and what it waits for.
    fn describe(&self, node: NodeId, out: &mut Vec<String>);

    /// One event in words, for a report.
    fn describe_event(&self, token: u64) -> String;

    /// For the way from the engine's box to the device's own type.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// What a device may use of the world while it is called.
pub struct DeviceContext<'a> {
    /// The virtual time.
    pub now: SimTime,
    /// The node on whose behalf the call is made (for an event: the node that the device names itself).
    pub node: NodeId,
    /// The seeded streams.
    pub rng: &'a mut Streams,
    /// Wakers to call once the world is given back.
    pub wakes: &'a mut Vec<Waker>,
    pub(crate) queue: &'a mut Queue<Event>,
    pub(crate) trace: &'a mut Trace,
}

impl DeviceContext<'_> {
    /// Schedules a call of [`Device::fire`] with `token` at `at` (now, where `at` is past).
    pub fn schedule(&mut self, at: SimTime, token: u64) -> EventId {
        self.queue.push(at.max(self.now), Event::Device(token))
    }

    /// Cancels a scheduled call; false where it has been made or was cancelled.
    pub fn cancel(&mut self, id: EventId) -> bool {
        self.queue.cancel(id).is_some()
    }

    /// Adds a decision to the trace.
    pub fn record(&mut self, kind: Kind, a: u64, b: u64) {
        self.trace.record(self.now, kind, a, b);
    }
}

/// Calls `f` with the world's device of type `D`, which is made at its first use.
///
/// # Panics
/// Outside a simulation, with the text that tokio has for a missing runtime.
pub fn with<D: Device + Default, R>(f: impl FnOnce(&mut D, &mut DeviceContext<'_>) -> R) -> R {
    match try_with(f) {
        Some(result) => result,
        None => panic!("{}", crate::runtime::CONTEXT_MISSING_ERROR),
    }
}

/// As [`with`], but `None` outside a simulation: for destructors, and for the host layer.
pub fn try_with<D: Device + Default, R>(f: impl FnOnce(&mut D, &mut DeviceContext<'_>) -> R) -> Option<R> {
    context::try_with_device(
        || Box::new(D::default()),
        |device, cx| {
            let device = device.as_any_mut().downcast_mut::<D>();
            f(device.expect("invariant: one type of device in a world"), cx)
        },
    )
}
