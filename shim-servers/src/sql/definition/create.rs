//! CREATE TABLE, CREATE INDEX and CREATE VIEW.
//!
//! Owns the order in which a new object comes to be. Must not know ALTER. Invariant: a name is checked before anything else happens.

use std::sync::Arc;

use sqlparser::ast::{CreateIndex, CreateTable, CreateView, Expr, Query, Statement};

use super::columns::{add_column, add_constraint, create_index_text};
use super::{Change, column_types, table};
use crate::engine::{
    Catalog, Column, Condition, Generated, Index, Key, OnCommit, Relation, RelationKind, Result, SqlError,
    Step, TEMPORARY, quote,
};
use crate::sql::names::{name_of, split_name};
use crate::sql::{Output, Planner, Surroundings};

/// The key of a new object: its schema has to be there.
pub(crate) fn new_key(
    catalog: &Catalog,
    schema: Option<String>,
    name: String,
    path: &[String],
) -> Result<Key> {
    let schema = schema.or_else(|| path.iter().find(|schema| catalog.schemas.contains(*schema)).cloned());
    let schema = schema.unwrap_or_else(|| "public".to_owned());
    if schema != TEMPORARY && !catalog.schemas.contains(&schema) {
        return Err(SqlError::new(
            Condition::InvalidSchemaName,
            format!("schema \"{schema}\" does not exist"),
        ));
    }
    Ok((schema, name))
}

fn taken(key: &Key) -> SqlError {
    SqlError::new(Condition::DuplicateTable, format!("relation \"{}\" already exists", key.1))
}

fn skipping(catalog: &Catalog, key: &Key) -> Change {
    let notice = Some(format!("relation \"{}\" already exists, skipping", key.1));
    Change { notice, ..Change::of(catalog) }
}

/// CREATE TABLE.
///
/// # Errors
/// `42P07` and whatever is wrong with a column.
pub fn create_table(create: &CreateTable, around: &Surroundings<'_>) -> Result<Change> {
    let refused = [
        (create.like.is_some(), "CREATE TABLE LIKE"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "a partitioned table"),
        (create.inherits.is_some(), "INHERITS"),
    ];
    if let Some((_, name)) = refused.iter().find(|(present, _)| *present) {
        return Err(SqlError::unsupported(*name));
    }
    let (schema, name) = split_name(&create.name)?;
    let schema = schema_of(create.temporary, schema)?;
    let key = new_key(around.catalog, schema, name, around.search_path)?;
    if around.catalog.is_taken(&key) {
        return if create.if_not_exists { Ok(skipping(around.catalog, &key)) } else { Err(taken(&key)) };
    }
    let mut change = Change::of(around.catalog);
    let mut relation = new_relation(&mut change, &key, RelationKind::Table, Vec::new());
    relation.on_commit = on_commit(create, &relation)?;
    // A column's constraint may name a column that comes later: types first.
    for column in &create.columns {
        let mut bare = column.clone();
        bare.options.retain(|option| !needs_all(&option.option));
        add_column(&mut change, &mut relation, &bare, around)?;
    }
    for column in &create.columns {
        for option in column.options.iter().filter(|option| needs_all(&option.option)) {
            super::columns::late_option(&mut change, &mut relation, column, option, around)?;
        }
    }
    for constraint in &create.constraints {
        add_constraint(&mut change, &mut relation, constraint, around)?;
    }
    // The table comes before its indexes.
    change.steps.insert(0, Step::Sql(relation.create_table()));
    change.catalog.relations.insert(key, relation.into());
    Ok(change)
}

/// The schema of a new object that is to be temporary, or not.
pub(crate) fn schema_of(is_temporary: bool, schema: Option<String>) -> Result<Option<String>> {
    if !is_temporary {
        return Ok(schema);
    }
    if schema.is_some_and(|schema| schema != TEMPORARY) {
        let message = "cannot create temporary relation in non-temporary schema";
        return Err(SqlError::new(Condition::InvalidTableDefinition, message));
    }
    Ok(Some(TEMPORARY.to_owned()))
}

fn on_commit(create: &CreateTable, relation: &Relation) -> Result<OnCommit> {
    use sqlparser::ast::OnCommit as Written;
    if create.on_commit.is_some() && !relation.is_temporary() {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(SqlError::new(Condition::InvalidTableDefinition, message));
    }
    Ok(match create.on_commit {
        Some(Written::DeleteRows) => OnCommit::DeleteRows,
        Some(Written::Drop) => OnCommit::Drop,
        Some(Written::PreserveRows) | None => OnCommit::PreserveRows,
    })
}

fn new_relation(change: &mut Change, key: &Key, kind: RelationKind, columns: Vec<Column>) -> Relation {
    let (schema, name) = key.clone();
    let (oid, constraints, on_commit) = (change.catalog.allocate_oid(), Vec::new(), OnCommit::default());
    Relation { oid, schema, name, kind, columns, constraints, on_commit }
}

