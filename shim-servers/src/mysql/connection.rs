//! The wire: commands of a client to a session, and its answers back.
//!
//! Owns the forms of parameters and of result values. Must not know SQL. Invariant: each command has exactly one answer.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};
use opensrv_mysql::{
    AsyncMysqlShim, Column, ColumnFlags, ColumnType as Wire, ErrorKind, InitWriter, OkResponse, ParamParser,
    QueryResultWriter, StatementMetaWriter, StatusFlags, ToMysqlValue, ValueInner,
};
use tokio::io::AsyncWrite;
use tokio::sync::Mutex;

use super::error::MyError;
use super::functions::{State, with};
use super::session::{Answer, ResultColumn, Session};
use super::types::{Kind, rounded};
use super::{VERSION, password, temporal};
use crate::engine::Value;

/// A client's connection.
pub(super) struct Connection {
    /// The library wants to share what only one task uses.
    session: Mutex<Session>,
    state: State,
    pub(super) id: u32,
    pub(super) salt: [u8; 20],
    pub(super) users: BTreeMap<String, String>,
    statements: BTreeMap<u32, String>,
    next_statement: u32,
}

/// A value on its way out.
enum Shown {
    Null,
    Integer(i64),
    Float(f32),
    Double(f64),
    Bytes(Vec<u8>),
    Date(NaiveDate),
    Datetime(NaiveDateTime, String),
    Time(std::time::Duration, String),
}

impl ToMysqlValue for Shown {
    fn to_mysql_text<W: io::Write>(&self, w: &mut W) -> io::Result<()> {
        match self {
            Shown::Null => None::<u8>.to_mysql_text(w),
            Shown::Integer(number) => number.to_mysql_text(w),
            Shown::Float(number) => number.to_mysql_text(w),
            Shown::Double(number) => number.to_mysql_text(w),
            Shown::Bytes(bytes) => bytes.to_mysql_text(w),
            Shown::Date(day) => day.to_mysql_text(w),
            Shown::Datetime(_, text) | Shown::Time(_, text) => text.to_mysql_text(w),
        }
    }

    fn to_mysql_bin<W: io::Write>(&self, w: &mut W, column: &Column) -> io::Result<()> {
        match self {
            Shown::Null => Err(io::Error::other("NULL has no bytes")),
            Shown::Integer(number) => integer(*number, w, column),
            Shown::Float(number) => number.to_mysql_bin(w, column),
            Shown::Double(number) => number.to_mysql_bin(w, column),
            Shown::Bytes(bytes) => bytes.to_mysql_bin(w, column),
            Shown::Date(day) => day.to_mysql_bin(w, column),
            Shown::Datetime(at, _) => at.to_mysql_bin(w, column),
            Shown::Time(span, _) => span.to_mysql_bin(w, column),
        }
    }

    fn is_null(&self) -> bool {
        matches!(self, Shown::Null)
    }
}

/// The library takes only numbers that are no wider than their column.
fn integer<W: io::Write>(number: i64, w: &mut W, column: &Column) -> io::Result<()> {
    let is_unsigned = column.colflags.contains(ColumnFlags::UNSIGNED_FLAG);
    match (is_unsigned, column.coltype) {
        (true, Wire::MYSQL_TYPE_TINY) => (number as u8).to_mysql_bin(w, column),
        (true, Wire::MYSQL_TYPE_SHORT | Wire::MYSQL_TYPE_YEAR) => (number as u16).to_mysql_bin(w, column),
        (true, Wire::MYSQL_TYPE_LONG | Wire::MYSQL_TYPE_INT24) => (number as u32).to_mysql_bin(w, column),
        (true, _) => (number as u64).to_mysql_bin(w, column),
        (false, Wire::MYSQL_TYPE_TINY) => (number as i8).to_mysql_bin(w, column),
        (false, Wire::MYSQL_TYPE_SHORT) => (number as i16).to_mysql_bin(w, column),
        (false, Wire::MYSQL_TYPE_LONG | Wire::MYSQL_TYPE_INT24) => (number as i32).to_mysql_bin(w, column),
        (false, _) => number.to_mysql_bin(w, column),
    }
}

