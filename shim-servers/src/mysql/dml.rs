//! From MySQL's INSERT, UPDATE and DELETE to SQLite's.
//!
//! Owns what happens to values on their way into a table: types, AUTO_INCREMENT, defaults. Must not run anything.
//! Invariant: every value that is stored has passed `my_store` with its column's type.

use super::numbers::ErrorKind;
use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Insert, OnInsert, SetExpr, TableFactor,
    TableObject, Update,
};

use super::error::{MyError, Result};
use super::rewrite::{plain_name, rewrite};
use super::schema::{Column, Table, Tables, quote};

/// What statements are translated with.
pub(super) struct Writer<'a> {
    pub(super) database: &'a str,
    pub(super) tables: &'a Tables,
    /// Whether an UPDATE counts the rows that it found, and not those that it changed.
    pub(super) counts_found: bool,
    pub(super) pipes_are_concat: bool,
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A value of a column, checked as it is stored.
fn stored(table: &Table, column: &Column, value: &str) -> String {
    let value = match column.is_auto_increment {
        true => format!("my_auto({}, {value}, {})", literal(&table.name), table.next_auto),
        false => value.to_owned(),
    };
    let ty = serde_json::to_string(&column.ty).unwrap_or_default();
    format!("my_store({}, {}, {value})", literal(&ty), literal(&column.name))
}

