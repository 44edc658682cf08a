//! What `tokio::runtime` has under `tokio_unstable`: the settings of a builder, and the numbers of `RuntimeMetrics`.
//!
//! Must not pretend: a setting that cannot be simulated panics and names itself. Invariant: a number that is zero here
//! counts something that simulated workers never do (they share one queue, so nothing is stolen and nothing overflows).

use std::ops::Range;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use real::runtime::{HistogramConfiguration, HistogramScale, RngSeed, UnhandledPanic};

use super::task_hooks::TaskMeta;
use super::{Builder, RuntimeFlavor, RuntimeMetrics};

#[track_caller]
fn unsupported(item: &str) -> ! {
    panic!("simulation: unsupported: tokio::runtime::{item} (see SUPPORT.md)");
}

impl Builder {
    /// Called when a task is spawned.
    pub fn on_task_spawn<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.task_hooks.spawn = Some(Arc::new(f));
        self
    }

    /// Called before each poll of a task.
    pub fn on_before_task_poll<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.task_hooks.before_poll = Some(Arc::new(f));
        self
    }

    /// Called after each poll of a task.
    pub fn on_after_task_poll<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.task_hooks.after_poll = Some(Arc::new(f));
        self
    }

    /// Called when a task is over.
    pub fn on_task_terminate<F>(&mut self, f: F) -> &mut Self
    where
        F: Fn(&TaskMeta<'_>) + Send + Sync + 'static,
    {
        self.task_hooks.terminate = Some(Arc::new(f));
        self
    }

    /// What a panic of a task does to the runtime.
    ///
    /// # Panics
    /// Where a multi-threaded runtime is asked to end, as with tokio.
    #[track_caller]
    pub fn unhandled_panic(&mut self, behavior: UnhandledPanic) -> &mut Self {
        let ends = matches!(behavior, UnhandledPanic::ShutdownRuntime);
        assert!(
            !(ends && self.flavor == RuntimeFlavor::MultiThread),
            "UnhandledPanic::ShutdownRuntime is only supported in current thread runtime"
        );
        self.ends_on_panic = ends;
        self
    }

    /// Accepted: simulated workers have no slot of their own.
    pub fn disable_lifo_slot(&mut self) -> &mut Self {
        self
    }

    /// Accepted: every draw comes from the run's seed.
    pub fn rng_seed(&mut self, _seed: RngSeed) -> &mut Self {
        self
    }

    /// Accepted: timers are the world's.
    pub fn enable_alt_timer(&mut self) -> &mut Self {
        self
    }

    /// Accepted: events never wait for a worker here.
    pub fn enable_eager_driver_handoff(&mut self) -> &mut Self {
        self
    }

    /// Accepted: blocking closures wait in one queue.
    pub fn enable_sharded_blocking_queue(&mut self) -> &mut Self {
        self
    }

    /// Accepted: files are the simulation's.
    pub fn enable_io_uring(&mut self) -> &mut Self {
        self
    }

    /// # Panics
    /// Not simulated.
    #[track_caller]
    pub fn enable_metrics_poll_time_histogram(&mut self) -> &mut Self {
        unsupported("Builder::enable_metrics_poll_time_histogram")
    }

    /// # Panics
    /// Not simulated.
    #[deprecated(note = "use `enable_metrics_poll_time_histogram`")]
    #[track_caller]
    pub fn enable_metrics_poll_count_histogram(&mut self) -> &mut Self {
        unsupported("Builder::enable_metrics_poll_count_histogram")
    }

    /// Accepted: nothing is measured before `enable_metrics_poll_time_histogram`, which is refused.
    pub fn metrics_poll_time_histogram_configuration(
        &mut self,
        _configuration: HistogramConfiguration,
    ) -> &mut Self {
        self
    }

    /// Accepted, as [`Builder::metrics_poll_time_histogram_configuration`].
    #[deprecated(note = "use `metrics_poll_time_histogram_configuration`")]
    pub fn metrics_poll_count_histogram_scale(&mut self, _scale: HistogramScale) -> &mut Self {
        self
    }

    /// Accepted, as [`Builder::metrics_poll_time_histogram_configuration`].
    #[deprecated(note = "use `metrics_poll_time_histogram_configuration`")]
    pub fn metrics_poll_count_histogram_resolution(&mut self, _resolution: Duration) -> &mut Self {
        self
    }

    /// Accepted, as [`Builder::metrics_poll_time_histogram_configuration`].
    #[deprecated(note = "use `metrics_poll_time_histogram_configuration`")]
    pub fn metrics_poll_count_histogram_buckets(&mut self, _buckets: usize) -> &mut Self {
        self
    }
}

impl RuntimeMetrics {
    /// How many threads for blocking closures there are, busy or idle. Runtimes whose threads have the same name share
    /// the idle ones.
    pub fn num_blocking_threads(&self) -> usize {
        self.state(|state| state.blocking) + self.num_idle_blocking_threads()
    }

