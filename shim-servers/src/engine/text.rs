//! Values as text: how each type is read and written.
//!
//! Owns the text format of every type, which is also that of the wire, of casts and of literals. Must not know binary
//! formats. Invariant: what [`format`] writes, [`parse`] reads as the same kept value.

use super::error::{Condition, Result, SqlError};
use super::numeric::Numeric;
use super::times::{self, Interval};
use super::types::{SqlType, Value};

fn invalid(ty: &SqlType, text: &str) -> SqlError {
    let message = format!("invalid input syntax for type {}: \"{text}\"", ty.display_name());
    SqlError::new(Condition::InvalidTextRepresentation, message)
}

/// Reads a value of a type.
///
/// # Errors
/// `22P02` and its kin, with PostgreSQL's text.
pub fn parse(ty: &SqlType, text: &str) -> Result<Value> {
    Ok(match ty {
        SqlType::Bool => Value::Integer(i64::from(parse_bool(text).ok_or_else(|| invalid(ty, text))?)),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Oid => {
            Value::Integer(parse_integer(ty, text)?)
        }
        SqlType::Float4 | SqlType::Float8 => {
            let number = match text.trim().to_ascii_lowercase().as_str() {
                "" | "inf" => None,
                "infinity" => Some(f64::INFINITY),
                "-infinity" => Some(f64::NEG_INFINITY),
                other => other.parse().ok(),
            };
            let number: f64 = number.ok_or_else(|| invalid(ty, text))?;
            if number.is_nan() {
                return Err(SqlError::unsupported("a float that is not a number"));
            }
            Value::Real(if *ty == SqlType::Float4 { f64::from(number as f32) } else { number })
        }
        SqlType::Numeric(limits) => {
            let number = Numeric::parse(text)?;
            let number = match limits {
                Some((precision, scale)) => number.limited(*precision, *scale)?,
                None => number,
            };
            Value::Text(number.to_string())
        }
        SqlType::Varchar(Some(length)) | SqlType::Char(Some(length)) => {
            Value::Text(limited(text, *length, ty)?)
        }
        SqlType::Bytea => Value::Blob(parse_bytea(text)?),
        SqlType::Uuid => Value::Text(parse_uuid(text).ok_or_else(|| invalid(ty, text))?),
        SqlType::Date => Value::Integer(times::parse_date(text)?),
        SqlType::Time => Value::Integer(times::parse_time(text)?),
        SqlType::Timestamp => Value::Integer(times::parse_timestamp(text, false)?),
        SqlType::Timestamptz => Value::Integer(times::parse_timestamp(text, true)?),
        SqlType::Interval => Value::Text(Interval::parse(text)?.kept()),
        SqlType::Json => Value::Text(check_json(ty, text)?),
        SqlType::Jsonb => Value::Text(jsonb(&parse_json(ty, text)?)),
        SqlType::Array(element) => Value::Text(parse_array(element, text)?.to_string()),
        SqlType::Regclass | SqlType::Regtype | SqlType::Record | SqlType::Void => {
            return Err(SqlError::unsupported(format!("reading a value of type {}", ty.display_name())));
        }
        SqlType::Unknown
        | SqlType::Text
        | SqlType::Varchar(None)
        | SqlType::Char(None)
        | SqlType::Name
        | SqlType::Byte
        | SqlType::Enum(..) => Value::Text(text.to_owned()),
    })
}

/// Writes a value of a type; `None` is NULL.
///
/// # Errors
/// An internal error where the value is not kept as the type's are.
pub fn format(ty: &SqlType, value: &Value) -> Result<Option<String>> {
    Ok(Some(match (ty, value) {
        (_, Value::Null) => return Ok(None),
        (SqlType::Bool, Value::Integer(number)) => (if *number != 0 { "t" } else { "f" }).to_owned(),
        (SqlType::Date, Value::Integer(days)) => times::format_date(*days),
        (SqlType::Time, Value::Integer(us)) => times::format_time(*us),
        (SqlType::Timestamp, Value::Integer(us)) => times::format_timestamp(*us, false),
        (SqlType::Timestamptz, Value::Integer(us)) => times::format_timestamp(*us, true),
        (SqlType::Interval, Value::Text(kept)) => Interval::from_kept(kept)?.to_string(),
        (SqlType::Array(element), Value::Text(json)) => format_array(element, json)?,
        (SqlType::Record, Value::Text(json)) => format_record(json)?,
        (SqlType::Float4, Value::Real(number)) => {
            format_float(f64::from(*number as f32), Some(*number as f32))
        }
        (_, Value::Real(number)) => format_float(*number, None),
        (SqlType::Void, _) => String::new(),
        (_, Value::Integer(number)) => number.to_string(),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::Blob(bytes)) => {
            let mut text = String::from("\\x");
            bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text
        }
    }))
}

