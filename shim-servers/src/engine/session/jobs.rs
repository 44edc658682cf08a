//! What a session does on a thread of the blocking pool, and how it waits for it.
//!
//! Owns no state. Must not know sessions. Invariant: a job that fails leaves SQLite's transaction as it was before, or SQLite says that it rolled back.

use rusqlite::Connection;
use tokio::time::{Instant, sleep_until};

use super::super::catalog::Catalog;
use super::super::sequences::State;
use super::super::shared::{Reason, Shared};

/// Comes back at a point in time, or never.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for `future`, and interrupts the statement when its time is over; the future then ends by itself.
pub(super) async fn with_deadline<T>(
    deadline: Option<Instant>,
    shared: &Shared,
    future: impl Future<Output = T>,
) -> T {
    tokio::pin!(future);
    if deadline.is_some() {
        tokio::select! {
            biased;
            value = &mut future => return value,
            () = at(deadline) => shared.cancel(Reason::StatementTimeout),
        }
    }
    future.await
}

/// Writes down the numbers of sequences, and commits.
pub(super) fn commit_job(
    connection: &Connection,
    sequences: &[(u32, State)],
    writing: bool,
) -> rusqlite::Result<()> {
    if writing && !sequences.is_empty() {
        let mut statement =
            connection.prepare_cached("INSERT OR REPLACE INTO __sequence VALUES (?1, ?2, ?3)")?;
        for (oid, state) in sequences {
            statement.execute((oid, state.last, state.called))?;
        }
    }
    connection.execute_batch("COMMIT")
}

/// Runs a change of the schema, all or nothing.
pub(super) fn run_change(
    connection: &mut Connection,
    prologue: &[String],
    job: impl FnOnce(&Connection) -> rusqlite::Result<Option<Catalog>>,
) -> rusqlite::Result<Option<Catalog>> {
    for statement in prologue {
        connection.execute_batch(statement)?;
    }
    connection.execute_batch("SAVEPOINT __change")?;
    let result = job(connection).and_then(|catalog| {
        if let Some(catalog) = &catalog {
            let body = serde_json::to_string(&catalog.permanent())
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            connection.execute("INSERT OR REPLACE INTO __catalog VALUES (0, ?1)", [body])?;
        }
        Ok(catalog)
    });
    if result.is_err() && connection.is_autocommit() {
        // SQLite has undone everything by itself: there is no savepoint any more.
        return result;
    }
    if result.is_err() {
        connection.execute_batch("ROLLBACK TO __change")?;
    }
    connection.execute_batch("RELEASE __change")?;
    result
}
