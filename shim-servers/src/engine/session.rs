//! One client's session: its transaction, and the statements that it runs.
//!
//! Owns SQLite's connection between statements, and every step of a transaction. Must not know a dialect or a protocol.
//! Invariants: at most one statement runs; no step blocks the caller's thread; a session that is dropped has rolled back.

mod changing;
mod ending;
mod entering;
mod jobs;
mod reopening;

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::catalog::{Catalog, Key};
use super::channels::Notification;
use super::database::Cluster;
use super::error::{Condition, Result, SqlError};
use super::rows::{Backend, Batch, Rows};
use super::shared::{Reason, Shared};
use super::temporary::{TEMPORARY, Temporary};
use super::times::EPOCH_US;
use super::transaction::{Isolation, Stage, Status, Transaction};
use super::types::Value;
use super::violation::{self, Context};
use jobs::{at, with_deadline};

/// What a statement needs of its transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// A snapshot.
    #[default]
    Read,
    /// The write lock; it waits.
    Write,
    /// The write lock at once, or `55P03`.
    WriteNowait,
    /// The write lock at once, or no rows.
    WriteSkipLocked,
}

/// One statement for SQLite.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// SQLite's text.
    pub sql: String,
    /// Values of its parameters, `?1` first.
    pub params: Vec<Value>,
    /// What it needs.
    pub access: Access,
    /// The table that it writes to.
    pub target: Option<Key>,
    /// How messages name it, as `INSERT`.
    pub command: &'static str,
}

/// A client's session of a database.
#[derive(Debug)]
pub struct Session {
    cluster: Arc<Cluster>,
    /// What others see of it.
    pub shared: Arc<Shared>,
    backend: Option<Backend>,
    running: Option<Running>,
    transaction: Option<Transaction>,
    temporary: Temporary,
    notifications: mpsc::UnboundedReceiver<Notification>,
    deadline: Option<Instant>,
    savepoints_made: usize,
    /// The isolation of transactions that do not say.
    pub default_isolation: Isolation,
    /// Whether transactions that do not say are read-only.
    pub default_read_only: bool,
    /// How long a statement waits for the write lock.
    pub lock_timeout: Option<Duration>,
    /// How long a statement runs.
    pub statement_timeout: Option<Duration>,
    /// How long a transaction may wait for its client.
    pub idle_in_transaction_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Running {
    rows: Rows,
    work: Work,
}

impl Session {
    pub(crate) fn new(cluster: Arc<Cluster>, shared: Arc<Shared>, connection: Connection) -> Self {
        Self {
            notifications: shared.database.channels.register(shared.id),
            cluster,
            shared,
            backend: Some(Backend { connection, guard: None }),
            running: None,
            transaction: None,
            temporary: Temporary::default(),
            deadline: None,
            savepoints_made: 0,
            default_isolation: Isolation::ReadCommitted,
            default_read_only: false,
            lock_timeout: None,
            statement_timeout: None,
            idle_in_transaction_timeout: None,
        }
    }

    /// The server that it belongs to.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// What it sees: its own changes, or what is committed.
    pub fn catalog(&self) -> Arc<Catalog> {
        let own = self.transaction.as_ref().and_then(|transaction| transaction.changes.catalog.clone());
        own.unwrap_or_else(|| self.temporary.over(self.shared.database.catalog()))
    }

    /// What the client is told after a command.
    pub fn status(&self) -> Status {
        self.transaction.as_ref().map_or(Status::Idle, Transaction::status)
    }

    /// Waits as part of the statement: its time runs, and it can be stopped.
    ///
    /// # Errors
    /// `57014` where it was stopped.
    pub async fn pause(&mut self, duration: Duration) -> Result<()> {
        tokio::select! {
            biased;
            reason = self.shared.stopped() => Err(reason.error()),
            () = at(self.deadline) => Err(Reason::StatementTimeout.error()),
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }

    /// Whether the transaction holds the write lock.
    pub fn has_written(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.stage == Stage::Writing)
    }

    /// The isolation of the transaction, or of the next one.
    pub fn isolation(&self) -> Isolation {
        self.transaction.as_ref().map_or(self.default_isolation, |transaction| transaction.isolation)
    }