/// A stored value as its column shows it.
fn shown(value: Value, column: &ResultColumn) -> Shown {
    let text = |value: &Value| super::functions::text(value);
    if let (Kind::Decimal { scale, .. }, Value::Integer(_) | Value::Real(_)) = (&column.ty.kind, &value) {
        let text = text(&value);
        return Shown::Bytes(rounded(&text, *scale).unwrap_or(text).into_bytes());
    }
    match (&column.ty.kind, value) {
        (_, Value::Null) => Shown::Null,
        (Kind::Float, Value::Real(number)) => Shown::Float(number as f32),
        (Kind::Double, Value::Real(number)) => Shown::Double(number),
        (Kind::Double, Value::Integer(number)) => Shown::Double(number as f64),
        (Kind::Integer { .. } | Kind::Boolean | Kind::Year, Value::Integer(number)) => Shown::Integer(number),
        (Kind::Date, Value::Text(text)) => match temporal::parse_datetime(&text) {
            Some(at) => Shown::Date(at.date()),
            None => Shown::Null,
        },
        (Kind::Datetime { digits, .. }, Value::Text(text)) => match temporal::parse_datetime(&text) {
            Some(at) => Shown::Datetime(at, temporal::shown(&text, *digits)),
            None => Shown::Null,
        },
        (Kind::Time { digits }, Value::Text(text)) => match temporal::parse_time(&text) {
            Some(micros) => {
                let span = std::time::Duration::from_micros(micros.unsigned_abs());
                Shown::Time(span, temporal::time_text(micros, *digits))
            }
            None => Shown::Null,
        },
        (_, Value::Blob(bytes)) => Shown::Bytes(bytes),
        (_, value) => Shown::Bytes(text(&value).into_bytes()),
    }
}

/// A parameter as it is bound.
fn bound(value: ValueInner<'_>, wire: Wire) -> Value {
    let is_blob = matches!(
        wire,
        Wire::MYSQL_TYPE_BLOB
            | Wire::MYSQL_TYPE_TINY_BLOB
            | Wire::MYSQL_TYPE_MEDIUM_BLOB
            | Wire::MYSQL_TYPE_LONG_BLOB
    );
    match value {
        ValueInner::NULL => Value::Null,
        ValueInner::Bytes(bytes) if is_blob => Value::Blob(bytes.to_vec()),
        ValueInner::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(bytes.to_vec()),
        },
        ValueInner::Int(number) => Value::Integer(number),
        ValueInner::UInt(number) => match i64::try_from(number) {
            Ok(number) => Value::Integer(number),
            // Further than SQLite's integers: as text it is refused by the column that it is for.
            Err(_) => Value::Text(number.to_string()),
        },
        ValueInner::Double(number) => Value::Real(number),
        ValueInner::Date(bytes) | ValueInner::Datetime(bytes) => {
            temporal::from_binary(bytes).map_or(Value::Null, Value::Text)
        }
        ValueInner::Time(bytes) => temporal::time_from_binary(bytes).map_or(Value::Null, Value::Text),
    }
}

impl Connection {
    pub(super) fn new(
        session: Session,
        id: u32,
        salt: [u8; 20],
        users: BTreeMap<String, String>,
    ) -> Connection {
        let state = Arc::clone(&session.state);
        Connection {
            state,
            session: Mutex::new(session),
            id,
            salt,
            users,
            statements: BTreeMap::new(),
            next_statement: 1,
        }
    }

    fn session(&mut self) -> &mut Session {
        self.session.get_mut()
    }

    fn status(&mut self) -> StatusFlags {
        let session = self.session();
        let mut flags = StatusFlags::empty();
        flags.set(StatusFlags::SERVER_STATUS_IN_TRANS, session.is_in_transaction());
        flags.set(StatusFlags::SERVER_STATUS_AUTOCOMMIT, session.is_autocommit());
        flags
    }

