//! From a statement's text to what is to be done.
//!
//! Owns the list of statements that are understood. Must not run anything. Invariant: a statement that is not
//! understood is refused by its name.

use super::numbers::ErrorKind;
use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, NonBlock, ObjectType, Query, SelectItem, SetExpr,
    ShowStatementFilter, Statement, Use,
};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::ddl::{Change, Reader};
use super::dml::Writer;
use super::error::{MyError, Result};
use super::information;
use super::isolation::{self, Characteristics};
use super::json;
use super::rewrite::{plain_name, rewrite};
use super::schema::{Table, Tables};
use super::types::{ColumnType, Kind};
use super::variables;
use crate::engine::Access;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Plan {
    /// Nothing, successfully.
    Nothing,
    Run(Run),
    Change(Change),
    Begin {
        characteristics: Characteristics,
        /// Whether it reads the state of now, and not that of its first statement.
        with_snapshot: bool,
    },
    Commit,
    Rollback,
    Savepoint(String),
    RollbackTo(String),
    Release(String),
    /// `name = expression`, each to be evaluated.
    Set(Vec<(String, String)>),
    SetTransaction {
        characteristics: Characteristics,
        /// Whether it is for all that follow, and not for the next one alone.
        for_session: bool,
    },
    Use(String),
    CreateDatabase {
        name: String,
        if_not_exists: bool,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
    },
    ShowDatabases,
    ShowVariables(Option<String>),
    /// Names of columns, and rows.
    Rows(Vec<&'static str>, Vec<Vec<Option<String>>>),
    Kill {
        id: u32,
        is_query: bool,
    },
}

/// A statement for SQLite.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) sql: String,
    pub(super) access: Access,
    pub(super) command: &'static str,
    pub(super) returns_rows: bool,
    /// The table that is written.
    pub(super) table: Option<String>,
    /// What is known of the types of the columns of the result that are no table's.
    pub(super) hints: Vec<Option<Hint>>,
}

/// What is known of an expression's type.
#[derive(Clone, Debug)]
pub(super) enum Hint {
    Is(ColumnType),
    /// A sum or an average, which MySQL gives as DECIMAL, of something with so many digits after the point.
    Sum {
        is_average: bool,
        scale: Option<u16>,
    },
}

/// What plans are made with.
pub(super) struct Planner<'a> {
    pub(super) database: &'a str,
    pub(super) tables: &'a Tables,
    /// Whether an UPDATE counts the rows that it found, and not those that it changed.
    pub(super) counts_found: bool,
    pub(super) pipes_are_concat: bool,
    /// The value of a variable, `@name` or a system variable, as text; `None` where there is none.
    pub(super) variable: &'a dyn Fn(&str) -> Option<Option<String>>,
}

/// The pieces of a text: numbered parameters, values in the place of variables.
pub(super) struct Tokens {
    tokens: Vec<Token>,
    pub(super) parameters: usize,
}

