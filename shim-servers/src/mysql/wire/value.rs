//! The forms of values: as text, in binary, and the columns that announce them.
//!
//! Owns encoding of rows and decoding of parameters. Must not know tables. Invariant: a value has the width that its
//! column was announced with.

use bytes::BufMut;
use chrono::{Datelike, NaiveDate, NaiveDateTime, Timelike};
use mysql_common::constants::ColumnType as Wire;
use mysql_common::io::BufMutExt;
use mysql_common::proto::MySerialize;
use mysql_common::value::Value as Bound;

use super::super::temporal;
use super::super::types::{Kind, rounded};
use super::super::{functions, session::ResultColumn};
use crate::engine::Value;

/// NULL in a row of texts.
const NULL: u8 = 0xfb;

/// A value on its way out.
#[derive(Debug, PartialEq)]
enum Shown {
    Null,
    Integer(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
    Date(NaiveDate),
    Datetime(NaiveDateTime, String),
    Time(i64, String),
}

/// A row of the text protocol.
pub(in super::super) fn text_row(row: Vec<Value>, columns: &[ResultColumn]) -> Vec<u8> {
    let mut packet = Vec::new();
    for (value, column) in row.into_iter().zip(columns) {
        match shown(value, column) {
            Shown::Null => packet.put_u8(NULL),
            Shown::Integer(number) => packet.put_lenenc_str(number.to_string().as_bytes()),
            Shown::Float(number) => packet.put_lenenc_str(number.to_string().as_bytes()),
            Shown::Double(number) => packet.put_lenenc_str(number.to_string().as_bytes()),
            Shown::Bytes(bytes) => packet.put_lenenc_str(&bytes),
            Shown::Date(day) => packet.put_lenenc_str(day.to_string().as_bytes()),
            Shown::Datetime(_, text) | Shown::Time(_, text) => packet.put_lenenc_str(text.as_bytes()),
        }
    }
    packet
}

/// A row of the binary protocol.
pub(in super::super) fn binary_row(row: Vec<Value>, columns: &[ResultColumn]) -> Vec<u8> {
    let mut packet = vec![0];
    // Two bits are reserved before the first column's.
    packet.resize(1 + (columns.len() + 2).div_ceil(8), 0);
    for (at, (value, column)) in row.into_iter().zip(columns).enumerate() {
        match shown(value, column) {
            Shown::Null => packet[1 + (at + 2) / 8] |= 1 << ((at + 2) % 8),
            Shown::Integer(number) => match column.wire.column_type() {
                Wire::MYSQL_TYPE_TINY => packet.put_i8(number as i8),
                Wire::MYSQL_TYPE_SHORT | Wire::MYSQL_TYPE_YEAR => packet.put_i16_le(number as i16),
                Wire::MYSQL_TYPE_LONG | Wire::MYSQL_TYPE_INT24 => packet.put_i32_le(number as i32),
                _ => packet.put_i64_le(number),
            },
            Shown::Float(number) => packet.put_f32_le(number),
            Shown::Double(number) => packet.put_f64_le(number),
            Shown::Bytes(bytes) => packet.put_lenenc_str(&bytes),
            Shown::Date(day) => {
                Bound::Date(day.year() as u16, day.month() as u8, day.day() as u8, 0, 0, 0, 0)
                    .serialize(&mut packet);
            }
            Shown::Datetime(at, _) => datetime(at).serialize(&mut packet),
            Shown::Time(micros, _) => span(micros).serialize(&mut packet),
        }
    }
    packet
}

fn datetime(at: NaiveDateTime) -> Bound {
    let (hour, minute, second) = (at.hour() as u8, at.minute() as u8, at.second() as u8);
    let micros = at.nanosecond() / 1000;
    Bound::Date(at.year() as u16, at.month() as u8, at.day() as u8, hour, minute, second, micros)
}

fn span(micros: i64) -> Bound {
    let all = micros.unsigned_abs();
    let (seconds, rest) = (all / 1_000_000, (all % 1_000_000) as u32);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let (days, hours) = ((hours / 24) as u32, (hours % 24) as u8);
    Bound::Time(micros < 0, days, hours, (minutes % 60) as u8, (seconds % 60) as u8, rest)
}

/// A stored value as its column shows it.
fn shown(value: Value, column: &ResultColumn) -> Shown {
    let text = |value: &Value| functions::text(value);
    if let (Kind::Decimal { scale, .. }, Value::Integer(_) | Value::Real(_)) = (&column.ty.kind, &value) {
        let text = text(&value);
        return Shown::Bytes(rounded(&text, *scale).unwrap_or(text).into_bytes());
    }
    match (&column.ty.kind, value) {
        (_, Value::Null) => Shown::Null,
        (Kind::Float, Value::Real(number)) => Shown::Float(number as f32),
        (Kind::Double, Value::Real(number)) => Shown::Double(number),
        (Kind::Double, Value::Integer(number)) => Shown::Double(number as f64),
        (Kind::Integer { .. } | Kind::Boolean | Kind::Year, Value::Integer(number)) => Shown::Integer(number),
        (Kind::Date, Value::Text(text)) => match temporal::parse_datetime(&text) {
            Some(at) => Shown::Date(at.date()),
            None => Shown::Null,
        },
        (Kind::Datetime { digits, .. }, Value::Text(text)) => match temporal::parse_datetime(&text) {
            Some(at) => Shown::Datetime(at, temporal::shown(&text, *digits)),
            None => Shown::Null,
        },
        (Kind::Time { digits }, Value::Text(text)) => match temporal::parse_time(&text) {
            Some(micros) => Shown::Time(micros, temporal::time_text(micros, *digits)),
            None => Shown::Null,
        },
        (_, Value::Blob(bytes)) => Shown::Bytes(bytes),
        (_, value) => Shown::Bytes(text(&value).into_bytes()),
    }
}

/// A parameter as it is bound.
pub(in super::super) fn bound(value: Bound, wire: Wire) -> Value {
    let is_blob = matches!(
        wire,
        Wire::MYSQL_TYPE_BLOB
            | Wire::MYSQL_TYPE_TINY_BLOB
            | Wire::MYSQL_TYPE_MEDIUM_BLOB
            | Wire::MYSQL_TYPE_LONG_BLOB
    );
    match value {
        Bound::NULL => Value::Null,
        Bound::Bytes(bytes) if is_blob => Value::Blob(bytes),
        Bound::Bytes(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(error) => Value::Blob(error.into_bytes()),
        },
        Bound::Int(number) => Value::Integer(number),
        Bound::UInt(number) => match i64::try_from(number) {
            Ok(number) => Value::Integer(number),
            // Further than SQLite's integers: as text it is refused by the column that it is for.
            Err(_) => Value::Text(number.to_string()),
        },
        Bound::Float(number) => Value::Real(f64::from(number)),
        Bound::Double(number) => Value::Real(number),
        // Some clients send a day as the midnight of it.
        Bound::Date(year, month, day, 0, 0, 0, 0) => Value::Text(format!("{year:04}-{month:02}-{day:02}")),
        Bound::Date(year, month, day, hour, minute, second, micros) => {
            let day = NaiveDate::from_ymd_opt(year.into(), month.into(), day.into());
            let at =
                day.and_then(|day| day.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micros));
            // A day that there is not is refused by the column that it is for.
            let wrong = || format!("{year:04}-{month:02}-00 {hour:02}:{minute:02}:{second:02}");
            Value::Text(at.map_or_else(wrong, temporal::stored))
        }
        Bound::Time(is_negative, days, hours, minutes, seconds, micros) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let seconds = (hours * 60 + i64::from(minutes)) * 60 + i64::from(seconds);
            let all = seconds * 1_000_000 + i64::from(micros);
            let signed = if is_negative { -all } else { all };
            Value::Text(temporal::time_text(signed, if micros == 0 { 0 } else { 6 }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::types::ColumnType;
    use super::*;

    fn column(kind: Kind) -> ResultColumn {
        let ty = ColumnType { kind, text: String::new() };
        ResultColumn { wire: ty.column("t", "a", false), ty }
    }

    #[test]
    fn a_row_has_a_form_as_text_and_one_in_binary() {
        let columns = [
            column(Kind::Integer { bytes: 2, unsigned: false }),
            column(Kind::Text { most: None, is_binary: false }),
            column(Kind::Date),
            column(Kind::Time { digits: 0 }),
        ];
        let row = || {
            let text = |text: &str| Value::Text(text.to_owned());
            vec![Value::Integer(-2), Value::Null, text("2024-02-29"), text("-25:00:01")]
        };
        assert_eq!(text_row(row(), &columns), b"\x02-2\xfb\x0a2024-02-29\x09-25:00:01");
        let time = b"\x08\x01\x01\0\0\0\x01\0\x01";
        let expected = [&b"\0\x08\xfe\xff\x04\xe8\x07\x02\x1d"[..], time].concat();
        assert_eq!(binary_row(row(), &columns), expected);
    }

    #[test]
    fn parameters_of_time_are_bound_as_they_are_stored() {
        let text = |text: &str| Value::Text(text.to_owned());
        let midnight = Bound::Date(2024, 2, 29, 0, 0, 0, 0);
        assert_eq!(bound(midnight, Wire::MYSQL_TYPE_DATE), text("2024-02-29"));
        let time = Bound::Time(true, 1, 1, 0, 1, 0);
        assert_eq!(bound(time, Wire::MYSQL_TYPE_TIME), text("-25:00:01"));
        let none = Bound::Date(2023, 2, 29, 1, 0, 0, 0);
        assert_eq!(bound(none, Wire::MYSQL_TYPE_DATETIME), text("2023-02-00 01:00:00"));
    }
}
