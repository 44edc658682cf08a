//! The extended protocol: prepared statements, portals, and running them.
//!
//! Owns plans between Parse and Execute, and rows that a portal was not asked for yet. Must not know utility statements. Invariant: a plan that was
//! made for another catalog is made again before it runs.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use pgwire::messages::data::{DataRow, FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, CloseComplete, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In};
use sqlparser::ast::Statement;

use super::connection::{Connection, Failure, Handled, surroundings};
use super::message::Messages;
use super::parsing::parse_text;
use super::wire;
use crate::engine::{Catalog, Condition, Result, SqlError, SqlType, Value, Work};
use crate::sql::oids::{type_modifier, type_of_oid, type_oid, type_size};
use crate::sql::{Output, Plan, Planner};

/// A statement that was parsed.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) text: String,
    /// Nothing where the text is empty.
    pub(crate) statement: Option<Statement>,
    given: Vec<SqlType>,
    /// How it runs, if it is not a utility statement, and for which catalog that was found out.
    plan: Option<(Arc<Plan>, Arc<Catalog>)>,
    /// The columns of a utility statement.
    columns: Vec<Output>,
    pub(crate) parameters: Vec<SqlType>,
}

/// A statement with its parameters, and how far its rows were fetched.
#[derive(Debug)]
pub(crate) struct Portal {
    prepared: Arc<Prepared>,
    parameters: Vec<Value>,
    formats: Vec<i16>,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    /// Rows that are here already; whether more can come; the rows that were sent.
    Started {
        rows: VecDeque<Vec<Value>>,
        changed: Option<u64>,
        sent: u64,
        plan: Arc<Plan>,
    },
    /// All of it was sent; asked again, a query has no more rows.
    Done(Arc<Plan>),
}

/// Whether a statement is planned, and not done by the server itself.
pub(crate) fn is_planned(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_)
    )
}

