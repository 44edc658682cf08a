//! Conversions: where the type of a part is decided, or becomes another.
//!
//! Owns which types turn into which, silently, on storing, or on demand. Must not know functions. Invariant: a literal is
//! converted here, once, and a parameter's type is decided once.

use super::{Kind, Planner, Typed};
use crate::engine::{Condition, Result, SqlError, SqlType, Value, parse};

/// How a conversion came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Implicit,
    Assignment,
    Explicit,
}

/// A kept value in SQLite's words.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) if *number == i64::MIN => "(-9223372036854775807 - 1)".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) if number.is_infinite() => {
            (if *number > 0.0 { "9e999" } else { "-9e999" }).to_owned()
        }
        Value::Real(number) => format!("{number:e}"),
        Value::Text(text) => text_literal(text),
        Value::Blob(bytes) => {
            format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    }
}

/// Text in SQLite's quotes; a zero byte cannot be in it.
pub(crate) fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

impl Planner<'_> {
    /// The part as a value of `to`.
    pub(crate) fn coerce(&mut self, part: Typed, to: &SqlType, mode: Mode) -> Result<Typed> {
        if part.is_unknown() {
            return self.decide(part, to, mode);
        }
        let (from, base) = (part.ty.clone(), to.base());
        let limited = *to != base;
        if from.base() == base && (!limited || from == *to) {
            return Ok(Typed { ty: to.clone(), ..part });
        }
        if !allowed(&from, &base, mode) {
            let (condition, message) = if mode == Mode::Explicit {
                let message = format!("cannot cast type {} to {}", from.display_name(), to.display_name());
                (Condition::CannotCoerce, message)
            } else {
                let message = format!(
                    "expression is of type {} but {} is expected",
                    from.display_name(),
                    to.display_name()
                );
                (Condition::DatatypeMismatch, message)
            };
            return Err(SqlError::new(condition, message));
        }
        if let SqlType::Enum(oid, _) = to {
            return self.checked_label(&part.sql, *oid, to);
        }
        let same = (from.is_text() && to.is_text() && !limited && !matches!(from, SqlType::Char(_)))
            || (from.is_integer() && to.is_integer() && from.rank() <= to.rank() && *to != SqlType::Oid);
        let sql = if same {
            part.sql
        } else if from.is_integer() && base == SqlType::Float8 {
            format!("CAST({} AS REAL)", part.sql)
        } else if base == SqlType::Regclass || base == SqlType::Regtype {
            self.object_name(&part, &base)?
        } else {
            let mode = if mode == Mode::Explicit { "e" } else { "a" };
            format!("x_cast('{}', '{}', '{mode}', {})", from.code(), to.code(), part.sql)
        };
        Ok(Typed::new(sql, to.clone()))
    }

    /// A literal, NULL or parameter as a value of `to`.
    fn decide(&mut self, part: Typed, to: &SqlType, mode: Mode) -> Result<Typed> {
        let sql = match &part.kind {
            Kind::Null => "NULL".to_owned(),
            Kind::Literal(text) => match to {
                SqlType::Regclass | SqlType::Regtype => self.object_name(&part, to)?,
                SqlType::Enum(oid, _) => {
                    let sql = text_literal(text);
                    return self.checked_label(&sql, *oid, to);
                }
                SqlType::Varchar(Some(length)) | SqlType::Char(Some(length)) if mode == Mode::Explicit => {
                    let shortened: String = text.chars().take(*length as usize).collect();
                    literal(&parse(to, &shortened)?)
                }
                _ => literal(&parse(to, text)?),
            },
            Kind::Parameter(at) => {
                self.decide_parameter(*at, to);
                if *to == to.base() {
                    part.sql.clone()
                } else {
                    let mode = if mode == Mode::Explicit { "e" } else { "a" };
                    format!("x_cast('{}', '{}', '{mode}', {})", to.base().code(), to.code(), part.sql)
                }
            }
            Kind::Plain => return Ok(Typed { ty: to.clone(), ..part }),
        };
        Ok(Typed { sql, ty: to.clone(), kind: part.kind, origin: None })
    }

    /// One of the values of an enum; others fail when the statement runs.
    fn checked_label(&self, sql: &str, oid: u32, to: &SqlType) -> Result<Typed> {
        let (_, found) = self.around.catalog.enum_by_oid(oid).ok_or_else(|| {
            SqlError::new(Condition::UndefinedObject, format!("type {} does not exist", to.display_name()))
        })?;
        let labels: Vec<String> = found.labels.iter().map(|label| text_literal(label)).collect();
        let message = text_literal(&format!("invalid input value for enum {}: \"", to.display_name()));
        let sql = format!(
            "CASE WHEN {sql} IS NULL OR {sql} IN ({}) THEN {sql} ELSE x_raise('22P02', {message} || {sql} || '\"') END",
            labels.join(", ")
        );
        Ok(Typed::new(sql, to.clone()))
    }

    /// `'users'::regclass`: the number of the object, which has to be there.
    fn object_name(&self, part: &Typed, to: &SqlType) -> Result<String> {
        let Kind::Literal(text) = &part.kind else { return Ok(looked_up(part, to)) };
        if let Ok(number) = text.parse::<u32>() {
            return Ok(number.to_string());
        }
        let plain = text.replace('"', "");
        let (schema, name) = plain.split_once('.').map_or((None, plain.as_str()), |(s, n)| (Some(s), n));
        let (catalog, path) = (self.around.catalog, self.around.search_path);
        let oid = if *to == SqlType::Regtype {
            let element = name.strip_suffix("[]").or_else(|| name.strip_prefix('_'));
            let array = |name| catalog.enum_type(schema, name, path).map(|found| found.oid + 1);
            SqlType::from_name(name)
                .map(|ty| super::oids::type_oid(&ty))
                .or_else(|| catalog.enum_type(schema, name, path).map(|found| found.oid))
                .or_else(|| element.and_then(array))
        } else {
            let relation = catalog.relation(schema, name, path).map(|found| found.oid);
            let sequence = || catalog.sequence(schema, name, path).map(|(_, found)| found.oid);
            relation
                .or_else(sequence)
                .or_else(|| catalog.index(schema, name, path).map(|(_, found)| found.oid))
                .or_else(|| {
                    super::oids::system_relation(name).filter(|_| schema.is_none_or(|s| s == "pg_catalog"))
                })
        };
        oid.map(|oid| oid.to_string()).ok_or_else(|| {
            let kind = if *to == SqlType::Regtype { "type" } else { "relation" };
            let condition =
                if *to == SqlType::Regtype { Condition::UndefinedObject } else { Condition::UndefinedTable };
            SqlError::new(condition, format!("{kind} \"{text}\" does not exist"))
        })
    }

    /// The part stored into a column.
    pub(crate) fn assign(&mut self, part: Typed, to: &SqlType, column: &str) -> Result<Typed> {
        let from = part.ty.clone();
        self.coerce(part, to, Mode::Assignment).map_err(|error| {
            if error.condition != Condition::DatatypeMismatch {
                return error;
            }
            let message = format!(
                "column \"{column}\" is of type {} but expression is of type {}",
                to.display_name(),
                from.display_name()
            );
            SqlError::new(Condition::DatatypeMismatch, message)
                .hint("You will need to rewrite or cast the expression.")
        })
    }

    /// The part as a condition of `clause`.
    pub(crate) fn boolean(&mut self, part: Typed, clause: &str) -> Result<Typed> {
        if !part.is_unknown() && part.ty != SqlType::Bool {
            let message =
                format!("argument of {clause} must be type boolean, not type {}", part.ty.display_name());
            return Err(SqlError::new(Condition::DatatypeMismatch, message));
        }
        self.coerce(part, &SqlType::Bool, Mode::Implicit)
    }

    /// The type that all parts can have; text where nothing is known of any.
    pub(crate) fn common_type(parts: &[Typed], context: &str) -> Result<SqlType> {
        let mut common = SqlType::Unknown;
        for ty in parts.iter().map(|part| part.ty.base()).filter(|ty| *ty != SqlType::Unknown) {
            common = match common {
                SqlType::Unknown => ty,
                ref common if *common == ty => ty,
                common if common.is_number() && ty.is_number() => {
                    if ty.rank() > common.rank() {
                        ty
                    } else {
                        common
                    }
                }
                common if common.is_text() && ty.is_text() => SqlType::Text,
                common if allowed(&ty, &common, Mode::Implicit) => common,
                common if allowed(&common, &ty, Mode::Implicit) => ty,
                common => {
                    let message = format!(
                        "{context} types {} and {} cannot be matched",
                        common.display_name(),
                        ty.display_name()
                    );
                    return Err(SqlError::new(Condition::DatatypeMismatch, message));
                }
            };
        }
        Ok(if common == SqlType::Unknown { SqlType::Text } else { common })
    }

    /// All parts as their common type.
    pub(crate) fn unify(&mut self, parts: Vec<Typed>, context: &str) -> Result<(Vec<Typed>, SqlType)> {
        let ty = Self::common_type(&parts, context)?;
        let parts = parts.into_iter().map(|part| self.coerce(part, &ty, Mode::Implicit));
        Ok((parts.collect::<Result<_>>()?, ty))
    }

    /// The part with a type: text where nothing decided another.
    pub(crate) fn decided(&mut self, part: Typed) -> Result<Typed> {
        if part.is_unknown() { self.coerce(part, &SqlType::Text, Mode::Implicit) } else { Ok(part) }
    }

    /// The part as text, whatever it is.
    pub(crate) fn as_text(&mut self, part: Typed) -> Result<Typed> {
        self.coerce(part, &SqlType::Text, Mode::Explicit)
    }
}

