//! Savepoints, commit and rollback.
//!
//! Owns what becomes true for others at the end of a transaction, and in which order. Must not know statements. Invariant: SQLite has synced before anybody is
//! told, and the write lock is free before the session answers.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::super::channels::Notification;
use super::super::error::{Condition, Result, SqlError};
use super::super::transaction::{Savepoint, Stage, Status};
use super::jobs::commit_job;
use super::{Session, Work, lost};

impl Session {
    /// Makes a savepoint.
    ///
    /// # Errors
    /// `25P01` outside of a transaction.
    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        self.needs_transaction("SAVEPOINT")?;
        self.abandon().await;
        self.savepoints_made += 1;
        let number = self.savepoints_made;
        let transaction = self.transaction();
        let changes = transaction.changes.clone();
        transaction.savepoints.push(Savepoint { name: name.to_owned(), number, changes });
        self.tell_sqlite(format!("SAVEPOINT s{number}")).await
    }

    /// Undoes what came after a savepoint; it stays.
    ///
    /// # Errors
    /// `3B001` where there is none of the name.
    pub async fn rollback_to(&mut self, name: &str) -> Result<()> {
        self.needs_transaction("ROLLBACK TO SAVEPOINT")?;
        self.abandon().await;
        let at = self.find_savepoint(name).await?;
        let transaction = self.transaction();
        if transaction.lost {
            transaction.failed = true;
            let message = "the storage has rolled back the whole transaction";
            return Err(SqlError::new(Condition::IoError, message));
        }
        transaction.savepoints.truncate(at + 1);
        transaction.failed = false;
        let (number, changes) =
            (transaction.savepoints[at].number, transaction.savepoints[at].changes.clone());
        transaction.changes = changes;
        self.tell_sqlite(format!("ROLLBACK TO s{number}")).await
    }

    /// Forgets a savepoint and those after it; what was done stays.
    ///
    /// # Errors
    /// `3B001` where there is none of the name.
    pub async fn release(&mut self, name: &str) -> Result<()> {
        self.needs_transaction("RELEASE SAVEPOINT")?;
        self.check_not_failed()?;
        self.abandon().await;
        let at = self.find_savepoint(name).await?;
        let transaction = self.transaction();
        let number = transaction.savepoints[at].number;
        transaction.savepoints.truncate(at);
        self.tell_sqlite(format!("RELEASE s{number}")).await
    }

    fn needs_transaction(&self, command: &str) -> Result<()> {
        if self.status() == Status::Idle {
            let message = format!("{command} can only be used in transaction blocks");
            return Err(SqlError::new(Condition::NoActiveSqlTransaction, message));
        }
        Ok(())
    }

    async fn find_savepoint(&mut self, name: &str) -> Result<usize> {
        match self.transaction().find(name) {
            Some(at) => Ok(at),
            None => {
                self.fail_here().await;
                let message = format!("savepoint \"{name}\" does not exist");
                Err(SqlError::new(Condition::InvalidSavepointSpecification, message))
            }
        }
    }

    /// Tells SQLite, if it has a transaction.
    async fn tell_sqlite(&mut self, statement: String) -> Result<()> {
        if self.transaction().stage == Stage::Loose {
            return Ok(());
        }
        let backend = self.take_backend()?;
        let told = spawn_blocking(move || {
            let result = backend.connection.execute_batch(&statement);
            (backend, result)
        });
        let (backend, result) = told.await.map_err(|error| lost(&error))?;
        match result {
            Ok(()) => {
                self.backend = Some(backend);
                Ok(())
            }
            Err(error) => Err(self.explain(backend, error, Work::default()).await),
        }
    }

    /// Ends the transaction; `false` where it had failed, and was rolled back.
    ///
    /// # Errors
    /// `23503` for a deferred key, and failures of the disk; it is rolled back then.
    pub async fn commit(&mut self) -> Result<bool> {
        self.abandon().await;
        let Some(transaction) = &self.transaction else { return Ok(true) };
        if transaction.failed {
            self.roll_back_here().await;
            return Ok(false);
        }
        let stage = transaction.stage;
        if stage == Stage::Writing
            && let Err(error) = self.end_temporary().await
        {
            self.roll_back_here().await;
            return Err(error);
        }
        if stage != Stage::Loose {
            self.commit_sqlite(stage == Stage::Writing).await?;
        }
        let changes = self.transaction.take().map(|transaction| transaction.changes).unwrap_or_default();
        let database = Arc::clone(&self.shared.database);
        if let Some(catalog) = changes.catalog {
            database.publish_catalog(self.temporary.keep(catalog));
        }
        for (channel, on) in &changes.listening {
            match channel {
                Some(channel) if *on => database.channels.listen(self.shared.id, channel),
                channel => database.channels.unlisten(self.shared.id, channel.as_deref()),
            }
        }
        database.channels.publish(&changes.notifications);
        database.advisory.release(self.shared.id, true);
        if let Some(backend) = &mut self.backend {
            backend.guard = None;
        }
        if let Some(hook) = database.commit_hook.as_ref().filter(|_| stage == Stage::Writing) {
            hook(self.shared.id);
        }
        Ok(true)
    }

    async fn commit_sqlite(&mut self, writing: bool) -> Result<()> {
        let backend = self.take_backend()?;
        let used = self.shared.with(|state| std::mem::take(&mut state.used));
        let database = Arc::clone(&self.shared.database);
        let job = spawn_blocking(move || {
            let result = commit_job(&backend.connection, &database.sequences.states_of(used), writing);
            (backend, result)
        });
        let (backend, result) = job.await.map_err(|error| lost(&error))?;
        match result {
            Ok(()) => {
                self.backend = Some(backend);
                Ok(())
            }
            Err(error) => {
                let work = Work { sql: "COMMIT".to_owned(), ..Work::default() };
                let error = self.explain(backend, error, work).await;
                self.roll_back_here().await;
                Err(error)
            }
        }
    }

    /// Undoes the transaction.
    pub async fn rollback(&mut self) {
        self.abandon().await;
        self.roll_back_here().await;
    }

    pub(super) async fn roll_back_here(&mut self) {
        let Some(transaction) = self.transaction.take() else { return };
        if transaction.stage != Stage::Loose {
            if let Some(backend) = self.backend.take() {
                let undone = spawn_blocking(move || {
                    if !backend.connection.is_autocommit() {
                        backend.connection.execute_batch("ROLLBACK")?;
                    }
                    Ok::<_, rusqlite::Error>(backend)
                });
                // Where SQLite cannot roll back, the connection goes, and its file is recovered by the next.
                if let Ok(Ok(mut backend)) = undone.await {
                    backend.guard = None;
                    self.backend = Some(backend);
                }
            }
        } else if let Some(backend) = &mut self.backend {
            backend.guard = None;
        }
        self.shared.database.advisory.release(self.shared.id, true);
    }

    /// Sends a notification at the commit.
    pub fn notify(&mut self, channel: &str, payload: &str) {
        let sender = self.shared.id;
        let notification = Notification { sender, channel: channel.to_owned(), payload: payload.to_owned() };
        self.transaction().changes.notify(notification);
    }

    /// Listens from the commit on, or no longer; without a channel, to none.
    pub fn listen(&mut self, channel: Option<&str>, on: bool) {
        self.transaction().changes.listening.push((channel.map(str::to_owned), on));
    }
}
