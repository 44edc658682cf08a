//! Expressions: every kind that has a syntax of its own.
//!
//! Owns literals, CASE, IN, LIKE, casts and the like. Must not know functions by name. Invariant: what is not here is refused
//! with its name.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CeilFloorKind, Expr, Subscript, TrimWhereField, Value,
    ValueWithSpan,
};

use super::coerce::{Mode, text_literal};
use super::names::data_type;
use super::{Kind, Planner, Typed};
use crate::engine::{Condition, Interval, Result, SqlError, SqlType};

impl Planner<'_> {
    /// An expression in SQLite's words.
    pub(crate) fn expression(&mut self, expression: &Expr) -> Result<Typed> {
        match expression {
            Expr::Identifier(ident) => match self.column(ident) {
                Err(error) if ident.quote_style.is_none() => match self.keyword_value(&ident.value) {
                    Some(value) => Ok(value),
                    None => Err(error),
                },
                found => found,
            },
            Expr::CompoundIdentifier(idents) => self.qualified(idents),
            Expr::Nested(inner) => {
                let inner = self.expression(inner)?;
                Ok(if inner.kind == Kind::Plain {
                    Typed { sql: format!("({})", inner.sql), ..inner }
                } else {
                    inner
                })
            }
            Expr::Value(value) => self.value_of(value),
            Expr::TypedString(typed) => {
                let to = data_type(&typed.data_type, &self.around)?;
                let value = self.value_of(&typed.value)?;
                self.coerce(value, &to, Mode::Explicit)
            }
            Expr::Interval(interval) => self.interval(interval),
            Expr::Cast { expr, data_type: written, .. } => self.cast(expr, written),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::AnyOp { left, compare_op, right, .. } => self.any(left, compare_op, right, false),
            Expr::AllOp { left, compare_op, right } => self.any(left, compare_op, right, true),
            Expr::IsNull(inner) => self.is_null(inner, ""),
            Expr::IsNotNull(inner) => self.is_null(inner, "NOT "),
            Expr::IsTrue(inner) => self.is_truth(inner, "IS", "1"),
            Expr::IsNotTrue(inner) => self.is_truth(inner, "IS NOT", "1"),
            Expr::IsFalse(inner) => self.is_truth(inner, "IS", "0"),
            Expr::IsNotFalse(inner) => self.is_truth(inner, "IS NOT", "0"),
            Expr::IsUnknown(inner) => self.is_truth(inner, "IS", "NULL"),
            Expr::IsNotUnknown(inner) => self.is_truth(inner, "IS NOT", "NULL"),
            Expr::IsDistinctFrom(left, right) => self.distinct(left, right, "IS NOT"),
            Expr::IsNotDistinctFrom(left, right) => self.distinct(left, right, "IS"),
            Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            Expr::Like { negated, expr, pattern, escape_char, any: false } => {
                self.like(expr, pattern, escape_char.as_deref(), *negated, false)
            }
            Expr::ILike { negated, expr, pattern, escape_char, any: false } => {
                self.like(expr, pattern, escape_char.as_deref(), *negated, true)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Exists { subquery, negated } => {
                let (sql, _) = self.subquery(subquery, None)?;
                let not = if *negated { "NOT " } else { "" };
                Ok(Typed::new(format!("{not}EXISTS ({sql})"), SqlType::Bool))
            }
            Expr::Subquery(query) => self.scalar_subquery(query),
            Expr::Function(function) => self.call(function),
            other => self.special_form(other),
        }
    }

    /// Forms that read like functions, but have words between their arguments.
    fn special_form(&mut self, expression: &Expr) -> Result<Typed> {
        match expression {
            Expr::Extract { field, expr, .. } => {
                let value = self.expression(expr)?;
                self.extract(&field.to_string().to_lowercase(), value)
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(_) } => self.rounded("ceil", expr),
            Expr::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => self.rounded("floor", expr),
            Expr::Position { expr, r#in } => {
                let (part, whole) = (self.expression(expr)?, self.expression(r#in)?);
                let (part, whole) = (self.as_text(part)?, self.as_text(whole)?);
                Ok(Typed::new(format!("instr({}, {})", whole.sql, part.sql), SqlType::Int4))
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.substring(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            Expr::Trim { trim_where, trim_what, expr, .. } => {
                self.trim(trim_where.as_ref(), trim_what.as_deref(), expr)
            }
            Expr::AtTimeZone { timestamp, time_zone } => self.at_time_zone(timestamp, time_zone),
            Expr::Collate { expr, collation } => match collation.to_string().replace('"', "").as_str() {
                "C" | "POSIX" | "pg_catalog.C" | "default" | "pg_catalog.default" => self.expression(expr),
                other => Err(SqlError::unsupported(format!("collation {other}"))),
            },
            Expr::Array(array) => self.array(&array.elem),
            Expr::CompoundFieldAccess { root, access_chain } => self.subscript(root, access_chain),
            Expr::Tuple(items) => {
                let items = items.iter().map(|item| self.expression(item)).collect::<Result<_>>()?;
                self.record(items)
            }
            other => Err(SqlError::unsupported(format!("expression {other}"))),
        }
    }

    fn value_of(&mut self, value: &ValueWithSpan) -> Result<Typed> {
        let place = self.at(value.span);
        let quoted = |text: &str| Typed {
            sql: text_literal(text),
            ty: SqlType::Unknown,
            kind: Kind::Literal(text.to_owned()),
            origin: None,
        };
        Ok(match &value.value {
            Value::Number(digits, _) => number(digits)?,
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::NationalStringLiteral(text) => quoted(text),
            Value::DollarQuotedString(text) => quoted(&text.value),
            Value::Boolean(truth) => Typed::new(if *truth { "1" } else { "0" }, SqlType::Bool),
            Value::Null => {
                Typed { sql: "NULL".to_owned(), ty: SqlType::Unknown, kind: Kind::Null, origin: None }
            }
            Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok()).filter(|n| *n > 0);
                let number = number.ok_or_else(|| {
                    let message = format!("there is no parameter {name}");
                    SqlError::new(Condition::UndefinedParameter, message).position(place)
                })?;
                self.parameter(number)
            }
            other => return Err(SqlError::unsupported(format!("literal {other}"))),
        })
    }

    fn interval(&mut self, interval: &sqlparser::ast::Interval) -> Result<Typed> {
        let value = self.expression(&interval.value)?;
        let Kind::Literal(text) = &value.kind else {
            return Err(SqlError::unsupported("an interval of an expression"));
        };
        let unit = interval.leading_field.as_ref().map(|field| field.to_string().to_lowercase());
        let text = unit.map_or_else(|| text.clone(), |unit| format!("{text} {unit}"));
        Ok(Typed::new(text_literal(&Interval::parse(&text)?.kept()), SqlType::Interval))
    }

    fn cast(&mut self, inner: &Expr, written: &sqlparser::ast::DataType) -> Result<Typed> {
        let to = data_type(written, &self.around)?;
        let value = match (inner, &to) {
            (Expr::Array(array), SqlType::Array(_)) if array.elem.is_empty() => {
                Typed::new("'[]'", to.clone())
            }
            _ => self.expression(inner)?,
        };
        let from = value.ty.clone();
        if to.is_text() && matches!(from, SqlType::Regclass | SqlType::Regtype) {
            let view = if from == SqlType::Regclass { "regclass" } else { "regtype" };
            let sql = format!(
                "(SELECT json_extract(value, '$[1]') FROM json_each(x_system('{view}')) WHERE json_extract(value, '$[0]') = {})",
                value.sql
            );
            return Ok(Typed::new(sql, SqlType::Text));
        }
        self.coerce(value, &to, Mode::Explicit).map_err(|error| {
            use sqlparser::ast::Spanned;
            error.position(self.at(inner.span()))
        })
    }

    fn is_null(&mut self, inner: &Expr, not: &str) -> Result<Typed> {
        let inner = self.expression(inner)?;
        let inner = self.decided(inner)?;
        Ok(Typed::new(format!("({} IS {not}NULL)", inner.sql), SqlType::Bool))
    }

    fn is_truth(&mut self, inner: &Expr, is: &str, what: &str) -> Result<Typed> {
        let inner = self.expression(inner)?;
        let inner = self.boolean(inner, "IS")?;
        Ok(Typed::new(format!("({} {is} {what})", inner.sql), SqlType::Bool))
    }

    fn distinct(&mut self, left: &Expr, right: &Expr, is: &str) -> Result<Typed> {
        let parts = vec![self.expression(left)?, self.expression(right)?];
        let (parts, _) = self.unify(parts, "IS DISTINCT FROM")?;
        Ok(Typed::new(format!("({} {is} {})", parts[0].sql, parts[1].sql), SqlType::Bool))
    }

    fn between(&mut self, value: &Expr, negated: bool, low: &Expr, high: &Expr) -> Result<Typed> {
        let (value, low, high) = (self.expression(value)?, self.expression(low)?, self.expression(high)?);
        let from = self.compare(value.clone(), &BinaryOperator::GtEq, low)?;
        let to = self.compare(value, &BinaryOperator::LtEq, high)?;
        let not = if negated { "NOT " } else { "" };
        Ok(Typed::new(format!("({not}({} AND {}))", from.sql, to.sql), SqlType::Bool))
    }

    fn in_list(&mut self, value: &Expr, list: &[Expr], negated: bool) -> Result<Typed> {
        let not = if negated { "NOT " } else { "" };
        if let Expr::Tuple(_) = value {
            let mut any = Vec::new();
            for item in list {
                any.push(self.binary(value, &BinaryOperator::Eq, item)?.sql);
            }
            return Ok(Typed::new(format!("({not}({}))", any.join(" OR ")), SqlType::Bool));
        }
        let mut parts = vec![self.expression(value)?];
        for item in list {
            parts.push(self.expression(item)?);
        }
        let (parts, ty) = self.unify(parts, "IN")?;
        let items: Vec<&str> = parts[1..].iter().map(|part| part.sql.as_str()).collect();
        let collate = collation(&ty);
        Ok(Typed::new(format!("({}{collate} {not}IN ({}))", parts[0].sql, items.join(", ")), SqlType::Bool))
    }

    /// A row as one value: the type and the kept value of each of its parts.
    pub(crate) fn record(&mut self, items: Vec<Typed>) -> Result<Typed> {
        let mut parts = Vec::new();
        for item in items {
            let item = self.decided(item)?;
            let code = text_literal(&item.ty.code());
            parts.push(match item.ty {
                SqlType::Bytea => format!("json_array({code}, lower(hex({})))", item.sql),
                _ => format!("json_array({code}, {})", item.sql),
            });
        }
        Ok(Typed::new(format!("json_array({})", parts.join(", ")), SqlType::Record))
    }

    fn in_subquery(&mut self, value: &Expr, query: &sqlparser::ast::Query, negated: bool) -> Result<Typed> {
        let value = match value {
            Expr::Tuple(items) => {
                let items =
                    items.iter().map(|item| self.expression(item).and_then(|item| self.decided(item)));
                let items: Vec<String> =
                    items.map(|item| item.map(|item| item.sql)).collect::<Result<_>>()?;
                Typed::new(format!("({})", items.join(", ")), SqlType::Record)
            }
            value => self.expression(value)?,
        };
        let expected = [value.ty.clone()];
        let known = !value.is_unknown() && value.ty != SqlType::Record;
        let (sql, columns) = self.subquery(query, known.then_some(&expected[..]))?;
        let value = match columns.first() {
            Some(column) if value.ty != SqlType::Record => {
                if columns.len() > 1 {
                    return Err(SqlError::new(Condition::SyntaxError, "subquery has too many columns"));
                }
                if value.is_unknown() { self.coerce(value, &column.ty, Mode::Implicit)? } else { value }
            }
            _ => value,
        };
        let (not, collate) = (if negated { "NOT " } else { "" }, collation(&value.ty));
        let ty = columns.first().map(|column| column.ty.base());
        if ty.as_ref().is_some_and(|ty| value.ty != SqlType::Record && kept_differently(ty, &value.ty)) {
            return Err(SqlError::unsupported("IN with a subquery of another type"));
        }
        Ok(Typed::new(format!("({}{collate} {not}IN ({sql}))", value.sql), SqlType::Bool))
    }

    fn like(
        &mut self,
        value: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        negated: bool,
        insensitive: bool,
    ) -> Result<Typed> {
        let (value, pattern) = (self.expression(value)?, self.expression(pattern)?);
        let (value, pattern) = (self.text_operand(value, "~~")?, self.text_operand(pattern, "~~")?);
        let escape = match escape {
            Some(escape) => self.expression(escape)?.sql,
            None => "'\\'".to_owned(),
        };
        let not = if negated { "NOT " } else { "" };
        let fold = i32::from(insensitive);
        Ok(Typed::new(
            format!("({not}x_like({}, {}, {escape}, {fold}))", value.sql, pattern.sql),
            SqlType::Bool,
        ))
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        otherwise: Option<&Expr>,
    ) -> Result<Typed> {
        let operand = operand.map(|operand| self.expression(operand)).transpose()?;
        let (mut whens, mut results) = (Vec::new(), Vec::new());
        for when in conditions {
            let condition = self.expression(&when.condition)?;
            whens.push(match &operand {
                Some(operand) => self.compare(operand.clone(), &BinaryOperator::Eq, condition)?.sql,
                None => self.boolean(condition, "CASE/WHEN")?.sql,
            });
            results.push(self.expression(&when.result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.expression(otherwise)?);
        }
        let (results, ty) = self.unify(results, "CASE")?;
        let mut sql = "CASE".to_owned();
        for (when, result) in whens.iter().zip(&results) {
            sql.push_str(&format!(" WHEN {when} THEN {}", result.sql));
        }
        if results.len() > whens.len() {
            sql.push_str(&format!(" ELSE {}", results[whens.len()].sql));
        }
        Ok(Typed::new(sql + " END", ty))
    }

    fn scalar_subquery(&mut self, query: &sqlparser::ast::Query) -> Result<Typed> {
        let (sql, columns) = self.subquery(query, None)?;
        let [column] = &columns[..] else {
            return Err(SqlError::new(Condition::SyntaxError, "subquery must return only one column"));
        };
        Ok(Typed::new(format!("({sql})"), column.ty.clone()))
    }

    pub(crate) fn rounded(&mut self, kind: &str, inner: &Expr) -> Result<Typed> {
        let value = self.expression(inner)?;
        let value =
            if value.is_unknown() { self.coerce(value, &SqlType::Float8, Mode::Implicit)? } else { value };
        let (value, ty) = if value.ty.is_integer() {
            (self.coerce(value, &SqlType::Float8, Mode::Implicit)?, SqlType::Float8)
        } else {
            let ty = value.ty.base();
            (value, ty)
        };
        Ok(Typed::new(format!("x_round('{kind}', {}, 0)", value.sql), ty))
    }

    pub(crate) fn extract(&mut self, field: &str, value: Typed) -> Result<Typed> {
        let value = if value.is_unknown() {
            self.coerce(value, &SqlType::Timestamptz, Mode::Implicit)?
        } else {
            value
        };
        let sql = format!("x_extract({}, '{}', {})", text_literal(field), value.ty.code(), value.sql);
        Ok(Typed::new(sql, SqlType::Numeric(None)))
    }

    fn substring(&mut self, value: &Expr, from: Option<&Expr>, length: Option<&Expr>) -> Result<Typed> {
        let value = self.expression(value)?;
        let value = if value.ty == SqlType::Bytea { value } else { self.text_operand(value, "substring")? };
        let ty = if value.ty == SqlType::Bytea { SqlType::Bytea } else { SqlType::Text };
        let mut parts = vec![value.sql];
        for part in [from, length] {
            let part = match part {
                Some(part) => {
                    let part = self.expression(part)?;
                    self.coerce(part, &SqlType::Int4, Mode::Implicit)?.sql
                }
                None if parts.len() == 1 => "1".to_owned(),
                None => continue,
            };
            parts.push(part);
        }
        Ok(Typed::new(format!("x_substring({})", parts.join(", ")), ty))
    }

    fn trim(&mut self, side: Option<&TrimWhereField>, what: Option<&Expr>, value: &Expr) -> Result<Typed> {
        let side = match side {
            Some(TrimWhereField::Leading) => "leading",
            Some(TrimWhereField::Trailing) => "trailing",
            _ => "both",
        };
        let value = self.expression(value)?;
        let value = self.text_operand(value, "btrim")?;
        let what = match what {
            Some(what) => {
                let what = self.expression(what)?;
                self.as_text(what)?.sql
            }
            None => "' '".to_owned(),
        };
        Ok(Typed::new(format!("x_trim('{side}', {}, {what})", value.sql), SqlType::Text))
    }

    fn at_time_zone(&mut self, time: &Expr, zone: &Expr) -> Result<Typed> {
        let (time, zone) = (self.expression(time)?, self.expression(zone)?);
        let utc = matches!(&zone.kind, Kind::Literal(zone) if ["utc", "gmt", "etc/utc", "z"].contains(&zone.to_lowercase().as_str()));
        if !utc {
            return Err(SqlError::unsupported("a time zone other than UTC"));
        }
        let time =
            if time.is_unknown() { self.coerce(time, &SqlType::Timestamptz, Mode::Implicit)? } else { time };
        let ty = if time.ty == SqlType::Timestamptz { SqlType::Timestamp } else { SqlType::Timestamptz };
        let time = if time.ty == SqlType::Date {
            self.coerce(time, &SqlType::Timestamptz, Mode::Implicit)?
        } else {
            time
        };
        Ok(Typed::new(time.sql, ty))
    }

    fn array(&mut self, elements: &[Expr]) -> Result<Typed> {
        if elements.is_empty() {
            let message = "cannot determine type of empty array";
            return Err(SqlError::new(Condition::IndeterminateDatatype, message)
                .hint("Explicitly cast to the desired type, for example ARRAY[]::integer[]."));
        }
        let parts = elements.iter().map(|element| self.expression(element)).collect::<Result<Vec<_>>>()?;
        let (parts, ty) = self.unify(parts, "ARRAY")?;
        let parts: Vec<&str> = parts.iter().map(|part| part.sql.as_str()).collect();
        Ok(Typed::new(format!("x_array({})", parts.join(", ")), ty.array()))
    }

    fn subscript(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Typed> {
        let mut value = self.expression(root)?;
        for access in chain {
            let (AccessExpr::Subscript(Subscript::Index { index }), SqlType::Array(element)) =
                (access, &value.ty)
            else {
                return Err(SqlError::unsupported(format!("access to a part of {root}")));
            };
            let element = element.as_ref().clone();
            let index = self.expression(index)?;
            let index = self.coerce(index, &SqlType::Int4, Mode::Assignment)?;
            value = Typed::new(
                format!("x_array_get('{}', {}, {})", element.code(), value.sql, index.sql),
                element,
            );
        }
        Ok(value)
    }

    /// `current_date` and its kin, which have no parentheses.
    fn keyword_value(&mut self, name: &str) -> Option<Typed> {
        let now = "x_now('transaction')";
        Some(match name.to_lowercase().as_str() {
            "current_timestamp" => Typed::new(now, SqlType::Timestamptz),
            "localtimestamp" => Typed::new(now, SqlType::Timestamp),
            "current_date" => Typed::new(format!("x_cast('timestamptz', 'date', 'e', {now})"), SqlType::Date),
            "current_user" | "session_user" | "user" => Typed::new("x_user()", SqlType::Name),
            "current_catalog" => Typed::new("x_database()", SqlType::Name),
            "current_schema" => {
                let schema = self.around.current_schema().map_or_else(|| "NULL".to_owned(), text_literal);
                Typed::new(schema, SqlType::Name)
            }
            _ => return None,
        })
    }
}

/// What makes SQLite compare values of the type rightly.
pub(crate) fn collation(ty: &SqlType) -> &'static str {
    if matches!(ty, SqlType::Numeric(_)) { " COLLATE \"numeric\"" } else { "" }
}

/// Whether equal values of two types are kept in different ways.
fn kept_differently(left: &SqlType, right: &SqlType) -> bool {
    let same = left.base() == right.base()
        || (left.is_integer() && right.is_integer())
        || (left.is_text() && right.is_text())
        || (left.is_float() && (right.is_float() || right.is_integer()))
        || (right.is_float() && left.is_integer());
    !same
}

/// A number as its digits say: an integer where it is one.
fn number(digits: &str) -> Result<Typed> {
    if let Ok(number) = digits.parse::<i64>() {
        let ty = if i32::try_from(number).is_ok() { SqlType::Int4 } else { SqlType::Int8 };
        return Ok(Typed::new(number.to_string(), ty));
    }
    let text = crate::engine::Numeric::parse(digits)?.to_string();
    Ok(Typed::new(text_literal(&text), SqlType::Numeric(None)))
}
