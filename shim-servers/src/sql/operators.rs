//! Operators.
//!
//! Owns what each operator means for each pair of types. Must not know functions by name. Invariant: two values are compared as values
//! of one type.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::coerce::Mode;
use super::expression::collation;
use super::{Kind, Planner, Typed};
use crate::engine::{Condition, Result, SqlError, SqlType};

impl Planner<'_> {
    pub(crate) fn unary(&mut self, operator: UnaryOperator, inner: &Expr) -> Result<Typed> {
        let value = self.expression(inner)?;
        match operator {
            UnaryOperator::Not => {
                let value = self.boolean(value, "NOT")?;
                Ok(Typed::new(format!("(NOT {})", value.sql), SqlType::Bool))
            }
            UnaryOperator::Plus => Ok(value),
            UnaryOperator::Minus => {
                let value = if value.is_unknown() {
                    self.coerce(value, &SqlType::Float8, Mode::Implicit)?
                } else {
                    value
                };
                if value.sql.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Ok(Typed::new(format!("(-{})", value.sql), value.ty));
                }
                if let Some(digits) =
                    value.sql.strip_prefix('\'').filter(|_| value.ty == SqlType::Numeric(None))
                {
                    return Ok(Typed::new(format!("'-{digits}"), value.ty));
                }
                let sql = format!("x_negate('{}', {})", value.ty.base().code(), value.sql);
                Ok(Typed::new(sql, value.ty.base()))
            }
            UnaryOperator::BitwiseNot => Ok(Typed::new(format!("(~{})", value.sql), value.ty)),
            other => Err(SqlError::unsupported(format!("operator {other}"))),
        }
    }

    pub(crate) fn binary(&mut self, left: &Expr, operator: &BinaryOperator, right: &Expr) -> Result<Typed> {
        use BinaryOperator as B;
        if let (Expr::Tuple(lefts), Expr::Tuple(rights)) = (left, right) {
            return self.rows(lefts, operator, rights);
        }
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        match operator {
            B::And | B::Or => {
                let word = if *operator == B::And { "AND" } else { "OR" };
                let (left, right) = (self.boolean(left, word)?, self.boolean(right, word)?);
                Ok(Typed::new(format!("({} {word} {})", left.sql, right.sql), SqlType::Bool))
            }
            B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq => self.compare(left, operator, right),
            B::StringConcat => self.concatenate(left, right),
            B::Plus | B::Minus | B::Multiply | B::Divide | B::Modulo | B::PGExp => {
                self.arithmetic(left, operator, right)
            }
            B::BitwiseAnd
            | B::BitwiseOr
            | B::PGBitwiseXor
            | B::PGBitwiseShiftLeft
            | B::PGBitwiseShiftRight => self.arithmetic(left, operator, right),
            B::PGRegexMatch | B::PGRegexIMatch | B::PGRegexNotMatch | B::PGRegexNotIMatch => {
                let (left, right) = (self.text_operand(left, "~")?, self.text_operand(right, "~")?);
                let flags = if matches!(operator, B::PGRegexIMatch | B::PGRegexNotIMatch) { "i" } else { "" };
                let not =
                    if matches!(operator, B::PGRegexNotMatch | B::PGRegexNotIMatch) { "NOT " } else { "" };
                Ok(Typed::new(
                    format!("({not}x_regex({}, {}, '{flags}'))", left.sql, right.sql),
                    SqlType::Bool,
                ))
            }
            B::PGLikeMatch | B::PGILikeMatch | B::PGNotLikeMatch | B::PGNotILikeMatch => {
                let (left, right) = (self.text_operand(left, "~~")?, self.text_operand(right, "~~")?);
                let fold = i32::from(matches!(operator, B::PGILikeMatch | B::PGNotILikeMatch));
                let not =
                    if matches!(operator, B::PGNotLikeMatch | B::PGNotILikeMatch) { "NOT " } else { "" };
                Ok(Typed::new(
                    format!("({not}x_like({}, {}, '\\', {fold}))", left.sql, right.sql),
                    SqlType::Bool,
                ))
            }
            B::Arrow | B::LongArrow | B::HashArrow | B::HashLongArrow => {
                self.json_access(left, operator, right)
            }
            B::AtArrow
            | B::ArrowAt
            | B::PGOverlap
            | B::Question
            | B::QuestionAnd
            | B::QuestionPipe
            | B::HashMinus => self.containment(left, operator, right),
            other => Err(SqlError::unsupported(format!("operator {other}"))),
        }
    }

    /// Text, or what nothing decided yet; other types have no such operator.
    pub(crate) fn text_operand(&mut self, value: Typed, operator: &str) -> Result<Typed> {
        if !value.is_unknown() && !value.ty.is_text() && !matches!(value.ty, SqlType::Enum(..)) {
            return Err(no_operator(&value.ty, operator, &SqlType::Text));
        }
        self.coerce(value, &SqlType::Text, Mode::Explicit)
    }

    fn rows(&mut self, lefts: &[Expr], operator: &BinaryOperator, rights: &[Expr]) -> Result<Typed> {
        if lefts.len() != rights.len() {
            return Err(SqlError::new(
                Condition::SyntaxError,
                "unequal number of entries in row expressions",
            ));
        }
        let (mut left_sql, mut right_sql) = (Vec::new(), Vec::new());
        for (left, right) in lefts.iter().zip(rights) {
            let parts = vec![self.expression(left)?, self.expression(right)?];
            let (parts, ty) = self.unify(parts, "row comparison")?;
            left_sql.push(format!("{}{}", parts[0].sql, collation(&ty)));
            right_sql.push(parts[1].sql.clone());
        }
        let sql = format!("(({}) {} ({}))", left_sql.join(", "), symbol(operator), right_sql.join(", "));
        Ok(Typed::new(sql, SqlType::Bool))
    }

    /// Two values compared as values of one type.
    pub(crate) fn compare(&mut self, left: Typed, operator: &BinaryOperator, right: Typed) -> Result<Typed> {
        let (left_ty, right_ty) = (left.ty.clone(), right.ty.clone());
        let (parts, ty) =
            self.unify(vec![left, right], "comparison").map_err(|error| match error.condition {
                Condition::DatatypeMismatch => no_operator(&left_ty, symbol(operator), &right_ty),
                _ => error,
            })?;
        if ty == SqlType::Record {
            return Err(SqlError::unsupported("comparing rows that are one value"));
        }
        if ty == SqlType::Json {
            return Err(no_operator(&ty, symbol(operator), &ty));
        }
        let ordered = !matches!(operator, BinaryOperator::Eq | BinaryOperator::NotEq);
        let side = |part: &Typed| self.comparable(&part.sql, &ty, ordered);
        let (left, right) = (side(&parts[0]), side(&parts[1]));
        Ok(Typed::new(format!("({left}{} {} {right})", collation(&ty), symbol(operator)), SqlType::Bool))
    }

    /// The value in a form that SQLite orders rightly.
    pub(crate) fn comparable(&self, sql: &str, ty: &SqlType, ordered: bool) -> String {
        match ty {
            SqlType::Interval => format!("x_span('us', {sql}, '')"),
            SqlType::Char(_) => format!("rtrim({sql})"),
            SqlType::Enum(oid, _) if ordered => match self.around.catalog.enum_by_oid(*oid) {
                Some((_, found)) => {
                    let labels: Vec<String> =
                        found.labels.iter().map(|label| super::coerce::text_literal(label)).collect();
                    format!("x_array_position(json_array({}), {sql})", labels.join(", "))
                }
                None => sql.to_owned(),
            },
            _ => sql.to_owned(),
        }
    }

    fn concatenate(&mut self, left: Typed, right: Typed) -> Result<Typed> {
        let array = [&left.ty, &right.ty].into_iter().find(|ty| matches!(ty, SqlType::Array(_))).cloned();
        if let Some(SqlType::Array(element)) = &array {
            let ty = array.clone().unwrap_or(SqlType::Unknown);
            let mut side = |part: Typed| -> Result<String> {
                if part.ty.base() == ty.base() || part.is_unknown() && !matches!(part.kind, Kind::Literal(_))
                {
                    return Ok(self.coerce(part, &ty, Mode::Implicit)?.sql);
                }
                Ok(format!("x_array({})", self.coerce(part, element, Mode::Implicit)?.sql))
            };
            let (left, right) = (side(left)?, side(right)?);
            return Ok(Typed::new(format!("x_array_append({left}, {right})"), ty));
        }
        if left.ty == SqlType::Jsonb || right.ty == SqlType::Jsonb {
            let left = self.coerce(left, &SqlType::Jsonb, Mode::Implicit)?;
            let right = self.coerce(right, &SqlType::Jsonb, Mode::Implicit)?;
            return Ok(Typed::new(format!("x_json_concat({}, {})", left.sql, right.sql), SqlType::Jsonb));
        }
        let ty = if left.ty == SqlType::Bytea && right.ty == SqlType::Bytea {
            SqlType::Bytea
        } else {
            SqlType::Text
        };
        if ty == SqlType::Bytea {
            return Ok(Typed::new(format!("CAST({} || {} AS BLOB)", left.sql, right.sql), ty));
        }
        let (left, right) = (self.as_text(left)?, self.as_text(right)?);
        Ok(Typed::new(format!("({} || {})", left.sql, right.sql), ty))
    }

    fn arithmetic(&mut self, left: Typed, operator: &BinaryOperator, right: Typed) -> Result<Typed> {
        let symbol = symbol(operator);
        if let Some(result) = self.calendar(&left, symbol, &right)? {
            return Ok(result);
        }
        if left.ty == SqlType::Jsonb && symbol == "-" {
            let key = if right.ty.is_integer() { right } else { self.as_text(right)? };
            return Ok(Typed::new(format!("x_json_remove({}, {})", left.sql, key.sql), SqlType::Jsonb));
        }
        let known = |part: &Typed| part.is_unknown() || part.ty.is_number();
        if !known(&left) || !known(&right) || (left.is_unknown() && right.is_unknown()) {
            return Err(no_operator(&left.ty, symbol, &right.ty));
        }
        let mut ty = Self::common_type(&[left.clone(), right.clone()], "operator")?;
        if symbol == "^" && ty != SqlType::Numeric(None) {
            ty = SqlType::Float8;
        }
        let (left, right) =
            (self.coerce(left, &ty, Mode::Implicit)?, self.coerce(right, &ty, Mode::Implicit)?);
        Ok(Typed::new(format!("x_math('{symbol}', '{}', {}, {})", ty.code(), left.sql, right.sql), ty))
    }

    /// Sums and differences of times, days and intervals.
    fn calendar(&mut self, left: &Typed, symbol: &str, right: &Typed) -> Result<Option<Typed>> {
        use SqlType as T;
        let timelike = |ty: &T| ty.is_date() || matches!(ty, T::Interval | T::Time);
        if !timelike(&left.ty) && !timelike(&right.ty) {
            return Ok(None);
        }
        let span = |name: &str, left: &str, right: &str, ty: T| {
            Ok(Some(Typed::new(format!("x_span('{name}', {left}, {right})"), ty)))
        };
        let mut known = |part: &Typed, ty: &T| self.coerce(part.clone(), ty, Mode::Implicit);
        match (&left.ty, symbol, &right.ty) {
            (T::Date, "+" | "-", ty) if ty.is_integer() => {
                Ok(Some(Typed::new(format!("({} {symbol} {})", left.sql, right.sql), T::Date)))
            }
            (ty, "+", T::Date) if ty.is_integer() => {
                Ok(Some(Typed::new(format!("({} + {})", left.sql, right.sql), T::Date)))
            }
            (T::Date, "-", T::Date) => {
                Ok(Some(Typed::new(format!("({} - {})", left.sql, right.sql), T::Int4)))
            }
            (T::Timestamp | T::Timestamptz, "-", T::Unknown) if right.kind != Kind::Null => {
                let right = known(right, &left.ty)?;
                span("difference", &left.sql, &right.sql, T::Interval)
            }
            (a, "-", b) if a.is_date() && b.is_date() => {
                let (left, right) = (known(left, &T::Timestamptz)?, known(right, &T::Timestamptz)?);
                span("difference", &left.sql, &right.sql, T::Interval)
            }
            (T::Date, "+" | "-", T::Interval) => {
                let left = known(left, &T::Timestamp)?;
                span(&format!("timestamp{symbol}"), &left.sql, &right.sql, T::Timestamp)
            }
            (T::Timestamp | T::Timestamptz, "+" | "-", T::Interval | T::Unknown) => {
                let right = known(right, &T::Interval)?;
                span(&format!("timestamp{symbol}"), &left.sql, &right.sql, left.ty.clone())
            }
            (T::Interval, "+", T::Timestamp | T::Timestamptz) => {
                span("timestamp+", &right.sql, &left.sql, right.ty.clone())
            }
            (T::Time, "+" | "-", T::Interval) => {
                span(&format!("time{symbol}"), &left.sql, &right.sql, T::Time)
            }
            (T::Interval, "+" | "-", T::Interval | T::Unknown) => {
                let right = known(right, &T::Interval)?;
                span(&format!("interval{symbol}"), &left.sql, &right.sql, T::Interval)
            }
            (T::Interval, "*", _) => {
                let right = known(right, &T::Float8)?;
                span("interval*", &left.sql, &right.sql, T::Interval)
            }
            (_, "*", T::Interval) => {
                let left = known(left, &T::Float8)?;
                span("interval*", &right.sql, &left.sql, T::Interval)
            }
            (T::Interval, "/", _) => {
                let right = known(right, &T::Float8)?;
                let factor = format!("x_math('/', 'float8', 1.0, {})", right.sql);
                span("interval*", &left.sql, &factor, T::Interval)
            }
            _ => Err(no_operator(&left.ty, symbol, &right.ty)),
        }
    }

    fn json_access(&mut self, left: Typed, operator: &BinaryOperator, right: Typed) -> Result<Typed> {
        let symbol = operator.to_string();
        let left = if left.is_unknown() { self.coerce(left, &SqlType::Jsonb, Mode::Implicit)? } else { left };
        if !matches!(left.ty, SqlType::Json | SqlType::Jsonb) {
            return Err(no_operator(&left.ty, &symbol, &right.ty));
        }
        let as_text = i32::from(symbol.ends_with(">>"));
        let normal = i32::from(left.ty == SqlType::Jsonb);
        let ty = if as_text == 1 { SqlType::Text } else { left.ty.clone() };
        let (function, key) = if symbol.starts_with('#') {
            ("x_json_path", self.coerce(right, &SqlType::Text.array(), Mode::Implicit)?)
        } else if right.ty.is_integer() {
            ("x_json_get", right)
        } else {
            ("x_json_get", self.coerce(right, &SqlType::Text, Mode::Implicit)?)
        };
        Ok(Typed::new(format!("{function}({}, {}, {as_text}, {normal})", left.sql, key.sql), ty))
    }

    fn containment(&mut self, left: Typed, operator: &BinaryOperator, right: Typed) -> Result<Typed> {
        use BinaryOperator as B;
        if matches!(operator, B::Question | B::QuestionAnd | B::QuestionPipe) {
            let left = self.coerce(left, &SqlType::Jsonb, Mode::Implicit)?;
            let keys = if *operator == B::Question {
                format!("x_array({})", self.coerce(right, &SqlType::Text, Mode::Implicit)?.sql)
            } else {
                self.coerce(right, &SqlType::Text.array(), Mode::Implicit)?.sql
            };
            let all = i32::from(*operator == B::QuestionAnd);
            return Ok(Typed::new(format!("x_json_exists({}, {keys}, {all})", left.sql), SqlType::Bool));
        }
        let (parts, ty) = self.unify(vec![left, right], "operator")?;
        let (whole, part) =
            if *operator == B::ArrowAt { (&parts[1], &parts[0]) } else { (&parts[0], &parts[1]) };
        let function = match (&ty, operator) {
            (SqlType::Jsonb, B::AtArrow | B::ArrowAt) => "x_json_contains",
            (SqlType::Array(_), B::AtArrow | B::ArrowAt) => "x_array_contains",
            (SqlType::Array(_), B::PGOverlap) => "x_array_overlaps",
            _ => return Err(no_operator(&ty, &operator.to_string(), &ty)),
        };
        Ok(Typed::new(format!("{function}({}, {})", whole.sql, part.sql), SqlType::Bool))
    }

    /// `left op ANY (right)`, where right is an array or a query.
    pub(crate) fn any(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
        all: bool,
    ) -> Result<Typed> {
        if let Expr::Subquery(query) = right {
            let negated = all && *operator == BinaryOperator::NotEq;
            if negated || (!all && *operator == BinaryOperator::Eq) {
                let inside =
                    Expr::InSubquery { expr: Box::new(left.clone()), subquery: query.clone(), negated };
                return self.expression(&inside);
            }
            return Err(SqlError::unsupported(format!("{operator} ANY or ALL of a subquery")));
        }
        let (left, right) = (self.expression(left)?, self.expression(right)?);
        let right = if right.is_unknown() {
            let element = if left.is_unknown() { SqlType::Text } else { left.ty.base() };
            self.coerce(right, &element.array(), Mode::Implicit)?
        } else {
            right
        };
        let SqlType::Array(element) = right.ty.clone() else {
            let message = "op ANY/ALL (array) requires array on right side";
            return Err(SqlError::new(Condition::WrongObjectType, message));
        };
        let value = if *element == SqlType::Bytea { "unhex(value)" } else { "value" };
        let items = Typed::new(value, element.as_ref().clone());
        let compared = match operator {
            BinaryOperator::PGLikeMatch | BinaryOperator::PGILikeMatch => {
                let left = self.text_operand(left, "~~")?;
                let fold = i32::from(*operator == BinaryOperator::PGILikeMatch);
                Typed::new(format!("x_like({}, value, '\\', {fold})", left.sql), SqlType::Bool)
            }
            _ => self.compare(left, operator, items)?,
        };
        let each = format!("json_each({})", right.sql);
        // NULL among the elements makes an answer unknown that is not certain without it.
        let (test, sure) = if all { ("min", "0") } else { ("max", "1") };
        let nulls = format!("sum(({}) IS NULL)", compared.sql);
        let answer = format!("{test}({})", compared.sql);
        let sql = format!(
            "(SELECT CASE WHEN {} IS NULL THEN NULL WHEN {answer} = {sure} THEN {sure} WHEN {nulls} > 0 THEN NULL ELSE {} END FROM {each})",
            right.sql,
            if all { "1" } else { "0" }
        );
        Ok(Typed::new(sql, SqlType::Bool))
    }
}

/// What there is no operator for.
pub(crate) fn no_operator(left: &SqlType, symbol: &str, right: &SqlType) -> SqlError {
    let message =
        format!("operator does not exist: {} {symbol} {}", left.display_name(), right.display_name());
    SqlError::new(Condition::UndefinedFunction, message).hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// The operator as it is written.
fn symbol(operator: &BinaryOperator) -> &'static str {
    use BinaryOperator as B;
    match operator {
        B::Eq => "=",
        B::NotEq => "<>",
        B::Lt => "<",
        B::LtEq => "<=",
        B::Gt => ">",
        B::GtEq => ">=",
        B::Plus => "+",
        B::Minus => "-",
        B::Multiply => "*",
        B::Divide => "/",
        B::Modulo => "%",
        B::PGExp => "^",
        B::BitwiseAnd => "&",
        B::BitwiseOr => "|",
        B::PGBitwiseXor => "#",
        B::PGBitwiseShiftLeft => "<<",
        B::PGBitwiseShiftRight => ">>",
        _ => "?",
    }
}
