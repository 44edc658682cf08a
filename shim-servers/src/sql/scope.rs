//! The names that an expression can use.
//!
//! Owns tables and columns that are visible, from the innermost query outwards. Must not read the catalog. Invariant: a name that two
//! tables of one query have is ambiguous, never the first.

use sqlparser::ast::Ident;

use super::names::name_of;
use super::{Planner, Typed};
use crate::engine::{Condition, Result, SqlError, SqlType};

/// A table's number and a column's, from 1.
pub type Origin = (u32, i16);

/// The columns of a system view, as name and type code; nothing for a name that is none.
pub type SystemColumns =
    fn(schema: Option<&str>, name: &str) -> Option<&'static [(&'static str, &'static str)]>;

/// The tables of one query.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) sources: Vec<Source>,
}

/// One table of a query.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) alias: String,
    pub(crate) columns: Vec<SourceColumn>,
}

/// One of its columns.
#[derive(Clone, Debug)]
pub(crate) struct SourceColumn {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) sql: String,
    pub(crate) origin: Option<Origin>,
    /// Found by its table's name only, as the second of two that USING made one.
    pub(crate) hidden: bool,
}

/// A table that WITH made.
#[derive(Clone, Debug)]
pub(crate) struct CommonTable {
    pub(crate) name: String,
    pub(crate) columns: Vec<(String, SqlType)>,
}

impl Scope {
    /// One table whose columns need no table's name.
    pub(crate) fn bare(alias: &str, columns: &[(String, SqlType)]) -> Self {
        let columns = columns.iter().map(|(name, ty)| SourceColumn {
            name: name.clone(),
            ty: ty.clone(),
            sql: crate::engine::quote(name),
            origin: None,
            hidden: false,
        });
        Self { sources: vec![Source { alias: alias.to_owned(), columns: columns.collect() }] }
    }
}

impl SourceColumn {
    pub(crate) fn typed(&self) -> Typed {
        let mut typed = Typed::new(self.sql.clone(), self.ty.clone());
        typed.origin = self.origin;
        typed
    }
}

impl Planner<'_> {
    /// The column of a name, from the innermost query outwards.
    pub(crate) fn column(&self, ident: &Ident) -> Result<Typed> {
        let name = name_of(ident);
        for scope in self.scopes.iter().rev() {
            let mut found = scope
                .sources
                .iter()
                .flat_map(|source| &source.columns)
                .filter(|column| column.name == name && !column.hidden);
            if let Some(column) = found.next() {
                if found.next().is_some() {
                    let message = format!("column reference \"{name}\" is ambiguous");
                    return Err(
                        SqlError::new(Condition::AmbiguousColumn, message).position(self.at(ident.span))
                    );
                }
                return Ok(column.typed());
            }
        }
        let message = format!("column \"{name}\" does not exist");
        Err(SqlError::new(Condition::UndefinedColumn, message).position(self.at(ident.span)))
    }

    /// Whether the innermost query has a column of this name.
    pub(crate) fn has_column(&self, name: &str) -> bool {
        self.scopes.last().is_some_and(|scope| {
            scope
                .sources
                .iter()
                .any(|source| source.columns.iter().any(|column| column.name == name && !column.hidden))
        })
    }

    /// The column of a table.
    pub(crate) fn qualified(&self, idents: &[Ident]) -> Result<Typed> {
        let [.., table, column] = idents else {
            return Err(SqlError::internal("a name without parts"));
        };
        let (table, name) = (name_of(table), name_of(column));
        let place = self.at(idents[0].span);
        let source = self.source(&table).ok_or_else(|| {
            let message = format!("missing FROM-clause entry for table \"{table}\"");
            SqlError::new(Condition::UndefinedTable, message).position(place)
        })?;
        source.columns.iter().find(|column| column.name == name).map(SourceColumn::typed).ok_or_else(|| {
            let message = format!("column {table}.{name} does not exist");
            SqlError::new(Condition::UndefinedColumn, message).position(place)
        })
    }

    /// The table of a name, from the innermost query outwards.
    pub(crate) fn source(&self, alias: &str) -> Option<&Source> {
        self.scopes.iter().rev().flat_map(|scope| &scope.sources).find(|source| source.alias == alias)
    }
}
