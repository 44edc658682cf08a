//! The seam to what hangs off the engine: a [`Device`] has events in the queue and wakes tasks.
//!
//! Owns the trait, the context a device is called with, and the way in for mirrors ([`with`]). Must not
//! know any device. Invariants: a world has one device of each type; wakers that a device collects are called after the world is given back.

use std::any::{Any, TypeId};
use std::task::Waker;

use crate::clock::SimTime;
use crate::context;
use crate::node::{Node, NodeId};
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

/// Which of a world's devices an event belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceId(u8);

/// The devices of a world, in the order of their first use: one of each type.
#[derive(Default)]
pub(crate) struct Devices {
    all: Vec<(TypeId, Box<dyn Device>)>,
    /// The place of the one that was found last: it is mostly asked for again.
    last: usize,
}

impl Devices {
    /// The device of type `kind`, made where there is none; whether it was.
    #[inline]
    pub(crate) fn find_or_make(
        &mut self,
        kind: TypeId,
        make: impl FnOnce() -> Box<dyn Device>,
    ) -> (DeviceId, &mut dyn Device, bool) {
        let mut fresh = false;
        if self.all.get(self.last).is_none_or(|(own, _)| *own != kind) {
            let found = self.all.iter().position(|(own, _)| *own == kind);
            self.last = found.unwrap_or(self.all.len());
            fresh = found.is_none();
            if fresh {
                self.all.push((kind, make()));
            }
        }
        (DeviceId(self.last as u8), self.all[self.last].1.as_mut(), fresh)
    }

    /// The device with a number.
    pub(crate) fn of(&mut self, id: DeviceId) -> Option<&mut Box<dyn Device>> {
        self.all.get_mut(id.0 as usize).map(|(_, device)| device)
    }

    /// As [`Devices::of`], for looking.
    pub(crate) fn get(&self, id: DeviceId) -> Option<&dyn Device> {
        self.all.get(id.0 as usize).map(|(_, device)| device.as_ref())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Device> {
        self.all.iter().map(|(_, device)| device.as_ref())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (DeviceId, &mut Box<dyn Device>)> {
        self.all.iter_mut().enumerate().map(|(place, (_, device))| (DeviceId(place as u8), device))
    }
}

/// Something outside the scheduler that reacts to events: the network, the disks.
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
    /// What the wall clock shows where nothing was set, in nanoseconds at the beginning.
    pub(crate) wall_base_ns: u64,
    /// The device itself.
    pub(crate) device: DeviceId,
    /// The node of the code that calls.
    pub(crate) caller: NodeId,
    pub(crate) nodes: &'a [Node],
    /// The seeded streams.
    pub rng: &'a mut Streams,
    /// Wakers to call once the world is given back.
    pub wakes: &'a mut Vec<Waker>,
    pub(crate) queue: &'a mut Queue<Event>,
    pub(crate) trace: &'a mut Trace,
}

impl DeviceContext<'_> {
    /// The node on whose behalf the call is made (for an event: the node that the device names itself). A process that
    /// another one started uses its machine's stack and disk.
    pub fn node(&self) -> NodeId {
        self.nodes.get(self.caller.0 as usize).map_or(self.caller, |own| own.machine)
    }

    /// What the wall clock of the node shows, in nanoseconds.
    pub fn wall_ns(&self) -> u64 {
        let offset = self.nodes.get(self.node().0 as usize).map_or(0, |node| node.wall_offset_ns);
        (self.wall_base_ns + self.now.nanos()).saturating_add_signed(offset)
    }

    /// What wall clocks show at the beginning of the run where nothing was set, in nanoseconds.
    pub fn epoch_ns(&self) -> u64 {
        self.wall_base_ns
    }

    /// Schedules a call of [`Device::fire`] with `token` at `at` (now, where `at` is past).
    pub fn schedule(&mut self, at: SimTime, token: u64) -> EventId {
        self.queue.push(at.max(self.now), Event::Device(self.device, token))
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
        TypeId::of::<D>(),
        || Box::new(D::default()),
        |device, cx| {
            let device = device.as_any_mut().downcast_mut::<D>();
            f(device.expect("invariant: a device is found by its type"), cx)
        },
    )
}

/// Whether a host layer may use a device: the calling thread belongs to a run that is no loose runtime's,
/// and the world is not lent to somebody already.
pub fn is_reachable() -> bool {
    context::try_with_run(|shared| !shared.is_ambient && shared.world.try_borrow_mut().is_ok()) == Some(true)
}
