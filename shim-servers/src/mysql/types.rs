//! MySQL's column types: how each is declared to SQLite, checked when it is stored, and shown on the wire.
//!
//! Owns [`ColumnType`]. Must not run SQL. Invariant: a value of a type is stored in one form only, so that SQLite's
//! comparison of two stored values is the type's own.
//!
//! | type | stored as |
//! |---|---|
//! | integers, booleans | integer |
//! | FLOAT, DOUBLE | real |
//! | DECIMAL | text with all its digits, under the collation `numeric` |
//! | texts, ENUM, JSON | text; without regard to case unless the collation is binary |
//! | BINARY, VARBINARY, BLOB | blob |
//! | DATE, DATETIME, TIMESTAMP | text as MySQL writes it, without trailing zeros after the point, under the collation `moment` |
//! | TIME | text in the same way |

use serde::{Deserialize, Serialize};
use sqlparser::ast::{CharacterLength, DataType, EnumMember, ExactNumberInfo};

use super::temporal;
use crate::engine::{Numeric, Value};

/// The family of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Bytes that an integer has: 1, 2, 3, 4 or 8.
    Integer {
        bytes: u8,
        unsigned: bool,
    },
    /// Also `TINYINT(1)`, which it is.
    Boolean,
    Year,
    Float,
    Double,
    Decimal {
        precision: u16,
        scale: u16,
    },
    /// At most so many characters.
    Text {
        most: Option<u64>,
        is_binary: bool,
    },
    Enum(Vec<String>),
    Json,
    /// At most so many bytes; `fixed` where it is filled up with zeros.
    Blob {
        most: Option<u64>,
        fixed: bool,
    },
    Date,
    Time {
        digits: u8,
    },
    Datetime {
        digits: u8,
        is_timestamp: bool,
    },
}

/// A column's type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ColumnType {
    pub(super) kind: Kind,
    /// As MySQL writes it.
    pub(super) text: String,
}

/// Why a value is not of a type: the number of MySQL's error and its words.
pub(super) type Refusal = (u16, String);

