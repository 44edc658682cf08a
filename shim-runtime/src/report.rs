//! The report of a run that cannot go on: what each node and each task was doing.
//!
//! Owns the text. Must not change the world. Invariant: it holds everything that is needed to understand a
//! stall without running again: seed, step, virtual time, nodes, tasks, what they wait for, next events.

use std::fmt::Write as _;

use crate::context::{Shared, Wait};
use crate::node::NodeId;
use crate::scheduler::Event;
use crate::task::Task;
use crate::world::World;

/// Why a run cannot go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stall {
    /// Nothing is ready and nothing will happen, but the main task is not done.
    Deadlock,
    /// Tasks wake each other and nothing else happens.
    Livelock,
    /// The bound on polls was reached.
    StepLimit,
    /// The bound on virtual time was reached.
    TimeLimit,
    /// A node's main function failed, with the words for it.
    NodeFailed(String),
}

impl Stall {
    /// One line that names the stall.
    pub fn headline(&self) -> String {
        match self {
            Stall::Deadlock => {
                "deadlock: nothing is ready, nothing will happen, and the test is not done".into()
            }
            Stall::Livelock => {
                "livelock: tasks wake each other, and no event has fired for too many polls".into()
            }
            Stall::StepLimit => "the limit on polls was reached".into(),
            Stall::TimeLimit => "the limit on virtual time was reached".into(),
            Stall::NodeFailed(text) => text.clone(),
        }
    }
}

const MAX_TASKS: usize = 200;
const MAX_EVENTS: usize = 10;
const MAX_RECORDS: usize = 12;

/// A run that cannot go on, and the report of it, made while everything still stood as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stalled {
    /// Why.
    pub stall: Stall,
    /// The report.
    pub report: String,
}

impl Stalled {
    pub(crate) fn new(shared: &Shared, stall: Stall) -> Stalled {
        let report = text(shared, &stall);
        Stalled { stall, report }
    }
}

/// The report, as text of several lines.
fn text(shared: &Shared, stall: &Stall) -> String {
    shared.with(|world| {
        let mut out = String::new();
        let _ = writeln!(out, "simulation: {}", stall.headline());
        let _ = writeln!(
            out,
            "  seed {} · step {} · virtual time {} · trace {:016x}",
            world.config.seed,
            world.trace.step,
            shared.now.get(),
            world.trace.hash(),
        );
        for index in 0..world.nodes.len() {
            describe_node(world, NodeId(index as u32), &mut out);
        }
        describe_events(world, &mut out);
        describe_records(world, &mut out);
        for reason in &world.not_deterministic {
            let _ = writeln!(out, "  not deterministic: {reason}");
        }
        out
    })
}

fn describe_node(world: &World, id: NodeId, out: &mut String) {
    let node = world.node(id);
    let _ = writeln!(out, "  node {} {:?} ({:?})", id.0, node.name, node.state);
    let tasks = world.tasks.iter().filter(|(_, task)| task.node == id && task.what != "node watch");
    let mut count = 0;
    for (_, task) in tasks {
        count += 1;
        if count <= MAX_TASKS {
            let _ = writeln!(out, "    {}", describe_task(task, world));
        }
    }
    if count > MAX_TASKS {
        let _ = writeln!(out, "    … and {} more tasks", count - MAX_TASKS);
    }
    for device in world.devices.iter() {
        let mut lines = Vec::new();
        device.describe(id, &mut lines);
        for line in lines {
            let _ = writeln!(out, "    {line}");
        }
    }
}

fn describe_task(task: &Task, world: &World) -> String {
    let unserved = || world.runtimes.get(&task.runtime).is_some_and(|runtime| runtime.keeps(task.id));
    let wait = match task.wait {
        _ if unserved() => "is ready, but no worker of its runtime is free (each waits in a poll)".to_owned(),
        _ if task.header.is_notified() => "is ready".to_owned(),
        Wait::Waker => "waits for a waker (a channel, a lock, a notification)".to_owned(),
        Wait::Timer(at) => format!("waits for a timer at {at}"),
        Wait::Socket(socket, what) => format!("waits for socket #{socket} to {what}"),
        Wait::Join(id) => format!("waits for task {id} to end"),
        Wait::Blocked(what) => format!("its thread is blocked in {what}"),
    };
    format!("{} {} spawned at {}: {wait}", task.what, task.id, task.location)
}

fn describe_events(world: &World, out: &mut String) {
    let mut events: Vec<_> = world.queue.iter().collect();
    events.sort_by_key(|(at, _)| *at);
    for (at, event) in events.iter().take(MAX_EVENTS) {
        let what = match event {
            Event::Timer(_) => "a timer".to_owned(),
            Event::Device(device, token) => {
                world.devices.get(*device).map_or_else(String::new, |device| device.describe_event(*token))
            }
        };
        let _ = writeln!(out, "  next event at {at}: {what}");
    }
    if events.len() > MAX_EVENTS {
        let _ = writeln!(out, "  … and {} more events", events.len() - MAX_EVENTS);
    }
}

fn describe_records(world: &World, out: &mut String) {
    let records: Vec<_> = world.trace.recent().collect();
    for record in &records[records.len().saturating_sub(MAX_RECORDS)..] {
        let _ = writeln!(
            out,
            "  last: {} step {} {:?} {:#x} {:#x}",
            record.at, record.step, record.kind, record.a, record.b
        );
    }
}
