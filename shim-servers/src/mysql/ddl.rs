//! From MySQL's definitions of tables to descriptions, and to what SQLite is told.
//!
//! Owns CREATE, ALTER and DROP of tables and indexes. Must not run anything. Invariant: a [`Change`] leaves description
//! and table in agreement, whatever it fails at.

use sqlparser::ast::{
    AlterTableOperation, ColumnDef, ColumnOption, CreateIndex, CreateTable, Expr, IndexColumn, ObjectName,
    ReferentialAction, RenameTable, RenameTableNameKind, TableConstraint,
};

use super::error::{MyError, Result};
use super::numbers::ErrorKind;
use super::rewrite::{plain_name, rewrite};
use super::schema::{Column, ForeignKey, Table, Tables, UniqueKey};
use super::types::{ColumnType, Kind};

/// What a definition does.
#[derive(Debug)]
pub(super) enum Change {
    /// Nothing: it is there already, or is not.
    Nothing,
    Create(Box<Table>),
    /// Names, and whether each is temporary.
    Drop(Vec<(String, bool)>),
    /// Makes the table anew under the description, from the columns of the old one: new name and expression.
    Rebuild {
        old: String,
        new: Box<Table>,
        columns: Vec<(String, String)>,
    },
    /// Deletes all rows, and begins with number 1.
    Empty(String),
}

impl Change {
    /// Whether it is of temporary tables alone: then the transaction goes on.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Change::Nothing | Change::Empty(_) => false,
            Change::Create(table) => table.is_temporary,
            Change::Drop(names) => !names.is_empty() && names.iter().all(|(_, is_temporary)| *is_temporary),
            Change::Rebuild { new, .. } => new.is_temporary,
        }
    }
}

/// What the parts of a definition are read with.
pub(super) struct Reader<'a> {
    pub(super) database: &'a str,
    pub(super) tables: &'a Tables,
}

fn duplicate_column(name: &str) -> MyError {
    MyError::new(ErrorKind::ER_DUP_FIELDNAME, format!("Duplicate column name '{name}'"))
}

fn duplicate_key(name: &str) -> MyError {
    MyError::new(ErrorKind::ER_DUP_KEYNAME, format!("Duplicate key name '{name}'"))
}

fn column_names(columns: &[IndexColumn]) -> Result<Vec<String>> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            Expr::Identifier(ident) => Ok(ident.value.clone()),
            // A prefix of a text, `name(10)`: the whole is at least as unique.
            Expr::Function(function) => Ok(function.name.to_string().trim_matches('`').to_owned()),
            other => Err(MyError::unsupported(format!("an index on {other}"))),
        })
        .collect()
}

