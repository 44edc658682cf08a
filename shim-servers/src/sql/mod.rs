//! From a dialect's statement to SQLite's: names are looked up, types found out, conversions written down.
//!
//! Owns the meaning of statements. Must not touch a database: it sees a catalog and gives text. Invariant: every value in
//! the text it writes is kept as the type that it was given is kept.

mod aggregates;
mod calls;
mod coerce;
mod definition;
mod expression;
mod forms;
mod from;
mod modify;
mod names;
pub mod oids;
mod operators;
mod order;
mod query;
mod scope;
mod select;
mod sets;

pub use definition::{
    Change, alter_table, create_index, create_table, create_table_as, create_view, integer_of, option_text,
};
pub use names::{data_type, name_of, parse_error, split_name};
pub use scope::{Origin, SystemColumns};

use sqlparser::ast::{Expr, Statement};

use crate::engine::{Access, Catalog, Condition, Key, Result, SqlError, SqlType};
pub(crate) use definition::columns_sequence as sequence;
pub(crate) use definition::{new_key, rename_index, schema_of};
use scope::{CommonTable, Scope};

/// A statement that SQLite can run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// SQLite's text; parameters are `?1`, `?2` ….
    pub sql: String,
    /// The types of the parameters.
    pub parameters: Vec<SqlType>,
    /// The columns of its rows; none where it has no rows.
    pub columns: Vec<Output>,
    /// What it needs of the transaction.
    pub access: Access,
    /// The table that it writes to.
    pub target: Option<Key>,
    /// Its name: `SELECT`, `INSERT`, `UPDATE` or `DELETE`.
    pub command: &'static str,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// The table and the column that it is of, where it is one.
    pub origin: Option<Origin>,
}

/// A part of an expression, in SQLite's words.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) sql: String,
    pub(crate) ty: SqlType,
    pub(crate) kind: Kind,
    pub(crate) origin: Option<Origin>,
}

/// What is known of a part beside its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// A quoted literal, whose type its surroundings decide.
    Literal(String),
    /// A parameter, from 0.
    Parameter(usize),
    Null,
}

impl Typed {
    pub(crate) fn new(sql: impl Into<String>, ty: SqlType) -> Self {
        Self { sql: sql.into(), ty, kind: Kind::Plain, origin: None }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.ty == SqlType::Unknown
    }
}

/// What a planner looks names up in.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Tables and types.
    pub catalog: &'a Catalog,
    /// Where names without a schema are looked for.
    pub search_path: &'a [String],
    /// The columns of system views.
    pub system: SystemColumns,
    /// What `version()` says.
    pub version: &'a str,
    /// The text of the statement, for positions.
    pub text: &'a str,
}

impl Surroundings<'_> {
    /// The schema that new objects come into: the first of the path that exists.
    pub(crate) fn current_schema(&self) -> Option<&str> {
        self.search_path.iter().find(|schema| self.catalog.schemas.contains(*schema)).map(String::as_str)
    }
}

/// Plans one statement.
pub struct Planner<'a> {
    pub(crate) around: Surroundings<'a>,
    parameters: Vec<Option<SqlType>>,
    scopes: Vec<Scope>,
    tables: Vec<CommonTable>,
    access: Access,
    views: usize,
}

impl<'a> Planner<'a> {
    /// A planner whose first parameters have these types; `Unknown` is found out.
    pub fn new(around: Surroundings<'a>, parameters: &[SqlType]) -> Self {
        let known = |ty: &SqlType| (*ty != SqlType::Unknown).then(|| ty.clone());
        Self {
            around,
            parameters: parameters.iter().map(known).collect(),
            scopes: Vec::new(),
            tables: Vec::new(),
            access: Access::Read,
            views: 0,
        }
    }

    /// Plans a query, an INSERT, an UPDATE or a DELETE.
    ///
    /// # Errors
    /// Whatever is wrong with the statement; `0A000` with the name of what is not spoken.
    pub fn plan(mut self, statement: &Statement) -> Result<Plan> {
        let planned = match statement {
            Statement::Query(query) => self.plan_query(query)?,
            Statement::Insert(insert) => self.insert(insert)?,
            Statement::Update(update) => self.update(update)?,
            Statement::Delete(delete) => self.delete(delete)?,
            other => return Err(SqlError::unsupported(first_words(other))),
        };
        let mut parameters = Vec::new();
        for (at, ty) in self.parameters.into_iter().enumerate() {
            parameters.push(ty.ok_or_else(|| {
                let message = format!("could not determine data type of parameter ${}", at + 1);
                SqlError::new(Condition::IndeterminateDatatype, message)
            })?);
        }
        let access = if planned.command == "SELECT" { self.access } else { Access::Write };
        let (sql, columns) = (planned.sql, planned.columns);
        Ok(Plan { sql, parameters, columns, access, target: planned.target, command: planned.command })
    }

    /// An expression without columns, as a default or a setting is.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn constant(&mut self, expression: &Expr, ty: &SqlType) -> Result<String> {
        let value = self.expression(expression)?;
        Ok(self.assign(value, ty, "")?.sql)
    }

    /// A condition over the columns of one relation, as SQLite's text with bare column names.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn condition(&mut self, expression: &Expr, columns: &[(String, SqlType)]) -> Result<String> {
        self.scopes.push(Scope::bare("", columns));
        let value = self.expression(expression).and_then(|value| self.boolean(value, "CHECK"));
        self.scopes.pop();
        Ok(value?.sql)
    }

    /// A value over the columns of one relation, with its type.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn value(&mut self, expression: &Expr, columns: &[(String, SqlType)]) -> Result<(String, SqlType)> {
        self.scopes.push(Scope::bare("", columns));
        let value = self.expression(expression);
        self.scopes.pop();
        let value = value?;
        Ok((value.sql, value.ty))
    }

    /// A value over the columns of one relation, stored into a column of a type.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn stored(
        &mut self,
        expression: &Expr,
        columns: &[(String, SqlType)],
        ty: &SqlType,
    ) -> Result<String> {
        self.scopes.push(Scope::bare("", columns));
        let value = self.expression(expression).and_then(|value| self.assign(value, ty, ""));
        self.scopes.pop();
        Ok(value?.sql)
    }

    pub(crate) fn parameter(&mut self, number: usize) -> Typed {
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        let ty = self.parameters[number - 1].clone().unwrap_or(SqlType::Unknown);
        Typed { sql: format!("?{number}"), ty, kind: Kind::Parameter(number - 1), origin: None }
    }

    pub(crate) fn decide_parameter(&mut self, at: usize, ty: &SqlType) {
        let slot = &mut self.parameters[at];
        if slot.is_none() {
            *slot = Some(ty.base());
        }
    }

    pub(crate) fn writes(&mut self) {
        if self.access == Access::Read {
            self.access = Access::Write;
        }
    }

    pub(crate) fn at(&self, span: sqlparser::tokenizer::Span) -> usize {
        names::position(self.around.text, span.start.line, span.start.column)
    }
}

/// A planned statement before its parameters are known.
pub(crate) struct Planned {
    pub(crate) sql: String,
    pub(crate) columns: Vec<Output>,
    pub(crate) target: Option<Key>,
    pub(crate) command: &'static str,
}

/// The first words of a statement, by which its kind is named.
pub fn first_words(statement: &Statement) -> String {
    let text = statement.to_string();
    let words: Vec<&str> =
        text.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_uppercase())).collect();
    words.into_iter().take(3).collect::<Vec<_>>().join(" ")
}
