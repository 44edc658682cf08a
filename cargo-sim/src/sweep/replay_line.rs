//! The one line that runs a failing seed again.
//!
//! Owns the way from a test program's path to `-p`, `--lib` and `--test`. It must not run anything. Invariant: the line
//! can be pasted into a shell as it is, in the folder of the first run.

use std::ffi::OsString;
use std::path::Path;

use super::record::SeedRecord;
use crate::arguments::Arguments;
use crate::project::Member;

/// Options by which a user picks packages or targets; if there is one, it stands.
const PICKS: &[&str] = &[
    "-p",
    "--package",
    "--workspace",
    "--all",
    "--lib",
    "--bin",
    "--bins",
    "--test",
    "--tests",
    "--example",
    "--examples",
    "--bench",
    "--benches",
    "--all-targets",
];

/// What all lines of a sweep have in common.
pub(crate) struct ReplayLine {
    command: Vec<String>,
    options: Vec<String>,
    picked: bool,
    members: Vec<Member>,
}

impl ReplayLine {
    /// Remembers the user's own options, without names of tests.
    pub(crate) fn new(arguments: &Arguments, members: &[Member]) -> ReplayLine {
        let plain = arguments.plain_words();
        let nested = arguments.command == "nextest" && plain.first() == Some(&0);
        let text = |word: &OsString| quoted(&word.to_string_lossy());
        let mut command = vec![arguments.command.clone()];
        command.extend(arguments.cargo.first().filter(|_| nested).map(text));
        let options = arguments.cargo.iter().enumerate().filter(|(index, _)| !plain.contains(index));
        ReplayLine {
            command,
            options: options.map(|(_, word)| text(word)).collect(),
            picked: PICKS.iter().any(|name| arguments.has_option(name)),
            members: members.to_vec(),
        }
    }

    /// The line for this record.
    pub(crate) fn line(&self, record: &SeedRecord) -> String {
        let mut words = vec!["cargo".to_owned(), "sim".to_owned()];
        words.extend(self.command.iter().cloned());
        words.extend(["--seed".to_owned(), record.seed.to_string()]);
        words.extend(self.options.iter().cloned());
        let stem = stem(&record.binary);
        if !self.picked {
            words.extend(self.pick(&stem));
        }
        let name = record.test.strip_prefix(&format!("{stem}::")).unwrap_or(&record.test);
        words.extend(["--".to_owned(), "--exact".to_owned(), quoted(name)]);
        words.join(" ")
    }

    /// The options that pick the test program, as far as its name tells.
    fn pick(&self, stem: &str) -> Vec<String> {
        let mut found = Vec::new();
        for member in &self.members {
            for target in member.targets.iter().filter(|it| it.name.replace('-', "_") == stem) {
                let kind = target.kind.first().map(String::as_str).unwrap_or_default();
                let pick = match kind {
                    "bin" | "test" | "example" | "bench" => vec![format!("--{kind}"), quoted(&target.name)],
                    "custom-build" => continue,
                    _ => vec!["--lib".to_owned()],
                };
                found.push((quoted(&member.name), pick));
            }
        }
        let one_package = found.iter().all(|(package, _)| *package == found[0].0);
        match &found[..] {
            [] => Vec::new(),
            [(package, pick)] => ["-p".to_owned(), package.clone()].into_iter().chain(pick.clone()).collect(),
            [(package, _), ..] if one_package => vec!["-p".to_owned(), package.clone()],
            _ => Vec::new(),
        }
    }
}

/// `…/deps/kv_front-0123456789abcdef` → `kv_front`.
fn stem(binary: &str) -> String {
    let name = Path::new(binary).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    match name.rsplit_once('-') {
        Some((stem, hash)) if hash.len() == 16 && hash.bytes().all(|it| it.is_ascii_hexdigit()) => {
            stem.to_owned()
        }
        _ => name,
    }
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+:,./@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str, test: &str) -> String {
        let members = serde_json::from_value::<Vec<Member>>(serde_json::json!([
            {"name": "kv-front", "targets": [{"name": "kv-front", "kind": ["lib"]}, {"name": "crash", "kind": ["test"]}]},
        ]));
        let arguments = Arguments::new(words.split(' ').map(Into::into).collect()).expect("a command");
        let record = serde_json::from_value(serde_json::json!(
            {"test": test, "binary": "/t/sim/debug/deps/crash-0123456789abcdef", "seed": 17, "ok": false}));
        ReplayLine::new(&arguments, &members.expect("members")).line(&record.expect("a record"))
    }

    #[test]
    fn the_target_comes_from_the_program() {
        assert_eq!(
            line("test --release some_filter", "crash::writes::survive"),
            "cargo sim test --seed 17 --release -p kv-front --test crash -- --exact writes::survive"
        );
    }

    #[test]
    fn the_users_own_pick_stands() {
        assert_eq!(
            line("nextest run -p kv-front --features=a,b", "writes"),
            "cargo sim nextest run --seed 17 -p kv-front --features=a,b -- --exact writes"
        );
    }
}
