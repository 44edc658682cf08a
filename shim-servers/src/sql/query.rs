//! Queries: SELECT, VALUES, UNION, WITH, ORDER BY, LIMIT.
//!
//! Owns how the parts of a query see each other's names. Must not know where tables come from. Invariant: the columns of a query are named
//! and typed in order, and SQLite's columns are the same.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, LimitClause, NonBlock, OrderBy, OrderByExpr, OrderByKind, OrderBySort,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier,
    Statement, Value, Values, With,
};

use super::coerce::{Mode, text_literal};
use super::expression::collation;
use super::names::{name_of, split_name};
use super::scope::{CommonTable, Scope, Source};
use super::{Output, Planned, Planner, Typed};
use crate::engine::{Access, Condition, Result, SqlError, SqlType, quote};

/// What a body is: its text, its columns, and whether ORDER BY can follow it.
struct Body {
    sql: String,
    columns: Vec<Output>,
    /// Terms of ORDER BY that DISTINCT ON put in already.
    ordered: bool,
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
            if let Some(ty) = expected.and_then(|expected| expected.get(at)) {
                if column.iter().all(Typed::is_unknown) {
                    column = column
                        .into_iter()
                        .map(|part| self.coerce(part, ty, Mode::Assignment))
                        .collect::<Result<_>>()?;
                }
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

    fn select(
        &mut self,
        select: &Select,
        expected: Option<&[SqlType]>,
        order: &[OrderByExpr],
    ) -> Result<Body> {
        refuse_parts(select)?;
        self.scopes.push(Scope::default());
        let from = self.from(&select.from)?;
        let condition = match &select.selection {
            Some(condition) => {
                let condition = self.expression(condition)?;
                format!(" WHERE {}", self.boolean(condition, "WHERE")?.sql)
            }
            None => String::new(),
        };
        let items = self.items(&select.projection, expected)?;
        let group = self.group_by(&select.group_by, select, &items)?;
        let having = match &select.having {
            Some(having) => {
                let having = self.expression(having)?;
                format!(" HAVING {}", self.boolean(having, "HAVING")?.sql)
            }
            None => String::new(),
        };
        let columns: Vec<Output> = items.iter().map(|(output, _)| output.clone()).collect();
        let listed: Vec<String> =
            items.iter().map(|(output, sql)| format!("{sql} AS {}", quote(&output.name))).collect();
        let from = if from.is_empty() { from } else { format!(" FROM {from}") };
        let tail = format!("{from}{condition}{group}{having}");
        match &select.distinct {
            Some(Distinct::On(keys)) => self.distinct_on(keys, &items, &tail, order),
            distinct => {
                let word = if matches!(distinct, Some(Distinct::Distinct)) { "DISTINCT " } else { "" };
                let listed = if listed.is_empty() { "NULL".to_owned() } else { listed.join(", ") };
                Ok(Body { sql: format!("SELECT {word}{listed}{tail}"), columns, ordered: false })
            }
        }
    }

    /// DISTINCT ON: the first row of each group, by its number in the group.
    fn distinct_on(
        &mut self,
        keys: &[Expr],
        items: &[(Output, String)],
        tail: &str,
        order: &[OrderByExpr],
    ) -> Result<Body> {
        let columns: Vec<Output> = items.iter().map(|(output, _)| output.clone()).collect();
        let mut partition = Vec::new();
        for key in keys {
            let key = self.expression(key)?;
            partition.push(self.decided(key)?.sql);
        }
        let mut terms = Vec::new();
        for term in order {
            terms.push(
                match alias_of(&term.expr)
                    .and_then(|name| items.iter().find(|(output, _)| output.name == name))
                {
                    Some((output, sql)) => ordered(&self.comparable(sql, &output.ty, true), &output.ty, term),
                    None => self.order_term(term)?,
                },
            );
        }
        let by = if terms.is_empty() { String::new() } else { format!(" ORDER BY {}", terms.join(", ")) };
        let listed: Vec<String> =
            items.iter().enumerate().map(|(at, (_, sql))| format!("{sql} AS \"__c{at}\"")).collect();
        let outer: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(at, output)| format!("\"__c{at}\" AS {}", quote(&output.name)))
            .collect();
        let sql = format!(
            "SELECT {} FROM (SELECT {}, row_number() OVER (PARTITION BY {}{by}) AS __first, row_number() OVER ({}) AS __order{tail}) \
             WHERE __first = 1 ORDER BY __order",
            outer.join(", "),
            listed.join(", "),
            partition.join(", "),
            by.trim_start()
        );
        Ok(Body { sql, columns, ordered: true })
    }

