//! Statements that the server does itself: transactions, settings, definitions, LISTEN and others.
//!
//! Owns what each of them does and says. Must not know rows of tables. Invariant: a statement that is not here and cannot be planned is refused
//! by its name.

mod define;

use pgwire::messages::PgWireBackendMessage as Out;
use pgwire::messages::response::CommandComplete;
use sqlparser::ast::{
    CloseCursor, ContextModifier, DiscardObject, Reset, Set, SetSessionAuthorizationParam,
    SetSessionAuthorizationParamKind, Statement, TransactionAccessMode, TransactionIsolationLevel,
    TransactionMode,
};

use super::connection::{Connection, Handled};
use super::extended::{describe_rows, send_row};
use super::message::Messages;
use super::settings::isolation_name;
use crate::engine::{Condition, Isolation, Result, SqlError, SqlType, Status, Value};
use crate::sql::{Output, first_words, name_of, option_text};

/// Whether a statement can follow a failure: it ends the transaction, or goes back in it.
pub(crate) fn ends_transaction(statement: &Statement) -> bool {
    matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. })
}

/// The columns of a utility statement's rows.
pub(crate) fn columns(statement: &Statement) -> Vec<Output> {
    let column = |name: String| vec![Output { name, ty: SqlType::Text, origin: None }];
    match statement {
        Statement::ShowVariable { variable } => column(setting_name(variable)),
        Statement::Explain { .. } => column("QUERY PLAN".to_owned()),
        _ => Vec::new(),
    }
}

fn setting_name(variable: &[sqlparser::ast::Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|ident| ident.value.to_lowercase()).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["time", "zone"] => "timezone".to_owned(),
        _ => words.join("."),
    }
}

impl Connection {
    /// Does a utility statement; `formats` are those of its rows where a portal asked for it.
    pub(crate) async fn utility(
        &mut self,
        messages: &mut Messages,
        statement: &Statement,
        text: &str,
        formats: Option<&[i16]>,
    ) -> Handled {
        if !ends_transaction(statement) {
            self.session.check_not_failed()?;
        }
        self.session.begin_statement(text);
        self.delay().await?;
        let tag = self.command(messages, statement, text, formats).await?;
        self.session.end_statement();
        match tag {
            Some(tag) => Ok(messages.push(&Out::CommandComplete(CommandComplete::new(tag)))?),
            None => Ok(()),
        }
    }

    async fn command(
        &mut self,
        messages: &mut Messages,
        statement: &Statement,
        text: &str,
        formats: Option<&[i16]>,
    ) -> Handled<Option<String>> {
        let tag = match statement {
            Statement::StartTransaction { modes, begin, .. } => {
                let (isolation, read_only) = characteristics(modes);
                if !self.session.begin(isolation, read_only)? {
                    let notice = SqlError::new(
                        Condition::ActiveSqlTransaction,
                        "there is already a transaction in progress",
                    );
                    messages.push_notice("WARNING", &notice)?;
                }
                if *begin { "BEGIN" } else { "START TRANSACTION" }
            }
            Statement::Commit { chain: false, .. } => {
                if self.session.status() == Status::Idle {
                    warn_no_transaction(messages)?;
                }
                if self.commit(messages).await? { "COMMIT" } else { "ROLLBACK" }
            }
            Statement::Rollback { chain: false, savepoint: None } => {
                if self.session.status() == Status::Idle {
                    warn_no_transaction(messages)?;
                }
                self.roll_back(messages).await?;
                "ROLLBACK"
            }
            Statement::Rollback { savepoint: Some(name), .. } => {
                self.running = None;
                self.session.rollback_to(&name_of(name)).await?;
                "ROLLBACK"
            }
            Statement::Savepoint { name } => {
                self.session.savepoint(&name_of(name)).await?;
                "SAVEPOINT"
            }
            Statement::ReleaseSavepoint { name } => {
                self.session.release(&name_of(name)).await?;
                "RELEASE"
            }
            other => return self.other_command(messages, other, text, formats).await,
        };
        Ok(Some(tag.to_owned()))
    }

