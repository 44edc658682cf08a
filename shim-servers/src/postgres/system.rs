//! `pg_catalog` and `information_schema`: what tools and drivers ask about the database.
//!
//! Owns the columns of each view and how its rows come from the catalog. Must not store anything. Invariant: a row has one value for each column.

mod views;

use serde_json::{Value as Json, json};

use crate::engine::{Catalog, Constraint, RelationKind, Result, Shared, SqlError, TEMPORARY};
use crate::sql::oids::{BUILT_IN, SYSTEM_RELATIONS, system_relation, type_modifier, type_oid, type_size};
pub(crate) use views::columns;

/// The rows of a system view, as it is now.
pub(crate) fn rows(shared: &Shared, name: &str) -> Result<Json> {
    let catalog = shared.with(|state| std::sync::Arc::clone(&state.catalog));
    let database = shared.database.name.as_str();
    let rows: Vec<Json> = match name {
        "pg_database" => {
            let names = shared.database.cluster.upgrade().map(|cluster| cluster.names()).unwrap_or_default();
            names.iter().enumerate().map(|(at, name)| json!([at + 5, name, 1, 0])).collect()
        }
        "pg_namespace" => schemas(&catalog).map(|(oid, name)| json!([oid, name, 10])).collect(),
        "pg_class" => classes(&catalog),
        "pg_attribute" => attributes(&catalog),
        "pg_type" => types(&catalog),
        "pg_enum" => enums(&catalog),
        "pg_range" | "pg_extension" => Vec::new(),
        "pg_index" => catalog
            .indexes
            .iter()
            .map(|(key, index)| {
                let table = catalog.relations.get(&index.table);
                let primary = table.and_then(|table| table.constraint(&key.1)).is_some_and(is_primary);
                json!([index.oid, table.map(|table| table.oid), i32::from(index.unique), i32::from(primary)])
            })
            .collect(),
        "pg_indexes" => catalog
            .indexes
            .iter()
            .map(|(key, index)| {
                let unique = if index.unique { "UNIQUE " } else { "" };
                let columns = index.columns.join(", ");
                let text = format!(
                    "CREATE {unique}INDEX {} ON {}.{} USING btree ({columns})",
                    key.1, key.0, index.table.1
                );
                json!([key.0, index.table.1, key.1, text])
            })
            .collect(),
        "pg_tables" => {
            relations(&catalog, true).map(|found| json!([found.schema, found.name, shared.user])).collect()
        }
        "pg_views" => relations(&catalog, false)
            .map(|found| {
                let RelationKind::View(text) = &found.kind else { return json!([]) };
                json!([found.schema, found.name, text])
            })
            .collect(),
        "pg_constraint" => constraints(&catalog),
        "pg_depend" => dependencies(&catalog),
        "pg_stat_activity" => activity(shared),
        "pg_settings" => {
            shared.with(|state| state.settings.iter().map(|(name, value)| json!([name, value])).collect())
        }
        "pg_roles" => vec![json!([10, shared.user, 1, 1])],
        "pg_sequences" => catalog
            .sequences
            .iter()
            .map(|(key, found)| json!([key.0, key.1, found.start, found.increment]))
            .collect(),
        "regclass" => names(&catalog),
        "regtype" => type_names(&catalog),
        other => standard_rows(&catalog, database, other)?,
    };
    Ok(Json::Array(rows))
}

