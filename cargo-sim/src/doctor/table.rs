//! What is known about crates that go around tokio.
//!
//! Owns the facts, one row per crate. It must not look at a project. Invariant: rows are sorted by crate name, and each
//! says what happens in a simulation and what to do about it.

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Good to know; the simulation controls it, or it is harmless as commonly used.
    Note,
    /// The same seed may not give the same run, if the thing is used.
    Warning,
    /// That part of the program is not simulated.
    Serious,
}

/// One row: a crate that goes around the simulation.
pub(crate) struct Known {
    /// The package's name.
    pub(crate) name: &'static str,
    /// The features of which one must be on; empty: always.
    pub(crate) features: &'static [&'static str],
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What it means in a simulation.
    pub(crate) means: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
}

const fn known(
    name: &'static str,
    features: &'static [&'static str],
    severity: Severity,
    means: &'static str,
    advice: &'static str,
) -> Known {
    Known { name, features, severity, means, advice }
}

use Severity::{Note, Serious, Warning};

const OTHER_RUNTIME: &str =
    "it drives sockets and timers by a runtime of its own, on the machine's network and clock";
const USE_TOKIO: &str = "choose the tokio feature of the crate that brings it in";
const OWN_THREAD: &str = "it starts a thread, which the scheduler does not order";

/// All rows.
pub(crate) const TABLE: &[Known] = &[
    known(
        "actix-rt",
        &[],
        Warning,
        "each worker is a thread with a runtime of its own",
        "run one worker, or test the services without the server",
    ),
    known(
        "async-compat",
        &[],
        Warning,
        "outside a tokio context it starts a thread with a runtime of its own",
        "enter a tokio context before its futures are polled",
    ),
    known("async-global-executor", &[], Serious, OTHER_RUNTIME, USE_TOKIO),
    known("async-io", &[], Serious, OTHER_RUNTIME, USE_TOKIO),
    known("async-std", &[], Serious, OTHER_RUNTIME, USE_TOKIO),
    known(
        "aws-lc-rs",
        &[],
        Warning,
        "its random numbers come from CPU jitter and RDRAND, which no seed controls",
        "prefer the `ring` provider of rustls in simulation builds",
    ),
    known(
        "crossbeam-utils",
        &[],
        Note,
        "scoped threads, only where the program asks for them",
        "nothing, unless the program calls `crossbeam::scope`",
    ),
    known(
        "futures-timer",
        &[],
        Warning,
        "its first `Delay` starts a thread that waits on the machine's clock",
        "use `tokio::time`; with governor, avoid the `until_ready` family",
    ),
    known("glommio", &[], Serious, OTHER_RUNTIME, "test the parts that do not depend on it"),
    known(
        "governor",
        &[],
        Note,
        "its default clock (quanta) calibrates on the CPU's counter",
        "nothing for `check`; `until_ready` uses futures-timer",
    ),
    known(
        "lapin",
        &[],
        Serious,
        "every connection starts a thread that blocks on the runtime from outside",
        "put the broker's client behind a trait in simulation tests",
    ),
    known(
        "mio",
        &[],
        Serious,
        "it waits for the machine's sockets without tokio",
        "use `tokio::net`, or leave that part out of the simulation",
    ),
    known("monoio", &[], Serious, OTHER_RUNTIME, "test the parts that do not depend on it"),
    known("notify", &[], Warning, OWN_THREAD, "leave file watching out of simulation tests"),
    known("polling", &[], Serious, OTHER_RUNTIME, USE_TOKIO),
    known(
        "quanta",
        &[],
        Note,
        "it reads the CPU's counter; the upkeep thread only runs if it is asked for",
        "nothing, unless the program starts an `Upkeep`",
    ),
    known(
        "rayon-core",
        &[],
        Warning,
        "its pool is of threads, which the scheduler does not order",
        "set the pool to one thread, or keep parallel iterators out of the tests",
    ),
    known(
        "rdkafka",
        &[],
        Serious,
        "librdkafka has threads and sockets of its own",
        "use a client written in Rust, or put it behind a trait",
    ),
    known(
        "reqwest",
        &["blocking"],
        Warning,
        "`reqwest::blocking` starts a thread with a runtime of its own",
        "use the asynchronous client",
    ),
    known("smol", &[], Serious, OTHER_RUNTIME, USE_TOKIO),
    known("threadpool", &[], Warning, OWN_THREAD, "use `tokio::task::spawn_blocking`"),
    known(
        "tokio-uring",
        &[],
        Serious,
        "it submits to io_uring directly",
        "test the parts that do not depend on it",
    ),
    known(
        "tracing-appender",
        &[],
        Note,
        "`non_blocking()` starts a thread that writes the log",
        "log straight to a writer in simulation tests",
    ),
    known(
        "wasmtime",
        &[],
        Note,
        "parallel compilation uses a pool of threads",
        "turn parallel compilation off",
    ),
];

#[cfg(test)]
mod tests {
    use super::TABLE;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