impl Reader<'_> {
    fn name(&self, name: &ObjectName) -> Result<String> {
        plain_name(name, self.database)
    }

    /// The table of a name.
    pub(super) fn table(&self, name: &ObjectName) -> Result<&Table> {
        let name = self.name(name)?;
        self.tables.get(&name).ok_or_else(|| MyError::no_table(self.database, &name))
    }

    fn expression(&self, expr: &Expr) -> Result<String> {
        let mut expr = expr.clone();
        rewrite(&mut expr, self.database, true)?;
        Ok(expr.to_string())
    }

    fn column(&self, definition: &ColumnDef, table: &mut Table) -> Result<Column> {
        let name = definition.name.value.clone();
        let binary = |option: &ColumnOption| match option {
            ColumnOption::Collation(collation) => collation.to_string().ends_with("bin"),
            ColumnOption::CharacterSet(charset) => charset.to_string() == "binary",
            _ => false,
        };
        let options = || definition.options.iter().map(|option| &option.option);
        let ty = ColumnType::of(&definition.data_type, options().any(binary))
            .ok_or_else(|| MyError::unsupported(&definition.data_type))?;
        let mut column = Column {
            name: name.clone(),
            ty,
            is_not_null: false,
            is_auto_increment: false,
            default: None,
            on_update: None,
            generated: None,
        };
        for option in options() {
            match option {
                ColumnOption::Null | ColumnOption::Comment(_) | ColumnOption::Invisible => {}
                ColumnOption::CharacterSet(_) | ColumnOption::Collation(_) => {}
                ColumnOption::NotNull => column.is_not_null = true,
                ColumnOption::Default(expr) => column.default = Some(self.expression(expr)?),
                ColumnOption::OnUpdate(expr) => column.on_update = Some(self.expression(expr)?),
                ColumnOption::PrimaryKey(_) => {
                    column.is_not_null = true;
                    table.keys.push(UniqueKey { name: "PRIMARY".to_owned(), columns: vec![name.clone()] });
                }
                ColumnOption::Unique(_) => {
                    let key = free_name(table, &name);
                    table.keys.push(UniqueKey { name: key, columns: vec![name.clone()] });
                }
                ColumnOption::Check(check) => {
                    let text = self.expression(&check.expr)?;
                    let number = table.checks.len() + 1;
                    let own = check.name.as_ref().map(|name| name.value.clone());
                    table.checks.push((own.unwrap_or_else(|| format!("{}_chk_{number}", table.name)), text));
                }
                ColumnOption::DialectSpecific(tokens)
                    if tokens
                        .iter()
                        .any(|token| token.to_string().eq_ignore_ascii_case("auto_increment")) =>
                {
                    column.is_auto_increment = true;
                    column.is_not_null = true;
                }
                // MySQL reads REFERENCES in a column, and does nothing with it.
                ColumnOption::ForeignKey(_) => {}
                ColumnOption::Generated { generation_expr: Some(expr), .. } => {
                    column.generated = Some(self.expression(expr)?);
                }
                other => return Err(MyError::unsupported(other)),
            }
        }
        if column.is_auto_increment && !matches!(column.ty.kind, Kind::Integer { .. }) {
            let message = format!("Incorrect column specifier for column '{name}'");
            return Err(MyError::new(ErrorKind::ER_WRONG_FIELD_SPEC, message));
        }
        Ok(column)
    }

    fn constraint(&self, constraint: &TableConstraint, table: &mut Table) -> Result<()> {
        let check_columns = |table: &Table, columns: &[String]| {
            let missing = columns.iter().find(|name| table.column(name).is_none());
            missing.map_or(Ok(()), |name| {
                let message = format!("Key column '{name}' doesn't exist in table");
                Err(MyError::new(ErrorKind::ER_KEY_COLUMN_DOES_NOT_EXITS, message))
            })
        };
        match constraint {
            TableConstraint::PrimaryKey(key) => {
                let columns = column_names(&key.columns)?;
                check_columns(table, &columns)?;
                if table.keys.iter().any(|key| key.name == "PRIMARY") {
                    return Err(MyError::new(ErrorKind::ER_MULTIPLE_PRI_KEY, "Multiple primary key defined"));
                }
                for column in &mut table.columns {
                    column.is_not_null |= columns.contains(&column.name);
                }
                table.keys.push(UniqueKey { name: "PRIMARY".to_owned(), columns });
            }
            TableConstraint::Unique(key) => {
                let columns = column_names(&key.columns)?;
                check_columns(table, &columns)?;
                let own = key.name.as_ref().or(key.index_name.as_ref()).map(|name| name.value.clone());
                let name = self.index_name(table, own, &columns)?;
                table.keys.push(UniqueKey { name, columns });
            }
            TableConstraint::Index(index) => {
                let columns = column_names(&index.columns)?;
                check_columns(table, &columns)?;
                let own = index.name.as_ref().map(|name| name.value.clone());
                let name = self.index_name(table, own, &columns)?;
                table.indexes.push((name, columns));
            }
            TableConstraint::ForeignKey(key) => {
                let number = table.foreign_keys.len() + 1;
                let own = key.name.as_ref().map(|name| name.value.clone());
                let columns: Vec<String> = key.columns.iter().map(|name| name.value.clone()).collect();
                check_columns(table, &columns)?;
                table.foreign_keys.push(ForeignKey {
                    name: own.unwrap_or_else(|| format!("{}_ibfk_{number}", table.name)),
                    columns,
                    table: self.name(&key.foreign_table)?,
                    referred: key.referred_columns.iter().map(|name| name.value.clone()).collect(),
                    actions: actions(key.on_delete.as_ref(), key.on_update.as_ref()),
                });
            }
            TableConstraint::Check(check) => {
                let number = table.checks.len() + 1;
                let own = check.name.as_ref().map(|name| name.value.clone());
                let text = self.expression(&check.expr)?;
                table.checks.push((own.unwrap_or_else(|| format!("{}_chk_{number}", table.name)), text));
            }
            other => return Err(MyError::unsupported(other)),
        }
        Ok(())
    }

    fn index_name(&self, table: &Table, own: Option<String>, columns: &[String]) -> Result<String> {
        match own {
            Some(name) if is_taken(table, &name) => Err(duplicate_key(&name)),
            Some(name) => Ok(name),
            None => Ok(free_name(table, columns.first().map_or("", String::as_str))),
        }
    }

    /// CREATE TABLE
    pub(super) fn create_table(&self, create: &CreateTable) -> Result<Change> {
        let name = self.name(&create.name)?;
        // A temporary table hides another one.
        if self.tables.get(&name).is_some_and(|known| known.is_temporary || !create.temporary) {
            if create.if_not_exists {
                return Ok(Change::Nothing);
            }
            let message = format!("Table '{name}' already exists");
            return Err(MyError::new(ErrorKind::ER_TABLE_EXISTS_ERROR, message));
        }
        if create.query.is_some() || create.like.is_some() || create.partition_by.is_some() {
            return Err(MyError::unsupported("CREATE TABLE with AS, LIKE or PARTITION BY"));
        }
        let mut table = Table { name, next_auto: 1, is_temporary: create.temporary, ..Table::default() };
        for definition in &create.columns {
            let column = self.column(definition, &mut table)?;
            if table.column(&column.name).is_some() {
                return Err(duplicate_column(&column.name));
            }
            table.columns.push(column);
        }
        for constraint in &create.constraints {
            self.constraint(constraint, &mut table)?;
        }
        let options = create.table_options.to_string().to_ascii_uppercase();
        if let Some((_, rest)) = options.split_once("AUTO_INCREMENT") {
            let digits: String =
                rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            table.next_auto = digits.parse().unwrap_or(1);
        }
        let is_key = |column: &Column| table.keys.iter().any(|key| key.columns.first() == Some(&column.name));
        if table.auto_column().is_some_and(|column| !is_key(column)) {
            let message = "Incorrect table definition; there can be only one auto column and it must be defined as a key";
            return Err(MyError::new(ErrorKind::ER_WRONG_AUTO_KEY, message));
        }
        Ok(Change::Create(Box::new(table)))
    }

    /// DROP TABLE
    pub(super) fn drop_tables(
        &self,
        names: &[ObjectName],
        if_exists: bool,
        only_temporary: bool,
    ) -> Result<Change> {
        let names: Vec<String> = names.iter().map(|name| self.name(name)).collect::<Result<_>>()?;
        let find =
            |name: &String| self.tables.get(name).filter(|found| found.is_temporary || !only_temporary);
        let missing = names.iter().find(|name| find(name).is_none());
        if let Some(missing) = missing.filter(|_| !if_exists) {
            let message = format!("Unknown table '{}.{missing}'", self.database);
            return Err(MyError::new(ErrorKind::ER_BAD_TABLE_ERROR, message));
        }
        let found = names.iter().filter_map(find);
        Ok(Change::Drop(found.map(|table| (table.name.clone(), table.is_temporary)).collect()))
    }

    /// CREATE INDEX
    pub(super) fn create_index(&self, create: &CreateIndex) -> Result<Change> {
        let mut table = self.table(&create.table_name)?.clone();
        let columns = column_names(&create.columns)?;
        let own = create.name.as_ref().map(|name| self.name(name)).transpose()?;
        let name = self.index_name(&table, own, &columns)?;
        match create.unique {
            true => table.keys.push(UniqueKey { name, columns }),
            false => table.indexes.push((name, columns)),
        }
        Ok(rebuilt(table))
    }

    /// DROP INDEX … ON …
    pub(super) fn drop_index(&self, index: &str, table: &ObjectName) -> Result<Change> {
        let mut table = self.table(table)?.clone();
        drop_key(&mut table, index)?;
        Ok(rebuilt(table))
    }

    /// ALTER TABLE
    pub(super) fn alter_table(
        &self,
        name: &ObjectName,
        operations: &[AlterTableOperation],
    ) -> Result<Change> {
        let mut table = self.table(name)?.clone();
        let old = table.name.clone();
        let same = |column: &Column| (column.name.clone(), super::schema::quote(&column.name));
        let stored = table.columns.iter().filter(|column| column.generated.is_none());
        let mut columns: Vec<(String, String)> = stored.map(same).collect();
        for operation in operations {
            match operation {
                AlterTableOperation::AddColumn { column_def, .. } => {
                    self.add_column(&mut table, &mut columns, column_def)?;
                }
                AlterTableOperation::DropColumn { column_names, .. } => {
                    for name in column_names {
                        drop_column(&mut table, &mut columns, &name.value)?;
                    }
                }
                AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                    rename_column(&mut table, &mut columns, &old_column_name.value, &new_column_name.value)?;
                }
                AlterTableOperation::ModifyColumn { col_name, data_type, options, .. } => {
                    self.change_column(
                        &mut table,
                        &mut columns,
                        (&col_name.value, &col_name.value),
                        data_type,
                        options,
                    )?;
                }
                AlterTableOperation::ChangeColumn { old_name, new_name, data_type, options, .. } => {
                    self.change_column(
                        &mut table,
                        &mut columns,
                        (&old_name.value, &new_name.value),
                        data_type,
                        options,
                    )?;
                }
                AlterTableOperation::AddConstraint { constraint, .. } => {
                    self.constraint(constraint, &mut table)?
                }
                AlterTableOperation::DropIndex { name } => drop_key(&mut table, &name.value)?,
                AlterTableOperation::DropPrimaryKey { .. } => drop_key(&mut table, "PRIMARY")?,
                AlterTableOperation::DropForeignKey { name, .. } => {
                    table.foreign_keys.retain(|key| key.name != name.value);
                }
                AlterTableOperation::RenameTable {
                    table_name: RenameTableNameKind::To(name) | RenameTableNameKind::As(name),
                } => table.name = self.name(name)?,
                other => return Err(MyError::unsupported(other)),
            }
        }
        Ok(Change::Rebuild { old, new: Box::new(table), columns })
    }

    /// RENAME TABLE
    pub(super) fn rename_table(&self, renames: &[RenameTable]) -> Result<Change> {
        let [only] = renames else { return Err(MyError::unsupported("RENAME TABLE of several tables")) };
        let table_name = RenameTableNameKind::To(only.new_name.clone());
        self.alter_table(&only.old_name, &[AlterTableOperation::RenameTable { table_name }])
    }

    fn add_column(
        &self,
        table: &mut Table,
        columns: &mut Vec<(String, String)>,
        definition: &ColumnDef,
    ) -> Result<()> {
        let column = self.column(definition, table)?;
        if table.column(&column.name).is_some() {
            return Err(duplicate_column(&column.name));
        }
        if column.is_not_null && column.default.is_none() && column.generated.is_none() {
            columns.push((column.name.clone(), implicit_default(&column).to_owned()));
        }
        table.columns.push(column);
        Ok(())
    }

    fn change_column(
        &self,
        table: &mut Table,
        columns: &mut [(String, String)],
        (old, new): (&str, &str),
        data_type: &sqlparser::ast::DataType,
        options: &[ColumnOption],
    ) -> Result<()> {
        rename_column(table, columns, old, new)?;
        let definition = ColumnDef {
            name: sqlparser::ast::Ident::new(new),
            data_type: data_type.clone(),
            options: options
                .iter()
                .map(|option| sqlparser::ast::ColumnOptionDef { name: None, option: option.clone() })
                .collect(),
        };
        let column = self.column(&definition, table)?;
        if let Some(place) = table.columns.iter().position(|own| own.name == new) {
            table.columns[place] = column;
        }
        Ok(())
    }
}