impl Writer<'_> {
    fn table(&self, name: &sqlparser::ast::ObjectName) -> Result<&Table> {
        let name = plain_name(name, self.database)?;
        self.tables.get(&name).ok_or_else(|| MyError::no_table(self.database, &name))
    }

    fn text<T: sqlparser::ast::VisitMut + std::fmt::Display>(&self, part: &mut T) -> Result<String> {
        rewrite(part, self.database, self.pipes_are_concat)?;
        Ok(part.to_string())
    }

    fn column<'t>(&self, table: &'t Table, name: &str) -> Result<&'t Column> {
        table.column(name).ok_or_else(|| MyError::no_column(name, "field list"))
    }

    /// A value of a row of VALUES.
    fn value(&self, table: &Table, column: &Column, expr: &mut Expr) -> Result<String> {
        let is_default = matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none()
            && ident.value.eq_ignore_ascii_case("default"));
        let value = if is_default { self.default(column)? } else { self.text(expr)? };
        Ok(stored(table, column, &value))
    }

    fn default(&self, column: &Column) -> Result<String> {
        match &column.default {
            Some(default) => Ok(default.clone()),
            None if column.is_not_null && !column.is_auto_increment => {
                let message = format!("Field '{}' doesn't have a default value", column.name);
                Err(MyError::new(ErrorKind::ER_NO_DEFAULT_FOR_FIELD, message))
            }
            None => Ok("NULL".to_owned()),
        }
    }

    /// INSERT and REPLACE
    pub(super) fn insert(&self, insert: &mut Insert) -> Result<(String, String)> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(MyError::unsupported("this INSERT"));
        };
        let table = self.table(name)?;
        let (names, mut rows) = self.rows(table, insert)?;
        let mut columns: Vec<&Column> =
            names.iter().map(|name| self.column(table, name)).collect::<Result<_>>()?;
        // What the user does not give: numbers, and defaults that are checked as all values are.
        let given = columns.len();
        for column in &table.columns {
            let is_given = columns[..given].iter().any(|own| own.name == column.name);
            if is_given || column.generated.is_some() {
                continue;
            }
            let value = stored(table, column, &self.default(column)?);
            match &mut rows {
                Rows::Values(rows) => rows.iter_mut().for_each(|row| row.push(value.clone())),
                Rows::Query { more, .. } => more.push(value),
            }
            columns.push(column);
        }
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        let or = match (insert.replace_into, insert.ignore) {
            (true, _) => " OR REPLACE",
            (_, true) => " OR IGNORE",
            _ => "",
        };
        let source = match rows {
            Rows::Values(rows) => {
                let rows: Vec<String> = rows.into_iter().map(|row| format!("({})", row.join(", "))).collect();
                format!("VALUES {}", rows.join(", "))
            }
            Rows::Query { query, more } => {
                let own = columns.iter().take(given).enumerate();
                let own = own.map(|(at, column)| stored(table, column, &format!("\"c{at}\"")));
                let all: Vec<String> = own.chain(more).collect();
                let names: Vec<String> = (0..given).map(|at| format!("\"c{at}\"")).collect();
                let names = names.join(", ");
                // Without WHERE, SQLite would read ON CONFLICT as a join.
                format!(
                    "SELECT {} FROM (WITH source({names}) AS ({query}) SELECT * FROM source) WHERE true",
                    all.join(", ")
                )
            }
        };
        let on = self.on_duplicate(table, insert)?;
        let sql = format!("INSERT{or} INTO {} ({}) {source}{on}", quote(&table.name), names.join(", "));
        Ok((sql, table.name.clone()))
    }

    fn rows(&self, table: &Table, insert: &mut Insert) -> Result<(Vec<String>, Rows)> {
        if !insert.assignments.is_empty() {
            let mut names = Vec::new();
            let mut row = Vec::new();
            for assignment in &mut insert.assignments {
                let name = target(assignment)?;
                row.push(self.value(table, self.column(table, &name)?, &mut assignment.value)?);
                names.push(name);
            }
            return Ok((names, Rows::Values(vec![row])));
        }
        let mut names: Vec<String> =
            insert.columns.iter().map(|name| plain_name(name, self.database)).collect::<Result<_>>()?;
        let Some(source) = &mut insert.source else { return Ok((names, Rows::Values(vec![Vec::new()]))) };
        let SetExpr::Values(values) = source.body.as_mut() else {
            if names.is_empty() {
                names = all_columns(table);
            }
            let query = self.text(source.as_mut())?;
            return Ok((names, Rows::Query { query, more: Vec::new() }));
        };
        let is_empty = values.rows.iter().all(|row| row.content.is_empty());
        if names.is_empty() && !is_empty {
            names = all_columns(table);
        }
        let columns: Vec<&Column> =
            names.iter().map(|name| self.column(table, name)).collect::<Result<_>>()?;
        let mut rows = Vec::new();
        for (at, row) in values.rows.iter_mut().enumerate() {
            if row.content.len() != columns.len() {
                let message = format!("Column count doesn't match value count at row {}", at + 1);
                return Err(MyError::new(ErrorKind::ER_WRONG_VALUE_COUNT_ON_ROW, message));
            }
            let pairs = row.content.iter_mut().zip(&columns);
            rows.push(pairs.map(|(expr, column)| self.value(table, column, expr)).collect::<Result<_>>()?);
        }
        Ok((names, Rows::Values(rows)))
    }

    fn on_duplicate(&self, table: &Table, insert: &mut Insert) -> Result<String> {
        let alias = insert.insert_alias.as_ref().map(|alias| alias.row_alias.to_string());
        let Some(OnInsert::DuplicateKeyUpdate(assignments)) = &mut insert.on else {
            return Ok(String::new());
        };
        let mut parts = Vec::new();
        let mut changes = Vec::new();
        for assignment in assignments {
            let name = target(assignment)?;
            let column = self.column(table, &name)?;
            let mut value = self.text(&mut assignment.value)?;
            if let Some(alias) = &alias {
                // `INSERT … VALUES … AS new ON DUPLICATE KEY UPDATE a = new.a`
                value = value.replace(&format!("{alias}."), "excluded.");
            }
            // A number that is kept is not one that is given.
            let kept = Column { is_auto_increment: false, ..column.clone() };
            let (name, value) = (quote(&column.name), stored(table, &kept, &value));
            changes.push(format!("{name} IS NOT {value} COLLATE BINARY"));
            parts.push((name, value));
        }
        // SQLite does not tell which rows were there already.
        let id = table.auto_column().map_or("NULL".to_owned(), |column| quote(&column.name));
        if let Some((_, value)) = parts.first_mut() {
            *value = format!("my_updated({value}, {id}, {})", changes.join(" OR "));
        }
        let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        Ok(format!(" ON CONFLICT DO UPDATE SET {}", parts.join(", ")))
    }

    /// UPDATE of one table
    pub(super) fn update(&self, update: &mut Update) -> Result<(String, String)> {
        if !update.table.joins.is_empty() || update.from.is_some() {
            return Err(MyError::unsupported("UPDATE of several tables"));
        }
        let TableFactor::Table { name, alias, .. } = &update.table.relation else {
            return Err(MyError::unsupported("UPDATE of a query"));
        };
        let table = self.table(name)?;
        let alias = alias.as_ref().map(|alias| alias.name.value.clone());
        let mut parts = Vec::new();
        let mut assigned = Vec::new();
        let mut changes = Vec::new();
        for assignment in &mut update.assignments {
            let name = target(assignment)?;
            let column = self.column(table, &name)?;
            let kept = Column { is_auto_increment: false, ..column.clone() };
            let is_default = assignment.value.to_string().eq_ignore_ascii_case("default");
            let value = if is_default { self.default(column)? } else { self.text(&mut assignment.value)? };
            let (name, value) = (quote(&column.name), stored(table, &kept, &value));
            changes.push(format!("{name} IS NOT {value} COLLATE BINARY"));
            parts.push(format!("{name} = {value}"));
            assigned.push(column.name.clone());
        }
        for column in table.columns.iter().filter(|column| !assigned.contains(&column.name)) {
            if let Some(on_update) = &column.on_update {
                parts.push(format!("{} = {}", quote(&column.name), stored(table, column, on_update)));
            }
        }
        let mut rest = self.rows_of(
            table,
            alias.as_deref(),
            &mut update.selection,
            &mut update.order_by,
            &mut update.limit,
        )?;
        if !self.counts_found {
            // As MySQL does, a row that would stay as it is is left alone.
            let word = if rest.is_empty() { "WHERE" } else { "AND" };
            rest = format!("{rest} {word} ({})", changes.join(" OR "));
        }
        let shown = alias.map_or(String::new(), |alias| format!(" AS {}", quote(&alias)));
        let sql = format!("UPDATE {}{shown} SET {}{rest}", quote(&table.name), parts.join(", "));
        Ok((sql, table.name.clone()))
    }

    /// DELETE from one table
    pub(super) fn delete(&self, delete: &mut Delete) -> Result<(String, String)> {
        let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
        let ([only], true, None) = (&from[..], delete.tables.is_empty(), &delete.using) else {
            return Err(MyError::unsupported("DELETE from several tables"));
        };
        let (TableFactor::Table { name, alias, .. }, true) = (&only.relation, only.joins.is_empty()) else {
            return Err(MyError::unsupported("DELETE from a join"));
        };
        let table = self.table(name)?;
        let alias = alias.as_ref().map(|alias| alias.name.value.clone());
        let rest = self.rows_of(
            table,
            alias.as_deref(),
            &mut delete.selection,
            &mut delete.order_by,
            &mut delete.limit,
        )?;
        let shown = alias.map_or(String::new(), |alias| format!(" AS {}", quote(&alias)));
        Ok((format!("DELETE FROM {}{shown}{rest}", quote(&table.name)), table.name.clone()))
    }

    /// Which rows are meant: SQLite has no ORDER BY and LIMIT here, but it has a number for each row.
    fn rows_of(
        &self,
        table: &Table,
        alias: Option<&str>,
        selection: &mut Option<Expr>,
        order_by: &mut [sqlparser::ast::OrderByExpr],
        limit: &mut Option<Expr>,
    ) -> Result<String> {
        let condition = match selection {
            Some(selection) => format!(" WHERE ({})", self.text(selection)?),
            None => String::new(),
        };
        let Some(limit) = limit else { return Ok(condition) };
        let limit = self.text(limit)?;
        let order = match order_by.is_empty() {
            true => String::new(),
            false => {
                let parts: Vec<String> =
                    order_by.iter_mut().map(|part| self.text(part)).collect::<Result<_>>()?;
                format!(" ORDER BY {}", parts.join(", "))
            }
        };
        let shown = alias.map_or(String::new(), |alias| format!(" AS {}", quote(alias)));
        let table = quote(&table.name);
        Ok(format!(" WHERE rowid IN (SELECT rowid FROM {table}{shown}{condition}{order} LIMIT {limit})"))
    }
}

/// What is inserted.
enum Rows {
    Values(Vec<Vec<String>>),
    /// A query, and what each of its rows has beside its columns.
    Query {
        query: String,
        more: Vec<String>,
    },
}

fn all_columns(table: &Table) -> Vec<String> {
    let stored = table.columns.iter().filter(|column| column.generated.is_none());
    stored.map(|column| column.name.clone()).collect()
}

fn target(assignment: &Assignment) -> Result<String> {
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => match name.0.last().and_then(|part| part.as_ident()) {
            Some(ident) => Ok(ident.value.clone()),
            None => Err(MyError::syntax(&name.to_string())),
        },
        AssignmentTarget::Tuple(_) => Err(MyError::syntax("(")),
    }
}