fn format_float(number: f64, single: Option<f32>) -> String {
    if number.is_infinite() {
        return (if number > 0.0 { "Infinity" } else { "-Infinity" }).to_owned();
    }
    let exponent = if number == 0.0 { 0 } else { number.abs().log10().floor() as i32 };
    let limit = if single.is_some() { 6 } else { 15 };
    if (-4..limit).contains(&exponent) {
        return single.map_or_else(|| number.to_string(), |single| single.to_string());
    }
    let text = single.map_or_else(|| format!("{number:e}"), |single| format!("{single:e}"));
    match text.split_once('e') {
        Some((digits, power)) => {
            let (sign, power) = power.strip_prefix('-').map_or(('+', power), |power| ('-', power));
            format!("{digits}e{sign}{power:0>2}")
        }
        None => text,
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    let word = text.trim().to_ascii_lowercase();
    let starts = |of: &str| !word.is_empty() && of.starts_with(&word);
    match word.as_str() {
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        _ if starts("true") || starts("yes") => Some(true),
        _ if starts("false") || starts("no") => Some(false),
        _ => None,
    }
}

fn parse_integer(ty: &SqlType, text: &str) -> Result<i64> {
    let trimmed = text.trim();
    let digits = trimmed.trim_start_matches(['-', '+']);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(ty, text));
    }
    trimmed.parse::<i64>().ok().filter(|number| in_range(ty, *number)).ok_or_else(|| {
        let message = format!("value \"{text}\" is out of range for type {}", ty.display_name());
        SqlError::new(Condition::NumericValueOutOfRange, message)
    })
}

/// Whether an integer fits the type.
pub(crate) fn in_range(ty: &SqlType, number: i64) -> bool {
    match ty {
        SqlType::Int2 => i16::try_from(number).is_ok(),
        SqlType::Int4 => i32::try_from(number).is_ok(),
        SqlType::Oid => u32::try_from(number).is_ok(),
        _ => true,
    }
}

/// Text held to a length: what is beyond must be blanks.
pub(crate) fn limited(text: &str, length: u32, ty: &SqlType) -> Result<String> {
    let length = length as usize;
    let count = text.chars().count();
    if count > length && text.chars().skip(length).any(|c| c != ' ') {
        let message = format!("value too long for type {}", ty.display_name());
        return Err(SqlError::new(Condition::StringDataRightTruncation, message));
    }
    let mut kept: String = text.chars().take(length).collect();
    if matches!(ty, SqlType::Char(_)) {
        kept.extend(std::iter::repeat_n(' ', length.saturating_sub(count)));
    }
    Ok(kept)
}

fn parse_bytea(text: &str) -> Result<Vec<u8>> {
    let wrong = || SqlError::new(Condition::InvalidTextRepresentation, "invalid input syntax for type bytea");
    if let Some(hex) = text.strip_prefix("\\x") {
        return from_hex(hex).ok_or_else(|| {
            SqlError::new(Condition::InvalidParameterValue, "invalid hexadecimal data: odd number of digits")
        });
    }
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().ok_or_else(wrong)? {
            b'\\' => bytes.push(b'\\'),
            first @ b'0'..=b'3' => {
                let (second, third) = (rest.next().ok_or_else(wrong)?, rest.next().ok_or_else(wrong)?);
                let digit = |byte: u8| (b'0'..=b'7').contains(&byte).then(|| byte - b'0').ok_or_else(wrong);
                bytes.push(digit(first)? * 64 + digit(second)? * 8 + digit(third)?);
            }
            _ => return Err(wrong()),
        }
    }
    Ok(bytes)
}

/// Bytes of hexadecimal digits.
pub(crate) fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

/// A UUID in its usual form, of any form that PostgreSQL reads.
pub(crate) fn parse_uuid(text: &str) -> Option<String> {
    let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
    let hex: String = inner.chars().filter(|c| *c != '-').collect::<String>().to_ascii_lowercase();
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

fn parse_json(ty: &SqlType, text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("invalid input syntax for type {}", ty.display_name());
        SqlError::new(Condition::InvalidTextRepresentation, message).detail(error.to_string())
    })
}

fn check_json(ty: &SqlType, text: &str) -> Result<String> {
    parse_json(ty, text).map(|_| text.to_owned())
}

