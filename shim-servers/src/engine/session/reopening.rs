//! A session that begins again, under its number.
//!
//! Owns what is left of it: what its owner has set. Must not know a protocol. Invariant: what it held is free, and what it did not
//! commit undone, before it goes on.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::super::database::Database;
use super::super::error::Result;
use super::super::rows::Backend;
use super::super::shared::{Reason, Shared};
use super::super::temporary::Temporary;
use super::Session;

impl Session {
    /// Ends the transaction, the temporary tables and the locks that it has, and goes on in `database`.
    ///
    /// # Errors
    /// Those of opening SQLite's file; the session is of no use then.
    pub async fn reopen(&mut self, database: &Arc<Database>) -> Result<()> {
        self.rollback().await;
        if let Some(backend) = self.backend.take() {
            // A thread of the pool may wait for the disk; this one may not.
            let _ = spawn_blocking(move || drop(backend)).await;
        }
        let old = Arc::clone(&self.shared);
        old.database.channels.unregister(old.id);
        old.database.advisory.release(old.id, false);
        self.shared = Arc::new(Shared::new(old.id, old.secret, Arc::clone(database), &old.user));
        self.temporary = Temporary::default();
        self.notifications = database.channels.register(old.id);
        let connection = self.cluster.open_for(&self.shared).await?;
        self.backend = Some(Backend { connection, guard: None });
        self.cluster.backends.insert(&self.shared);
        if old.is_terminated() {
            self.shared.cancel(Reason::Terminate);
        }
        Ok(())
    }
}