    /// Whether the transaction, or the next one, is read-only.
    pub fn is_read_only(&self) -> bool {
        self.transaction.as_ref().map_or(self.default_read_only, |transaction| transaction.read_only)
    }

    /// The next notification for this session.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub async fn notification(&mut self) -> Option<Notification> {
        self.notifications.recv().await
    }

    /// A notification that is here already.
    pub fn pending_notification(&mut self) -> Option<Notification> {
        self.notifications.try_recv().ok()
    }

    /// A statement of the user begins: clocks are read, and its time runs.
    pub fn begin_statement(&mut self, text: &str) {
        let now_us = now_us();
        let fresh = self.transaction.is_none();
        self.shared.begin_statement();
        self.deadline = self.statement_timeout.map(|limit| Instant::now() + limit);
        self.shared.with(|state| {
            state.statement_us = now_us;
            if fresh {
                state.transaction_us = now_us;
                state.transaction_number = None;
            }
            text.clone_into(&mut state.query);
        });
    }

    /// The statement of the user is over.
    pub fn end_statement(&mut self) {
        self.deadline = None;
        self.shared.end_statement();
    }

    /// Begins a transaction that the user must end; a second one is left as it is, and `false`.
    ///
    /// # Errors
    /// `25001` for an isolation that comes too late.
    pub fn begin(&mut self, isolation: Option<Isolation>, read_only: Option<bool>) -> Result<bool> {
        let was_explicit = self.transaction.as_ref().is_some_and(|transaction| transaction.explicit);
        let transaction = self.transaction();
        transaction.explicit = true;
        self.characteristics(isolation, read_only)?;
        Ok(!was_explicit)
    }

    /// Changes the transaction's isolation and whether it may write.
    ///
    /// # Errors
    /// `25001` once a statement ran.
    pub fn characteristics(&mut self, isolation: Option<Isolation>, read_only: Option<bool>) -> Result<()> {
        let transaction = self.transaction();
        if let Some(isolation) = isolation {
            if transaction.started && isolation != transaction.isolation {
                let message = "SET TRANSACTION ISOLATION LEVEL must be called before any query";
                return Err(SqlError::new(Condition::ActiveSqlTransaction, message));
            }
            transaction.isolation = isolation;
        }
        if let Some(read_only) = read_only {
            transaction.read_only = read_only;
        }
        Ok(())
    }

    /// The transaction, begun here if there is none.
    fn transaction(&mut self) -> &mut Transaction {
        let (isolation, read_only) = (self.default_isolation, self.default_read_only);
        self.transaction.get_or_insert_with(|| Transaction { isolation, read_only, ..Transaction::default() })
    }

