//! One client's connection between its start-up and its end.
//!
//! Owns the loop over messages, and what prepared statements and portals there are. Must not know SQL. Invariant: every message of the extended
//! protocol after a failure is skipped until Sync, and Sync is always answered.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use pgwire::messages::response::{NotificationResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage as Out, PgWireFrontendMessage as In};

use super::extended::{Portal, Prepared};
use super::message::Messages;
use super::server::Server;
use super::settings::Settings;
use super::{VERSION, system};
use crate::engine::{Catalog, Condition, Notification, Reason, Result, Session, SqlError, Status};
use crate::sql::Surroundings;

/// A client's connection.
pub(crate) struct Connection {
    pub(crate) server: Arc<Server>,
    pub(crate) session: Session,
    pub(crate) settings: Settings,
    pub(crate) statements: BTreeMap<String, Arc<Prepared>>,
    pub(crate) portals: BTreeMap<String, Portal>,
    /// The portal whose statement runs.
    pub(crate) running: Option<String>,
    /// Whether messages are skipped until Sync.
    pub(crate) skipping: bool,
}

/// Why a connection ends, or a statement fails.
pub(crate) enum Failure {
    /// The client is told.
    Sql(SqlError),
    /// The client cannot be told any more.
    Socket(io::Error),
    /// The client is not told, as a test wants it.
    Silence,
}

impl From<SqlError> for Failure {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

/// The result of handling a message.
pub(crate) type Handled<T = ()> = std::result::Result<T, Failure>;

enum Event {
    Message(io::Result<Option<In>>),
    Notification(Option<Notification>),
    Impatient,
    Stopped,
}

impl Connection {
    pub(crate) fn new(server: Arc<Server>, mut session: Session, settings: Settings) -> Self {
        settings.apply(&mut session);
        Self {
            server,
            session,
            settings,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            running: None,
            skipping: false,
        }
    }

    /// Serves the client until it leaves, or has to.
    pub(crate) async fn run(mut self, mut messages: Messages) -> io::Result<()> {
        let ended = self.serve(&mut messages).await;
        self.session.close().await;
        match ended {
            Err(Failure::Sql(error)) => {
                messages.push_error(&error.fatal())?;
                messages.close().await
            }
            Err(Failure::Socket(error)) => Err(error),
            Ok(()) | Err(Failure::Silence) => Ok(()),
        }
    }

    async fn serve(&mut self, messages: &mut Messages) -> Handled {
        self.ready(messages).await?;
        loop {
            let idle = self.session.status() == Status::Idle && !messages.has_more();
            let shared = Arc::clone(&self.session.shared);
            let patience =
                self.session.idle_in_transaction_timeout.filter(|_| self.session.status() != Status::Idle);
            let event = tokio::select! {
                biased;
                () = shared.terminated() => Event::Stopped,
                message = messages.read() => Event::Message(message),
                notification = self.session.notification(), if idle => Event::Notification(notification),
                () = tokio::time::sleep(patience.unwrap_or_default()), if patience.is_some() => Event::Impatient,
            };
            match event {
                Event::Stopped => return Err(Reason::Terminate.error().into()),
                Event::Impatient => {
                    let message = "terminating connection due to idle-in-transaction timeout";
                    return Err(SqlError::new(Condition::IdleInTransactionSessionTimeout, message).into());
                }
                Event::Notification(Some(notification)) => {
                    push_notification(messages, notification)?;
                    messages.flush().await?;
                }
                Event::Notification(None) => return Err(SqlError::internal("no more notifications").into()),
                Event::Message(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(SqlError::new(Condition::ProtocolViolation, error.to_string()).into());
                }
                Event::Message(message) => match message? {
                    None | Some(In::Terminate(_)) => return Ok(()),
                    Some(message) => self.handle(messages, message).await?,
                },
            }
            if self.session.shared.is_terminated() {
                return Err(Reason::Terminate.error().into());
            }
        }
    }

    async fn handle(&mut self, messages: &mut Messages, message: In) -> Handled {
        match message {
            In::Query(query) => {
                self.skipping = false;
                self.simple_query(messages, &query.query).await?;
                self.ready(messages).await
            }
            In::Sync(_) => {
                self.skipping = false;
                if let Err(failure) = self.finish_implicit(messages).await {
                    self.report(messages, failure).await?;
                }
                self.ready(messages).await
            }
            In::Flush(_) => Ok(messages.flush().await?),
            // What is left of a COPY that failed.
            In::CopyData(_) | In::CopyDone(_) | In::CopyFail(_) => Ok(()),
            _ if self.skipping => Ok(()),
            message if message.is_extended_query() => {
                if let Err(failure) = self.extended(messages, message).await {
                    self.skipping = true;
                    self.report(messages, failure).await?;
                }
                Ok(())
            }
            other => {
                let message = format!("unexpected message: {other:?}");
                Err(SqlError::new(Condition::ProtocolViolation, message).into())
            }
        }
    }

