//! Definitions: CREATE, ALTER, DROP, TRUNCATE, COMMENT and their kin.
//!
//! Owns which objects go together. Must not write SQLite's text but for dropping. Invariant: a definition takes the write lock before it looks at
//! the catalog, so that two of them never work on the same one.

use std::sync::Arc;

use sqlparser::ast::{
    CreateTable, Ident, ObjectName, ObjectType, SchemaName, Statement, UserDefinedTypeRepresentation,
};

use super::super::connection::{Connection, Handled, surroundings};
use super::super::message::Messages;
use super::needs_no_transaction;
use crate::engine::{
    Access, Catalog, Condition, Constraint, EnumType, Key, RelationKind, Result, SqlError, SqlType, Step,
    TEMPORARY, Work, quote, sqlite_name,
};
use crate::sql::{self, Change, Surroundings, first_words, name_of, new_key, schema_of, split_name};

impl Connection {
    /// Does a definition; its command tag.
    pub(super) async fn define(
        &mut self,
        messages: &mut Messages,
        statement: &Statement,
        text: &str,
    ) -> Handled<String> {
        if let Some(tag) = self.define_outside(messages, statement).await? {
            return Ok(tag.to_owned());
        }
        // The lock first, then the catalog.
        let lock =
            Work { sql: "SELECT 1".to_owned(), access: Access::Write, command: "DDL", ..Work::default() };
        self.session.execute(lock).await?;
        let (catalog, path) = (self.session.catalog(), self.search_path());
        let around = surroundings(&catalog, &path, text);
        let (tag, change) = match statement {
            Statement::CreateTable(create) if create.query.is_some() => {
                return self.create_table_as(messages, create, text).await;
            }
            Statement::CreateTable(create) => {
                ("CREATE TABLE".to_owned(), Some(sql::create_table(create, &around)?))
            }
            Statement::CreateIndex(create) => {
                ("CREATE INDEX".to_owned(), Some(sql::create_index(create, &around)?))
            }
            Statement::CreateView(create) => {
                ("CREATE VIEW".to_owned(), Some(sql::create_view(create, &around)?))
            }
            Statement::AlterTable(alter) => ("ALTER TABLE".to_owned(), sql::alter_table(alter, &around)?),
            Statement::CreateSchema { schema_name, if_not_exists, .. } => {
                ("CREATE SCHEMA".to_owned(), create_schema(&catalog, schema_name, *if_not_exists)?)
            }
            Statement::CreateSequence { .. } => {
                ("CREATE SEQUENCE".to_owned(), create_sequence(statement, &around)?)
            }
            Statement::CreateType {
                name,
                representation: Some(UserDefinedTypeRepresentation::Enum { labels }),
            } => ("CREATE TYPE".to_owned(), Some(create_enum(name, labels, &around)?)),
            Statement::Drop { object_type, if_exists, names, cascade, .. } => {
                let mut change = Change::of(&catalog);
                for name in names {
                    drop_object(&mut change, *object_type, name, *if_exists, *cascade, &path)?;
                }
                (format!("DROP {object_type}"), Some(change))
            }
            Statement::Truncate(truncate) => {
                let names: Vec<&ObjectName> =
                    truncate.table_names.iter().map(|target| &target.name).collect();
                let cascade = matches!(truncate.cascade, Some(sqlparser::ast::CascadeOption::Cascade));
                let restart =
                    matches!(truncate.identity, Some(sqlparser::ast::TruncateIdentityOption::Restart));
                self.truncate(&catalog, &names, cascade, restart, &path).await?;
                return Ok("TRUNCATE TABLE".to_owned());
            }
            Statement::AlterIndex {
                name,
                operation: sqlparser::ast::AlterIndexOperation::RenameIndex { index_name },
            } => ("ALTER INDEX".to_owned(), Some(alter_index(name, index_name, &around)?)),
            Statement::Lock(_) => ("LOCK TABLE".to_owned(), None),
            other => return Err(SqlError::unsupported(first_words(other)).into()),
        };
        if let Some(change) = change {
            self.apply(messages, change).await?;
        }
        Ok(tag)
    }

    async fn apply(&mut self, messages: &mut Messages, change: Change) -> Handled {
        if let Some(notice) = &change.notice {
            messages.push_notice("NOTICE", &SqlError::new(Condition::Warning, notice.clone()))?;
        }
        Ok(self.session.alter("DDL", None, change.steps, change.catalog).await?)
    }

