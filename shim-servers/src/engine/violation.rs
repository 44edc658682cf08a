//! What a failure of SQLite means in terms of the catalog.
//!
//! Owns the way from SQLite's codes and words to conditions, constraint names and keys. Must not change the database:
//! what it runs to find out, it rolls back. Invariant: a broken constraint is reported with the name that the user gave it.

use rusqlite::{Connection, ErrorCode, ffi};

use super::catalog::{Catalog, Constraint, Index, Key, Relation, quote, sqlite_name};
use super::error::{Condition, SqlError, from_function};
use super::rows::run;
use super::shared::Shared;
use super::text;
use super::types::Value;

/// What was being done.
pub(crate) struct Context<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) shared: &'a Shared,
    pub(crate) catalog: &'a Catalog,
    /// The table that the statement writes to.
    pub(crate) target: Option<&'a Key>,
    pub(crate) sql: &'a str,
    pub(crate) params: &'a [Value],
}

/// The failure as the client is told it.
pub(crate) fn explain(error: &rusqlite::Error, context: &Context<'_>) -> SqlError {
    let (code, message) = match error {
        rusqlite::Error::SqliteFailure(code, message) => (*code, message.clone().unwrap_or_default()),
        rusqlite::Error::SqlInputError { error, msg, .. } => (*error, msg.clone()),
        rusqlite::Error::UserFunctionError(inner) => {
            let known = inner.downcast_ref::<SqlError>().cloned();
            return known.unwrap_or_else(|| SqlError::internal(inner));
        }
        other => return SqlError::internal(other),
    };
    if let Some(found) = from_function(&message) {
        return found;
    }
    match code.code {
        ErrorCode::OperationInterrupted => match context.shared.reason() {
            Some(reason) => reason.error(),
            None => SqlError::new(Condition::QueryCanceled, "canceling statement due to user request"),
        },
        ErrorCode::ConstraintViolation => constraint(code.extended_code, &message, context),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => SqlError::new(
            Condition::SerializationFailure,
            "could not serialize access due to concurrent update",
        ),
        ErrorCode::DiskFull => {
            SqlError::new(Condition::DiskFull, "could not write to file: No space left on device")
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            SqlError::new(Condition::DataCorrupted, message)
        }
        ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly => {
            SqlError::new(Condition::IoError, message)
        }
        _ if message == "integer overflow" => {
            SqlError::new(Condition::NumericValueOutOfRange, "bigint out of range")
        }
        _ => SqlError::internal(format!("{message} (code {}) in: {}", code.extended_code, context.sql)),
    }
}

fn constraint(extended: i32, message: &str, context: &Context<'_>) -> SqlError {
    let after = message.split_once(": ").map_or("", |(_, after)| after);
    match extended {
        ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => unique(after, context),
        ffi::SQLITE_CONSTRAINT_NOTNULL => not_null(after, context),
        ffi::SQLITE_CONSTRAINT_CHECK => check(after, context),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => foreign_key(context),
        // RESTRICT is a trigger of SQLite's own.
        ffi::SQLITE_CONSTRAINT_TRIGGER => foreign_key(context),
        _ => SqlError::internal(message),
    }
}

/// The table and column of SQLite's `table.column`, where the table's name may have a point.
fn split_column(text: &str) -> (&str, &str) {
    text.trim().rsplit_once('.').unwrap_or(("", text.trim()))
}

fn not_null(columns: &str, context: &Context<'_>) -> SqlError {
    let (table, column) = split_column(columns);
    let relation = context.catalog.by_sqlite_name(table);
    let (schema, name) = relation.map_or(("public", table), |found| (&found.schema, &found.name));
    let message =
        format!("null value in column \"{column}\" of relation \"{name}\" violates not-null constraint");
    let mut error = SqlError::new(Condition::NotNullViolation, message).table(schema, name).column(column);
    error.fields.columns = vec![column.to_owned()];
    error
}