    /// The select list: names and types of its columns, and SQLite's text of each.
    pub(crate) fn items(
        &mut self,
        items: &[SelectItem],
        expected: Option<&[SqlType]>,
    ) -> Result<Vec<(Output, String)>> {
        let mut outputs = Vec::new();
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let output =
                        self.item(expression, None, expected.and_then(|types| types.get(outputs.len())))?;
                    outputs.push(output);
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let name = Some(name_of(alias));
                    let output =
                        self.item(expr, name, expected.and_then(|types| types.get(outputs.len())))?;
                    outputs.push(output);
                }
                SelectItem::Wildcard(_) => {
                    let sources = self.scopes.last().map(|scope| scope.sources.clone()).unwrap_or_default();
                    if sources.is_empty() {
                        let message = "SELECT * with no tables specified is not valid";
                        return Err(SqlError::new(Condition::SyntaxError, message));
                    }
                    sources.iter().for_each(|source| push_all(source, &mut outputs));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let (_, table) = split_name(name)?;
                    let source = self.source(&table).cloned().ok_or_else(|| {
                        let message = format!("missing FROM-clause entry for table \"{table}\"");
                        SqlError::new(Condition::UndefinedTable, message)
                    })?;
                    for column in &source.columns {
                        let output = Output {
                            name: column.name.clone(),
                            ty: column.ty.clone(),
                            origin: column.origin,
                        };
                        outputs.push((output, column.sql.clone()));
                    }
                }
                other => return Err(SqlError::unsupported(format!("the column {other}"))),
            }
        }
        Ok(outputs)
    }

    fn item(
        &mut self,
        written: &Expr,
        name: Option<String>,
        expected: Option<&SqlType>,
    ) -> Result<(Output, String)> {
        let part = self.expression(written)?;
        let part = match expected {
            Some(ty) if part.is_unknown() => self.coerce(part, ty, Mode::Assignment)?,
            _ => self.decided(part)?,
        };
        let name = name.unwrap_or_else(|| column_name(written));
        Ok((Output { name, ty: part.ty, origin: part.origin }, part.sql))
    }

    fn group_by(
        &mut self,
        group: &GroupByExpr,
        select: &Select,
        items: &[(Output, String)],
    ) -> Result<String> {
        let GroupByExpr::Expressions(keys, modifiers) = group else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(SqlError::unsupported("GROUP BY with a modifier"));
        }
        let mut parts = Vec::new();
        for key in keys {
            if let Some(at) = ordinal(key) {
                let item = at.checked_sub(1).and_then(|at| items.get(at)).ok_or_else(|| {
                    let message = format!("GROUP BY position {at} is not in select list");
                    SqlError::new(Condition::InvalidColumnReference, message)
                })?;
                parts.push(item.1.clone());
                continue;
            }
            let alias = alias_of(key).filter(|name| !self.has_column(name));
            match alias.and_then(|name| items.iter().find(|(output, _)| output.name == name)) {
                Some((_, sql)) => parts.push(sql.clone()),
                None => {
                    let key = self.expression(key)?;
                    parts.push(self.decided(key)?.sql);
                }
            }
        }
        if parts.is_empty() {
            return Ok(String::new());
        }
        self.check_grouping(&parts, select)?;
        Ok(format!(" GROUP BY {}", parts.join(", ")))
    }

    /// A plain column of the list has to be a key, or belong to a table whose primary key is among them.
    fn check_grouping(&mut self, keys: &[String], select: &Select) -> Result<()> {
        for item in &select.projection {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
                continue;
            };
            if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) {
                continue;
            }
            let column = self.expression(expr)?;
            let Some((table, _)) = column.origin.filter(|_| !keys.contains(&column.sql)) else { continue };
            let relation = self.around.catalog.relations.values().find(|relation| relation.oid == table);
            let by_key = relation
                .and_then(|relation| relation.primary_key())
                .is_some_and(|key| key.iter().all(|part| keys.iter().any(|sql| sql.ends_with(&quote(part)))));
            if !by_key {
                let name = expr.to_string();
                let message = format!(
                    "column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function"
                );
                return Err(SqlError::new(Condition::GroupingError, message));
            }
        }
        Ok(())
    }

    /// A term of ORDER BY after a query: a column of its result, by number or name, or an expression.
    fn output_order(&mut self, term: &OrderByExpr, columns: &[Output]) -> Result<String> {
        if let Some(at) = ordinal(&term.expr) {
            let column = at.checked_sub(1).and_then(|at| columns.get(at)).ok_or_else(|| {
                let message = format!("ORDER BY position {at} is not in select list");
                SqlError::new(Condition::InvalidColumnReference, message)
            })?;
            return Ok(self.order_by_output(at, column, term));
        }
        let name = alias_of(&term.expr);
        match name.and_then(|name| columns.iter().position(|column| column.name == name)) {
            Some(at) => Ok(self.order_by_output(at + 1, &columns[at], term)),
            None => self.order_term(term),
        }
    }

    fn order_by_output(&self, number: usize, column: &Output, term: &OrderByExpr) -> String {
        let by_value = matches!(column.ty, SqlType::Enum(..) | SqlType::Interval);
        let sql = if by_value { quote(&column.name) } else { number.to_string() };
        ordered(
            &self.comparable(&sql, &if by_value { column.ty.clone() } else { SqlType::Text }, true),
            &column.ty,
            term,
        )
    }

    fn order_term(&mut self, term: &OrderByExpr) -> Result<String> {
        let part = self.expression(&term.expr)?;
        let part = self.decided(part)?;
        // A constant would be taken for the number of a column.
        let sql = if part.sql.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("+{}", part.sql)
        } else {
            part.sql
        };
        Ok(ordered(&self.comparable(&sql, &part.ty, true), &part.ty, term))
    }

    pub(crate) fn order_terms(&mut self, terms: &[OrderByExpr]) -> Result<String> {
        let terms = terms.iter().map(|term| self.order_term(term)).collect::<Result<Vec<_>>>()?;
        Ok(terms.join(", "))
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

fn push_all(source: &Source, outputs: &mut Vec<(Output, String)>) {
    for column in source.columns.iter().filter(|column| !column.hidden) {
        let output = Output { name: column.name.clone(), ty: column.ty.clone(), origin: column.origin };
        outputs.push((output, column.sql.clone()));
    }
}

/// A term with direction and place of NULL: last when ascending, first when descending, unless it is said.
fn ordered(sql: &str, ty: &SqlType, term: &OrderByExpr) -> String {
    let descending = matches!(term.options.sort, Some(OrderBySort::Desc));
    let nulls_first = term.options.nulls_first.unwrap_or(descending);
    let (direction, nulls) =
        (if descending { "DESC" } else { "ASC" }, if nulls_first { "FIRST" } else { "LAST" });
    format!("{sql}{} {direction} NULLS {nulls}", collation(ty))
}

/// The number of a column, where a term is a number.
fn ordinal(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

fn alias_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(ident) => Some(name_of(ident)),
        _ => None,
    }
}