    async fn create_table_as(
        &mut self,
        messages: &mut Messages,
        create: &CreateTable,
        text: &str,
    ) -> Handled<String> {
        let Some(query) = &create.query else { return Err(SqlError::internal("no query").into()) };
        let (catalog, path) = (self.session.catalog(), self.search_path());
        let (change, fill) = sql::create_table_as(create, query, &surroundings(&catalog, &path, text))?;
        self.apply(messages, change).await?;
        let Some(sql) = fill else { return Ok("CREATE TABLE AS".to_owned()) };
        let fill = Work { sql, access: Access::Write, command: "CREATE TABLE AS", ..Work::default() };
        Ok(format!("SELECT {}", self.session.execute(fill).await?))
    }

    /// Drops the session's temporary objects.
    pub(super) async fn drop_temporary(&mut self) -> Handled {
        let catalog = self.session.catalog();
        if !catalog.has_temporary() {
            return Ok(());
        }
        let is_temporary = |key: &&Key| key.0 == TEMPORARY;
        let keys: Vec<Key> = catalog.relations.keys().filter(is_temporary).cloned().collect();
        let mut change = Change::of(&catalog);
        for key in keys {
            drop_relation(&mut change, &key, true)?;
        }
        change.catalog.sequences.retain(|key, _| key.0 != TEMPORARY);
        change.catalog.enums.retain(|key, _| key.0 != TEMPORARY);
        Ok(self.session.alter("DISCARD", None, change.steps, change.catalog).await?)
    }

    /// What is outside of every database, or changes nothing; its tag.
    async fn define_outside(
        &mut self,
        messages: &mut Messages,
        statement: &Statement,
    ) -> Handled<Option<&'static str>> {
        match statement {
            Statement::CreateDatabase { db_name, .. } => {
                needs_no_transaction(self.session.status(), statement)?;
                let cluster = Arc::clone(self.session.cluster());
                cluster.create_database(&split_name(db_name)?.1).await?;
                Ok(Some("CREATE DATABASE"))
            }
            Statement::Drop { object_type: ObjectType::Database, names, if_exists, .. } => {
                needs_no_transaction(self.session.status(), statement)?;
                let cluster = Arc::clone(self.session.cluster());
                for name in names {
                    let (_, name) = split_name(name)?;
                    if *if_exists && cluster.database(&name).is_none() {
                        let notice = format!("database \"{name}\" does not exist, skipping");
                        messages.push_notice("NOTICE", &SqlError::new(Condition::Warning, notice))?;
                        continue;
                    }
                    cluster.drop_database(&name).await?;
                }
                Ok(Some("DROP DATABASE"))
            }
            Statement::Comment { .. } => Ok(Some("COMMENT")),
            Statement::CreateExtension(extension) => {
                let name = name_of(&extension.name);
                if !["plpgsql", "pgcrypto", "uuid-ossp"].contains(&name.as_str()) {
                    return Err(SqlError::unsupported(format!("extension \"{name}\"")).into());
                }
                Ok(Some("CREATE EXTENSION"))
            }
            _ => Ok(None),
        }
    }

    async fn truncate(
        &mut self,
        catalog: &Catalog,
        names: &[&ObjectName],
        cascade: bool,
        restart: bool,
        path: &[String],
    ) -> Result<()> {
        let mut keys: Vec<Key> = Vec::new();
        for name in names {
            let (schema, name) = split_name(name)?;
            let found =
                catalog.relation(schema.as_deref(), &name, path).ok_or_else(|| missing("relation", &name))?;
            keys.push(found.key());
        }
        loop {
            let referring = catalog.relations.values().find(|found| {
                !keys.contains(&found.key())
                    && found.constraints.iter().any(
                        |constraint| matches!(constraint, Constraint::ForeignKey { table, .. } if keys.contains(table)),
                    )
            });
            match referring {
                None => break,
                Some(found) if cascade => keys.push(found.key()),
                Some(found) => {
                    let message = "cannot truncate a table referenced in a foreign key constraint";
                    return Err(SqlError::new(Condition::FeatureNotSupported, message)
                        .detail(format!("Table \"{}\" references \"{}\".", found.name, keys[0].1)));
                }
            }
        }
        if restart {
            for sequence in catalog.sequences.values() {
                if sequence.owner.as_ref().is_some_and(|(table, _)| keys.contains(table)) {
                    self.session.shared.database.sequences.set(sequence.oid, sequence.start, false);
                    self.session.shared.with(|state| state.use_sequence(sequence.oid));
                }
            }
        }
        let mut steps = vec![Step::Sql("PRAGMA defer_foreign_keys = ON".to_owned())];
        steps.extend(keys.iter().map(|key| Step::Sql(format!("DELETE FROM {}", quote(&sqlite_name(key))))));
        steps.push(Step::Sql("PRAGMA defer_foreign_keys = OFF".to_owned()));
        self.session.alter("TRUNCATE TABLE", None, steps, catalog.clone()).await
    }
}

