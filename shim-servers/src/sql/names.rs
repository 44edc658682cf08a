//! Names, types and places in the text of a statement.
//!
//! Owns how identifiers are folded and how types are written. Must not look anything up but types. Invariant: an identifier without
//! quotes is lower case.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, Ident, ObjectName, ObjectNamePart,
    TimezoneInfo,
};
use sqlparser::parser::ParserError;

use super::Surroundings;
use crate::engine::{Condition, Result, SqlError, SqlType};

/// An identifier as it is meant.
pub fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Schema and name of a name in one or two parts.
///
/// # Errors
/// `0A000` for more parts.
pub fn split_name(name: &ObjectName) -> Result<(Option<String>, String)> {
    let mut parts = Vec::new();
    for part in &name.0 {
        match part {
            ObjectNamePart::Identifier(ident) => parts.push(name_of(ident)),
            ObjectNamePart::Function(_) => return Err(SqlError::unsupported(format!("the name {name}"))),
        }
    }
    match parts.len() {
        1 => Ok((None, parts.remove(0))),
        2 => Ok((Some(parts.remove(0)), parts.remove(0))),
        3 => Ok((Some(parts.remove(1)), parts.remove(1))),
        _ => Err(SqlError::unsupported(format!("the name {name}"))),
    }
}

/// The character of a place in the text, from 1; 0 where there is none.
pub(crate) fn position(text: &str, line: u64, column: u64) -> usize {
    if line == 0 {
        return 0;
    }
    let before: usize = text.split('\n').take(line as usize - 1).map(|line| line.chars().count() + 1).sum();
    before + column as usize
}

/// What the parser did not understand, in PostgreSQL's words.
pub fn parse_error(error: &ParserError, text: &str) -> SqlError {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message.clone(),
        ParserError::RecursionLimitExceeded => "statement is too complex".to_owned(),
    };
    let number = |after: &str| -> Option<u64> {
        let rest = message.rsplit_once(after)?.1;
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
    };
    let place = number("Line: ").zip(number("Column: "));
    let found = message.rsplit_once("found: ").map(|(_, rest)| rest.split(" at Line").next().unwrap_or(rest));
    let text_of_error = match found {
        Some("EOF") | None if found.is_some() => "syntax error at end of input".to_owned(),
        Some(found) => format!("syntax error at or near \"{found}\""),
        None => format!("syntax error: {message}"),
    };
    let error = SqlError::new(Condition::SyntaxError, text_of_error);
    match place {
        Some((line, column)) => error.position(position(text, line, column)),
        None if found == Some("EOF") => error.position(text.chars().count() + 1),
        None => error,
    }
}

fn length(length: Option<&CharacterLength>) -> Option<u32> {
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) => u32::try_from(*length).ok(),
        _ => None,
    }
}

fn exact(info: &ExactNumberInfo) -> SqlType {
    SqlType::Numeric(match info {
        ExactNumberInfo::None => None,
        ExactNumberInfo::Precision(precision) => Some((*precision as u16, 0)),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => Some((*precision as u16, *scale as u16)),
    })
}

/// The type that is written.
///
/// # Errors
/// `42704` for one that does not exist, `0A000` for one that this server does not have.
pub fn data_type(written: &DataType, around: &Surroundings<'_>) -> Result<SqlType> {
    Ok(match written {
        DataType::Bool | DataType::Boolean => SqlType::Bool,
        DataType::SmallInt(_) | DataType::Int2(_) => SqlType::Int2,
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => SqlType::Int4,
        DataType::BigInt(_) | DataType::Int8(_) => SqlType::Int8,
        DataType::Real | DataType::Float4 => SqlType::Float4,
        DataType::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => SqlType::Float4,
        DataType::Float(_) | DataType::Float8 | DataType::Double(_) | DataType::DoublePrecision => {
            SqlType::Float8
        }
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => exact(info),
        DataType::Text => SqlType::Text,
        DataType::Varchar(size) | DataType::CharacterVarying(size) | DataType::CharVarying(size) => {
            SqlType::Varchar(length(size.as_ref()))
        }
        DataType::Char(size) | DataType::Character(size) => {
            SqlType::Char(Some(length(size.as_ref()).unwrap_or(1)))
        }
        DataType::Bytea => SqlType::Bytea,
        DataType::Uuid => SqlType::Uuid,
        DataType::Date => SqlType::Date,
        DataType::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Time,
        DataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => SqlType::Timestamp,
        DataType::Timestamp(_, _) => SqlType::Timestamptz,
        DataType::Interval { .. } => SqlType::Interval,
        DataType::JSON => SqlType::Json,
        DataType::JSONB => SqlType::Jsonb,
        DataType::Regclass => SqlType::Regclass,
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::Parenthesis(element)
            | ArrayElemTypeDef::Qualified(element, _),
        ) => data_type(element, around)?.array(),
        DataType::Custom(name, arguments) => custom(name, arguments, around)?,
        other => return Err(SqlError::unsupported(format!("type {other}"))),
    })
}

fn custom(name: &ObjectName, arguments: &[String], around: &Surroundings<'_>) -> Result<SqlType> {
    let (schema, name) = split_name(name)?;
    if schema.as_deref().is_none_or(|schema| schema == "pg_catalog") {
        let limit = arguments.first().and_then(|argument| argument.parse().ok());
        match name.as_str() {
            "serial" | "serial4" => return Ok(SqlType::Int4),
            "bigserial" | "serial8" => return Ok(SqlType::Int8),
            "smallserial" | "serial2" => return Ok(SqlType::Int2),
            "varchar" => return Ok(SqlType::Varchar(limit)),
            "bpchar" => return Ok(SqlType::Char(limit)),
            _ => {}
        }
        if let Some(ty) = SqlType::from_name(&name) {
            return Ok(ty);
        }
    }
    if let Some(found) = around.catalog.enum_type(schema.as_deref(), &name, around.search_path) {
        return Ok(SqlType::Enum(found.oid, name));
    }
    Err(SqlError::new(Condition::UndefinedObject, format!("type \"{name}\" does not exist")))
}
