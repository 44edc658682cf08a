//! Columns and constraints of a definition.
//!
//! Owns what each clause of a column means. Must not know statements. Invariant: a constraint is added by one function, whoever asks.

use sqlparser::ast::{
    ColumnDef, ColumnOption, ConstraintCharacteristics, DataType, DeferrableInitial, Expr,
    ForeignKeyConstraint, GeneratedAs, Ident, IndexColumn, ReferentialAction, SequenceOptions,
    TableConstraint,
};

use super::{Change, column_types, free_name};
use crate::engine::{
    Column, Condition, Constraint, Generated, Index, Key, Relation, Result, Sequence, SqlError, SqlType,
    quote, sqlite_name,
};
use crate::sql::names::{data_type, name_of, split_name};
use crate::sql::{Planner, Surroundings};

/// The whole number that an option is.
///
/// # Errors
/// `42601` for anything else.
pub fn integer_of(expression: &Expr) -> Result<i64> {
    let wrong = || SqlError::new(Condition::SyntaxError, format!("\"{expression}\" is not a whole number"));
    expression.to_string().replace(' ', "").parse().map_err(|_| wrong())
}

/// The text of an option's value: a string without its quotes, anything else as written.
pub fn option_text(expression: &Expr) -> String {
    match expression {
        Expr::Value(value) => value.value.clone().into_string().unwrap_or_else(|| expression.to_string()),
        Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    }
}

/// A sequence of these options.
pub(crate) fn sequence(
    oid: u32,
    ty: SqlType,
    options: &[SequenceOptions],
    owner: Option<(Key, String)>,
) -> Result<Sequence> {
    let largest = match ty {
        SqlType::Int2 => i64::from(i16::MAX),
        SqlType::Int4 => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    let mut increment = 1;
    for option in options {
        if let SequenceOptions::IncrementBy(by, _) = option {
            increment = integer_of(by)?;
        }
    }
    let (mut min, mut max) = if increment > 0 { (1, largest) } else { (-largest, -1) };
    let (mut start, mut cycle) = (None, false);
    for option in options {
        match option {
            SequenceOptions::MinValue(Some(value)) => min = integer_of(value)?,
            SequenceOptions::MaxValue(Some(value)) => max = integer_of(value)?,
            SequenceOptions::StartWith(value, _) => start = Some(integer_of(value)?),
            SequenceOptions::Cycle(no) => cycle = !no,
            _ => {}
        }
    }
    let start = start.unwrap_or(if increment > 0 { min } else { max });
    Ok(Sequence { oid, ty, start, increment, min, max, cycle, owner })
}

/// Adds a column and its constraints to a table that is being defined or changed.
pub(crate) fn add_column(
    change: &mut Change,
    relation: &mut Relation,
    definition: &ColumnDef,
    around: &Surroundings<'_>,
) -> Result<()> {
    let name = name_of(&definition.name);
    if relation.column(&name).is_some() {
        let message = format!("column \"{name}\" of relation \"{}\" already exists", relation.name);
        return Err(SqlError::new(Condition::DuplicateColumn, message));
    }
    let ty = data_type(&definition.data_type, around)?;
    let number = relation.columns.iter().map(|column| column.number).max().unwrap_or(0) + 1;
    let column = Column {
        name: name.clone(),
        ty: ty.clone(),
        number,
        not_null: false,
        default: None,
        generated: Generated::No,
    };
    relation.columns.push(column);
    if is_serial(&definition.data_type) {
        own_sequence(change, relation, &name, &[], None)?;
    }
    for option in &definition.options {
        column_option(change, relation, &name, option.name.as_ref(), &option.option, around)?;
    }
    Ok(())
}

fn is_serial(written: &DataType) -> bool {
    let DataType::Custom(name, _) = written else { return false };
    let (_, name) = split_name(name).unwrap_or_default();
    ["serial", "serial4", "serial8", "bigserial", "smallserial", "serial2"].contains(&name.as_str())
}

/// A sequence that fills a column, and goes away with it.
fn own_sequence(
    change: &mut Change,
    relation: &mut Relation,
    name: &str,
    options: &[SequenceOptions],
    generated: Option<Generated>,
) -> Result<()> {
    let wanted = format!("{}_{name}_seq", relation.name);
    let sequence_name = free_name(&change.catalog, relation, &wanted);
    let key = (relation.schema.clone(), sequence_name.clone());
    let oid = change.catalog.allocate_oid();
    let owner = Some((relation.key(), name.to_owned()));
    let column = relation.columns.iter_mut().find(|column| column.name == name);
    let column = column.ok_or_else(|| SqlError::internal("a sequence for no column"))?;
    let made = sequence(oid, column.ty.clone(), options, owner)?;
    change.catalog.sequences.insert(key.clone(), made.into());
    column.not_null = true;
    column.default = Some(format!("nextval('\"{}\".\"{sequence_name}\"')", key.0));
    column.generated = generated.unwrap_or_default();
    Ok(())
}

fn column_mut<'a>(relation: &'a mut Relation, name: &str) -> Result<&'a mut Column> {
    let found = relation.columns.iter_mut().find(|column| column.name == name);
    found.ok_or_else(|| SqlError::internal(format!("no column {name}")))
}

