//! ALTER TABLE.
//!
//! Owns which change is one of the catalog alone, one of the table's text, or one of its rows. Must not know CREATE. Invariant: rows that a
//! change would make wrong refuse it, with PostgreSQL's words.

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, DropBehavior, Expr, RenameTableNameKind,
};
use std::sync::Arc;

use super::columns::{add_column, add_constraint, set_default};
use super::{Change, column_types, table};
use crate::engine::{
    Condition, Constraint, Key, Relation, Result, SqlError, SqlType, Step, quote, sqlite_name,
};
use crate::sql::names::{data_type, name_of, split_name};
use crate::sql::{Planner, Surroundings};

/// ALTER TABLE; nothing where there is no such table and that is allowed.
///
/// # Errors
/// What is wrong with an operation; `0A000` for those that are not spoken.
pub fn alter_table(alter: &AlterTable, around: &Surroundings<'_>) -> Result<Option<Change>> {
    let (schema, name) = split_name(&alter.name)?;
    let found = around.catalog.relation(schema.as_deref(), &name, around.search_path);
    let Some(found) = found else {
        if alter.if_exists {
            return Ok(None);
        }
        return Err(SqlError::new(Condition::UndefinedTable, format!("relation \"{name}\" does not exist")));
    };
    let mut key = found.key();
    let mut change = Change::of(around.catalog);
    for operation in &alter.operations {
        let around = Surroundings { catalog: &change.catalog.clone(), ..*around };
        let relation = table(around.catalog, &key)?.clone();
        key = apply(&mut change, relation, operation, &around)?;
    }
    Ok(Some(change))
}

/// One operation; the table's name afterwards.
fn apply(
    change: &mut Change,
    mut relation: Relation,
    operation: &AlterTableOperation,
    around: &Surroundings<'_>,
) -> Result<Key> {
    let key = relation.key();
    match operation {
        AlterTableOperation::AddColumn { if_not_exists, column_def, .. } => {
            if *if_not_exists && relation.column(&name_of(&column_def.name)).is_some() {
                change.notice = Some(format!(
                    "column \"{}\" of relation \"{}\" already exists, skipping",
                    name_of(&column_def.name),
                    key.1
                ));
                return Ok(key);
            }
            return append_column(change, relation, column_def, around);
        }
        AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
            for name in column_names {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                drop_column(change, &mut relation, &name_of(name), *if_exists, cascade)?;
            }
            return Ok(key);
        }
        AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
            rename_column(change, relation, &name_of(old_column_name), &name_of(new_column_name))?;
            return Ok(key);
        }
        AlterTableOperation::RenameTable { table_name } => {
            let (RenameTableNameKind::To(name) | RenameTableNameKind::As(name)) = table_name;
            return rename_table(change, relation, split_name(name)?.1);
        }
        AlterTableOperation::AddConstraint { constraint, .. } => {
            let known = relation.constraints.len();
            add_constraint(change, &mut relation, constraint, around)?;
            let added = relation.constraints[known..].to_vec();
            for constraint in &added {
                refuse_wrong_rows(change, &relation, constraint);
            }
        }
        AlterTableOperation::DropConstraint { if_exists, name, .. } => {
            let name = name_of(name);
            if relation.constraint(&name).is_none() {
                if *if_exists {
                    return Ok(key);
                }
                let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", key.1);
                return Err(SqlError::new(Condition::UndefinedObject, message));
            }
            drop_constraint(change, &mut relation, &name);
        }
        AlterTableOperation::RenameConstraint { old_name, new_name } => {
            rename_constraint(change, &mut relation, &name_of(old_name), &name_of(new_name))?;
        }
        AlterTableOperation::AlterColumn { column_name, op } => {
            alter_column(change, &mut relation, &name_of(column_name), op, around)?;
        }
        AlterTableOperation::OwnerTo { .. } | AlterTableOperation::ValidateConstraint { .. } => {
            return Ok(key);
        }
        other => return Err(SqlError::unsupported(format!("ALTER TABLE … {other}"))),
    }
    rewrite(change, relation);
    Ok(key)
}

/// The table's text is written anew.
fn rewrite(change: &mut Change, relation: Relation) {
    let first_refusal = change.steps.iter().position(|step| matches!(step, Step::Refuse(..)));
    let step = Step::Rewrite(relation.sqlite_name(), relation.create_table());
    change.steps.insert(first_refusal.unwrap_or(change.steps.len()), step);
    change.catalog.relations.insert(relation.key(), relation.into());
}

