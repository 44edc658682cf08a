//! `information_schema`: what tools ask about the tables of the session's database.
//!
//! Owns the columns of its views and where their values come from. Must not run anything. Invariant: a view that is not here is
//! refused by its name. It has the tables of this database alone, and of these only what every session sees.

use std::ops::ControlFlow;

use sqlparser::ast::{Ident, Query, SetExpr, Statement, TableAlias, TableFactor, VisitMut, VisitorMut};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;

use super::schema::{Column, Table, Tables};
use super::types::Kind;

/// The schema's name.
pub(super) const SCHEMA: &str = "information_schema";

/// A view: the names of its columns, and its rows.
struct View {
    columns: &'static [&'static str],
    rows: Vec<Vec<Option<String>>>,
}

/// Puts queries of their rows in the place of the views.
pub(super) fn insert_views(query: &mut Query, database: &str, tables: &Tables) {
    let _ = query.visit(&mut Inserter { database, tables });
}

struct Inserter<'a> {
    database: &'a str,
    tables: &'a Tables,
}

impl VisitorMut for Inserter<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, .. } = factor else { return ControlFlow::Continue(()) };
        let parts: Vec<&str> =
            name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.as_str()).collect();
        let [schema, view] = parts[..] else { return ControlFlow::Continue(()) };
        if schema.eq_ignore_ascii_case(SCHEMA)
            && let Some(query) = self.view(view).and_then(|view| view.query())
        {
            let own = || TableAlias {
                explicit: true,
                name: Ident::with_quote('"', view),
                columns: Vec::new(),
                at: None,
            };
            let alias = Some(alias.take().unwrap_or_else(own));
            *factor = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
        }
        ControlFlow::Continue(())
    }
}

impl Inserter<'_> {
    fn view(&self, name: &str) -> Option<View> {
        let tables = || self.tables.values().filter(|table| !table.is_temporary);
        let (columns, rows): (&[&str], _) = match name.to_ascii_uppercase().as_str() {
            "TABLES" => (
                &["TABLE_CATALOG", "TABLE_SCHEMA", "TABLE_NAME", "TABLE_TYPE", "ENGINE", "TABLE_COMMENT"],
                tables().map(|table| self.row(&[&table.name, "BASE TABLE", "InnoDB", ""])).collect(),
            ),
            "COLUMNS" => (COLUMNS, tables().flat_map(|table| self.columns(table)).collect()),
            "STATISTICS" => (STATISTICS, tables().flat_map(|table| self.statistics(table)).collect()),
            "TABLE_CONSTRAINTS" => (
                &[
                    "CONSTRAINT_CATALOG",
                    "CONSTRAINT_SCHEMA",
                    "CONSTRAINT_NAME",
                    "TABLE_SCHEMA",
                    "TABLE_NAME",
                    "CONSTRAINT_TYPE",
                ],
                tables().flat_map(|table| self.constraints(table)).collect(),
            ),
            "KEY_COLUMN_USAGE" => (KEY_COLUMNS, tables().flat_map(|table| self.key_columns(table)).collect()),
            _ => return None,
        };
        Some(View { columns, rows })
    }

    /// A row that begins with catalog and schema.
    fn row(&self, rest: &[&str]) -> Vec<Option<String>> {
        let begin = ["def", self.database];
        begin.iter().chain(rest).map(|value| Some((*value).to_owned())).collect()
    }

    fn columns(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let row = |(at, column): (usize, &Column)| {
            let nullable = if column.is_not_null { "NO" } else { "YES" };
            let mut row = self.row(&[&table.name, &column.name, &(at + 1).to_string()]);
            row.push(column.default.as_ref().map(|default| default.trim_matches('\'').to_owned()));
            let family = column.ty.text.split(['(', ' ']).next().unwrap_or_default();
            let length = match &column.ty.kind {
                Kind::Text { most, .. } | Kind::Blob { most, .. } => most.map(|most| most.to_string()),
                _ => None,
            };
            row.extend([Some(nullable.to_owned()), Some(family.to_owned()), length]);
            row.extend([
                Some(column.ty.text.clone()),
                Some(super::plan::key_of(table, column).to_owned()),
                Some(if column.is_auto_increment { "auto_increment" } else { "" }.to_owned()),
                Some(String::new()),
            ]);
            row
        };
        table.columns.iter().enumerate().map(row).collect()
    }

    fn statistics(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let unique = table.keys.iter().map(|key| (&key.name, &key.columns, "0"));
        let others = table.plain_indexes().map(|(name, columns)| (name, columns, "1"));
        let rows = unique.chain(others).flat_map(|(name, columns, non_unique)| {
            columns.iter().enumerate().map(move |(at, column)| {
                let at = (at + 1).to_string();
                self.row(&[&table.name, non_unique, self.database, name, &at, column, "BTREE"])
            })
        });
        rows.collect()
    }

    fn constraints(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let keys = table
            .keys
            .iter()
            .map(|key| (&key.name, if key.name == "PRIMARY" { "PRIMARY KEY" } else { "UNIQUE" }));
        let foreign = table.foreign_keys.iter().map(|key| (&key.name, "FOREIGN KEY"));
        let checks = table.checks.iter().map(|(name, _)| (name, "CHECK"));
        let all = keys.chain(foreign).chain(checks);
        all.map(|(name, kind)| self.row(&[name, self.database, &table.name, kind])).collect()
    }

    fn key_columns(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let begin = |name: &str, column: &str, at: usize| {
            self.row(&[name, self.database, &table.name, column, &(at + 1).to_string()])
        };
        let mut rows = Vec::new();
        for key in &table.keys {
            for (at, column) in key.columns.iter().enumerate() {
                rows.push([begin(&key.name, column, at), vec![None; 4]].concat());
            }
        }
        for key in &table.foreign_keys {
            for (at, (column, referred)) in key.columns.iter().zip(&key.referred).enumerate() {
                let there = [&(at + 1).to_string(), self.database, &key.table, referred];
                let there = there.map(|value| Some(value.to_owned())).to_vec();
                rows.push([begin(&key.name, column, at), there].concat());
            }
        }
        rows
    }
}

