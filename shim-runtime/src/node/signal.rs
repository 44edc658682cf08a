//! Signals to a node's process.
//!
//! Owns which signals were sent and who listens. Must not know tokio's types. Invariant: a signal that
//! nobody ever listened for has its default action, as on Linux: the process dies.

use std::collections::BTreeMap;
use std::task::{Poll, Waker};

use super::{Crash, NodeId, crash};
use crate::context;

/// What the world knows of one signal on one node.
#[derive(Default)]
pub(crate) struct SignalState {
    sent: u64,
    wakers: Vec<Waker>,
}

/// The signals of a world.
pub(crate) type Signals = BTreeMap<(NodeId, i32), SignalState>;

/// Listens for `signal` on the current node from now on; how often it was sent before.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn listen(signal: i32) -> (NodeId, u64) {
    context::with_shared(|shared| {
        let node = shared.current.get().node;
        (node, shared.with(|world| world.signals.entry((node, signal)).or_default().sent))
    })
}

/// Whether `signal` was sent to `node` more often than `seen`; if so, how often. Else stores the waker.
pub fn poll(node: NodeId, signal: i32, seen: u64, waker: &Waker) -> Poll<u64> {
    context::with_world(|world| {
        let state = world.signals.entry((node, signal)).or_default();
        if state.sent > seen {
            return Poll::Ready(state.sent);
        }
        if !state.wakers.iter().any(|own| own.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    })
}

/// Sends `signal` to `node`'s process.
#[track_caller]
pub fn send(node: NodeId, signal: i32) {
    let wakers = context::with_world(|world| {
        let state = world.signals.get_mut(&(node, signal))?;
        state.sent += 1;
        Some(std::mem::take(&mut state.wakers))
    });
    match wakers {
        Some(wakers) => wakers.into_iter().for_each(Waker::wake),
        None if matches!(signal, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT) => {}
        None => crash(node, Crash::Process),
    }
}

/// A node's process ended: nobody listens any more.
pub(crate) fn forget(signals: &mut Signals, node: NodeId) -> Signals {
    let (gone, kept) = std::mem::take(signals).into_iter().partition(|((owner, _), _)| *owner == node);
    *signals = kept;
    gone
}
