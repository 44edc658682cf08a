//! The side that asks: starts zygotes, hands out seeds, gathers outcomes, tells the harness.
//!
//! Owns the reporting of a test's seeds. Must not run a seed itself. Invariant: outcomes are told in the
//! order of the seeds, however many run at a time.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;

use super::ledger::Ledger;
use super::outcome::Outcome;
use super::zygote::{self, CONTROL_FD, TAG_EXIT, TAG_OUTCOME, TAG_READY};
use super::{EXIT_STUCK, TestSettings};
use crate::host::process;

/// Variables that say how the parent was called, and would make its children differ.
const OWN_VARIABLES: &[&str] = &[
    "SIM_SEED",
    "SIM_SEEDS",
    "SIM_JOBS",
    "SIM_KEEP_GOING",
    "SIM_TWICE",
    "SIM_REPORT_DIR",
    "RUST_TEST_THREADS",
    "RUST_TEST_NOCAPTURE",
    "NEXTEST",
    "NEXTEST_RUN_ID",
    "NEXTEST_EXECUTION_MODE",
];

struct Zygote {
    process: Child,
    control: UnixStream,
    output: File,
}

impl Zygote {
    fn start(test: &str) -> io::Result<Zygote> {
        let (control, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let output = process::memory_file()?;
        let mut command = Command::new(env::current_exe()?);
        command.args([test, "--exact", "--nocapture", "--test-threads=1", "--include-ignored"]);
        OWN_VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env(zygote::VARIABLE, "1");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        process::prepare(&mut command, &theirs, CONTROL_FD);
        let mut zygote = Zygote { process: command.spawn()?, control, output };
        drop((command, theirs));
        let mut tag = [0];
        let ready = zygote.control.read_exact(&mut tag);
        let printed = zygote.take_output()?;
        if ready.is_err() || tag[0] != TAG_READY {
            return Err(io::Error::other(format!(
                "it did not begin to run the test, but printed:\n{printed}"
            )));
        }
        Ok(zygote)
    }

    /// Runs one seed; its outcome and what it printed.
    fn run(&mut self, seed: u64) -> io::Result<(Outcome, String)> {
        self.control.write_all(&seed.to_le_bytes())?;
        let mut outcome = None;
        loop {
            let mut tag = [0];
            self.control.read_exact(&mut tag)?;
            match tag[0] {
                TAG_OUTCOME => outcome = Outcome::read_from(&mut self.control).ok(),
                TAG_EXIT => break,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        let mut status = [0; 4];
        self.control.read_exact(&mut status)?;
        let printed = self.take_output()?;
        let status = ExitStatus::from_raw(i32::from_le_bytes(status));
        Ok((outcome.unwrap_or_else(|| died(status, &printed)), printed))
    }

    fn take_output(&mut self) -> io::Result<String> {
        self.output.rewind()?;
        let mut bytes = Vec::new();
        self.output.read_to_end(&mut bytes)?;
        self.output.set_len(0)?;
        self.output.rewind()?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

/// A child that could not tell how it ended: a signal, an `exit`, or the watchdog.
fn died(status: ExitStatus, printed: &str) -> Outcome {
    let message = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the process of the run was killed by signal {signal}"),
        (None, Some(EXIT_STUCK)) => {
            let line = printed.lines().rev().find_map(|line| line.strip_prefix("simulation: "));
            format!("simulation: {}", line.unwrap_or("a poll did not return"))
        }
        (None, code) => format!("the process of the run exited with code {}", code.unwrap_or(-1)),
    };
    let report = printed.rfind("simulation:").map(|at| printed[at..].to_owned());
    Outcome { ok: false, message: Some(message), report, ..Outcome::default() }
}

/// Runs `test` for every seed that the environment asks for.
///
/// # Panics
/// With the first failure, its report and the line that repeats it; for a test that should panic, with the
/// panic's message, so that the harness can compare it.
pub(crate) fn run(settings: &TestSettings, test: &str) {
    let seeds = match super::environment::seeds_from_environment() {
        Ok(seeds) => seeds,
        Err(error) => panic!("simulation: {error}"),
    };
    if let Err(error) = super::environment::config() {
        panic!("simulation: {error}");
    }
    let keep_going = env::var("SIM_KEEP_GOING").is_ok_and(|text| text == "1");
    let jobs = env::var("SIM_JOBS").ok().and_then(|text| text.parse().ok()).unwrap_or(1usize);
    let mut ledger = Ledger::open(test, seeds.len());
    let mut failures = Vec::new();
    let mut last = None;
    let several = seeds.len() > 1;
    for_each_seed(test, &seeds, jobs.clamp(1, seeds.len()), |seed, outcome, printed| {
        let failed = outcome.ok == settings.should_panic;
        ledger.add(seed, &outcome, !failed, &printed);
        if !printed.is_empty() && (failed || !several) {
            print_captured(&printed);
        }
        let go_on = !failed || keep_going;
        if failed {
            failures.push((seed, outcome.clone()));
        }
        last = Some(outcome);
        go_on
    });
    conclude(settings, test, &failures, last);
}

#[expect(clippy::disallowed_macros, reason = "libtest captures what is printed by these")]
fn print_captured(text: &str) {
    print!("{text}");
}

fn conclude(settings: &TestSettings, test: &str, failures: &[(u64, Outcome)], last: Option<Outcome>) {
    if settings.should_panic {
        // No seed failed to panic: the harness compares the message. Else it is told that none panicked.
        if failures.is_empty()
            && let Some(outcome) = last
        {
            fail(outcome.message.unwrap_or_default());
        }
        return;
    }
    let Some((seed, outcome)) = failures.first() else { return };
    let mut text = outcome.message.clone().unwrap_or_else(|| "the run failed".to_owned());
    if let Some(report) = &outcome.report
        && !report.is_empty()
    {
        // A stall's report begins with its message.
        text = if report.starts_with(&text) {
            report.trim_end().to_owned()
        } else {
            format!("{text}\n{report}")
        };
    }
    let seeds: Vec<String> = failures.iter().map(|(seed, _)| seed.to_string()).collect();
    let others =
        if failures.len() > 1 { format!(" (failing seeds: {})", seeds.join(", ")) } else { String::new() };
    let account = format!(
        "simulation: seed {seed} failed at step {} after {:.6} s of virtual time, trace {:016x}{others}\n\
         simulation: replay with: SIM_SEED={seed} cargo sim test -- --exact {test}",
        outcome.steps,
        outcome.virtual_ns as f64 / 1e9,
        outcome.trace_hash,
    );
    fail(format!("{text}\n{account}"));
}

/// Fails the test with `message`, without a backtrace: that of the parent tells nothing.
#[expect(clippy::disallowed_macros, reason = "libtest captures what is printed by this")]
fn fail(message: String) -> ! {
    eprintln!("{message}");
    std::panic::resume_unwind(Box::new(message))
}

/// Runs the seeds, `jobs` at a time, and calls `told` in the order of the seeds until it answers false.
fn for_each_seed(test: &str, seeds: &[u64], jobs: usize, mut told: impl FnMut(u64, Outcome, String) -> bool) {
    if jobs == 1 {
        let mut zygote = start(test);
        for &seed in seeds {
            let (outcome, printed) = run_one(&mut zygote, test, seed);
            if !told(seed, outcome, printed) {
                return;
            }
        }
        return;
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let next = &next;
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..jobs {
            let sender = sender.clone();
            scope.spawn(move || {
                let mut zygote = start(test);
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(&seed) = seeds.get(index) else { return };
                    let (outcome, printed) = run_one(&mut zygote, test, seed);
                    if sender.send((index, outcome, printed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = std::collections::BTreeMap::new();
        let mut due = 0;
        for (index, outcome, printed) in &receiver {
            waiting.insert(index, (outcome, printed));
            while let Some((outcome, printed)) = waiting.remove(&due) {
                if !told(seeds[due], outcome, printed) {
                    next.store(usize::MAX / 2, std::sync::atomic::Ordering::Relaxed);
                    return;
                }
                due += 1;
            }
        }
    });
}

fn start(test: &str) -> Zygote {
    match Zygote::start(test) {
        Ok(zygote) => zygote,
        Err(error) => panic!("simulation: failed to start a process for the runs of {test}: {error}"),
    }
}

/// Runs one seed; with `SIM_TWICE=1` twice, and the second run must be the same.
fn run_one(zygote: &mut Zygote, test: &str, seed: u64) -> (Outcome, String) {
    let (mut outcome, printed) = run_once(zygote, test, seed);
    if env::var("SIM_TWICE").is_ok_and(|text| text == "1") && outcome.not_deterministic.is_empty() {
        let (again, _) = run_once(zygote, test, seed);
        if (again.trace_hash, again.steps, again.ok) != (outcome.trace_hash, outcome.steps, outcome.ok) {
            outcome.ok = false;
            outcome.message = Some(format!(
                "simulation: not deterministic: seed {seed} took {} steps, trace {:016x}, and then {} steps, trace {:016x}",
                outcome.steps, outcome.trace_hash, again.steps, again.trace_hash
            ));
        }
    }
    (outcome, printed)
}

fn run_once(zygote: &mut Zygote, test: &str, seed: u64) -> (Outcome, String) {
    match zygote.run(seed) {
        Ok(done) => done,
        Err(error) => {
            let printed = zygote.take_output().unwrap_or_default();
            let message = format!(
                "the process for the runs of {test} ended early ({error}); is the test's name unusual? It printed:\n{printed}"
            );
            *zygote = start(test);
            (Outcome { ok: false, message: Some(message), ..Outcome::default() }, printed)
        }
    }
}
