//! INSERT, UPDATE and DELETE.
//!
//! Owns defaults, assignments, ON CONFLICT and RETURNING. Must not run anything. Invariant: every stored value was converted to its
//! column's type, limits included.

use std::cmp::Ordering;
use std::sync::Arc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Delete, Expr, FromTable, Insert, ObjectName, OnConflict,
    OnConflictAction, OnInsert, Query, SelectItem, SetExpr, TableFactor, TableObject, TableWithJoins, Update,
    UpdateTableFromKind,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::names::{name_of, split_name};
use super::scope::{Scope, Source, SourceColumn};
use super::{Output, Planned, Planner, Typed};
use crate::engine::{
    Column, Condition, Constraint, Generated, Relation, RelationKind, Result, SqlError, quote,
};

impl Planner<'_> {
    /// The table that a statement writes to.
    fn target(&self, name: &ObjectName) -> Result<Arc<Relation>> {
        let (schema, table) = split_name(name)?;
        let found = self.around.catalog.relation(schema.as_deref(), &table, self.around.search_path);
        let relation = found.cloned().ok_or_else(|| {
            let place =
                name.0.first().and_then(|part| part.as_ident()).map_or(0, |ident| self.at(ident.span));
            let shown = schema.map_or_else(|| table.clone(), |schema| format!("{schema}.{table}"));
            SqlError::new(Condition::UndefinedTable, format!("relation \"{shown}\" does not exist"))
                .position(place)
        })?;
        if relation.kind != RelationKind::Table {
            return Err(SqlError::unsupported(format!("writing to the view \"{table}\"")));
        }
        Ok(relation)
    }

    /// The columns of a table under an alias, as SQLite calls them with or without it.
    fn enter_target(&mut self, relation: &Relation, alias: &str, bare: bool) {
        let columns = relation.columns.iter().map(|column| SourceColumn {
            name: column.name.clone(),
            ty: column.ty.clone(),
            sql: if bare { quote(&column.name) } else { format!("{}.{}", quote(alias), quote(&column.name)) },
            origin: Some((relation.oid, column.number)),
            hidden: false,
        });
        let source = Source { alias: alias.to_owned(), columns: columns.collect() };
        self.scopes.push(Scope { sources: vec![source] });
    }

    pub(crate) fn insert(&mut self, insert: &Insert) -> Result<Planned> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT into something other than a table"));
        };
        if insert.or.is_some() || insert.ignore || insert.replace_into || !insert.assignments.is_empty() {
            return Err(SqlError::unsupported("this form of INSERT"));
        }
        let relation = self.target(name)?;
        let alias =
            insert.table_alias.as_ref().map_or_else(|| relation.name.clone(), |alias| name_of(&alias.alias));
        let columns = self.insert_columns(&relation, insert)?;
        let (names, source) = match &insert.source {
            Some(source) => self.insert_source(&relation, &columns, source, !insert.columns.is_empty())?,
            None => self.default_row(&relation)?,
        };
        let names: Vec<String> = names.iter().map(|name| quote(name)).collect();
        let mut sql = if names.is_empty() {
            format!("INSERT INTO {} AS {} DEFAULT VALUES", quote(&relation.sqlite_name()), quote(&alias))
        } else {
            let (table, names) = (quote(&relation.sqlite_name()), names.join(", "));
            format!("INSERT INTO {table} AS {} ({names}) {source}", quote(&alias))
        };
        if let Some(on) = &insert.on {
            let OnInsert::OnConflict(conflict) = on else {
                return Err(SqlError::unsupported("ON DUPLICATE KEY"));
            };
            sql.push_str(&self.on_conflict(&relation, &alias, conflict)?);
        }
        let columns = self.returning(&relation, &alias, insert.returning.as_deref(), &mut sql)?;
        Ok(Planned { sql, columns, target: Some(relation.key()), command: "INSERT" })
    }

    /// The columns that are written, in the order of the values.
    fn insert_columns(&self, relation: &Relation, insert: &Insert) -> Result<Vec<Column>> {
        if insert.columns.is_empty() {
            return Ok(relation.columns.iter().filter(|column| !is_computed(column)).cloned().collect());
        }
        let mut columns: Vec<Column> = Vec::new();
        for name in &insert.columns {
            let (_, name) = split_name(name)?;
            let column = self.column_of(relation, &name)?;
            if columns.iter().any(|known| known.name == name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(SqlError::new(Condition::DuplicateColumn, message));
            }
            columns.push(column);
        }
        Ok(columns)
    }

    fn column_of(&self, relation: &Relation, name: &str) -> Result<Column> {
        relation.column(name).cloned().ok_or_else(|| {
            let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
            let place =
                self.around.text.find(name).map_or(0, |at| self.around.text[..at].chars().count() + 1);
            SqlError::new(Condition::UndefinedColumn, message).position(place)
        })
    }

    /// The columns that the statement leaves out and that have a default.
    fn defaults(&mut self, relation: &Relation, given: &[Column]) -> Result<Vec<(String, String)>> {
        let mut missing = Vec::new();
        for column in &relation.columns {
            if given.iter().any(|known| known.name == column.name) || is_computed(column) {
                continue;
            }
            if let Some(sql) = self.default_of(column)? {
                missing.push((column.name.clone(), sql));
            }
        }
        Ok(missing)
    }

    /// The default of a column in SQLite's words.
    fn default_of(&mut self, column: &Column) -> Result<Option<String>> {
        let Some(text) = &column.default else { return Ok(None) };
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).map_err(SqlError::internal)?;
        let expression = parser.parse_expr().map_err(SqlError::internal)?;
        self.scopes.push(Scope::default());
        let value =
            self.expression(&expression).and_then(|value| self.assign(value, &column.ty, &column.name));
        self.scopes.pop();
        Ok(Some(value?.sql))
    }

    fn default_row(&mut self, relation: &Relation) -> Result<(Vec<String>, String)> {
        let defaults = self.defaults(relation, &[])?;
        let (names, values): (Vec<String>, Vec<String>) = defaults.into_iter().unzip();
        Ok((names, format!("VALUES ({})", values.join(", "))))
    }

    fn insert_source(
        &mut self,
        relation: &Relation,
        columns: &[Column],
        source: &Query,
        is_listed: bool,
    ) -> Result<(Vec<String>, String)> {
        let plain = source.with.is_none() && source.order_by.is_none() && source.limit_clause.is_none();
        if let (SetExpr::Values(values), true) = (source.body.as_ref(), plain) {
            return self.insert_values(relation, columns, values, is_listed);
        }
        let types: Vec<_> = columns.iter().map(|column| column.ty.clone()).collect();
        let (sql, outputs) = self.subquery(source, Some(&types))?;
        check_count(outputs.len(), columns.len(), is_listed)?;
        let columns = &columns[..outputs.len()];
        let defaults = self.defaults(relation, columns)?;
        let mut items = Vec::new();
        for (at, (output, column)) in outputs.iter().zip(columns).enumerate() {
            refuse_generated(column, &relation.name)?;
            let part = Typed::new(format!("\"__c{at}\""), output.ty.clone());
            items.push(self.assign(part, &column.ty, &column.name)?.sql);
        }
        let inner: Vec<String> = (0..outputs.len()).map(|at| format!("\"__c{at}\"")).collect();
        let (mut names, missing): (Vec<String>, Vec<String>) = defaults.into_iter().unzip();
        items.extend(missing);
        let given: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        names.splice(..0, given);
        // SQLite takes ON after a bare FROM for a join's.
        let sql = format!(
            "SELECT {} FROM (WITH __u({}) AS ({sql}) SELECT * FROM __u) WHERE true",
            items.join(", "),
            inner.join(", ")
        );
        Ok((names, sql))
    }

    fn insert_values(
        &mut self,
        relation: &Relation,
        columns: &[Column],
        values: &sqlparser::ast::Values,
        is_listed: bool,
    ) -> Result<(Vec<String>, String)> {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        check_count(width, columns.len(), is_listed)?;
        let columns = &columns[..width];
        let defaults = self.defaults(relation, columns)?;
        let mut rows = Vec::new();
        for row in &values.rows {
            if row.content.len() != width {
                return Err(SqlError::new(
                    Condition::SyntaxError,
                    "VALUES lists must all be the same length",
                ));
            }
            let mut items = Vec::new();
            for (value, column) in row.content.iter().zip(columns) {
                if is_default(value) {
                    items.push(self.default_of(column)?.unwrap_or_else(|| "NULL".to_owned()));
                    continue;
                }
                refuse_generated(column, &relation.name)?;
                let place = expression_place(self, value);
                let value = self.expression(value)?;
                let value =
                    self.assign(value, &column.ty, &column.name).map_err(|error| placed(error, place))?;
                items.push(value.sql);
            }
            items.extend(defaults.iter().map(|(_, sql)| sql.clone()));
            rows.push(format!("({})", items.join(", ")));
        }
        let mut names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        names.extend(defaults.into_iter().map(|(name, _)| name));
        Ok((names, format!("VALUES {}", rows.join(", "))))
    }

    fn on_conflict(&mut self, relation: &Relation, alias: &str, conflict: &OnConflict) -> Result<String> {
        let columns = match &conflict.conflict_target {
            None => None,
            Some(ConflictTarget::Columns(idents)) => Some(idents.iter().map(name_of).collect::<Vec<_>>()),
            Some(ConflictTarget::OnConstraint(name)) => {
                let (_, name) = split_name(name)?;
                let found = relation.constraint(&name).and_then(|constraint| match constraint {
                    Constraint::PrimaryKey { columns, .. } | Constraint::Unique { columns, .. } => {
                        Some(columns.clone())
                    }
                    _ => None,
                });
                Some(found.ok_or_else(|| {
                    let message =
                        format!("constraint \"{name}\" for table \"{}\" does not exist", relation.name);
                    SqlError::new(Condition::UndefinedObject, message)
                })?)
            }
        };
        let mut sql = " ON CONFLICT".to_owned();
        if let Some(columns) = &columns {
            let mut wanted = columns.clone();
            wanted.sort();
            let known = self.around.catalog.indexes.values().any(|index| {
                let mut own = index.columns.clone();
                own.sort();
                index.unique
                    && index.table == relation.key()
                    && own == wanted
                    && !index.sqlite.contains(" WHERE ")
            });
            if !known {
                let message =
                    "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                return Err(SqlError::new(Condition::InvalidColumnReference, message));
            }
            let names: Vec<String> = columns.iter().map(|name| quote(name)).collect();
            sql.push_str(&format!(" ({})", names.join(", ")));
        }
        match &conflict.action {
            OnConflictAction::DoNothing => sql.push_str(" DO NOTHING"),
            OnConflictAction::DoUpdate(update) => {
                self.enter_target(relation, alias, false);
                let excluded = relation.columns.iter().map(|column| SourceColumn {
                    name: column.name.clone(),
                    ty: column.ty.clone(),
                    sql: format!("excluded.{}", quote(&column.name)),
                    origin: None,
                    hidden: true,
                });
                let excluded = Source { alias: "excluded".to_owned(), columns: excluded.collect() };
                if let Some(scope) = self.scopes.last_mut() {
                    scope.sources.push(excluded);
                }
                let assignments = self.assignments(relation, &update.assignments)?;
                sql.push_str(&format!(" DO UPDATE SET {assignments}"));
                if let Some(condition) = &update.selection {
                    let condition = self.expression(condition)?;
                    sql.push_str(&format!(" WHERE {}", self.boolean(condition, "WHERE")?.sql));
                }
                self.scopes.pop();
            }
        }
        Ok(sql)
    }

    fn assignments(&mut self, relation: &Relation, assignments: &[Assignment]) -> Result<String> {
        let mut parts = Vec::new();
        for assignment in assignments {
            match (&assignment.target, &assignment.value) {
                (AssignmentTarget::ColumnName(name), value) => {
                    parts.push(self.assignment(relation, name, value)?);
                }
                (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                    for (name, value) in names.iter().zip(values) {
                        parts.push(self.assignment(relation, name, value)?);
                    }
                }
                _ => return Err(SqlError::unsupported(format!("the assignment {assignment}"))),
            }
        }
        Ok(parts.join(", "))
    }

    fn assignment(&mut self, relation: &Relation, name: &ObjectName, value: &Expr) -> Result<String> {
        let (_, name) = split_name(name)?;
        let column = self.column_of(relation, &name)?;
        let sql = if is_default(value) {
            self.default_of(&column)?.unwrap_or_else(|| "NULL".to_owned())
        } else {
            if column.generated == Generated::IdentityAlways || is_computed(&column) {
                let message = format!("column \"{name}\" can only be updated to DEFAULT");
                return Err(SqlError::new(Condition::GeneratedAlways, message));
            }
            let place = expression_place(self, value);
            let value = self.expression(value)?;
            self.assign(value, &column.ty, &name).map_err(|error| placed(error, place))?.sql
        };
        Ok(format!("{} = {sql}", quote(&name)))
    }

    pub(crate) fn update(&mut self, update: &Update) -> Result<Planned> {
        let (name, alias) = single_table(&update.table)?;
        let relation = self.target(name)?;
        let alias = alias.unwrap_or_else(|| relation.name.clone());
        self.enter_target(&relation, &alias, false);
        let from = match &update.from {
            Some(UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) => {
                format!(" FROM {}", self.from(tables)?)
            }
            None => String::new(),
        };
        let assignments = self.assignments(&relation, &update.assignments)?;
        let mut sql =
            format!("UPDATE {} AS {} SET {assignments}{from}", quote(&relation.sqlite_name()), quote(&alias));
        sql.push_str(&self.where_clause(update.selection.as_ref())?);
        self.scopes.pop();
        let columns = self.returning(&relation, &alias, update.returning.as_deref(), &mut sql)?;
        Ok(Planned { sql, columns, target: Some(relation.key()), command: "UPDATE" })
    }

    pub(crate) fn delete(&mut self, delete: &Delete) -> Result<Planned> {
        let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
        let [table] = &tables[..] else { return Err(SqlError::unsupported("DELETE from several tables")) };
        let (name, alias) = single_table(table)?;
        let relation = self.target(name)?;
        let alias = alias.unwrap_or_else(|| relation.name.clone());
        let (table, quoted) = (quote(&relation.sqlite_name()), quote(&alias));
        self.enter_target(&relation, &alias, false);
        let mut sql = match &delete.using {
            None => {
                format!("DELETE FROM {table} AS {quoted}{}", self.where_clause(delete.selection.as_ref())?)
            }
            Some(using) => {
                let using = self.from(using)?;
                let condition = self.where_clause(delete.selection.as_ref())?;
                let rows = format!("SELECT {quoted}.rowid FROM {table} AS {quoted}, {using}{condition}");
                format!("DELETE FROM {table} AS {quoted} WHERE rowid IN ({rows})")
            }
        };
        self.scopes.pop();
        let columns = self.returning(&relation, &alias, delete.returning.as_deref(), &mut sql)?;
        Ok(Planned { sql, columns, target: Some(relation.key()), command: "DELETE" })
    }

    fn where_clause(&mut self, condition: Option<&Expr>) -> Result<String> {
        let Some(condition) = condition else { return Ok(String::new()) };
        let condition = self.expression(condition)?;
        Ok(format!(" WHERE {}", self.boolean(condition, "WHERE")?.sql))
    }

    fn returning(
        &mut self,
        relation: &Relation,
        alias: &str,
        items: Option<&[SelectItem]>,
        sql: &mut String,
    ) -> Result<Vec<Output>> {
        let Some(items) = items else { return Ok(Vec::new()) };
        self.enter_target(relation, alias, true);
        let items = self.items(items, None);
        self.scopes.pop();
        let items = items?;
        let listed: Vec<String> =
            items.iter().map(|(output, sql)| format!("{sql} AS {}", quote(&output.name))).collect();
        sql.push_str(&format!(" RETURNING {}", listed.join(", ")));
        Ok(items.into_iter().map(|(output, _)| output).collect())
    }
}

