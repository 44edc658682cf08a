//! FROM: tables, views, functions that give rows, and joins.
//!
//! Owns what each table's columns are called in SQLite. Must not know conditions. Invariant: what FROM names is in the innermost scope, in the
//! order of writing.

use sqlparser::ast::{
    FunctionArg, FunctionArgExpr, Join, JoinConstraint, JoinOperator, ObjectName, Statement, TableAlias,
    TableFactor, TableWithJoins,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use super::coerce::{Mode, text_literal};
use super::names::{name_of, split_name};
use super::scope::{Source, SourceColumn};
use super::{Output, Planner, Typed};
use crate::engine::{Condition, Relation, RelationKind, Result, SqlError, SqlType, quote};

/// How deep views of views go.
const MAX_VIEWS: usize = 32;

impl Planner<'_> {
    /// All tables of FROM, entered into the innermost scope.
    pub(crate) fn from(&mut self, tables: &[TableWithJoins]) -> Result<String> {
        let mut parts = Vec::new();
        for table in tables {
            parts.push(self.joined_table(table)?);
        }
        Ok(parts.join(", "))
    }

    fn joined_table(&mut self, table: &TableWithJoins) -> Result<String> {
        let mut sql = self.factor(&table.relation)?;
        for join in &table.joins {
            sql = self.join(sql, join)?;
        }
        Ok(sql)
    }

    fn join(&mut self, left: String, join: &Join) -> Result<String> {
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN", constraint),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => ("LEFT JOIN", constraint),
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                ("RIGHT JOIN", constraint)
            }
            JoinOperator::FullOuter(constraint) => ("FULL JOIN", constraint),
            JoinOperator::CrossJoin(constraint) => ("CROSS JOIN", constraint),
            _ => return Err(SqlError::unsupported(format!("the join {join}"))),
        };
        let before = self.scopes.last().map_or(0, |scope| scope.sources.len());
        let right = self.factor(&join.relation)?;
        let on = match constraint {
            JoinConstraint::On(condition) => {
                let condition = self.expression(condition)?;
                format!(" ON {}", self.boolean(condition, "JOIN/ON")?.sql)
            }
            JoinConstraint::Using(names) => {
                let names = names.iter().map(|name| split_name(name).map(|(_, name)| name));
                self.using(&names.collect::<Result<Vec<_>>>()?, before, word)?
            }
            JoinConstraint::Natural => {
                let names = self.common_columns(before);
                self.using(&names, before, word)?
            }
            JoinConstraint::None => String::new(),
        };
        Ok(format!("{left} {word} {right}{on}"))
    }

    fn common_columns(&self, before: usize) -> Vec<String> {
        let Some(scope) = self.scopes.last() else { return Vec::new() };
        let (left, right) = scope.sources.split_at(before);
        let has = |name: &String| {
            right
                .iter()
                .flat_map(|source| &source.columns)
                .any(|column| column.name == *name && !column.hidden)
        };
        let names = left.iter().flat_map(|source| &source.columns).filter(|column| !column.hidden);
        names.map(|column| column.name.clone()).filter(has).collect()
    }

    /// Two columns of one name become one: the left one, or the right one of a RIGHT JOIN, or the first that is there.
    fn using(&mut self, names: &[String], before: usize, word: &str) -> Result<String> {
        let mut conditions = Vec::new();
        for name in names {
            let find = |sources: &[Source]| {
                let mut columns = sources.iter().flat_map(|source| &source.columns);
                columns.find(|column| column.name == *name && !column.hidden).cloned()
            };
            let sources = self.scopes.last().map(|scope| scope.sources.clone()).unwrap_or_default();
            let pair = find(&sources[..before]).zip(find(&sources[before..]));
            let (left, right) = pair.ok_or_else(|| {
                let message =
                    format!("column \"{name}\" specified in USING clause does not exist in both tables");
                SqlError::new(Condition::UndefinedColumn, message)
            })?;
            let equal = self.compare(left.typed(), &sqlparser::ast::BinaryOperator::Eq, right.typed())?;
            conditions.push(equal.sql);
            let merged = match word {
                "FULL JOIN" => format!("coalesce({}, {})", left.sql, right.sql),
                "RIGHT JOIN" => right.sql.clone(),
                _ => left.sql.clone(),
            };
            let Some(scope) = self.scopes.last_mut() else { continue };
            for (at, source) in scope.sources.iter_mut().enumerate() {
                for column in source.columns.iter_mut().filter(|column| column.name == *name) {
                    if at < before && !column.hidden {
                        column.sql.clone_from(&merged);
                    } else {
                        column.hidden = true;
                    }
                }
            }
        }
        Ok(if conditions.is_empty() { String::new() } else { format!(" ON {}", conditions.join(" AND ")) })
    }

    fn factor(&mut self, factor: &TableFactor) -> Result<String> {
        match factor {
            TableFactor::Table { name, alias, args: None, with_ordinality: false, .. } => {
                self.named_table(name, alias.as_ref())
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.table_function(name, &args.args, alias.as_ref(), *with_ordinality)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.table_function(name, args, alias.as_ref(), *with_ordinality)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                let arrays = array_exprs.iter().map(|array| self.expression(array));
                let arrays = arrays.collect::<Result<Vec<_>>>()?;
                self.unnest_all(arrays, alias.as_ref(), *with_ordinality)
            }
            TableFactor::Derived { lateral: false, subquery, alias, .. } => {
                let (sql, columns) = self.derived(|planner| planner.subquery(subquery, None))?;
                let name = alias.as_ref().map_or_else(|| self.invented("q"), |alias| name_of(&alias.name));
                self.enter(&name, alias.as_ref(), &columns);
                Ok(format!("({sql}) AS {}", quote(&name)))
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                Ok(format!("({})", self.joined_table(table_with_joins)?))
            }
            other => Err(SqlError::unsupported(format!("the table {other}"))),
        }
    }

    /// A table of FROM that does not see the ones beside it.
    fn derived<R>(&mut self, plan: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let own = self.scopes.pop();
        let result = plan(self);
        self.scopes.extend(own);
        result
    }

    fn invented(&self, prefix: &str) -> String {
        let count = self.scopes.last().map_or(0, |scope| scope.sources.len());
        format!("__{prefix}{count}")
    }

    /// Enters a table whose columns are called as its outputs are.
    fn enter(&mut self, name: &str, alias: Option<&TableAlias>, columns: &[Output]) {
        let renamed: Vec<String> = alias
            .map(|alias| alias.columns.iter().map(|column| name_of(&column.name)).collect())
            .unwrap_or_default();
        let columns = columns.iter().enumerate().map(|(at, column)| SourceColumn {
            name: renamed.get(at).unwrap_or(&column.name).clone(),
            ty: column.ty.clone(),
            sql: format!("{}.{}", quote(name), quote(&column.name)),
            origin: column.origin,
            hidden: false,
        });
        let source = Source { alias: name.to_owned(), columns: columns.collect() };
        if let Some(scope) = self.scopes.last_mut() {
            scope.sources.push(source);
        }
    }

    fn named_table(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Result<String> {
        let (schema, table) = split_name(name)?;
        let known = alias.map_or_else(|| table.clone(), |alias| name_of(&alias.name));
        if self.scopes.last().is_some_and(|scope| scope.sources.iter().any(|source| source.alias == known)) {
            let message = format!("table name \"{known}\" specified more than once");
            return Err(SqlError::new(Condition::DuplicateAlias, message));
        }
        if schema.is_none()
            && let Some(common) = self.tables.iter().rev().find(|common| common.name == table)
        {
            let columns: Vec<Output> = common.columns.iter().map(output).collect();
            self.enter(&known, alias, &columns);
            return Ok(format!("{} AS {}", quote(&table), quote(&known)));
        }
        let path = self.around.search_path;
        if let Some(relation) = self.around.catalog.relation(schema.as_deref(), &table, path).cloned() {
            let columns = relation_outputs(&relation);
            let sql = match &relation.kind {
                RelationKind::Table => quote(&relation.sqlite_name()),
                RelationKind::View(text) => format!("({})", self.view(text, &columns)?),
            };
            self.enter(&known, alias, &columns);
            return Ok(format!("{sql} AS {}", quote(&known)));
        }
        if let Some(columns) = (self.around.system)(schema.as_deref(), &table) {
            let items: Vec<String> = columns
                .iter()
                .enumerate()
                .map(|(at, (column, _))| format!("json_extract(value, '$[{at}]') AS {}", quote(column)))
                .collect();
            let columns: Vec<Output> = columns
                .iter()
                .map(|(name, code)| {
                    output(&((*name).to_owned(), SqlType::from_code(code).unwrap_or(SqlType::Text)))
                })
                .collect();
            self.enter(&known, alias, &columns);
            let rows = format!("json_each(x_system({}))", text_literal(&table));
            return Ok(format!("(SELECT {} FROM {rows}) AS {}", items.join(", "), quote(&known)));
        }
        let shown = schema.map_or_else(|| table.clone(), |schema| format!("{schema}.{table}"));
        let place = name.0.first().and_then(|part| part.as_ident()).map_or(0, |ident| self.at(ident.span));
        let message = format!("relation \"{shown}\" does not exist");
        Err(SqlError::new(Condition::UndefinedTable, message).position(place))
    }

    /// The query of a view, planned here and now.
    fn view(&mut self, text: &str, columns: &[Output]) -> Result<String> {
        self.views += 1;
        if self.views > MAX_VIEWS {
            return Err(SqlError::unsupported("views of so many views"));
        }
        let statements = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(SqlError::internal)?;
        let [Statement::Query(query)] = &statements[..] else {
            return Err(SqlError::internal("a view that is no query"));
        };
        let (scopes, tables) = (std::mem::take(&mut self.scopes), std::mem::take(&mut self.tables));
        let planned = self.subquery(query, None);
        (self.scopes, self.tables) = (scopes, tables);
        let (sql, _) = planned?;
        self.views -= 1;
        let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
        Ok(format!("WITH __v({}) AS ({sql}) SELECT * FROM __v", names.join(", ")))
    }

    fn table_function(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
        ordinality: bool,
    ) -> Result<String> {
        let (_, function) = split_name(name)?;
        let mut parts = Vec::new();
        for argument in args {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument else {
                return Err(SqlError::unsupported(format!("the argument {argument} of {function}")));
            };
            parts.push(self.expression(expression)?);
        }
        match (function.as_str(), parts.len()) {
            ("generate_series", 2 | 3) if !ordinality => self.series(parts, alias),
            ("unnest", 1..) => self.unnest_all(parts, alias, ordinality),
            ("jsonb_array_elements" | "json_array_elements", 1) => {
                let ty = if function.starts_with("jsonb") { SqlType::Jsonb } else { SqlType::Json };
                let json = self.coerce(parts.remove(0), &ty, Mode::Implicit)?;
                let value = if ty == SqlType::Jsonb {
                    "x_jsonb(@.json -> @.fullkey)"
                } else {
                    "(@.json -> @.fullkey)"
                };
                self.each(&json.sql, value, ty, alias, ordinality)
            }
            ("jsonb_array_elements_text" | "json_array_elements_text", 1) => {
                let json = self.coerce(parts.remove(0), &SqlType::Jsonb, Mode::Implicit)?;
                self.each(&json.sql, "(@.json ->> @.fullkey)", SqlType::Text, alias, ordinality)
            }
            _ => Err(SqlError::unsupported(format!("function {function} in FROM"))),
        }
    }

    /// Rows of `json_each`, one column; `@` in `value` is the table.
    fn each(
        &mut self,
        json: &str,
        value: &str,
        ty: SqlType,
        alias: Option<&TableAlias>,
        ordinality: bool,
    ) -> Result<String> {
        let name = alias.map_or_else(|| self.invented("e"), |alias| name_of(&alias.name));
        let column = match alias.and_then(|alias| alias.columns.first()) {
            Some(column) => name_of(&column.name),
            None if alias.is_some() && !ordinality => name.clone(),
            None => "value".to_owned(),
        };
        let mut columns = vec![SourceColumn {
            name: column,
            ty,
            sql: value.replace('@', &quote(&name)),
            origin: None,
            hidden: false,
        }];
        if ordinality {
            let number = alias.and_then(|alias| alias.columns.get(1)).map(|column| name_of(&column.name));
            columns.push(SourceColumn {
                name: number.unwrap_or_else(|| "ordinality".to_owned()),
                ty: SqlType::Int8,
                sql: format!("({}.key + 1)", quote(&name)),
                origin: None,
                hidden: false,
            });
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.sources.push(Source { alias: name.clone(), columns });
        }
        Ok(format!("json_each({json}) AS {}", quote(&name)))
    }

    /// An array, and the type of its elements.
    fn array_operand(&mut self, array: Typed) -> Result<(Typed, SqlType)> {
        let array = if array.is_unknown() {
            self.coerce(array, &SqlType::Text.array(), Mode::Implicit)?
        } else {
            array
        };
        match array.ty.clone() {
            SqlType::Array(element) => Ok((array, *element)),
            other => {
                let message = format!("function unnest({}) does not exist", other.display_name());
                Err(SqlError::new(Condition::UndefinedFunction, message))
            }
        }
    }

    /// Arrays side by side: rows by the places of their elements, and NULL where an array has ended.
    fn unnest_all(
        &mut self,
        mut arrays: Vec<Typed>,
        alias: Option<&TableAlias>,
        ordinality: bool,
    ) -> Result<String> {
        if arrays.len() == 1 {
            return self.unnest(arrays.remove(0), alias, ordinality);
        }
        let width = arrays.len();
        let (mut parts, mut items, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (at, array) in arrays.into_iter().enumerate() {
            let (array, element) = self.array_operand(array)?;
            let values: Vec<String> = (0..width)
                .map(|v| if v == at { "value" } else { "NULL" }.to_owned() + &format!(" AS v{v}"))
                .collect();
            parts.push(format!("SELECT key AS k, {} FROM json_each({})", values.join(", "), array.sql));
            let value =
                if element == SqlType::Bytea { format!("unhex(max(v{at}))") } else { format!("max(v{at})") };
            items.push(value);
            columns.push(output(&("unnest".to_owned(), element)));
        }
        if ordinality {
            items.push("k + 1".to_owned());
            columns.push(output(&("ordinality".to_owned(), SqlType::Int8)));
        }
        for (at, column) in alias.iter().flat_map(|alias| &alias.columns).enumerate().take(columns.len()) {
            columns[at].name = name_of(&column.name);
        }
        let name = alias.map_or_else(|| self.invented("u"), |alias| name_of(&alias.name));
        let inner: Vec<String> =
            items.iter().enumerate().map(|(at, sql)| format!("{sql} AS \"__c{at}\"")).collect();
        let sources = columns.iter().enumerate().map(|(at, column)| SourceColumn {
            name: column.name.clone(),
            ty: column.ty.clone(),
            sql: format!("{}.\"__c{at}\"", quote(&name)),
            origin: None,
            hidden: false,
        });
        let source = Source { alias: name.clone(), columns: sources.collect() };
        if let Some(scope) = self.scopes.last_mut() {
            scope.sources.push(source);
        }
        let (inner, parts) = (inner.join(", "), parts.join(" UNION ALL "));
        Ok(format!("(SELECT {inner} FROM ({parts}) GROUP BY k ORDER BY k) AS {}", quote(&name)))
    }

    fn unnest(&mut self, array: Typed, alias: Option<&TableAlias>, ordinality: bool) -> Result<String> {
        let (array, element) = self.array_operand(array)?;
        let value = if element == SqlType::Bytea { "unhex(@.value)" } else { "@.value" };
        let named = alias.is_some();
        let sql = self.each(&array.sql, value, element, alias, ordinality)?;
        if !named
            && let Some(column) =
                self.scopes.last_mut().and_then(|s| s.sources.last_mut()?.columns.first_mut())
        {
            "unnest".clone_into(&mut column.name);
        }
        Ok(sql)
    }

    fn series(&mut self, mut parts: Vec<Typed>, alias: Option<&TableAlias>) -> Result<String> {
        let step = (parts.len() == 3).then(|| parts.remove(2));
        let (parts, ty) = self.unify(parts, "generate_series")?;
        let (start, end) = (&parts[0].sql, &parts[1].sql);
        let (ty, next, up) = if ty.is_date() {
            let ty = if ty == SqlType::Date { SqlType::Timestamptz } else { ty };
            let step = step.ok_or_else(|| {
                let message = "function generate_series(timestamp, timestamp) does not exist";
                SqlError::new(Condition::UndefinedFunction, message)
            })?;
            let step = self.coerce(step, &SqlType::Interval, Mode::Implicit)?.sql;
            (ty, format!("x_span('timestamp+', n, {step})"), format!("x_span('us', {step}, '') > 0"))
        } else if ty.is_integer() {
            let step = match step {
                Some(step) => self.coerce(step, &ty, Mode::Implicit)?.sql,
                None => "1".to_owned(),
            };
            (ty, format!("n + {step}"), format!("{step} > 0"))
        } else {
            return Err(SqlError::unsupported(format!("generate_series of {}", ty.display_name())));
        };
        let (mut start, mut end) = (start.clone(), end.clone());
        if ty == SqlType::Timestamptz {
            for (bound, part) in [(&mut start, &parts[0]), (&mut end, &parts[1])] {
                *bound = self.coerce(part.clone(), &ty, Mode::Implicit)?.sql;
            }
        }
        let name = alias.map_or_else(|| "generate_series".to_owned(), |alias| name_of(&alias.name));
        let column =
            alias.and_then(|alias| alias.columns.first()).map_or_else(|| name.clone(), |c| name_of(&c.name));
        let test = |value: &str| format!("CASE WHEN {up} THEN {value} <= {end} ELSE {value} >= {end} END");
        let sql = format!(
            "(WITH RECURSIVE __s(n) AS (SELECT {start} WHERE {} UNION ALL SELECT {next} FROM __s WHERE {}) SELECT n AS {} FROM __s) AS {}",
            test(&start),
            test(&next),
            quote(&column),
            quote(&name)
        );
        let columns = [Output { name: column, ty, origin: None }];
        self.enter(&name, None, &columns);
        Ok(sql)
    }
}

fn output((name, ty): &(String, SqlType)) -> Output {
    Output { name: name.clone(), ty: ty.clone(), origin: None }
}

/// The columns of a relation, each with its origin.
pub(crate) fn relation_outputs(relation: &Relation) -> Vec<Output> {
    let column = |column: &crate::engine::Column| Output {
        name: column.name.clone(),
        ty: column.ty.clone(),
        origin: Some((relation.oid, column.number)),
    };
    relation.columns.iter().map(column).collect()
}