impl Connection {
    pub(crate) async fn extended(&mut self, messages: &mut Messages, message: In) -> Handled {
        match message {
            In::Parse(parse) => self.parse(messages, parse).await,
            In::Bind(bind) => self.bind(messages, bind),
            In::Describe(describe) => {
                let name = describe.name.unwrap_or_default();
                if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
                    let prepared = self.prepared(&name)?;
                    let types = prepared.parameters.iter().map(type_oid).collect();
                    messages.push(&Out::ParameterDescription(ParameterDescription::new(types)))?;
                    return describe_rows(messages, prepared.columns(), &[]);
                }
                let portal = self.portal(&name)?;
                describe_rows(messages, portal.prepared.columns(), &portal.formats)
            }
            In::Execute(execute) => self.execute(messages, &execute).await,
            In::Close(close) => {
                let name = close.name.unwrap_or_default();
                if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
                    self.statements.remove(&name);
                } else {
                    self.close_portal(&name).await;
                }
                Ok(messages.push(&Out::CloseComplete(CloseComplete::new()))?)
            }
            other => {
                let message = format!("unexpected message: {other:?}");
                Err(SqlError::new(Condition::ProtocolViolation, message).into())
            }
        }
    }

    async fn close_portal(&mut self, name: &str) {
        if self.running.as_deref() == Some(name) {
            self.session.abandon().await;
            self.running = None;
        }
        self.portals.remove(name);
    }

    async fn parse(&mut self, messages: &mut Messages, parse: Parse) -> Handled {
        let name = parse.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(Condition::DuplicatePreparedStatement, message).into());
        }
        let catalog = self.session.catalog();
        let mut given = Vec::new();
        for oid in parse.type_oids {
            given.push(match oid {
                0 | 705 => SqlType::Unknown,
                oid => type_of_oid(oid, &catalog).ok_or_else(|| {
                    SqlError::new(Condition::UndefinedObject, format!("type with OID {oid} does not exist"))
                })?,
            });
        }
        let prepared = self.prepare(parse.query, given)?;
        self.statements.insert(name, Arc::new(prepared));
        Ok(messages.push(&Out::ParseComplete(ParseComplete::new()))?)
    }

    /// Parses and plans one statement.
    pub(crate) fn prepare(&self, text: String, given: Vec<SqlType>) -> Result<Prepared> {
        let mut statements = parse_text(&text)?;
        if statements.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new(Condition::SyntaxError, message));
        }
        let statement = statements.pop();
        if !statement.as_ref().is_some_and(super::utility::ends_transaction) {
            self.session.check_not_failed()?;
        }
        let mut prepared =
            Prepared { text, statement, given, plan: None, columns: Vec::new(), parameters: Vec::new() };
        match &prepared.statement {
            Some(statement) if is_planned(statement) => {
                let (plan, catalog) = self.plan(statement, &prepared.text, &prepared.given)?;
                prepared.parameters.clone_from(&plan.parameters);
                prepared.plan = Some((Arc::new(plan), catalog));
            }
            Some(statement) => prepared.columns = super::utility::columns(statement),
            None => {}
        }
        Ok(prepared)
    }

    pub(crate) fn plan(
        &self,
        statement: &Statement,
        text: &str,
        given: &[SqlType],
    ) -> Result<(Plan, Arc<Catalog>)> {
        let (catalog, path) = (self.session.catalog(), self.search_path());
        let plan = Planner::new(surroundings(&catalog, &path, text), given).plan(statement)?;
        Ok((plan, catalog))
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let shown = if name.is_empty() {
                "unnamed prepared statement".to_owned()
            } else {
                format!("prepared statement \"{name}\"")
            };
            SqlError::new(Condition::InvalidSqlStatementName, format!("{shown} does not exist"))
        })
    }

    fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| {
            SqlError::new(Condition::InvalidCursorName, format!("portal \"{name}\" does not exist"))
        })
    }

    fn bind(&mut self, messages: &mut Messages, bind: Bind) -> Handled {
        let name = bind.statement_name.unwrap_or_default();
        let prepared = self.prepared(&name)?;
        if !prepared.statement.as_ref().is_some_and(super::utility::ends_transaction) {
            self.session.check_not_failed()?;
        }
        if bind.parameters.len() != prepared.parameters.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{name}\" requires {}",
                bind.parameters.len(),
                prepared.parameters.len()
            );
            return Err(SqlError::new(Condition::ProtocolViolation, message).into());
        }
        let catalog = self.session.catalog();
        let mut parameters = Vec::new();
        for (at, (data, ty)) in bind.parameters.iter().zip(&prepared.parameters).enumerate() {
            let binary = format_of(&bind.parameter_format_codes, at) == 1;
            parameters.push(wire::read(ty, data.as_ref(), binary, &catalog)?);
        }
        let portal =
            Portal { prepared, parameters, formats: bind.result_column_format_codes, state: State::New };
        let name = bind.portal_name.unwrap_or_default();
        if self.running.as_deref() == Some(name.as_str()) {
            self.running = None;
        }
        self.portals.insert(name, portal);
        Ok(messages.push(&Out::BindComplete(BindComplete::new()))?)
    }

    async fn execute(&mut self, messages: &mut Messages, execute: &Execute) -> Handled {
        let name = execute.name.clone().unwrap_or_default();
        let portal = self.portal(&name)?;
        let prepared = Arc::clone(&portal.prepared);
        let Some(statement) = &prepared.statement else {
            return Ok(messages.push(&Out::EmptyQueryResponse(EmptyQueryResponse::new()))?);
        };
        if !is_planned(statement) {
            let formats = portal.formats.clone();
            self.park_running().await?;
            return self.utility(messages, statement, &prepared.text, Some(&formats)).await;
        }
        if matches!(portal.state, State::New) {
            let parameters = portal.parameters.clone();
            let plan = self.current_plan(&prepared)?;
            self.start(&plan, parameters, &prepared.text).await?;
            self.running = Some(name.clone());
            if let Some(portal) = self.portals.get_mut(&name) {
                portal.state = State::Started { rows: VecDeque::new(), changed: None, sent: 0, plan };
            }
        } else {
            self.session.begin_statement(&prepared.text);
        }
        let limit = u64::try_from(execute.max_rows).ok().filter(|limit| *limit > 0);
        self.fetch(messages, &name, limit).await
    }

    /// The plan, made again if the catalog is another by now.
    fn current_plan(&self, prepared: &Prepared) -> Result<Arc<Plan>> {
        let (Some((plan, made_for)), Some(statement)) = (&prepared.plan, &prepared.statement) else {
            return Err(SqlError::internal("a statement without a plan"));
        };
        if Arc::ptr_eq(made_for, &self.session.catalog()) {
            return Ok(Arc::clone(plan));
        }
        let (again, _) = self.plan(statement, &prepared.text, &prepared.parameters)?;
        let types = |plan: &Plan| plan.columns.iter().map(|column| column.ty.base()).collect::<Vec<_>>();
        if types(&again) != types(plan) {
            let message = "cached plan must not change result type";
            return Err(SqlError::new(Condition::FeatureNotSupported, message));
        }
        Ok(Arc::new(again))
    }

    /// Starts a planned statement.
    pub(crate) async fn start(&mut self, plan: &Plan, params: Vec<Value>, text: &str) -> Handled {
        self.session.check_not_failed()?;
        self.park_running().await?;
        self.session.begin_statement(text);
        self.delay().await?;
        let work = Work {
            sql: plan.sql.clone(),
            params,
            access: plan.access,
            target: plan.target.clone(),
            command: plan.command,
        };
        Ok(self.session.start(work).await?)
    }

    /// Takes the rows that the running portal has left, so that another statement can run.
    pub(crate) async fn park_running(&mut self) -> Handled {
        let Some(name) = self.running.take() else { return Ok(()) };
        loop {
            let next = self.session.next_batch().await?;
            let Some(Portal { state: State::Started { rows, changed, .. }, .. }) =
                self.portals.get_mut(&name)
            else {
                return Ok(());
            };
            match next {
                Ok(batch) => rows.extend(batch),
                Err(count) => {
                    *changed = Some(count);
                    return Ok(());
                }
            }
        }
    }

    /// Sends rows of a portal, up to a limit.
    async fn fetch(&mut self, messages: &mut Messages, name: &str, limit: Option<u64>) -> Handled {
        let mut left = limit;
        loop {
            let Some(portal) = self.portals.get_mut(name) else {
                return Err(SqlError::internal("no portal").into());
            };
            if let State::Done(plan) = &portal.state
                && !plan.columns.is_empty()
            {
                let plan = Arc::clone(plan);
                return self.complete(messages, &plan, 0);
            }
            let State::Started { rows, changed, sent, plan } = &mut portal.state else {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(SqlError::new(Condition::ObjectNotInPrerequisiteState, message).into());
            };
            let plan = Arc::clone(plan);
            while let Some(row) = rows.pop_front() {
                if !plan.columns.is_empty() {
                    send_row(messages, &row, &plan.columns, &portal.formats).await?;
                }
                *sent += 1;
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    self.session.end_statement();
                    return Ok(messages.push(&Out::PortalSuspended(PortalSuspended::new()))?);
                }
            }
            if let Some(changed) = *changed {
                let count =
                    if plan.command == "SELECT" || !plan.columns.is_empty() { *sent } else { changed };
                portal.state = State::Done(Arc::clone(&plan));
                return self.complete(messages, &plan, count);
            }
            match self.next_batch().await? {
                Ok(batch) => rows_of(&mut self.portals, name).extend(batch),
                Err(count) => {
                    self.running = None;
                    if let Some(Portal { state: State::Started { changed, .. }, .. }) =
                        self.portals.get_mut(name)
                    {
                        *changed = Some(count);
                    }
                }
            }
        }
    }

    async fn next_batch(&mut self) -> Handled<std::result::Result<Vec<Vec<Value>>, u64>> {
        Ok(self.session.next_batch().await?)
    }

    /// A planned statement is done.
    pub(crate) fn complete(&mut self, messages: &mut Messages, plan: &Plan, count: u64) -> Handled {
        self.session.end_statement();
        self.take_new_settings(messages)?;
        let tag = if plan.command == "INSERT" {
            format!("INSERT 0 {count}")
        } else {
            format!("{} {count}", plan.command)
        };
        Ok(messages.push(&Out::CommandComplete(CommandComplete::new(tag)))?)
    }
}