impl ColumnType {
    /// The type that a statement names; `None` where this server has no such type.
    pub(super) fn of(data_type: &DataType, is_binary: bool) -> Option<ColumnType> {
        let integer = |bytes, unsigned| Kind::Integer { bytes, unsigned };
        let length = |length: &Option<CharacterLength>| match length {
            Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
            _ => None,
        };
        let text = |most| Kind::Text { most, is_binary };
        let digits = |digits: &Option<u64>| digits.unwrap_or(0).min(6) as u8;
        let kind = match data_type {
            DataType::TinyInt(Some(1)) | DataType::Bool | DataType::Boolean => Kind::Boolean,
            DataType::TinyInt(_) => integer(1, false),
            DataType::TinyIntUnsigned(_) => integer(1, true),
            DataType::SmallInt(_) => integer(2, false),
            DataType::SmallIntUnsigned(_) => integer(2, true),
            DataType::MediumInt(_) => integer(3, false),
            DataType::MediumIntUnsigned(_) => integer(3, true),
            DataType::Int(_) | DataType::Integer(_) => integer(4, false),
            DataType::IntUnsigned(_) | DataType::IntegerUnsigned(_) => integer(4, true),
            DataType::BigInt(_) | DataType::Signed | DataType::SignedInteger => integer(8, false),
            DataType::BigIntUnsigned(_) | DataType::Unsigned | DataType::UnsignedInteger => integer(8, true),
            DataType::Float(_) | DataType::Real | DataType::Float4 => Kind::Float,
            DataType::Double(_) | DataType::DoublePrecision | DataType::Float8 => Kind::Double,
            DataType::Decimal(info) | DataType::Numeric(info) | DataType::Dec(info) => {
                let (precision, scale) = match info {
                    ExactNumberInfo::None => (10, 0),
                    ExactNumberInfo::Precision(precision) => (*precision, 0),
                    ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale as u64),
                };
                Kind::Decimal { precision: precision as u16, scale: scale as u16 }
            }
            DataType::Varchar(most) | DataType::Nvarchar(most) | DataType::CharacterVarying(most) => {
                text(length(most))
            }
            DataType::Char(most) | DataType::Character(most) => text(Some(length(most).unwrap_or(1))),
            DataType::TinyText => text(Some(255)),
            DataType::Text => text(Some(65_535)),
            DataType::MediumText | DataType::LongText | DataType::String(_) => text(None),
            DataType::Enum(members, _) => Kind::Enum(members.iter().map(member).collect()),
            DataType::JSON => Kind::Json,
            DataType::Binary(most) => Kind::Blob { most: Some(most.unwrap_or(1)), fixed: true },
            DataType::Varbinary(most) => {
                let most = match most {
                    Some(sqlparser::ast::BinaryLength::IntegerLength { length }) => Some(*length),
                    _ => None,
                };
                Kind::Blob { most, fixed: false }
            }
            DataType::TinyBlob => Kind::Blob { most: Some(255), fixed: false },
            DataType::Blob(_) => Kind::Blob { most: Some(65_535), fixed: false },
            DataType::MediumBlob | DataType::LongBlob => Kind::Blob { most: None, fixed: false },
            DataType::Date => Kind::Date,
            DataType::Time(fsp, _) => Kind::Time { digits: digits(fsp) },
            DataType::Datetime(fsp) => Kind::Datetime { digits: digits(fsp), is_timestamp: false },
            DataType::Timestamp(fsp, _) => Kind::Datetime { digits: digits(fsp), is_timestamp: true },
            DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("year") => Kind::Year,
            _ => return None,
        };
        let text = match &kind {
            Kind::Boolean => "tinyint(1)".to_owned(),
            _ => data_type.to_string().to_lowercase(),
        };
        Some(ColumnType { kind, text })
    }

    /// What SQLite is told after the column's name: a type with the right affinity, and the collation.
    pub(super) fn declaration(&self) -> &'static str {
        match &self.kind {
            Kind::Integer { .. } | Kind::Boolean | Kind::Year => "INTEGER",
            Kind::Float | Kind::Double => "REAL",
            Kind::Decimal { .. } => "TEXT COLLATE \"numeric\"",
            Kind::Text { is_binary: true, .. } | Kind::Json => "TEXT",
            Kind::Text { .. } | Kind::Enum(_) => "TEXT COLLATE NOCASE",
            Kind::Blob { .. } => "BLOB",
            Kind::Date | Kind::Datetime { .. } => "TEXT COLLATE \"moment\"",
            Kind::Time { .. } => "TEXT",
        }
    }

    /// The type of an expression, by a value of it.
    pub(super) fn of_value(value: &Value) -> ColumnType {
        let (kind, text) = match value {
            Value::Null | Value::Text(_) => {
                (Kind::Text { most: Some(1024), is_binary: false }, "varchar(1024)")
            }
            Value::Integer(_) => (Kind::Integer { bytes: 8, unsigned: false }, "bigint"),
            Value::Real(_) => (Kind::Double, "double"),
            Value::Blob(_) => (Kind::Blob { most: None, fixed: false }, "longblob"),
        };
        ColumnType { kind, text: text.to_owned() }
    }

    /// The value as a column of this type, called `column`, stores it.
    pub(super) fn store(&self, value: Value, column: &str) -> Result<Value, Refusal> {
        if value == Value::Null {
            return Ok(Value::Null);
        }
        match &self.kind {
            Kind::Integer { bytes, unsigned } => integer(&value, *bytes, *unsigned, column),
            Kind::Boolean => integer(&value, 1, false, column),
            Kind::Year => integer(&value, 2, true, column),
            Kind::Float => Ok(Value::Real(f64::from(number(&value, column)? as f32))),
            Kind::Double => Ok(Value::Real(number(&value, column)?)),
            Kind::Decimal { precision, scale } => decimal(&value, *precision, *scale, column),
            Kind::Text { most, .. } => {
                let text = text_of(value, column)?;
                let is_long = most.is_some_and(|most| text.chars().count() as u64 > most);
                if is_long { Err(too_long(column)) } else { Ok(Value::Text(text)) }
            }
            Kind::Enum(members) => {
                let text = text_of(value, column)?;
                let found = members.iter().find(|member| member.eq_ignore_ascii_case(&text));
                found.map(|member| Value::Text(member.clone())).ok_or_else(|| truncated(column))
            }
            Kind::Json => {
                let text = text_of(value, column)?;
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
                parsed.map(|json| Value::Text(spaced(&json))).map_err(|_| {
                    (3140, format!("Invalid JSON text: \"Invalid value.\" at position 0 in value for column '{column}'."))
                })
            }
            Kind::Blob { most, fixed } => {
                let mut bytes = match value {
                    Value::Blob(bytes) => bytes,
                    other => text_of(other, column)?.into_bytes(),
                };
                if most.is_some_and(|most| bytes.len() as u64 > most) {
                    return Err(too_long(column));
                }
                if let Some(most) = most.filter(|_| *fixed) {
                    bytes.resize(most as usize, 0);
                }
                Ok(Value::Blob(bytes))
            }
            Kind::Date => temporal::date(&text_of(value, column)?, column),
            Kind::Time { digits } => temporal::time(&text_of(value, column)?, *digits, column),
            Kind::Datetime { digits, .. } => temporal::datetime(&text_of(value, column)?, *digits, column),
        }
    }
}

