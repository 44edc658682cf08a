//! The file of outcomes that `cargo sim` reads while a sweep goes on: one JSON object in each line.
//!
//! Owns the form of the lines. Must not use a JSON library: one more crate in the graph of every simulated
//! program, whose trait impls (`serde_json` compares its values with numbers) would change what the program's
//! own code infers. Invariant: each line is written whole.

use std::env;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use super::outcome::Outcome;

pub(super) struct Ledger {
    file: Option<File>,
    test: String,
    binary: String,
}

/// An object that is being written.
struct Object {
    text: String,
}

impl Object {
    fn of_kind(kind: &str) -> Object {
        let mut object = Object { text: String::from("{") };
        object.string("kind", kind);
        object
    }

    fn name(&mut self, name: &str) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        let _ = write!(self.text, "\"{name}\":");
    }

    fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.text, "{value}");
    }

    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        quote(&mut self.text, value);
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => self.raw(name, "null"),
        }
    }

    fn strings(&mut self, name: &str, values: &[String]) {
        self.name(name);
        self.text.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            quote(&mut self.text, value);
        }
        self.text.push(']');
    }
}

/// Writes `value` as a JSON string (RFC 8259, section 7).
fn quote(out: &mut String, value: &str) {
    out.push('"');
    for letter in value.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            letter if u32::from(letter) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
}

impl Ledger {
    pub(super) fn open(test: &str, seeds: usize) -> Ledger {
        let file = env::var_os("SIM_REPORT_DIR").and_then(|folder| {
            let path = PathBuf::from(folder).join(format!("{}.jsonl", std::process::id()));
            OpenOptions::new().create(true).append(true).open(path).ok()
        });
        let binary = env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
        let mut ledger = Ledger { file, test: test.to_owned(), binary };
        let mut plan = ledger.line("plan");
        plan.raw("seeds", seeds);
        ledger.write(plan);
        ledger
    }

    pub(super) fn add(&mut self, seed: u64, outcome: &Outcome, ok: bool, printed: &str) {
        let message = outcome.message.as_deref().map(|text| text.lines().next().unwrap_or_default());
        let report = outcome.report.as_deref().or(Some(printed));
        let mut line = self.line("seed");
        line.raw("seed", seed);
        line.raw("ok", ok);
        line.string("trace_hash", &format!("{:016x}", outcome.trace_hash));
        line.raw("steps", outcome.steps);
        line.raw("virtual_ns", outcome.virtual_ns);
        line.raw("real_us", outcome.real.as_micros());
        line.optional("message", message.filter(|_| !ok));
        line.optional("report", report.filter(|_| !ok));
        line.strings("not_deterministic", &outcome.not_deterministic);
        self.write(line);
    }

    fn line(&self, kind: &str) -> Object {
        let mut object = Object::of_kind(kind);
        object.string("test", &self.test);
        object.string("binary", &self.binary);
        object
    }

    fn write(&mut self, object: Object) {
        if let Some(file) = &mut self.file {
            // One write for each line, so that a reader never sees half of one; a full disk loses the ledger,
            // not the run.
            let _ = file.write_all(format!("{}}}\n", object.text).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let mut object = Object::of_kind("a\"b\\c\nd\u{1}é");
        object.raw("n", 7);
        object.optional("none", None);
        object.strings("list", &["x".to_owned(), "y".to_owned()]);
        let expected = r#"{"kind":"a\"b\\c\nd\u0001é","n":7,"none":null,"list":["x","y"]"#;
        assert_eq!(object.text, expected);
    }
}
