//! What a session shares with others: the functions of its SQL, and those who want to stop it.
//!
//! Owns the session's clock readings, its cancellation, and the register of all sessions. Must not run statements.
//! Invariant: a cancellation reaches the statement that runs when it comes, or none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::catalog::Catalog;
use super::channels::Notification;
use super::database::Database;
use super::error::{Condition, Result, SqlError};
use super::transaction::Used;

/// Why a statement or a session was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Somebody asked for it.
    UserRequest,
    /// `statement_timeout` passed.
    StatementTimeout,
    /// `lock_timeout` passed.
    LockTimeout,
    /// The session was told to end.
    Terminate,
}

impl Reason {
    /// What the client is told.
    pub fn error(self) -> SqlError {
        let (condition, message) = match self {
            Self::UserRequest => (Condition::QueryCanceled, "canceling statement due to user request"),
            Self::StatementTimeout => {
                (Condition::QueryCanceled, "canceling statement due to statement timeout")
            }
            Self::LockTimeout => (Condition::LockNotAvailable, "canceling statement due to lock timeout"),
            Self::Terminate => {
                (Condition::AdminShutdown, "terminating connection due to administrator command")
            }
        };
        let error = SqlError::new(condition, message);
        if self == Self::Terminate { error.fatal() } else { error }
    }
}

/// Makes the rows of a system view: a JSON list of lists, each in the order of the view's columns.
pub type SystemView = fn(&Shared, &str) -> Result<serde_json::Value>;

/// One session, as others and its own functions see it.
pub struct Shared {
    /// Its number, which is its process number on the wire.
    pub id: i32,
    /// What a cancel request must know.
    pub secret: i32,
    /// The database that it is connected to.
    pub database: Arc<Database>,
    /// The user that it runs as.
    pub user: String,
    active: AtomicBool,
    protected: AtomicBool,
    stop: Mutex<Option<Reason>>,
    stopped: Notify,
    terminated: AtomicBool,
    interrupt: Mutex<Option<rusqlite::InterruptHandle>>,
    state: Mutex<State>,
    system: std::sync::OnceLock<SystemView>,
    waits: AtomicU32,
}

/// What the functions of a session read and write.
#[derive(Debug, Default)]
pub struct State {
    /// When the transaction began, in microseconds since 2000.
    pub transaction_us: i64,
    /// The number of the transaction, if it was asked for.
    pub transaction_number: Option<i64>,
    /// When the statement began, in microseconds since 2000.
    pub statement_us: i64,
    /// The catalog of the statement.
    pub catalog: Arc<Catalog>,
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// The last number of each sequence that this session was given.
    pub last_numbers: BTreeMap<u32, i64>,
    /// The sequence of the last number.
    pub last_sequence: Option<u32>,
    /// Notifications of the statement that runs.
    pub notifications: Vec<Notification>,
    /// Settings of the statement that runs: name, value, whether for the transaction only.
    pub new_settings: Vec<(String, String, bool)>,
    /// The text of the statement that runs, or the last one.
    pub query: String,
    /// How long it waits for locks, in milliseconds.
    pub lock_timeout_ms: Option<u64>,
    pub(crate) used: Used,
    /// A statement is run again to find out why it failed: numbers and messages of the first time stand.
    pub(crate) replaying: bool,
}

impl State {
    /// The number of a sequence was changed by the transaction, which writes it down.
    pub fn use_sequence(&mut self, oid: u32) {
        self.used.insert(oid);
    }
}

impl Shared {
    pub(crate) fn new(id: i32, secret: i32, database: Arc<Database>, user: &str) -> Self {
        Self {
            id,
            secret,
            database,
            user: user.to_owned(),
            active: AtomicBool::new(false),
            protected: AtomicBool::new(false),
            stop: Mutex::new(None),
            stopped: Notify::new(),
            terminated: AtomicBool::new(false),
            interrupt: Mutex::new(None),
            state: Mutex::default(),
            system: std::sync::OnceLock::new(),
            waits: AtomicU32::new(0),
        }
    }

