//! What a sweep found.
//!
//! Owns the counting, the grouping of failures, and both printed forms. It must not read files. Invariant: failures are
//! grouped by test and by message without its numbers, in the order of their names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::record::{Record, SeedRecord};
use super::replay_line::ReplayLine;
use crate::child;

/// The state of a sweep.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    tests: BTreeMap<(String, String), Test>,
    groups: BTreeMap<(String, String, String), Group>,
    /// Lines in the records that could not be read.
    pub(crate) broken_lines: usize,
}

#[derive(Debug, Default)]
struct Test {
    planned: u64,
    run: u64,
    failed: u64,
    steps: u64,
    virtual_ns: u64,
}

#[derive(Debug)]
struct Group {
    count: u64,
    first: SeedRecord,
}

impl Summary {
    /// Takes in new records.
    pub(crate) fn add(&mut self, records: Vec<Record>) {
        for record in records {
            match record {
                Record::Plan { test, binary, seeds } => {
                    self.tests.entry((binary, test)).or_default().planned += seeds;
                }
                Record::Seed(seed) => self.add_seed(seed),
                Record::Other => {}
            }
        }
    }

    /// Seeds that will be run, as far as tests have said.
    pub(crate) fn planned(&self) -> u64 {
        self.tests.values().map(|it| it.planned.max(it.run)).sum()
    }

    /// Seeds that are done.
    pub(crate) fn done(&self) -> u64 {
        self.tests.values().map(|it| it.run).sum()
    }

    /// Seeds that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.tests.values().map(|it| it.failed).sum()
    }

    /// The text for people.
    pub(crate) fn human(&self, replay: &ReplayLine, reports: &Path, took: Duration) -> String {
        let mut text = String::new();
        if self.tests.is_empty() {
            return "cargo-sim: no test ran in the simulation (sweeps apply to #[tokio::test] functions)\n"
                .into();
        }
        let virtual_ns: u64 = self.tests.values().map(|it| it.virtual_ns).sum();
        let interrupted = if child::interrupted() { ", interrupted" } else { "" };
        let _ = writeln!(
            text,
            "\n     Summary [{:.3}s] {}, {} run, {} passed, {} failed ({:.1}s simulated{interrupted})",
            took.as_secs_f64(),
            plural(self.tests.len() as u64, "test"),
            plural(self.done(), "seed"),
            self.done() - self.failed(),
            self.failed(),
            virtual_ns as f64 / 1e9,
        );
        for group in self.groups.values() {
            let first = &group.first;
            let hash = first.trace_hash.as_ref().map(|it| format!(" · trace {it}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "        FAIL {} · {} · first seed {}{hash}",
                first.test,
                plural(group.count, "seed"),
                first.seed
            );
            let _ = writeln!(text, "             {}", first.message.as_deref().unwrap_or("(no message)"));
            let _ = writeln!(text, "             {}", replay.line(first));
        }
        for ((_, name), test) in self.tests.iter().filter(|(_, it)| it.run < it.planned) {
            let _ = writeln!(text, "  unfinished {name}: {} of {} seeds run", test.run, test.planned);
        }
        if self.broken_lines > 0 {
            let _ = writeln!(
                text,
                "     warning {} of the records could not be read",
                plural(self.broken_lines as u64, "line")
            );
        }
        let _ = writeln!(text, "     Reports {}", reports.display());
        text
    }

    /// The text for programs: one line of JSON.
    pub(crate) fn json(&self, replay: &ReplayLine, reports: &Path, code: i32) -> String {
        let tests: Vec<_> = self
            .tests
            .iter()
            .map(|((binary, test), it)| {
                json!({
                    "test": test, "binary": binary, "planned": it.planned, "run": it.run, "failed": it.failed,
                    "steps": it.steps, "virtual_ns": it.virtual_ns,
                })
            })
            .collect();
        let failures: Vec<_> = self
            .groups
            .values()
            .map(|group| {
                let first = &group.first;
                json!({
                    "test": first.test, "binary": first.binary, "message": first.message, "count": group.count,
                    "first_seed": first.seed, "trace_hash": first.trace_hash, "replay": replay.line(first),
                })
            })
            .collect();
        json!({
            "exit_code": code, "interrupted": child::interrupted(), "seeds_run": self.done(),
            "seeds_failed": self.failed(), "report_dir": reports, "broken_lines": self.broken_lines,
            "tests": tests, "failures": failures,
        })
        .to_string()
    }

    fn add_seed(&mut self, seed: SeedRecord) {
        let test = self.tests.entry((seed.binary.clone(), seed.test.clone())).or_default();
        test.run += 1;
        test.steps += seed.steps;
        test.virtual_ns = test.virtual_ns.saturating_add(seed.virtual_ns);
        if seed.ok {
            return;
        }
        test.failed += 1;
        let message = normalised(seed.message.as_deref().unwrap_or_default());
        let key = (seed.binary.clone(), seed.test.clone(), message);
        match self.groups.get_mut(&key) {
            None => {
                self.groups.insert(key, Group { count: 1, first: seed });
            }
            Some(group) => {
                group.count += 1;
                if seed.seed < group.first.seed {
                    group.first = seed;
                }
            }
        }
    }
}

/// The message with each number (also hexadecimal) replaced, so that one bug is one group.
fn normalised(message: &str) -> String {
    let mut text = String::new();
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let hexadecimal = rest.strip_prefix("0x").map(|it| 2 + count(it, |byte| byte.is_ascii_hexdigit()));
        match hexadecimal.unwrap_or_else(|| count(rest, |byte| byte.is_ascii_digit())) {
            0 => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
            length => {
                text.push('#');
                rest = &rest[length..];
            }
        }
    }
    text
}

fn count(text: &str, wanted: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| wanted(*byte)).count()
}

fn plural(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_differ_in_numbers_are_one_group() {
        assert_eq!(normalised("left: 17 at 0xdeadBEEF é9"), "left: # at # é#");
        let mut summary = Summary::default();
        for (seed, message) in [(5, "lost 3"), (2, "lost 44"), (3, "gone")] {
            let line = json!({"kind": "seed", "test": "t", "binary": "b", "seed": seed, "ok": false,
                "message": message, "new_field": 1});
            summary.add(vec![serde_json::from_value(line).expect("a record")]);
        }
        let firsts: Vec<_> = summary.groups.values().map(|it| (it.count, it.first.seed)).collect();
        assert_eq!(firsts, [(1, 3), (2, 2)]);
    }
}
