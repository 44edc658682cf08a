//! Running tests: each in a process of its own with a time limit, so that one that hangs costs one.
//!
//! Must not know which are expected to pass. Invariant: a test's result does not depend on the others.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Options;

/// How a test ended.
pub(crate) struct Outcome {
    pub(crate) passed: bool,
    pub(crate) why: String,
}

struct Job {
    name: String,
    test: String,
    program: PathBuf,
}

/// Runs the tests of all `programs`.
pub(crate) fn run_all(
    programs: &[(String, PathBuf)],
    folder: &Path,
    options: &Options,
) -> Result<BTreeMap<String, Outcome>, String> {
    let mut jobs = Vec::new();
    for (target, program) in programs {
        let output = Command::new(program).args(["--list", "--format=terse"]).current_dir(folder).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(test) = line.strip_suffix(": test") {
                let name = format!("{target}::{test}");
                jobs.push(Job { name, test: test.to_owned(), program: program.clone() });
            }
        }
    }
    let results = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(outcome) = run(job, folder, options) {
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.insert(job.name.clone(), outcome);
                    }
                }
            });
        }
    });
    Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Runs one test; `None` where it is ignored.
fn run(job: &Job, folder: &Path, options: &Options) -> Option<Outcome> {
    let mut command = Command::new(&job.program);
    command.args(["--exact", &job.test, "--nocapture", "--test-threads=1"]).current_dir(folder);
    if !options.real {
        command.env("SIM_SEEDS", format!("0..{}", options.seeds)).env("SIM_JOBS", "1");
        command.env("SIM_TWICE", if options.twice { "1" } else { "0" });
        // tokio's tests of processes start real ones.
        command.env("SIM_REAL_PROCESSES", "1");
    }
    let failed = |why: &str| Some(Outcome { passed: false, why: why.to_owned() });
    let Ok((reader, writer)) = std::io::pipe() else { return failed("no pipe") };
    let Ok(second) = writer.try_clone() else { return failed("no pipe") };
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(second).spawn();
    let Ok(mut child) = child else { return failed("it does not start") };
    drop(command);
    let reading = std::thread::spawn(move || {
        let (mut reader, mut bytes) = (reader, Vec::new());
        let _ = reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let limit = Duration::from_secs(options.timeout_secs * options.seeds.clamp(1, 10));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return failed("it takes too long");
            }
        }
    };
    let text = reading.join().unwrap_or_default();
    if status.success() && text.contains("1 ignored") {
        return None;
    }
    let passed = status.success() && text.contains("1 passed");
    let why = text.lines().find(|line| line.contains("panicked") || line.starts_with("simulation:"));
    Some(Outcome { passed, why: why.unwrap_or("it fails").to_owned() })
}