impl Planner<'_> {
    /// Reads a text.
    pub(super) fn tokens(&self, text: &str) -> Result<Tokens> {
        let dialect = MySqlDialect {};
        let read = Tokenizer::new(&dialect, text).tokenize();
        let read = read.map_err(|_| MyError::syntax(text))?;
        let mut tokens = Vec::with_capacity(read.len());
        let mut parameters = 0;
        let mut rest = read.into_iter().peekable();
        while let Some(token) = rest.next() {
            match token {
                Token::Placeholder(mark) if mark == "?" => {
                    parameters += 1;
                    tokens.push(Token::Placeholder(format!("?{parameters}")));
                }
                Token::Word(word) if word.quote_style.is_none() && word.value.starts_with('@') => {
                    let mut name = word.value;
                    while rest.next_if_eq(&Token::Period).is_some() {
                        if let Some(Token::Word(word)) = rest.next() {
                            name = format!("{name}.{}", word.value);
                        }
                    }
                    let is_target = variables::is_target(&tokens);
                    tokens.push(if is_target {
                        Token::make_word(&name, None)
                    } else {
                        self.value_of(&name)?
                    });
                }
                token => tokens.push(token),
            }
        }
        while matches!(tokens.last(), Some(Token::SemiColon | Token::Whitespace(_))) {
            tokens.pop();
        }
        Ok(Tokens { tokens, parameters })
    }

    fn value_of(&self, name: &str) -> Result<Token> {
        let plain = name.trim_start_matches('@').to_ascii_lowercase();
        let plain = plain.strip_prefix("session.").or(plain.strip_prefix("global.")).unwrap_or(&plain);
        let key = if name.starts_with("@@") { plain.to_owned() } else { format!("@{plain}") };
        match (self.variable)(&key) {
            Some(Some(value)) if value.parse::<i64>().is_ok() => Ok(Token::Number(value, false)),
            Some(Some(value)) => Ok(Token::SingleQuotedString(value)),
            Some(None) => Ok(Token::make_keyword("NULL")),
            None => {
                let message = format!("Unknown system variable '{plain}'");
                Err(MyError::new(ErrorKind::ER_UNKNOWN_SYSTEM_VARIABLE, message))
            }
        }
    }

    /// What a text asks for.
    pub(super) fn plan(&self, mut tokens: Tokens, text: &str) -> Result<Plan> {
        let words: Vec<String> = tokens
            .tokens
            .iter()
            .filter_map(|token| match token {
                Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
                _ => None,
            })
            .take(3)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            [] if tokens.tokens.is_empty() => {
                return Err(MyError::new(ErrorKind::ER_EMPTY_QUERY, "Query was empty"));
            }
            ["SET", "GLOBAL" | "PERSIST" | "PERSIST_ONLY", ..] => {
                return Err(MyError::unsupported("SET GLOBAL"));
            }
            ["SET", "TRANSACTION", ..] | ["SET", "SESSION" | "LOCAL", "TRANSACTION"] => {}
            ["SET", ..] => return self.set(&tokens.tokens),
            ["SHOW", "WARNINGS" | "ERRORS", ..] => {
                return Ok(Plan::Rows(vec!["Level", "Code", "Message"], Vec::new()));
            }
            ["SHOW", "COUNT", ..] => return Err(MyError::unsupported("SHOW COUNT")),
            ["LOAD", "DATA" | "XML", ..] => return Err(MyError::unsupported("LOAD DATA")),
            ["LOCK" | "UNLOCK", "TABLES", ..] => return Err(MyError::unsupported("LOCK TABLES")),
            _ => {}
        }
        isolation::modernize_share_mode(&mut tokens.tokens);
        let is_start = matches!(words[..], ["START", "TRANSACTION", ..]);
        let with_snapshot = is_start && isolation::take_snapshot_clause(&mut tokens.tokens);
        let for_session = matches!(words[..], ["SET", "SESSION" | "LOCAL", ..]);
        let dialect = MySqlDialect {};
        let mut parser = Parser::new(&dialect).with_tokens(tokens.tokens);
        let near = |parser: &Parser<'_>| {
            let token = parser.peek_token().to_string();
            text.find(&token)
                .map_or_else(|| text.to_owned(), |at| text[at..].chars().take(80).collect::<String>())
        };
        let statement = parser.parse_statement().map_err(|_| MyError::syntax(&near(&parser)))?;
        if parser.peek_token().token != Token::EOF {
            return Err(MyError::syntax(&near(&parser)));
        }
        Ok(match self.statement(statement)? {
            Plan::Begin { characteristics, .. } => Plan::Begin { characteristics, with_snapshot },
            Plan::SetTransaction { characteristics, .. } => {
                Plan::SetTransaction { characteristics, for_session }
            }
            plan => plan,
        })
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            database: self.database,
            tables: self.tables,
            counts_found: self.counts_found,
            pipes_are_concat: self.pipes_are_concat,
        }
    }

    fn statement(&self, statement: Statement) -> Result<Plan> {
        let reader = self.reader();
        Ok(match statement {
            Statement::Query(query) => Plan::Run(self.query(*query)?),
            Statement::Insert(mut insert) => {
                let command = if insert.replace_into { "REPLACE" } else { "INSERT" };
                write(self.writer().insert(&mut insert)?, command)
            }
            Statement::Update(mut update) => write(self.writer().update(&mut update)?, "UPDATE"),
            Statement::Delete(mut delete) => write(self.writer().delete(&mut delete)?, "DELETE"),
            Statement::CreateTable(create) => Plan::Change(reader.create_table(&create)?),
            Statement::CreateIndex(create) => Plan::Change(reader.create_index(&create)?),
            Statement::RenameTable(renames) => Plan::Change(reader.rename_table(&renames)?),
            Statement::AlterTable(alter) => Plan::Change(reader.alter_table(&alter.name, &alter.operations)?),
            Statement::Drop { object_type: ObjectType::Table, names, if_exists, temporary, .. } => {
                Plan::Change(reader.drop_tables(&names, if_exists, temporary)?)
            }
            Statement::Drop { object_type: ObjectType::Index, names, table: Some(table), .. } => {
                let name = names.first().map(|name| plain_name(name, self.database)).transpose()?;
                Plan::Change(reader.drop_index(&name.unwrap_or_default(), &table)?)
            }
            Statement::Drop {
                object_type: ObjectType::Database | ObjectType::Schema,
                names,
                if_exists,
                ..
            } => {
                let name = names.first().map(ToString::to_string).unwrap_or_default();
                Plan::DropDatabase { name: name.trim_matches('`').to_owned(), if_exists }
            }
            Statement::Truncate(truncate) => {
                let Some(target) = truncate.table_names.first() else { return Ok(Plan::Nothing) };
                Plan::Change(Change::Empty(reader.table(&target.name)?.name.clone()))
            }
            Statement::CreateDatabase { db_name, if_not_exists, .. } => {
                Plan::CreateDatabase { name: db_name.to_string().trim_matches('`').to_owned(), if_not_exists }
            }
            other => self.transaction_or_show(other)?,
        })
    }

    /// What changes no data: transactions, and looking at the server.
    fn transaction_or_show(&self, statement: Statement) -> Result<Plan> {
        Ok(match statement {
            Statement::StartTransaction { modes, .. } => {
                let characteristics = Characteristics::of(&modes)?;
                Plan::Begin { characteristics, with_snapshot: false }
            }
            Statement::Set(sqlparser::ast::Set::SetTransaction { modes, .. }) => {
                let characteristics = Characteristics::of(&modes)?;
                Plan::SetTransaction { characteristics, for_session: false }
            }
            Statement::Commit { .. } => Plan::Commit,
            Statement::Rollback { savepoint: Some(name), .. } => Plan::RollbackTo(name.value),
            Statement::Rollback { .. } => Plan::Rollback,
            Statement::Savepoint { name } => Plan::Savepoint(name.value),
            Statement::ReleaseSavepoint { name } => Plan::Release(name.value),
            Statement::Use(Use::Object(name)) => Plan::Use(name.to_string().trim_matches('`').to_owned()),
            Statement::ShowDatabases { .. } => Plan::ShowDatabases,
            Statement::ShowVariables { filter, .. } => Plan::ShowVariables(match filter {
                Some(ShowStatementFilter::Like(pattern)) => Some(pattern),
                Some(other) => return Err(MyError::unsupported(format!("SHOW VARIABLES {other}"))),
                None => None,
            }),
            Statement::ShowTables { .. } => {
                let names = self.tables.keys().map(|name| vec![Some(name.clone())]).collect();
                Plan::Rows(vec!["Tables"], names)
            }
            Statement::ShowColumns { show_options, .. } => {
                let name = show_options.show_in.and_then(|clause| clause.parent_name);
                let name = name.ok_or_else(|| MyError::syntax("SHOW COLUMNS"))?;
                columns(self.reader().table(&name)?)
            }
            Statement::ExplainTable { table_name, .. } => columns(self.reader().table(&table_name)?),
            Statement::Kill { id, modifier } => {
                let is_query =
                    modifier.is_some_and(|modifier| modifier.to_string().eq_ignore_ascii_case("query"));
                Plan::Kill { id: id as u32, is_query }
            }
            other => {
                let text = other.to_string();
                let name: Vec<&str> = text.split_whitespace().take(2).collect();
                return Err(MyError::unsupported(name.join(" ")));
            }
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader { database: self.database, tables: self.tables }
    }

    fn query(&self, mut query: Query) -> Result<Run> {
        let access = match query.locks.first() {
            None => Access::Read,
            // Also FOR SHARE: nobody may change what it read.
            Some(lock) => match lock.nonblock {
                None => Access::Write,
                Some(NonBlock::Nowait) => Access::WriteNowait,
                Some(NonBlock::SkipLocked) => Access::WriteSkipLocked,
            },
        };
        if matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_)) {
            return Err(MyError::unsupported("WITH before INSERT, UPDATE or DELETE"));
        }
        information::insert_views(&mut query, self.database, self.tables);
        if let Some(missing) = self.missing_table(&query) {
            return Err(MyError::no_table(self.database, &missing));
        }
        let hints = self.hints(&query);
        json::show(&mut query.body);
        rewrite(&mut query, self.database, self.pipes_are_concat)?;
        Ok(Run { sql: query.to_string(), access, command: "SELECT", returns_rows: true, table: None, hints })
    }

    /// What is known of the types of the columns of a result.
    fn hints(&self, query: &Query) -> Vec<Option<Hint>> {
        let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
        let hint = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => self.hint(expr),
            _ => None,
        };
        select.projection.iter().map(hint).collect()
    }

    fn hint(&self, expr: &Expr) -> Option<Hint> {
        let function = match expr {
            Expr::Cast { data_type, .. } => return ColumnType::of(data_type, false).map(Hint::Is),
            Expr::Nested(inner) => return self.hint(inner),
            Expr::Function(function) => function,
            _ => return None,
        };
        let is = |kind: Kind, text: &str| Some(Hint::Is(ColumnType { kind, text: text.to_owned() }));
        let name = function.name.to_string().to_ascii_uppercase();
        let first = match &function.args {
            FunctionArguments::List(list) => list.args.first(),
            _ => None,
        };
        let first = match first {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) => Some(first),
            _ => None,
        };
        match name.as_str() {
            "NOW" | "CURRENT_TIMESTAMP" | "LOCALTIME" | "LOCALTIMESTAMP" | "SYSDATE" | "UTC_TIMESTAMP"
            | "FROM_UNIXTIME" | "TIMESTAMP" => {
                is(Kind::Datetime { digits: 0, is_timestamp: false }, "datetime")
            }
            "CURDATE" | "CURRENT_DATE" | "UTC_DATE" | "DATE" => is(Kind::Date, "date"),
            "CURTIME" | "CURRENT_TIME" | "UTC_TIME" | "TIME" => is(Kind::Time { digits: 0 }, "time"),
            "SUM" | "AVG" => {
                let scale = first.and_then(|first| self.column_type(first)).and_then(|ty| match ty.kind {
                    Kind::Decimal { scale, .. } => Some(scale),
                    Kind::Integer { .. } | Kind::Boolean => Some(0),
                    _ => None,
                });
                Some(Hint::Sum { is_average: name == "AVG", scale })
            }
            "MIN" | "MAX" | "COALESCE" | "IFNULL" | "ANY_VALUE" | "DATE_ADD" | "DATE_SUB" => {
                let first = first?;
                self.column_type(first).map(|ty| Hint::Is(ty.clone())).or_else(|| self.hint(first))
            }
            _ => None,
        }
    }

    /// The type of a column that is named alone.
    fn column_type(&self, expr: &Expr) -> Option<&ColumnType> {
        let name = match expr {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => parts.last()?,
            _ => return None,
        };
        self.tables.values().find_map(|table| table.column(&name.value)).map(|column| &column.ty)
    }

    /// A table that is named, and is neither there nor a part of the query.
    fn missing_table(&self, query: &Query) -> Option<String> {
        let own: Vec<String> = query
            .with
            .iter()
            .flat_map(|with| &with.cte_tables)
            .map(|table| table.alias.name.value.to_ascii_lowercase())
            .collect();
        let mut missing = None;
        let _: std::ops::ControlFlow<()> = sqlparser::ast::visit_relations(query, |name| {
            if let Ok(plain) = plain_name(name, self.database) {
                let is_own = own.contains(&plain.to_ascii_lowercase()) || plain.eq_ignore_ascii_case("dual");
                if !is_own && query.with.is_none() && !self.tables.contains_key(&plain) {
                    missing.get_or_insert(plain);
                }
            }
            std::ops::ControlFlow::Continue(())
        });
        missing
    }

    /// SET: variables, and what MySQL writes like variables.
    fn set(&self, tokens: &[Token]) -> Result<Plan> {
        let mut parts: Vec<Vec<Token>> = vec![Vec::new()];
        let mut depth = 0;
        for token in tokens.iter().skip_while(|token| !matches!(token, Token::Word(_))).skip(1) {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if *token == Token::Comma && depth == 0 {
                parts.push(Vec::new());
            } else if let Some(part) = parts.last_mut() {
                part.push(token.clone());
            }
        }
        let mut all = Vec::new();
        for part in parts {
            let text: String = part.iter().map(ToString::to_string).collect();
            let text = text.trim();
            let upper = text.to_ascii_uppercase();
            if upper.starts_with("NAMES") || upper.starts_with("CHARACTER SET") {
                continue;
            }
            let (name, value) = text.split_once('=').ok_or_else(|| MyError::syntax(text))?;
            let name = name.trim().trim_end_matches(':').to_ascii_lowercase();
            let name =
                ["session ", "local "].iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(&name);
            all.push((name.trim().trim_matches('`').to_owned(), value.trim().to_owned()));
        }
        Ok(Plan::Set(all))
    }
}

