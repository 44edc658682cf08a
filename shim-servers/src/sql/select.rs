//! One SELECT: its list, its groups, DISTINCT ON.
//!
//! Owns how columns of a result are named. Must not know UNION and LIMIT. Invariant: a column that is neither a key nor in an aggregate is refused where its
//! value would be any.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, OrderByExpr, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Value,
};

use super::coerce::Mode;
use super::names::{name_of, split_name};
use super::order::{alias_of, ordered, ordinal};
use super::query::Body;
use super::scope::{Scope, Source};
use super::sets;
use super::{Output, Planner};
use crate::engine::{Condition, Result, SqlError, SqlType, quote};

impl Planner<'_> {
    pub(crate) fn select(
        &mut self,
        select: &Select,
        expected: Option<&[SqlType]>,
        order: &[OrderByExpr],
    ) -> Result<Body> {
        refuse_parts(select)?;
        if let Some(moved) = sets::moved(select)? {
            return self.select(&moved, expected, order);
        }
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
}

fn push_all(source: &Source, outputs: &mut Vec<(Output, String)>) {
    for column in source.columns.iter().filter(|column| !column.hidden) {
        let output = Output { name: column.name.clone(), ty: column.ty.clone(), origin: column.origin };
        outputs.push((output, column.sql.clone()));
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