/// JSON in the normal form of `jsonb`: keys by length, then by bytes; a blank after commas and colons.
pub(crate) fn jsonb(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => {
            let items: Vec<String> = items.iter().map(jsonb).collect();
            format!("[{}]", items.join(", "))
        }
        serde_json::Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by(|(a, _), (b, _)| (a.len(), a.as_str()).cmp(&(b.len(), b.as_str())));
            let fields = fields
                .into_iter()
                .map(|(key, value)| format!("{}: {}", serde_json::Value::String(key.clone()), jsonb(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// A kept value as an element of a kept array.
pub(crate) fn to_element(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.clone().into(),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}

/// An element of a kept array as a kept value of its type.
pub(crate) fn from_element(ty: &SqlType, element: &serde_json::Value) -> Value {
    match element {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Integer(i64::from(*truth)),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) if !ty.is_float() => Value::Integer(number),
            _ => Value::Real(number.as_f64().unwrap_or(0.0)),
        },
        serde_json::Value::String(text) if *ty == SqlType::Bytea => {
            Value::Blob(from_hex(text).unwrap_or_default())
        }
        serde_json::Value::String(text) => Value::Text(text.clone()),
        other => Value::Text(other.to_string()),
    }
}

/// The elements of a kept array.
///
/// # Errors
/// An internal error for text that is no JSON array.
pub(crate) fn elements(json: &str) -> Result<Vec<serde_json::Value>> {
    serde_json::from_str(json).map_err(|error| SqlError::internal(format!("not a kept array: {error}")))
}

fn parse_array(element: &SqlType, text: &str) -> Result<serde_json::Value> {
    let malformed = || {
        let message = format!("malformed array literal: \"{text}\"");
        SqlError::new(Condition::InvalidTextRepresentation, message)
    };
    let inner =
        text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(malformed)?;
    let mut items = Vec::new();
    let mut rest = inner.chars().peekable();
    while rest.peek().is_some() {
        let (mut item, mut quoted) = (String::new(), false);
        loop {
            match rest.next() {
                None | Some(',') => break,
                Some('{') => return Err(SqlError::unsupported("an array of more than one dimension")),
                Some('"') => {
                    quoted = true;
                    loop {
                        match rest.next().ok_or_else(malformed)? {
                            '"' => break,
                            '\\' => item.push(rest.next().ok_or_else(malformed)?),
                            other => item.push(other),
                        }
                    }
                }
                Some('\\') => item.push(rest.next().ok_or_else(malformed)?),
                Some(other) => item.push(other),
            }
        }
        let item = if quoted { item } else { item.trim().to_owned() };
        if item.is_empty() && !quoted {
            return Err(malformed());
        }
        let null = !quoted && item.eq_ignore_ascii_case("null");
        items.push(if null { serde_json::Value::Null } else { to_element(&parse(element, &item)?) });
    }
    Ok(items.into())
}

fn format_array(element: &SqlType, json: &str) -> Result<String> {
    let mut items = Vec::new();
    for item in elements(json)? {
        items.push(match format(element, &from_element(element, &item))? {
            None => "NULL".to_owned(),
            Some(text) if needs_quotes(&text) => {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Some(text) => text,
        });
    }
    Ok(format!("{{{}}}", items.join(",")))
}

/// The parts of a kept row, each with its type.
///
/// # Errors
/// An internal error for text that is no row.
pub(crate) fn fields(json: &str) -> Result<Vec<(SqlType, Value)>> {
    let parts: Vec<(String, serde_json::Value)> =
        serde_json::from_str(json).map_err(|error| SqlError::internal(format!("not a kept row: {error}")))?;
    let field = |(code, value): (String, serde_json::Value)| {
        let ty = SqlType::from_code(&code).ok_or_else(|| SqlError::internal(format!("no type {code}")))?;
        let value = from_element(&ty, &value);
        Ok((ty, value))
    };
    parts.into_iter().map(field).collect()
}

fn format_record(json: &str) -> Result<String> {
    let mut parts = Vec::new();
    for (ty, value) in fields(json)? {
        let special = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | '"' | '\\');
        parts.push(match format(&ty, &value)? {
            None => String::new(),
            Some(text) if text.is_empty() || text.contains(special) => {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
            }
            Some(text) => text,
        });
    }
    Ok(format!("({})", parts.join(",")))
}

fn needs_quotes(text: &str) -> bool {
    let special = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ',' | '"' | '\\');
    text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        let cases = [
            (SqlType::Bool, "t"),
            (SqlType::Int4, "-42"),
            (SqlType::Float8, "0.1"),
            (SqlType::Float8, "1e+30"),
            (SqlType::Numeric(Some((6, 2))), "12.50"),
            (SqlType::Bytea, "\\x00ff"),
            (SqlType::Uuid, "67e55044-10b1-426f-9247-bb680e5fe0c8"),
            (SqlType::Timestamptz, "2024-01-02 03:04:05.678+00"),
            (SqlType::Jsonb, "{\"b\": 1, \"aa\": [1, 2]}"),
            (SqlType::Text.array(), "{a,\"b c\",NULL,\"\"}"),
            (SqlType::Interval, "1 mon -3 days"),
        ];
        for (ty, text) in cases {
            let value = parse(&ty, text).expect(text);
            assert_eq!(format(&ty, &value).expect(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn wrong_text_is_refused_as_postgres_does() {
        let error = parse(&SqlType::Int4, "one").expect_err("no number");
        assert_eq!(error.message, "invalid input syntax for type integer: \"one\"");
        let error = parse(&SqlType::Int2, "70000").expect_err("too large");
        assert_eq!(error.message, "value \"70000\" is out of range for type smallint");
        let error = parse(&SqlType::Varchar(Some(2)), "abc").expect_err("too long");
        assert_eq!(error.message, "value too long for type character varying(2)");
    }
}
