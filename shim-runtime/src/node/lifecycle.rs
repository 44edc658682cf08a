//! A node's life: made, crashed, without power, started again, paused.
//!
//! Owns the order in which things end: first the node is marked dead, then devices are told, then its
//! futures are dropped. Must not know what sockets do about it. Invariant: what a dropped future does on
//! its way out has no effect on other nodes.

use std::error::Error;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use super::{Node, NodeId, State, process, signal};
use crate::context::{self, Current, Entered, Shared};
use crate::device::NodeChange;
use crate::rng::Stream;
use crate::runtime::{RuntimeFlavor, add_runtime};
use crate::scheduler;
use crate::task::{self, Body, Id, JoinError, SpawnOn, Task, TaskRef};
use crate::threads;
use crate::trace::Kind;

/// How a node's main function ends.
pub type MainResult = Result<(), Box<dyn Error>>;

type MainFuture = Pin<Box<dyn Future<Output = MainResult>>>;

/// What a node runs when it is started.
pub enum NodeMain {
    /// Nothing: tasks are put on it from outside.
    Nothing,
    /// A future, made anew at each start.
    Future(Box<dyn FnMut() -> MainFuture>),
    /// An application's own `fn main()`, on a thread of its own.
    Function(Arc<dyn Fn() + Send + Sync>),
}

/// How a node goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// Its process dies; its kernel closes what the process had open.
    Process,
    /// The machine loses power: silence, and resets once it is up again.
    Machine,
}

/// Makes a node called `name` and starts it.
///
/// # Panics
/// Where another node has that name.
#[track_caller]
pub fn spawn_node(name: &str, main: NodeMain) -> NodeId {
    let shared = context::with_shared(Arc::clone);
    shared.with(|world| {
        assert!(!world.names.contains_key(name), "simulation: a node called {name:?} exists");
    });
    let id = add_machine(&shared, name, main);
    boot(&shared, id, Location::caller());
    id
}

/// Enters a node that is a machine into the world, without starting it.
pub(crate) fn add_machine(shared: &Shared, name: &str, main: NodeMain) -> NodeId {
    let id = add_node(shared, name, main);
    shared.with(|world| world.names.insert(name.to_owned(), id));
    id
}

/// Enters a node into the world, whose name is not final yet.
pub(super) fn add_node(shared: &Shared, name: &str, main: NodeMain) -> NodeId {
    let id = NodeId(shared.with(|world| world.nodes.len() as u32));
    let runtime = add_runtime(shared, id, RuntimeFlavor::MultiThread, 0);
    shared.with(|world| {
        let mut identity = Stream::new(world.config.seed, "identity", u64::from(id.0));
        world.nodes.push(Node {
            id,
            name: name.to_owned(),
            state: State::Stopped,
            runtime,
            entropy: Stream::new(world.config.seed, "entropy", u64::from(id.0)),
            pid: 1000 + identity.below(30_000),
            wall_offset_ns: 0,
            main,
            frozen: Vec::new(),
            starts: 0,
            machine: id,
            parent: None,
            exit: None,
            exit_wakers: Vec::new(),
        });
        id
    })
}

