//! Programs: what `tokio::process::Command` starts in a simulation.
//!
//! Must not know how a child is started. Invariant: a program sees of its start only what a process sees of it:
//! arguments, variables, working directory and three streams.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use real::io::{AsyncRead, AsyncWrite, ReadBuf};
use shim_net::mirror::unix::pipe::{Receiver, Sender};

use crate::process::{self, Destination, Start};

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
        let stdin = ProcessInput { from: stdin.map_or(Source::Nothing, Source::of) };
        let (stdout, stderr) = (ProcessOutput::new(stdout), ProcessOutput::new(stderr));
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
    from: Source,
}

#[derive(Debug)]
enum Source {
    Nothing,
    Pipe(Receiver),
    File(File),
}

impl Source {
    fn of(fd: OwnedFd) -> Source {
        match fd.try_clone().and_then(Receiver::from_owned_fd) {
            Ok(pipe) => Source::Pipe(pipe),
            Err(_) => Source::File(File::from(fd)),
        }
    }
}

impl AsyncRead for ProcessInput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.from {
            Source::Nothing => Poll::Ready(Ok(())),
            Source::Pipe(pipe) => Pin::new(pipe).poll_read(cx, buf),
            Source::File(file) => {
                let length = file.read(buf.initialize_unfilled())?;
                buf.advance(length);
                Poll::Ready(Ok(()))
            }
        }
    }
}

/// A process's standard output or standard error.
#[derive(Debug)]
pub struct ProcessOutput {
    to: Sink,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    Stderr,
    Null,
    Pipe(Sender),
    File(File),
}

impl ProcessOutput {
    fn new(to: Destination) -> ProcessOutput {
        let to = match to {
            Destination::Stdout => Sink::Stdout,
            Destination::Stderr => Sink::Stderr,
            Destination::Null => Sink::Null,
            Destination::Descriptor(fd) => match fd.try_clone().and_then(Sender::from_owned_fd) {
                Ok(pipe) => Sink::Pipe(pipe),
                Err(_) => Sink::File(File::from(fd)),
            },
        };
        ProcessOutput { to }
    }
}

impl AsyncWrite for ProcessOutput {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.to {
            Sink::Stdout => Poll::Ready(io::stdout().write(buf)),
            Sink::Stderr => Poll::Ready(io::stderr().write(buf)),
            Sink::Null => Poll::Ready(Ok(buf.len())),
            Sink::Pipe(pipe) => Pin::new(pipe).poll_write(cx, buf),
            Sink::File(file) => Poll::Ready(file.write(buf)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &mut self.to {
            Sink::Stdout => io::stdout().flush(),
            _ => Ok(()),
        })
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
