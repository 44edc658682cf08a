//! What MySQL knows of a table and SQLite does not: types, AUTO_INCREMENT, defaults.
//!
//! Owns [`Table`] and how all tables are kept: one row each of a table of the same file, so that a change of them is in
//! the transaction that changes the table. Must not parse SQL. Invariant: a table that SQLite has and the user made is
//! described here.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::types::ColumnType;

/// A column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: ColumnType,
    pub(super) is_not_null: bool,
    pub(super) is_auto_increment: bool,
    /// SQLite's expression for a value that is not given.
    pub(super) default: Option<String>,
    /// SQLite's expression for a row that is updated.
    pub(super) on_update: Option<String>,
    /// SQLite's expression of a generated column.
    pub(super) generated: Option<String>,
}

/// A key, primary or unique.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UniqueKey {
    /// `PRIMARY`, or the name of the index.
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

/// A foreign key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) table: String,
    pub(super) referred: Vec<String>,
    /// `ON DELETE …`, `ON UPDATE …` as SQLite is told.
    pub(super) actions: String,
}

/// A table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<UniqueKey>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    /// Name and SQLite's expression.
    pub(super) checks: Vec<(String, String)>,
    /// Name and columns of indexes that are not unique.
    pub(super) indexes: Vec<(String, Vec<String>)>,
    /// The next number that AUTO_INCREMENT gives, at the last commit that knew one.
    pub(super) next_auto: i64,
    /// Whether one session alone has it, until it ends.
    #[serde(default)]
    pub(super) is_temporary: bool,
}

/// All tables of a database, by their names.
pub(super) type Tables = BTreeMap<String, Table>;

/// A name in SQLite's quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted_list(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

/// SQLite's name of a unique index, from which key and table are found again.
pub(super) fn index_name(table: &str, key: &str) -> String {
    format!("{table}.{key}")
}

impl Table {
    /// The column of a name, in any case.
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The column that AUTO_INCREMENT is of.
    pub(super) fn auto_column(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.is_auto_increment)
    }

    /// Name and columns of indexes that are not unique, with those that MySQL makes for foreign keys.
    pub(super) fn plain_indexes(&self) -> impl Iterator<Item = (&String, &Vec<String>)> {
        let own = self.indexes.iter().map(|(name, columns)| (name, columns));
        let has = |columns: &[String]| {
            let keys = self.keys.iter().map(|key| &key.columns);
            keys.chain(self.indexes.iter().map(|(_, own)| own)).any(|own| own.starts_with(columns))
        };
        let foreign = self.foreign_keys.iter().filter(move |key| !has(&key.columns));
        own.chain(foreign.map(|key| (&key.name, &key.columns)))
    }

    /// What SQLite is told to make the table, without its indexes.
    pub(super) fn create(&self, name: &str) -> String {
        let column = |column: &Column| {
            let mut text = format!("{} {}", quote(&column.name), column.ty.declaration());
            if let Some(generated) = &column.generated {
                text.push_str(&format!(" GENERATED ALWAYS AS ({generated}) STORED"));
            } else if let Some(default) = &column.default {
                text.push_str(&format!(" DEFAULT ({default})"));
            }
            if column.is_not_null {
                text.push_str(" NOT NULL");
            }
            text
        };
        let mut parts: Vec<String> = self.columns.iter().map(column).collect();
        for (name, check) in &self.checks {
            parts.push(format!("CONSTRAINT {} CHECK ({check})", quote(name)));
        }
        for key in &self.foreign_keys {
            let (own, referred) = (quoted_list(&key.columns), quoted_list(&key.referred));
            let (name, table) = (quote(&key.name), quote(&key.table));
            parts.push(format!(
                "CONSTRAINT {name} FOREIGN KEY ({own}) REFERENCES {table} ({referred}){}",
                key.actions
            ));
        }
        let temporary = if self.is_temporary { "TEMP " } else { "" };
        format!("CREATE {temporary}TABLE {} ({})", quote(name), parts.join(", "))
    }

    /// What SQLite is told to make its indexes.
    pub(super) fn create_indexes(&self) -> Vec<String> {
        let unique = self.keys.iter().map(|key| ("UNIQUE ", &key.name, &key.columns));
        let plain = self.indexes.iter().map(|(name, columns)| ("", name, columns));
        let text = |(unique, key, columns): (&str, &String, &Vec<String>)| {
            let name = quote(&index_name(&self.name, key));
            format!("CREATE {unique}INDEX {name} ON {} ({})", quote(&self.name), quoted_list(columns))
        };
        unique.chain(plain).map(text).collect()
    }
}

/// Where descriptions are kept: of all sessions' tables, and of the connection's own.
const PLACES: [&str; 2] = ["main", "temp"];

/// Makes room for descriptions.
pub(super) fn prepare(connection: &Connection, is_temporary: bool) -> rusqlite::Result<()> {
    let place = PLACES[usize::from(is_temporary)];
    connection.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {place}.__mysql (name TEXT PRIMARY KEY, body TEXT NOT NULL)"
    ))
}

/// What changes with every change of a table: of all sessions', and of the connection's own.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<[i64; 2]> {
    let mut version = [0; 2];
    for (place, version) in PLACES.into_iter().zip(&mut version) {
        *version = connection.query_row(&format!("PRAGMA {place}.schema_version"), [], |row| row.get(0))?;
    }
    Ok(version)
}

/// All tables, as the connection sees them: its own hide others.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Tables> {
    let mut tables = Tables::new();
    for place in PLACES {
        tables.extend(load_from(connection, place)?);
    }
    Ok(tables)
}

fn load_from(connection: &Connection, place: &str) -> rusqlite::Result<Tables> {
    let exists = format!("SELECT 1 FROM {place}.sqlite_schema WHERE name = '__mysql'");
    if connection.query_row(&exists, [], |_| Ok(())).optional()?.is_none() {
        return Ok(Tables::new());
    }
    let select = format!("SELECT name, body FROM {place}.__mysql ORDER BY name");
    let mut statement = connection.prepare_cached(&select)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (name, body) = row?;
        let table = serde_json::from_str(&body).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
        })?;
        Ok((name, table))
    })
    .collect()
}

/// Remembers a table as it is now.
pub(super) fn save(connection: &Connection, table: &Table) -> rusqlite::Result<()> {
    let body = serde_json::to_string(table)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let place = PLACES[usize::from(table.is_temporary)];
    let insert = format!("INSERT OR REPLACE INTO {place}.__mysql VALUES (?1, ?2)");
    connection.execute(&insert, (&table.name, body))?;
    Ok(())
}

/// Forgets a table.
pub(super) fn forget(connection: &Connection, name: &str, is_temporary: bool) -> rusqlite::Result<()> {
    let place = PLACES[usize::from(is_temporary)];
    connection.execute(&format!("DELETE FROM {place}.__mysql WHERE name = ?1"), [name])?;
    Ok(())
}
