//! A client's connection: its commands to a session, and the answers back.
//!
//! Owns the order of packets. Must not know SQL. Invariant: each command has exactly one answer, but for those that have none.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::packets::Column;
use mysql_common::proto::codec::error::PacketCodecError;

use super::error::{MyError, Result as MyResult};
use super::functions::with;
use super::numbers::ErrorKind;
use super::result::text_column;
use super::session::{Answer, ResultColumn, Session};
use super::wire::command::{Command, Prepared};
use super::wire::greeting::Login;
use super::wire::value::{binary_row, bound, text_row};
use super::wire::{Packets, answer};
use super::{password, variables};
use crate::engine::{Batch, Value};

/// A client's connection.
pub(super) struct Connection {
    pub(super) packets: Packets,
    pub(super) session: Session,
    /// What client and server have agreed on.
    pub(super) capabilities: CapabilityFlags,
    pub(super) salt: [u8; 20],
    pub(super) users: BTreeMap<String, String>,
    pub(super) client: IpAddr,
    pub(super) prepared: BTreeMap<u32, Prepared>,
    pub(super) last_statement: u32,
}

impl Connection {
    /// Serves the client, until one of both has enough.
    pub(super) async fn serve(mut self, login: Login) -> io::Result<()> {
        let mut goes_on = self.log_in(login).await?;
        while goes_on {
            let shared = Arc::clone(self.session.shared());
            goes_on = tokio::select! {
                went = self.command() => went?,
                () = shared.terminated() => false,
            };
        }
        Ok(())
    }

    /// Lets a client in, or tells it why not.
    async fn log_in(&mut self, mut login: Login) -> io::Result<bool> {
        login.switch_plugin(&mut self.packets, &self.salt).await?;
        let own = self.users.get(&login.user);
        if !own.is_some_and(|own| password::is_right(own, &self.salt, &login.proof)) {
            let with_password = if login.proof.is_empty() { "NO" } else { "YES" };
            let message = format!(
                "Access denied for user '{}'@'{}' (using password: {with_password})",
                login.user, self.client
            );
            self.fail(&MyError::new(ErrorKind::ER_ACCESS_DENIED_ERROR, message))?;
            self.packets.flush().await?;
            return Ok(false);
        }
        if let Some(database) = &login.database
            && let Err(error) = self.session.use_database(database).await
        {
            self.fail(&error)?;
            self.packets.flush().await?;
            return Ok(false);
        }
        with(&self.session.state, |state| state.user = login.user);
        self.done()?;
        self.packets.flush().await?;
        Ok(true)
    }

    /// Reads a command and answers it; `false` at the end.
    async fn command(&mut self) -> io::Result<bool> {
        self.packets.begin_command();
        let packet = match self.packets.read().await {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(false),
            Err(error) => return self.give_up(error).await,
        };
        match Command::of(&packet) {
            Command::Quit => return Ok(false),
            Command::Ping => self.done()?,
            Command::UseDatabase(name) => {
                let used = self.session.use_database(&String::from_utf8_lossy(name)).await;
                self.done_or(used)?;
            }
            Command::Query(text) => self.query(text).await?,
            Command::Prepare(text) => self.prepare(text).await?,
            Command::Execute { id, parameters } => self.execute(id, parameters).await?,
            // The next two have no answer.
            Command::LongData { id, parameter, data } => {
                if let Some(prepared) = self.prepared.get_mut(&id) {
                    prepared.add_long_data(parameter, data);
                }
            }
            Command::Close(id) => drop(self.prepared.remove(&id)),
            Command::ResetStatement(id) => {
                let known = self.prepared.get_mut(&id).map(Prepared::forget_long_data);
                self.done_or(known.ok_or_else(|| unknown_statement(id, "mysqld_stmt_reset")))?;
            }
            Command::ResetConnection => {
                self.prepared.clear();
                let reset = self.session.reset(variables()).await;
                self.done_or(reset)?;
            }
            Command::ChangeUser(message) => return self.change_user(message).await,
            Command::Unknown => {
                self.fail(&MyError::new(ErrorKind::ER_UNKNOWN_COM_ERROR, "Unknown command"))?;
            }
        }
        self.packets.flush().await?;
        Ok(true)
    }

