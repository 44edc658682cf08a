//! Every knob of a run, with its unit in its name.
//!
//! Owns [`Config`] and its defaults. Must not know where the values come from (see `sweep` for the
//! environment). Invariant: two runs with equal configurations are the same run.

use std::time::Duration;

/// Which ready task goes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Any, drawn from the schedule stream.
    #[default]
    Random,
    /// The one that has been ready for longest.
    Fifo,
}

/// The configuration of a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The seed that every stream begins from.
    pub seed: u64,
    /// Which ready task goes next.
    pub policy: Policy,
    /// The least virtual time that a poll takes.
    pub slice_min_ns: u64,
    /// The most virtual time that a poll takes.
    pub slice_max_ns: u64,
    /// How many polls a run may take in all.
    pub max_steps: u64,
    /// How many polls a run may take without any event: more is a livelock.
    pub max_steps_without_event: u64,
    /// How much virtual time a run may take.
    pub time_limit: Duration,
    /// How much real time one poll may take before the watchdog ends the process.
    pub poll_limit: Duration,
    /// How much real time a run may take before the watchdog ends the process.
    pub real_limit: Duration,
    /// Whether each decision is printed to standard error.
    pub log: bool,
    /// Whether programs may start processes of the machine, which makes the run one that cannot be repeated.
    pub real_processes: bool,
    /// How many processors a node has.
    pub cpus: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            seed: 0,
            policy: Policy::Random,
            slice_min_ns: 100,
            slice_max_ns: 1_000,
            max_steps: 1_000_000_000,
            max_steps_without_event: 10_000_000,
            time_limit: Duration::from_secs(500 * 365 * 24 * 3600),
            poll_limit: Duration::from_secs(10),
            real_limit: Duration::from_secs(600),
            log: false,
            real_processes: false,
            cpus: 4,
        }
    }
}
