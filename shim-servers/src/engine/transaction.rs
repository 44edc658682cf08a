//! The state of a session's transaction.
//!
//! Owns what a transaction remembers: its isolation, savepoints, notifications and its own catalog. Must not call SQLite.
//! Invariant: savepoints are in the order of their making, and each remembers all that a rollback to it restores.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::catalog::Catalog;
use super::channels::Notification;

/// How a transaction sees others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// All statements see one state until the first write, which is never refused: from there on they see the newest.
    ConsistentRead,
    /// All statements see one state; a write on a stale one is `40001`.
    RepeatableRead,
    /// As repeatable read: with one writer, a snapshot that writes is serial.
    Serializable,
}

/// What a client is told at the end of each command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No transaction.
    Idle,
    /// Within one.
    Open,
    /// Within one that failed, and can only end.
    Failed,
}

/// What SQLite does for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing: each statement runs on its own.
    #[default]
    Loose,
    /// It holds a snapshot.
    Snapshot,
    /// It holds the write lock.
    Writing,
}

/// A transaction between its beginning and its end.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Whether the user began it, and must end it.
    pub(crate) explicit: bool,
    pub(crate) isolation: Isolation,
    pub(crate) read_only: bool,
    pub(crate) stage: Stage,
    pub(crate) failed: bool,
    /// Whether a statement has changed something by now.
    pub(crate) changed: bool,
    /// Whether SQLite has undone all of it by itself, so that no savepoint leads back.
    pub(crate) lost: bool,
    /// Whether any statement ran, so that the isolation is fixed.
    pub(crate) started: bool,
    pub(crate) savepoints: Vec<Savepoint>,
    pub(crate) changes: Changes,
}

/// What becomes true for others only at a commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// The catalog with its own changes, if it made any.
    pub(crate) catalog: Option<Arc<Catalog>>,
    pub(crate) notifications: Vec<Notification>,
    /// Channels to listen to, or with `false` no longer; `None` is all.
    pub(crate) listening: Vec<(Option<String>, bool)>,
}

/// A place to come back to.
#[derive(Debug)]
pub(crate) struct Savepoint {
    pub(crate) name: String,
    /// SQLite's name, where SQLite knows it.
    pub(crate) number: usize,
    pub(crate) changes: Changes,
}

impl Transaction {
    /// The name of the newest savepoint called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name)
    }

    pub(crate) fn status(&self) -> Status {
        match (self.explicit, self.failed) {
            (false, _) => Status::Idle,
            (true, true) => Status::Failed,
            (true, false) => Status::Open,
        }
    }
}

impl Changes {
    /// Remembers a notification, unless the same was sent before in this transaction.
    pub(crate) fn notify(&mut self, notification: Notification) {
        if !self.notifications.contains(&notification) {
            self.notifications.push(notification);
        }
    }
}

/// Numbers of sequences that a transaction used.
pub(crate) type Used = BTreeSet<u32>;