fn write((sql, table): (String, String), command: &'static str) -> Plan {
    Plan::Run(Run {
        sql,
        access: Access::Write,
        command,
        returns_rows: false,
        table: Some(table),
        hints: Vec::new(),
    })
}

/// What `SHOW COLUMNS` says of the keys that a column is in.
pub(super) fn key_of(table: &Table, column: &super::schema::Column) -> &'static str {
    let of = |key: &&super::schema::UniqueKey| key.columns.first() == Some(&column.name);
    match table.keys.iter().find(of) {
        Some(key) if key.name == "PRIMARY" => "PRI",
        Some(key) if key.columns.len() == 1 => "UNI",
        Some(_) => "MUL",
        None if table.plain_indexes().any(|(_, columns)| columns.first() == Some(&column.name)) => "MUL",
        None => "",
    }
}

/// SHOW COLUMNS, DESCRIBE
fn columns(table: &Table) -> Plan {
    let row = |column: &super::schema::Column| {
        let key = key_of(table, column);
        let default = column.default.as_ref().map(|default| default.trim_matches('\'').to_owned());
        let extra = if column.is_auto_increment { "auto_increment" } else { "" };
        vec![
            Some(column.name.clone()),
            Some(column.ty.text.clone()),
            Some(if column.is_not_null { "NO" } else { "YES" }.to_owned()),
            Some(key.to_owned()),
            default,
            Some(extra.to_owned()),
        ]
    };
    Plan::Rows(
        vec!["Field", "Type", "Null", "Key", "Default", "Extra"],
        table.columns.iter().map(row).collect(),
    )
}
