//! Processes of a machine: a node's own, and those that it started.
//!
//! Owns numbers and who is meant by one, how a process ended, and who waits for that. Must not know pipes or
//! tokio's types. Invariant: a process that ended has a status, and whoever waits for it was woken.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::NodeId;
use crate::context::{self, Shared};
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
