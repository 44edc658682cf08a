//! The views of `pg_catalog` and `information_schema`, with the names and types of their columns.
//!
//! Owns the list. Must not know where rows come from. Invariant: a view's columns are in the order of its rows' values.

type Columns = &'static [(&'static str, &'static str)];

const VIEWS: &[(&str, &str, Columns)] = &[
    (
        "pg_catalog",
        "pg_database",
        &[("oid", "oid"), ("datname", "name"), ("datallowconn", "bool"), ("datistemplate", "bool")],
    ),
    ("pg_catalog", "pg_namespace", &[("oid", "oid"), ("nspname", "name"), ("nspowner", "oid")]),
    (
        "pg_catalog",
        "pg_class",
        &[
            ("oid", "oid"),
            ("relname", "name"),
            ("relnamespace", "oid"),
            ("relkind", "char"),
            ("reltuples", "float4"),
            ("relowner", "oid"),
        ],
    ),
    (
        "pg_catalog",
        "pg_attribute",
        &[
            ("attrelid", "oid"),
            ("attname", "name"),
            ("atttypid", "oid"),
            ("attnum", "int2"),
            ("attnotnull", "bool"),
            ("atthasdef", "bool"),
            ("attisdropped", "bool"),
            ("atttypmod", "int4"),
            ("attidentity", "char"),
            ("attgenerated", "char"),
            ("attlen", "int2"),
        ],
    ),
    (
        "pg_catalog",
        "pg_type",
        &[
            ("oid", "oid"),
            ("typname", "name"),
            ("typnamespace", "oid"),
            ("typtype", "char"),
            ("typcategory", "char"),
            ("typrelid", "oid"),
            ("typelem", "oid"),
            ("typbasetype", "oid"),
            ("typarray", "oid"),
            ("typlen", "int2"),
        ],
    ),
    (
        "pg_catalog",
        "pg_enum",
        &[("oid", "oid"), ("enumtypid", "oid"), ("enumsortorder", "float4"), ("enumlabel", "name")],
    ),
    ("pg_catalog", "pg_range", &[("rngtypid", "oid"), ("rngsubtype", "oid")]),
    (
        "pg_catalog",
        "pg_index",
        &[("indexrelid", "oid"), ("indrelid", "oid"), ("indisunique", "bool"), ("indisprimary", "bool")],
    ),
    (
        "pg_catalog",
        "pg_indexes",
        &[("schemaname", "name"), ("tablename", "name"), ("indexname", "name"), ("indexdef", "text")],
    ),
    ("pg_catalog", "pg_tables", &[("schemaname", "name"), ("tablename", "name"), ("tableowner", "name")]),
    ("pg_catalog", "pg_views", &[("schemaname", "name"), ("viewname", "name"), ("definition", "text")]),
    (
        "pg_catalog",
        "pg_constraint",
        &[
            ("oid", "oid"),
            ("conname", "name"),
            ("connamespace", "oid"),
            ("contype", "char"),
            ("conrelid", "oid"),
            ("confrelid", "oid"),
        ],
    ),
    (
        "pg_catalog",
        "pg_stat_activity",
        &[
            ("datname", "name"),
            ("pid", "int4"),
            ("usename", "name"),
            ("application_name", "text"),
            ("state", "text"),
            ("wait_event_type", "text"),
            ("query", "text"),
        ],
    ),
    ("pg_catalog", "pg_settings", &[("name", "text"), ("setting", "text")]),
    (
        "pg_catalog",
        "pg_roles",
        &[("oid", "oid"), ("rolname", "name"), ("rolsuper", "bool"), ("rolcanlogin", "bool")],
    ),
    (
        "pg_catalog",
        "pg_depend",
        &[
            ("classid", "oid"),
            ("objid", "oid"),
            ("objsubid", "int4"),
            ("refclassid", "oid"),
            ("refobjid", "oid"),
            ("refobjsubid", "int4"),
            ("deptype", "char"),
        ],
    ),
    ("pg_catalog", "pg_extension", &[("oid", "oid"), ("extname", "name"), ("extversion", "text")]),
    (
        "pg_catalog",
        "pg_sequences",
        &[
            ("schemaname", "name"),
            ("sequencename", "name"),
            ("start_value", "int8"),
            ("increment_by", "int8"),
        ],
    ),
    ("information_schema", "schemata", &[("catalog_name", "name"), ("schema_name", "name")]),
    (
        "information_schema",
        "tables",
        &[
            ("table_catalog", "name"),
            ("table_schema", "name"),
            ("table_name", "name"),
            ("table_type", "text"),
        ],
    ),
    (
        "information_schema",
        "columns",
        &[
            ("table_catalog", "name"),
            ("table_schema", "name"),
            ("table_name", "name"),
            ("column_name", "name"),
            ("ordinal_position", "int4"),
            ("column_default", "text"),
            ("is_nullable", "text"),
            ("data_type", "text"),
            ("udt_name", "name"),
        ],
    ),
    (
        "information_schema",
        "table_constraints",
        &[
            ("constraint_schema", "name"),
            ("constraint_name", "name"),
            ("table_schema", "name"),
            ("table_name", "name"),
            ("constraint_type", "text"),
        ],
    ),
    (
        "information_schema",
        "key_column_usage",
        &[
            ("constraint_name", "name"),
            ("table_schema", "name"),
            ("table_name", "name"),
            ("column_name", "name"),
            ("ordinal_position", "int4"),
        ],
    ),
];

/// The columns of a system view.
pub(crate) fn columns(schema: Option<&str>, name: &str) -> Option<Columns> {
    let matches = |own: &str| schema.map_or(own == "pg_catalog", |schema| schema == own);
    VIEWS.iter().find(|(own, view, _)| *view == name && matches(own)).map(|(_, _, columns)| *columns)
}