    /// Tells the client of a failure of its statement; others end the connection.
    pub(crate) async fn report(&mut self, messages: &mut Messages, failure: Failure) -> Handled {
        let Failure::Sql(error) = failure else { return Err(failure) };
        self.session.end_statement();
        self.running = None;
        self.session.fail().await;
        if self.session.status() == Status::Idle {
            self.settings_ended(messages, false)?;
        }
        if error.fields.fatal {
            return Err(Failure::Sql(error));
        }
        Ok(messages.push_error(&error)?)
    }

    /// The end of a command: notifications, and whether a transaction is open.
    async fn ready(&mut self, messages: &mut Messages) -> Handled {
        if self.session.status() == Status::Idle {
            self.portals.clear();
            self.running = None;
            while let Some(notification) = self.session.pending_notification() {
                push_notification(messages, notification)?;
            }
        }
        let status = match self.session.status() {
            Status::Idle => TransactionStatus::Idle,
            Status::Open => TransactionStatus::Transaction,
            Status::Failed => TransactionStatus::Error,
        };
        messages.push(&Out::ReadyForQuery(ReadyForQuery::new(status)))?;
        Ok(messages.flush().await?)
    }

    /// Commits what statements outside of a transaction did.
    pub(crate) async fn finish_implicit(&mut self, messages: &mut Messages) -> Handled {
        if self.session.status() == Status::Idle {
            self.commit(messages).await?;
        }
        Ok(())
    }

    /// Commits; `false` where the transaction had failed.
    pub(crate) async fn commit(&mut self, messages: &mut Messages) -> Handled<bool> {
        let wrote = self.session.has_written();
        self.running = None;
        let committed = match self.session.commit().await {
            Ok(committed) => committed,
            Err(error) => {
                self.settings_ended(messages, false)?;
                return Err(error.into());
            }
        };
        self.settings_ended(messages, committed)?;
        if committed && wrote && self.server.control().takes_answer() {
            return Err(Failure::Silence);
        }
        Ok(committed)
    }

    pub(crate) async fn roll_back(&mut self, messages: &mut Messages) -> Handled {
        self.running = None;
        self.session.rollback().await;
        self.settings_ended(messages, false)
    }

    fn settings_ended(&mut self, messages: &mut Messages, committed: bool) -> Handled {
        let before = self.settings.clone();
        self.settings.ended(committed);
        self.settings_changed(messages, &before)
    }

    /// Obeys settings that changed, and tells the client of those that it is told of.
    pub(crate) fn settings_changed(&mut self, messages: &mut Messages, before: &Settings) -> Handled {
        if before.values() == self.settings.values() {
            return Ok(());
        }
        self.settings.apply(&mut self.session);
        for ((name, new), (_, old)) in self.settings.reported().into_iter().zip(before.reported()) {
            if new != old {
                let status = ParameterStatus::new(name.to_owned(), new.to_owned());
                messages.push(&Out::ParameterStatus(status))?;
            }
        }
        Ok(())
    }

    /// Settings that functions of the statement changed.
    pub(crate) fn take_new_settings(&mut self, messages: &mut Messages) -> Handled {
        let changes = self.session.shared.with(|state| std::mem::take(&mut state.new_settings));
        let before = self.settings.clone();
        for (name, value, local) in changes {
            self.settings.assign(&name, Some(&value), local, true)?;
        }
        self.settings_changed(messages, &before)
    }

    pub(crate) fn search_path(&self) -> Vec<String> {
        self.settings.search_path(&self.session.shared.user)
    }

    /// Waits as long as the test wants statements to take.
    pub(crate) async fn delay(&mut self) -> Result<()> {
        if let Some(delay) = self.server.control().statement_delay() {
            self.session.pause(delay).await?;
        }
        Ok(())
    }
}

/// What a planner looks names up in.
pub(crate) fn surroundings<'a>(
    catalog: &'a Catalog,
    search_path: &'a [String],
    text: &'a str,
) -> Surroundings<'a> {
    Surroundings { catalog, search_path, system: system::columns, version: VERSION, text }
}

fn push_notification(messages: &mut Messages, sent: Notification) -> io::Result<()> {
    messages.push(&Out::NotificationResponse(NotificationResponse::new(
        sent.sender,
        sent.channel,
        sent.payload,
    )))
}
