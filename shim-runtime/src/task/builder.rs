//! Mirror of `tokio::task::Builder` (`tokio_unstable`): spawning with a name.
//!
//! Must not spawn in a way of its own. Invariant: as with tokio where nothing is traced, a name changes nothing.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;

use super::{JoinHandle, LocalSet, SpawnOn, spawn_blocking_on, spawn_local, spawn_on};
use crate::runtime::Handle;

/// Spawns tasks with a name.
#[derive(Default)]
pub struct Builder<'a> {
    name: Option<&'a str>,
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).finish()
    }
}

impl<'a> Builder<'a> {
    /// A builder with no name.
    pub fn new() -> Builder<'a> {
        Builder::default()
    }

    /// Names the task.
    pub fn name(&self, name: &'a str) -> Builder<'a> {
        Builder { name: Some(name) }
    }

    /// Spawns `future` on the current runtime.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn<Fut>(self, future: Fut) -> io::Result<JoinHandle<Fut::Output>>
    where
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        self.spawn_on(future, &Handle::current())
    }

    /// Spawns `future` on `handle`'s runtime.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_on<Fut>(self, future: Fut, handle: &Handle) -> io::Result<JoinHandle<Fut::Output>>
    where
        Fut: Future + Send + 'static,
        Fut::Output: Send + 'static,
    {
        let (node, runtime) = (handle.node, handle.runtime);
        let on = SpawnOn { node, runtime, location: Location::caller(), what: "named task" };
        Ok(handle.inside(|| spawn_on(&handle.shared, future, on)))
    }

    /// Spawns `future` on the current local set.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_local<Fut>(self, future: Fut) -> io::Result<JoinHandle<Fut::Output>>
    where
        Fut: Future + 'static,
        Fut::Output: 'static,
    {
        Ok(spawn_local(future))
    }

    /// Spawns `future` on `local_set`.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_local_on<Fut>(self, future: Fut, local_set: &LocalSet) -> io::Result<JoinHandle<Fut::Output>>
    where
        Fut: Future + 'static,
        Fut::Output: 'static,
    {
        Ok(local_set.spawn_local(future))
    }

    /// Runs `function` on a thread of its own.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_blocking<Function, Output>(self, function: Function) -> io::Result<JoinHandle<Output>>
    where
        Function: FnOnce() -> Output + Send + 'static,
        Output: Send + 'static,
    {
        self.spawn_blocking_on(function, &Handle::current())
    }

    /// Runs `function` on a thread of `handle`'s runtime.
    ///
    /// # Errors
    /// None.
    #[track_caller]
    pub fn spawn_blocking_on<Function, Output>(
        self,
        function: Function,
        handle: &Handle,
    ) -> io::Result<JoinHandle<Output>>
    where
        Function: FnOnce() -> Output + Send + 'static,
        Output: Send + 'static,
    {
        let (node, runtime) = (handle.node, handle.runtime);
        let on = SpawnOn { node, runtime, location: Location::caller(), what: "named blocking" };
        Ok(handle.inside(|| spawn_blocking_on(&handle.shared, function, on)))
    }
}