fn column_option(
    change: &mut Change,
    relation: &mut Relation,
    name: &str,
    constraint: Option<&Ident>,
    option: &ColumnOption,
    around: &Surroundings<'_>,
) -> Result<()> {
    let constraint = constraint.map(name_of);
    let columns = vec![name.to_owned()];
    match option {
        ColumnOption::Null | ColumnOption::Comment(_) => Ok(()),
        ColumnOption::NotNull => {
            column_mut(relation, name)?.not_null = true;
            Ok(())
        }
        ColumnOption::Default(expression) => set_default(change, relation, name, expression, around),
        ColumnOption::PrimaryKey(_) => add_key(change, relation, constraint, columns, true),
        ColumnOption::Unique(_) => add_key(change, relation, constraint, columns, false),
        ColumnOption::Check(check) => {
            let constraint = constraint.or_else(|| check.name.as_ref().map(name_of));
            add_check(change, relation, constraint, Some(name), &check.expr, around)
        }
        ColumnOption::ForeignKey(key) => {
            let mut key = key.clone();
            key.columns = vec![Ident::with_quote('"', name)];
            add_foreign_key(change, relation, constraint, &key, around)
        }
        ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
            let kind = match generated_as {
                GeneratedAs::Always => Generated::IdentityAlways,
                _ => Generated::IdentityByDefault,
            };
            own_sequence(change, relation, name, sequence_options.as_deref().unwrap_or_default(), Some(kind))
        }
        ColumnOption::Generated { generation_expr: Some(expression), .. } => {
            let ty = column_mut(relation, name)?.ty.clone();
            let others: Vec<_> = column_types(relation).into_iter().filter(|(own, _)| own != name).collect();
            let sql = Planner::new(*around, &[]).stored(expression, &others, &ty)?;
            column_mut(relation, name)?.generated = Generated::Stored(sql);
            Ok(())
        }
        ColumnOption::Collation(collation)
            if ["\"C\"", "\"POSIX\"", "\"default\""].contains(&collation.to_string().as_str()) =>
        {
            Ok(())
        }
        other => Err(SqlError::unsupported(format!("the column option {other}"))),
    }
}

/// A default is kept as the user wrote it, once it is known to be one.
pub(crate) fn set_default(
    change: &Change,
    relation: &mut Relation,
    name: &str,
    expression: &Expr,
    around: &Surroundings<'_>,
) -> Result<()> {
    let column = column_mut(relation, name)?;
    let around = Surroundings { catalog: &change.catalog, ..*around };
    let mut planner = Planner::new(around, &[]);
    planner.constant(expression, &column.ty).map_err(|error| {
        if error.condition == Condition::DatatypeMismatch {
            let message = format!(
                "column \"{name}\" is of type {} but default expression is of another",
                column.ty.display_name()
            );
            return SqlError::new(Condition::DatatypeMismatch, message);
        }
        error
    })?;
    column.default = Some(expression.to_string());
    Ok(())
}