const COLUMNS: &[&str] = &[
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "COLUMN_NAME",
    "ORDINAL_POSITION",
    "COLUMN_DEFAULT",
    "IS_NULLABLE",
    "DATA_TYPE",
    "CHARACTER_MAXIMUM_LENGTH",
    "COLUMN_TYPE",
    "COLUMN_KEY",
    "EXTRA",
    "COLUMN_COMMENT",
];

const STATISTICS: &[&str] = &[
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "NON_UNIQUE",
    "INDEX_SCHEMA",
    "INDEX_NAME",
    "SEQ_IN_INDEX",
    "COLUMN_NAME",
    "INDEX_TYPE",
];

const KEY_COLUMNS: &[&str] = &[
    "CONSTRAINT_CATALOG",
    "CONSTRAINT_SCHEMA",
    "CONSTRAINT_NAME",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "COLUMN_NAME",
    "ORDINAL_POSITION",
    "POSITION_IN_UNIQUE_CONSTRAINT",
    "REFERENCED_TABLE_SCHEMA",
    "REFERENCED_TABLE_NAME",
    "REFERENCED_COLUMN_NAME",
];

/// Columns that are numbers.
const NUMBERS: &[&str] = &[
    "ORDINAL_POSITION",
    "CHARACTER_MAXIMUM_LENGTH",
    "NON_UNIQUE",
    "SEQ_IN_INDEX",
    "POSITION_IN_UNIQUE_CONSTRAINT",
];

impl View {
    /// The rows as a query.
    fn query(&self) -> Option<Query> {
        let value = |(value, name): (&Option<String>, &&str)| match value {
            None => "NULL".to_owned(),
            Some(value) if NUMBERS.contains(name) => value.clone(),
            Some(value) => format!("'{}'", value.replace('\'', "''")),
        };
        let row = |row: &Vec<Option<String>>| {
            let values: Vec<String> = row.iter().zip(self.columns).map(value).collect();
            format!("({})", values.join(", "))
        };
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        let text = if rows.is_empty() {
            let names: Vec<String> = self.columns.iter().map(|name| format!("NULL AS {name}")).collect();
            format!("SELECT {} LIMIT 0", names.join(", "))
        } else {
            let names = self.columns.iter().enumerate();
            let names: Vec<String> = names.map(|(at, name)| format!("column{} AS {name}", at + 1)).collect();
            format!("SELECT {} FROM (VALUES {})", names.join(", "), rows.join(", "))
        };
        match Parser::parse_sql(&SQLiteDialect {}, &text).ok()?.pop()? {
            Statement::Query(query) if matches!(*query.body, SetExpr::Select(_)) => Some(*query),
            _ => None,
        }
    }
}
