//! Programs: what `tokio::process::Command` starts in a simulation.
//!
//! Must not know how a child is started. Invariant: a program sees of its start only what a process sees of it:
//! arguments, variables, working directory and three streams.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io::{self, Write};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use real::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::process::{self, Start};

/// Registers a program under `path`: unmodified code that starts it, by its path or by the last part of that, gets a
/// process of its own machine that runs `main`'s future. What this gives is the exit code.
///
/// ```ignore
/// tokio::sim::program("/usr/bin/worker", |child| async move {
///     i32::from(child.args().is_empty())
/// });
/// ```
///
/// The process has a number, entropy and tasks of its own, and its machine's addresses and disk. It ends with `main`, by a
/// signal, or with its machine. A panic is exit code 101.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn program<F, Fut>(path: &str, main: F)
where
    F: Fn(Process) -> Fut + 'static,
    Fut: Future<Output = i32> + 'static,
{
    process::register(path, Box::new(move |start| Box::pin(main(Process::new(start)))));
}

/// What a simulated process was started with.
#[derive(Debug)]
pub struct Process {
    program: OsString,
    args: Vec<OsString>,
    variables: BTreeMap<OsString, OsString>,
    dir: Option<std::path::PathBuf>,
    /// Its standard input; at its end where it was given none.
    pub stdin: ProcessInput,
    /// Its standard output.
    pub stdout: ProcessOutput,
    /// Its standard error.
    pub stderr: ProcessOutput,
}

impl Process {
    fn new(start: Start) -> Process {
        let Start { program, args, variables, dir, stdin, stdout, stderr } = start;
        let stdin = ProcessInput { pipe: stdin };
        let (stdout, stderr) = (ProcessOutput { to: stdout }, ProcessOutput { to: stderr });
        Process { program, args, variables, dir, stdin, stdout, stderr }
    }

    /// The name by which it was started.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Its arguments, without the program's name.
    pub fn args(&self) -> &[OsString] {
        &self.args
    }

    /// One of its variables.
    pub fn env(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// All of its variables, in the order of their names.
    pub fn envs(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Its working directory, where the parent named one.
    pub fn current_dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        std::process::id()
    }
}

/// A process's standard input.
#[derive(Debug)]
pub struct ProcessInput {
    pipe: Option<DuplexStream>,
}

impl AsyncRead for ProcessInput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.pipe {
            Some(pipe) => Pin::new(pipe).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// A process's standard output or standard error.
#[derive(Debug)]
pub struct ProcessOutput {
    to: process::Destination,
}

impl AsyncWrite for ProcessOutput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.to {
            process::Destination::Stdout => Poll::Ready(io::stdout().write(buf)),
            process::Destination::Stderr => Poll::Ready(io::stderr().write(buf)),
            process::Destination::Null => Poll::Ready(Ok(buf.len())),
            process::Destination::Pipe(pipe) => Pin::new(pipe).poll_write(cx, buf).map_err(process::broken),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &mut self.to {
            process::Destination::Stdout => io::stdout().flush(),
            _ => Ok(()),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