fn append_column(
    change: &mut Change,
    mut relation: Relation,
    definition: &ColumnDef,
    around: &Surroundings<'_>,
) -> Result<Key> {
    let key = relation.key();
    let (steps, known) = (change.steps.len(), relation.constraints.len());
    add_column(change, &mut relation, definition, around)?;
    let later = change.steps.split_off(steps);
    let column =
        relation.columns.last().cloned().ok_or_else(|| SqlError::internal("a column was not added"))?;
    let (table, name) = (quote(&relation.sqlite_name()), quote(&column.name));
    let collate = if matches!(column.ty, SqlType::Numeric(_)) { " COLLATE \"numeric\"" } else { "" };
    change.sql(format!("ALTER TABLE {table} ADD COLUMN {name}{collate}"));
    if let Some(default) = &column.default {
        let mut parser = sqlparser::parser::Parser::new(&sqlparser::dialect::PostgreSqlDialect {})
            .try_with_sql(default)
            .map_err(SqlError::internal)?;
        let expression: Expr = parser.parse_expr().map_err(SqlError::internal)?;
        let around = Surroundings { catalog: &change.catalog.clone(), ..*around };
        let value = Planner::new(around, &[]).constant(&expression, &column.ty)?;
        change.sql(format!("UPDATE {table} SET {name} = {value}"));
    }
    if column.not_null {
        refuse_null(change, &relation, &column.name);
    }
    change.steps.extend(later);
    for constraint in &relation.constraints[known..] {
        refuse_wrong_rows(change, &relation, constraint);
    }
    rewrite(change, relation);
    Ok(key)
}

fn refuse_null(change: &mut Change, relation: &Relation, column: &str) {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", relation.name);
    let error = SqlError::new(Condition::NotNullViolation, message)
        .table(&relation.schema, &relation.name)
        .column(column);
    let query =
        format!("SELECT 1 FROM {} WHERE {} IS NULL LIMIT 1", quote(&relation.sqlite_name()), quote(column));
    change.steps.push(Step::Refuse(query, error));
}

/// Rows that a new CHECK or FOREIGN KEY does not hold for; keys are checked as their index is made.
fn refuse_wrong_rows(change: &mut Change, relation: &Relation, constraint: &Constraint) {
    let table = quote(&relation.sqlite_name());
    match constraint {
        Constraint::Check { name, sqlite, .. } => {
            let message = format!(
                "check constraint \"{name}\" of relation \"{}\" is violated by some row",
                relation.name
            );
            let error = SqlError::new(Condition::CheckViolation, message);
            let error = error.table(&relation.schema, &relation.name).constraint(name);
            change
                .steps
                .push(Step::Refuse(format!("SELECT 1 FROM {table} WHERE NOT ({sqlite}) LIMIT 1"), error));
        }
        Constraint::ForeignKey { name, .. } => {
            let message = format!(
                "insert or update on table \"{}\" violates foreign key constraint \"{name}\"",
                relation.name
            );
            let error = SqlError::new(Condition::ForeignKeyViolation, message);
            let error = error.table(&relation.schema, &relation.name).constraint(name);
            change.steps.push(Step::Refuse(format!("PRAGMA foreign_key_check({table})"), error));
        }
        Constraint::PrimaryKey { columns, .. } => {
            for column in columns {
                refuse_null(change, relation, column);
            }
        }
        Constraint::Unique { .. } => {}
    }
}

fn drop_constraint(change: &mut Change, relation: &mut Relation, name: &str) {
    relation.constraints.retain(|constraint| constraint.name() != name);
    let index = (relation.schema.clone(), name.to_owned());
    if change.catalog.indexes.remove(&index).is_some() {
        change.sql(format!("DROP INDEX {}", quote(&sqlite_name(&index))));
    }
}

fn rename_constraint(change: &mut Change, relation: &mut Relation, old: &str, new: &str) -> Result<()> {
    let found = relation.constraints.iter_mut().find(|constraint| constraint.name() == old);
    let Some(constraint) = found else {
        let message = format!("constraint \"{old}\" for table \"{}\" does not exist", relation.name);
        return Err(SqlError::new(Condition::UndefinedObject, message));
    };
    match constraint {
        Constraint::PrimaryKey { name, .. }
        | Constraint::Unique { name, .. }
        | Constraint::ForeignKey { name, .. }
        | Constraint::Check { name, .. } => new.clone_into(name),
    }
    rename_index(change, &(relation.schema.clone(), old.to_owned()), new);
    Ok(())
}

