//! The test suites of tokio, tokio-util and tokio-stream, compiled unchanged against the drop-in.
//!
//! Owns the options, and the comparison with `compat-tests/upstream/SUITE.txt`, the tests that are expected to pass. Must
//! not know how a test runs. Invariant: a test that is listed and does not pass, on any seed, is a failure.
//!
//! `parity upstream [suite…] [--seeds N] [--twice] [--real] [--targets a,b] [--jobs N] [--timeout SECS] [--write]`

mod build;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use tests::Outcome;

/// A suite: the crate whose tests it is.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Whether the tests are compiled in a package beside the crate, rather than in a copy of it.
    pub(crate) beside: bool,
}

const SUITES: [Suite; 3] = [
    Suite { name: "tokio", version: "1.54.1", beside: true },
    Suite { name: "tokio-util", version: "0.7.20", beside: false },
    Suite { name: "tokio-stream", version: "0.1.19", beside: false },
];

/// What was asked for.
pub(crate) struct Options {
    suites: Vec<String>,
    /// How many seeds each test is run with.
    pub(crate) seeds: u64,
    /// Whether each seed is run twice, and the traces compared.
    pub(crate) twice: bool,
    /// Whether the tests run on the real tokio.
    pub(crate) real: bool,
    pub(crate) targets: Vec<String>,
    pub(crate) jobs: usize,
    pub(crate) timeout_secs: u64,
    /// Whether the list is made anew of what passes.
    write: bool,
}

fn options(words: &[&str]) -> Result<Options, String> {
    let mut options = Options {
        suites: Vec::new(),
        seeds: 1,
        twice: false,
        real: false,
        targets: Vec::new(),
        jobs: 2,
        timeout_secs: 20,
        write: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
        match *word {
            "--seeds" => options.seeds = number(value()?)?.max(1),
            "--jobs" => options.jobs = number(value()?)?.max(1) as usize,
            "--timeout" => options.timeout_secs = number(value()?)?,
            "--targets" => options.targets = value()?.split(',').map(str::to_owned).collect(),
            "--twice" => options.twice = true,
            "--real" => options.real = true,
            "--write" => options.write = true,
            suite if SUITES.iter().any(|known| known.name == suite) => options.suites.push(suite.to_owned()),
            other => return Err(format!("{other:?} is neither a suite nor an option")),
        }
    }
    Ok(options)
}

/// Runs what `words` ask for.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let options = options(words)?;
    let mut wrong = Vec::new();
    for suite in SUITES
        .iter()
        .filter(|suite| options.suites.is_empty() || options.suites.iter().any(|own| own == suite.name))
    {
        let folder = build::prepare(suite)?;
        let programs = build::build(suite, &folder, &options)?;
        let results = tests::run_all(&programs, &folder, &options)?;
        if options.write {
            build::keep_lock(suite, &folder)?;
        }
        report(suite, &options, &results, &mut wrong)?;
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("these do not pass:\n  {}", wrong.join("\n  "))) }
}

fn report(
    suite: &Suite,
    options: &Options,
    results: &BTreeMap<String, Outcome>,
    wrong: &mut Vec<String>,
) -> Result<(), String> {
    let path = format!("compat-tests/upstream/{}.txt", suite.name);
    let passed: BTreeSet<&str> =
        results.iter().filter(|(_, outcome)| outcome.passed).map(|(name, _)| name.as_str()).collect();
    println!("{}: {} of {} pass", suite.name, passed.len(), results.len());
    if options.write {
        let text: String = passed.iter().map(|name| format!("{name}\n")).collect();
        return fs::write(&path, text).map_err(|error| format!("{path}: {error}"));
    }
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let in_targets = |name: &str| {
        let target = name.split("::").next().unwrap_or(name);
        options.targets.is_empty() || options.targets.iter().any(|own| own == target)
    };
    for name in text.lines().filter(|name| in_targets(name) && !passed.contains(name)) {
        let why = results.get(name).map_or("not built", |outcome| outcome.why.as_str());
        wrong.push(format!("{} {name}: {why}", suite.name));
    }
    let expected: BTreeSet<&str> = text.lines().collect();
    for name in passed.difference(&expected) {
        println!("  passes, and is not in {path}: {name}");
    }
    Ok(())
}