fn is_computed(column: &Column) -> bool {
    matches!(column.generated, Generated::Stored(_))
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// A column that no value can be given to.
fn refuse_generated(column: &Column, table: &str) -> Result<()> {
    if column.generated == Generated::IdentityAlways || is_computed(column) {
        let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
        let detail = match column.generated {
            Generated::IdentityAlways => {
                format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name)
            }
            _ => format!("Column \"{}\" is a generated column.", column.name),
        };
        return Err(SqlError::new(Condition::GeneratedAlways, message).detail(detail).table("public", table));
    }
    Ok(())
}

/// Values may be left out only where the columns are not listed.
fn check_count(values: usize, columns: usize, is_listed: bool) -> Result<()> {
    let message = match values.cmp(&columns) {
        Ordering::Greater => "INSERT has more expressions than target columns",
        Ordering::Less if is_listed => "INSERT has more target columns than expressions",
        _ => return Ok(()),
    };
    Err(SqlError::new(Condition::SyntaxError, message))
}

/// Where a value is that has the wrong type; what is too long is found later, and has no place.
fn placed(error: SqlError, place: usize) -> SqlError {
    match error.condition {
        Condition::StringDataRightTruncation | Condition::NumericValueOutOfRange => error,
        _ => error.position(place),
    }
}

fn expression_place(planner: &Planner<'_>, expression: &Expr) -> usize {
    use sqlparser::ast::Spanned;
    planner.at(expression.span())
}

/// The one table of an UPDATE or DELETE, and its alias.
fn single_table(table: &TableWithJoins) -> Result<(&ObjectName, Option<String>)> {
    match &table.relation {
        TableFactor::Table { name, alias, args: None, .. } if table.joins.is_empty() => {
            Ok((name, alias.as_ref().map(|alias| name_of(&alias.name))))
        }
        other => Err(SqlError::unsupported(format!("writing to {other}"))),
    }
}