/// An index gets another name, if there is one of the old name.
pub(crate) fn rename_index(change: &mut Change, key: &Key, new: &str) -> bool {
    let Some(index) = change.catalog.indexes.remove(key) else { return false };
    let renamed = (key.0.clone(), new.to_owned());
    change.sql(format!("DROP INDEX {}", quote(&sqlite_name(key))));
    change.sql(super::columns::create_index_text(&renamed, &index.table, index.unique, &index.sqlite));
    change.catalog.indexes.insert(renamed, index);
    true
}

fn drop_column(
    change: &mut Change,
    relation: &mut Relation,
    name: &str,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    if relation.column(name).is_none() {
        if if_exists {
            return Ok(());
        }
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
        return Err(SqlError::new(Condition::UndefinedColumn, message));
    }
    let key = relation.key();
    let dependents = change.catalog.relations.values().any(|other| {
        other.key() != key
            && other.constraints.iter().any(|constraint| {
                matches!(constraint, Constraint::ForeignKey { table, referred, .. } if *table == key && referred.iter().any(|own| own == name))
            })
    });
    if dependents {
        if cascade {
            return Err(SqlError::unsupported(
                "DROP COLUMN … CASCADE of a column that another table refers to",
            ));
        }
        let message =
            format!("cannot drop column {name} of table {} because other objects depend on it", key.1);
        return Err(SqlError::new(Condition::DependentObjectsStillExist, message)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let uses = |constraint: &Constraint| match constraint {
        Constraint::PrimaryKey { columns, .. }
        | Constraint::Unique { columns, .. }
        | Constraint::ForeignKey { columns, .. } => columns.iter().any(|own| own == name),
        Constraint::Check { sqlite, .. } => sqlite.contains(&quote(name)),
    };
    let gone: Vec<String> = relation
        .constraints
        .iter()
        .filter(|found| uses(found))
        .map(|found| found.name().to_owned())
        .collect();
    for constraint in gone {
        drop_constraint(change, relation, &constraint);
    }
    let indexes: Vec<Key> = change
        .catalog
        .indexes
        .iter()
        .filter(|(_, index)| index.table == key && index.sqlite.contains(&quote(name)))
        .map(|(key, _)| key.clone())
        .collect();
    for index in indexes {
        change.catalog.indexes.remove(&index);
        change.sql(format!("DROP INDEX {}", quote(&sqlite_name(&index))));
    }
    // SQLite drops no column that a constraint speaks of: the text without them comes first.
    change.steps.push(Step::Rewrite(relation.sqlite_name(), relation.create_table()));
    change.sql(format!("ALTER TABLE {} DROP COLUMN {}", quote(&relation.sqlite_name()), quote(name)));
    relation.columns.retain(|column| column.name != name);
    let owned = |owner: &Option<(Key, String)>| {
        owner.as_ref().is_some_and(|(table, own)| *table == key && own == name)
    };
    change.catalog.sequences.retain(|_, sequence| !owned(&sequence.owner));
    change.catalog.relations.insert(key, Arc::new(relation.clone()));
    Ok(())
}

fn rename_column(change: &mut Change, mut relation: Relation, old: &str, new: &str) -> Result<()> {
    let key = relation.key();
    if relation.column(new).is_some() {
        let message = format!("column \"{new}\" of relation \"{}\" already exists", key.1);
        return Err(SqlError::new(Condition::DuplicateColumn, message));
    }
    let Some(column) = relation.columns.iter_mut().find(|column| column.name == old) else {
        return Err(SqlError::new(Condition::UndefinedColumn, format!("column \"{old}\" does not exist")));
    };
    new.clone_into(&mut column.name);
    let rename = |columns: &mut Vec<String>| {
        columns.iter_mut().filter(|own| *own == old).for_each(|own| new.clone_into(own));
    };
    for constraint in &mut relation.constraints {
        match constraint {
            Constraint::PrimaryKey { columns, .. }
            | Constraint::Unique { columns, .. }
            | Constraint::ForeignKey { columns, .. } => rename(columns),
            Constraint::Check { sqlite, .. } => *sqlite = sqlite.replace(&quote(old), &quote(new)),
        }
    }
    for other in change.catalog.relations.values_mut() {
        for constraint in &mut Arc::make_mut(other).constraints {
            if let Constraint::ForeignKey { table, referred, .. } = constraint
                && *table == key
            {
                rename(referred);
            }
        }
    }
    for index in change.catalog.indexes.values_mut().filter(|index| index.table == key) {
        let index = Arc::make_mut(index);
        rename(&mut index.columns);
        index.sqlite = index.sqlite.replace(&quote(old), &quote(new));
    }
    for sequence in change.catalog.sequences.values_mut() {
        if sequence.owner.as_ref().is_some_and(|(table, own)| *table == key && own == old) {
            Arc::make_mut(sequence).owner = Some((key.clone(), new.to_owned()));
        }
    }
    let table = quote(&relation.sqlite_name());
    change.sql(format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", quote(old), quote(new)));
    change.catalog.relations.insert(key, relation.into());
    Ok(())
}

fn rename_table(change: &mut Change, mut relation: Relation, name: String) -> Result<Key> {
    let old = relation.key();
    let new = (old.0.clone(), name);
    if change.catalog.is_taken(&new) {
        return Err(SqlError::new(
            Condition::DuplicateTable,
            format!("relation \"{}\" already exists", new.1),
        ));
    }
    change.sql(format!("ALTER TABLE {} RENAME TO {}", quote(&sqlite_name(&old)), quote(&sqlite_name(&new))));
    new.1.clone_into(&mut relation.name);
    change.catalog.relations.remove(&old);
    change.catalog.relations.insert(new.clone(), relation.into());
    for other in change.catalog.relations.values_mut() {
        for constraint in &mut Arc::make_mut(other).constraints {
            if let Constraint::ForeignKey { table, .. } = constraint
                && *table == old
            {
                table.clone_from(&new);
            }
        }
    }
    for index in change.catalog.indexes.values_mut().filter(|index| index.table == old) {
        Arc::make_mut(index).table.clone_from(&new);
    }
    for sequence in change.catalog.sequences.values_mut() {
        if let Some((_, column)) = sequence.owner.clone().filter(|(table, _)| *table == old) {
            Arc::make_mut(sequence).owner = Some((new.clone(), column));
        }
    }
    Ok(new)
}

fn alter_column(
    change: &mut Change,
    relation: &mut Relation,
    name: &str,
    operation: &AlterColumnOperation,
    around: &Surroundings<'_>,
) -> Result<()> {
    let snapshot = relation.clone();
    let Some(column) = relation.columns.iter_mut().find(|column| column.name == name) else {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", relation.name);
        return Err(SqlError::new(Condition::UndefinedColumn, message));
    };
    match operation {
        AlterColumnOperation::SetNotNull => {
            column.not_null = true;
            refuse_null(change, &snapshot, name);
        }
        AlterColumnOperation::DropNotNull => {
            if snapshot.primary_key().is_some_and(|key| key.iter().any(|own| own == name)) {
                let message = format!("column \"{name}\" is in a primary key");
                return Err(SqlError::new(Condition::InvalidTableDefinition, message));
            }
            column.not_null = false;
        }
        AlterColumnOperation::DropDefault => column.default = None,
        AlterColumnOperation::SetDefault { value } => set_default(change, relation, name, value, around)?,
        AlterColumnOperation::SetDataType { data_type: written, using, .. } => {
            let ty = data_type(written, around)?;
            let expression = using
                .clone()
                .unwrap_or_else(|| Expr::Identifier(sqlparser::ast::Ident::with_quote('"', name)));
            let value = Planner::new(*around, &[])
                .stored(&expression, &column_types(&snapshot), &ty)
                .map_err(|error| {
                    if error.condition != Condition::DatatypeMismatch {
                        return error;
                    }
                    let message = format!(
                        "column \"{name}\" cannot be cast automatically to type {}",
                        ty.display_name()
                    );
                    SqlError::new(Condition::DatatypeMismatch, message)
                        .hint(format!("You might need to specify \"USING {name}::{}\".", ty.display_name()))
                })?;
            column.ty = ty;
            let table = quote(&snapshot.sqlite_name());
            rewrite(change, relation.clone());
            change.sql(format!("UPDATE {table} SET {} = {value}", quote(name)));
        }
        other @ AlterColumnOperation::AddGenerated { .. } => {
            return Err(SqlError::unsupported(format!("ALTER COLUMN … {other}")));
        }
    }
    Ok(())
}