    /// Reads or writes the session's state.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of the transaction, which no other of the database has since the server began.
    pub(crate) fn transaction_number(&self) -> i64 {
        self.with(|state| *state.transaction_number.get_or_insert_with(|| self.database.next_transaction()))
    }

    /// Sets where the rows of system views come from; the first one stays.
    pub fn set_system_view(&self, view: SystemView) {
        let _ = self.system.set(view);
    }

    pub(crate) fn system_view(&self, name: &str) -> Result<serde_json::Value> {
        let view = self.system.get().ok_or_else(|| SqlError::internal(format!("no system view {name}")))?;
        view(self, name)
    }

    pub(crate) fn set_interrupt(&self, handle: rusqlite::InterruptHandle) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
    }

    /// Stops the statement that runs, if one does; `Terminate` ends the session also when none does.
    pub fn cancel(&self, reason: Reason) {
        if reason == Reason::Terminate {
            self.terminated.store(true, Ordering::Relaxed);
        } else if !self.is_active() {
            return;
        }
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        if self.is_active()
            && (reason == Reason::Terminate || !self.protected.load(Ordering::Relaxed))
            && let Some(handle) = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            handle.interrupt();
        }
        self.stopped.notify_waiters();
        self.stopped.notify_one();
    }

    /// Whether a statement runs.
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Whether SQLite itself must not be interrupted: it would undo the whole transaction, and not what came after the newest savepoint.
    pub(crate) fn set_protected(&self, protected: bool) {
        self.protected.store(protected, Ordering::Relaxed);
    }

    /// Why a statement that could not be interrupted should have ended before its end.
    pub(crate) fn take_overdue(&self) -> Option<Reason> {
        let overdue = self.overdue();
        self.protected.store(false, Ordering::Relaxed);
        overdue
    }

    /// Why a statement that cannot be interrupted should end: its functions fail then.
    pub(crate) fn overdue(&self) -> Option<Reason> {
        let is_protected = self.protected.load(Ordering::Relaxed) && self.is_active();
        if is_protected { self.reason() } else { None }
    }

    /// Whether the session was told to end.
    pub fn is_terminated(&self) -> bool {
        self.terminated.load(Ordering::Relaxed)
    }

    /// Whether it waits for a lock.
    pub fn is_waiting(&self) -> bool {
        self.waits.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn wait_began(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn wait_ended(&self) {
        self.waits.fetch_sub(1, Ordering::Relaxed);
    }

    /// A statement begins: what was asked to stop before is no longer meant, but for the end of the session.
    pub fn begin_statement(&self) {
        if !self.is_terminated() {
            *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.active.store(true, Ordering::Relaxed);
    }

    /// No statement runs any more.
    pub fn end_statement(&self) {
        self.active.store(false, Ordering::Relaxed);
        if !self.is_terminated() {
            *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Why what runs was stopped.
    pub fn reason(&self) -> Option<Reason> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes back once the session was told to end.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn terminated(&self) {
        loop {
            let notified = self.stopped.notified();
            if self.is_terminated() {
                return;
            }
            notified.await;
        }
    }

    /// Comes back once somebody stops this session's statement.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn stopped(&self) -> Reason {
        loop {
            let notified = self.stopped.notified();
            if let Some(reason) = self.reason() {
                return reason;
            }
            notified.await;
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// All sessions of a server, by number.
#[derive(Debug, Default)]
pub struct Backends {
    sessions: Mutex<BTreeMap<i32, Arc<Shared>>>,
}

impl Backends {
    pub(crate) fn insert(&self, shared: &Arc<Shared>) {
        self.with(|sessions| sessions.insert(shared.id, Arc::clone(shared)));
    }

    pub(crate) fn remove(&self, id: i32) {
        self.with(|sessions| sessions.remove(&id));
    }

    /// The session of a number.
    pub fn find(&self, id: i32) -> Option<Arc<Shared>> {
        self.with(|sessions| sessions.get(&id).cloned())
    }

    /// All sessions in the order of their numbers.
    pub fn all(&self) -> Vec<Arc<Shared>> {
        self.with(|sessions| sessions.values().cloned().collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.with(|sessions| sessions.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<i32, Arc<Shared>>) -> R) -> R {
        f(&mut self.sessions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