fn create_sequence(statement: &Statement, around: &Surroundings<'_>) -> Result<Option<Change>> {
    let Statement::CreateSequence { name, if_not_exists, data_type, sequence_options, temporary, .. } =
        statement
    else {
        return Err(SqlError::internal("no CREATE SEQUENCE"));
    };
    let ty = match data_type {
        Some(written) => sql::data_type(written, around)?,
        None => SqlType::Int8,
    };
    let (schema, name) = split_name(name)?;
    let schema = schema_of(*temporary, schema)?;
    let key = new_key(around.catalog, schema, name, around.search_path)?;
    if around.catalog.is_taken(&key) {
        if *if_not_exists {
            return Ok(None);
        }
        let message = format!("relation \"{}\" already exists", key.1);
        return Err(SqlError::new(Condition::DuplicateTable, message));
    }
    let mut change = Change::of(around.catalog);
    let oid = change.catalog.allocate_oid();
    let sequence = sql::sequence(oid, ty, sequence_options, None)?;
    change.catalog.sequences.insert(key, sequence.into());
    Ok(Some(change))
}

fn create_enum(name: &ObjectName, labels: &[Ident], around: &Surroundings<'_>) -> Result<Change> {
    let (schema, name) = split_name(name)?;
    let key = new_key(around.catalog, schema, name, around.search_path)?;
    if around.catalog.enums.contains_key(&key) {
        let message = format!("type \"{}\" already exists", key.1);
        return Err(SqlError::new(Condition::DuplicateObject, message));
    }
    let mut change = Change::of(around.catalog);
    let oid = change.catalog.allocate_oid();
    // The next number is the array's.
    change.catalog.allocate_oid();
    let labels = labels.iter().map(|label| label.value.clone()).collect();
    change.catalog.enums.insert(key, EnumType { oid, labels }.into());
    Ok(change)
}

fn alter_index(name: &ObjectName, new: &ObjectName, around: &Surroundings<'_>) -> Result<Change> {
    let (schema, name) = split_name(name)?;
    let mut change = Change::of(around.catalog);
    let found = around.catalog.index(schema.as_deref(), &name, around.search_path).map(|(key, _)| key);
    let key = found.ok_or_else(|| missing("relation", &name))?;
    sql::rename_index(&mut change, &key, &split_name(new)?.1);
    Ok(change)
}

fn missing(kind: &str, name: &str) -> SqlError {
    let condition = match kind {
        "schema" => Condition::InvalidSchemaName,
        "type" | "index" => Condition::UndefinedObject,
        _ => Condition::UndefinedTable,
    };
    SqlError::new(condition, format!("{kind} \"{name}\" does not exist"))
}

fn create_schema(catalog: &Catalog, name: &SchemaName, if_not_exists: bool) -> Result<Option<Change>> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => split_name(name)?.1,
        SchemaName::UnnamedAuthorization(ident) => name_of(ident),
    };
    let mut change = Change::of(catalog);
    if !change.catalog.schemas.insert(name.clone()) {
        let message = format!("schema \"{name}\" already exists");
        if !if_not_exists {
            return Err(SqlError::new(Condition::DuplicateSchema, message));
        }
        change.notice = Some(format!("{message}, skipping"));
    }
    Ok(Some(change))
}