/// Starts a node that does not run.
pub(crate) fn boot(shared: &Arc<Shared>, id: NodeId, location: &'static Location<'static>) {
    let again = shared.with(|world| world.node(id).starts > 0);
    let runtime = if again {
        add_runtime(shared, id, RuntimeFlavor::MultiThread, 0)
    } else {
        shared.with(|world| world.node(id).runtime)
    };
    let mut main = shared.with(|world| {
        let node = world.node_mut(id);
        node.state = State::Running;
        node.exit = None;
        node.starts += 1;
        node.runtime = runtime;
        std::mem::replace(&mut node.main, NodeMain::Nothing)
    });
    tell_device(shared, id, NodeChange::Started);
    let on = SpawnOn { node: id, runtime, location, what: "node main" };
    let before = shared.current.get();
    shared.current.set(Current {
        node: id,
        runtime: Some(runtime),
        task: None,
        task_id: None,
        entered: Entered::No,
        worker: None,
    });
    match &mut main {
        NodeMain::Nothing => {}
        NodeMain::Future(make) => {
            let future = make();
            let owner = Arc::clone(shared);
            let handle = task::spawn_on(shared, async move { exited(&owner, id, future.await) }, on);
            watch_main(shared, id, handle, on);
        }
        NodeMain::Function(function) => {
            let function = Arc::clone(function);
            let owner = Arc::clone(shared);
            let handle = task::spawn_blocking_on(
                shared,
                move || {
                    let current = owner.current.get();
                    owner.current.set(Current { task_id: None, runtime: None, ..current });
                    function();
                    exited(&owner, id, Ok(()));
                },
                on,
            );
            watch_main(shared, id, handle, on);
        }
    }
    shared.current.set(before);
    shared.with(|world| world.node_mut(id).main = main);
}

/// A panic of a node's main function fails the run.
fn watch_main(shared: &Arc<Shared>, id: NodeId, handle: task::JoinHandle<()>, on: SpawnOn) {
    let owner = Arc::clone(shared);
    let runtime = shared.with(|world| world.node(NodeId(0)).runtime);
    let watch = async move {
        if let Err(error) = handle.await
            && error.is_panic()
        {
            fail(&owner, id, &format!("its main function {error}"));
        }
    };
    let on = SpawnOn { node: NodeId(0), runtime, what: "node watch", ..on };
    drop(task::spawn_on(shared, watch, on));
}

/// A node's main function returned: its process exits.
fn exited(shared: &Arc<Shared>, id: NodeId, result: MainResult) {
    if let Err(error) = result {
        fail(shared, id, &format!("its main function returned an error: {error}"));
    }
    down(shared, id, State::Stopped, NodeChange::ProcessDied);
}

pub(super) fn fail(shared: &Shared, id: NodeId, why: &str) {
    shared.with(|world| {
        let name = &world.nodes[id.0 as usize].name;
        let text = format!("node {name:?}: {why}");
        world.failures.push(text);
    });
}

fn tell_device(shared: &Shared, id: NodeId, change: NodeChange) {
    let name = shared.with(|world| {
        world.trace.record(shared.now.get(), Kind::Node, u64::from(id.0), change as u64);
        let node = world.node(id);
        (node.machine == id).then(|| node.name.clone())
    });
    if let Some(name) = name {
        context::tell_devices(shared, id, |device, cx| device.node_changed(id, &name, change, cx));
    }
}

pub(super) fn down(shared: &Arc<Shared>, id: NodeId, state: State, change: NodeChange) {
    let was_alive = shared.with(|world| {
        let node = world.node_mut(id);
        let was_alive = node.alive();
        node.state = state;
        node.frozen.clear();
        was_alive
    });
    if was_alive || change == NodeChange::PoweredOff {
        tell_device(shared, id, change);
    }
    if was_alive {
        for child in process::started_on(shared, id) {
            shared.with(|world| world.node_mut(child).exit = Some(libc::SIGKILL));
            down(shared, child, state, change);
        }
        let (waiting, parent) = shared.with(|world| (process::ended(world, id), world.node(id).parent));
        waiting.into_iter().for_each(Waker::wake);
        if let Some(parent) = parent {
            signal::send_in(shared, parent, libc::SIGCHLD);
        }
        let signals = shared.with(|world| signal::forget(&mut world.signals, id));
        drop(signals);
        end_tasks(shared, |task| task.node == id);
        threads::end_threads_of(shared, id);
    }
}

/// A signal ends `node`'s process.
pub(super) fn die_of(shared: &Arc<Shared>, node: NodeId, number: i32) {
    if node == NodeId(0) {
        fail(shared, node, &format!("died of signal {number} ({})", signal::name(number)));
        return;
    }
    shared.with(|world| world.node_mut(node).exit = Some(number));
    down(shared, node, State::Stopped, NodeChange::ProcessDied);
}