fn member(member: &EnumMember) -> String {
    match member {
        EnumMember::Name(name) | EnumMember::NamedValue(name, _) => name.clone(),
    }
}

fn too_long(column: &str) -> Refusal {
    (1406, format!("Data too long for column '{column}' at row 1"))
}

fn truncated(column: &str) -> Refusal {
    (1265, format!("Data truncated for column '{column}' at row 1"))
}

fn out_of_range(column: &str) -> Refusal {
    (1264, format!("Out of range value for column '{column}' at row 1"))
}

fn text_of(value: Value, column: &str) -> Result<String, Refusal> {
    Ok(match value {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Blob(bytes) => String::from_utf8(bytes)
            .map_err(|_| (1366, format!("Incorrect string value for column '{column}' at row 1")))?,
        Value::Null => String::new(),
    })
}

fn number(value: &Value, column: &str) -> Result<f64, Refusal> {
    match value {
        Value::Integer(number) => Ok(*number as f64),
        Value::Real(number) => Ok(*number),
        other => {
            let text = text_of(other.clone(), column)?;
            text.trim().parse().map_err(|_| truncated(column))
        }
    }
}

fn integer(value: &Value, bytes: u8, unsigned: bool, column: &str) -> Result<Value, Refusal> {
    let number = match value {
        Value::Integer(number) => *number,
        Value::Real(number) if number.abs() < 9.2e18 => number.round() as i64,
        Value::Real(_) => return Err(out_of_range(column)),
        other => {
            let text = text_of(other.clone(), column)?;
            let text = text.trim();
            let whole = text.parse::<i64>().ok();
            let rounded = || text.parse::<f64>().ok().filter(|number| number.abs() < 9.2e18);
            whole.or_else(|| rounded().map(|number| number.round() as i64)).ok_or_else(|| {
                (1366, format!("Incorrect integer value: '{text}' for column '{column}' at row 1"))
            })?
        }
    };
    let bits = u32::from(bytes) * 8;
    let (least, most) = match (unsigned, bits) {
        // SQLite's integers end here, where MySQL's go on to 2^64.
        (true, 64) => (0, i64::MAX),
        (true, bits) => (0, (1 << bits) - 1),
        (false, 64) => (i64::MIN, i64::MAX),
        (false, bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
    };
    if (least..=most).contains(&number) { Ok(Value::Integer(number)) } else { Err(out_of_range(column)) }
}

fn decimal(value: &Value, precision: u16, scale: u16, column: &str) -> Result<Value, Refusal> {
    let text = match value {
        // As many digits as a double has for sure.
        Value::Real(number) => format!("{number}"),
        other => text_of(other.clone(), column)?,
    };
    let wrong = || (1366, format!("Incorrect decimal value: '{text}' for column '{column}' at row 1"));
    let rounded = rounded(text.trim(), scale).ok_or_else(wrong)?;
    let whole = rounded.trim_start_matches('-').split('.').next().unwrap_or_default().trim_start_matches('0');
    if whole.len() > usize::from(precision - scale) {
        Err(out_of_range(column))
    } else {
        Ok(Value::Text(rounded))
    }
}

/// A decimal number with so many digits after the point, halves away from zero; `None` where it is no number.
pub(super) fn rounded(text: &str, scale: u16) -> Option<String> {
    Numeric::parse(text).ok()?;
    let (text, exponent) =
        text.split_once(['e', 'E']).map_or((text, 0), |(text, e)| (text, e.parse().unwrap_or(0)));
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.trim_start_matches('+')),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut all: Vec<u8> =
        whole.bytes().chain(fraction.bytes()).map(|digit| digit.wrapping_sub(b'0')).collect();
    if all.iter().any(|digit| *digit > 9) {
        return None;
    }
    let mut point = whole.len() as i32 + exponent;
    while point < 1 {
        all.insert(0, 0);
        point += 1;
    }
    let keep = point as usize + usize::from(scale);
    let rounds_up = all.get(keep).is_some_and(|digit| *digit >= 5);
    all.resize(keep, 0);
    if rounds_up {
        let mut at = keep;
        loop {
            if at == 0 {
                all.insert(0, 1);
                point += 1;
                break;
            }
            at -= 1;
            if all[at] < 9 {
                all[at] += 1;
                break;
            }
            all[at] = 0;
        }
    }
    let text: String = all.iter().map(|digit| char::from(b'0' + digit)).collect();
    let (whole, fraction) = text.split_at(point as usize);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let is_zero = all.iter().all(|digit| *digit == 0);
    let sign = if is_zero { "" } else { sign };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// JSON as MySQL writes it, with a blank after each comma and colon.
pub(super) fn spaced(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", "))
        }
        serde_json::Value::Object(members) => {
            let member = |(name, value): (&String, &serde_json::Value)| {
                format!("{}: {}", serde_json::Value::String(name.clone()), spaced(value))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_as_mysql_does() {
        let cases = [
            ("1.005", 2, "1.01"),
            ("-0.5", 0, "-1"),
            ("9.99", 1, "10.0"),
            ("0.004", 2, "0.00"),
            ("-0.004", 2, "0.00"),
            ("12", 2, "12.00"),
            (".5", 1, "0.5"),
            ("1.5e3", 1, "1500.0"),
            ("15e-1", 1, "1.5"),
        ];
        for (text, scale, expected) in cases {
            assert_eq!(rounded(text, scale).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(rounded("abc", 2), None);
    }

    #[test]
    fn values_are_checked_when_they_are_stored() {
        let of = |kind| ColumnType { kind, text: String::new() };
        let tiny = of(Kind::Integer { bytes: 1, unsigned: false });
        assert_eq!(tiny.store(Value::Text("12".to_owned()), "a"), Ok(Value::Integer(12)));
        assert_eq!(tiny.store(Value::Integer(128), "a").unwrap_err().0, 1264);
        assert_eq!(tiny.store(Value::Text("x".to_owned()), "a").unwrap_err().0, 1366);
        let unsigned = of(Kind::Integer { bytes: 8, unsigned: true });
        assert_eq!(unsigned.store(Value::Integer(-1), "a").unwrap_err().0, 1264);
        let price = of(Kind::Decimal { precision: 5, scale: 2 });
        assert_eq!(price.store(Value::Text("12.345".to_owned()), "a"), Ok(Value::Text("12.35".to_owned())));
        assert_eq!(price.store(Value::Integer(1000), "a").unwrap_err().0, 1264);
        let short = of(Kind::Text { most: Some(3), is_binary: false });
        assert_eq!(short.store(Value::Text("äöü".to_owned()), "a"), Ok(Value::Text("äöü".to_owned())));
        assert_eq!(short.store(Value::Text("äöüß".to_owned()), "a").unwrap_err().0, 1406);
        let key = of(Kind::Blob { most: Some(4), fixed: true });
        assert_eq!(key.store(Value::Blob(vec![1]), "a"), Ok(Value::Blob(vec![1, 0, 0, 0])));
        let json = of(Kind::Json);
        let stored = json.store(Value::Text(r#"{"a":[1,2],"b":"x"}"#.to_owned()), "a");
        assert_eq!(stored, Ok(Value::Text(r#"{"a": [1, 2], "b": "x"}"#.to_owned())));
    }
}
