//! Simulated children: programs that a test registered, each run as a process of its parent's machine.
//!
//! Owns what is handed to a program. Must not know the programs. Invariant: whatever a child was given (its pipes) is
//! gone with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{Command as StdCommand, ExitStatus};
use std::task::{Context, Poll};

use shim_net::mirror::unix::pipe;
use shim_runtime::NodeId;
use shim_runtime::node::process::{self, Known};
use shim_runtime::node::signal;

use super::child::{Child, Running};
use super::host::duplicate;
use super::plan::{Plan, Stream};
use super::stdio::{ChildStderr, ChildStdin, ChildStdout, ReadEnd, WriteEnd};

/// Linux' numbers.
const ENOENT: i32 = 2;
const SIGKILL: i32 = 9;

/// A program: makes the future of one process.
pub(crate) type Program = Box<dyn Fn(Start) -> Pin<Box<dyn Future<Output = i32>>>>;

/// What a process begins with.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) variables: BTreeMap<OsString, OsString>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// Where a process writes to.
#[derive(Debug)]
pub(crate) enum Output {
    /// The test's own standard output.
    Stdout,
    /// The test's own standard error.
    Stderr,
    /// Nowhere.
    Null,
    /// A descriptor of its own: a pipe, or what the parent handed on.
    Descriptor(OwnedFd),
}

/// Registers a program.
#[track_caller]
pub(crate) fn register(path: &str, program: Program) {
    process::register(path, std::rc::Rc::new(program));
}

/// Starts the simulated child that `command` names; `None` where the machine is to be asked.
///
/// # Errors
/// `NotFound`, `Unsupported`: see [`super::Command::spawn`].
#[track_caller]
pub(super) fn start(command: &StdCommand, kill_on_drop: bool) -> io::Result<Option<Child>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let (path, program) = match process::program(&name) {
        Known::Program(path, program) => (path, program),
        _ if process::may_start_real() => return Ok(None),
        Known::NoSuch => {
            process::refuse_real(&format!("{name:?}, which no test registered,"));
            return Err(io::Error::from_raw_os_error(ENOENT));
        }
        Known::Nothing => {
            process::refuse_real(&format!("{name:?}"));
            let text = format!(
                "simulation: {name:?} is a program of the machine; register it with `tokio::sim::program`, or allow \
                 real processes by SIM_REAL_PROCESSES=1 (see SUPPORT.md)"
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
    };
    let program = program.downcast::<Program>().expect("invariant: only programs are registered");
    let plan = Plan::of(command)?;
    let (theirs_in, ours_in) = match plan.stdin {
        Stream::Pipe => {
            let (write, read) = pipe::pipe()?;
            let ours = ChildStdin { end: WriteEnd::Simulated(write) };
            (Some(read.into_nonblocking_fd()?), Some(ours))
        }
        Stream::Descriptor(number) => (Some(duplicate(number)?), None),
        Stream::Inherit | Stream::Null => (None, None),
    };
    let (theirs_out, ours_out) = output(plan.stdout, Output::Stdout)?;
    let (theirs_err, ours_err) = output(plan.stderr, Output::Stderr)?;
    let start = Start {
        program: command.get_program().to_owned(),
        args: command.get_args().map(OsString::from).collect(),
        variables: variables(command, plan.without_variables),
        dir: command.get_current_dir().map(PathBuf::from),
        stdin: theirs_in,
        stdout: theirs_out,
        stderr: theirs_err,
    };
    let short = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let node = process::start(&short, async move { program(start).await });
    let pipes = (ours_in, ours_out.map(|end| ChildStdout { end }), ours_err.map(|end| ChildStderr { end }));
    Ok(Some(Child::new(
        Running::Simulated(SimulatedChild { node, pid: process::pid(node) }),
        kill_on_drop,
        pipes,
    )))
}

fn output(stream: Stream, inherited: Output) -> io::Result<(Output, Option<ReadEnd>)> {
    Ok(match stream {
        Stream::Inherit => (inherited, None),
        Stream::Null => (Output::Null, None),
        Stream::Descriptor(number) => (Output::Descriptor(duplicate(number)?), None),
        Stream::Pipe => {
            let (write, read) = pipe::pipe()?;
            (Output::Descriptor(write.into_nonblocking_fd()?), Some(ReadEnd::Simulated(read)))
        }
    })
}

fn variables(command: &StdCommand, without: bool) -> BTreeMap<OsString, OsString> {
    let mut variables: BTreeMap<OsString, OsString> =
        if without { BTreeMap::new() } else { std::env::vars_os().collect() };
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => variables.insert(name.to_owned(), value.to_owned()),
            None => variables.remove(name),
        };
    }
    variables
}

/// A child that is a process of the world.
#[derive(Debug)]
pub(super) struct SimulatedChild {
    node: NodeId,
    pid: u32,
}

impl SimulatedChild {
    pub(super) fn id(&self) -> u32 {
        self.pid
    }

    pub(super) fn kill(&self) {
        if shim_runtime::in_simulation() {
            signal::send(self.node, SIGKILL);
        }
    }

    pub(super) fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        process::poll_exit(self.node, cx.waker()).map(ExitStatus::from_raw)
    }

    pub(super) fn try_wait(&self) -> Option<ExitStatus> {
        process::exit_status(self.node).map(ExitStatus::from_raw)
    }
}
