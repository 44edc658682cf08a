//! How the columns of a result are announced.
//!
//! Owns the way from MySQL's types to the wire's. Must not know values. Invariant: a column of bytes is announced with the
//! character set of bytes.

use mysql_common::constants::{ColumnFlags, ColumnType as Wire};
use mysql_common::packets::Column;

use super::super::types::{ColumnType, Kind};
use super::greeting::UTF8;

/// The character set of what is no text.
const BINARY: u16 = 63;

/// The digits after the point of a number that has as many as it needs.
const NOT_FIXED: u8 = 31;

impl ColumnType {
    /// How a result column of this type is announced.
    pub(in super::super) fn column(&self, table: &str, name: &str, is_not_null: bool) -> Column {
        let (coltype, mut colflags) = match &self.kind {
            Kind::Integer { bytes, unsigned } => {
                let wire = match bytes {
                    1 => Wire::MYSQL_TYPE_TINY,
                    2 => Wire::MYSQL_TYPE_SHORT,
                    3 => Wire::MYSQL_TYPE_INT24,
                    4 => Wire::MYSQL_TYPE_LONG,
                    _ => Wire::MYSQL_TYPE_LONGLONG,
                };
                (wire, if *unsigned { ColumnFlags::UNSIGNED_FLAG } else { ColumnFlags::empty() })
            }
            Kind::Boolean => (Wire::MYSQL_TYPE_TINY, ColumnFlags::empty()),
            Kind::Year => (Wire::MYSQL_TYPE_YEAR, ColumnFlags::UNSIGNED_FLAG),
            Kind::Float => (Wire::MYSQL_TYPE_FLOAT, ColumnFlags::empty()),
            Kind::Double => (Wire::MYSQL_TYPE_DOUBLE, ColumnFlags::empty()),
            Kind::Decimal { .. } => (Wire::MYSQL_TYPE_NEWDECIMAL, ColumnFlags::empty()),
            Kind::Text { most: Some(0..=65_534), .. } => (Wire::MYSQL_TYPE_VAR_STRING, ColumnFlags::empty()),
            Kind::Text { .. } => (Wire::MYSQL_TYPE_BLOB, ColumnFlags::BLOB_FLAG),
            Kind::Enum(_) => (Wire::MYSQL_TYPE_STRING, ColumnFlags::ENUM_FLAG),
            Kind::Json => (Wire::MYSQL_TYPE_JSON, ColumnFlags::BLOB_FLAG | ColumnFlags::BINARY_FLAG),
            Kind::Blob { .. } => (Wire::MYSQL_TYPE_BLOB, ColumnFlags::BLOB_FLAG | ColumnFlags::BINARY_FLAG),
            Kind::Date => (Wire::MYSQL_TYPE_DATE, ColumnFlags::BINARY_FLAG),
            Kind::Time { .. } => (Wire::MYSQL_TYPE_TIME, ColumnFlags::BINARY_FLAG),
            Kind::Datetime { is_timestamp: true, .. } => {
                (Wire::MYSQL_TYPE_TIMESTAMP, ColumnFlags::BINARY_FLAG)
            }
            Kind::Datetime { .. } => (Wire::MYSQL_TYPE_DATETIME, ColumnFlags::BINARY_FLAG),
        };
        colflags.set(ColumnFlags::NOT_NULL_FLAG, is_not_null);
        let is_text = matches!(self.kind, Kind::Text { .. } | Kind::Enum(_));
        let character_set = if is_text { u16::from(UTF8) } else { BINARY };
        let (length, decimals) = self.width();
        Column::new(coltype)
            .with_table(table.as_bytes())
            .with_org_table(table.as_bytes())
            .with_name(name.as_bytes())
            .with_flags(colflags)
            .with_character_set(character_set)
            .with_column_length(length)
            .with_decimals(decimals)
    }

    /// How many bytes the longest text of a value has, and how many digits are after the point.
    fn width(&self) -> (u32, u8) {
        let bytes = |most: &Option<u64>, each: u64| {
            most.map_or(u32::MAX, |most| u32::try_from(most * each).unwrap_or(u32::MAX))
        };
        let fraction = |digits: u8| if digits == 0 { 0 } else { u32::from(digits) + 1 };
        match &self.kind {
            Kind::Boolean => (1, 0),
            Kind::Integer { bytes, unsigned } => {
                let (signed, without) = match bytes {
                    1 => (4, 3),
                    2 => (6, 5),
                    3 => (9, 8),
                    4 => (11, 10),
                    _ => (20, 20),
                };
                (if *unsigned { without } else { signed }, 0)
            }
            Kind::Year => (4, 0),
            Kind::Float => (12, NOT_FIXED),
            Kind::Double => (22, NOT_FIXED),
            Kind::Decimal { precision, scale } => {
                (u32::from(*precision) + 1 + u32::from(*scale > 0), *scale as u8)
            }
            Kind::Text { most, .. } => (bytes(most, 4), 0),
            Kind::Enum(members) => {
                let longest = members.iter().map(|member| member.chars().count() as u64).max();
                (bytes(&Some(longest.unwrap_or(0)), 4), 0)
            }
            Kind::Json => (u32::MAX, 0),
            Kind::Blob { most, .. } => (bytes(most, 1), 0),
            Kind::Date => (10, 0),
            Kind::Time { digits } => (10 + fraction(*digits), *digits),
            Kind::Datetime { digits, .. } => (19 + fraction(*digits), *digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(kind: Kind) -> Column {
        ColumnType { kind, text: String::new() }.column("t", "a", false)
    }

    #[test]
    fn widths_tell_types_apart() {
        let boolean = announced(Kind::Boolean);
        assert_eq!((boolean.column_type(), boolean.column_length()), (Wire::MYSQL_TYPE_TINY, 1));
        let tiny = announced(Kind::Integer { bytes: 1, unsigned: true });
        assert_eq!((tiny.column_type(), tiny.column_length()), (Wire::MYSQL_TYPE_TINY, 3));
        let price = announced(Kind::Decimal { precision: 10, scale: 2 });
        assert_eq!((price.column_length(), price.decimals()), (12, 2));
        let text = announced(Kind::Text { most: Some(20), is_binary: false });
        assert_eq!((text.column_length(), text.character_set()), (80, u16::from(UTF8)));
        assert_eq!(announced(Kind::Datetime { digits: 6, is_timestamp: false }).column_length(), 26);
        assert_eq!(announced(Kind::Json).character_set(), BINARY);
    }
}