    /// Commands that neither begin nor end anything.
    async fn other_command(
        &mut self,
        messages: &mut Messages,
        statement: &Statement,
        text: &str,
        formats: Option<&[i16]>,
    ) -> Handled<Option<String>> {
        let tag = match statement {
            Statement::Set(set) => {
                self.set(messages, set)?;
                "SET"
            }
            Statement::Reset(reset) => {
                let before = self.settings.clone();
                match &reset.reset {
                    Reset::ConfigurationParameter(name) => self.assign(&name.to_string(), None, false)?,
                    _ => self.settings.reset(),
                }
                self.settings_changed(messages, &before)?;
                "RESET"
            }
            Statement::ShowVariable { variable } => {
                self.show(messages, &setting_name(variable), statement, formats).await?;
                "SHOW"
            }
            Statement::LISTEN { channel } => {
                self.session.listen(Some(&name_of(channel)), true);
                "LISTEN"
            }
            Statement::UNLISTEN { channel } => {
                let all = channel.value == "*";
                self.session.listen((!all).then(|| name_of(channel)).as_deref(), false);
                "UNLISTEN"
            }
            Statement::NOTIFY { channel, payload } => {
                self.session.notify(&name_of(channel), payload.as_deref().unwrap_or_default());
                "NOTIFY"
            }
            Statement::Discard { object_type } => {
                self.discard(messages, object_type).await?;
                return Ok(Some(format!("DISCARD {object_type}")));
            }
            Statement::Deallocate { name, .. } => {
                if name.value.eq_ignore_ascii_case("all") && name.quote_style.is_none() {
                    self.statements.clear();
                    "DEALLOCATE ALL"
                } else {
                    let name = name_of(name);
                    if self.statements.remove(&name).is_none() {
                        let message = format!("prepared statement \"{name}\" does not exist");
                        return Err(SqlError::new(Condition::InvalidSqlStatementName, message).into());
                    }
                    "DEALLOCATE"
                }
            }
            Statement::Copy { .. } => {
                return self.copy(messages, statement, text).await.map(Some);
            }
            Statement::Close { cursor: CloseCursor::All } => "CLOSE CURSOR ALL",
            Statement::Analyze(_) => "ANALYZE",
            Statement::Vacuum(_) => "VACUUM",
            other => return Ok(Some(self.define(messages, other, text).await?)),
        };
        Ok(Some(tag.to_owned()))
    }

    fn set(&mut self, messages: &mut Messages, set: &Set) -> Handled {
        let before = self.settings.clone();
        match set {
            Set::SingleAssignment { scope, variable, values, .. } => {
                let local = matches!(scope, Some(ContextModifier::Local));
                let values: Vec<String> = values.iter().map(option_text).collect();
                let value = values.join(", ");
                let value = (!value.eq_ignore_ascii_case("default")).then_some(value);
                let name = variable.to_string().to_lowercase();
                if name == "transaction_isolation" {
                    let level = value.as_deref().and_then(super::settings::isolation);
                    self.session.characteristics(level, None)?;
                } else if name == "transaction_read_only" {
                    let read_only = value.as_deref().map(|value| ["on", "true", "1"].contains(&value));
                    self.session.characteristics(None, read_only)?;
                } else {
                    self.assign(&name, value.as_deref(), local)?;
                }
            }
            Set::SetTimeZone { local, value } => {
                self.assign("timezone", Some(&option_text(value)), *local)?
            }
            Set::SetNames { charset_name, .. } => {
                self.assign("client_encoding", Some(&charset_name.value), false)?;
            }
            Set::SetTransaction { modes, session: true, .. } => {
                let (isolation, read_only) = characteristics(modes);
                if let Some(isolation) = isolation {
                    self.assign("default_transaction_isolation", Some(isolation_name(isolation)), false)?;
                }
                if let Some(read_only) = read_only {
                    self.assign(
                        "default_transaction_read_only",
                        Some(if read_only { "on" } else { "off" }),
                        false,
                    )?;
                }
            }
            Set::SetTransaction { modes, snapshot: None, .. } => {
                if self.session.status() == Status::Idle {
                    let notice = SqlError::new(
                        Condition::NoActiveSqlTransaction,
                        "SET TRANSACTION can only be used in transaction blocks",
                    );
                    messages.push_notice("WARNING", &notice)?;
                } else {
                    let (isolation, read_only) = characteristics(modes);
                    self.session.characteristics(isolation, read_only)?;
                }
            }
            // Nobody has become somebody else.
            Set::SetRole { role_name: None, .. }
            | Set::SetSessionAuthorization(SetSessionAuthorizationParam {
                kind: SetSessionAuthorizationParamKind::Default,
                ..
            }) => {}
            Set::SetRole { .. } | Set::SetSessionAuthorization(_) => {
                return Err(SqlError::unsupported("SET ROLE and SET SESSION AUTHORIZATION").into());
            }
            other => return Err(SqlError::unsupported(format!("SET {other}")).into()),
        }
        self.settings_changed(messages, &before)
    }

