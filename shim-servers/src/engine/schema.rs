//! Changing SQLite's schema, step by step.
//!
//! Owns how a table's text is written anew. Must not know why. Invariant: all steps are in one transaction, so that either the schema is
//! the new catalog's or nothing happened.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::error::SqlError;
use super::temporary::TEMPORARY;

/// One thing that SQLite has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A statement.
    Sql(String),
    /// The table's text is written anew; its rows stay as they are. Name and text.
    Rewrite(String, String),
    /// Fails with this where the query gives a row: rows that a new constraint does not hold for.
    Refuse(String, SqlError),
}

/// Does all steps in order.
pub(crate) fn apply(connection: &Connection, steps: &[Step]) -> rusqlite::Result<()> {
    for step in steps {
        match step {
            Step::Sql(text) => connection.execute_batch(text)?,
            Step::Rewrite(name, text) => rewrite(connection, name, text)?,
            Step::Refuse(query, error) => {
                if connection.prepare(query)?.query([])?.next()?.is_some() {
                    return Err(rusqlite::Error::UserFunctionError(Box::new(error.clone())));
                }
            }
        }
    }
    Ok(())
}

/// SQLite's documented way to change what a table's rows have to fulfil: its text in the schema table.
fn rewrite(connection: &Connection, name: &str, text: &str) -> rusqlite::Result<()> {
    let is_temporary = name.strip_prefix(TEMPORARY).is_some_and(|rest| rest.starts_with('.'));
    let database = if is_temporary { "temp" } else { "main" };
    let pragma = format!("PRAGMA {database}.schema_version");
    let version: i64 = connection.query_row(&pragma, [], |row| row.get(0))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    connection.execute_batch("PRAGMA writable_schema = ON")?;
    let changed = connection
        .execute(
            &format!("UPDATE {database}.sqlite_schema SET sql = ?2 WHERE type = 'table' AND name = ?1"),
            (name, text),
        )
        .and_then(|_| connection.execute_batch(&format!("{pragma} = {}", version + 1)));
    let back = connection.execute_batch("PRAGMA writable_schema = RESET");
    changed.and(back)
}
