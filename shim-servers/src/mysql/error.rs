//! What goes wrong, as MySQL says it.
//!
//! Owns [`MyError`] and the way from the engine's conditions and SQLite's words to MySQL's numbers and texts. Must not
//! run SQL. Invariant: every failure has a number of MySQL's.

use super::numbers::ErrorKind;

use super::schema::Tables;
use super::types::Refusal;
use crate::engine::{Condition, SqlError};

/// A failure with MySQL's number and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MyError {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    /// Whether the connection ends with it.
    pub(super) is_fatal: bool,
}

/// What every step of a statement returns.
pub(super) type Result<T> = std::result::Result<T, MyError>;

impl MyError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> MyError {
        MyError { kind, message: message.into(), is_fatal: false }
    }

    /// What this server does not do, by name.
    pub(super) fn unsupported(what: impl std::fmt::Display) -> MyError {
        let message = format!("This version of MySQL doesn't yet support '{what}'");
        MyError::new(ErrorKind::ER_NOT_SUPPORTED_YET, message)
    }

    pub(super) fn no_table(database: &str, table: &str) -> MyError {
        MyError::new(ErrorKind::ER_NO_SUCH_TABLE, format!("Table '{database}.{table}' doesn't exist"))
    }

    pub(super) fn no_column(column: &str, place: &str) -> MyError {
        MyError::new(ErrorKind::ER_BAD_FIELD_ERROR, format!("Unknown column '{column}' in '{place}'"))
    }

    pub(super) fn syntax(near: &str) -> MyError {
        let message = format!(
            "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for \
             the right syntax to use near '{near}' at line 1"
        );
        MyError::new(ErrorKind::ER_PARSE_ERROR, message)
    }

    pub(super) fn of_refusal((number, message): Refusal) -> MyError {
        MyError::new(ErrorKind(number), message)
    }

    /// What the engine says, about a statement in `database`.
    pub(super) fn of(error: &SqlError, database: &str, tables: &Tables, is_delete: bool) -> MyError {
        if let Some(refusal) = from_function(&error.message) {
            return MyError::of_refusal(refusal);
        }
        let message = error.message.as_str();
        let (kind, text) = match error.condition {
            Condition::UniqueViolation => duplicate(message, tables),
            Condition::NotNullViolation => {
                let column = error.fields.column.as_deref().unwrap_or("?");
                (ErrorKind::ER_BAD_NULL_ERROR, format!("Column '{column}' cannot be null"))
            }
            Condition::ForeignKeyViolation if is_delete => (
                ErrorKind::ER_ROW_IS_REFERENCED_2,
                "Cannot delete or update a parent row: a foreign key constraint fails".to_owned(),
            ),
            Condition::ForeignKeyViolation => (
                ErrorKind::ER_NO_REFERENCED_ROW_2,
                "Cannot add or update a child row: a foreign key constraint fails".to_owned(),
            ),
            Condition::CheckViolation => {
                let name = message.rsplit('"').nth(1).unwrap_or("?");
                (ErrorKind::ER_CHECK_CONSTRAINT_VIOLATED, format!("Check constraint '{name}' is violated."))
            }
            Condition::SerializationFailure | Condition::DeadlockDetected => (
                ErrorKind::ER_LOCK_DEADLOCK,
                "Deadlock found when trying to get lock; try restarting transaction".to_owned(),
            ),
            Condition::LockNotAvailable if message.contains("timeout") => (
                ErrorKind::ER_LOCK_WAIT_TIMEOUT,
                "Lock wait timeout exceeded; try restarting transaction".to_owned(),
            ),
            Condition::LockNotAvailable => (
                ErrorKind::ER_LOCK_NOWAIT,
                "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set."
                    .to_owned(),
            ),
            Condition::ReadOnlySqlTransaction => (
                ErrorKind::ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION,
                "Cannot execute statement in a READ ONLY transaction.".to_owned(),
            ),
            Condition::QueryCanceled if message.contains("timeout") => (
                ErrorKind::ER_QUERY_TIMEOUT,
                "Query execution was interrupted, maximum statement execution time exceeded".to_owned(),
            ),
            Condition::QueryCanceled => {
                (ErrorKind::ER_QUERY_INTERRUPTED, "Query execution was interrupted".to_owned())
            }
            Condition::AdminShutdown => {
                (ErrorKind::ER_SERVER_SHUTDOWN, "Server shutdown in progress".to_owned())
            }
            Condition::InvalidSavepointSpecification => {
                let name = message.split('"').nth(1).unwrap_or("?");
                (ErrorKind::ER_SP_DOES_NOT_EXIST, format!("SAVEPOINT {name} does not exist"))
            }
            Condition::DiskFull => {
                (ErrorKind::ER_DISK_FULL, "Disk full; waiting for someone to free some space...".to_owned())
            }
            _ => of_sqlite(message, database),
        };
        MyError { kind, message: text, is_fatal: error.fields.fatal }
    }
}

/// What SQLite found when it compiled the statement.
fn of_sqlite(message: &str, database: &str) -> (ErrorKind, String) {
    let after = |words: &str| {
        let (_, rest) = message.split_once(words)?;
        Some(rest.split([' ', '(', ',', ';']).next().unwrap_or_default().trim_matches('"').to_owned())
    };
    if let Some(table) = after("no such table: ") {
        let error = MyError::no_table(database, &table);
        return (error.kind, error.message);
    }
    if let Some(column) = after("no such column: ") {
        let error = MyError::no_column(&column, "field list");
        return (error.kind, error.message);
    }
    if let Some(column) = after("ambiguous column name: ") {
        let text = format!("Column '{column}' in field list is ambiguous");
        return (ErrorKind::ER_NON_UNIQ_ERROR, text);
    }
    if let Some(function) = after("no such function: ") {
        let text = format!("FUNCTION {database}.{function} does not exist");
        return (ErrorKind::ER_SP_DOES_NOT_EXIST, text);
    }
    if message.contains("sub-select returns") || message.contains("values for") {
        return (
            ErrorKind::ER_WRONG_VALUE_COUNT_ON_ROW,
            "Column count doesn't match value count at row 1".to_owned(),
        );
    }
    (ErrorKind::ER_UNKNOWN_ERROR, message.to_owned())
}

/// `… on index 'table.key'`, or `… on table.a, table.b`.
fn duplicate(message: &str, tables: &Tables) -> (ErrorKind, String) {
    let what = message.rsplit(" on ").next().unwrap_or_default();
    let name = what.strip_prefix("index '").map(|name| name.trim_end_matches('\'').to_owned());
    let by_columns = || {
        let columns: Vec<&str> =
            what.split(", ").filter_map(|part| part.rsplit_once('.')).map(|(_, column)| column).collect();
        let table = tables.get(what.split(", ").next()?.rsplit_once('.')?.0)?;
        let key = table.keys.iter().find(|key| key.columns == columns)?;
        Some(format!("{}.{}", table.name, key.name))
    };
    let key = name.or_else(by_columns).unwrap_or_else(|| what.to_owned());
    (ErrorKind::ER_DUP_ENTRY, format!("Duplicate entry for key '{key}'"))
}

/// How a [`Refusal`] passes through SQLite, which keeps only text.
pub(super) fn through_sqlite((number, message): Refusal) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(format!("\u{2}{number}\u{2}{message}").into())
}

fn from_function(message: &str) -> Option<Refusal> {
    let (_, rest) = message.split_once('\u{2}')?;
    let (number, rest) = rest.split_once('\u{2}')?;
    let text = rest.rsplit_once(" (code ").map_or(rest, |(text, _)| text);
    Some((number.parse().ok()?, text.to_owned()))
}
