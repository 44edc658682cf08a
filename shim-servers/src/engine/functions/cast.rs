//! Conversions between any two types: `x_cast(from, to, mode, value)` and `x_text(type, value)`.
//!
//! Owns what each pair of types means. Must not know which conversions a dialect allows. Invariant: the result is kept as
//! values of the target type are.

use super::super::error::{Condition, Result, SqlError};
use super::super::numeric::Numeric;
use super::super::text;
use super::super::times::{self, DAY_US, Interval};
use super::super::types::{SqlType, Value};
use super::{Arguments, Pure};

pub(super) const FUNCTIONS: &[(&str, Pure)] = &[("x_cast", cast), ("x_text", to_text)];

fn to_text(arguments: &Arguments) -> Result<Value> {
    let text = text::format(&arguments.ty(0)?, arguments.value(1))?;
    Ok(text.map_or(Value::Null, Value::Text))
}

/// `mode` is `e` where the user wrote the cast, and `a` where a value is stored: only the first one shortens text.
fn cast(arguments: &Arguments) -> Result<Value> {
    let explicit = arguments.text(2)? == "e";
    convert(&arguments.ty(0)?, &arguments.ty(1)?, explicit, arguments.value(3))
}

/// A value of one type as the other's.
pub(crate) fn convert(from: &SqlType, to: &SqlType, explicit: bool, value: &Value) -> Result<Value> {
    if *value == Value::Null || from == to {
        return Ok(value.clone());
    }
    let unable = || {
        let message = format!("cannot cast type {} to {}", from.display_name(), to.display_name());
        SqlError::new(Condition::CannotCoerce, message)
    };
    if to.is_text() {
        return to_characters(from, to, explicit, value);
    }
    match (to, value) {
        (_, Value::Text(text)) if from.is_text() || *from == SqlType::Unknown => text::parse(to, text),
        (SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid, _) => integer(to, value),
        (SqlType::Float8, Value::Integer(number)) => Ok(Value::Real(*number as f64)),
        (SqlType::Float8, Value::Real(number)) => Ok(Value::Real(*number)),
        (SqlType::Float4, Value::Integer(number)) => Ok(Value::Real(f64::from(*number as f32))),
        (SqlType::Float4, Value::Real(number)) => Ok(Value::Real(f64::from(*number as f32))),
        (SqlType::Float4 | SqlType::Float8, Value::Text(text)) => {
            let number = Numeric::parse(text)?.to_f64();
            Ok(Value::Real(if *to == SqlType::Float4 { f64::from(number as f32) } else { number }))
        }
        (SqlType::Numeric(limits), _) => {
            let number = match value {
                Value::Integer(number) => Numeric::parse(&number.to_string())?,
                Value::Real(number) => Numeric::from_f64(*number)?,
                Value::Text(text) => Numeric::parse(text)?,
                _ => return Err(unable()),
            };
            let number = match limits {
                Some((precision, scale)) => number.limited(*precision, *scale)?,
                None => number,
            };
            Ok(Value::Text(number.to_string()))
        }
        (SqlType::Bool, Value::Integer(number)) => Ok(Value::Integer(i64::from(*number != 0))),
        (SqlType::Date, Value::Integer(us)) => Ok(Value::Integer(times::date_of_timestamp(*us))),
        (SqlType::Timestamp | SqlType::Timestamptz, Value::Integer(number)) => {
            Ok(Value::Integer(match from {
                SqlType::Date => times::timestamp_of_date(*number)?,
                _ => *number,
            }))
        }
        (SqlType::Time, Value::Integer(us)) => Ok(Value::Integer(us.rem_euclid(DAY_US))),
        (SqlType::Time, Value::Text(kept)) => {
            Ok(Value::Integer(Interval::from_kept(kept)?.us.rem_euclid(DAY_US)))
        }
        (SqlType::Interval, Value::Integer(us)) => {
            Ok(Value::Text(Interval { us: *us, ..Interval::default() }.kept()))
        }
        (SqlType::Json | SqlType::Jsonb, Value::Text(text)) => text::parse(to, text),
        (SqlType::Enum(..), Value::Text(text)) => Ok(Value::Text(text.clone())),
        (SqlType::Array(element), Value::Text(json)) => {
            let SqlType::Array(own) = from else { return Err(unable()) };
            let items = text::elements(json)?.into_iter().map(|item| {
                convert(own, element, explicit, &text::from_element(own, &item))
                    .map(|value| text::to_element(&value))
            });
            Ok(Value::Text(serde_json::Value::Array(items.collect::<Result<_>>()?).to_string()))
        }
        (SqlType::Regclass | SqlType::Regtype | SqlType::Record, _) => Ok(value.clone()),
        _ => Err(unable()),
    }
}

/// A value as text of a character type.
fn to_characters(from: &SqlType, to: &SqlType, explicit: bool, value: &Value) -> Result<Value> {
    let text = match (from, value) {
        (SqlType::Bool, Value::Integer(truth)) => (if *truth == 0 { "false" } else { "true" }).to_owned(),
        _ => text::format(from, value)?.unwrap_or_default(),
    };
    let text = if matches!(from, SqlType::Char(_)) { text.trim_end_matches(' ').to_owned() } else { text };
    Ok(Value::Text(match to {
        SqlType::Varchar(Some(length)) | SqlType::Char(Some(length)) => {
            let shortened: String = text.chars().take(*length as usize).collect();
            text::limited(if explicit { &shortened } else { &text }, *length, to)?
        }
        _ => text,
    }))
}

fn integer(to: &SqlType, value: &Value) -> Result<Value> {
    let number = match value {
        Value::Integer(number) => Some(*number),
        Value::Real(number) => {
            let rounded = number.round_ties_even();
            (rounded.abs() < 9.3e18).then_some(rounded as i64).filter(|whole| *whole as f64 == rounded)
        }
        Value::Text(text) => Numeric::parse(text).ok().and_then(|number| number.to_i64()),
        _ => None,
    };
    number.filter(|number| text::in_range(to, *number)).map(Value::Integer).ok_or_else(|| out_of_range(to))
}

/// What calculations beyond a type's range fail with.
pub(crate) fn out_of_range(ty: &SqlType) -> SqlError {
    SqlError::new(Condition::NumericValueOutOfRange, format!("{} out of range", ty.display_name()))
}

/// A point in time that a function was given.
pub(crate) fn timestamp(value: &Value, ty: &SqlType) -> Result<i64> {
    match (value, ty) {
        (Value::Integer(days), SqlType::Date) => times::timestamp_of_date(*days),
        (Value::Integer(us), _) => Ok(*us),
        (Value::Text(text), _) => times::parse_timestamp(text, true),
        (other, _) => Err(SqlError::internal(format!("no point in time: {other:?}"))),
    }
}
