//! Sweeps: one test, many seeds, each in a process of its own.
//!
//! A test function is called by its harness in the *parent* (`parent`), which starts *zygotes*: the same
//! binary, told to run just this test. In a zygote the same function arrives here again, and forks a child
//! for each seed (`zygote`); the child runs the body on a fresh thread and tells how it ended (`outcome`).
//!
//! Owns the roles. Must not know the engine's inside. Invariant: whatever ran before it in the process, a
//! seed's run begins from the same memory.

mod environment;
mod ledger;
mod outcome;
mod parent;
mod zygote;

use std::fmt::Debug;
use std::future::Future;
use std::panic::Location;
use std::process::{ExitCode, Termination};
use std::time::Duration;

pub use environment::{BadValue, seeds};

use crate::config::Config;
use crate::host::process;
use crate::run::{self, FailureKind, MainRuntime, Summary};
use outcome::Outcome;

/// The exit code of a process whose run could not go on and could not be told otherwise.
pub const EXIT_STALLED: i32 = 112;
/// The exit code of a process whose poll did not return.
pub const EXIT_STUCK: i32 = 113;

const STACK_BYTES: usize = 8 << 20;

/// How a test asks to be run.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestSettings {
    /// Workers of a multi-threaded runtime (0: as many as processors); `None` for a single-threaded one.
    pub workers: Option<usize>,
    /// Whether the clock stands still from the beginning.
    pub start_paused: bool,
    /// Whether the body runs in a local set.
    pub local: bool,
    /// Whether the harness expects a panic.
    pub should_panic: bool,
    /// Whether a panic of a task shuts the runtime down (`unhandled_panic`, unstable in tokio).
    pub shuts_down_on_panic: bool,
    /// The name of the runtime.
    pub name: Option<&'static str>,
}

/// The configuration that the environment asks for.
///
/// # Panics
/// Where a variable cannot be understood.
pub fn config_from_environment() -> Config {
    match environment::config() {
        Ok(config) => config,
        Err(error) => panic!("simulation: {error}"),
    }
}

/// What `#[tokio::test]` expands to: runs `body` once for each seed.
///
/// # Panics
/// Where a seed fails; with its report and the line that repeats it.
#[track_caller]
pub fn test<F, Fut>(settings: TestSettings, path: &'static str, body: F)
where
    F: FnOnce() -> Fut + Send,
    Fut: Future,
    Fut::Output: Termination,
{
    let location = Location::caller();
    if std::env::var_os(zygote::VARIABLE).is_some() {
        let seeded = zygote::serve();
        let outcome = run_seed(&settings, seeded.seed, location, body);
        seeded.finish(outcome);
    }
    if std::env::var("SIM_IN_PROCESS").is_ok_and(|text| text == "1") {
        let outcome = run_seed(&settings, config_from_environment().seed, location, body);
        if !outcome.ok {
            panic!("{}", outcome.report.or(outcome.message).unwrap_or_default());
        }
        return;
    }
    parent::run(&settings, &test_name(path));
}

/// The name by which libtest knows the test: its path without the crate, or what the thread is called.
fn test_name(path: &'static str) -> String {
    let own = path.split_once("::").map_or(path, |(_, rest)| rest);
    match std::thread::current().name() {
        Some(name) if name != "main" && name.ends_with(own.rsplit("::").next().unwrap_or(own)) => {
            name.to_owned()
        }
        _ => own.to_owned(),
    }
}

/// Runs one seed of a test on a fresh thread of this process.
fn run_seed<F, Fut>(
    settings: &TestSettings,
    seed: u64,
    location: &'static Location<'static>,
    body: F,
) -> Outcome
where
    F: FnOnce() -> Fut + Send,
    Fut: Future,
    Fut::Output: Termination,
{
    let config = Config { seed, ..config_from_environment() };
    let TestSettings { workers, start_paused, name, shuts_down_on_panic: ends_on_panic, .. } = *settings;
    let runtime = MainRuntime { location, workers, start_paused, name, ends_on_panic };
    let local = settings.local;
    on_fresh_thread(move || {
        let (result, report, summary) = run::run(config, runtime, || async move {
            let result =
                if local { crate::task::LocalSet::new().run_until(body()).await } else { body().await };
            code_is_success(result.report())
        });
        outcome_of(result, report, summary)
    })
}

/// Runs `f` on a thread that nothing ran on before.
pub fn on_fresh_thread<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("test".to_owned()).stack_size(STACK_BYTES);
        let handle = builder.spawn_scoped(scope, f).expect("failed to start the thread of a run");
        match handle.join() {
            Ok(result) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

/// `ExitCode` cannot be compared, but shown.
fn code_is_success(code: ExitCode) -> bool {
    let shown = |code: &dyn Debug| format!("{code:?}");
    shown(&code) == shown(&ExitCode::SUCCESS)
}

fn outcome_of(result: Result<bool, FailureKind>, report: String, summary: Summary) -> Outcome {
    let mut outcome = Outcome {
        ok: matches!(result, Ok(true)),
        trace_hash: summary.trace_hash,
        steps: summary.steps,
        virtual_ns: summary.elapsed.as_nanos() as u64,
        real: Duration::ZERO,
        message: None,
        report: None,
        not_deterministic: summary.not_deterministic,
    };
    if !process::addresses_are_fixed() {
        outcome.not_deterministic.push("the kernel does not let the process fix its addresses".to_owned());
    }
    match result {
        Ok(true) => {}
        Ok(false) => {
            outcome.message = Some(
                "the test returned a termination value that is not a success; its error was printed"
                    .to_owned(),
            );
        }
        Err(FailureKind::Panicked(_)) => outcome.message = Some(report),
        Err(FailureKind::Stalled(stall)) => {
            outcome.message = Some(format!("simulation: {}", stall.headline()));
            outcome.report = Some(report);
        }
    }
    outcome
}
