//! Processes of a machine: a node's own, and those that it started.
//!
//! Owns numbers and who is meant by one, how a process ended, and who waits for that. Must not know pipes or
//! tokio's types. Invariant: a process that ended has a status, and whoever waits for it was woken.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::{NodeId, NodeMain, State, lifecycle};
use crate::context::{self, Shared};
use crate::device::NodeChange;
use crate::task::{self, SpawnOn};
use crate::trace::Kind;
use crate::world::World;

/// The process that a program on `own` means by `pid`, as `kill(2)` reads it: itself, or another of its machine; the
/// test may name any.
pub(crate) fn find(shared: &Shared, own: NodeId, pid: libc::pid_t) -> Option<NodeId> {
    shared.with(|world| {
        let wanted = pid.unsigned_abs();
        if pid == 0 || pid == -1 || world.node(own).pid == wanted {
            return Some(own);
        }
        let machine = world.node(own).machine;
        let reaches = |node: &&super::Node| own == NodeId(0) || node.machine == machine;
        let found = world.nodes.iter().rev().filter(reaches).find(|node| node.pid == wanted && node.alive());
        found.map(|node| node.id)
    })
}

/// Whether programs may start processes of the machine.
pub(crate) fn real_children_allowed(shared: &Shared) -> bool {
    shared.with(|world| world.config.real_processes)
}

/// Whether programs of the current run may start processes of the machine; so outside a simulation.
pub fn may_start_real() -> bool {
    context::try_with_shared(|shared| real_children_allowed(shared)).unwrap_or(true)
}

/// A program that a test registered: what it is made of is known to whoever starts it.
pub type Program = Rc<dyn Any>;

/// The programs of a world, by path.
pub(crate) type Programs = BTreeMap<String, Program>;

/// Registers a program under `path`, in place of any that was there.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn register(path: &str, program: Program) {
    let before = context::with_world(|world| world.programs.insert(path.to_owned(), program));
    drop(before);
}

/// What is known of a program that somebody wants to start.
pub enum Known {
    /// A test registered it under this path.
    Program(String, Program),
    /// Tests registered others.
    NoSuch,
    /// Nothing was ever registered.
    Nothing,
}

/// The program called `name`: by its path, or, as a shell would look for it, by the last part of that.
///
/// # Panics
/// Outside a simulation.
pub fn program(name: &str) -> Known {
    context::with_world(|world| {
        let by_name = !name.contains('/');
        let wanted = |path: &str| path == name || (by_name && path.rsplit('/').next() == Some(name));
        match world.programs.iter().find(|(path, _)| wanted(path)) {
            Some((path, program)) => Known::Program(path.clone(), Rc::clone(program)),
            None if world.programs.is_empty() => Known::Nothing,
            None => Known::NoSuch,
        }
    })
}

/// Starts a process on the current node's machine, which runs `main` and ends with the code that it gives; a panic is
/// code 101, as std's.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn start(name: &str, main: impl Future<Output = i32> + 'static) -> NodeId {
    let shared = context::with_shared(Arc::clone);
    let parent = shared.current.get().node;
    let id = lifecycle::add_node(&shared, name, NodeMain::Nothing);
    let runtime = shared.with(|world| {
        let machine = world.node(parent).machine;
        let full = format!("{}/{name}[{}]", world.node(machine).name, world.node(id).pid);
        world.names.entry(full.clone()).or_insert(id);
        let node = world.node_mut(id);
        (node.machine, node.parent, node.name, node.state) = (machine, Some(parent), full, State::Running);
        node.starts = 1;
        let (number, runtime) = (u64::from(id.0), node.runtime);
        world.record(shared.now.get(), Kind::Node, number, u64::from(parent.0) << 8);
        runtime
    });
    let owner = Arc::clone(&shared);
    let on = SpawnOn { node: id, runtime, location: Location::caller(), what: "process" };
    let own = Arc::clone(&shared);
    let main = async move {
        let code = main.await;
        end(&own, id, (code & 0xff) << 8);
    };
    let handle = task::spawn_on(&shared, main, on);
    let runtime = shared.with(|world| world.node(NodeId(0)).runtime);
    let watch = async move {
        if handle.await.is_err_and(|error| error.is_panic()) {
            end(&owner, id, 101 << 8);
        }
    };
    let on = SpawnOn { node: NodeId(0), runtime, location: Location::caller(), what: "process watch" };
    drop(task::spawn_on(&shared, watch, on));
    id
}

fn end(shared: &Arc<Shared>, id: NodeId, status: i32) {
    let was_alive = shared.with(|world| {
        let node = world.node_mut(id);
        let was_alive = node.alive();
        if was_alive {
            node.exit = Some(status);
        }
        was_alive
    });
    if !was_alive {
        return;
    }
    lifecycle::down(shared, id, State::Stopped, NodeChange::ProcessDied);
}

/// Says on standard error that `what` would start a process of the machine, and what to do instead.
pub fn refuse_real(what: &str) {
    crate::host::spawn::refuse(what);
}

/// A process ended: keeps how, and hands out who waits for it.
pub(crate) fn ended(world: &mut World, node: NodeId) -> Vec<Waker> {
    let node = world.node_mut(node);
    node.exit.get_or_insert(0);
    std::mem::take(&mut node.exit_wakers)
}

/// How `node`'s process ended, as `wait(2)` says it.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn poll_exit(node: NodeId, waker: &Waker) -> Poll<i32> {
    context::with_world(|world| {
        let node = world.node_mut(node);
        if let (false, Some(status)) = (node.alive(), node.exit) {
            return Poll::Ready(status);
        }
        if !node.exit_wakers.iter().any(|own| own.will_wake(waker)) {
            node.exit_wakers.push(waker.clone());
        }
        Poll::Pending
    })
}

/// How `node`'s process ended, if it did.
pub fn exit_status(node: NodeId) -> Option<i32> {
    context::try_with_shared(|shared| {
        shared.with(|world| {
            let node = world.node(node);
            if node.alive() { None } else { node.exit }
        })
    })
    .flatten()
}

/// The number of `node`'s process.
pub fn pid(node: NodeId) -> u32 {
    context::with_world(|world| world.node(node).pid)
}

/// The machine that `node`'s process runs on: the node itself, unless another process started it.
pub fn machine(node: NodeId) -> NodeId {
    context::try_with_shared(|shared| {
        shared.with(|world| world.nodes.get(node.0 as usize).map_or(node, |own| own.machine))
    })
    .unwrap_or(node)
}

/// The processes of `machine` that another one started and that are alive.
pub(crate) fn started_on(shared: &Arc<Shared>, machine: NodeId) -> Vec<NodeId> {
    shared.with(|world| {
        let others = world.nodes.iter().filter(|node| node.machine == machine && node.id != machine);
        others.filter(|node| node.alive()).map(|node| node.id).collect()
    })
}
