//! Mirror of `tokio::runtime::Builder`.
//!
//! Owns the checks of arguments, with tokio's texts. Must not know the scheduler. Invariant: every setting
//! is accepted; those that speak of threads have no effect beyond what a program can ask back.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Hooks;
use super::local_runtime::{LocalOptions, LocalRuntime};
use super::runtime_object::{Runtime, RuntimeFlavor, RuntimeSettings};
use super::task_hooks::TaskHooks;

/// Builds a runtime: a group of tasks of the current node.
pub struct Builder {
    pub(super) flavor: RuntimeFlavor,
    worker_threads: Option<usize>,
    max_blocking_threads: usize,
    start_paused: bool,
    has_timers: bool,
    has_io: bool,
    name: Option<String>,
    thread_name: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    hooks: Hooks,
    pub(super) task_hooks: TaskHooks,
    pub(super) ends_on_panic: bool,
}

impl Builder {
    /// A runtime that a program sees as single-threaded.
    pub fn new_current_thread() -> Builder {
        Builder::new(RuntimeFlavor::CurrentThread)
    }

    /// A runtime that a program sees as multi-threaded; it is simulated on one thread.
    pub fn new_multi_thread() -> Builder {
        Builder::new(RuntimeFlavor::MultiThread)
    }

    fn new(flavor: RuntimeFlavor) -> Builder {
        Builder {
            flavor,
            worker_threads: None,
            max_blocking_threads: 512,
            start_paused: false,
            has_timers: false,
            has_io: false,
            name: None,
            thread_name: None,
            hooks: Hooks::default(),
            task_hooks: TaskHooks::default(),
            ends_on_panic: false,
        }
    }

    /// Enables sockets and timers.
    pub fn enable_all(&mut self) -> &mut Self {
        self.enable_io().enable_time()
    }

    /// Enables sockets.
    pub fn enable_io(&mut self) -> &mut Self {
        self.has_io = true;
        self
    }

    /// Enables timers.
    pub fn enable_time(&mut self) -> &mut Self {
        self.has_timers = true;
        self
    }

    /// How many workers the runtime says that it has.
    ///
    /// # Panics
    /// Where `val` is zero.
    #[track_caller]
    pub fn worker_threads(&mut self, val: usize) -> &mut Self {
        assert!(val > 0, "Worker threads cannot be set to 0");
        self.worker_threads = Some(val);
        self
    }

    /// How many blocking closures may run at one time.
    ///
    /// # Panics
    /// Where `val` is zero.
    #[track_caller]
    pub fn max_blocking_threads(&mut self, val: usize) -> &mut Self {
        assert!(val > 0, "Max blocking threads cannot be set to 0");
        self.max_blocking_threads = val;
        self
    }

    /// Names the threads: those of blocking closures, and the one that stands for the workers.
    pub fn thread_name(&mut self, val: impl Into<String>) -> &mut Self {
        let val: String = val.into();
        self.thread_name_fn(move || val.clone())
    }

    /// Names the runtime.
    ///
    /// # Panics
    /// Where the name is blank.
    #[track_caller]
    pub fn name(&mut self, val: impl Into<String>) -> &mut Self {
        let name: String = val.into();
        assert!(!name.trim().is_empty(), "runtime name shouldn't be empty");
        self.name = Some(name);
        self
    }

    /// Names the threads; `f` is called once for each runtime.
    pub fn thread_name_fn<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() -> String + Send + Sync + 'static,
    {
        self.thread_name = Some(Arc::new(f));
        self
    }

    /// The stack size of threads; accepted.
    pub fn thread_stack_size(&mut self, _val: usize) -> &mut Self {
        self
    }

    /// How long an idle blocking thread is kept; accepted.
    pub fn thread_keep_alive(&mut self, _duration: Duration) -> &mut Self {
        self
    }

    /// How often the global queue is looked at; accepted.
    ///
    /// # Panics
    /// Where `val` is zero.
    #[track_caller]
    pub fn global_queue_interval(&mut self, val: u32) -> &mut Self {
        assert!(val > 0, "global_queue_interval must be greater than 0");
        self
    }

    /// How often events are looked at; accepted.
    ///
    /// # Panics
    /// Where `val` is zero.
    #[track_caller]
    pub fn event_interval(&mut self, val: u32) -> &mut Self {
        assert!(val > 0, "event_interval must be greater than 0");
        self
    }

    /// How many events are taken at once; accepted.
    ///
    /// # Panics
    /// Where `capacity` is zero.
    #[track_caller]
    pub fn max_io_events_per_tick(&mut self, capacity: usize) -> &mut Self {
        assert!(capacity > 0, "max_io_events_per_tick must be non-zero");
        self
    }

    /// How many events are taken at once while tasks are ready; accepted.
    ///
    /// # Panics
    /// Where `capacity` is zero.
    #[track_caller]
    pub fn max_io_events_per_busy_tick(&mut self, capacity: usize) -> &mut Self {
        assert!(capacity > 0, "max_io_events_per_busy_tick must be non-zero");
        self
    }

    /// Whether the clock stands still from the beginning.
    pub fn start_paused(&mut self, start_paused: bool) -> &mut Self {
        self.start_paused = start_paused;
        self
    }

    /// Makes the runtime on the current node; outside a run, in a run of its own.
    ///
    /// # Errors
    /// None in a simulation.
    #[track_caller]
    pub fn build(&mut self) -> io::Result<Runtime> {
        assert!(
            !(self.start_paused && self.flavor == RuntimeFlavor::MultiThread),
            "`time::pause()` requires the `current_thread` Tokio runtime. This is the default Runtime used by \
             `#[tokio::test]."
        );
        let workers = match self.flavor {
            RuntimeFlavor::CurrentThread => 1,
            RuntimeFlavor::MultiThread => self.worker_threads.unwrap_or(0),
        };
        let settings = RuntimeSettings {
            flavor: self.flavor,
            workers,
            max_blocking: self.max_blocking_threads,
            start_paused: self.start_paused,
            has_timers: self.has_timers,
            has_io: self.has_io,
            name: self.name.clone(),
            thread_name: self.thread_name.as_ref().map(|name| Arc::from(name())),
            hooks: self.hooks.clone(),
            task_hooks: self.task_hooks.clone(),
            ends_on_panic: self.ends_on_panic,
        };
        Ok(Runtime::make(settings))
    }

    /// Makes a local runtime on the current node.
    ///
    /// # Errors
    /// None in a simulation.
    ///
    /// # Panics
    /// For a multi-threaded runtime.
    #[track_caller]
    pub fn build_local(&mut self, _options: LocalOptions) -> io::Result<LocalRuntime> {
        assert!(
            self.flavor == RuntimeFlavor::CurrentThread,
            "multi_thread is not supported for LocalRuntime"
        );
        self.build().map(LocalRuntime::around)
    }

    /// Called once for each worker that the runtime says that it has, when it is made.
    pub fn on_thread_start<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.hooks.start = Some(Arc::new(f));
        self
    }

    /// Called once for each worker that the runtime says that it has, when it ends.
    pub fn on_thread_stop<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.hooks.stop = Some(Arc::new(f));
        self
    }

    /// Called each time a worker is about to wait: nothing is ready.
    pub fn on_thread_park<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.hooks.park = Some(Arc::new(f));
        self
    }

    /// Called each time a worker has something to do again.
    pub fn on_thread_unpark<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.hooks.unpark = Some(Arc::new(f));
        self
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("worker_threads", &self.worker_threads)
            .field("max_blocking_threads", &self.max_blocking_threads)
            .finish_non_exhaustive()
    }
}