    /// Fails the statement where the transaction has failed before.
    ///
    /// # Errors
    /// `25P02`.
    pub fn check_not_failed(&self) -> Result<()> {
        if self.transaction.as_ref().is_some_and(|transaction| transaction.failed) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new(Condition::InFailedSqlTransaction, message));
        }
        Ok(())
    }

    /// A statement failed outside of SQLite: the transaction can only be rolled back.
    pub async fn fail(&mut self) {
        self.abandon().await;
        match &mut self.transaction {
            Some(transaction) if transaction.explicit => transaction.failed = true,
            Some(_) => self.rollback().await,
            None => {}
        }
    }

    /// Starts a statement; its rows come by [`next_batch`](Self::next_batch). One that runs is given up.
    ///
    /// # Errors
    /// `25006`, `55P03`, `57014` and others, before it has begun.
    pub async fn start(&mut self, work: Work) -> Result<()> {
        self.abandon().await;
        let is_temporary = work.target.as_ref().is_some_and(|table| table.0 == TEMPORARY);
        let prologue = self.enter(work.access, work.command, is_temporary).await?;
        let catalog = self.catalog();
        self.shared.with(|state| {
            state.catalog = catalog;
            state.notifications.clear();
        });
        let Some(prologue) = prologue else { return Ok(()) };
        let backend = self.take_backend()?;
        let rows = Rows::start(backend, prologue, work.sql.clone(), work.params.clone());
        self.running = Some(Running { rows, work });
        Ok(())
    }

    /// The next rows, or at the end how many were changed.
    ///
    /// # Errors
    /// What the statement failed with; the transaction has failed too.
    pub async fn next_batch(&mut self) -> Result<std::result::Result<Batch, u64>> {
        let Some(running) = &mut self.running else { return Ok(Err(0)) };
        let shared = Arc::clone(&self.shared);
        if let Some(batch) = with_deadline(self.deadline, &shared, running.rows.receiver.recv()).await {
            return Ok(Ok(batch));
        }
        self.finish().await.map(Err)
    }

    /// Waits for the end of the job and takes its result.
    async fn finish(&mut self) -> Result<u64> {
        let Some(Running { rows, work }) = self.running.take() else { return Ok(0) };
        drop(rows.receiver);
        let outcome = with_deadline(self.deadline, &self.shared, rows.job).await;
        let (backend, result) = outcome.map_err(|error| lost(&error))?;
        let overdue = self.shared.take_overdue();
        match result {
            Ok(changed) => {
                self.backend = Some(backend);
                self.transaction().changed |= work.access != Access::Read;
                if let Some(reason) = overdue {
                    self.fail_here().await;
                    return Err(reason.error());
                }
                let notifications = self.shared.with(|state| std::mem::take(&mut state.notifications));
                for notification in notifications {
                    self.transaction().changes.notify(notification);
                }
                Ok(changed)
            }
            Err(error) => Err(self.explain(backend, error, work).await),
        }
    }

    /// Gives up the statement that runs, if one does.
    pub async fn abandon(&mut self) {
        if self.running.is_some() {
            // Its failure concerns nobody any more.
            let _ = self.finish().await;
        }
    }

    /// Turns SQLite's failure into the client's, and fails the transaction.
    async fn explain(&mut self, backend: Backend, error: rusqlite::Error, work: Work) -> SqlError {
        let (shared, catalog) = (Arc::clone(&self.shared), self.catalog());
        let explained = spawn_blocking(move || {
            let context = Context {
                connection: &backend.connection,
                shared: &shared,
                catalog: &catalog,
                target: work.target.as_ref(),
                sql: &work.sql,
                params: &work.params,
            };
            let error = violation::explain(&error, &context);
            (backend, error)
        });
        let error = match explained.await {
            Ok((mut backend, error)) => {
                if backend.connection.is_autocommit() {
                    // SQLite has rolled back itself, or the transaction never began.
                    backend.guard = None;
                    let transaction = self.transaction();
                    transaction.stage = Stage::Loose;
                    transaction.lost = transaction.changed;
                }
                self.backend = Some(backend);
                error
            }
            Err(error) => lost(&error),
        };
        self.fail_here().await;
        error
    }

    async fn fail_here(&mut self) {
        match &mut self.transaction {
            Some(transaction) if transaction.explicit => transaction.failed = true,
            Some(_) => self.roll_back_here().await,
            None => {}
        }
    }

    /// Runs a statement whose rows are not wanted; how many were changed.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub async fn execute(&mut self, work: Work) -> Result<u64> {
        self.start(work).await?;
        loop {
            if let Err(changed) = self.next_batch().await? {
                return Ok(changed);
            }
        }
    }

    fn take_backend(&mut self) -> Result<Backend> {
        self.backend
            .take()
            .ok_or_else(|| SqlError::internal("the session has lost its connection to the storage"))
    }

    /// Ends the session: what is not committed is undone before this returns.
    pub async fn close(mut self) {
        self.rollback().await;
        if let Some(backend) = self.backend.take() {
            // A thread of the pool may wait for the disk; this one may not.
            let _ = spawn_blocking(move || drop(backend)).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.database.channels.unregister(self.shared.id);
        self.shared.database.advisory.release(self.shared.id, false);
        self.cluster.backends.remove(self.shared.id);
    }
}

fn lost(error: &tokio::task::JoinError) -> SqlError {
    SqlError::internal(format!("a statement's thread is gone: {error}")).fatal()
}

/// The wall clock in microseconds since 2000.
fn now_us() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a server reads its machine's clock, which the world has made"
    )]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)) - EPOCH_US
}

/// The same as functions of SQL see it.
pub(crate) fn clock_us() -> i64 {
    now_us()
}
