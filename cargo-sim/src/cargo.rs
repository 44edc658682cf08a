//! How cargo is called.
//!
//! Owns the choice of the cargo binary and the environment that it gets. It must not know what is asked. Invariant:
//! what an outer `cargo run` put into our environment does not reach the inner cargo.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use semver::Version;

use crate::child::{self, Captured};
use crate::error::{Error, Result};

/// The oldest compiler that builds the drop-in.
const RUSTC_MIN: Version = Version::new(1, 88, 0);
/// From here on `resolver.lockfile-path` is stable.
const LOCKFILE_PATH: Version = Version::new(1, 97, 0);

/// The cargo that started us, or the one on the path.
#[derive(Debug, Clone)]
pub(crate) struct Cargo {
    program: OsString,
    version: Version,
    target_dir: Option<PathBuf>,
}

impl Cargo {
    /// Finds cargo and checks that it and its rustc answer.
    pub(crate) fn find() -> Result<Cargo> {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let cargo = Cargo { version: ask_version(&program)?, program, target_dir: None };
        let rustc = ask_version(&cargo.rustc())?;
        if Version::new(rustc.major, rustc.minor, rustc.patch) < RUSTC_MIN {
            return Err(Error::RustcTooOld { found: rustc.to_string(), needed: "1.88" });
        }
        Ok(cargo)
    }

    /// Whether cargo can keep the lock file where we want it. A nightly of that version may be older than the change;
    /// it then still lists the option among the unstable ones.
    pub(crate) fn has_lockfile_path(&self) -> bool {
        let release = Version::new(self.version.major, self.version.minor, self.version.patch);
        if self.version.pre.is_empty() || release.minor != LOCKFILE_PATH.minor {
            return release >= LOCKFILE_PATH;
        }
        let listed = self.ask("list the unstable options", &["-Zhelp".into()]);
        listed.is_ok_and(|it| !it.stdout.contains("lockfile-path"))
    }

    /// From now on, what cargo notes for itself while it answers goes below our folder.
    pub(crate) fn set_target_dir(&mut self, folder: &Path) {
        self.target_dir = Some(folder.to_owned());
    }

    /// A cargo command; cargo's own hints about its caller are removed.
    pub(crate) fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text == "CARGO_MANIFEST_DIR" || text == "CARGO_MANIFEST_PATH"
            {
                command.env_remove(&name);
            }
        }
        match &self.target_dir {
            Some(folder) => command.env("CARGO_TARGET_DIR", folder),
            None => command.env("CARGO_CACHE_RUSTC_INFO", "0"),
        };
        command
    }

    /// Asks cargo something, quietly.
    pub(crate) fn ask(&self, task: &str, words: &[OsString]) -> Result<Captured> {
        let captured = child::capture(&mut self.command(words))?;
        if captured.status.success() {
            return Ok(captured);
        }
        let code = child::code_of(captured.status);
        Err(Error::CargoSaid { task: task.into(), said: captured.stderr.trim_end().to_owned(), code })
    }

    /// Asks without the network first, since mostly all is there; then with it, unless the user forbids that.
    pub(crate) fn ask_offline_first(
        &self,
        task: &str,
        words: &[OsString],
        offline: bool,
    ) -> Result<Captured> {
        let mut quiet = words.to_vec();
        quiet.insert(1, "--offline".into());
        match self.ask(task, &quiet) {
            Err(Error::CargoSaid { .. }) if !offline => self.ask(task, words),
            answer => answer,
        }
    }

    /// The triple of this machine.
    pub(crate) fn host(&self) -> Result<String> {
        let program = self.rustc();
        let captured = child::capture(Command::new(&program).arg("-vV"))?;
        let line = captured.stdout.lines().find_map(|line| line.strip_prefix("host: "));
        line.map(str::to_owned).ok_or_else(|| Error::NotRunnable {
            program: program.to_string_lossy().into_owned(),
            reason: "`-vV` names no host".into(),
        })
    }

    /// The compiler: the one cargo was told to use, or the one beside cargo, or the one on the path.
    fn rustc(&self) -> OsString {
        if let Some(named) = std::env::var_os("RUSTC") {
            return named;
        }
        let beside = PathBuf::from(&self.program).with_file_name("rustc");
        if beside.is_absolute() && beside.is_file() { beside.into() } else { "rustc".into() }
    }
}

/// `cargo 1.95.0 (…)` → `1.95.0`.
fn ask_version(program: &OsStr) -> Result<Version> {
    let fail = |reason: String| Error::NotRunnable { program: program.to_string_lossy().into(), reason };
    let captured = child::capture(Command::new(program).arg("--version"))?;
    if !captured.status.success() {
        return Err(fail(captured.stderr.trim().to_owned()));
    }
    let word = captured.stdout.split_whitespace().nth(1).unwrap_or_default();
    Version::parse(word).map_err(|_| fail(format!("`--version` answered `{}`", captured.stdout.trim())))
}
