//! Keeps the project's `Cargo.lock` as it was.
//!
//! Owns `<target>/sim/lock/`: the simulation's own lock file, the saved copy of the project's, and the two advisory
//! locks that make concurrent runs safe. It must not know how a lock file is resolved. Invariant: while the project's
//! file differs from what the user left there, a saved copy exists; whoever leaves last, or comes first after a
//! crash, puts it back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::child;
use crate::error::{Error, Result};
use crate::lockfile;

/// How the simulation's lock file is kept apart from the project's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// cargo reads and writes ours (`resolver.lockfile-path`); the project's is never touched.
    OwnPath,
    /// Ours stands in the place of the project's while cargo runs.
    Swap,
}

/// Held by each run from before its first question to cargo until its last child is gone.
pub(crate) struct LockGuard {
    means: Means,
    project_lock: PathBuf,
    folder: PathBuf,
    /// Shared among runs; only who can get it exclusively may save or put back.
    users: File,
    /// What was verified to stand in the project's place; anything else found there at the end is not ours.
    placed: Option<String>,
    left: bool,
}

/// The short-lived lock around every preparation and every leaving.
pub(crate) struct Turn(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

/// Waits for our turn to prepare or to leave.
pub(crate) fn take_turn(sim_dir: &Path, heed_signals: bool) -> Result<Turn> {
    let folder = sim_dir.join("lock");
    fs::create_dir_all(&folder).map_err(Error::unwritable(&folder))?;
    let file = open(&folder.join("turn"))?;
    let mut waited = Duration::ZERO;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if heed_signals && child::interrupted() {
            return Err(Error::Interrupted);
        }
        let pause = Duration::from_millis(50);
        if waited < Duration::from_secs(1) && waited + pause >= Duration::from_secs(1) {
            eprintln!("cargo-sim: waiting for another `cargo sim` in this target folder …");
        }
        std::thread::sleep(pause);
        waited += pause;
    }
    Ok(Turn(file))
}

impl LockGuard {
    /// Begins a run. A copy that a killed run left behind is put back first.
    pub(crate) fn enter(
        means: Means,
        project_lock: PathBuf,
        sim_dir: &Path,
        _turn: &Turn,
    ) -> Result<LockGuard> {
        let folder = sim_dir.join("lock");
        let users = open(&folder.join("users"))?;
        // Until this returns, nobody must leave: we are in our turn, and leaving takes one.
        let mut guard = LockGuard { means, project_lock, folder, users, placed: None, left: true };
        if flock(&guard.users, FlockOperation::NonBlockingLockExclusive).is_ok() {
            if guard.saved_exists() {
                eprintln!("cargo-sim: an earlier run was killed; putting Cargo.lock back");
                guard.put_back()?;
            }
            if means == Means::Swap {
                guard.save()?;
            }
        }
        flock(&guard.users, FlockOperation::LockShared).map_err(|error| guard.fail("lock", &error.into()))?;
        guard.left = false;
        Ok(guard)
    }

    /// The file that cargo reads and writes during this run.
    pub(crate) fn active_path(&self) -> PathBuf {
        match self.means {
            Means::OwnPath => self.kept_path(),
            Means::Swap => self.project_lock.clone(),
        }
    }

    /// The simulation's lock file, kept from run to run.
    pub(crate) fn kept_path(&self) -> PathBuf {
        self.folder.join("Cargo.lock")
    }

    /// The project's own lock file as the user left it.
    pub(crate) fn original(&self) -> Option<String> {
        if self.folder.join("project.absent").exists() {
            return None;
        }
        let saved = self.folder.join("project.saved");
        fs::read_to_string(if saved.exists() { saved } else { self.project_lock.clone() }).ok()
    }

    /// The lock file that cargo sees at this moment.
    pub(crate) fn active(&self) -> Option<String> {
        fs::read_to_string(self.active_path()).ok()
    }

    /// Puts a lock file where cargo looks for it.
    pub(crate) fn place(&self, text: &str) -> Result<()> {
        if self.active().as_deref() == Some(text) {
            return Ok(());
        }
        let path = self.active_path();
        fs::write(&path, text).map_err(|error| self.fail("write", &error))
    }