fn check(name: &str, context: &Context<'_>) -> SqlError {
    let (schema, table) = context.target.cloned().unwrap_or_default();
    let message = format!("new row for relation \"{table}\" violates check constraint \"{name}\"");
    SqlError::new(Condition::CheckViolation, message).table(&schema, &table).constraint(name)
}

fn unique(what: &str, context: &Context<'_>) -> SqlError {
    let found = match what.strip_prefix("index '") {
        Some(name) => {
            let name = name.trim_end_matches('\'');
            context.catalog.indexes.iter().find(|(key, _)| sqlite_name(key) == name)
        }
        None => {
            let columns: Vec<&str> = what.split(',').map(|column| split_column(column).1).collect();
            let table = split_column(what.split(',').next().unwrap_or_default()).0;
            context.catalog.indexes.iter().find(|(_, index)| {
                index.unique && sqlite_name(&index.table) == table && index.columns == columns
            })
        }
    };
    let Some((key, index)) = found else {
        return SqlError::new(
            Condition::UniqueViolation,
            format!("duplicate key value violates unique constraint on {what}"),
        );
    };
    let message = format!("duplicate key value violates unique constraint \"{}\"", key.1);
    let (schema, table) = &index.table;
    let mut error =
        SqlError::new(Condition::UniqueViolation, message).table(schema, table).constraint(&key.1);
    error.fields.columns.clone_from(&index.columns);
    if let Some(values) = duplicate(key, index, context) {
        let columns = index.columns.join(", ");
        error = error.detail(format!("Key ({columns})=({values}) already exists."));
    }
    error
}

/// Runs `look` on what the statement would have left behind, had `relax` been done before; nothing of it stays.
fn pretend<R>(context: &Context<'_>, relax: &str, look: impl FnOnce(&Connection) -> Option<R>) -> Option<R> {
    let connection = context.connection;
    connection.execute_batch("SAVEPOINT __look").ok()?;
    context.shared.with(|state| state.replaying = true);
    let found = connection
        .execute_batch(relax)
        .and_then(|()| run(connection, &[], context.sql, context.params, None))
        .ok()
        .and_then(|_| look(connection));
    context.shared.with(|state| state.replaying = false);
    let undone =
        connection.execute_batch("ROLLBACK TO __look; RELEASE __look; PRAGMA defer_foreign_keys = OFF");
    undone.ok().and(found)
}

/// The values of two rows that are equal in a unique index.
fn duplicate(key: &Key, index: &Index, context: &Context<'_>) -> Option<String> {
    let relation = context.catalog.relations.get(&index.table)?;
    let columns: Option<Vec<_>> = index.columns.iter().map(|name| relation.column(name)).collect();
    let columns = columns?;
    let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    let names = names.join(", ");
    let table = quote(&relation.sqlite_name());
    let sql = format!("SELECT {names} FROM {table} GROUP BY {names} HAVING count(*) > 1 LIMIT 1");
    pretend(context, &format!("DROP INDEX {}", quote(&sqlite_name(key))), |connection| {
        let values = connection.query_row(&sql, [], |row| {
            (0..columns.len()).map(|at| row.get::<_, Value>(at)).collect::<rusqlite::Result<Vec<_>>>()
        });
        let texts = columns.iter().zip(values.ok()?).map(|(column, value)| {
            text::format(&column.ty, &value).ok().map(|text| text.unwrap_or_else(|| "null".to_owned()))
        });
        texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(", "))
    })
}

/// Which row of which table refers to nothing, as SQLite's own check finds it.
struct Dangling {
    table: String,
    rowid: Option<i64>,
    id: i64,
}

fn dangling(connection: &Connection) -> Option<Dangling> {
    connection
        .query_row("PRAGMA foreign_key_check", [], |row| {
            Ok(Dangling { table: row.get(0)?, rowid: row.get(1)?, id: row.get(3)? })
        })
        .ok()
}

