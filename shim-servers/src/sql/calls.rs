//! Functions by name.
//!
//! Owns the list of functions, aggregates and window functions. Must not know syntax. Invariant: a function that is not listed does not
//! exist, as the client is told.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, OrderByExpr,
};

use super::coerce::{Mode, text_literal};
use super::forms::SIMPLE;
use super::names::split_name;
use super::{Kind, Planner, Typed};
use crate::engine::{Condition, Result, SqlError, SqlType};
use SqlType as T;

impl Planner<'_> {
    /// A call of a function.
    pub(crate) fn call(&mut self, function: &Function) -> Result<Typed> {
        let (schema, name) = split_name(&function.name)?;
        if schema.as_deref().is_some_and(|schema| schema != "pg_catalog" && schema != "public") {
            return Err(SqlError::unsupported(format!("function {}", function.name)));
        }
        let (written, distinct, order_by) = arguments(function)?;
        if let Some(found) = self.aggregate(&name, function, &written, distinct, order_by)? {
            return Ok(found);
        }
        if distinct || !order_by.is_empty() || function.over.is_some() || function.filter.is_some() {
            return Err(SqlError::unsupported(format!("{name} with DISTINCT, ORDER BY, FILTER or OVER")));
        }
        let mut parts = Vec::new();
        for argument in written {
            parts.push(self.expression(argument)?);
        }
        if let Some(found) = self.special(&name, &parts)? {
            return Ok(found);
        }
        for (own, types, result, template) in SIMPLE {
            if *own == name && types.len() == parts.len() {
                return self.simple(types, result, template, parts).map_err(|error| undefined(&name, error));
            }
        }
        let types: Vec<String> = parts.iter().map(|part| part.ty.display_name()).collect();
        let message = format!("function {name}({}) does not exist", types.join(", "));
        let place =
            function.name.0.first().and_then(|part| part.as_ident()).map_or(0, |ident| self.at(ident.span));
        Err(SqlError::new(Condition::UndefinedFunction, message).position(place).hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        ))
    }

    fn simple(&mut self, types: &[&str], result: &str, template: &str, parts: Vec<Typed>) -> Result<Typed> {
        let mut sqls = Vec::new();
        for (part, code) in parts.into_iter().zip(types) {
            sqls.push(self.coerce(part, &of(code), Mode::Implicit)?.sql);
        }
        // In one go: what is put in may look like a place itself.
        let mut pieces = template.split('{');
        let mut sql = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (at, rest) = piece.split_once('}').unwrap_or(("", piece));
            let part = at.parse::<usize>().ok().and_then(|at| sqls.get(at));
            sql.push_str(part.ok_or_else(|| SqlError::internal(format!("a wrong template: {template}")))?);
            sql.push_str(rest);
        }
        Ok(Typed::new(sql, of(result)))
    }

    /// Functions whose result depends on the types of their arguments.
    fn special(&mut self, name: &str, parts: &[Typed]) -> Result<Option<Typed>> {
        Ok(Some(match (name, parts.len()) {
            ("coalesce", 1..) => {
                let (parts, ty) = self.unify(parts.to_vec(), "COALESCE")?;
                let sqls = joined(&parts);
                Typed::new(if parts.len() == 1 { sqls } else { format!("coalesce({sqls})") }, ty)
            }
            ("greatest" | "least", 1..) => {
                let (parts, ty) = self.unify(parts.to_vec(), "GREATEST")?;
                let function = if name == "greatest" { "max" } else { "min" };
                let items: Vec<String> =
                    parts.iter().map(|part| format!("SELECT {} AS v", part.sql)).collect();
                let collate = super::expression::collation(&ty);
                Typed::new(
                    format!("(SELECT {function}(v{collate}) FROM ({}))", items.join(" UNION ALL ")),
                    ty,
                )
            }
            ("nullif", 2) => {
                let equal =
                    self.compare(parts[0].clone(), &sqlparser::ast::BinaryOperator::Eq, parts[1].clone())?;
                let first = self.decided(parts[0].clone())?;
                Typed::new(format!("CASE WHEN {} THEN NULL ELSE {} END", equal.sql, first.sql), first.ty)
            }
            ("length", 1) if parts[0].ty == T::Bytea => {
                Typed::new(format!("length({})", parts[0].sql), T::Int4)
            }
            ("length", 1) => {
                let text = self.text_operand(parts[0].clone(), "length")?;
                Typed::new(format!("length({})", text.sql), T::Int4)
            }
            ("octet_length", 1) => {
                Typed::new(format!("x_octets({})", self.decided(parts[0].clone())?.sql), T::Int4)
            }
            ("substr" | "substring", 2..=3) => {
                let value = self.decided(parts[0].clone())?;
                let ty = if value.ty == T::Bytea { T::Bytea } else { T::Text };
                let mut sqls = vec![value.sql];
                for number in &parts[1..] {
                    sqls.push(self.coerce(number.clone(), &T::Int4, Mode::Implicit)?.sql);
                }
                Typed::new(format!("x_substring({})", sqls.join(", ")), ty)
            }
            ("concat" | "concat_ws", 1..) => self.concat(name == "concat_ws", parts)?,
            _ => return self.numbers_and_times(name, parts),
        }))
    }

    fn numbers_and_times(&mut self, name: &str, parts: &[Typed]) -> Result<Option<Typed>> {
        let part = |at: usize| parts.get(at).cloned();
        Ok(Some(match (name, parts.len()) {
            ("abs", 1) => {
                let value = self.number(part(0))?;
                Typed::new(
                    format!("x_absolute('{}', {})", value.ty.base().code(), value.sql),
                    value.ty.base(),
                )
            }
            ("round" | "trunc" | "ceil" | "ceiling" | "floor", 1) => {
                let value = self.number(part(0))?;
                let value = if value.ty.is_integer() {
                    self.coerce(value, &T::Float8, Mode::Implicit)?
                } else {
                    value
                };
                let kind = if name == "ceiling" { "ceil" } else { name };
                Typed::new(format!("x_round('{kind}', {}, 0)", value.sql), value.ty.base())
            }
            ("round" | "trunc", 2) => {
                let value = self.coerce(parts[0].clone(), &T::Numeric(None), Mode::Implicit)?;
                let digits = self.coerce(parts[1].clone(), &T::Int4, Mode::Implicit)?;
                Typed::new(format!("x_round('{name}', {}, {})", value.sql, digits.sql), T::Numeric(None))
            }
            ("mod", 2) => {
                let (parts, ty) = self.unify(parts.to_vec(), "mod")?;
                Typed::new(format!("x_math('%', '{}', {})", ty.code(), joined(&parts)), ty)
            }
            ("sign", 1) => {
                let value = self.coerce(parts[0].clone(), &T::Float8, Mode::Implicit)?;
                Typed::new(format!("x_float('sign', {})", value.sql), T::Float8)
            }
            ("date_trunc", 2) => {
                let unit = self.coerce(parts[0].clone(), &T::Text, Mode::Implicit)?;
                let value = self.time(parts[1].clone())?;
                Typed::new(
                    format!("x_truncate({}, '{}', {})", unit.sql, value.ty.code(), value.sql),
                    value.ty,
                )
            }
            ("date_part", 2) => {
                let Kind::Literal(field) = &parts[0].kind else {
                    return Err(SqlError::unsupported("date_part of a computed field"));
                };
                let extracted = self.extract(&field.to_lowercase(), parts[1].clone())?;
                self.coerce(extracted, &T::Float8, Mode::Implicit)?
            }
            ("age", 2) => {
                let (left, right) = (self.time(parts[0].clone())?, self.time(parts[1].clone())?);
                Typed::new(format!("x_span('difference', {}, {})", left.sql, right.sql), T::Interval)
            }
            _ => return self.of_the_session(name, parts),
        }))
    }

    fn of_the_session(&mut self, name: &str, parts: &[Typed]) -> Result<Option<Typed>> {
        Ok(Some(match (name, parts.len()) {
            ("version", 0) => Typed::new(text_literal(self.around.version), T::Text),
            ("current_schema", 0) => {
                let schema = self.around.current_schema().map_or_else(|| "NULL".to_owned(), text_literal);
                Typed::new(schema, T::Name)
            }
            ("nextval" | "currval", 1) | ("setval", 2 | 3) => self.sequence(name, parts)?,
            ("pg_get_serial_sequence", 2) => self.serial_sequence(parts)?,
            ("to_regclass" | "to_regtype", 1) => {
                let ty = if name == "to_regclass" { T::Regclass } else { T::Regtype };
                if !matches!(parts[0].kind, Kind::Literal(_)) {
                    return Err(SqlError::unsupported(format!("{name} of an expression")));
                }
                let found = self.coerce(parts[0].clone(), &ty, Mode::Explicit);
                found.unwrap_or_else(|_| Typed::new("NULL", ty))
            }
            ("row", _) => self.record(parts.to_vec())?,
            ("format_type", 2) => {
                let sql = format!(
                    "(SELECT json_extract(value, '$[1]') FROM json_each(x_system('regtype')) WHERE json_extract(value, '$[0]') = {})",
                    parts[0].sql
                );
                Typed::new(sql, T::Text)
            }
            (name, 1 | 2) if name.starts_with("pg_advisory") || name.starts_with("pg_try_advisory") => {
                self.advisory(name, parts)?
            }
            _ => return self.json_and_arrays(name, parts),
        }))
    }

    fn json_and_arrays(&mut self, name: &str, parts: &[Typed]) -> Result<Option<Typed>> {
        let normal = if name.starts_with("jsonb") || name == "to_jsonb" { T::Jsonb } else { T::Json };
        let with_types = |planner: &mut Self| -> Result<String> {
            let mut sql = format!("'{}'", normal.code());
            for part in parts {
                let part = planner.decided(part.clone())?;
                sql.push_str(&format!(", '{}', {}", part.ty.code(), part.sql));
            }
            Ok(sql)
        };
        Ok(Some(match (name, parts.len()) {
            ("to_json" | "to_jsonb", 1) => {
                let value = self.decided(parts[0].clone())?;
                let sql = format!("x_to_json('{}', '{}', {})", normal.code(), value.ty.code(), value.sql);
                Typed::new(sql, normal)
            }
            ("jsonb_build_object" | "json_build_object", count) if count % 2 == 0 => {
                Typed::new(format!("x_json_object({})", with_types(self)?), normal)
            }
            ("jsonb_build_array" | "json_build_array", _) => {
                Typed::new(format!("x_json_array({})", with_types(self)?), normal)
            }
            ("array_length" | "cardinality", 1 | 2) => {
                let sql = format!("json_array_length({})", parts[0].sql);
                let sql = if name == "cardinality" { sql } else { format!("nullif({sql}, 0)") };
                Typed::new(sql, T::Int4)
            }
            ("array_append" | "array_prepend" | "array_cat", 2) => {
                let at = usize::from(name == "array_prepend");
                let T::Array(element) = parts[at].ty.clone() else {
                    return Err(SqlError::new(
                        Condition::UndefinedFunction,
                        format!("function {name} needs an array"),
                    ));
                };
                let ty = parts[at].ty.clone();
                let mut sqls = Vec::new();
                for (own, part) in parts.iter().enumerate() {
                    sqls.push(if own == at || name == "array_cat" {
                        self.coerce(part.clone(), &ty, Mode::Implicit)?.sql
                    } else {
                        format!("x_array({})", self.coerce(part.clone(), &element, Mode::Implicit)?.sql)
                    });
                }
                Typed::new(format!("x_array_append({})", sqls.join(", ")), ty)
            }
            ("array_position", 2) => {
                let T::Array(element) = parts[0].ty.clone() else { return Ok(None) };
                let wanted = self.coerce(parts[1].clone(), &element, Mode::Implicit)?;
                Typed::new(format!("x_array_position({}, {})", parts[0].sql, wanted.sql), T::Int4)
            }
            ("array_to_string", 2) => {
                let T::Array(element) = parts[0].ty.clone() else { return Ok(None) };
                let separator = self.coerce(parts[1].clone(), &T::Text, Mode::Implicit)?;
                let sql = format!("x_array_join('{}', {}, {})", element.code(), parts[0].sql, separator.sql);
                Typed::new(sql, T::Text)
            }
            _ => return Ok(None),
        }))
    }

    fn number(&mut self, part: Option<Typed>) -> Result<Typed> {
        let part = part.ok_or_else(|| SqlError::internal("an argument is missing"))?;
        if part.is_unknown() {
            return self.coerce(part, &T::Float8, Mode::Implicit);
        }
        if part.ty.is_number() {
            return Ok(part);
        }
        Err(SqlError::new(
            Condition::UndefinedFunction,
            format!("no such function of {}", part.ty.display_name()),
        ))
    }

    fn time(&mut self, part: Typed) -> Result<Typed> {
        let ty = if part.ty == T::Timestamp { T::Timestamp } else { T::Timestamptz };
        self.coerce(part, &ty, Mode::Implicit)
    }

    fn concat(&mut self, separated: bool, parts: &[Typed]) -> Result<Typed> {
        let mut texts = Vec::new();
        for part in parts {
            texts.push(self.as_text(part.clone())?.sql);
        }
        if !separated {
            let texts: Vec<String> = texts.iter().map(|text| format!("coalesce({text}, '')")).collect();
            return Ok(Typed::new(format!("({})", texts.join(" || ")), T::Text));
        }
        let separator = texts.remove(0);
        let sql = format!("x_array_join('text', x_array({}), {separator})", texts.join(", "));
        Ok(Typed::new(sql, T::Text))
    }

    fn sequence(&mut self, name: &str, parts: &[Typed]) -> Result<Typed> {
        self.writes();
        let Kind::Literal(text) = &parts[0].kind else {
            if parts[0].ty == T::Regclass {
                return Ok(Typed::new(format!("x_{name}({})", joined(parts)), T::Int8));
            }
            return Err(SqlError::unsupported(format!("{name} of a computed name")));
        };
        let plain = text.replace('"', "");
        let (schema, sequence) = plain.split_once('.').map_or((None, plain.as_str()), |(s, n)| (Some(s), n));
        let found = self.around.catalog.sequence(schema, sequence, self.around.search_path);
        let oid = found.map(|(_, found)| found.oid).ok_or_else(|| {
            SqlError::new(Condition::UndefinedTable, format!("relation \"{text}\" does not exist"))
        })?;
        let mut sqls = vec![oid.to_string()];
        if name == "currval" {
            sqls.push(text_literal(sequence));
        }
        if let Some(value) = parts.get(1) {
            sqls.push(self.coerce(value.clone(), &T::Int8, Mode::Implicit)?.sql);
        }
        if let Some(called) = parts.get(2) {
            sqls.push(self.boolean(called.clone(), "setval")?.sql);
        }
        Ok(Typed::new(format!("x_{name}({})", sqls.join(", ")), T::Int8))
    }

    fn serial_sequence(&mut self, parts: &[Typed]) -> Result<Typed> {
        let (Kind::Literal(table), Kind::Literal(column)) = (&parts[0].kind, &parts[1].kind) else {
            return Err(SqlError::unsupported("pg_get_serial_sequence of computed names"));
        };
        let table = table.replace('"', "");
        let table = table.rsplit('.').next().unwrap_or_default();
        let found = self.around.catalog.sequences.iter().find(|(_, sequence)| {
            sequence.owner.as_ref().is_some_and(|(owner, own)| owner.1 == table && own == column)
        });
        let name = found.map_or("NULL".to_owned(), |(key, _)| text_literal(&format!("{}.{}", key.0, key.1)));
        Ok(Typed::new(name, T::Text))
    }

    fn advisory(&mut self, name: &str, parts: &[Typed]) -> Result<Typed> {
        let ty = if parts.len() == 1 { T::Int8 } else { T::Int4 };
        let mut sqls = vec![text_literal(name)];
        for part in parts {
            sqls.push(self.coerce(part.clone(), &ty, Mode::Assignment)?.sql);
        }
        let result = if name.contains("try") || name.contains("unlock") { T::Bool } else { T::Void };
        Ok(Typed::new(format!("x_advisory({})", sqls.join(", ")), result))
    }
}

