//! Doing what a definition says, to SQLite's tables and to their descriptions.
//!
//! Owns the order of steps. Must not read statements. Invariant: it runs inside of a transaction, which undoes all of it
//! where a step fails.

use rusqlite::Connection;

use super::ddl::Change;
use super::schema::{self, Table, quote};

/// Does what a definition says; SQLite's own transaction is around it.
pub(super) fn apply(connection: &Connection, change: &Change) -> rusqlite::Result<()> {
    schema::prepare(connection, change.is_temporary())?;
    match change {
        Change::Nothing => {}
        Change::Create(table) => {
            connection.execute_batch(&table.create(&table.name))?;
            indexes(connection, table)?;
            schema::save(connection, table)?;
        }
        Change::Drop(names) => {
            for (name, is_temporary) in names {
                connection.execute_batch(&format!("DROP TABLE {}", quote(name)))?;
                schema::forget(connection, name, *is_temporary)?;
            }
        }
        Change::Empty(name) => connection.execute_batch(&format!("DELETE FROM {}", quote(name)))?,
        Change::Rebuild { old, new, columns } => {
            // SQLite's documented way; keys of other tables go on meaning the name.
            let scratch = format!("{old}\u{1}new");
            connection.execute_batch("PRAGMA defer_foreign_keys = ON; PRAGMA legacy_alter_table = ON")?;
            connection.execute_batch(&new.create(&scratch))?;
            let names: Vec<String> = columns.iter().map(|(name, _)| quote(name)).collect();
            let values: Vec<&str> = columns.iter().map(|(_, value)| value.as_str()).collect();
            let (names, values) = (names.join(", "), values.join(", "));
            let (from, to) = (quote(old), quote(&scratch));
            connection.execute_batch(&format!("INSERT INTO {to} ({names}) SELECT {values} FROM {from}"))?;
            connection.execute_batch(&format!("DROP TABLE {from}; ALTER TABLE {to} RENAME TO {from}"))?;
            connection.execute_batch("PRAGMA legacy_alter_table = OFF")?;
            schema::forget(connection, old, new.is_temporary)?;
            if new.name == *old {
                schema::save(connection, new)?;
            } else {
                rename(connection, old, new)?;
            }
            indexes(connection, new)?;
        }
    }
    Ok(())
}

/// Gives a table its new name, also where keys of others refer to it.
fn rename(connection: &Connection, old: &str, new: &Table) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("ALTER TABLE {} RENAME TO {}", quote(old), quote(&new.name)))?;
    let mut all = schema::load(connection)?;
    all.insert(new.name.clone(), new.clone());
    for table in all.values_mut() {
        let mut is_changed = table.name == new.name;
        for key in table.foreign_keys.iter_mut().filter(|key| key.table == old) {
            key.table.clone_from(&new.name);
            is_changed = true;
        }
        if is_changed {
            schema::save(connection, table)?;
        }
    }
    Ok(())
}

fn indexes(connection: &Connection, table: &Table) -> rusqlite::Result<()> {
    table.create_indexes().iter().try_for_each(|index| connection.execute_batch(index))
}
