//! PostgreSQL's numbers for types, which SQL itself can ask for.
//!
//! Owns the table of numbers and sizes. Must not know messages. Invariant: the number of an array of an enum is the enum's and one more.

use crate::engine::{Catalog, SqlType};

/// Short name, number, number of its array, size in bytes (or −1), category.
pub const BUILT_IN: &[(&str, u32, u32, i16, char)] = &[
    ("bool", 16, 1000, 1, 'B'),
    ("bytea", 17, 1001, -1, 'U'),
    ("char", 18, 1002, 1, 'Z'),
    ("name", 19, 1003, 64, 'S'),
    ("int8", 20, 1016, 8, 'N'),
    ("int2", 21, 1005, 2, 'N'),
    ("int4", 23, 1007, 4, 'N'),
    ("text", 25, 1009, -1, 'S'),
    ("oid", 26, 1028, 4, 'N'),
    ("json", 114, 199, -1, 'U'),
    ("float4", 700, 1021, 4, 'N'),
    ("float8", 701, 1022, 8, 'N'),
    ("unknown", 705, 0, -2, 'X'),
    ("bpchar", 1042, 1014, -1, 'S'),
    ("varchar", 1043, 1015, -1, 'S'),
    ("date", 1082, 1182, 4, 'D'),
    ("time", 1083, 1183, 8, 'D'),
    ("timestamp", 1114, 1115, 8, 'D'),
    ("timestamptz", 1184, 1185, 8, 'D'),
    ("interval", 1186, 1187, 16, 'T'),
    ("numeric", 1700, 1231, -1, 'N'),
    ("regclass", 2205, 2210, 4, 'N'),
    ("regtype", 2206, 2211, 4, 'N'),
    ("record", 2249, 2287, -1, 'P'),
    ("void", 2278, 0, 4, 'P'),
    ("uuid", 2950, 2951, 16, 'U'),
    ("jsonb", 3802, 3807, -1, 'U'),
];

/// The number of a type.
pub fn type_oid(ty: &SqlType) -> u32 {
    match ty {
        SqlType::Enum(oid, _) => *oid,
        SqlType::Array(element) => match element.as_ref() {
            SqlType::Enum(oid, _) => oid + 1,
            element => find(element).map_or(0, |row| row.2),
        },
        ty => find(ty).map_or(0, |row| row.1),
    }
}

fn find(ty: &SqlType) -> Option<&'static (&'static str, u32, u32, i16, char)> {
    let name = ty.short_name();
    BUILT_IN.iter().find(|row| row.0 == name)
}

/// The size of a type's values in bytes; −1 where they differ.
pub fn type_size(ty: &SqlType) -> i16 {
    match ty {
        SqlType::Enum(..) => 4,
        SqlType::Array(_) => -1,
        ty => find(ty).map_or(-1, |row| row.3),
    }
}

/// What a limited type's limits are on the wire.
pub fn type_modifier(ty: &SqlType) -> i32 {
    match ty {
        SqlType::Varchar(Some(length)) | SqlType::Char(Some(length)) => *length as i32 + 4,
        SqlType::Numeric(Some((precision, scale))) => (i32::from(*precision) << 16 | i32::from(*scale)) + 4,
        _ => -1,
    }
}

/// The type of a number.
pub fn type_of_oid(oid: u32, catalog: &Catalog) -> Option<SqlType> {
    if let Some(row) = BUILT_IN.iter().find(|row| row.1 == oid) {
        return SqlType::from_name(row.0);
    }
    if let Some(row) = BUILT_IN.iter().find(|row| row.2 == oid && oid != 0) {
        return SqlType::from_name(row.0).map(SqlType::array);
    }
    let by_number =
        |oid: u32| catalog.enum_by_oid(oid).map(|(key, found)| SqlType::Enum(found.oid, key.1.clone()));
    by_number(oid).or_else(|| by_number(oid.checked_sub(1)?).map(SqlType::array))
}

/// The numbers of the system's own relations, as PostgreSQL has them.
pub(crate) const SYSTEM_RELATIONS: &[(&str, u32)] = &[
    ("pg_type", 1247),
    ("pg_attribute", 1249),
    ("pg_class", 1259),
    ("pg_database", 1262),
    ("pg_constraint", 2606),
    ("pg_depend", 2608),
    ("pg_index", 2610),
    ("pg_namespace", 2615),
    ("pg_extension", 3079),
    ("pg_enum", 3501),
];

/// The number of one of the system's relations.
pub(crate) fn system_relation(name: &str) -> Option<u32> {
    SYSTEM_RELATIONS.iter().find(|(own, _)| *own == name).map(|(_, oid)| *oid)
}
