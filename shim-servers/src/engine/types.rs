//! The types of SQL values, and how each is kept in SQLite.
//!
//! Owns names and kinds of types. Must not know object numbers of a protocol. Invariant: a value of a type is kept in
//! one way only, so that SQLite's comparison of two kept values is the type's own.
//!
//! | type | kept as |
//! |---|---|
//! | booleans, integers, oid | integer |
//! | floats | real |
//! | text, varchar, char, name, enums, json, jsonb | text |
//! | numeric | text in its shortest form, under the collation `numeric` |
//! | uuid | text with hyphens, lower case |
//! | bytea | blob |
//! | date | integer, days since 2000-01-01 |
//! | time | integer, microseconds since midnight |
//! | timestamp, timestamptz | integer, microseconds since 2000-01-01 (UTC) |
//! | interval | text, `months days microseconds` |
//! | arrays | JSON array of what their elements are kept as (blobs in hexadecimal) |

use serde::{Deserialize, Serialize};

/// A value as SQLite keeps it.
pub type Value = rusqlite::types::Value;

/// The type of a value, a column or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is named as SQL names it")]
pub enum SqlType {
    /// A quoted literal, NULL or a parameter that nothing decided yet.
    Unknown,
    /// What a function without result returns.
    Void,
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// Digits in all, and digits after the point, where they are limited.
    Numeric(Option<(u16, u16)>),
    Text,
    /// At most so many characters, where limited.
    Varchar(Option<u32>),
    /// Exactly so many characters, padded by blanks.
    Char(Option<u32>),
    Name,
    /// The one-byte type `"char"` of system catalogs.
    Byte,
    Bytea,
    Uuid,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Json,
    Jsonb,
    /// The name of a relation as a value.
    Regclass,
    /// The name of a type as a value.
    Regtype,
    /// Elements of one type.
    Array(Box<SqlType>),
    /// A type that `CREATE TYPE … AS ENUM` made: its number and its name.
    Enum(u32, String),
    /// A row of several values, which has text and nothing else.
    Record,
}

impl SqlType {
    /// The type without its limits.
    #[must_use]
    pub fn base(&self) -> SqlType {
        match self {
            Self::Numeric(_) => Self::Numeric(None),
            Self::Varchar(_) => Self::Varchar(None),
            Self::Char(_) => Self::Char(None),
            Self::Array(element) => Self::Array(Box::new(element.base())),
            other => other.clone(),
        }
    }