/// CREATE TABLE AS: the change, and what SQLite is told to fill the table.
///
/// # Errors
/// `42P07`, and what its query is wrong with.
pub fn create_table_as(
    create: &CreateTable,
    query: &Query,
    around: &Surroundings<'_>,
) -> Result<(Change, Option<String>)> {
    let bare = CreateTable { query: None, columns: Vec::new(), ..create.clone() };
    let mut change = create_table(&bare, around)?;
    if change.steps.is_empty() {
        return Ok((change, None));
    }
    let planned = Planner::new(*around, &[]).plan(&Statement::Query(Box::new(query.clone())))?;
    let (schema, name) = split_name(&create.name)?;
    let key = new_key(around.catalog, schema_of(create.temporary, schema)?, name, around.search_path)?;
    let relation = change.catalog.relations.get_mut(&key).map(Arc::make_mut);
    let relation = relation.ok_or_else(|| SqlError::internal("a table that was not made"))?;
    relation.columns =
        output_columns(&planned.columns, |at| create.columns.get(at).map(|column| name_of(&column.name)));
    for (at, column) in relation.columns.iter().enumerate() {
        if relation.columns[..at].iter().any(|known| known.name == column.name) {
            let message = format!("column \"{}\" specified more than once", column.name);
            return Err(SqlError::new(Condition::DuplicateColumn, message));
        }
    }
    let insert = format!("INSERT INTO {} {}", quote(&relation.sqlite_name()), planned.sql);
    change.steps = vec![Step::Sql(relation.create_table())];
    Ok((change, Some(insert)))
}

/// The columns of a query's result as those of a relation.
fn output_columns(outputs: &[Output], name: impl Fn(usize) -> Option<String>) -> Vec<Column> {
    let column = |(at, output): (usize, &Output)| Column {
        name: name(at).unwrap_or_else(|| output.name.clone()),
        ty: output.ty.clone(),
        number: at as i16 + 1,
        not_null: false,
        default: None,
        generated: Generated::No,
    };
    outputs.iter().enumerate().map(column).collect()
}

/// Whether an option of a column may speak of other columns.
fn needs_all(option: &sqlparser::ast::ColumnOption) -> bool {
    use sqlparser::ast::ColumnOption as O;
    matches!(option, O::Check(_) | O::ForeignKey(_) | O::Generated { generation_expr: Some(_), .. })
}

/// CREATE INDEX.
///
/// # Errors
/// `42P07`, `42703`, and what an expression of it is wrong with.
pub fn create_index(create: &CreateIndex, around: &Surroundings<'_>) -> Result<Change> {
    let (schema, table_name) = split_name(&create.table_name)?;
    let found = around.catalog.relation(schema.as_deref(), &table_name, around.search_path);
    let relation = found.ok_or_else(|| {
        SqlError::new(Condition::UndefinedTable, format!("relation \"{table_name}\" does not exist"))
    })?;
    table(around.catalog, &relation.key())?;
    let types = column_types(relation);
    let (mut columns, mut parts) = (Vec::new(), Vec::new());
    for column in &create.columns {
        let term = &column.column;
        let (sql, ty) = Planner::new(*around, &[]).value(&term.expr, &types)?;
        let direction = match term.options.sort {
            Some(sqlparser::ast::OrderBySort::Desc) => " DESC",
            _ => "",
        };
        let collate = if sql.starts_with('"') { "" } else { crate::sql::expression::collation(&ty) };
        parts.push(format!("{sql}{collate}{direction}"));
        columns.push(match &term.expr {
            Expr::Identifier(ident) => name_of(ident),
            other => other.to_string(),
        });
    }
    let mut sqlite = format!("({})", parts.join(", "));
    if let Some(predicate) = &create.predicate {
        let condition = Planner::new(*around, &[]).condition(predicate, &types)?;
        sqlite.push_str(&format!(" WHERE {condition}"));
    }
    let name = match &create.name {
        Some(name) => split_name(name)?.1,
        None => {
            let words: Vec<&str> =
                columns.iter().map(|column| if column.contains('(') { "expr" } else { column }).collect();
            super::free_name(around.catalog, relation, &format!("{}_{}_idx", relation.name, words.join("_")))
        }
    };
    let key = (relation.schema.clone(), name);
    if around.catalog.is_taken(&key) {
        return if create.if_not_exists { Ok(skipping(around.catalog, &key)) } else { Err(taken(&key)) };
    }
    let mut change = Change::of(around.catalog);
    let oid = change.catalog.allocate_oid();
    change.sql(create_index_text(&key, &relation.key(), create.unique, &sqlite));
    let index = Index { oid, table: relation.key(), columns, unique: create.unique, sqlite };
    change.catalog.indexes.insert(key, index.into());
    Ok(change)
}

/// CREATE VIEW: its query is kept as text, and planned wherever the view is used.
///
/// # Errors
/// `42P07`, and what its query is wrong with.
pub fn create_view(create: &CreateView, around: &Surroundings<'_>) -> Result<Change> {
    if create.materialized {
        return Err(SqlError::unsupported("a materialized view"));
    }
    let (schema, name) = split_name(&create.name)?;
    let schema = schema_of(create.temporary, schema)?;
    let key = new_key(around.catalog, schema, name, around.search_path)?;
    let known = around.catalog.relations.get(&key);
    let replaced = known.filter(|known| create.or_replace && known.kind != RelationKind::Table);
    if around.catalog.is_taken(&key) && replaced.is_none() {
        return Err(taken(&key));
    }
    let statement = sqlparser::ast::Statement::Query(create.query.clone());
    let planned = Planner::new(*around, &[]).plan(&statement)?;
    let mut change = Change::of(around.catalog);
    let columns =
        output_columns(&planned.columns, |at| create.columns.get(at).map(|column| name_of(&column.name)));
    let kind = RelationKind::View(create.query.to_string());
    let mut relation = new_relation(&mut change, &key, kind, columns);
    relation.oid = replaced.map_or(relation.oid, |known| known.oid);
    change.catalog.relations.insert(key, relation.into());
    Ok(change)
}