    /// Answers with what a statement gave; where more statements follow, with a mark.
    async fn answer<'a, W: AsyncWrite + Send + Unpin + 'a>(
        &mut self,
        answer: Result<Answer, MyError>,
        results: QueryResultWriter<'a, W>,
        more_follow: bool,
    ) -> io::Result<Option<QueryResultWriter<'a, W>>> {
        match answer {
            Ok(Answer::Done { affected_rows, last_insert_id }) => {
                let mut status_flags = self.status();
                status_flags.set(StatusFlags::SERVER_MORE_RESULTS_EXISTS, more_follow);
                let ok = OkResponse { affected_rows, last_insert_id, status_flags, ..OkResponse::default() };
                results.complete_one(ok).await.map(Some)
            }
            Ok(Answer::Rows { columns, first }) => {
                self.send_rows(columns, first, results).await.map(|()| None)
            }
            Err(error) => {
                results.error(error.kind, error.message.as_bytes()).await?;
                if error.is_fatal { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(None) }
            }
        }
    }

    async fn send_rows<W: AsyncWrite + Send + Unpin>(
        &mut self,
        columns: Vec<ResultColumn>,
        first: crate::engine::Batch,
        results: QueryResultWriter<'_, W>,
    ) -> io::Result<()> {
        let wire: Vec<Column> = columns.iter().map(|column| column.wire.clone()).collect();
        // The writer borrows the columns for as long as the connection's buffers.
        let wire: &[Column] = &wire;
        let mut writer = results.start(wire).await?;
        let mut batch = first;
        loop {
            if batch.is_empty() {
                return writer.finish().await;
            }
            for row in batch {
                for (value, column) in row.into_iter().zip(&columns) {
                    writer.write_col(shown(value, column))?;
                }
                writer.end_row().await?;
            }
            batch = match self.session().next_rows().await {
                Ok(batch) => batch,
                Err(error) => {
                    let message: Vec<u8> = error.message.into_bytes();
                    return writer.finish_error(error.kind, &message).await;
                }
            };
        }
    }
}

#[async_trait]
impl<W: AsyncWrite + Send + Unpin> AsyncMysqlShim<W> for Connection {
    type Error = io::Error;

    fn version(&self) -> String {
        VERSION.to_owned()
    }

    fn connect_id(&self) -> u32 {
        self.id
    }

    fn salt(&self) -> [u8; 20] {
        self.salt
    }

    async fn authenticate(&self, _: &str, user: &[u8], salt: &[u8], answer: &[u8]) -> bool {
        let user = String::from_utf8_lossy(user);
        let is_right = self.users.get(user.as_ref()).is_some_and(|own| password::is_right(own, salt, answer));
        if is_right {
            with(&self.state, |state| state.user = user.into_owned());
        }
        is_right
    }

    async fn on_prepare<'a>(
        &'a mut self,
        query: &'a str,
        info: StatementMetaWriter<'a, W>,
    ) -> io::Result<()> {
        match self.session().prepare(query).await {
            Ok((parameters, columns)) => {
                let id = self.next_statement;
                self.next_statement += 1;
                self.statements.insert(id, query.to_owned());
                let parameter = super::types::ColumnType::of_value(&Value::Null).column("", "?", false);
                let parameters = vec![parameter; parameters];
                let columns: Vec<Column> = columns.into_iter().map(|column| column.wire).collect();
                info.reply(id, &parameters, &columns).await
            }
            Err(error) => info.error(error.kind, error.message.as_bytes()).await,
        }
    }

    async fn on_execute<'a>(
        &'a mut self,
        id: u32,
        params: ParamParser<'a>,
        results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let params: Vec<Value> =
            params.into_iter().map(|param| bound(param.value.into_inner(), param.coltype)).collect();
        let Some(text) = self.statements.get(&id).cloned() else {
            return results
                .error(ErrorKind::ER_UNKNOWN_STMT_HANDLER, b"Unknown prepared statement handler")
                .await;
        };
        let answer = self.session().execute(&text, params).await;
        match self.answer(answer, results, false).await? {
            Some(results) => results.no_more_results().await,
            None => Ok(()),
        }
    }

    async fn on_close<'a>(&'a mut self, id: u32)
    where
        W: 'async_trait,
    {
        self.statements.remove(&id);
    }

    async fn on_query<'a>(
        &'a mut self,
        query: &'a str,
        mut results: QueryResultWriter<'a, W>,
    ) -> io::Result<()> {
        let texts = match Session::split(query) {
            Ok(texts) => texts,
            Err(error) => return results.error(error.kind, error.message.as_bytes()).await,
        };
        let count = texts.len();
        for (at, text) in texts.iter().enumerate() {
            let more_follow = at + 1 < count;
            let mut answer = self.session().execute(text, Vec::new()).await;
            if more_follow && matches!(answer, Ok(Answer::Rows { .. })) {
                // The library cannot say after rows that more follows.
                answer = Err(MyError::unsupported("a query that is not the last of several statements"));
            }
            match self.answer(answer, results, more_follow).await? {
                Some(rest) => results = rest,
                None => return Ok(()),
            }
        }
        results.no_more_results().await
    }

    async fn on_init<'a>(&'a mut self, database: &'a str, writer: InitWriter<'a, W>) -> io::Result<()> {
        match self.session().use_database(database).await {
            Ok(()) => writer.ok().await,
            Err(error) => writer.error(error.kind, error.message.as_bytes()).await,
        }
    }
}
