//! Arithmetic of numbers, times and intervals.
//!
//! Owns overflow, division by zero, and the calendar's sums. Must not choose types: a planner names them. Invariant: what does not
//! fit its type is an error, never another number.

use super::super::error::{Condition, Result, SqlError};
use super::super::numeric::Numeric;
use super::super::text;
use super::super::times::{self, DAY_US, Interval};
use super::super::types::{SqlType, Value};
use super::cast::{out_of_range, timestamp};
use super::{Arguments, Pure};

pub(super) const FUNCTIONS: &[(&str, Pure)] = &[
    ("x_math", math),
    ("x_negate", negate),
    ("x_absolute", absolute),
    ("x_round", round),
    ("x_float", float),
    ("x_span", span),
    ("x_extract", extract),
    ("x_truncate", truncate),
    ("x_make_interval", make_interval),
    ("x_to_timestamp", to_timestamp),
];

/// `x_math(operator, type, left, right)`, both of the type.
fn math(arguments: &Arguments) -> Result<Value> {
    let (operator, ty) = (arguments.text(0)?, arguments.ty(1)?);
    if ty.is_integer() {
        return integers(operator, &ty, arguments.integer(2)?, arguments.integer(3)?);
    }
    if ty.is_float() {
        let (left, right) = (arguments.number(2)?, arguments.number(3)?);
        let result = match operator {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            "/" if right == 0.0 => return Err(division_by_zero()),
            "/" => left / right,
            "%" => left % right,
            "^" => left.powf(right),
            other => return Err(SqlError::internal(format!("no operator {other}"))),
        };
        if result.is_nan() || (result.is_infinite() && left.is_finite() && right.is_finite()) {
            return Err(SqlError::new(Condition::NumericValueOutOfRange, "value out of range: overflow"));
        }
        return Ok(Value::Real(if ty == SqlType::Float4 { f64::from(result as f32) } else { result }));
    }
    let (left, right) = (Numeric::parse(arguments.text(2)?)?, Numeric::parse(arguments.text(3)?)?);
    let result = match operator {
        "+" => left.add(&right),
        "-" => left.subtract(&right),
        "*" => left.multiply(&right),
        "/" => left.divide(&right)?,
        "%" => left.remainder(&right)?,
        other => return Err(SqlError::unsupported(format!("operator {other} on numeric"))),
    };
    Ok(Value::Text(result.to_string()))
}

fn integers(operator: &str, ty: &SqlType, left: i64, right: i64) -> Result<Value> {
    let result = match operator {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "/" | "%" if right == 0 => return Err(division_by_zero()),
        "/" => left.checked_div(right),
        "%" => Some(left.wrapping_rem(right)),
        "&" => Some(left & right),
        "|" => Some(left | right),
        "#" => Some(left ^ right),
        "<<" => Some(left.wrapping_shl(right as u32)),
        ">>" => Some(left.wrapping_shr(right as u32)),
        other => return Err(SqlError::internal(format!("no operator {other}"))),
    };
    result.filter(|number| text::in_range(ty, *number)).map(Value::Integer).ok_or_else(|| out_of_range(ty))
}

fn division_by_zero() -> SqlError {
    SqlError::new(Condition::DivisionByZero, "division by zero")
}

/// `x_negate(type, value)`
fn negate(arguments: &Arguments) -> Result<Value> {
    let ty = arguments.ty(0)?;
    match arguments.value(1) {
        Value::Integer(number) => integers("-", &ty, 0, *number),
        Value::Real(number) => Ok(Value::Real(-number)),
        Value::Text(kept) if ty == SqlType::Interval => {
            Ok(Value::Text(Interval::from_kept(kept)?.scaled(-1).kept()))
        }
        Value::Text(number) => Ok(Value::Text(Numeric::parse(number)?.negated().to_string())),
        other => Err(SqlError::internal(format!("cannot negate {other:?}"))),
    }
}

/// `x_absolute(type, value)`
fn absolute(arguments: &Arguments) -> Result<Value> {
    match arguments.value(1) {
        Value::Integer(number) => {
            number.checked_abs().map(Value::Integer).ok_or_else(|| out_of_range(&SqlType::Int8))
        }
        Value::Real(number) => Ok(Value::Real(number.abs())),
        _ => Ok(Value::Text(Numeric::parse(arguments.text(1)?)?.absolute().to_string())),
    }
}

/// `x_round(kind, value, digits)`, where kind is `round`, `trunc`, `ceil` or `floor`.
fn round(arguments: &Arguments) -> Result<Value> {
    let (kind, digits) = (arguments.text(0)?, arguments.integer(2)?);
    if let Value::Real(number) = arguments.value(1) {
        return Ok(Value::Real(match kind {
            "round" => number.round_ties_even(),
            "trunc" => number.trunc(),
            "ceil" => number.ceil(),
            _ => number.floor(),
        }));
    }
    let number = match arguments.value(1) {
        Value::Integer(number) => Numeric::parse(&number.to_string())?,
        _ => Numeric::parse(arguments.text(1)?)?,
    };
    let result = match kind {
        "round" => number.rounded(digits),
        "trunc" => number.truncated(digits),
        "ceil" => number.to_whole(true),
        _ => number.to_whole(false),
    };
    Ok(Value::Text(if digits < 0 { result.rounded(0).to_string() } else { result.to_string() }))
}

