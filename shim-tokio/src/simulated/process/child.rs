//! Mirror of `tokio::process::Child`.
//!
//! Must not know how a child runs. Invariant: once its end was told, a child is not signalled any more: its number may
//! be another's.

use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::process::{ExitStatus, Output};
use std::task::{Context, Poll};

use real::io::AsyncReadExt;

use super::real::RealChild;
use super::simulated::SimulatedChild;
use super::{ChildStderr, ChildStdin, ChildStdout};

/// A child that was started.
#[derive(Debug)]
pub struct Child {
    state: State,
    /// Its standard input, where it is a pipe.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, where it is a pipe.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, where it is a pipe.
    pub stderr: Option<ChildStderr>,
}

#[derive(Debug)]
pub(super) enum Running {
    Simulated(SimulatedChild),
    Real(RealChild),
}

/// A child that is killed with its handle, where that was asked for. `Child` itself has no destructor, so that it can be
/// taken apart, as tokio's.
#[derive(Debug)]
struct Guard {
    child: Running,
    kill_on_drop: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.kill_on_drop {
            let _ = self.child.kill();
        }
    }
}

/// tokio's type makes no promise of unwind safety.
type NotUnwindSafe = PhantomData<Box<dyn Send + Sync>>;

#[derive(Debug)]
enum State {
    Running(Guard, NotUnwindSafe),
    Done(ExitStatus),
}

impl Child {
    pub(super) fn new(
        child: Running,
        kill_on_drop: bool,
        (stdin, stdout, stderr): (Option<ChildStdin>, Option<ChildStdout>, Option<ChildStderr>),
    ) -> Child {
        Child { state: State::Running(Guard { child, kill_on_drop }, PhantomData), stdin, stdout, stderr }
    }

    /// Its number, until its end was told.
    pub fn id(&self) -> Option<u32> {
        match &self.state {
            State::Running(guard, _) => Some(guard.child.id()),
            State::Done(_) => None,
        }
    }

    /// Kills it, without waiting for its end.
    ///
    /// # Errors
    /// Where the machine refuses, for a real child.
    pub fn start_kill(&mut self) -> io::Result<()> {
        match &mut self.state {
            State::Running(guard, _) => {
                let killed = guard.child.kill();
                if killed.is_ok() {
                    guard.kill_on_drop = false;
                }
                killed
            }
            State::Done(_) => Ok(()),
        }
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// As [`Child::start_kill`].
    pub async fn kill(&mut self) -> io::Result<()> {
        self.start_kill()?;
        self.wait().await.map(drop)
    }

    /// Closes its standard input and waits for its end.
    ///
    /// # Errors
    /// None for a simulated child.
    ///
    /// # Cancel safety
    /// Nothing is lost, but the standard input.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let status = match &mut self.state {
            State::Done(status) => return Ok(*status),
            State::Running(guard, _) => {
                let status = poll_fn(|cx| guard.child.poll_wait(cx)).await?;
                guard.kill_on_drop = false;
                status
            }
        };
        self.state = State::Done(status);
        Ok(status)
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// None for a simulated child.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = match &mut self.state {
            State::Done(status) => return Ok(Some(*status)),
            State::Running(guard, _) => {
                let status = guard.child.try_wait()?;
                guard.kill_on_drop &= status.is_none();
                status
            }
        };
        if let Some(status) = status {
            self.state = State::Done(status);
        }
        Ok(status)
    }

    /// Collects what it writes to its pipes, and waits for its end.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        let (mut stdout, mut stderr) = (self.stdout.take(), self.stderr.take());
        let (status, stdout, stderr) =
            real::try_join!(self.wait(), async { read_all(stdout.as_mut()).await }, async {
                read_all(stderr.as_mut()).await
            })?;
        Ok(Output { status, stdout, stderr })
    }
}

async fn read_all<R: AsyncReadExt + Unpin>(pipe: Option<&mut R>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

impl Running {
    fn id(&self) -> u32 {
        match self {
            Running::Simulated(child) => child.id(),
            Running::Real(child) => child.id(),
        }
    }

    fn kill(&mut self) -> io::Result<()> {
        match self {
            Running::Simulated(child) => {
                child.kill();
                Ok(())
            }
            Running::Real(child) => child.kill(),
        }
    }

    fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        match self {
            Running::Simulated(child) => child.poll_wait(cx).map(Ok),
            Running::Real(child) => child.poll_wait(cx),
        }
    }

    fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        match self {
            Running::Simulated(child) => Ok(child.try_wait()),
            Running::Real(child) => child.try_wait(),
        }
    }
}
