//! Functions of text and bytes.
//!
//! Owns what SQLite has for ASCII only, or not at all. Must not know collations. Invariant: lengths and places are in
//! characters.

use md5::{Digest, Md5};
use regex::RegexBuilder;

use super::super::error::{Condition, Result, SqlError};
use super::super::text;
use super::super::types::Value;
use super::{Arguments, Pure};

pub(super) const FUNCTIONS: &[(&str, Pure)] = &[
    ("x_lower", |a| Ok(a.text(0)?.to_lowercase().into())),
    ("x_upper", |a| Ok(a.text(0)?.to_uppercase().into())),
    ("x_initcap", initcap),
    ("x_like", like),
    ("x_regex", |a| Ok(Value::Integer(i64::from(regex(a, 1, 2)?.is_match(a.text(0)?))))),
    ("x_regex_replace", regex_replace),
    ("x_left", |a| Ok(cut(a.text(0)?, a.integer(1)?, true).into())),
    ("x_right", |a| Ok(cut(a.text(0)?, a.integer(1)?, false).into())),
    ("x_lpad", |a| pad(a, true)),
    ("x_rpad", |a| pad(a, false)),
    ("x_substring", substring),
    ("x_split_part", split_part),
    ("x_repeat", |a| Ok(a.text(0)?.repeat(usize::try_from(a.integer(1)?).unwrap_or(0)).into())),
    ("x_reverse", |a| Ok(a.text(0)?.chars().rev().collect::<String>().into())),
    ("x_md5", |a| Ok(hex(&Md5::digest(bytes(a, 0))).into())),
    ("x_sha256", |a| {
        Ok(Value::Blob(ring::digest::digest(&ring::digest::SHA256, &bytes(a, 0)).as_ref().to_vec()))
    }),
    ("x_chr", |a| Ok(u32::try_from(a.integer(0)?).ok().and_then(char::from_u32).map(String::from).into())),
    ("x_ascii", |a| Ok(Value::Integer(a.text(0)?.chars().next().map_or(0, |c| i64::from(u32::from(c)))))),
    ("x_translate", translate),
    ("x_trim", trim),
    ("x_encode", encode),
    ("x_decode", decode),
    ("x_quote_ident", |a| Ok(quote_ident(a.text(0)?).into())),
    ("x_quote_literal", |a| Ok(format!("'{}'", a.text(0)?.replace('\'', "''")).into())),
    ("x_octets", |a| Ok(Value::Integer(bytes(a, 0).len() as i64))),
];

