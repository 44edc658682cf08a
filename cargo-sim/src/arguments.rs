//! The arguments meant for cargo, read just as far as `cargo sim` needs.
//!
//! Owns the knowledge of which cargo options take a value, and where the test harness' own arguments begin. It
//! must not know what is done with them. Invariant: an argument it does not know is kept, in its place.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// Options of cargo's commands that take a value as the next argument; anything else is a flag or a name.
const WITH_VALUE: &[&str] = &[
    "-p",
    "--package",
    "--exclude",
    "--bin",
    "--example",
    "--test",
    "--bench",
    "-F",
    "--features",
    "-j",
    "--jobs",
    "--profile",
    "--target",
    "--target-dir",
    "--manifest-path",
    "--message-format",
    "--color",
    "--config",
    "-Z",
    "-C",
    "-E",
    "--filter-expr",
    "--filterset",
    "--test-threads",
    "--retries",
    "--lockfile-path",
    "--partition",
    "--run-ignored",
    "--cargo-profile",
    "--cargo-message-format",
    "--build-jobs",
    "--max-fail",
    "--no-tests",
];

/// One cargo command line: the command's name, its arguments, and what follows `--`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arguments {
    /// `test`, `run`, `nextest` …
    pub(crate) command: String,
    /// Everything up to `--`.
    pub(crate) cargo: Vec<OsString>,
    /// What follows `--`, if there is one.
    pub(crate) rest: Option<Vec<OsString>>,
}

impl Arguments {
    /// Splits what the user wrote after `cargo sim`.
    pub(crate) fn new(words: Vec<OsString>) -> Result<Arguments> {
        let mut words = words.into_iter();
        let command = words.next().ok_or_else(|| Error::Usage("a cargo command is missing".into()))?;
        let command = command.to_string_lossy().into_owned();
        let mut arguments = Arguments { command, ..Arguments::default() };
        for word in words {
            match &mut arguments.rest {
                Some(rest) => rest.push(word),
                None if word == "--" => arguments.rest = Some(Vec::new()),
                None => arguments.cargo.push(word),
            }
        }
        Ok(arguments)
    }

    /// Every value of an option, in either spelling (`--name value`, `--name=value`).
    pub(crate) fn values(&self, name: &str) -> Vec<OsString> {
        let mut copy = self.cargo.clone();
        std::iter::from_fn(|| remove_value(&mut copy, &[name]).ok().flatten()).collect()
    }

    /// Whether a flag is there.
    pub(crate) fn has(&self, flag: &str) -> bool {
        self.cargo.iter().any(|word| word == flag)
    }

    /// Whether an option is there, with its value in any spelling.
    pub(crate) fn has_option(&self, name: &str) -> bool {
        let start = format!("{name}=");
        self.cargo.iter().any(|word| word == name || word.to_string_lossy().starts_with(&start))
    }

    /// Takes an option with its value out; `None` if it is not there.
    pub(crate) fn take_value(&mut self, names: &[&str]) -> Result<Option<OsString>> {
        remove_value(&mut self.cargo, names)
    }

    /// Takes a flag out; says whether it was there.
    pub(crate) fn take_flag(&mut self, name: &str) -> bool {
        let before = self.cargo.len();
        self.cargo.retain(|word| word != name);
        self.cargo.len() < before
    }

    /// The options that decide which project and which sources cargo looks at, for our own questions to cargo.
    pub(crate) fn scope(&self) -> Vec<OsString> {
        let mut scope = Vec::new();
        for value in self.values("--config") {
            scope.extend(["--config".into(), value]);
        }
        if let Some(path) = self.manifest_path() {
            scope.extend(["--manifest-path".into(), path.into()]);
        }
        scope
    }

    /// The value of `--manifest-path`.
    pub(crate) fn manifest_path(&self) -> Option<PathBuf> {
        self.values("--manifest-path").pop().map(PathBuf::from)
    }

    /// The user's `--offline` or `--frozen`.
    pub(crate) fn offline(&self) -> bool {
        self.has("--offline") || self.has("--frozen")
    }

    /// The positions of plain words: names of tests, subcommands of plug-ins.
    pub(crate) fn plain_words(&self) -> Vec<usize> {
        let mut plain = Vec::new();
        let mut skip = false;
        for (index, word) in self.cargo.iter().enumerate() {
            let text = word.to_string_lossy();
            if skip {
                skip = false;
            } else if text.starts_with('-') {
                skip = WITH_VALUE.contains(&text.as_ref());
            } else {
                plain.push(index);
            }
        }
        plain
    }

    /// The whole command line for cargo, with `extra` put where this command reads cargo's own options.
    pub(crate) fn command_line(&self, extra: &[OsString]) -> Vec<OsString> {
        let mut words = vec![OsString::from(&self.command)];
        // A plug-in such as nextest has commands of its own, which take the options.
        let nested = usize::from(self.command == "nextest" && !self.cargo.is_empty());
        words.extend_from_slice(&self.cargo[..nested]);
        words.extend_from_slice(extra);
        words.extend_from_slice(&self.cargo[nested..]);
        if let Some(rest) = &self.rest {
            words.push("--".into());
            words.extend_from_slice(rest);
        }
        words
    }
}

fn remove_value(words: &mut Vec<OsString>, names: &[&str]) -> Result<Option<OsString>> {
    for index in 0..words.len() {
        let text = words[index].to_string_lossy().into_owned();
        for name in names {
            if text == *name {
                if index + 1 >= words.len() {
                    return Err(Error::Usage(format!("`{name}` lacks its value")));
                }
                let value = words.remove(index + 1);
                words.remove(index);
                return Ok(Some(value));
            }
            let short = name.len() == 2 && text.len() > 2 && text.starts_with(name);
            if let Some(value) = text.strip_prefix(&format!("{name}=")).map(str::to_owned) {
                words.remove(index);
                return Ok(Some(value.into()));
            } else if short {
                words.remove(index);
                return Ok(Some(text[2..].into()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Arguments {
        Arguments::new(text.split_whitespace().map(OsString::from).collect()).expect("a command is there")
    }

    #[test]
    fn options_are_found_in_both_spellings() {
        let mut it = arguments("test --manifest-path a/b -j4 --seeds=0..3 name -- --exact x");
        assert_eq!(it.manifest_path(), Some("a/b".into()));
        assert_eq!(it.take_value(&["--jobs", "-j"]).expect("fine"), Some("4".into()));
        assert_eq!(it.take_value(&["--seeds"]).expect("fine"), Some("0..3".into()));
        assert_eq!(it.plain_words(), [2]);
        assert_eq!(it.rest, Some(vec!["--exact".into(), "x".into()]));
    }

    #[test]
    fn a_missing_value_is_an_error() {
        assert!(arguments("test --seeds").take_value(&["--seeds"]).is_err());
    }

    #[test]
    fn plug_ins_take_options_behind_their_own_command() {
        let line = arguments("nextest run -p a").command_line(&["--config".into(), "f".into()]);
        assert_eq!(line, ["nextest", "run", "--config", "f", "-p", "a"].map(OsString::from));
    }
}
