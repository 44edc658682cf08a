//! Mirror of `tokio::process`: programs that a test registered run as simulated children; those of the machine are
//! refused, unless they were allowed.
//!
//! Owns [`Command`]. Must not know how a child runs. Invariant: nothing is started before a runtime is found that
//! could tell of its end, as with tokio.

mod child;
mod host;
mod plan;
mod real;
mod simulated;
mod stdio;

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as StdCommand, ExitStatus, Output, Stdio};

pub use child::Child;
pub(crate) use simulated::{Output as Destination, Start, register};
pub use stdio::{ChildStderr, ChildStdin, ChildStdout};

/// A child that is about to be started.
#[derive(Debug)]
pub struct Command {
    std: StdCommand,
    kill_on_drop: bool,
}

impl Command {
    /// A command that starts `program`, with this process's variables and standard streams.
    pub fn new<S: AsRef<OsStr>>(program: S) -> Command {
        Command::from(StdCommand::new(program))
    }

    /// std's command.
    pub fn as_std(&self) -> &StdCommand {
        &self.std
    }

    /// std's command.
    pub fn as_std_mut(&mut self) -> &mut StdCommand {
        &mut self.std
    }

    /// std's command; whether the child is killed with its handle is lost.
    pub fn into_std(self) -> StdCommand {
        self.std
    }

    /// Adds an argument.
    pub fn arg<S: AsRef<OsStr>>(&mut self, arg: S) -> &mut Command {
        self.std.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<I, S>(&mut self, args: I) -> &mut Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.std.args(args);
        self
    }

    /// Sets a variable.
    pub fn env<K, V>(&mut self, key: K, val: V) -> &mut Command
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.env(key, val);
        self
    }

    /// Sets variables.
    pub fn envs<I, K, V>(&mut self, vars: I) -> &mut Command
    where
        I: IntoIterator<Item = (K, V)>,
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        self.std.envs(vars);
        self
    }

    /// Removes a variable.
    pub fn env_remove<K: AsRef<OsStr>>(&mut self, key: K) -> &mut Command {
        self.std.env_remove(key);
        self
    }

    /// Removes all variables.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Sets the working directory.
    pub fn current_dir<P: AsRef<Path>>(&mut self, dir: P) -> &mut Command {
        self.std.current_dir(dir);
        self
    }

    /// What the child's standard input is.
    pub fn stdin<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.std.stdin(cfg);
        self
    }

    /// What the child's standard output is.
    pub fn stdout<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.std.stdout(cfg);
        self
    }

    /// What the child's standard error is.
    pub fn stderr<T: Into<Stdio>>(&mut self, cfg: T) -> &mut Command {
        self.std.stderr(cfg);
        self
    }

    /// Whether the child is killed when its handle is dropped.
    pub fn kill_on_drop(&mut self, kill_on_drop: bool) -> &mut Command {
        self.kill_on_drop = kill_on_drop;
        self
    }

    /// The user of a real child.
    pub fn uid(&mut self, id: u32) -> &mut Command {
        self.std.uid(id);
        self
    }

    /// The group of a real child.
    pub fn gid(&mut self, id: u32) -> &mut Command {
        self.std.gid(id);
        self
    }

    /// The name by which the child is called.
    pub fn arg0<S>(&mut self, arg: S) -> &mut Command
    where
        S: AsRef<OsStr>,
    {
        self.std.arg0(arg);
        self
    }

    /// The process group of a real child.
    pub fn process_group(&mut self, pgroup: i32) -> &mut Command {
        self.std.process_group(pgroup);
        self
    }

    /// Whether the child is killed when its handle is dropped.
    pub fn get_kill_on_drop(&self) -> bool {
        self.kill_on_drop
    }

    /// Starts the child: the program that a test registered under its name.
    ///
    /// # Errors
    /// `NotFound` where tests registered others only; `Unsupported` where it would be a process of the machine, and
    /// these are not allowed; what the machine says, where they are.
    ///
    /// # Panics
    /// Outside a runtime, and in one without I/O.
    #[track_caller]
    pub fn spawn(&mut self) -> io::Result<Child> {
        shim_runtime::runtime::io_runtime()?;
        self.spawn_by(StdCommand::spawn)
    }

    /// [`Command::spawn`], where `with` starts a child of the machine.
    ///
    /// # Errors
    /// As [`Command::spawn`], and `with`'s.
    #[cfg(tokio_unstable)]
    #[track_caller]
    pub fn spawn_with(
        &mut self,
        with: impl FnOnce(&mut StdCommand) -> io::Result<std::process::Child>,
    ) -> io::Result<Child> {
        shim_runtime::runtime::io_runtime()?;
        if let Some(child) = simulated::start(&self.std, self.kill_on_drop)? {
            return Ok(child);
        }
        real::adopt(with(&mut self.std)?, self.kill_on_drop)
    }

    #[track_caller]
    fn spawn_by(
        &mut self,
        with: fn(&mut StdCommand) -> io::Result<std::process::Child>,
    ) -> io::Result<Child> {
        match simulated::start(&self.std, self.kill_on_drop)? {
            Some(child) => Ok(child),
            None => real::spawn(&mut self.std, with, self.kill_on_drop),
        }
    }

    /// Starts the child and waits for its end. Pipes are closed at once.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn status(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + use<> {
        let child = self.spawn();
        async {
            let mut child = child?;
            drop((child.stdin.take(), child.stdout.take(), child.stderr.take()));
            child.wait().await
        }
    }

    /// Starts the child and collects what it writes, until its end.
    ///
    /// # Errors
    /// As [`Command::spawn`].
    pub fn output(&mut self) -> impl Future<Output = io::Result<Output>> + use<> {
        self.std.stdout(Stdio::piped());
        self.std.stderr(Stdio::piped());
        let child = self.spawn();
        async { child?.wait_with_output().await }
    }
}

impl From<StdCommand> for Command {
    fn from(std: StdCommand) -> Command {
        Command { std, kill_on_drop: false }
    }
}