/// Drops one object, and what belongs to it.
fn drop_object(
    change: &mut Change,
    kind: ObjectType,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
    path: &[String],
) -> Result<()> {
    let (schema, name) = split_name(name)?;
    let catalog = change.catalog.clone();
    let found = match kind {
        ObjectType::Table | ObjectType::View => {
            let found = catalog.relation(schema.as_deref(), &name, path);
            let wanted = kind == ObjectType::Table;
            let found = found.filter(|found| (found.kind == RelationKind::Table) == wanted);
            found.map(|found| drop_relation(change, &found.key(), cascade)).transpose()?.is_some()
        }
        ObjectType::Index => {
            let found = catalog.index(schema.as_deref(), &name, path);
            found.map(|(key, _)| drop_index(change, &key)).transpose()?.is_some()
        }
        ObjectType::Sequence => {
            let found = catalog.sequence(schema.as_deref(), &name, path);
            found.is_some_and(|(key, _)| change.catalog.sequences.remove(&key).is_some())
        }
        ObjectType::Type => {
            let keys: Vec<Key> = catalog.enums.keys().filter(|key| key.1 == name).cloned().collect();
            keys.iter().any(|key| change.catalog.enums.remove(key).is_some())
        }
        ObjectType::Schema => drop_schema(change, &name, cascade)?,
        other => return Err(SqlError::unsupported(format!("DROP {other}"))),
    };
    let word = kind.to_string().to_lowercase();
    match (found, if_exists) {
        (true, _) => Ok(()),
        (false, true) => {
            change.notice = Some(format!("{word} \"{name}\" does not exist, skipping"));
            Ok(())
        }
        (false, false) => Err(missing(&word, &name)),
    }
}

fn drop_schema(change: &mut Change, name: &str, cascade: bool) -> Result<bool> {
    if !change.catalog.schemas.contains(name) {
        return Ok(false);
    }
    let keys: Vec<Key> = change.catalog.relations.keys().filter(|key| key.0 == name).cloned().collect();
    if !keys.is_empty() && !cascade {
        let message = format!("cannot drop schema {name} because other objects depend on it");
        return Err(SqlError::new(Condition::DependentObjectsStillExist, message)
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for key in keys {
        if change.catalog.relations.contains_key(&key) {
            drop_relation(change, &key, true)?;
        }
    }
    change.catalog.sequences.retain(|key, _| key.0 != name);
    change.catalog.enums.retain(|key, _| key.0 != name);
    change.catalog.schemas.remove(name);
    Ok(true)
}

fn drop_relation(change: &mut Change, key: &Key, cascade: bool) -> Result<()> {
    let referring: Vec<Key> = change
        .catalog
        .relations
        .values()
        .filter(|found| found.key() != *key)
        .filter(|found| {
            found
                .constraints
                .iter()
                .any(|own| matches!(own, Constraint::ForeignKey { table, .. } if table == key))
        })
        .map(|found| found.key())
        .collect();
    if let Some(first) = referring.first().filter(|_| !cascade) {
        let message = format!("cannot drop table {} because other objects depend on it", key.1);
        return Err(SqlError::new(Condition::DependentObjectsStillExist, message)
            .detail(format!("constraint on table {} depends on table {}", first.1, key.1))
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    for other in referring {
        if let Some(found) = change.catalog.relations.get_mut(&other) {
            let found = Arc::make_mut(found);
            found
                .constraints
                .retain(|own| !matches!(own, Constraint::ForeignKey { table, .. } if table == key));
            change.steps.push(Step::Rewrite(found.sqlite_name(), found.create_table()));
        }
    }
    let Some(gone) = change.catalog.remove_relation(key) else { return Ok(()) };
    if gone.kind == RelationKind::Table {
        change.steps.push(Step::Sql(format!("DROP TABLE {}", quote(&sqlite_name(key)))));
    }
    Ok(())
}

fn drop_index(change: &mut Change, key: &Key) -> Result<()> {
    let of_constraint = change.catalog.indexes.get(key).and_then(|index| {
        change
            .catalog
            .relations
            .get(&index.table)
            .and_then(|table| table.constraint(&key.1))
            .is_some()
            .then(|| index.table.1.clone())
    });
    if let Some(table) = of_constraint {
        let message =
            format!("cannot drop index {} because constraint {} on table {table} requires it", key.1, key.1);
        return Err(SqlError::new(Condition::DependentObjectsStillExist, message)
            .hint(format!("You can drop constraint {} on table {table} instead.", key.1)));
    }
    change.catalog.indexes.remove(key);
    change.steps.push(Step::Sql(format!("DROP INDEX {}", quote(&sqlite_name(key)))));
    Ok(())
}