/// An argument of a wrong type means that there is no such function.
fn undefined(name: &str, error: SqlError) -> SqlError {
    if error.condition == Condition::DatatypeMismatch {
        let message = format!("function {name} does not exist with these arguments: {}", error.message);
        return SqlError::new(Condition::UndefinedFunction, message);
    }
    error
}

fn of(code: &str) -> SqlType {
    code.strip_prefix('_')
        .map_or_else(|| SqlType::from_name(code).unwrap_or(SqlType::Text), |element| of(element).array())
}

pub(crate) fn joined(parts: &[Typed]) -> String {
    parts.iter().map(|part| part.sql.as_str()).collect::<Vec<_>>().join(", ")
}

/// The arguments of a call, whether they are DISTINCT, and their order.
fn arguments(function: &Function) -> Result<(Vec<&Expr>, bool, &[OrderByExpr])> {
    let unsupported = || SqlError::unsupported(format!("the call {function}"));
    let list = match &function.args {
        FunctionArguments::None => return Ok((Vec::new(), false, &[])),
        FunctionArguments::Subquery(_) => return Err(unsupported()),
        FunctionArguments::List(list) => list,
    };
    let mut order_by: &[OrderByExpr] = &[];
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(terms) => order_by = terms,
            _ => return Err(unsupported()),
        }
    }
    let mut written = Vec::new();
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => written.push(expression),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
            _ => return Err(unsupported()),
        }
    }
    Ok((written, list.duplicate_treatment == Some(DuplicateTreatment::Distinct), order_by))
}