/// PRIMARY KEY or UNIQUE: a unique index of the same name.
pub(crate) fn add_key(
    change: &mut Change,
    relation: &mut Relation,
    name: Option<String>,
    columns: Vec<String>,
    primary: bool,
) -> Result<()> {
    if primary && relation.primary_key().is_some() {
        let message = format!("multiple primary keys for table \"{}\" are not allowed", relation.name);
        return Err(SqlError::new(Condition::InvalidTableDefinition, message));
    }
    for column in &columns {
        let found = relation.columns.iter_mut().find(|own| own.name == *column).ok_or_else(|| {
            SqlError::new(
                Condition::UndefinedColumn,
                format!("column \"{column}\" named in key does not exist"),
            )
        })?;
        found.not_null |= primary;
    }
    let wanted = if primary {
        format!("{}_pkey", relation.name)
    } else {
        format!("{}_{}_key", relation.name, columns.join("_"))
    };
    let name = match name {
        Some(name) => name,
        None => free_name(&change.catalog, relation, &wanted),
    };
    let key = (relation.schema.clone(), name.clone());
    if change.catalog.is_taken(&key) {
        return Err(SqlError::new(Condition::DuplicateTable, format!("relation \"{name}\" already exists")));
    }
    let listed: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let sqlite = format!("({})", listed.join(", "));
    let oid = change.catalog.allocate_oid();
    let index =
        Index { oid, table: relation.key(), columns: columns.clone(), unique: true, sqlite: sqlite.clone() };
    change.catalog.indexes.insert(key.clone(), index.into());
    change.sql(create_index_text(&key, &relation.key(), true, &sqlite));
    relation.constraints.push(if primary {
        Constraint::PrimaryKey { name, columns }
    } else {
        Constraint::Unique { name, columns }
    });
    Ok(())
}

/// What SQLite is told to make an index.
pub(crate) fn create_index_text(key: &Key, table: &Key, unique: bool, rest: &str) -> String {
    let unique = if unique { "UNIQUE " } else { "" };
    format!("CREATE {unique}INDEX {} ON {} {rest}", quote(&sqlite_name(key)), quote(&sqlite_name(table)))
}

pub(crate) fn add_check(
    change: &Change,
    relation: &mut Relation,
    name: Option<String>,
    column: Option<&str>,
    expression: &Expr,
    around: &Surroundings<'_>,
) -> Result<()> {
    let wanted = match column {
        Some(column) => format!("{}_{column}_check", relation.name),
        None => format!("{}_check", relation.name),
    };
    let name = name.unwrap_or_else(|| free_name(&change.catalog, relation, &wanted));
    let sqlite = Planner::new(*around, &[]).condition(expression, &column_types(relation))?;
    if sqlite.contains("x_now(") || sqlite.contains("x_random(") || sqlite.contains("SELECT ") {
        return Err(SqlError::unsupported("a CHECK that is not decided by the row alone"));
    }
    relation.constraints.push(Constraint::Check { name, expression: expression.to_string(), sqlite });
    Ok(())
}

