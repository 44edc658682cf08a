//! The test side: nodes, faults, links, clocks, and runs. The one name that is added to tokio's.
//!
//! A `#[tokio::test]` body runs on a node of its own, called `test`, in a world of its own. From there it
//! makes other nodes and does to them what happens to machines:
//!
//! ```ignore
//! tokio::sim::host("server", || async { serve("0.0.0.0:80").await });
//! tokio::sim::partition("test", "server");
//! tokio::sim::crash("server");
//! ```
//!
//! Must not be reachable from application code by tokio's own names. Invariant: each function acts on the
//! world that it is called in, and panics with tokio's text for a missing runtime outside of any.

#[doc(hidden)]
pub mod __private;
mod builder;
mod disk;
mod link;
mod network;
mod node;
#[cfg(feature = "process")]
mod program;
mod topology;

pub use builder::{Builder, Failure, Report};
pub use disk::{
    Disk, DiskOp, DiskStats, Image, Journal, PowerLoss, capture_stderr, capture_stdout, captured_stderr,
    captured_stdout, close_stdin, disk, feed_stdin,
};
pub use link::{Link, default_link, link, link_oneway};
pub use network::{
    NetworkStats, TcpEcn, addresses, capture, capture_secrets, heal, hold, lookup, network_stats, partition,
    partition_oneway, register_name, release, repair, repair_oneway, set_addresses, set_name, set_tcp_ecn,
};
pub use node::{
    NodeBuilder, NodeSet, bounce, client, crash, host, is_running, kill, node, pause, power_off, resume,
    set_wall_clock_offset, start,
};
#[cfg(feature = "process")]
pub use program::{Process, ProcessInput, ProcessOutput, program};
pub use shim_net::control::links;
pub use shim_runtime::config::Policy;
pub use topology::{
    Action, Dependence, FirewallConfig, FirewallRule, NatConfig, NatMapping, PortAssignment, Protocol,
    RouterBuilder, Subnet, SwitchBuilder, UnknownTcp, connect, connect_with, disconnect, nat_mappings,
    restart_router, router, router_addresses, set_default_route, set_firewall, set_router_addresses, switch,
    update_nat,
};

use std::time::Duration;

/// The virtual time since the run began.
pub fn elapsed() -> Duration {
    shim_runtime::time::now().since_start()
}

/// The seed of the run.
pub fn seed() -> u64 {
    shim_runtime::run::summary_so_far().seed
}

/// The hash over every decision so far: equal in every run of a seed.
pub fn trace_hash() -> u64 {
    shim_runtime::run::summary_so_far().trace_hash
}

/// How many tasks have been polled so far.
pub fn step() -> u64 {
    shim_runtime::run::summary_so_far().steps
}

/// A random number of the test's own stream: what a test draws for its scenario moves nothing else.
///
/// # Determinism
/// The same in every run of a seed.
pub fn random_u64() -> u64 {
    shim_runtime::run::draw_u64()
}

/// A random number in `range`, of the test's own stream.
///
/// # Panics
/// Where the range is empty.
pub fn random_in(range: std::ops::Range<u64>) -> u64 {
    assert!(!range.is_empty(), "simulation: an empty range");
    range.start + random_u64() % (range.end - range.start)
}

/// Adds a number of the test's own to the trace, so that two runs that differ in it have different hashes.
pub fn mark(value: u64) {
    shim_runtime::run::mark(value);
}

/// Whether the calling code runs inside a simulation.
pub fn is_running_in_simulation() -> bool {
    shim_runtime::in_simulation()
}