fn actions(on_delete: Option<&ReferentialAction>, on_update: Option<&ReferentialAction>) -> String {
    let clause = |event: &str, action: Option<&ReferentialAction>| {
        action.map_or(String::new(), |action| format!(" ON {event} {action}"))
    };
    clause("DELETE", on_delete) + &clause("UPDATE", on_update)
}

fn is_taken(table: &Table, name: &str) -> bool {
    table.keys.iter().any(|key| key.name == name) || table.indexes.iter().any(|(own, _)| own == name)
}

fn free_name(table: &Table, column: &str) -> String {
    let numbered = (2..).map(|number| format!("{column}_{number}"));
    let mut names = std::iter::once(column.to_owned()).chain(numbered);
    names.find(|name| !is_taken(table, name)).unwrap_or_default()
}

fn drop_key(table: &mut Table, name: &str) -> Result<()> {
    if !is_taken(table, name) {
        let message = format!("Can't DROP '{name}'; check that column/key exists");
        return Err(MyError::new(ErrorKind::ER_CANT_DROP_FIELD_OR_KEY, message));
    }
    table.keys.retain(|key| key.name != name);
    table.indexes.retain(|(own, _)| own != name);
    Ok(())
}

fn drop_column(table: &mut Table, columns: &mut Vec<(String, String)>, name: &str) -> Result<()> {
    let before = table.columns.len();
    table.columns.retain(|column| !column.name.eq_ignore_ascii_case(name));
    if table.columns.len() == before {
        let message = format!("Can't DROP '{name}'; check that column/key exists");
        return Err(MyError::new(ErrorKind::ER_CANT_DROP_FIELD_OR_KEY, message));
    }
    columns.retain(|(column, _)| !column.eq_ignore_ascii_case(name));
    table.keys.retain(|key| !key.columns.iter().any(|column| column == name));
    table.indexes.retain(|(_, columns)| !columns.iter().any(|column| column == name));
    Ok(())
}