    /// Whether its values are integers of SQL.
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Oid)
    }

    /// Whether its values can be calculated with.
    pub fn is_number(&self) -> bool {
        self.is_integer() || self.is_float() || matches!(self, Self::Numeric(_))
    }

    /// Whether it is a binary floating-point type.
    pub fn is_float(&self) -> bool {
        matches!(self, Self::Float4 | Self::Float8)
    }

    /// Whether it is one of the character types, whose kept form is the text itself.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Varchar(_) | Self::Char(_) | Self::Name | Self::Byte)
    }

    /// Whether its values are a point in time or a day.
    pub fn is_date(&self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::Timestamptz)
    }

    /// Its rank where two numbers meet: the higher one is the result's.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Int2 => 1,
            Self::Int4 => 2,
            Self::Oid | Self::Int8 => 3,
            Self::Numeric(_) => 4,
            Self::Float4 => 5,
            Self::Float8 => 6,
            _ => 0,
        }
    }

    /// PostgreSQL's short name, as its catalog has it.
    pub fn short_name(&self) -> String {
        match self {
            Self::Unknown => "unknown",
            Self::Void => "void",
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Oid => "oid",
            Self::Float4 => "float4",
            Self::Float8 => "float8",
            Self::Numeric(_) => "numeric",
            Self::Text => "text",
            Self::Varchar(_) => "varchar",
            Self::Char(_) => "bpchar",
            Self::Name => "name",
            Self::Byte => "char",
            Self::Bytea => "bytea",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Interval => "interval",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Regclass => "regclass",
            Self::Regtype => "regtype",
            Self::Record => "record",
            Self::Enum(_, name) => name,
            Self::Array(element) => return format!("_{}", element.short_name()),
        }
        .to_owned()
    }

    /// The name that messages use.
    pub fn display_name(&self) -> String {
        match self {
            Self::Bool => "boolean",
            Self::Int2 => "smallint",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Float4 => "real",
            Self::Float8 => "double precision",
            Self::Numeric(Some((precision, scale))) => return format!("numeric({precision},{scale})"),
            Self::Varchar(Some(length)) => return format!("character varying({length})"),
            Self::Varchar(None) => "character varying",
            Self::Char(Some(length)) => return format!("character({length})"),
            Self::Char(None) => "character",
            Self::Byte => "\"char\"",
            Self::Time => "time without time zone",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Array(element) => return format!("{}[]", element.display_name()),
            other => return other.short_name(),
        }
        .to_owned()
    }

    /// The name with its limits, which [`from_code`](Self::from_code) reads; how SQL functions are told a type.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Numeric(Some((precision, scale))) => format!("numeric({precision},{scale})"),
            Self::Varchar(Some(length)) => format!("varchar({length})"),
            Self::Char(Some(length)) => format!("bpchar({length})"),
            Self::Enum(oid, name) => format!("enum({oid},{name})"),
            Self::Array(element) => format!("_{}", element.code()),
            other => other.short_name(),
        }
    }

    /// The type that [`code`](Self::code) wrote.
    pub(crate) fn from_code(code: &str) -> Option<Self> {
        if let Some(element) = code.strip_prefix('_') {
            return Self::from_code(element).map(Self::array);
        }
        let Some((name, limits)) = code.strip_suffix(')').and_then(|rest| rest.split_once('(')) else {
            return Self::from_name(code);
        };
        let (first, second) = limits.split_once(',').unwrap_or((limits, ""));
        Some(match name {
            "numeric" => Self::Numeric(Some((first.parse().ok()?, second.parse().ok()?))),
            "varchar" => Self::Varchar(Some(first.parse().ok()?)),
            "bpchar" => Self::Char(Some(first.parse().ok()?)),
            "enum" => Self::Enum(first.parse().ok()?, second.to_owned()),
            _ => return None,
        })
    }

    /// An array of this.
    #[must_use]
    pub fn array(self) -> SqlType {
        Self::Array(Box::new(self))
    }

    /// The built-in type of a name, long or short, in lower case; without limits.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(element) = name.strip_suffix("[]").or_else(|| name.strip_prefix('_')) {
            return Self::from_name(element).map(Self::array);
        }
        Some(match name {
            "unknown" => Self::Unknown,
            "void" => Self::Void,
            "bool" | "boolean" => Self::Bool,
            "int2" | "smallint" => Self::Int2,
            "int4" | "int" | "integer" => Self::Int4,
            "int8" | "bigint" => Self::Int8,
            "oid" => Self::Oid,
            "float4" | "real" => Self::Float4,
            "float8" | "double precision" => Self::Float8,
            "numeric" | "decimal" => Self::Numeric(None),
            "text" => Self::Text,
            "varchar" | "character varying" => Self::Varchar(None),
            "bpchar" | "character" => Self::Char(None),
            "name" => Self::Name,
            "char" => Self::Byte,
            "bytea" => Self::Bytea,
            "uuid" => Self::Uuid,
            "date" => Self::Date,
            "time" | "time without time zone" => Self::Time,
            "timestamp" | "timestamp without time zone" => Self::Timestamp,
            "timestamptz" | "timestamp with time zone" => Self::Timestamptz,
            "interval" => Self::Interval,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "regclass" => Self::Regclass,
            "regtype" => Self::Regtype,
            "record" => Self::Record,
            _ => return None,
        })
    }
}