fn bytes(arguments: &Arguments, at: usize) -> Vec<u8> {
    match arguments.value(at) {
        Value::Text(text) => text.clone().into_bytes(),
        Value::Blob(bytes) => bytes.clone(),
        _ => Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn initcap(arguments: &Arguments) -> Result<Value> {
    let mut inside = false;
    let mut result = String::new();
    for c in arguments.text(0)?.chars() {
        if inside {
            result.extend(c.to_lowercase());
        } else {
            result.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric();
    }
    Ok(result.into())
}

/// `x_like(text, pattern, escape, ignore case)`
fn like(arguments: &Arguments) -> Result<Value> {
    let escape = arguments.text(2)?.chars().next();
    let insensitive = arguments.integer(3)? != 0;
    let fold = |text: &str| if insensitive { text.to_lowercase() } else { text.to_owned() };
    let (text, pattern) = (fold(arguments.text(0)?), fold(arguments.text(1)?));
    let mut tokens = Vec::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            c if Some(c) == escape => Token::Just(rest.next().ok_or_else(|| {
                SqlError::new(
                    Condition::InvalidEscapeSequence,
                    "LIKE pattern must not end with escape character",
                )
            })?),
            '%' => Token::Many,
            '_' => Token::One,
            c => Token::Just(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    Ok(Value::Integer(i64::from(matches(&text, &tokens))))
}

enum Token {
    Just(char),
    One,
    Many,
}

/// Without recursion: at a mismatch, the last `%` takes one character more.
fn matches(text: &[char], tokens: &[Token]) -> bool {
    let (mut at, mut token, mut retry) = (0, 0, None);
    while at < text.len() {
        match tokens.get(token) {
            Some(Token::Many) => {
                retry = Some((token, at));
                token += 1;
                continue;
            }
            Some(Token::One) => {}
            Some(Token::Just(c)) if *c == text[at] => {}
            _ => {
                let Some((many, taken)) = retry else { return false };
                retry = Some((many, taken + 1));
                (token, at) = (many + 1, taken + 1);
                continue;
            }
        }
        at += 1;
        token += 1;
    }
    tokens[token..].iter().all(|token| matches!(token, Token::Many))
}

fn regex(arguments: &Arguments, pattern: usize, flags: usize) -> Result<regex::Regex> {
    let insensitive = arguments.text(flags)?.contains('i');
    RegexBuilder::new(arguments.text(pattern)?).case_insensitive(insensitive).build().map_err(|error| {
        let message = format!("invalid regular expression: {error}");
        SqlError::new(Condition::InvalidRegularExpression, message)
    })
}

/// `x_regex_replace(text, pattern, replacement, flags)`
fn regex_replace(arguments: &Arguments) -> Result<Value> {
    let regex = regex(arguments, 1, 3)?;
    let mut replacement = String::new();
    let mut rest = arguments.text(2)?.chars();
    while let Some(c) = rest.next() {
        match c {
            '$' => replacement.push_str("$$"),
            '\\' => match rest.next() {
                Some('&') => replacement.push_str("${0}"),
                Some(digit) if digit.is_ascii_digit() => replacement.push_str(&format!("${{{digit}}}")),
                Some(other) => replacement.push(other),
                None => {}
            },
            c => replacement.push(c),
        }
    }
    let limit = usize::from(!arguments.text(3)?.contains('g'));
    Ok(regex.replacen(arguments.text(0)?, limit, replacement.as_str()).into_owned().into())
}

/// The first or last characters; a negative number leaves so many away.
fn cut(text: &str, count: i64, first: bool) -> String {
    let length = text.chars().count() as i64;
    let count = if count < 0 { (length + count).max(0) } else { count.min(length) } as usize;
    if first {
        text.chars().take(count).collect()
    } else {
        text.chars().skip(length as usize - count).collect()
    }
}

fn pad(arguments: &Arguments, left: bool) -> Result<Value> {
    let text = arguments.text(0)?;
    let fill = if arguments.len() > 2 { arguments.text(2)? } else { " " };
    let (length, wanted) = (text.chars().count(), usize::try_from(arguments.integer(1)?).unwrap_or(0));
    if length >= wanted {
        return Ok(text.chars().take(wanted).collect::<String>().into());
    }
    let padding: String =
        fill.chars().cycle().take(if fill.is_empty() { 0 } else { wanted - length }).collect();
    Ok(if left { padding + text } else { text.to_owned() + &padding }.into())
}

/// `x_substring(text or bytes, from, length)`, from 1; places before the first count as empty.
fn substring(arguments: &Arguments) -> Result<Value> {
    let from = arguments.integer(1)?;
    let end = if arguments.len() > 2 {
        let length = arguments.integer(2)?;
        if length < 0 {
            return Err(SqlError::new(
                Condition::InvalidParameterValue,
                "negative substring length not allowed",
            ));
        }
        from.saturating_add(length)
    } else {
        i64::MAX
    };
    let skip = usize::try_from(from.max(1) - 1).unwrap_or(0);
    let take = usize::try_from(end - from.max(1)).unwrap_or(0);
    Ok(match arguments.value(0) {
        Value::Blob(bytes) => Value::Blob(bytes.iter().skip(skip).take(take).copied().collect()),
        _ => arguments.text(0)?.chars().skip(skip).take(take).collect::<String>().into(),
    })
}

fn split_part(arguments: &Arguments) -> Result<Value> {
    let (text, separator, field) = (arguments.text(0)?, arguments.text(1)?, arguments.integer(2)?);
    if field == 0 {
        return Err(SqlError::new(Condition::InvalidParameterValue, "field position must not be zero"));
    }
    let parts: Vec<&str> = if separator.is_empty() { vec![text] } else { text.split(separator).collect() };
    let at = if field > 0 { field - 1 } else { parts.len() as i64 + field };
    let part = usize::try_from(at).ok().and_then(|at| parts.get(at)).copied().unwrap_or_default();
    Ok(part.to_owned().into())
}

fn translate(arguments: &Arguments) -> Result<Value> {
    let from: Vec<char> = arguments.text(1)?.chars().collect();
    let to: Vec<char> = arguments.text(2)?.chars().collect();
    let changed =
        arguments.text(0)?.chars().filter_map(|c| match from.iter().position(|found| *found == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        });
    Ok(changed.collect::<String>().into())
}

/// `x_trim(side, text, characters)`
fn trim(arguments: &Arguments) -> Result<Value> {
    let (side, text) = (arguments.text(0)?, arguments.text(1)?);
    let set: Vec<char> = arguments.text(2)?.chars().collect();
    let trimmed = match side {
        "leading" => text.trim_start_matches(set.as_slice()),
        "trailing" => text.trim_end_matches(set.as_slice()),
        _ => text.trim_matches(set.as_slice()),
    };
    Ok(trimmed.to_owned().into())
}

fn encode(arguments: &Arguments) -> Result<Value> {
    use base64::Engine;
    let data = bytes(arguments, 0);
    match arguments.text(1)? {
        "hex" => Ok(hex(&data).into()),
        "base64" => Ok(base64::engine::general_purpose::STANDARD.encode(data).into()),
        other => Err(unknown_encoding(other)),
    }
}

fn decode(arguments: &Arguments) -> Result<Value> {
    use base64::Engine;
    let data = arguments.text(0)?;
    let decoded = match arguments.text(1)? {
        "hex" => text::from_hex(data),
        "base64" => base64::engine::general_purpose::STANDARD.decode(data).ok(),
        other => return Err(unknown_encoding(other)),
    };
    decoded.map(Value::Blob).ok_or_else(|| {
        SqlError::new(Condition::InvalidParameterValue, "invalid symbol found while decoding sequence")
    })
}

fn unknown_encoding(name: &str) -> SqlError {
    SqlError::new(Condition::InvalidParameterValue, format!("unrecognized encoding: \"{name}\""))
}

fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
