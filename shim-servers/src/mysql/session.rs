//! One client's session: variables, transactions as MySQL has them, statements from text to rows.
//!
//! Owns the order of steps of a statement. Must not know the wire. Invariant: a statement that fails leaves what the
//! transaction did before it, unless the error ends the transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use mysql_common::packets::Column;

use super::numbers::ErrorKind;

use super::apply::apply;
use super::ddl::Change;
use super::error::{MyError, Result};
use super::functions::{Counters, Done, State, with};
use super::isolation::Characteristics;
use super::plan::{Plan, Planner, Run, Tokens};
use super::result::{rows, text_column, typed};
use super::schema::{self, Tables, quote};
use super::types::ColumnType;
use crate::engine::{Batch, Cluster, Reason, Session as Engine, SqlError, Status, Value, Work};

/// What a statement answers.
#[derive(Debug)]
pub(super) enum Answer {
    /// How many rows were changed, and the first number that AUTO_INCREMENT gave.
    Done { affected_rows: u64, last_insert_id: u64 },
    /// Rows come by [`Session::next_rows`]; these are here already.
    Rows { columns: Vec<ResultColumn>, first: Batch },
}

/// A column of a result.
#[derive(Clone, Debug)]
pub(super) struct ResultColumn {
    pub(super) ty: ColumnType,
    pub(super) wire: Column,
}

/// A savepoint around each statement of a transaction.
const STATEMENT: &str = "\u{1}statement";

/// A client's session.
pub(super) struct Session {
    pub(super) engine: Engine,
    pub(super) cluster: Arc<Cluster>,
    pub(super) counters: Arc<Counters>,
    pub(super) state: State,
    pub(super) tables: Arc<Tables>,
    pub(super) schema_version: [i64; 2],
    pub(super) variables: BTreeMap<String, Option<String>>,
    /// Whether an UPDATE counts the rows that it found, and not those that it changed.
    pub(super) counts_found: bool,
    /// What the next transaction will be.
    pub(super) next: Characteristics,
}

impl Session {
    /// A session on `engine`, which belongs to nobody yet.
    pub(super) async fn new(
        engine: Engine,
        counters: Arc<Counters>,
        state: State,
        variables: BTreeMap<String, Option<String>>,
    ) -> Result<Session> {
        let mut session = Session {
            cluster: Arc::clone(engine.cluster()),
            engine,
            counters,
            state,
            tables: Arc::default(),
            schema_version: [-1; 2],
            variables,
            counts_found: false,
            next: Characteristics::default(),
        };
        session.set_defaults();
        session.register_functions().await?;
        Ok(session)
    }

    /// The session as others see it.
    pub(super) fn shared(&self) -> &Arc<crate::engine::Shared> {
        &self.engine.shared
    }

    pub(super) fn is_in_transaction(&self) -> bool {
        self.engine.status() != Status::Idle
    }

    pub(super) fn is_autocommit(&self) -> bool {
        self.variables.get("autocommit").and_then(Option::as_deref) != Some("0")
    }

    pub(super) fn database(&self) -> String {
        with(&self.state, |state| state.database.clone())
    }

    pub(super) fn failure(&self, error: &SqlError, is_delete: bool) -> MyError {
        MyError::of(error, &self.database(), &self.tables, is_delete)
    }

    /// Looks whether the tables are still those that are known here.
    async fn refresh(&mut self) -> Result<()> {
        let known = self.schema_version;
        let looked = self.engine.inspect(move |connection| {
            let version = schema::version(connection)?;
            let tables = if version == known { None } else { Some(schema::load(connection)?) };
            Ok((version, tables))
        });
        let (version, tables) = looked.await.map_err(|error| self.failure(&error, false))?;
        if let Some(tables) = tables {
            let own = tables.values().filter(|table| table.is_temporary).map(|table| table.name.clone());
            with(&self.state, |state| state.temporary = own.collect());
            (self.schema_version, self.tables) = (version, Arc::new(tables));
        }
        Ok(())
    }