/// A name that is known when the statement runs, as the number of its object.
fn looked_up(part: &Typed, to: &SqlType) -> String {
    if !part.ty.is_text() {
        return part.sql.clone();
    }
    let (view, code, kind) = match to {
        SqlType::Regtype => ("regtype", "42704", "type"),
        _ => ("regclass", "42P01", "relation"),
    };
    let name = &part.sql;
    format!(
        "CASE WHEN {name} IS NULL THEN NULL ELSE coalesce((SELECT json_extract(value, '$[0]') FROM json_each(x_system('{view}')) \
         WHERE json_extract(value, '$[1]') = replace({name}, '\"', '') LIMIT 1), \
         x_raise('{code}', '{kind} \"' || {name} || '\" does not exist')) END"
    )
}

/// Whether values of one type become values of the other, without limits.
fn allowed(from: &SqlType, to: &SqlType, mode: Mode) -> bool {
    use SqlType as T;
    let implicit = match (from, to) {
        (from, to) if from.base() == to.base() => true,
        (from, to) if from.is_text() && to.is_text() => true,
        (T::Int2 | T::Int4 | T::Int8, T::Oid | T::Regclass | T::Regtype) => true,
        (T::Oid, T::Int8 | T::Regclass | T::Regtype) | (T::Regclass | T::Regtype, T::Oid | T::Int8) => true,
        (from, to) if from.is_number() && to.is_number() => from.rank() <= to.rank(),
        (T::Date, T::Timestamp | T::Timestamptz)
        | (T::Timestamp, T::Timestamptz)
        | (T::Time, T::Interval) => true,
        (T::Array(from), T::Array(to)) => allowed(from, to, Mode::Implicit),
        _ => false,
    };
    let assignment = || match (from, to) {
        (from, to) if from.is_number() && to.is_number() => true,
        (_, to) if to.is_text() => true,
        (T::Timestamptz | T::Timestamp, T::Date | T::Time) | (T::Timestamptz, T::Timestamp) => true,
        (T::Interval, T::Time) | (T::Json, T::Jsonb) | (T::Jsonb, T::Json) => true,
        (T::Array(from), T::Array(to)) => allowed(from, to, Mode::Assignment),
        _ => false,
    };
    let explicit = || match (from, to) {
        (from, _) if from.is_text() => true,
        (T::Bool, T::Int4) | (T::Int4, T::Bool) => true,
        (T::Jsonb, to) => to.is_number() || *to == T::Bool,
        (T::Array(from), T::Array(to)) => allowed(from, to, Mode::Explicit),
        _ => false,
    };
    match mode {
        Mode::Implicit => implicit,
        Mode::Assignment => implicit || assignment(),
        Mode::Explicit => implicit || assignment() || explicit(),
    }
}
