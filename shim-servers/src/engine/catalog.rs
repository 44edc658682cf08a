//! What a database contains: schemas, tables, views, indexes, sequences and types.
//!
//! Owns the definitions, as data, and how they are kept: one JSON row of the database itself. Must not run SQL. Invariant:
//! a catalog never changes once it is shared; a change makes a new one, which a commit publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::temporary::TEMPORARY;
use super::types::SqlType;

/// The number of the first object that a user makes.
const FIRST_USER_OID: u32 = 16_384;

/// Schema and name of an object.
pub type Key = (String, String);

/// All definitions of one database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Catalog {
    /// Schemas that exist, `public` among them.
    pub schemas: BTreeSet<String>,
    /// Tables and views.
    #[serde(with = "pairs")]
    pub relations: BTreeMap<Key, Arc<Relation>>,
    /// Indexes; those of keys too.
    #[serde(with = "pairs")]
    pub indexes: BTreeMap<Key, Arc<Index>>,
    /// Sequences, without their state.
    #[serde(with = "pairs")]
    pub sequences: BTreeMap<Key, Arc<Sequence>>,
    /// Types that `CREATE TYPE … AS ENUM` made.
    #[serde(with = "pairs")]
    pub enums: BTreeMap<Key, Arc<EnumType>>,
    next_oid: u32,
}

/// A table or a view.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relation {
    /// Its number, for ever.
    pub oid: u32,
    /// The schema that it is in.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// What its rows must fulfil, without NOT NULL.
    pub constraints: Vec<Constraint>,
    /// What a commit does to it, if it is temporary.
    #[serde(default)]
    pub on_commit: OnCommit,
}

/// What a commit does to a temporary table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnCommit {
    /// Nothing.
    #[default]
    PreserveRows,
    /// It is empty afterwards.
    DeleteRows,
    /// It is gone afterwards.
    Drop,
}

/// What a relation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelationKind {
    /// Rows that are stored.
    Table,
    /// A query of the dialect, as text.
    View(String),
}

/// One column.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, with limits.
    pub ty: SqlType,
    /// Its number in the relation, from 1; never used again.
    pub number: i16,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The expression of the dialect for a missing value.
    pub default: Option<String>,
    /// Where its values come from, if not from the user alone.
    pub generated: Generated,
}

/// Where the values of a column come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Generated {
    /// The user, or the default.
    #[default]
    No,
    /// A sequence, and never the user.
    IdentityAlways,
    /// A sequence where the user gives none.
    IdentityByDefault,
    /// An expression of the dialect over the other columns.
    Stored(String),
}

/// What rows of a table must fulfil.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are the parts of the SQL clause, named as there")]
pub enum Constraint {
    PrimaryKey {
        name: String,
        columns: Vec<String>,
    },
    Unique {
        name: String,
        columns: Vec<String>,
    },
    ForeignKey {
        name: String,
        columns: Vec<String>,
        /// The table that is referred to.
        table: Key,
        referred: Vec<String>,
        on_delete: Option<String>,
        on_update: Option<String>,
        deferrable: bool,
        initially_deferred: bool,
    },
    /// `expression` is the dialect's text, `sqlite` what is checked.
    Check {
        name: String,
        expression: String,
        sqlite: String,
    },
}

impl Constraint {
    /// Its name, which is unique in the table.
    pub fn name(&self) -> &str {
        match self {
            Self::PrimaryKey { name, .. }
            | Self::Unique { name, .. }
            | Self::ForeignKey { name, .. }
            | Self::Check { name, .. } => name,
        }
    }
}

/// An index of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    /// Its number.
    pub oid: u32,
    /// Its table.
    pub table: Key,
    /// The columns, or expressions of the dialect.
    pub columns: Vec<String>,
    /// Whether two rows may not be equal in it.
    pub unique: bool,
    /// What SQLite was told after `ON table`.
    pub sqlite: String,
}

/// A sequence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sequence {
    /// Its number; its state is found by it.
    pub oid: u32,
    /// The type of its numbers.
    pub ty: SqlType,
    /// Where it begins.
    pub start: i64,
    /// The step.
    pub increment: i64,
    /// The smallest number.
    pub min: i64,
    /// The largest number.
    pub max: i64,
    /// Whether it begins again after its end.
    pub cycle: bool,
    /// The table and column that it goes away with.
    pub owner: Option<(Key, String)>,
}

/// A type of named values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnumType {
    /// Its number.
    pub oid: u32,
    /// Its values in order.
    pub labels: Vec<String>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self {
            schemas: BTreeSet::from(["public".to_owned()]),
            relations: BTreeMap::new(),
            indexes: BTreeMap::new(),
            sequences: BTreeMap::new(),
            enums: BTreeMap::new(),
            next_oid: FIRST_USER_OID,
        }
    }
}

impl Catalog {
    /// A number that no object has had.
    pub fn allocate_oid(&mut self) -> u32 {
        self.next_oid += 1;
        self.next_oid - 1
    }