    pub(super) fn planner<R>(&self, f: impl FnOnce(&Planner<'_>) -> R) -> R {
        let database = self.database();
        let sql_mode = self.variables.get("sql_mode").and_then(Option::as_deref).unwrap_or_default();
        let variable = |name: &str| match name {
            "last_insert_id" | "identity" => {
                Some(Some(with(&self.state, |state| state.last_insert_id).to_string()))
            }
            name => self.variables.get(name).cloned().or(name.starts_with('@').then_some(None)),
        };
        f(&Planner {
            database: &database,
            tables: &self.tables,
            counts_found: self.counts_found,
            pipes_are_concat: sql_mode.contains("PIPES_AS_CONCAT") || sql_mode.contains("ANSI"),
            variable: &variable,
        })
    }

    /// Splits a text into its statements.
    pub(super) fn split(text: &str) -> Result<Vec<String>> {
        use sqlparser::tokenizer::{Token, Tokenizer};
        let dialect = sqlparser::dialect::MySqlDialect {};
        let tokens = Tokenizer::new(&dialect, text).with_unescape(false).tokenize();
        let tokens = tokens.map_err(|_| MyError::syntax(text))?;
        let statements = tokens
            .split(|token| *token == Token::SemiColon)
            .map(|tokens| tokens.iter().map(ToString::to_string).collect::<String>().trim().to_owned());
        let all: Vec<String> = statements.filter(|text| !text.is_empty()).collect();
        if all.is_empty() {
            return Err(MyError::new(ErrorKind::ER_EMPTY_QUERY, "Query was empty"));
        }
        Ok(all)
    }

    /// What a text that is to be executed later needs and gives: how many parameters, which columns.
    pub(super) async fn prepare(&mut self, text: &str) -> Result<(usize, Vec<ResultColumn>)> {
        self.refresh().await?;
        let tokens: Tokens = self.planner(|planner| planner.tokens(text))?;
        let parameters = tokens.parameters;
        let plan = self.planner(|planner| planner.plan(tokens, text))?;
        let columns = match &plan {
            Plan::Run(run) if run.returns_rows => self.describe(&run.sql).await?,
            Plan::Run(run) => {
                // Finds unknown columns now, as MySQL does.
                self.describe(&run.sql).await?;
                Vec::new()
            }
            Plan::Rows(names, _) => names.iter().map(|name| text_column(name)).collect(),
            _ => Vec::new(),
        };
        Ok((parameters, columns))
    }

    /// The columns of a statement of SQLite's.
    async fn describe(&mut self, sql: &str) -> Result<Vec<ResultColumn>> {
        let sql = sql.to_owned();
        let described = self.engine.inspect(move |connection| {
            let statement = connection.prepare_cached(&sql)?;
            let columns = statement.columns_with_metadata();
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Ok(columns
                .iter()
                .map(|column| {
                    (column.name().to_owned(), owned(column.table_name()), owned(column.origin_name()))
                })
                .collect::<Vec<_>>())
        });
        let described = described.await.map_err(|error| self.failure(&error, false))?;
        let database = self.database();
        let column = |(name, table, origin): (String, Option<String>, Option<String>)| {
            let table = table.and_then(|table| self.tables.get(&table));
            let origin = table.zip(origin).and_then(|(table, origin)| Some((table, table.column(&origin)?)));
            match origin {
                Some((table, column)) => {
                    let wire = column.ty.column(&table.name, &name, false);
                    let wire = wire.with_schema(database.as_bytes()).with_org_name(column.name.as_bytes());
                    ResultColumn { wire, ty: column.ty.clone() }
                }
                None => text_column(&name),
            }
        };
        Ok(described.into_iter().map(column).collect())
    }

    /// Runs a statement.
    pub(super) async fn execute(&mut self, text: &str, params: Vec<Value>) -> Result<Answer> {
        self.engine.begin_statement(text);
        let now_us = chrono_now_us();
        with(&self.state, |state| (state.statement_us, state.done) = (now_us, Done::default()));
        let result = self.run_text(text, params).await;
        if !matches!(result, Ok(Answer::Rows { .. })) {
            self.engine.end_statement();
        }
        result
    }

    async fn run_text(&mut self, text: &str, params: Vec<Value>) -> Result<Answer> {
        self.refresh().await?;
        let tokens = self.planner(|planner| planner.tokens(text))?;
        if tokens.parameters > params.len() {
            return Err(MyError::new(
                ErrorKind::ER_WRONG_ARGUMENTS,
                "Incorrect arguments to mysqld_stmt_execute",
            ));
        }
        match self.planner(|planner| planner.plan(tokens, text))? {
            Plan::Run(run) => self.run(run, params).await,
            plan => self.do_other(plan).await,
        }
    }

    async fn do_other(&mut self, plan: Plan) -> Result<Answer> {
        match plan {
            Plan::Nothing | Plan::Run(_) => {}
            Plan::Change(change) => self.change(change).await?,
            Plan::Begin { characteristics, with_snapshot } => {
                self.commit().await?;
                self.begin(characteristics)?;
                if with_snapshot {
                    let taken = self.engine.take_snapshot().await;
                    taken.map_err(|error| self.failure(&error, false))?;
                }
            }
            Plan::Commit => self.commit().await?,
            Plan::Rollback => self.engine.rollback().await,
            Plan::Savepoint(name) => {
                if self.is_in_transaction() {
                    let made = self.engine.savepoint(&name).await;
                    made.map_err(|error| self.failure(&error, false))?;
                }
            }
            Plan::RollbackTo(name) => {
                let undone = self.engine.rollback_to(&name).await;
                undone.map_err(|error| self.missing_savepoint(&name, &error))?;
            }
            Plan::Release(name) => {
                let released = self.engine.release(&name).await;
                released.map_err(|error| self.missing_savepoint(&name, &error))?;
            }
            Plan::Set(all) => {
                for (name, expression) in all {
                    self.set(&name, &expression).await?;
                }
            }
            Plan::SetTransaction { characteristics, for_session: false } => {
                if self.is_in_transaction() {
                    return Err(MyError::new(
                        ErrorKind::ER_CANT_CHANGE_TX_ISOLATION,
                        "Transaction characteristics can't be changed while a transaction is in progress",
                    ));
                }
                self.next = characteristics;
            }
            Plan::SetTransaction { characteristics, for_session: true } => {
                self.set_characteristics(characteristics);
            }
            Plan::Use(name) => self.use_database(&name).await?,
            Plan::CreateDatabase { name, if_not_exists } => {
                self.create_database(&name, if_not_exists).await?;
            }
            Plan::DropDatabase { name, if_exists } => self.drop_database(&name, if_exists).await?,
            Plan::ShowDatabases => {
                let names = self.cluster.names().into_iter().map(|name| vec![Some(name)]).collect();
                return Ok(rows(&["Database"], names));
            }
            Plan::ShowVariables(pattern) => return Ok(self.show_variables(pattern.as_deref())),
            Plan::Rows(names, all) => return Ok(rows(&names, all)),
            Plan::Kill { id, is_query } => {
                let Some(other) = self.cluster.backends.find(id as i32) else {
                    return Err(MyError::new(
                        ErrorKind::ER_NO_SUCH_THREAD,
                        format!("Unknown thread id: {id}"),
                    ));
                };
                other.cancel(if is_query { Reason::UserRequest } else { Reason::Terminate });
            }
        }
        Ok(Answer::Done { affected_rows: 0, last_insert_id: 0 })
    }

    fn missing_savepoint(&self, name: &str, error: &SqlError) -> MyError {
        match error.condition.sqlstate() {
            "25P01" | "3B001" => {
                MyError::new(ErrorKind::ER_SP_DOES_NOT_EXIST, format!("SAVEPOINT {name} does not exist"))
            }
            _ => self.failure(error, false),
        }
    }

    fn begin(&mut self, said: Characteristics) -> Result<()> {
        let next = std::mem::take(&mut self.next);
        let (isolation, read_only) = (said.isolation.or(next.isolation), said.read_only.or(next.read_only));
        self.engine.begin(isolation, read_only).map(drop).map_err(|error| self.failure(&error, false))
    }

    pub(super) async fn commit(&mut self) -> Result<()> {
        self.engine.commit().await.map(drop).map_err(|error| self.failure(&error, false))
    }

    /// Runs a statement of SQLite's, in the transaction that there is, or in one of its own.
    async fn run(&mut self, run: Run, params: Vec<Value>) -> Result<Answer> {
        if !self.is_in_transaction() && !self.is_autocommit() {
            self.begin(Characteristics::default())?;
        }
        self.prepare_counter(run.table.as_deref()).await?;
        let described = if run.returns_rows { self.describe(&run.sql).await? } else { Vec::new() };
        let is_explicit = self.is_in_transaction();
        if is_explicit {
            let made = self.engine.savepoint(STATEMENT).await;
            made.map_err(|error| self.failure(&error, false))?;
        }
        let key = run.table.clone().map(|table| ("public".to_owned(), table));
        let work =
            Work { sql: run.sql.clone(), params, access: run.access, target: key, command: run.command };
        let is_delete = run.command == "DELETE";
        if !run.returns_rows {
            return match self.engine.execute(work).await {
                Ok(changed) => {
                    self.finish(is_explicit).await?;
                    let counts_found = self.counts_found;
                    Ok(with(&self.state, |state| {
                        // Of a row that was not inserted there is no number.
                        let done =
                            if changed == 0 { Done::default() } else { std::mem::take(&mut state.done) };
                        let affected_rows = done.affected(changed, counts_found);
                        state.row_count = affected_rows as i64;
                        state.last_insert_id = done.last_insert_id().unwrap_or(state.last_insert_id);
                        Answer::Done { affected_rows, last_insert_id: done.number().unwrap_or(0) as u64 }
                    }))
                }
                Err(error) => Err(self.undo(&error, is_explicit, is_delete).await),
            };
        }
        let first = match self.engine.start(work).await {
            Ok(()) => self.engine.next_batch().await,
            Err(error) => Err(error),
        };
        match first {
            Ok(Ok(first)) => Ok(Answer::Rows { columns: typed(described, &first, &run.hints), first }),
            Ok(Err(_)) => {
                self.finish(is_explicit).await?;
                self.engine.end_statement();
                Ok(Answer::Rows { columns: described, first: Batch::new() })
            }
            Err(error) => Err(self.undo(&error, is_explicit, false).await),
        }
    }

    /// More rows of the statement that runs; none at its end.
    pub(super) async fn next_rows(&mut self) -> Result<Batch> {
        let is_explicit = self.is_in_transaction();
        match self.engine.next_batch().await {
            Ok(Ok(batch)) => Ok(batch),
            Ok(Err(_)) => {
                self.finish(is_explicit).await?;
                self.engine.end_statement();
                Ok(Batch::new())
            }
            Err(error) => {
                let error = self.undo(&error, is_explicit, false).await;
                self.engine.end_statement();
                Err(error)
            }
        }
    }

    /// The statement is done well.
    async fn finish(&mut self, is_explicit: bool) -> Result<()> {
        if is_explicit {
            let released = self.engine.release(STATEMENT).await;
            // One that nothing was asked of after its end has none any more.
            return released.or(Ok(())).map_err(|error: SqlError| self.failure(&error, false));
        }
        self.commit().await
    }

    /// The statement failed: what it did is undone, what came before it stays.
    async fn undo(&mut self, error: &SqlError, is_explicit: bool, is_delete: bool) -> MyError {
        let mut failure = self.failure(error, is_delete);
        if failure.kind == ErrorKind::ER_LOCK_DEADLOCK || failure.is_fatal {
            self.engine.rollback().await;
        } else if is_explicit {
            match self.engine.rollback_to(STATEMENT).await {
                Ok(()) => drop(self.engine.release(STATEMENT).await),
                Err(_) => {
                    // The storage has undone the whole transaction: a client that goes on must not take it for open.
                    self.engine.rollback().await;
                    failure.is_fatal = true;
                }
            }
        } else {
            self.engine.rollback().await;
        }
        with(&self.state, |state| (state.row_count, state.done) = (-1, Done::default()));
        failure
    }

    /// Finds where AUTO_INCREMENT goes on, for a table that nobody has asked since the server began.
    async fn prepare_counter(&mut self, table: Option<&str>) -> Result<()> {
        let Some(table) = table.and_then(|table| self.tables.get(table)) else { return Ok(()) };
        let Some(column) = table.auto_column() else { return Ok(()) };
        let name = with(&self.state, |state| state.counter(&table.name));
        if self.counters.is_known(&name) {
            return Ok(());
        }
        let sql = format!("SELECT max({}) FROM {}", quote(&column.name), quote(&table.name));
        let least = table.next_auto;
        let found = self
            .engine
            .inspect(move |connection| connection.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)));
        let found = found.await.map_err(|error| self.failure(&error, false))?;
        self.counters.begin(&name, found.unwrap_or(0).saturating_add(1).max(least));
        Ok(())
    }

    /// Changes tables: outside of every transaction, as MySQL does, but for temporary ones.
    async fn change(&mut self, change: Change) -> Result<()> {
        let goes_on = change.is_temporary() && self.is_in_transaction();
        if !goes_on {
            self.commit().await?;
        }
        let gone: Vec<String> = match &change {
            Change::Nothing => return Ok(()),
            Change::Drop(names) => names.iter().map(|(name, _)| name.clone()).collect(),
            Change::Empty(name) => vec![name.clone()],
            Change::Create(table) => vec![table.name.clone()],
            Change::Rebuild { .. } => Vec::new(),
        };
        for name in &gone {
            self.counters.forget(&with(&self.state, |state| state.counter(name)));
        }
        let done =
            self.engine.change("ALTER", None, move |connection| apply(connection, &change).map(|()| None));
        if let Err(error) = done.await {
            let failure = self.failure(&error, false);
            self.engine.rollback().await;
            return Err(failure);
        }
        if goes_on { Ok(()) } else { self.commit().await }
    }
}

fn chrono_now_us() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a server reads its machine's clock, which the world has made"
    )]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}
