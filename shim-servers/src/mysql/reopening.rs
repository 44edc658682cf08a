//! A session's beginnings after its first: a reset, another user, another database; databases that come and go.
//!
//! Owns what outlives them. Must not know the wire. Invariant: after a reset nothing of what the client did before is left
//! but what was committed, and the connection's number is the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::{MyError, Result};
use super::functions::{self, SessionState, with};
use super::isolation::Characteristics;
use super::locks;
use super::numbers::ErrorKind;
use super::schema::Tables;
use super::session::Session;
use crate::engine::{Database, Isolation};

impl Session {
    /// What MySQL's sessions begin with, and PostgreSQL's do not.
    pub(super) fn set_defaults(&mut self) {
        self.engine.lock_timeout = Some(Duration::from_secs(50));
        self.engine.statement_timeout = None;
        self.engine.default_isolation = Isolation::ConsistentRead;
        self.engine.default_read_only = false;
        self.next = Characteristics::default();
    }

    /// Gives MySQL's functions to a connection of SQLite's that is new.
    pub(super) async fn register_functions(&mut self) -> Result<()> {
        let (state, counters) = (Arc::clone(&self.state), Arc::clone(&self.counters));
        let shared = Arc::clone(self.shared());
        let ready = self.engine.inspect(move |connection| {
            connection.pragma_update(None, "case_sensitive_like", false)?;
            functions::register(connection, &state, &counters)?;
            locks::register(connection, &shared)
        });
        ready.await.map_err(|error| MyError::of(&error, &self.database(), &Tables::new(), false))
    }

    /// Ends all that the session has, and goes on in `database`.
    async fn reopen(&mut self, database: &Arc<Database>) -> Result<()> {
        let reopened = self.engine.reopen(database).await;
        reopened.map_err(|error| MyError { is_fatal: true, ..self.failure(&error, false) })?;
        with(&self.state, |state| {
            state.database.clone_from(&database.name);
            state.temporary.clear();
        });
        (self.schema_version, self.tables) = ([-1; 2], Arc::default());
        self.register_functions().await
    }

    /// COM_RESET_CONNECTION: the session is as it was when it began.
    pub(super) async fn reset(&mut self, variables: BTreeMap<String, Option<String>>) -> Result<()> {
        let database = Arc::clone(&self.shared().database);
        self.reopen(&database).await?;
        self.variables = variables;
        self.set_defaults();
        with(&self.state, |state| {
            *state = SessionState {
                connection_id: state.connection_id,
                user: std::mem::take(&mut state.user),
                database: std::mem::take(&mut state.database),
                ..SessionState::default()
            };
        });
        Ok(())
    }

    /// USE: goes on in another database.
    pub(super) async fn use_database(&mut self, name: &str) -> Result<()> {
        if self.database() == name {
            return Ok(());
        }
        let Some(database) = self.cluster.database(name) else {
            return Err(MyError::new(ErrorKind::ER_BAD_DB_ERROR, format!("Unknown database '{name}'")));
        };
        if self.is_in_transaction() || with(&self.state, |state| !state.temporary.is_empty()) {
            let what = "USE of another database in a transaction, or with temporary tables";
            return Err(MyError::unsupported(what));
        }
        self.reopen(&database).await
    }

    /// CREATE DATABASE
    pub(super) async fn create_database(&mut self, name: &str, if_not_exists: bool) -> Result<()> {
        if self.cluster.database(name).is_none() {
            let made = self.cluster.create_database(name).await;
            made.map_err(|error| self.failure(&error, false))?;
        } else if !if_not_exists {
            let message = format!("Can't create database '{name}'; database exists");
            return Err(MyError::new(ErrorKind::ER_DB_CREATE_EXISTS, message));
        }
        Ok(())
    }

    /// DROP DATABASE
    pub(super) async fn drop_database(&mut self, name: &str, if_exists: bool) -> Result<()> {
        if self.cluster.database(name).is_some() {
            let gone = self.cluster.drop_database(name).await;
            gone.map_err(|error| self.failure(&error, false))?;
        } else if !if_exists {
            let message = format!("Can't drop database '{name}'; database doesn't exist");
            return Err(MyError::new(ErrorKind::ER_DB_DROP_EXISTS, message));
        }
        Ok(())
    }
}