/// The rows of a view of `information_schema`.
fn standard_rows(catalog: &Catalog, database: &str, name: &str) -> Result<Vec<Json>> {
    Ok(match name {
        "schemata" => schemas(catalog).map(|(_, name)| json!([database, name])).collect(),
        "tables" => catalog
            .relations
            .values()
            .map(|found| {
                let kind = match found.kind {
                    RelationKind::Table if found.is_temporary() => "LOCAL TEMPORARY",
                    RelationKind::Table => "BASE TABLE",
                    RelationKind::View(_) => "VIEW",
                };
                json!([database, found.schema, found.name, kind])
            })
            .collect(),
        "columns" => columns_of_all(catalog, database),
        "table_constraints" => catalog
            .relations
            .values()
            .flat_map(|found| {
                found.constraints.iter().map(|constraint| {
                    json!([
                        found.schema,
                        constraint.name(),
                        found.schema,
                        found.name,
                        constraint_kind(constraint).1
                    ])
                })
            })
            .collect(),
        "key_column_usage" => catalog
            .relations
            .values()
            .flat_map(|found| {
                found.constraints.iter().flat_map(|constraint| {
                    key_columns(constraint)
                        .iter()
                        .enumerate()
                        .map(|(at, column)| {
                            json!([constraint.name(), found.schema, found.name, column, at + 1])
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect(),
        other => return Err(SqlError::internal(format!("no system view {other}"))),
    })
}

/// Schemas and their numbers; those of the system first.
fn schemas(catalog: &Catalog) -> impl Iterator<Item = (usize, String)> {
    let own = catalog.schemas.iter().filter(|name| *name != "public").cloned();
    let temporary = catalog.has_temporary().then(|| TEMPORARY.to_owned());
    let all = ["pg_catalog", "information_schema", "public"].into_iter().map(str::to_owned).chain(own);
    let all = all.chain(temporary);
    let numbers = [11, 13_000, 2200].into_iter().chain(14_000..);
    numbers.zip(all.collect::<Vec<_>>())
}

fn schema_oid(catalog: &Catalog, name: &str) -> usize {
    schemas(catalog).find(|(_, known)| known == name).map_or(0, |(oid, _)| oid)
}

fn relations(
    catalog: &Catalog,
    tables: bool,
) -> impl Iterator<Item = &std::sync::Arc<crate::engine::Relation>> {
    catalog.relations.values().filter(move |found| (found.kind == RelationKind::Table) == tables)
}

fn is_primary(constraint: &Constraint) -> bool {
    matches!(constraint, Constraint::PrimaryKey { .. })
}

fn classes(catalog: &Catalog) -> Vec<Json> {
    let row = |oid: u32, schema: &str, name: &str, kind: &str| {
        json!([oid, name, schema_oid(catalog, schema), kind, -1.0, 10])
    };
    let tables = catalog.relations.values().map(|found| {
        let kind = if found.kind == RelationKind::Table { "r" } else { "v" };
        row(found.oid, &found.schema, &found.name, kind)
    });
    let indexes = catalog.indexes.iter().map(|(key, found)| row(found.oid, &key.0, &key.1, "i"));
    let sequences = catalog.sequences.iter().map(|(key, found)| row(found.oid, &key.0, &key.1, "S"));
    let system = SYSTEM_RELATIONS.iter().map(|(name, oid)| json!([oid, name]));
    tables.chain(indexes).chain(sequences).chain(system).collect()
}

fn attributes(catalog: &Catalog) -> Vec<Json> {
    use crate::engine::Generated;
    let rows = catalog.relations.values().flat_map(|found| {
        found.columns.iter().map(|column| {
            let (identity, generated) = match column.generated {
                Generated::No => ("", ""),
                Generated::IdentityAlways => ("a", ""),
                Generated::IdentityByDefault => ("d", ""),
                Generated::Stored(_) => ("", "s"),
            };
            json!([
                found.oid,
                column.name,
                type_oid(&column.ty),
                column.number,
                i32::from(column.not_null),
                i32::from(column.default.is_some()),
                0,
                type_modifier(&column.ty),
                identity,
                generated,
                type_size(&column.ty)
            ])
        })
    });
    rows.collect()
}

fn types(catalog: &Catalog) -> Vec<Json> {
    let mut rows = Vec::new();
    for (name, oid, array, size, category) in BUILT_IN {
        let kind = if *category == 'P' || *category == 'X' { "p" } else { "b" };
        rows.push(json!([oid, name, 11, kind, category.to_string(), 0, 0, 0, array, size]));
        if *array != 0 {
            rows.push(json!([array, format!("_{name}"), 11, "b", "A", 0, oid, 0, 0, -1]));
        }
    }
    for (key, found) in &catalog.enums {
        let schema = schema_oid(catalog, &key.0);
        rows.push(json!([found.oid, key.1, schema, "e", "E", 0, 0, 0, found.oid + 1, 4]));
        rows.push(json!([found.oid + 1, format!("_{}", key.1), schema, "b", "A", 0, found.oid, 0, 0, -1]));
    }
    rows
}

fn enums(catalog: &Catalog) -> Vec<Json> {
    let rows = catalog.enums.values().flat_map(|found| {
        let labels = found.labels.iter().enumerate();
        labels.map(|(at, label)| {
            json!([u64::from(found.oid) * 1000 + at as u64, found.oid, at as f64 + 1.0, label])
        })
    });
    rows.collect()
}

fn constraint_kind(constraint: &Constraint) -> (&'static str, &'static str) {
    match constraint {
        Constraint::PrimaryKey { .. } => ("p", "PRIMARY KEY"),
        Constraint::Unique { .. } => ("u", "UNIQUE"),
        Constraint::ForeignKey { .. } => ("f", "FOREIGN KEY"),
        Constraint::Check { .. } => ("c", "CHECK"),
    }
}

fn key_columns(constraint: &Constraint) -> &[String] {
    match constraint {
        Constraint::PrimaryKey { columns, .. }
        | Constraint::Unique { columns, .. }
        | Constraint::ForeignKey { columns, .. } => columns,
        Constraint::Check { .. } => &[],
    }
}

fn constraints(catalog: &Catalog) -> Vec<Json> {
    let rows = catalog.relations.values().flat_map(|found| {
        found.constraints.iter().enumerate().map(move |(at, constraint)| {
            let referred = match constraint {
                Constraint::ForeignKey { table, .. } => {
                    catalog.relations.get(table).map_or(0, |found| found.oid)
                }
                _ => 0,
            };
            let oid = u64::from(found.oid) * 1000 + at as u64;
            let schema = schema_oid(catalog, &found.schema);
            json!([oid, constraint.name(), schema, constraint_kind(constraint).0, found.oid, referred])
        })
    });
    rows.collect()
}

fn activity(shared: &Shared) -> Vec<Json> {
    let all = shared.database.cluster.upgrade().map(|cluster| cluster.backends.all()).unwrap_or_default();
    let row = |session: &Shared| {
        let state = if session.is_active() { "active" } else { "idle" };
        let wait = session.is_waiting().then_some("Lock");
        let (query, application) = session.with(|state| {
            (state.query.clone(), state.settings.get("application_name").cloned().unwrap_or_default())
        });
        json!([session.database.name, session.id, session.user, application, state, wait, query])
    };
    all.iter().map(|session| row(session)).collect()
}

fn columns_of_all(catalog: &Catalog, database: &str) -> Vec<Json> {
    let rows = catalog.relations.values().flat_map(|found| {
        found.columns.iter().map(move |column| {
            let nullable = if column.not_null { "NO" } else { "YES" };
            let data_type = match &column.ty {
                crate::engine::SqlType::Array(_) => "ARRAY".to_owned(),
                crate::engine::SqlType::Enum(..) => "USER-DEFINED".to_owned(),
                ty => ty.base().display_name(),
            };
            json!([
                database,
                found.schema,
                found.name,
                column.name,
                column.number,
                column.default,
                nullable,
                data_type,
                column.ty.short_name()
            ])
        })
    });
    rows.collect()
}

/// Sequences that go away with a column. Nothing else that depends on something is listed, nor is there any extension.
fn dependencies(catalog: &Catalog) -> Vec<Json> {
    let class = system_relation("pg_class");
    let owned = catalog.sequences.values().filter_map(|sequence| {
        let (table, column) = sequence.owner.as_ref()?;
        let table = catalog.relations.get(table)?;
        let number = table.columns.iter().find(|own| own.name == *column)?.number;
        Some(json!([class, sequence.oid, 0, class, table.oid, number, "a"]))
    });
    owned.collect()
}

/// Numbers and names of relations, for `oid::regclass::text`.
fn names(catalog: &Catalog) -> Vec<Json> {
    let shown = |schema: &str, name: &str| {
        if schema == "public" || schema == TEMPORARY { name.to_owned() } else { format!("{schema}.{name}") }
    };
    let tables =
        catalog.relations.values().map(|found| json!([found.oid, shown(&found.schema, &found.name)]));
    let indexes = catalog.indexes.iter().map(|(key, found)| json!([found.oid, shown(&key.0, &key.1)]));
    let sequences = catalog.sequences.iter().map(|(key, found)| json!([found.oid, shown(&key.0, &key.1)]));
    let system = SYSTEM_RELATIONS.iter().map(|(name, oid)| json!([oid, name]));
    tables.chain(indexes).chain(sequences).chain(system).collect()
}

fn type_names(catalog: &Catalog) -> Vec<Json> {
    let mut rows = Vec::new();
    for (name, oid, array, _, _) in BUILT_IN {
        let shown =
            crate::engine::SqlType::from_name(name).map_or((*name).to_owned(), |ty| ty.display_name());
        rows.push(json!([oid, shown]));
        if *array != 0 {
            rows.push(json!([array, format!("{shown}[]")]));
        }
    }
    for (key, found) in &catalog.enums {
        rows.push(json!([found.oid, key.1]));
        rows.push(json!([found.oid + 1, format!("{}[]", key.1)]));
    }
    // Other names that lead to them; the first one is shown.
    for (name, oid, array, _, _) in BUILT_IN {
        rows.extend([json!([oid, name]), json!([array, format!("_{name}")])]);
    }
    rows.extend(catalog.enums.iter().map(|(key, found)| json!([found.oid + 1, format!("_{}", key.1)])));
    rows
}