pub(crate) fn add_foreign_key(
    change: &Change,
    relation: &mut Relation,
    name: Option<String>,
    key: &ForeignKeyConstraint,
    around: &Surroundings<'_>,
) -> Result<()> {
    let columns: Vec<String> = key.columns.iter().map(name_of).collect();
    if let Some(column) = columns.iter().find(|column| relation.column(column).is_none()) {
        let message = format!("column \"{column}\" referenced in foreign key constraint does not exist");
        return Err(SqlError::new(Condition::UndefinedColumn, message));
    }
    let (schema, table) = split_name(&key.foreign_table)?;
    let own = schema.as_ref().is_none_or(|schema| *schema == relation.schema) && table == relation.name;
    let found = if own {
        Some(relation.clone())
    } else {
        let found = change.catalog.relation(schema.as_deref(), &table, around.search_path);
        found.map(|found| found.as_ref().clone())
    };
    let parent = found.ok_or_else(|| {
        SqlError::new(Condition::UndefinedTable, format!("relation \"{table}\" does not exist"))
    })?;
    if parent.is_temporary() != relation.is_temporary() {
        let kind = if relation.is_temporary() { "temporary" } else { "permanent" };
        let message = format!("constraints on {kind} tables may reference only {kind} tables");
        return Err(SqlError::new(Condition::InvalidTableDefinition, message));
    }
    let referred = if key.referred_columns.is_empty() {
        parent.primary_key().map(<[String]>::to_vec).ok_or_else(|| {
            let message = format!("there is no primary key for referenced table \"{table}\"");
            SqlError::new(Condition::UndefinedObject, message)
        })?
    } else {
        key.referred_columns.iter().map(name_of).collect()
    };
    let mut sorted = referred.clone();
    sorted.sort();
    let unique = parent.constraints.iter().any(|constraint| match constraint {
        Constraint::PrimaryKey { columns, .. } | Constraint::Unique { columns, .. } => {
            let mut own = columns.clone();
            own.sort();
            own == sorted
        }
        _ => false,
    });
    if !unique {
        let message =
            format!("there is no unique constraint matching given keys for referenced table \"{table}\"");
        return Err(SqlError::new(Condition::InvalidForeignKey, message));
    }
    let wanted = format!("{}_{}_fkey", relation.name, columns.join("_"));
    let name = name.or_else(|| key.name.as_ref().map(name_of));
    let name = name.unwrap_or_else(|| free_name(&change.catalog, relation, &wanted));
    let (deferrable, initially_deferred) = deferral(key.characteristics.as_ref());
    relation.constraints.push(Constraint::ForeignKey {
        name,
        columns,
        table: parent.key(),
        referred,
        on_delete: action(key.on_delete.as_ref()),
        on_update: action(key.on_update.as_ref()),
        deferrable,
        initially_deferred,
    });
    Ok(())
}

fn deferral(characteristics: Option<&ConstraintCharacteristics>) -> (bool, bool) {
    let Some(found) = characteristics else { return (false, false) };
    let deferred = matches!(found.initially, Some(DeferrableInitial::Deferred));
    (found.deferrable.unwrap_or(deferred), deferred)
}

fn action(action: Option<&ReferentialAction>) -> Option<String> {
    action.filter(|action| **action != ReferentialAction::NoAction).map(ToString::to_string)
}

/// Adds a constraint of the whole table.
pub(crate) fn add_constraint(
    change: &mut Change,
    relation: &mut Relation,
    constraint: &TableConstraint,
    around: &Surroundings<'_>,
) -> Result<()> {
    match constraint {
        TableConstraint::PrimaryKey(key) => {
            add_key(change, relation, key.name.as_ref().map(name_of), plain_columns(&key.columns)?, true)
        }
        TableConstraint::Unique(key) => {
            add_key(change, relation, key.name.as_ref().map(name_of), plain_columns(&key.columns)?, false)
        }
        TableConstraint::Check(check) => {
            add_check(change, relation, check.name.as_ref().map(name_of), None, &check.expr, around)
        }
        TableConstraint::ForeignKey(key) => add_foreign_key(change, relation, None, key, around),
        other => Err(SqlError::unsupported(format!("the constraint {other}"))),
    }
}

fn plain_columns(columns: &[IndexColumn]) -> Result<Vec<String>> {
    let name = |column: &IndexColumn| match &column.column.expr {
        Expr::Identifier(ident) => Ok(name_of(ident)),
        other => Err(SqlError::unsupported(format!("a key over {other}"))),
    };
    columns.iter().map(name).collect()
}

/// An option of a column that was left out while the columns were made.
pub(crate) fn late_option(
    change: &mut Change,
    relation: &mut Relation,
    column: &ColumnDef,
    option: &sqlparser::ast::ColumnOptionDef,
    around: &Surroundings<'_>,
) -> Result<()> {
    column_option(change, relation, &name_of(&column.name), option.name.as_ref(), &option.option, around)
}