fn rename_column(table: &mut Table, columns: &mut [(String, String)], old: &str, new: &str) -> Result<()> {
    let Some(column) = table.columns.iter_mut().find(|column| column.name.eq_ignore_ascii_case(old)) else {
        return Err(MyError::no_column(old, &table.name));
    };
    new.clone_into(&mut column.name);
    let rename = |names: &mut Vec<String>| {
        names.iter_mut().filter(|name| name.eq_ignore_ascii_case(old)).for_each(|name| new.clone_into(name));
    };
    table.keys.iter_mut().for_each(|key| rename(&mut key.columns));
    table.indexes.iter_mut().for_each(|(_, names)| rename(names));
    table.foreign_keys.iter_mut().for_each(|key| rename(&mut key.columns));
    columns
        .iter_mut()
        .filter(|(name, _)| name.eq_ignore_ascii_case(old))
        .for_each(|(name, _)| new.clone_into(name));
    Ok(())
}

/// What MySQL puts into rows that are there when a column without a default must not be NULL.
fn implicit_default(column: &Column) -> &'static str {
    match column.ty.kind {
        Kind::Integer { .. } | Kind::Boolean | Kind::Year => "0",
        Kind::Float | Kind::Double => "0.0",
        Kind::Decimal { .. } => "'0'",
        Kind::Blob { .. } => "X''",
        Kind::Json => "'null'",
        Kind::Date => "'0000-00-00'",
        Kind::Time { .. } => "'00:00:00'",
        Kind::Datetime { .. } => "'0000-00-00 00:00:00'",
        Kind::Text { .. } | Kind::Enum(_) => "''",
    }
}

/// The same rows under another description.
fn rebuilt(table: Table) -> Change {
    let stored = table.columns.iter().filter(|column| column.generated.is_none());
    let columns = stored.map(|column| (column.name.clone(), super::schema::quote(&column.name))).collect();
    Change::Rebuild { old: table.name.clone(), new: Box::new(table), columns }
}