/// Spawns `future` on `node`, beside what it runs already.
#[track_caller]
pub fn spawn_on_node<F>(node: NodeId, future: F) -> task::JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let shared = context::with_shared(Arc::clone);
    let runtime = shared.with(|world| world.node(node).runtime);
    task::spawn_on(&shared, future, SpawnOn { node, runtime, location: Location::caller(), what: "client" })
}

/// Takes down `node`.
///
/// # Panics
/// Where it is the test's own node.
#[track_caller]
pub fn crash(node: NodeId, kind: Crash) {
    assert!(node != NodeId(0), "simulation: the test's own node cannot crash");
    let shared = context::with_shared(Arc::clone);
    match kind {
        Crash::Process => down(&shared, node, State::Stopped, NodeChange::ProcessDied),
        Crash::Machine => down(&shared, node, State::Off, NodeChange::PoweredOff),
    }
}

/// Starts `node` again after a crash; does nothing while it runs.
#[track_caller]
pub fn start(node: NodeId) {
    let shared = context::with_shared(Arc::clone);
    if !shared.with(|world| world.node(node).alive()) {
        boot(&shared, node, Location::caller());
    }
}

/// Freezes `node`'s tasks; the clock goes on.
pub fn pause(node: NodeId) {
    context::with_shared(|shared| {
        for child in process::started_on(shared, node) {
            pause_in(shared, child);
        }
        pause_in(shared, node);
    });
}

pub(super) fn pause_in(shared: &Arc<Shared>, node: NodeId) {
    let paused = shared.with(|world| {
        let node = world.node_mut(node);
        let running = node.state == State::Running;
        if running {
            node.state = State::Paused;
        }
        running
    });
    if paused {
        tell_device(shared, node, NodeChange::Paused);
    }
}

/// Lets a paused `node` go on.
pub fn resume(node: NodeId) {
    context::with_shared(|shared| {
        for child in process::started_on(shared, node) {
            resume_in(shared, child);
        }
        resume_in(shared, node);
    });
}

pub(super) fn resume_in(shared: &Arc<Shared>, node: NodeId) {
    let frozen = shared.with(|world| {
        let node = world.node_mut(node);
        if node.state == State::Paused {
            node.state = State::Running;
            Some(std::mem::take(&mut node.frozen))
        } else {
            None
        }
    });
    if let Some(frozen) = frozen {
        tell_device(shared, node, NodeChange::Resumed);
        for task in frozen {
            shared.inbox.push(task);
        }
    }
}

/// Ends every task for which `which` answers true: drops its future, kills its thread.
pub(crate) fn end_tasks(shared: &Arc<Shared>, which: impl Fn(&Task) -> bool) {
    let doomed: Vec<TaskRef> = shared
        .with(|world| world.tasks.iter().filter(|(_, task)| which(task)).map(|(task, _)| task).collect());
    let before = shared.current.get();
    for task in doomed {
        end_one(shared, task);
    }
    shared.current.set(before);
}

fn end_one(shared: &Arc<Shared>, task: TaskRef) {
    let found = shared.with(|world| {
        let entry = world.tasks.find(task)?;
        match &mut entry.body {
            Body::Root => None,
            Body::Thread(thread) => {
                threads::kill(thread);
                // It may have been woken already, and have stood among those that a pause kept.
                shared.inbox.push(task);
                None
            }
            Body::Job(_) => Some((entry.node, entry.runtime, None)),
            Body::Future(future) => Some((entry.node, entry.runtime, future.take())),
        }
    });
    let Some((node, runtime, future)) = found else { return };
    shared.current.set(Current {
        node,
        task: Some(task),
        task_id: Some(task.id),
        runtime: Some(runtime),
        entered: Entered::Yes { may_block_in_place: false },
        worker: None,
    });
    let error = future.and_then(|future| scheduler::drop_future(future, task));
    let error = error.unwrap_or_else(|| JoinError::cancelled(Id(task.id)));
    scheduler::end_task(shared, task, Some(error));
}