fn foreign_key(context: &Context<'_>) -> SqlError {
    let committing = context.sql == "COMMIT";
    let found = if committing {
        dangling(context.connection).and_then(|found| describe(&found, context))
    } else {
        pretend(context, "PRAGMA defer_foreign_keys = ON", |connection| {
            dangling(connection).and_then(|found| describe(&found, context))
        })
    };
    found.unwrap_or_else(|| restricted(context))
}

fn describe(found: &Dangling, context: &Context<'_>) -> Option<SqlError> {
    let child = context.catalog.by_sqlite_name(&found.table)?;
    let mut list =
        context.connection.prepare(&format!("PRAGMA foreign_key_list({})", quote(&found.table))).ok()?;
    let columns: Vec<String> = list
        .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(3)?)))
        .ok()?
        .filter_map(Result::ok)
        .filter(|(id, _)| *id == found.id)
        .map(|(_, column)| column)
        .collect();
    let constraint = child.constraints.iter().find(
        |constraint| matches!(constraint, Constraint::ForeignKey { columns: own, .. } if *own == columns),
    )?;
    let Constraint::ForeignKey { name, table, referred, .. } = constraint else { return None };
    let values = key_values(found, child, &columns, context.connection)?;
    let delete = context.sql.starts_with("DELETE");
    let by_child = context.target.is_none_or(|target| *target == child.key()) && !delete;
    Some(if by_child {
        let message = format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{name}\"",
            child.name
        );
        let detail =
            format!("Key ({})=({values}) is not present in table \"{}\".", columns.join(", "), table.1);
        violation(message, child, name, &columns).detail(detail)
    } else {
        let detail = format!(
            "Key ({})=({values}) is still referenced from table \"{}\".",
            referred.join(", "),
            child.name
        );
        still_referenced(table, child, name, &columns).detail(detail)
    })
}

fn violation(message: String, child: &Relation, name: &str, columns: &[String]) -> SqlError {
    let mut error = SqlError::new(Condition::ForeignKeyViolation, message)
        .table(&child.schema, &child.name)
        .constraint(name);
    error.fields.columns = columns.to_vec();
    error
}

fn still_referenced(parent: &Key, child: &Relation, name: &str, columns: &[String]) -> SqlError {
    let message = format!(
        "update or delete on table \"{}\" violates foreign key constraint \"{name}\" on table \"{}\"",
        parent.1, child.name
    );
    violation(message, child, name, columns)
}

fn key_values(
    found: &Dangling,
    child: &Relation,
    columns: &[String],
    connection: &Connection,
) -> Option<String> {
    let names: Vec<String> = columns.iter().map(|name| quote(name)).collect();
    let sql = format!("SELECT {} FROM {} WHERE rowid = ?1", names.join(", "), quote(&found.table));
    let values = connection
        .query_row(&sql, [found.rowid?], |row| {
            (0..columns.len()).map(|at| row.get::<_, Value>(at)).collect::<rusqlite::Result<Vec<_>>>()
        })
        .ok()?;
    let texts = columns.iter().zip(values).map(|(name, value)| {
        let text = text::format(&child.column(name)?.ty, &value).ok()?;
        Some(text.unwrap_or_else(|| "null".to_owned()))
    });
    texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(", "))
}

/// A key with RESTRICT cannot be deferred: it is the one that refers to the table that was written.
fn restricted(context: &Context<'_>) -> SqlError {
    let generic = || SqlError::new(Condition::ForeignKeyViolation, "a foreign key constraint is violated");
    let Some(target) = context.target else { return generic() };
    let mut candidates = context.catalog.relations.values().flat_map(|child| {
        child.constraints.iter().filter_map(move |constraint| match constraint {
            Constraint::ForeignKey { name, columns, table, on_delete, on_update, .. }
                if table == target
                    && [on_delete, on_update].into_iter().flatten().any(|action| action == "RESTRICT") =>
            {
                Some(still_referenced(table, child, name, columns))
            }
            _ => None,
        })
    });
    candidates.next().unwrap_or_else(generic)
}
