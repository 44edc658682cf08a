//! CREATE and ALTER: from their text to changes of the catalog, and to what SQLite has to do for them.
//!
//! Owns names of constraints that the user did not name, and which changes rewrite a table. Must not touch SQLite. Invariant: after
//! the steps are done, SQLite's schema is the catalog's.

mod alter;
mod columns;
mod create;

pub use alter::alter_table;
pub(crate) use alter::rename_index;
pub(crate) use columns::sequence as columns_sequence;
pub use columns::{integer_of, option_text};
pub use create::{create_index, create_table, create_table_as, create_view};
pub(crate) use create::{new_key, schema_of};

use crate::engine::{Catalog, Key, Relation, RelationKind, Result, SqlError, SqlType, Step};

/// A change of the catalog, and the steps that bring SQLite along.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// The catalog afterwards.
    pub catalog: Catalog,
    /// What SQLite has to do, in order.
    pub steps: Vec<Step>,
    /// What the client is told beside success.
    pub notice: Option<String>,
}

impl Change {
    pub(crate) fn of(catalog: &Catalog) -> Self {
        Self { catalog: catalog.clone(), steps: Vec::new(), notice: None }
    }

    pub(crate) fn sql(&mut self, text: impl Into<String>) {
        self.steps.push(Step::Sql(text.into()));
    }
}

/// Names and types of a relation's columns.
pub(crate) fn column_types(relation: &Relation) -> Vec<(String, SqlType)> {
    relation.columns.iter().map(|column| (column.name.clone(), column.ty.clone())).collect()
}

/// A table of the catalog that is going to change.
pub(crate) fn table<'a>(catalog: &'a Catalog, key: &Key) -> Result<&'a Relation> {
    let relation = catalog.relations.get(key).ok_or_else(|| {
        let message = format!("relation \"{}\" does not exist", key.1);
        SqlError::new(crate::engine::Condition::UndefinedTable, message)
    })?;
    if relation.kind != RelationKind::Table {
        let message = format!("\"{}\" is not a table", key.1);
        return Err(SqlError::new(crate::engine::Condition::WrongObjectType, message));
    }
    Ok(relation)
}

/// A name that is free, with numbers appended as PostgreSQL does.
pub(crate) fn free_name(catalog: &Catalog, relation: &Relation, wanted: &str) -> String {
    let taken = |name: &str| {
        relation.constraint(name).is_some() || catalog.is_taken(&(relation.schema.clone(), name.to_owned()))
    };
    let numbers = std::iter::once(String::new()).chain((1..).map(|number: u32| number.to_string()));
    let mut names = numbers.map(|number| format!("{wanted}{number}"));
    names.find(|name| !taken(name)).unwrap_or_else(|| wanted.to_owned())
}