    /// How many of them have nothing to do.
    pub fn num_idle_blocking_threads(&self) -> usize {
        let name = self.state(|state| Some(state.thread_name()));
        let shared = &self.handle.shared;
        self.handle.inside(|| shared.with(|world| world.threads.count_idle(name.as_deref())))
    }

    /// How many blocking closures wait for a thread.
    pub fn blocking_queue_depth(&self) -> usize {
        self.state(super::RuntimeState::blocked)
    }

    /// How many of its tasks are alive.
    #[deprecated(note = "renamed to `num_alive_tasks`")]
    pub fn active_tasks_count(&self) -> usize {
        self.num_alive_tasks()
    }

    /// The thread that stood for the worker when it polled last.
    pub fn worker_thread_id(&self, worker: usize) -> Option<ThreadId> {
        self.worker(worker, |worker| worker.thread)
    }

    /// How many tasks are ready and wait for a worker.
    #[deprecated(note = "renamed to `global_queue_depth`")]
    pub fn injection_queue_depth(&self) -> usize {
        self.global_queue_depth()
    }

    /// Always zero: the workers share one queue.
    pub fn worker_local_queue_depth(&self, worker: usize) -> usize {
        self.worker(worker, |_| 0)
    }

    /// How many tasks were spawned.
    pub fn spawned_tasks_count(&self) -> u64 {
        self.state(|state| state.spawned)
    }

    /// How often a task was put into the shared queue.
    pub fn remote_schedule_count(&self) -> u64 {
        let polled: u64 = self.state(|state| state.workers.iter().map(|worker| worker.polls).sum());
        polled + self.global_queue_depth() as u64
    }

    /// How often a task had to yield because its budget was spent.
    pub fn budget_forced_yield_count(&self) -> u64 {
        self.state(|state| state.forced_yields)
    }

    /// Always zero: a simulated worker is unparked for a task.
    pub fn worker_noop_count(&self, worker: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// Always zero: the workers share one queue.
    pub fn worker_steal_count(&self, worker: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// Always zero: the workers share one queue.
    pub fn worker_steal_operations(&self, worker: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// How many polls the worker made.
    pub fn worker_poll_count(&self, worker: usize) -> u64 {
        self.worker(worker, |worker| worker.polls)
    }

    /// Always zero: the workers share one queue.
    pub fn worker_local_schedule_count(&self, worker: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// Always zero: the workers share one queue.
    pub fn worker_overflow_count(&self, worker: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// How long the worker's polls took in the mean, in virtual time.
    pub fn worker_mean_poll_time(&self, worker: usize) -> Duration {
        self.worker(worker, |worker| match u32::try_from(worker.polls) {
            Ok(0) => Duration::ZERO,
            polls => worker.busy / polls.unwrap_or(u32::MAX),
        })
    }

    /// Always false: see `Builder::enable_metrics_poll_time_histogram`.
    pub fn poll_time_histogram_enabled(&self) -> bool {
        false
    }

    /// Always false.
    #[deprecated(note = "renamed to `poll_time_histogram_enabled`")]
    pub fn poll_count_histogram_enabled(&self) -> bool {
        false
    }

    /// Always zero.
    pub fn poll_time_histogram_num_buckets(&self) -> usize {
        0
    }

    /// Always zero.
    #[deprecated(note = "renamed to `poll_time_histogram_num_buckets`")]
    pub fn poll_count_histogram_num_buckets(&self) -> usize {
        0
    }

    /// Always empty.
    pub fn poll_time_histogram_bucket_range(&self, _bucket: usize) -> Range<Duration> {
        Duration::ZERO..Duration::ZERO
    }

    /// Always empty.
    #[deprecated(note = "renamed to `poll_time_histogram_bucket_range`")]
    pub fn poll_count_histogram_bucket_range(&self, _bucket: usize) -> Range<Duration> {
        Duration::ZERO..Duration::ZERO
    }

    /// Always zero.
    pub fn poll_time_histogram_bucket_count(&self, worker: usize, _bucket: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// Always zero.
    #[deprecated(note = "renamed to `poll_time_histogram_bucket_count`")]
    pub fn poll_count_histogram_bucket_count(&self, worker: usize, _bucket: usize) -> u64 {
        self.worker(worker, |_| 0)
    }

    /// # Panics
    /// Not simulated.
    #[track_caller]
    pub fn io_driver_fd_registered_count(&self) -> u64 {
        unsupported("RuntimeMetrics::io_driver_fd_registered_count")
    }

    /// # Panics
    /// Not simulated.
    #[track_caller]
    pub fn io_driver_fd_deregistered_count(&self) -> u64 {
        unsupported("RuntimeMetrics::io_driver_fd_deregistered_count")
    }

    /// # Panics
    /// Not simulated.
    #[track_caller]
    pub fn io_driver_ready_count(&self) -> u64 {
        unsupported("RuntimeMetrics::io_driver_ready_count")
    }
}
