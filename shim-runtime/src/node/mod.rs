//! Nodes: what a simulated machine is to the engine.
//!
//! Owns the node's names, state, entropy stream and clock offset. Must not know of sockets (devices are
//! told of changes). Invariant: a node that is not alive runs nothing and cannot reach a device.

pub(crate) mod lifecycle;
pub mod process;
pub mod signal;

use std::task::Waker;

use crate::context;
use crate::rng::Stream;
use crate::runtime::RuntimeId;
use crate::task::TaskRef;

pub use lifecycle::{Crash, MainResult, NodeMain, crash, pause, resume, spawn_node, spawn_on_node, start};

/// The number of a node. Node 0 is the one that the test's own body runs on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

/// What a node is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Its tasks run.
    Running,
    /// Its tasks are frozen.
    Paused,
    /// Its process is gone; the machine is up.
    Stopped,
    /// The machine has no power.
    Off,
}

/// A simulated machine.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) runtime: RuntimeId,
    pub(crate) entropy: Stream,
    pub(crate) pid: u32,
    /// Added to what the node's wall clock shows.
    pub(crate) wall_offset_ns: i64,
    /// What it runs when it is started.
    pub(crate) main: NodeMain,
    /// Ready tasks, kept while the node is paused.
    pub(crate) frozen: Vec<TaskRef>,
    /// How often the node was started.
    pub(crate) starts: u32,
    /// The machine whose addresses and disk it has: itself, unless another process started it.
    pub(crate) machine: NodeId,
    /// The process that started it; none of a machine's own.
    pub(crate) parent: Option<NodeId>,
    /// How its process ended, as `wait(2)` says it.
    pub(crate) exit: Option<i32>,
    /// Who waits for that.
    pub(crate) exit_wakers: Vec<Waker>,
}

impl Node {
    pub(crate) fn alive(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }
}

/// The node on whose behalf the calling code runs.
///
/// # Panics
/// Outside a simulation.
pub fn current_node() -> NodeId {
    context::with_shared(|shared| shared.current.get().node)
}

/// Whether `node`'s process is alive.
pub fn is_alive(node: NodeId) -> bool {
    context::try_with_shared(|shared| {
        shared.with(|world| world.nodes.get(node.0 as usize).is_some_and(Node::alive))
    })
    .unwrap_or(false)
}

/// The state of `node`.
pub fn state(node: NodeId) -> State {
    context::with_world(|world| world.node(node).state)
}

/// The name of `node`.
pub fn name(node: NodeId) -> String {
    context::with_world(|world| world.node(node).name.clone())
}

/// The node called `name`.
pub fn find(name: &str) -> Option<NodeId> {
    context::with_world(|world| world.names.get(name).copied())
}

/// The names of all nodes, in the order of their numbers.
pub fn names() -> Vec<String> {
    context::with_world(|world| world.nodes.iter().map(|node| node.name.clone()).collect())
}

/// Moves `node`'s wall clock by `offset_ns` against the world's.
pub fn set_wall_offset_ns(node: NodeId, offset_ns: i64) {
    context::with_world(|world| world.node_mut(node).wall_offset_ns = offset_ns);
}