    /// The relation of a name, in the first schema of the path that has it.
    pub fn relation(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<&Arc<Relation>> {
        find(&self.relations, schema, name, path)
    }

    /// The sequence of a name, and its full name.
    pub fn sequence(
        &self,
        schema: Option<&str>,
        name: &str,
        path: &[String],
    ) -> Option<(Key, &Arc<Sequence>)> {
        find_with_key(&self.sequences, schema, name, path)
    }

    /// The enum of a name.
    pub fn enum_type(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<&Arc<EnumType>> {
        find(&self.enums, schema, name, path)
    }

    /// The enum with a number, and its name.
    pub fn enum_by_oid(&self, oid: u32) -> Option<(&Key, &Arc<EnumType>)> {
        self.enums.iter().find(|(_, found)| found.oid == oid)
    }

    /// The index of a name, and its full name.
    pub fn index(&self, schema: Option<&str>, name: &str, path: &[String]) -> Option<(Key, &Arc<Index>)> {
        find_with_key(&self.indexes, schema, name, path)
    }

    /// The table that SQLite knows by this name.
    pub fn by_sqlite_name(&self, name: &str) -> Option<&Arc<Relation>> {
        self.relations.values().find(|relation| relation.sqlite_name() == name)
    }

    /// Whether a relation, index or sequence has this name.
    pub fn is_taken(&self, key: &Key) -> bool {
        self.relations.contains_key(key) || self.indexes.contains_key(key) || self.sequences.contains_key(key)
    }
}

/// The object of a name, in the named schema or the first of the path.
fn find<'a, T>(
    map: &'a BTreeMap<Key, Arc<T>>,
    schema: Option<&str>,
    name: &str,
    path: &[String],
) -> Option<&'a Arc<T>> {
    find_with_key(map, schema, name, path).map(|(_, found)| found)
}

fn find_with_key<'a, T>(
    map: &'a BTreeMap<Key, Arc<T>>,
    schema: Option<&str>,
    name: &str,
    path: &[String],
) -> Option<(Key, &'a Arc<T>)> {
    let in_schema = |schema: &str| {
        let key = (schema.to_owned(), name.to_owned());
        map.get(&key).map(|found| (key, found))
    };
    match schema {
        Some(schema) => in_schema(schema),
        None => path.iter().find_map(|schema| in_schema(schema)),
    }
}

/// What SQLite calls an object: its name in `public`, and both parts elsewhere.
pub(crate) fn sqlite_name(key: &Key) -> String {
    if key.0 == "public" { key.1.clone() } else { format!("{}.{}", key.0, key.1) }
}

/// A name in SQLite's quotes.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quote_all(names: &[String]) -> String {
    names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")
}

impl Relation {
    /// Schema and name.
    pub fn key(&self) -> Key {
        (self.schema.clone(), self.name.clone())
    }

    /// What SQLite calls it.
    pub fn sqlite_name(&self) -> String {
        sqlite_name(&self.key())
    }

    /// Whether one session alone has it.
    pub fn is_temporary(&self) -> bool {
        self.schema == TEMPORARY
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The constraint of a name.
    pub fn constraint(&self, name: &str) -> Option<&Constraint> {
        self.constraints.iter().find(|constraint| constraint.name() == name)
    }

    /// The columns of the primary key.
    pub fn primary_key(&self) -> Option<&[String]> {
        self.constraints.iter().find_map(|constraint| match constraint {
            Constraint::PrimaryKey { columns, .. } => Some(columns.as_slice()),
            _ => None,
        })
    }

    /// What SQLite is told to make the table; keys are indexes, and not in it.
    pub fn create_table(&self) -> String {
        let mut parts: Vec<String> = self.columns.iter().map(column_text).collect();
        for constraint in &self.constraints {
            match constraint {
                Constraint::Check { name, sqlite, .. } => {
                    parts.push(format!("CONSTRAINT {} CHECK ({sqlite})", quote(name)));
                }
                Constraint::ForeignKey {
                    name,
                    columns,
                    table,
                    referred,
                    on_delete,
                    on_update,
                    deferrable,
                    initially_deferred,
                } => {
                    let mut text = format!(
                        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})",
                        quote(name),
                        quote_all(columns),
                        quote(&sqlite_name(table)),
                        quote_all(referred)
                    );
                    for (event, action) in [("DELETE", on_delete), ("UPDATE", on_update)] {
                        if let Some(action) = action {
                            text.push_str(&format!(" ON {event} {action}"));
                        }
                    }
                    if *deferrable {
                        let when = if *initially_deferred { "DEFERRED" } else { "IMMEDIATE" };
                        text.push_str(&format!(" DEFERRABLE INITIALLY {when}"));
                    }
                    parts.push(text);
                }
                Constraint::PrimaryKey { .. } | Constraint::Unique { .. } => {}
            }
        }
        let temporary = if self.is_temporary() { "TEMP " } else { "" };
        format!("CREATE {temporary}TABLE {} ({})", quote(&self.sqlite_name()), parts.join(", "))
    }
}

fn column_text(column: &Column) -> String {
    let mut text = quote(&column.name);
    if matches!(column.ty, SqlType::Numeric(_)) {
        text.push_str(" COLLATE \"numeric\"");
    }
    if let Generated::Stored(expression) = &column.generated {
        text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"));
    }
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    text
}

/// Maps whose keys are pairs, as JSON lists.
mod pairs {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Key;

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        map: &BTreeMap<Key, Arc<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter().map(|(key, value)| (key, value.as_ref())))
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Key, Arc<T>>, D::Error> {
        let list = Vec::<(Key, T)>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
    }
}
