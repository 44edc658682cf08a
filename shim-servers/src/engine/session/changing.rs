//! Changes of the schema.
//!
//! Owns how a change and its catalog become one. Must not know definitions. Invariant: the catalog of a transaction is that of SQLite's schema in it.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::task::spawn_blocking;

use super::super::catalog::{Catalog, Key, OnCommit, quote};
use super::super::error::{Result, SqlError};
use super::super::schema::{self, Step};
use super::jobs::{run_change, with_deadline};
use super::{Access, Session, Work, lost};

impl Session {
    /// Runs `job` in a transaction that holds the write lock; what it returns as catalog is the transaction's from now on.
    ///
    /// # Errors
    /// What `job` fails with; the transaction has failed too.
    pub async fn change<F>(&mut self, command: &'static str, target: Option<Key>, job: F) -> Result<()>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<Option<Catalog>> + Send + 'static,
    {
        self.abandon().await;
        let prologue = self.enter(Access::Write, command, false).await?.unwrap_or_default();
        let mut backend = self.take_backend()?;
        let catalog = self.catalog();
        self.shared.with(|state| state.catalog = catalog);
        let job = spawn_blocking(move || {
            let result = run_change(&mut backend.connection, &prologue, job);
            (backend, result)
        });
        let (backend, result) =
            with_deadline(self.deadline, &self.shared, job).await.map_err(|error| lost(&error))?;
        let overdue = self.shared.take_overdue();
        match result {
            Ok(catalog) => {
                self.backend = Some(backend);
                self.transaction().changed = true;
                if let Some(reason) = overdue {
                    self.fail_here().await;
                    return Err(reason.error());
                }
                if let Some(catalog) = catalog {
                    self.transaction().changes.catalog = Some(Arc::new(catalog));
                }
                Ok(())
            }
            Err(error) => {
                let work = Work { target, command, ..Work::default() };
                Err(self.explain(backend, error, work).await)
            }
        }
    }

    /// Changes the schema: all steps, and the catalog that describes the result.
    ///
    /// # Errors
    /// As [`change`](Self::change), and what a step refuses.
    pub async fn alter(
        &mut self,
        command: &'static str,
        target: Option<Key>,
        steps: Vec<Step>,
        catalog: Catalog,
    ) -> Result<()> {
        self.change(command, target, move |connection| {
            schema::apply(connection, &steps)?;
            Ok(Some(catalog))
        })
        .await
    }

    /// Empties and drops the temporary tables that do not outlive the transaction.
    pub(super) async fn end_temporary(&mut self) -> Result<()> {
        let mut catalog = self.catalog().as_ref().clone();
        let ending: Vec<_> = catalog.ending().cloned().collect();
        if ending.is_empty() {
            return Ok(());
        }
        let mut steps = vec![Step::Sql("PRAGMA defer_foreign_keys = ON".to_owned())];
        for relation in ending {
            let table = quote(&relation.sqlite_name());
            steps.push(Step::Sql(format!("DELETE FROM {table}")));
            if relation.on_commit == OnCommit::Drop {
                steps.push(Step::Sql(format!("DROP TABLE {table}")));
                catalog.remove_relation(&relation.key());
            }
        }
        self.alter("COMMIT", None, steps, catalog).await
    }

    /// Lets `job` look at what the session sees; it must not change anything.
    ///
    /// # Errors
    /// What `job` fails with; the transaction goes on.
    pub async fn inspect<T, F>(&mut self, job: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.abandon().await;
        let backend = self.take_backend()?;
        let job = spawn_blocking(move || {
            let result = job(&backend.connection);
            (backend, result)
        });
        let (backend, result) = job.await.map_err(|error| lost(&error))?;
        self.backend = Some(backend);
        result.map_err(|error| match error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => SqlError::internal(message),
            rusqlite::Error::SqlInputError { msg, .. } => SqlError::internal(msg),
            other => SqlError::internal(other),
        })
    }
}