/// The name that PostgreSQL gives a column without one.
fn column_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(ident) => name_of(ident),
        Expr::CompoundIdentifier(idents) => idents.last().map(name_of).unwrap_or_default(),
        Expr::Function(function) => {
            split_name(&function.name).map_or_else(|_| "?column?".to_owned(), |(_, name)| name)
        }
        Expr::Cast { expr, data_type, .. } => match column_name(expr).as_str() {
            "?column?" => {
                let surroundings = sqlparser_type_name(data_type);
                surroundings.unwrap_or_else(|| "?column?".to_owned())
            }
            inner => inner.to_owned(),
        },
        Expr::Nested(inner) => column_name(inner),
        Expr::Case { else_result: Some(inner), .. } => match column_name(inner).as_str() {
            "?column?" => "case".to_owned(),
            inner => inner.to_owned(),
        },
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => "bool".to_owned(),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(inner)) => column_name(inner),
                Some(SelectItem::ExprWithAlias { alias, .. }) => name_of(alias),
                _ => "?column?".to_owned(),
            },
            _ => "?column?".to_owned(),
        },
        _ => "?column?".to_owned(),
    }
}

/// The short name of a written built-in type.
fn sqlparser_type_name(written: &sqlparser::ast::DataType) -> Option<String> {
    let catalog = crate::engine::Catalog::default();
    let around = super::Surroundings {
        catalog: &catalog,
        search_path: &[],
        system: |_, _| None,
        version: "",
        text: "",
    };
    super::names::data_type(written, &around).ok().map(|ty| ty.short_name())
}

fn refuse_parts(select: &Select) -> Result<()> {
    let refused = [
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (!select.named_window.is_empty(), "a named window"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (
            !select.cluster_by.is_empty() || !select.distribute_by.is_empty() || !select.sort_by.is_empty(),
            "CLUSTER BY",
        ),
    ];
    match refused.iter().find(|(present, _)| *present) {
        Some((_, name)) => Err(SqlError::unsupported(*name)),
        None => Ok(()),
    }
}