fn rows_of<'a>(
    portals: &'a mut std::collections::BTreeMap<String, Portal>,
    name: &str,
) -> &'a mut VecDeque<Vec<Value>> {
    match portals.get_mut(name) {
        Some(Portal { state: State::Started { rows, .. }, .. }) => rows,
        _ => unreachable!("invariant: the portal was started before its rows were fetched"),
    }
}

impl Prepared {
    /// The columns of its rows.
    pub(crate) fn columns(&self) -> &[Output] {
        self.plan.as_ref().map_or(&self.columns, |(plan, _)| &plan.columns)
    }
}

/// The format of a value: one for all, one for each, or text.
fn format_of(codes: &[i16], at: usize) -> i16 {
    match codes {
        [] => 0,
        [all] => *all,
        codes => codes.get(at).copied().unwrap_or(0),
    }
}

/// Tells the client what its rows look like.
pub(crate) fn describe_rows(messages: &mut Messages, columns: &[Output], formats: &[i16]) -> Handled {
    if columns.is_empty() {
        return Ok(messages.push(&Out::NoData(NoData::new()))?);
    }
    let fields = columns.iter().enumerate().map(|(at, column)| {
        let (table, number) = column.origin.unwrap_or((0, 0));
        let (ty, format) = (&column.ty, format_of(formats, at));
        let name = column.name.clone();
        FieldDescription::new(
            name,
            table as i32,
            number,
            type_oid(ty),
            type_size(ty),
            type_modifier(ty),
            format,
        )
    });
    Ok(messages.push(&Out::RowDescription(RowDescription::new(fields.collect())))?)
}

/// Sends one row.
pub(crate) async fn send_row(
    messages: &mut Messages,
    row: &[Value],
    columns: &[Output],
    formats: &[i16],
) -> Handled {
    let mut data = BytesMut::new();
    for (at, (value, column)) in row.iter().zip(columns).enumerate() {
        wire::write(&column.ty, value, format_of(formats, at) == 1, &mut data).map_err(Failure::Sql)?;
    }
    Ok(messages.send(Out::DataRow(DataRow::new(data, columns.len() as i16))).await?)
}
