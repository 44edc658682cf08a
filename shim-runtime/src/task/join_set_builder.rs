//! Mirror of `tokio::task::join_set::Builder` (`tokio_unstable`): spawning into a set, with a name.
//!
//! Must not spawn in a way of its own. Invariant: what is spawned belongs to the set.

use std::fmt;
use std::future::Future;
use std::io;

use super::{AbortHandle, Builder as TaskBuilder, JoinSet, LocalSet};
use crate::runtime::Handle;

/// Spawns tasks with a name into a set.
pub struct Builder<'a, T> {
    set: &'a mut JoinSet<T>,
    builder: TaskBuilder<'a>,
}

impl<T> fmt::Debug for Builder<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("join_set::Builder")
            .field("joinset", &self.set)
            .field("builder", &self.builder)
            .finish()
    }
}

impl<'a, T: 'static> Builder<'a, T> {
    pub(super) fn new(set: &'a mut JoinSet<T>) -> Builder<'a, T> {
        Builder { set, builder: TaskBuilder::new() }
    }

    /// Names the task.
    pub fn name(self, name: &'a str) -> Builder<'a, T> {
        let builder = self.builder.name(name);
        Builder { builder, ..self }
    }

    /// Spawns `future` on the current runtime.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.builder.spawn(future)?))
    }

    /// Spawns `future` on `handle`'s runtime.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_on<F>(self, future: F, handle: &Handle) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.builder.spawn_on(future, handle)?))
    }

    /// Runs `f` on a thread of its own.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_blocking<F>(self, f: F) -> io::Result<AbortHandle>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.builder.spawn_blocking(f)?))
    }

    /// Runs `f` on a thread of `handle`'s runtime.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_blocking_on<F>(self, f: F, handle: &Handle) -> io::Result<AbortHandle>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        Ok(self.set.insert(self.builder.spawn_blocking_on(f, handle)?))
    }

    /// Spawns `future` on the current local set.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + 'static,
    {
        Ok(self.set.insert(self.builder.spawn_local(future)?))
    }

    /// Spawns `future` on `local_set`.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_local_on<F>(self, future: F, local_set: &LocalSet) -> io::Result<AbortHandle>
    where
        F: Future<Output = T> + 'static,
    {
        Ok(self.set.insert(self.builder.spawn_local_on(future, local_set)?))
    }
}
