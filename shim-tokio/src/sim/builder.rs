//! Runs outside of `#[tokio::test]`: a world for a closure, on a thread of its own.
//!
//! Must not know seeds beyond the one. Invariant: the run's result is told, never printed.

use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use shim_fs::control::{self, Image};
use shim_runtime::config::{Config, Policy};
pub use shim_runtime::run::Failure;
use shim_runtime::run::{self, MainRuntime};

use super::link::{Link, LinkSettings};

/// Configures a run. What is not set comes from the `SIM_*` variables of the environment.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
    start_paused: bool,
    links: LinkSettings,
    image: Image,
    pass_through: Vec<PathBuf>,
    capture: Option<PathBuf>,
}

/// A run that ended well.
#[derive(Clone, Debug)]
pub struct Report<T> {
    /// What the main future gave.
    pub output: T,
    /// The seed.
    pub seed: u64,
    /// The hash over every decision: equal in every run of the seed.
    pub trace_hash: u64,
    /// How many tasks were polled.
    pub steps: u64,
    /// How much virtual time passed.
    pub elapsed: Duration,
    /// Why the run cannot be repeated exactly, one line each; empty where it can.
    pub not_deterministic: Vec<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Builder {
    /// What the environment says.
    ///
    /// # Panics
    /// Where a `SIM_*` variable cannot be understood.
    pub fn new() -> Builder {
        Builder {
            config: shim_runtime::sweep::config_from_environment(),
            start_paused: false,
            links: LinkSettings::default(),
            image: Image::default(),
            pass_through: Vec::new(),
            capture: None,
        }
    }

    /// The seed.
    pub fn seed(&mut self, seed: u64) -> &mut Self {
        self.config.seed = seed;
        self
    }

    /// Which ready task goes next.
    pub fn policy(&mut self, policy: Policy) -> &mut Self {
        self.config.policy = policy;
        self
    }

    /// How much virtual time the run may take.
    pub fn simulation_duration(&mut self, limit: Duration) -> &mut Self {
        self.config.time_limit = limit;
        self
    }

    /// How many polls the run may take.
    pub fn max_steps(&mut self, steps: u64) -> &mut Self {
        self.config.max_steps = steps;
        self
    }

    /// How many polls the run may take without any event, before it counts as a livelock.
    pub fn max_steps_without_event(&mut self, steps: u64) -> &mut Self {
        self.config.max_steps_without_event = steps;
        self
    }

    /// How much virtual time each poll costs, from `min_ns` to `max_ns` nanoseconds.
    pub fn poll_cost_ns(&mut self, min_ns: u64, max_ns: u64) -> &mut Self {
        (self.config.slice_min_ns, self.config.slice_max_ns) = (min_ns, max_ns.max(min_ns));
        self
    }

    /// Whether programs may start processes of the machine. A run that does cannot be repeated, and says so.
    pub fn real_processes(&mut self, allowed: bool) -> &mut Self {
        self.config.real_processes = allowed;
        self
    }

    /// Whether the clock stands still from the beginning.
    pub fn start_paused(&mut self, start_paused: bool) -> &mut Self {
        self.start_paused = start_paused;
        self
    }

    /// The least latency of links that have no rules of their own.
    pub fn min_message_latency(&mut self, latency: Duration) -> &mut Self {
        self.links.min_latency = Some(latency);
        self
    }

    /// The most latency of links that have no rules of their own.
    pub fn max_message_latency(&mut self, latency: Duration) -> &mut Self {
        self.links.max_latency = Some(latency);
        self
    }

    /// The probability (0 to 1) that a packet is lost, of links that have no rules of their own.
    pub fn fail_rate(&mut self, probability: f64) -> &mut Self {
        self.links.loss = Some(probability);
        self
    }

    /// What the files of nodes are laid over.
    pub fn disk_image(&mut self, image: Image) -> &mut Self {
        self.image = image;
        self
    }

    /// Lets the files below `path` be the machine's own, on every node.
    pub fn pass_through(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.pass_through.push(path.into());
        self
    }

    /// Writes every packet to the machine's file `path`, in the format that Wireshark reads (pcapng).
    pub fn capture(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.capture = Some(path.into());
        self
    }

    /// Runs `main`'s future on the node `test` of a new world, on a fresh thread, to its end.
    ///
    /// # Errors
    /// Where the run cannot go on (a deadlock, a livelock, a limit, a node's main function that failed), or
    /// the future panics; with the report.
    #[track_caller]
    pub fn run<F, Fut>(&self, main: F) -> Result<Report<Fut::Output>, Failure>
    where
        F: FnOnce() -> Fut + Send,
        Fut: Future,
        Fut::Output: Send,
    {
        let runtime = MainRuntime { start_paused: self.start_paused, ..MainRuntime::default() };
        let (links, image, paths) = (self.links.clone(), self.image, self.pass_through.clone());
        let capture = self.capture.clone();
        let (result, report, summary) = shim_runtime::sweep::on_fresh_thread(|| {
            let (result, report, summary) = run::run(self.config.clone(), runtime, || async move {
                links.apply(&mut Link::default_of_world());
                capture.iter().for_each(super::network::capture);
                control::set_default_image(image);
                paths.iter().for_each(|path| control::pass_through_by_default(path.as_os_str().as_bytes()));
                main().await
            });
            (result, report, summary)
        });
        match result {
            Ok(output) => Ok(Report {
                output,
                seed: summary.seed,
                trace_hash: summary.trace_hash,
                steps: summary.steps,
                elapsed: summary.elapsed,
                not_deterministic: summary.not_deterministic,
            }),
            Err(kind) => Err(Failure { kind, report, summary }),
        }
    }
}