/// `x_float(function, value …)`
fn float(arguments: &Arguments) -> Result<Value> {
    let number = arguments.number(1)?;
    let out = |text: &str| SqlError::new(Condition::NumericValueOutOfRange, text);
    let result = match arguments.text(0)? {
        "sqrt" if number < 0.0 => return Err(out("cannot take square root of a negative number")),
        "sqrt" => number.sqrt(),
        "ln" | "log" if number <= 0.0 => return Err(out("cannot take logarithm of a negative number")),
        "ln" => number.ln(),
        "log" => number.log10(),
        "exp" => number.exp(),
        "power" => number.powf(arguments.number(2)?),
        "sin" => number.sin(),
        "cos" => number.cos(),
        "tan" => number.tan(),
        "atan" => number.atan(),
        "radians" => number.to_radians(),
        "degrees" => number.to_degrees(),
        "sign" => {
            if number == 0.0 {
                0.0
            } else {
                number.signum()
            }
        }
        other => return Err(SqlError::internal(format!("no function {other}"))),
    };
    Ok(Value::Real(result))
}

/// `x_span(operation, left, right)`: what times and intervals do with each other.
fn span(arguments: &Arguments) -> Result<Value> {
    let interval = |at: usize| Interval::from_kept(arguments.text(at)?);
    let is_special = |at: usize| Ok::<_, SqlError>(!times::is_finite(arguments.integer(at)?));
    Ok(match arguments.text(0)? {
        "timestamp+" | "timestamp-" if is_special(1)? => arguments.value(1).clone(),
        "difference" if is_special(1)? || is_special(2)? => {
            return Err(SqlError::new(
                Condition::DatetimeFieldOverflow,
                "cannot subtract infinite timestamps",
            ));
        }
        "timestamp+" => Value::Integer(interval(2)?.add_to(arguments.integer(1)?)?),
        "timestamp-" => Value::Integer(interval(2)?.scaled(-1).add_to(arguments.integer(1)?)?),
        "time+" => Value::Integer((arguments.integer(1)? + interval(2)?.us).rem_euclid(DAY_US)),
        "time-" => Value::Integer((arguments.integer(1)? - interval(2)?.us).rem_euclid(DAY_US)),
        "difference" => {
            let us = arguments.integer(1)?.saturating_sub(arguments.integer(2)?);
            Value::Text(Interval { months: 0, days: (us / DAY_US) as i32, us: us % DAY_US }.kept())
        }
        "interval+" => Value::Text(interval(1)?.plus(&interval(2)?).kept()),
        "interval-" => Value::Text(interval(1)?.plus(&interval(2)?.scaled(-1)).kept()),
        "interval*" => {
            let (span, factor) = (interval(1)?, arguments.number(2)?);
            let parts = [
                Interval::of(f64::from(span.months) * factor, "month"),
                Interval::of(f64::from(span.days) * factor, "day"),
                Interval::of(span.us as f64 * factor, "us"),
            ];
            Value::Text(
                parts.into_iter().flatten().fold(Interval::default(), |sum, part| sum.plus(&part)).kept(),
            )
        }
        // Compared as PostgreSQL does: a month has thirty days, a day twenty-four hours.
        "us" => {
            let span = interval(1)?;
            Value::Integer((i64::from(span.months) * 30 + i64::from(span.days)) * DAY_US + span.us)
        }
        other => return Err(SqlError::internal(format!("no operation {other}"))),
    })
}

/// `x_extract(field, type, value)`
fn extract(arguments: &Arguments) -> Result<Value> {
    let (name, ty) = (arguments.text(0)?, arguments.ty(1)?);
    let number = if ty == SqlType::Interval {
        let span = Interval::from_kept(arguments.text(2)?)?;
        let (months, us) = (f64::from(span.months), span.us as f64);
        match name {
            "epoch" => Some(months * 30.0 * 86_400.0 + f64::from(span.days) * 86_400.0 + us / 1e6),
            "year" => Some((months / 12.0).trunc()),
            "month" => Some(months % 12.0),
            "day" => Some(f64::from(span.days)),
            "hour" => Some((us / 3.6e9).trunc()),
            "minute" => Some((us / 6e7).trunc() % 60.0),
            "second" => Some(us % 6e7 / 1e6),
            _ => None,
        }
    } else {
        times::field(name, timestamp(arguments.value(2), &ty)?)
    };
    let number = number.ok_or_else(|| {
        let message = format!("unit \"{name}\" not recognized for type {}", ty.display_name());
        SqlError::new(Condition::InvalidParameterValue, message)
    })?;
    let digits = if matches!(name, "second" | "epoch") { 6 } else { 0 };
    Ok(Value::Text(format!("{number:.digits$}")))
}

/// `x_truncate(unit, type, value)`
fn truncate(arguments: &Arguments) -> Result<Value> {
    let (unit, ty) = (arguments.text(0)?.to_ascii_lowercase(), arguments.ty(1)?);
    times::truncated(&unit, timestamp(arguments.value(2), &ty)?).map(Value::Integer).ok_or_else(|| {
        let message = format!("unit \"{unit}\" not recognized for type {}", ty.display_name());
        SqlError::new(Condition::InvalidParameterValue, message)
    })
}

/// `x_make_interval(unit, number, …)`
fn make_interval(arguments: &Arguments) -> Result<Value> {
    let mut sum = Interval::default();
    for at in (0..arguments.len()).step_by(2) {
        let part = Interval::of(arguments.number(at + 1)?, arguments.text(at)?);
        sum = sum.plus(&part.ok_or_else(|| SqlError::internal("no such unit"))?);
    }
    Ok(Value::Text(sum.kept()))
}

/// `x_to_timestamp(seconds since 1970)`
fn to_timestamp(arguments: &Arguments) -> Result<Value> {
    Ok(Value::Integer((arguments.number(0)? * 1e6).round() as i64 - times::EPOCH_US))
}
