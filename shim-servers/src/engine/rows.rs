//! Running one statement on a thread of the blocking pool, and its rows on their way.
//!
//! Owns SQLite's connection while a statement runs. Must not wait for locks. Invariant: the guard of the write lock is
//! beside the connection and is dropped after it.

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::types::Value;

/// Rows that travel together.
pub type Batch = Vec<Vec<Value>>;

/// How many rows are sent at once, and how many such batches wait for a slow reader.
const BATCH_ROWS: usize = 64;
const BATCHES: usize = 4;

/// SQLite's connection, and the write lock while it is held. The order of the fields is that of dropping.
pub(crate) struct Backend {
    pub(crate) connection: Connection,
    pub(crate) guard: Option<OwnedMutexGuard<()>>,
}

/// What a job gives back.
pub(crate) type Outcome<T> = (Backend, T);

/// A statement that runs, or waits for its reader.
#[derive(Debug)]
pub struct Rows {
    pub(crate) receiver: mpsc::Receiver<Batch>,
    pub(crate) job: JoinHandle<Outcome<rusqlite::Result<u64>>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("writing", &self.guard.is_some()).finish_non_exhaustive()
    }
}

impl Rows {
    /// Starts `prologue` and then the statement; its rows come through the receiver.
    pub(crate) fn start(backend: Backend, prologue: Vec<String>, sql: String, params: Vec<Value>) -> Self {
        let (sender, receiver) = mpsc::channel(BATCHES);
        let job = spawn_blocking(move || {
            let result = run(&backend.connection, &prologue, &sql, &params, Some(&sender));
            (backend, result)
        });
        Self { receiver, job }
    }
}

/// Runs a statement to its end, or until nobody wants its rows; the number of changed rows.
pub(crate) fn run(
    connection: &Connection,
    prologue: &[String],
    sql: &str,
    params: &[Value],
    sender: Option<&mpsc::Sender<Batch>>,
) -> rusqlite::Result<u64> {
    for statement in prologue {
        connection.execute_batch(statement)?;
    }
    let before = connection.total_changes();
    let mut statement = connection.prepare_cached(sql)?;
    let columns = statement.column_count();
    let read_only = statement.readonly();
    for (at, value) in params.iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(at + 1, value)?;
    }
    let mut rows = statement.raw_query();
    let mut batch = Batch::new();
    while let Some(row) = rows.next()? {
        let Some(sender) = sender else { continue };
        let mut values = Vec::with_capacity(columns);
        for column in 0..columns {
            values.push(owned(row.get_ref(column)?));
        }
        batch.push(values);
        if batch.len() == BATCH_ROWS && sender.blocking_send(std::mem::take(&mut batch)).is_err() && read_only
        {
            return Ok(0);
        }
    }
    drop(rows);
    drop(statement);
    if let Some(sender) = sender.filter(|_| !batch.is_empty()) {
        // Without a reader the rows are not wanted, and the statement is done all the same.
        let _ = sender.blocking_send(batch);
    }
    Ok(if read_only { 0 } else { connection.total_changes() - before })
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}