    /// What was read is no packet.
    async fn give_up(&mut self, error: io::Error) -> io::Result<bool> {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<PacketCodecError>());
        if matches!(inner, Some(PacketCodecError::PacketTooLarge)) {
            let message = "Got a packet bigger than 'max_allowed_packet' bytes";
            self.fail(&MyError::new(ErrorKind::ER_NET_PACKET_TOO_LARGE, message))?;
            self.packets.flush().await?;
        }
        Err(error)
    }

    async fn change_user(&mut self, message: &[u8]) -> io::Result<bool> {
        let login = Login::of_change(message, self.capabilities)?;
        self.prepared.clear();
        if let Err(error) = self.session.reset(variables()).await {
            self.fail(&error)?;
            return Ok(false);
        }
        self.log_in(login).await
    }

    async fn query(&mut self, text: &[u8]) -> io::Result<()> {
        let texts = match utf8(text).and_then(Session::split) {
            Ok(texts) => texts,
            Err(error) => return self.fail(&error),
        };
        if let Some(second) = texts.get(1)
            && !self.capabilities.contains(CapabilityFlags::CLIENT_MULTI_STATEMENTS)
        {
            return self.fail(&MyError::syntax(second));
        }
        let count = texts.len();
        for (at, text) in texts.iter().enumerate() {
            let answer = self.session.execute(text, Vec::new()).await;
            if !self.answer(answer, at + 1 < count, text_row).await? {
                break;
            }
        }
        Ok(())
    }

    async fn prepare(&mut self, text: &[u8]) -> io::Result<()> {
        let described = match utf8(text) {
            Ok(text) => self.session.prepare(text).await.map(|described| (text, described)),
            Err(error) => Err(error),
        };
        let (text, (count, columns)) = match described {
            Ok(described) => described,
            Err(error) => return self.fail(&error),
        };
        self.last_statement += 1;
        self.prepared.insert(self.last_statement, Prepared::new(text, count));
        let parameters = vec![text_column("?").wire; count];
        let columns: Vec<Column> = columns.into_iter().map(|column| column.wire).collect();
        let (capabilities, status) = (self.capabilities, self.status());
        let packets =
            answer::prepared(self.last_statement, parameters.iter(), columns.iter(), capabilities, status);
        packets.iter().try_for_each(|packet| self.packets.write(packet))
    }

    async fn execute(&mut self, id: u32, parameters: &[u8]) -> io::Result<()> {
        let Some(prepared) = self.prepared.get_mut(&id) else {
            return self.fail(&unknown_statement(id, "mysqld_stmt_execute"));
        };
        let Some(values) = prepared.values(parameters) else {
            return self
                .fail(&MyError::new(ErrorKind::ER_MALFORMED_PACKET, "Malformed communication packet."));
        };
        let values = values.into_iter().map(|(value, wire)| bound(value, wire)).collect();
        let text = prepared.text.clone();
        let answer = self.session.execute(&text, values).await;
        self.answer(answer, false, binary_row).await.map(drop)
    }

    /// Answers with what a statement gave; `false` where it failed.
    async fn answer(
        &mut self,
        answer: MyResult<Answer>,
        more_follow: bool,
        encode: fn(Vec<Value>, &[ResultColumn]) -> Vec<u8>,
    ) -> io::Result<bool> {
        let answered = match answer {
            Ok(Answer::Done { affected_rows, last_insert_id }) => {
                let status = self.status_before(more_follow);
                return self
                    .packets
                    .write(&answer::done(affected_rows, last_insert_id, status))
                    .map(|()| true);
            }
            Ok(Answer::Rows { columns, first }) => {
                self.send_rows(&columns, first, more_follow, encode).await?
            }
            Err(error) => Err(error),
        };
        let Err(error) = answered else { return Ok(true) };
        self.fail(&error)?;
        if error.is_fatal {
            self.packets.flush().await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(false)
    }

    async fn send_rows(
        &mut self,
        columns: &[ResultColumn],
        first: Batch,
        more_follow: bool,
        encode: fn(Vec<Value>, &[ResultColumn]) -> Vec<u8>,
    ) -> io::Result<MyResult<()>> {
        let status = self.status_before(more_follow);
        let wire = columns.iter().map(|column| &column.wire);
        for packet in answer::columns(wire, self.capabilities, status) {
            self.packets.write(&packet)?;
        }
        let mut batch = first;
        while !batch.is_empty() {
            for row in batch {
                self.packets.write(&encode(row, columns))?;
                self.packets.send_pieces().await?;
            }
            batch = match self.session.next_rows().await {
                Ok(batch) => batch,
                Err(error) => return Ok(Err(error)),
            };
        }
        let status = self.status_before(more_follow);
        self.packets.write(&answer::end_of_rows(self.capabilities, status))?;
        Ok(Ok(()))
    }

    fn done(&mut self) -> io::Result<()> {
        let status = self.status();
        self.packets.write(&answer::done(0, 0, status))
    }

    fn done_or(&mut self, result: MyResult<()>) -> io::Result<()> {
        match result {
            Ok(()) => self.done(),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &MyError) -> io::Result<()> {
        self.packets.write(&answer::error(error))
    }

    fn status(&self) -> StatusFlags {
        let mut flags = StatusFlags::empty();
        flags.set(StatusFlags::SERVER_STATUS_IN_TRANS, self.session.is_in_transaction());
        flags.set(StatusFlags::SERVER_STATUS_AUTOCOMMIT, self.session.is_autocommit());
        flags
    }

    fn status_before(&self, more_follow: bool) -> StatusFlags {
        let mut flags = self.status();
        flags.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, more_follow);
        flags
    }
}

fn utf8(text: &[u8]) -> MyResult<&str> {
    std::str::from_utf8(text).map_err(|error| {
        let wrong: String =
            text[error.valid_up_to()..].iter().take(6).map(|byte| format!("\\x{byte:02X}")).collect();
        let message = format!("Invalid utf8mb4 character string: '{wrong}'");
        MyError::new(ErrorKind::ER_INVALID_CHARACTER_STRING, message)
    })
}

fn unknown_statement(id: u32, place: &str) -> MyError {
    let message = format!("Unknown prepared statement handler ({id}) given to {place}");
    MyError::new(ErrorKind::ER_UNKNOWN_STMT_HANDLER, message)
}
