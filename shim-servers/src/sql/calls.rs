//! Functions by name.
//!
//! Owns the list of functions, aggregates and window functions. Must not know syntax. Invariant: a function that is not listed does not
//! exist, as the client is told.

use sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, OrderByExpr, WindowFrameBound, WindowSpec, WindowType,
};

use super::coerce::{Mode, text_literal};
use super::names::split_name;
use super::{Kind, Planner, Typed};
use crate::engine::{Condition, Result, SqlError, SqlType};
use SqlType as T;

/// Functions with one form: name, types of the arguments as codes, the result's, and SQLite's text.
const SIMPLE: &[(&str, &[&str], &str, &str)] = &[
    ("lower", &["text"], "text", "x_lower({0})"),
    ("upper", &["text"], "text", "x_upper({0})"),
    ("initcap", &["text"], "text", "x_initcap({0})"),
    ("char_length", &["text"], "int4", "length({0})"),
    ("character_length", &["text"], "int4", "length({0})"),
    ("left", &["text", "int4"], "text", "x_left({0}, {1})"),
    ("right", &["text", "int4"], "text", "x_right({0}, {1})"),
    ("lpad", &["text", "int4"], "text", "x_lpad({0}, {1})"),
    ("lpad", &["text", "int4", "text"], "text", "x_lpad({0}, {1}, {2})"),
    ("rpad", &["text", "int4"], "text", "x_rpad({0}, {1})"),
    ("rpad", &["text", "int4", "text"], "text", "x_rpad({0}, {1}, {2})"),
    ("btrim", &["text"], "text", "x_trim('both', {0}, ' ')"),
    ("btrim", &["text", "text"], "text", "x_trim('both', {0}, {1})"),
    ("ltrim", &["text"], "text", "x_trim('leading', {0}, ' ')"),
    ("ltrim", &["text", "text"], "text", "x_trim('leading', {0}, {1})"),
    ("rtrim", &["text"], "text", "x_trim('trailing', {0}, ' ')"),
    ("rtrim", &["text", "text"], "text", "x_trim('trailing', {0}, {1})"),
    ("replace", &["text", "text", "text"], "text", "replace({0}, {1}, {2})"),
    ("strpos", &["text", "text"], "int4", "instr({0}, {1})"),
    ("starts_with", &["text", "text"], "bool", "(x_left({0}, length({1})) = {1})"),
    ("split_part", &["text", "text", "int4"], "text", "x_split_part({0}, {1}, {2})"),
    ("repeat", &["text", "int4"], "text", "x_repeat({0}, {1})"),
    ("reverse", &["text"], "text", "x_reverse({0})"),
    ("translate", &["text", "text", "text"], "text", "x_translate({0}, {1}, {2})"),
    ("chr", &["int4"], "text", "x_chr({0})"),
    ("ascii", &["text"], "int4", "x_ascii({0})"),
    ("md5", &["text"], "text", "x_md5({0})"),
    ("sha256", &["bytea"], "bytea", "x_sha256({0})"),
    ("encode", &["bytea", "text"], "text", "x_encode({0}, {1})"),
    ("decode", &["text", "text"], "bytea", "x_decode({0}, {1})"),
    ("convert_to", &["text", "text"], "bytea", "CAST({0} AS BLOB)"),
    ("convert_from", &["bytea", "text"], "text", "CAST({0} AS TEXT)"),
    ("quote_ident", &["text"], "text", "x_quote_ident({0})"),
    ("quote_literal", &["text"], "text", "x_quote_literal({0})"),
    ("regexp_replace", &["text", "text", "text"], "text", "x_regex_replace({0}, {1}, {2}, '')"),
    ("regexp_replace", &["text", "text", "text", "text"], "text", "x_regex_replace({0}, {1}, {2}, {3})"),
    ("sqrt", &["float8"], "float8", "x_float('sqrt', {0})"),
    ("ln", &["float8"], "float8", "x_float('ln', {0})"),
    ("log", &["float8"], "float8", "x_float('log', {0})"),
    ("exp", &["float8"], "float8", "x_float('exp', {0})"),
    ("power", &["float8", "float8"], "float8", "x_float('power', {0}, {1})"),
    ("pow", &["float8", "float8"], "float8", "x_float('power', {0}, {1})"),
    ("sin", &["float8"], "float8", "x_float('sin', {0})"),
    ("cos", &["float8"], "float8", "x_float('cos', {0})"),
    ("tan", &["float8"], "float8", "x_float('tan', {0})"),
    ("atan", &["float8"], "float8", "x_float('atan', {0})"),
    ("radians", &["float8"], "float8", "x_float('radians', {0})"),
    ("degrees", &["float8"], "float8", "x_float('degrees', {0})"),
    ("pi", &[], "float8", "3.141592653589793"),
    ("random", &[], "float8", "x_random()"),
    ("gen_random_uuid", &[], "uuid", "x_uuid()"),
    ("uuid_generate_v4", &[], "uuid", "x_uuid()"),
    ("now", &[], "timestamptz", "x_now('transaction')"),
    ("transaction_timestamp", &[], "timestamptz", "x_now('transaction')"),
    ("current_timestamp", &[], "timestamptz", "x_now('transaction')"),
    ("localtimestamp", &[], "timestamp", "x_now('transaction')"),
    ("statement_timestamp", &[], "timestamptz", "x_now('statement')"),
    ("clock_timestamp", &[], "timestamptz", "x_now('clock')"),
    ("current_date", &[], "date", "x_cast('timestamptz', 'date', 'e', x_now('transaction'))"),
    ("to_timestamp", &["float8"], "timestamptz", "x_to_timestamp({0})"),
    ("current_database", &[], "name", "x_database()"),
    ("current_catalog", &[], "name", "x_database()"),
    ("current_user", &[], "name", "x_user()"),
    ("session_user", &[], "name", "x_user()"),
    ("user", &[], "name", "x_user()"),
    ("pg_backend_pid", &[], "int4", "x_pid()"),
    ("pg_sleep", &["float8"], "void", "x_sleep({0})"),
    ("pg_notify", &["text", "text"], "void", "x_notify({0}, {1})"),
    ("pg_cancel_backend", &["int4"], "bool", "x_stop('cancel', {0})"),
    ("pg_terminate_backend", &["int4"], "bool", "x_stop('terminate', {0})"),
    ("current_setting", &["text"], "text", "x_setting({0}, 0)"),
    ("current_setting", &["text", "bool"], "text", "x_setting({0}, {1})"),
    ("set_config", &["text", "text", "bool"], "text", "x_set_config({0}, {1}, {2})"),
    ("lastval", &[], "int8", "x_lastval()"),
    ("pg_advisory_unlock_all", &[], "void", "x_advisory('all')"),
    ("jsonb_typeof", &["jsonb"], "text", "x_json_typeof({0})"),
    ("json_typeof", &["json"], "text", "x_json_typeof({0})"),
    ("jsonb_array_length", &["jsonb"], "int4", "x_json_length({0})"),
    ("json_array_length", &["json"], "int4", "x_json_length({0})"),
    ("jsonb_set", &["jsonb", "_text", "jsonb"], "jsonb", "x_json_set({0}, {1}, {2}, 1)"),
    ("jsonb_set", &["jsonb", "_text", "jsonb", "bool"], "jsonb", "x_json_set({0}, {1}, {2}, {3})"),
    ("pg_get_userbyid", &["oid"], "name", "iif({0} IS NULL, NULL, x_user())"),
    ("pg_table_is_visible", &["oid"], "bool", "1"),
    ("obj_description", &["oid", "name"], "text", "NULL"),
    ("txid_current", &[], "int8", "x_pid()"),
];

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
        let mut sql = template.to_owned();
        for (at, (part, code)) in parts.into_iter().zip(types).enumerate() {
            let part = self.coerce(part, &of(code), Mode::Implicit)?;
            sql = sql.replace(&format!("{{{at}}}"), &part.sql);
        }
        Ok(Typed::new(sql, of(result)))
    }

    /// Functions whose result depends on the types of their arguments.
    fn special(&mut self, name: &str, parts: &[Typed]) -> Result<Option<Typed>> {
        let part = |at: usize| parts.get(at).cloned();
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
            ("version", 0) => Typed::new(text_literal(self.around.version), T::Text),
            ("current_schema", 0) => {
                let schema = self.around.search_path.first().map_or("public", String::as_str);
                Typed::new(text_literal(schema), T::Name)
            }
            ("nextval" | "currval", 1) | ("setval", 2 | 3) => self.sequence(name, parts)?,
            ("pg_get_serial_sequence", 2) => self.serial_sequence(parts)?,
            ("to_regclass", 1) => {
                let found = self.coerce(parts[0].clone(), &T::Regclass, Mode::Explicit);
                found.unwrap_or_else(|_| Typed::new("NULL", T::Regclass))
            }
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

    /// Aggregates and window functions.
    fn aggregate(
        &mut self,
        name: &str,
        function: &Function,
        written: &[&Expr],
        distinct: bool,
        order_by: &[OrderByExpr],
    ) -> Result<Option<Typed>> {
        let star = written.is_empty() && function.args.to_string() == "(*)";
        let mut parts = Vec::new();
        const NAMES: &[&str] = &[
            "count",
            "sum",
            "avg",
            "min",
            "max",
            "bool_and",
            "bool_or",
            "every",
            "string_agg",
            "array_agg",
            "json_agg",
            "jsonb_agg",
            "json_object_agg",
            "jsonb_object_agg",
            "row_number",
            "rank",
            "dense_rank",
            "percent_rank",
            "cume_dist",
            "ntile",
            "lag",
            "lead",
            "first_value",
            "last_value",
            "nth_value",
        ];
        if !NAMES.contains(&name) {
            return Ok(None);
        }
        for argument in written {
            let part = self.expression(argument)?;
            parts.push(self.decided(part)?);
        }
        let unique = if distinct { "DISTINCT " } else { "" };
        let order = if order_by.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", self.order_terms(order_by)?)
        };
        let first = parts.first().cloned().unwrap_or_else(|| Typed::new("", T::Unknown));
        let code = first.ty.base().code();
        let (call, wrap, ty) = match (name, parts.len()) {
            ("count", 0) if star => ("count(*)".to_owned(), "@", T::Int8),
            ("count", 1) => (format!("count({unique}{})", first.sql), "@", T::Int8),
            ("sum", 1) if matches!(first.ty, T::Int2 | T::Int4) => {
                (format!("sum({unique}{})", first.sql), "@", T::Int8)
            }
            ("sum", 1) if first.ty.is_float() => {
                (format!("sum({unique}{})", first.sql), "@", first.ty.base())
            }
            ("sum" | "avg", 1) if first.ty.is_integer() || matches!(first.ty, T::Numeric(_)) => {
                (format!("x_{name}({unique}{})", first.sql), "@", T::Numeric(None))
            }
            ("avg", 1) if first.ty.is_float() => (format!("avg({unique}{})", first.sql), "@", T::Float8),
            ("min" | "max", 1) => {
                let value = format!("{}{}", first.sql, super::expression::collation(&first.ty));
                (format!("{name}({value})"), "@", first.ty.base())
            }
            ("bool_and" | "every", 1) => (format!("min({})", first.sql), "@", T::Bool),
            ("bool_or", 1) => (format!("max({})", first.sql), "@", T::Bool),
            ("string_agg", 2) => (format!("group_concat({unique}{}{order})", joined(&parts)), "@", T::Text),
            ("array_agg", 1) => {
                let value = if first.ty == T::Bytea {
                    format!("lower(hex({}))", first.sql)
                } else {
                    first.sql.clone()
                };
                (
                    format!("json_group_array({unique}{value}{order})"),
                    "nullif(@, '[]')",
                    first.ty.base().array(),
                )
            }
            ("json_agg" | "jsonb_agg", 1) => {
                let value = format!("json(x_to_json('json', '{code}', {}))", first.sql);
                let ty = if name == "jsonb_agg" { T::Jsonb } else { T::Json };
                (format!("json_group_array({unique}{value}{order})"), "x_jsonb(nullif(@, '[]'))", ty)
            }
            ("json_object_agg" | "jsonb_object_agg", 2) => {
                let value = format!("json(x_to_json('json', '{}', {}))", parts[1].ty.code(), parts[1].sql);
                let key = self.as_text(first)?;
                let ty = if name.starts_with("jsonb") { T::Jsonb } else { T::Json };
                (format!("json_group_object({}, {value})", key.sql), "x_jsonb(nullif(@, '{}'))", ty)
            }
            ("row_number" | "rank" | "dense_rank", 0) => (format!("{name}()"), "@", T::Int8),
            ("percent_rank" | "cume_dist", 0) => (format!("{name}()"), "@", T::Float8),
            ("ntile", 1) => (format!("ntile({})", first.sql), "@", T::Int4),
            ("lag" | "lead", 1..=3) | ("first_value" | "last_value", 1) | ("nth_value", 2) => {
                (format!("{name}({})", joined(&parts)), "@", first.ty.base())
            }
            _ => {
                let types: Vec<String> = parts.iter().map(|part| part.ty.display_name()).collect();
                let message = format!("function {name}({}) does not exist", types.join(", "));
                return Err(SqlError::new(Condition::UndefinedFunction, message));
            }
        };
        let mut sql = call;
        if let Some(filter) = &function.filter {
            let filter = self.expression(filter)?;
            sql = format!("{sql} FILTER (WHERE {})", self.boolean(filter, "FILTER")?.sql);
        }
        if let Some(over) = &function.over {
            if sql.starts_with("x_") {
                return Err(SqlError::unsupported(format!(
                    "{name} of {} as a window function",
                    ty.display_name()
                )));
            }
            sql = format!("{sql} OVER ({})", self.window(over)?);
        }
        Ok(Some(Typed::new(wrap.replacen('@', &sql, 1), ty)))
    }

    fn window(&mut self, over: &WindowType) -> Result<String> {
        let WindowType::WindowSpec(WindowSpec { window_name: None, partition_by, order_by, window_frame }) =
            over
        else {
            return Err(SqlError::unsupported("a named window"));
        };
        let mut sql = String::new();
        if !partition_by.is_empty() {
            let mut parts = Vec::new();
            for part in partition_by {
                let part = self.expression(part)?;
                parts.push(self.decided(part)?.sql);
            }
            sql.push_str(&format!("PARTITION BY {} ", parts.join(", ")));
        }
        if !order_by.is_empty() {
            sql.push_str(&format!("ORDER BY {} ", self.order_terms(order_by)?));
        }
        if let Some(frame) = window_frame {
            let mut bound = |bound: &WindowFrameBound| -> Result<String> {
                Ok(match bound {
                    WindowFrameBound::CurrentRow => "CURRENT ROW".to_owned(),
                    WindowFrameBound::Preceding(None) => "UNBOUNDED PRECEDING".to_owned(),
                    WindowFrameBound::Following(None) => "UNBOUNDED FOLLOWING".to_owned(),
                    WindowFrameBound::Preceding(Some(count)) => {
                        format!("{} PRECEDING", self.expression(count)?.sql)
                    }
                    WindowFrameBound::Following(Some(count)) => {
                        format!("{} FOLLOWING", self.expression(count)?.sql)
                    }
                })
            };
            let start = bound(&frame.start_bound)?;
            let end = frame.end_bound.as_ref().map(&mut bound).transpose()?;
            sql.push_str(&match end {
                Some(end) => format!("{} BETWEEN {start} AND {end}", frame.units),
                None => format!("{} {start}", frame.units),
            });
        }
        Ok(sql)
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

fn joined(parts: &[Typed]) -> String {
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
