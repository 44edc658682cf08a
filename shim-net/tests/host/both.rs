//! The same calls on the operating system and in the simulation.
//!
//! Owns how each is run. Must not know what the calls are about. Invariant: on the system nothing waits, since
//! loopback is immediate there; in the simulation a little virtual time passes after each call, so that what is under
//! way arrives in both.

use std::time::Duration;

use shim_net as _;
use shim_runtime::config::Config;
use shim_runtime::run::{MainRuntime, run};
use shim_runtime::task::spawn_blocking;

use super::calls::{Call, Machine};

/// What comes of each call; `settle` lets what is under way arrive.
fn outcomes(number: u32, folder: &str, calls: &[Call], settle: fn()) -> Vec<String> {
    let mut machine = Machine::new(number, folder);
    let one = |call: &Call| {
        let outcome = machine.call(*call);
        settle();
        outcome
    };
    calls.iter().map(one).collect()
}

/// What the system says to each call.
pub(crate) fn on_the_system(number: u32, folder: &str, calls: &[Call]) -> Vec<String> {
    outcomes(number, folder, calls, || {})
}

/// What the simulation says to each call of each sequence, all in one world.
#[expect(clippy::disallowed_methods, reason = "a program that knows of no simulation")]
pub(crate) fn simulated(work: Vec<(u32, Vec<Call>)>, folder: &str) -> Vec<Vec<String>> {
    let folder = folder.to_owned();
    let settle = || std::thread::sleep(Duration::from_millis(3));
    let body = move || work.iter().map(|(number, calls)| outcomes(*number, &folder, calls, settle)).collect();
    let simulation = || {
        let config = Config { seed: 1, ..Config::default() };
        let (result, report, _) =
            run(config, MainRuntime::default(), || async move { spawn_blocking(body).await.unwrap() });
        result.unwrap_or_else(|_| panic!("{report}"))
    };
    std::thread::scope(|scope| scope.spawn(simulation).join().unwrap())
}

/// The first call that differs.
pub(crate) fn differs(calls: &[Call], real: &[String], simulated: &[String]) -> Option<usize> {
    (0..calls.len()).find(|place| real[*place] != simulated[*place])
}