    fn assign(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        let open = self.session.status() != Status::Idle;
        self.settings.assign(name, value, local, open)
    }

    async fn show(
        &mut self,
        messages: &mut Messages,
        name: &str,
        statement: &Statement,
        formats: Option<&[i16]>,
    ) -> Handled {
        let own = match name {
            "transaction_isolation" => Some(isolation_name(self.session.isolation()).to_owned()),
            "transaction_read_only" => {
                Some((if self.session.is_read_only() { "on" } else { "off" }).to_owned())
            }
            "max_connections" => Some(self.server.options.max_connections.to_string()),
            _ => self.settings.values().get(name).cloned(),
        };
        let value = own.ok_or_else(|| {
            SqlError::new(
                Condition::UndefinedObject,
                format!("unrecognized configuration parameter \"{name}\""),
            )
        })?;
        let columns = columns(statement);
        if formats.is_none() {
            describe_rows(messages, &columns, &[])?;
        }
        send_row(messages, &[Value::Text(value)], &columns, formats.unwrap_or_default()).await
    }

    async fn discard(&mut self, messages: &mut Messages, what: &DiscardObject) -> Handled {
        match what {
            DiscardObject::ALL => self.discard_all(messages).await,
            DiscardObject::TEMP => self.drop_temporary().await,
            DiscardObject::SEQUENCES => {
                self.forget_numbers();
                Ok(())
            }
            // Plans are made again where the catalog is another.
            DiscardObject::PLANS => Ok(()),
        }
    }

    fn forget_numbers(&mut self) {
        self.session.shared.with(|state| {
            state.last_numbers.clear();
            state.last_sequence = None;
        });
    }

    /// As if the client had just connected.
    async fn discard_all(&mut self, messages: &mut Messages) -> Handled {
        if self.session.status() != Status::Idle {
            let message = "DISCARD ALL cannot run inside a transaction block";
            return Err(SqlError::new(Condition::ActiveSqlTransaction, message).into());
        }
        self.statements.clear();
        self.portals.clear();
        let before = self.settings.clone();
        self.settings.reset();
        self.settings_changed(messages, &before)?;
        let shared = &self.session.shared;
        shared.database.channels.unlisten(shared.id, None);
        shared.database.advisory.release(shared.id, false);
        self.forget_numbers();
        self.drop_temporary().await
    }
}

fn warn_no_transaction(messages: &mut Messages) -> Handled {
    let notice = SqlError::new(Condition::NoActiveSqlTransaction, "there is no transaction in progress");
    Ok(messages.push_notice("WARNING", &notice)?)
}

/// The isolation, and whether it is read-only, of a transaction's modes.
fn characteristics(modes: &[TransactionMode]) -> (Option<Isolation>, Option<bool>) {
    let (mut isolation, mut read_only) = (None, None);
    for mode in modes {
        match mode {
            TransactionMode::AccessMode(access) => {
                read_only = Some(*access == TransactionAccessMode::ReadOnly)
            }
            TransactionMode::IsolationLevel(level) => {
                isolation = Some(match level {
                    TransactionIsolationLevel::RepeatableRead | TransactionIsolationLevel::Snapshot => {
                        Isolation::RepeatableRead
                    }
                    TransactionIsolationLevel::Serializable => Isolation::Serializable,
                    TransactionIsolationLevel::ReadCommitted | TransactionIsolationLevel::ReadUncommitted => {
                        Isolation::ReadCommitted
                    }
                });
            }
        }
    }
    (isolation, read_only)
}

/// What cannot be done within a transaction.
pub(super) fn needs_no_transaction(status: Status, statement: &Statement) -> Result<()> {
    if status == Status::Idle {
        return Ok(());
    }
    let message = format!("{} cannot run inside a transaction block", first_words(statement));
    Err(SqlError::new(Condition::ActiveSqlTransaction, message))
}
