//! Signals to a node's process.
//!
//! Owns which signals were sent, who listens, and what a signal does that nobody listens for. Must not know
//! tokio's types. Invariant: a signal that nobody ever listened for has its default action, as on Linux.
//!
//! A signal is sent first and told to its listeners at the next turn of the loop, as with tokio, whose driver
//! hears of it through a pipe: a listener that is made in between hears it too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use super::{NodeId, lifecycle};
use crate::context::{self, Shared};
use crate::scheduler::Event;
use crate::trace::Kind;

/// What the world knows of one signal on one node.
#[derive(Default)]
pub(crate) struct SignalState {
    told: u64,
    wakers: Vec<Waker>,
}

/// The signals of a world.
pub(crate) type Signals = BTreeMap<(NodeId, i32), SignalState>;

/// What a signal does to a process that never listened for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Default {
    Dies,
    Ignores,
    Stops,
    GoesOn,
}

fn default_action(signal: i32) -> Default {
    match signal {
        // std ignores SIGPIPE in every program.
        libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGPIPE => Default::Ignores,
        libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Default::Stops,
        libc::SIGCONT => Default::GoesOn,
        _ => Default::Dies,
    }
}

/// Listens for `signal` on the current node from now on; how often it was told before.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn listen(signal: i32) -> (NodeId, u64) {
    context::with_shared(|shared| {
        if shared.is_ambient {
            shared.external.listen(signal);
        }
        let node = shared.current.get().node;
        (node, shared.with(|world| world.signals.entry((node, signal)).or_default().told))
    })
}

/// Whether `signal` was told to `node` more often than `seen`; if so, how often. Else stores the waker.
pub fn poll(node: NodeId, signal: i32, seen: u64, waker: &Waker) -> Poll<u64> {
    context::with_world(|world| {
        let state = world.signals.entry((node, signal)).or_default();
        if state.told > seen {
            return Poll::Ready(state.told);
        }
        if !state.wakers.iter().any(|own| own.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    })
}

/// Sends `signal` to `node`'s process.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn send(node: NodeId, signal: i32) {
    context::with_shared(|shared| send_in(shared, node, signal));
}

/// [`send`], in a run that is known.
pub(crate) fn send_in(shared: &Arc<Shared>, node: NodeId, signal: i32) {
    let (alive, listened) = shared.with(|world| {
        world.record(shared.now.get(), Kind::Signal, u64::from(node.0), signal as u64);
        (world.node(node).alive(), world.signals.contains_key(&(node, signal)))
    });
    if !alive || signal == 0 {
        return;
    }
    // A stopped process goes on even where it listens for SIGCONT, and SIGKILL cannot be listened for.
    if signal == libc::SIGCONT || signal == libc::SIGKILL {
        lifecycle::resume_in(shared, node);
    }
    if listened {
        let telling = Waker::from(Arc::new(Telling { node, signal }));
        shared.with(|world| world.queue.push(shared.now.get(), Event::Timer(telling)));
        return;
    }
    match default_action(signal) {
        Default::Ignores | Default::GoesOn => {}
        Default::Stops => lifecycle::pause_in(shared, node),
        Default::Dies => lifecycle::die_of(shared, node, signal),
    }
}

/// Whether `node`'s process ever listened for `signal`.
pub(crate) fn is_listened(shared: &Shared, node: NodeId, signal: i32) -> bool {
    shared.with(|world| world.signals.contains_key(&(node, signal)))
}

/// Tells a signal to its listeners when the loop comes to it.
struct Telling {
    node: NodeId,
    signal: i32,
}

impl Wake for Telling {
    fn wake(self: Arc<Self>) {
        let wakers = context::try_with_shared(|shared| {
            shared.with(|world| {
                let state = world.signals.get_mut(&(self.node, self.signal))?;
                state.told += 1;
                Some(std::mem::take(&mut state.wakers))
            })
        });
        wakers.flatten().into_iter().flatten().for_each(Waker::wake);
    }
}

/// A node's process ended: nobody listens any more.
pub(crate) fn forget(signals: &mut Signals, node: NodeId) -> Signals {
    let (gone, kept) = std::mem::take(signals).into_iter().partition(|((owner, _), _)| *owner == node);
    *signals = kept;
    gone
}

/// The name of a signal, for messages.
pub(crate) fn name(signal: i32) -> &'static str {
    match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGABRT => "SIGABRT",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        _ => "a signal",
    }
}