    /// Says that what stands there now is the simulation's, and keeps it for the next run.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.placed = self.active();
        match (&self.placed, self.means) {
            (Some(text), Means::Swap) => {
                let kept = self.kept_path();
                fs::write(&kept, text).map_err(Error::unwritable(&kept))
            }
            _ => Ok(()),
        }
    }

    /// Ends a run: the last one out puts the project's file back.
    pub(crate) fn leave(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let sim_dir = self.folder.parent().expect("invariant: the folder lies in ours");
        let _turn = take_turn(sim_dir, false)?;
        // Trying for the exclusive lock may drop the shared one: both are fine, we are leaving.
        if flock(&self.users, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        if self.saved_exists() {
            self.put_back()?;
        }
        Ok(())
    }

    fn saved_exists(&self) -> bool {
        ["project.saved", "project.absent"].iter().any(|name| self.folder.join(name).exists())
    }

    /// Saves the project's file. The copy appears under its name only when it is whole.
    fn save(&self) -> Result<()> {
        let fail = |error| self.fail("save", &error);
        let text = match fs::read(&self.project_lock) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let absent = self.folder.join("project.absent");
                return fs::write(&absent, "").map_err(Error::unwritable(&absent));
            }
            Err(error) => return Err(fail(error)),
        };
        if lockfile::takes_drop_in(&String::from_utf8_lossy(&text)) {
            let reason = "a `cargo sim` with another target folder is running, or was killed; run it again with that \
                          folder, or restore the file from version control";
            return Err(Error::LockFile {
                task: "use",
                path: self.project_lock.clone(),
                reason: reason.into(),
            });
        }
        let partial = self.folder.join("project.partial");
        let saved = self.folder.join("project.saved");
        let written = || -> std::io::Result<()> {
            fs::write(&partial, &text)?;
            set_modified(&partial, fs::metadata(&self.project_lock)?.modified()?)?;
            File::open(&partial)?.sync_all()?;
            fs::rename(&partial, &saved)
        };
        written().map_err(Error::unwritable(&saved))
    }

    /// Gives the project its file back, in place: a link stays a link, and the time of change is the old one.
    fn put_back(&self) -> Result<()> {
        let fail = |error| self.fail("put back", &error);
        let current = fs::read_to_string(&self.project_lock).ok();
        self.set_aside(current.as_deref())?;
        let saved = self.folder.join("project.saved");
        if saved.exists() {
            let text = fs::read(&saved).map_err(fail)?;
            if current.as_ref().map(String::as_bytes) != Some(text.as_slice()) {
                fs::write(&self.project_lock, &text).map_err(fail)?;
            }
            let modified = fs::metadata(&saved).and_then(|it| it.modified()).map_err(fail)?;
            set_modified(&self.project_lock, modified).map_err(fail)?;
            return fs::remove_file(&saved).map_err(fail);
        }
        if current.is_some() {
            fs::remove_file(&self.project_lock).map_err(fail)?;
        }
        fs::remove_file(self.folder.join("project.absent")).map_err(fail)
    }

    /// A lock file that neither we nor our cargo wrote (an editor's cargo, a `cargo add` during a sweep) is kept.
    fn set_aside(&self, current: Option<&str>) -> Result<()> {
        let Some(current) = current else { return Ok(()) };
        let known = lockfile::takes_drop_in(current)
            || self.placed.is_none()
            || self.original().as_deref() == Some(current);
        if known {
            return Ok(());
        }
        let aside = self.folder.join("Cargo.lock.changed-meanwhile");
        fs::write(&aside, current).map_err(Error::unwritable(&aside))?;
        eprintln!(
            "cargo-sim: Cargo.lock was changed by another program during the run; that version is kept in"
        );
        eprintln!("  {}", aside.display());
        Ok(())
    }

    fn fail(&self, task: &'static str, error: &std::io::Error) -> Error {
        Error::LockFile { task, path: self.project_lock.clone(), reason: error.to_string() }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            eprintln!("cargo-sim: {error}");
        }
    }
}

fn open(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).map_err(Error::unwritable(path))
}

fn set_modified(path: &Path, time: SystemTime) -> std::io::Result<()> {
    File::options().append(true).open(path)?.set_modified(time)
}
