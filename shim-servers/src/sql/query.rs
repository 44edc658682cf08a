//! Queries: SELECT, VALUES, UNION, WITH, ORDER BY, LIMIT.
//!
//! Owns how the parts of a query see each other's names. Must not know where tables come from. Invariant: the columns of a query are named
//! and typed in order, and SQLite's columns are the same.

use sqlparser::ast::{
    Expr, LimitClause, NonBlock, OrderBy, OrderByExpr, OrderByKind, Query, SetExpr, SetOperator,
    SetQuantifier, Statement, Values, With,
};

use super::coerce::{Mode, text_literal};
use super::names::name_of;
use super::scope::{CommonTable, Scope};
use super::{Output, Planned, Planner, Typed};
use crate::engine::{Access, Condition, Result, SqlError, SqlType, quote};

/// What a body is: its text, its columns, and whether ORDER BY can follow it.
pub(crate) struct Body {
    pub(crate) sql: String,
    pub(crate) columns: Vec<Output>,
    /// Terms of ORDER BY that DISTINCT ON put in already.
    pub(crate) ordered: bool,
}

impl Planner<'_> {
    pub(crate) fn plan_query(&mut self, query: &Query) -> Result<Planned> {
        if let SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) =
            query.body.as_ref()
        {
            let known = self.tables.len();
            let with = self.with(query.with.as_ref())?;
            let mut planned = match statement {
                Statement::Insert(insert) => self.insert(insert)?,
                Statement::Update(update) => self.update(update)?,
                Statement::Delete(delete) => self.delete(delete)?,
                other => return Err(SqlError::unsupported(other)),
            };
            self.tables.truncate(known);
            planned.sql = format!("{with}{}", planned.sql);
            return Ok(planned);
        }
        let (sql, columns) = self.subquery(query, None)?;
        Ok(Planned { sql, columns, target: None, command: "SELECT" })
    }

    /// A query within or without another; `expected` are the types that unknown columns become.
    pub(crate) fn subquery(
        &mut self,
        query: &Query,
        expected: Option<&[SqlType]>,
    ) -> Result<(String, Vec<Output>)> {
        let known = self.tables.len();
        let result = self.whole_query(query, expected);
        self.tables.truncate(known);
        result
    }

    fn whole_query(&mut self, query: &Query, expected: Option<&[SqlType]>) -> Result<(String, Vec<Output>)> {
        if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties || fetch.percent) {
            return Err(SqlError::unsupported("FETCH with ties or percent"));
        }
        self.locks(query)?;
        let mut sql = self.with(query.with.as_ref())?;
        let terms = match &query.order_by {
            Some(OrderBy { kind: OrderByKind::Expressions(terms), .. }) => terms.as_slice(),
            Some(_) => return Err(SqlError::unsupported("ORDER BY ALL")),
            None => &[],
        };
        let depth = self.scopes.len();
        let body = self.body(&query.body, expected, terms)?;
        sql.push_str(&body.sql);
        if !terms.is_empty() && !body.ordered {
            let mut parts = Vec::new();
            for term in terms {
                parts.push(self.output_order(term, &body.columns)?);
            }
            sql.push_str(&format!(" ORDER BY {}", parts.join(", ")));
        }
        self.scopes.truncate(depth);
        sql.push_str(&self.limit(query)?);
        Ok((sql, body.columns))
    }

    /// FOR UPDATE and its kin take the write lock.
    fn locks(&mut self, query: &Query) -> Result<()> {
        for lock in &query.locks {
            self.access = match lock.nonblock {
                Some(NonBlock::Nowait) => Access::WriteNowait,
                Some(NonBlock::SkipLocked) => Access::WriteSkipLocked,
                None => Access::Write,
            };
        }
        Ok(())
    }

    fn with(&mut self, with: Option<&With>) -> Result<String> {
        let Some(with) = with else { return Ok(String::new()) };
        let mut parts = Vec::new();
        for table in &with.cte_tables {
            let name = name_of(&table.alias.name);
            let renamed: Vec<String> =
                table.alias.columns.iter().map(|column| name_of(&column.name)).collect();
            if let SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) = table.query.body.as_ref() {
                return Err(SqlError::unsupported("a data-modifying statement in WITH"));
            }
            let recursive =
                with.recursive && matches!(table.query.body.as_ref(), SetExpr::SetOperation { .. });
            if let (true, SetExpr::SetOperation { left, .. }) = (recursive, table.query.body.as_ref()) {
                // The first part gives the columns that the second one sees.
                let depth = self.scopes.len();
                let first = self.body(left, None, &[])?;
                self.scopes.truncate(depth);
                self.tables
                    .push(CommonTable { name: name.clone(), columns: named(&first.columns, &renamed) });
            }
            let (sql, columns) = self.subquery(&table.query, None)?;
            let columns = named(&columns, &renamed);
            if recursive {
                self.tables.pop();
            }
            let names: Vec<String> = columns.iter().map(|(name, _)| quote(name)).collect();
            parts.push(format!("{} ({}) AS ({sql})", quote(&name), names.join(", ")));
            self.tables.push(CommonTable { name, columns });
        }
        let recursive = if with.recursive { "RECURSIVE " } else { "" };
        Ok(format!("WITH {recursive}{} ", parts.join(", ")))
    }

    /// The body of a query; the scope of a SELECT stays open, so that ORDER BY can use it.
    fn body(&mut self, body: &SetExpr, expected: Option<&[SqlType]>, order: &[OrderByExpr]) -> Result<Body> {
        match body {
            SetExpr::Select(select) => self.select(select, expected, order),
            SetExpr::Query(query) => {
                let (sql, columns) = self.subquery(query, expected)?;
                self.scopes.push(Scope::default());
                Ok(Body { sql: format!("SELECT * FROM ({sql})"), columns, ordered: false })
            }
            SetExpr::Values(values) => self.values(values, expected),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.set_operation(left, *op, *set_quantifier, right, expected)
            }
            SetExpr::Table(table) => {
                let name = table.table_name.clone().unwrap_or_default();
                Err(SqlError::unsupported(format!("TABLE {name}; write SELECT * FROM {name}")))
            }
            other => Err(SqlError::unsupported(format!("the query {other}"))),
        }
    }

    fn set_operation(
        &mut self,
        left: &SetExpr,
        operator: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
        expected: Option<&[SqlType]>,
    ) -> Result<Body> {
        let word = match (operator, quantifier) {
            (SetOperator::Union, SetQuantifier::All) => "UNION ALL",
            (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => "UNION",
            (SetOperator::Except, SetQuantifier::None | SetQuantifier::Distinct) => "EXCEPT",
            (SetOperator::Intersect, SetQuantifier::None | SetQuantifier::Distinct) => "INTERSECT",
            _ => return Err(SqlError::unsupported(format!("{operator} {quantifier}"))),
        };
        let depth = self.scopes.len();
        let first = self.body(left, expected, &[])?;
        self.scopes.truncate(depth);
        let types: Vec<SqlType> = first.columns.iter().map(|column| column.ty.clone()).collect();
        let second = self.body(right, Some(&types), &[])?;
        self.scopes.truncate(depth);
        if first.columns.len() != second.columns.len() {
            let message = format!("each {operator} query must have the same number of columns");
            return Err(SqlError::new(Condition::SyntaxError, message));
        }
        let mut common = Vec::new();
        for (one, other) in first.columns.iter().zip(&second.columns) {
            let pair = [Typed::new("", one.ty.clone()), Typed::new("", other.ty.clone())];
            common.push(Self::common_type(&pair, &operator.to_string())?);
        }
        let left_sql =
            self.converted(first.sql, &first.columns, &common, !matches!(left, SetExpr::Query(_)))?;
        let simple = matches!(right, SetExpr::Select(_) | SetExpr::Values(_));
        let right_sql = self.converted(second.sql, &second.columns, &common, simple)?;
        let columns = first.columns.into_iter().zip(common);
        let columns = columns.map(|(column, ty)| Output { ty, origin: None, ..column }).collect();
        self.scopes.push(Scope::default());
        Ok(Body { sql: format!("{left_sql} {word} {right_sql}"), columns, ordered: false })
    }

    /// A query whose columns become values of other types.
    fn converted(&mut self, sql: String, columns: &[Output], to: &[SqlType], simple: bool) -> Result<String> {
        if simple && columns.iter().zip(to).all(|(column, to)| column.ty.base() == *to) {
            return Ok(sql);
        }
        let mut items = Vec::new();
        for (at, (column, to)) in columns.iter().zip(to).enumerate() {
            let name = quote(&column.name);
            let part = Typed::new(format!("\"__c{at}\""), column.ty.clone());
            items.push(format!("{} AS {name}", self.coerce(part, to, Mode::Implicit)?.sql));
        }
        let names: Vec<String> = (0..columns.len()).map(|at| format!("\"__c{at}\"")).collect();
        let inner = format!("WITH __u({}) AS ({sql}) SELECT * FROM __u", names.join(", "));
        Ok(format!("SELECT {} FROM ({inner})", items.join(", ")))
    }

    fn values(&mut self, values: &Values, expected: Option<&[SqlType]>) -> Result<Body> {
        self.scopes.push(Scope::default());
        let mut columns: Vec<Vec<Typed>> = Vec::new();
        for row in &values.rows {
            columns.resize_with(row.content.len().max(columns.len()), Vec::new);
            if columns.iter().any(|column| column.len() != columns[0].len())
                || row.content.len() != columns.len()
            {
                return Err(SqlError::new(
                    Condition::SyntaxError,
                    "VALUES lists must all be the same length",
                ));
            }
            for (column, value) in columns.iter_mut().zip(&row.content) {
                column.push(self.expression(value)?);
            }
        }
        let mut outputs = Vec::new();
        let mut done = Vec::new();
        for (at, mut column) in columns.into_iter().enumerate() {
            if let Some(ty) = expected.and_then(|expected| expected.get(at))
                && column.iter().all(Typed::is_unknown)
            {
                column = column
                    .into_iter()
                    .map(|part| self.coerce(part, ty, Mode::Assignment))
                    .collect::<Result<_>>()?;
            }
            let (parts, ty) = self.unify(column, "VALUES")?;
            outputs.push(Output { name: format!("column{}", at + 1), ty, origin: None });
            done.push(parts);
        }
        let rows = (0..values.rows.len()).map(|row| {
            let items: Vec<&str> = done.iter().map(|column| column[row].sql.as_str()).collect();
            format!("({})", items.join(", "))
        });
        let sql = format!("VALUES {}", rows.collect::<Vec<_>>().join(", "));
        Ok(Body { sql: format!("SELECT * FROM ({sql})"), columns: outputs, ordered: false })
    }

    fn limit(&mut self, query: &Query) -> Result<String> {
        let (limit, offset) = match (&query.limit_clause, &query.fetch) {
            (None, Some(fetch)) => (fetch.quantity.clone(), None),
            (None, None) => return Ok(String::new()),
            (Some(LimitClause::LimitOffset { limit, offset, limit_by }), fetch) if limit_by.is_empty() => {
                let limit = limit.clone().or_else(|| fetch.as_ref().and_then(|fetch| fetch.quantity.clone()));
                (limit, offset.as_ref().map(|offset| offset.value.clone()))
            }
            (Some(other), _) => return Err(SqlError::unsupported(format!("the clause{other}"))),
        };
        let mut number = |part: Option<Expr>, name: &str, none: &str| -> Result<String> {
            let Some(part) = part else { return Ok(none.to_owned()) };
            let part = self.expression(&part)?;
            let part = self.coerce(part, &SqlType::Int8, Mode::Assignment)?.sql;
            let message = text_literal(&format!("{name} must not be negative"));
            Ok(format!(
                "coalesce(CASE WHEN {part} < 0 THEN x_raise('2201W', {message}) ELSE {part} END, {none})"
            ))
        };
        let limit = number(limit, "LIMIT", "-1")?;
        let offset = number(offset, "OFFSET", "0")?;
        Ok(format!(" LIMIT {limit} OFFSET {offset}"))
    }
}

/// The columns of a table that WITH made, by new names where there are.
fn named(columns: &[Output], renamed: &[String]) -> Vec<(String, SqlType)> {
    let name =
        |(at, column): (usize, &Output)| (renamed.get(at).unwrap_or(&column.name).clone(), column.ty.clone());
    columns.iter().enumerate().map(name).collect()
}
