//! Tests over many seeds.
//!
//! Owns the sweep's own options, the variables that tests read, and the run itself. It must not know how a test runs a
//! seed: it only reads the records that tests append. Invariant: whatever ends a sweep, the summary of what was run so
//! far is printed and the records are kept.

mod output;
mod record;
mod replay_line;
mod summary;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use crate::ShimFiles;
use crate::arguments::Arguments;
use crate::child;
use crate::cli::Format;
use crate::error::{Error, Result};
use crate::exit_code;
use crate::seeds::Seeds;
use crate::simulation::Simulation;
use output::Output;
use record::Tail;
use replay_line::ReplayLine;
use summary::Summary;

/// Reports of older sweeps that are kept.
const REPORTS_KEPT: usize = 30;

/// What the user asked for, besides what cargo gets.
#[derive(Debug)]
pub(crate) struct Plan {
    seeds: Seeds,
    jobs: Option<usize>,
    build_jobs: Option<OsString>,
    keep_going: bool,
    format: Format,
}

impl Plan {
    /// Takes the sweep's options out of the arguments. `None`: the user wants no seeds, everything is cargo's.
    pub(crate) fn take(arguments: &mut Arguments) -> Result<Option<Plan>> {
        let many = arguments.take_value(&["--seeds"])?;
        let one = arguments.take_value(&["--seed"])?;
        let seeds = match (&many, &one) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Error::Usage("`--seed` and `--seeds` exclude each other".into()));
            }
            (Some(text), None) | (None, Some(text)) => Seeds::parse(&text.to_string_lossy())?,
        };
        if one.is_some() && seeds.single().is_none() {
            return Err(Error::Usage("`--seed` takes one seed; `--seeds` takes many".into()));
        }
        let tests = matches!(arguments.command.as_str(), "test" | "t" | "nextest");
        let single = matches!(arguments.command.as_str(), "run" | "r" | "bench");
        if !(tests || single && one.is_some()) {
            return Err(Error::Usage(format!("`cargo sim {}` takes no seeds", arguments.command)));
        }
        let mut plan = Plan { seeds, jobs: None, build_jobs: None, keep_going: false, format: Format::Human };
        if let Some(format) = arguments.take_value(&["--format"])? {
            plan.format = match format.to_string_lossy().as_ref() {
                "human" => Format::Human,
                "json" => Format::Json,
                other => return Err(Error::Usage(format!("`--format {other}` is neither human nor json"))),
            };
        }
        if many.is_some() {
            plan.jobs = arguments.take_value(&["--jobs", "-j"])?.map(parse_jobs).transpose()?;
            plan.build_jobs = arguments.take_value(&["--build-jobs"])?;
            plan.keep_going = arguments.take_flag("--keep-going");
        }
        Ok(Some(plan))
    }

    /// The variables and options that make cargo's tests sweep.
    fn apply(&self, command: &mut Command, reports: &Path) {
        command.env_remove("SIM_SEEDS").env_remove("SIM_SEED");
        match self.seeds.single() {
            Some(seed) => command.env("SIM_SEED", seed.to_string()),
            None => command.env("SIM_SEEDS", self.seeds.normal()),
        };
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        command.env("SIM_JOBS", self.jobs.unwrap_or_else(cores).to_string());
        command.env("SIM_REPORT_DIR", reports);
        if self.keep_going {
            command.env("SIM_KEEP_GOING", "1");
        }
        // One test at a time: the seeds of a test are what runs in parallel. A `--test-threads` of the user wins.
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", "1");
        }
    }

    fn adapt(&self, arguments: &mut Arguments) {
        let nextest = arguments.command == "nextest";
        let tests = nextest || matches!(arguments.command.as_str(), "test" | "t");
        if let Some(jobs) = &self.build_jobs {
            let name = if nextest { "--build-jobs" } else { "--jobs" };
            arguments.cargo.extend([name.into(), jobs.clone()]);
        }
        if self.keep_going && tests && !arguments.has("--no-fail-fast") {
            arguments.cargo.push("--no-fail-fast".into());
        }
        if nextest && !arguments.has_option("--test-threads") {
            arguments.cargo.push("--test-threads=1".into());
        }
    }
}

/// Runs the sweep and returns the exit code.
pub(crate) fn run(plan: Plan, mut arguments: Arguments, files: ShimFiles) -> Result<i32> {
    let simulation = Simulation::prepare(&mut arguments, files)?;
    let reports = fresh_folder(&simulation.project.sim_dir.join("reports"))?;
    let replay = ReplayLine::new(&arguments, &simulation.project.members);
    plan.adapt(&mut arguments);
    let mut command = simulation.command(&arguments);
    plan.apply(&mut command, &reports);

    let started = Instant::now();
    let mut tail = Tail::new(&reports);
    let mut summary = Summary::default();
    let mut output = Output::new(plan.format == Format::Json, plan.seeds.single().is_none());
    output.prepare(&mut command);
    let mut child = child::spawn(&mut command)?;
    output.follow(&mut child);
    let status = child::wait(&mut child, || {
        summary.add(tail.read_new());
        output.show(&summary);
    })?;
    summary.add(tail.read_new());
    output.finish();

    let mut code = child::code_of(status);
    if code == exit_code::OK && summary.failed() > 0 {
        code = exit_code::SWEEP_FAILED;
    }
    summary.broken_lines = tail.broken_lines;
    match plan.format {
        Format::Json => println!("{}", summary.json(&replay, &reports, code)),
        Format::Human => eprint!("{}", summary.human(&replay, &reports, started.elapsed())),
    }
    simulation.finish()?;
    Ok(code)
}

/// `cargo sim replay 17 name …` is `cargo sim test --seed 17 … -- --exact name`.
pub(crate) fn replay(seed: String, words: Vec<OsString>, files: ShimFiles) -> Result<i32> {
    let mut line: Vec<OsString> = vec!["test".into(), "--seed".into(), seed.into()];
    let mut words = words.into_iter();
    let name = words.next();
    line.extend(words);
    let mut arguments = Arguments::new(line)?;
    if let Some(name) = name {
        arguments.rest.get_or_insert_default().extend(["--exact".into(), name]);
    }
    let plan = Plan::take(&mut arguments)?.expect("invariant: the seed was put there");
    run(plan, arguments, files)
}

fn parse_jobs(text: OsString) -> Result<usize> {
    let text = text.to_string_lossy();
    text.parse()
        .ok()
        .filter(|jobs| *jobs > 0)
        .ok_or_else(|| Error::Usage(format!("`--jobs {text}` is no number above 0")))
}

/// A new folder for this sweep's records; the oldest of many are removed.
fn fresh_folder(above: &Path) -> Result<PathBuf> {
    let fail = Error::unwritable(above);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let fresh = above.join(format!("{now:014}-{}", std::process::id()));
    fs::create_dir_all(&fresh).map_err(fail)?;
    let mut all: Vec<PathBuf> =
        fs::read_dir(above).into_iter().flatten().flatten().map(|it| it.path()).collect();
    all.sort();
    for old in all.iter().take(all.len().saturating_sub(REPORTS_KEPT)) {
        let _ = fs::remove_dir_all(old);
    }
    Ok(fresh)
}
