//! What a statement needs before it runs.
//!
//! Owns when a transaction takes a snapshot and when the write lock. Must not know statements. Invariant: whoever writes holds the lock, and sees all
//! that was committed before it had it.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::super::error::{Condition, Result, SqlError};
use super::super::shared::Reason;
use super::super::transaction::{Isolation, Stage};
use super::jobs::at;
use super::{Access, Session, Work};

impl Session {
    /// Reads from here on what is committed now, where the transaction reads one state.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn take_snapshot(&mut self) -> Result<()> {
        let sql = "SELECT count(*) FROM sqlite_schema".to_owned();
        self.execute(Work { sql, command: "SELECT", ..Work::default() }).await.map(drop)
    }

    /// Takes what the access needs; what SQLite is to be told first, or nothing where the statement is not to run.
    /// Temporary tables are written to in a read-only transaction as well.
    pub(super) async fn enter(
        &mut self,
        access: Access,
        command: &'static str,
        is_temporary: bool,
    ) -> Result<Option<Vec<String>>> {
        let writes = access != Access::Read;
        let transaction = self.transaction();
        transaction.started = true;
        if writes && transaction.read_only && !is_temporary {
            let message = format!("cannot execute {command} in a read-only transaction");
            return Err(SqlError::new(Condition::ReadOnlySqlTransaction, message));
        }
        let (mut stage, isolation) = (transaction.stage, transaction.isolation);
        // One statement needs no snapshot but its own.
        let is_loose = match isolation {
            Isolation::ReadCommitted => true,
            Isolation::ConsistentRead => !transaction.explicit,
            Isolation::RepeatableRead | Isolation::Serializable => false,
        };
        let has_savepoints = !transaction.savepoints.is_empty();
        self.shared.set_protected(writes && has_savepoints);
        let mut prologue = Vec::new();
        match (stage, writes) {
            (Stage::Writing, _) | (Stage::Snapshot, false) => return Ok(Some(prologue)),
            (Stage::Loose, false) if is_loose => return Ok(Some(prologue)),
            (Stage::Loose, false) => prologue.push("BEGIN".to_owned()),
            (Stage::Loose | Stage::Snapshot, true) => {
                let Some(guard) = self.lock_writer(access).await? else { return Ok(None) };
                if let Some(backend) = &mut self.backend {
                    backend.guard = Some(guard);
                }
                if stage == Stage::Snapshot && isolation == Isolation::ConsistentRead {
                    // Nothing was written: the old state is given up for the newest.
                    prologue.push("COMMIT".to_owned());
                    stage = Stage::Loose;
                }
                let take = if stage == Stage::Loose {
                    "BEGIN IMMEDIATE"
                } else {
                    // Changes nothing, but SQLite takes its lock for it, and refuses if the snapshot is stale.
                    "UPDATE __catalog SET id = id WHERE false"
                };
                prologue.push(take.to_owned());
            }
        }
        let transaction = self.transaction();
        if stage == Stage::Loose {
            prologue.extend(
                transaction.savepoints.iter().map(|savepoint| format!("SAVEPOINT s{}", savepoint.number)),
            );
        }
        transaction.stage = if writes { Stage::Writing } else { Stage::Snapshot };
        Ok(Some(prologue))
    }

    async fn lock_writer(&mut self, access: Access) -> Result<Option<OwnedMutexGuard<()>>> {
        let writer = Arc::clone(&self.shared.database.writer);
        if let Ok(guard) = Arc::clone(&writer).try_lock_owned() {
            return Ok(Some(guard));
        }
        match access {
            Access::WriteSkipLocked => return Ok(None),
            Access::WriteNowait => {
                return Err(SqlError::new(Condition::LockNotAvailable, "could not obtain lock on row"));
            }
            Access::Read | Access::Write => {}
        }
        let lock_deadline = self.lock_timeout.map(|limit| Instant::now() + limit);
        self.shared.wait_began();
        let result = tokio::select! {
            guard = writer.lock_owned() => Ok(Some(guard)),
            reason = self.shared.stopped() => Err(reason.error()),
            () = at(lock_deadline) => Err(Reason::LockTimeout.error()),
            () = at(self.deadline) => Err(Reason::StatementTimeout.error()),
        };
        self.shared.wait_ended();
        result
    }
}
