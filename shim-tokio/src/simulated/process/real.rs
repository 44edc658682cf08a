//! Children of the machine, where they were allowed: every call that waits is made on a thread outside of the world.
//!
//! Owns those threads' hand-over. Must not decide whether a child may be started. Invariant: the run waits in real time
//! for a child that it started, and is marked as one that cannot be repeated.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::{Child as StdChild, Command as StdCommand, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use real::io::ReadBuf;
use shim_runtime::external::{self, Outside};

use super::child::{Child, Running};
use super::{ChildStderr, ChildStdin, ChildStdout};

const WHY: &str = "the program started a process of the machine";
const CHUNK_BYTES: usize = 64 << 10;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child of the machine, outside of the world.
pub(super) fn spawn(
    command: &mut StdCommand,
    with: fn(&mut StdCommand) -> io::Result<StdChild>,
    kill_on_drop: bool,
) -> io::Result<Child> {
    let mut taken = std::mem::replace(command, StdCommand::new(""));
    let (back, spawned) = external::call(move || {
        let spawned = with(&mut taken);
        (taken, spawned)
    })?;
    *command = back;
    adopt(spawned?, kill_on_drop)
}

/// Takes over a child of the machine.
pub(super) fn adopt(mut child: StdChild, kill_on_drop: bool) -> io::Result<Child> {
    let stdin = child.stdin.take().map(ChildStdin::from_std).transpose()?;
    let stdout = child.stdout.take().map(ChildStdout::from_std).transpose()?;
    let stderr = child.stderr.take().map(ChildStderr::from_std).transpose()?;
    let pid = child.id();
    let state = Reaped { child, waiting: None, alive: Some(external::hold(WHY)) };
    let state = Arc::new(Mutex::new(state));
    let there = Arc::clone(&state);
    external::beside(move || {
        external::wait_for_child(pid);
        let mut state = locked(&there);
        // Reaped at once, so that nothing is left where nobody asks.
        let _ = state.child.try_wait();
        let (waiting, alive) = (state.waiting.take(), state.alive.take());
        drop(state);
        if let Some((waker, outside)) = waiting {
            waker.wake();
            drop(outside);
        }
        drop(alive);
    })?;
    Ok(Child::new(Running::Real(RealChild { pid, state }), kill_on_drop, (stdin, stdout, stderr)))
}

/// A child of the machine.
#[derive(Debug)]
pub(super) struct RealChild {
    pid: u32,
    state: Arc<Mutex<Reaped>>,
}

struct Reaped {
    child: StdChild,
    waiting: Option<(Waker, Outside)>,
    /// While the child lives.
    alive: Option<Outside>,
}

impl std::fmt::Debug for Reaped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.child.fmt(f)
    }
}

impl RealChild {
    pub(super) fn id(&self) -> u32 {
        self.pid
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        let state = Arc::clone(&self.state);
        external::call(move || locked(&state).child.kill())?
    }

    pub(super) fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        let mut state = locked(&self.state);
        match state.child.try_wait() {
            Ok(None) => {
                let before = state.waiting.replace((cx.waker().clone(), external::hold(WHY)));
                drop(state);
                drop(before);
                Poll::Pending
            }
            Ok(Some(status)) => Poll::Ready(Ok(status)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(super) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        locked(&self.state).child.try_wait()
    }
}

/// What a thread and the world hand to each other.
struct Slot {
    file: Arc<File>,
    state: Mutex<Transfer>,
}

enum Transfer {
    Idle,
    Busy(Option<Waker>),
    Done(io::Result<Vec<u8>>),
}

impl Slot {
    fn new(fd: OwnedFd) -> Arc<Slot> {
        Arc::new(Slot { file: Arc::new(File::from(fd)), state: Mutex::new(Transfer::Idle) })
    }

    /// Has a thread run `work`; its result is for the next look.
    fn begin(
        self: &Arc<Slot>,
        waker: Option<Waker>,
        work: impl FnOnce(&File) -> io::Result<Vec<u8>> + Send + 'static,
    ) -> io::Result<()> {
        *locked(&self.state) = Transfer::Busy(waker);
        let there = Arc::clone(self);
        let outside = external::hold(WHY);
        external::beside(move || {
            let result = work(&there.file);
            let before = std::mem::replace(&mut *locked(&there.state), Transfer::Done(result));
            // The descriptor is closed before anybody hears of the end.
            drop(there);
            if let Transfer::Busy(Some(waker)) = before {
                waker.wake();
            }
            drop(outside);
        })
    }

    /// The result of the last transfer, once it is there.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Vec<u8>>>> {
        let mut state = locked(&self.state);
        match std::mem::replace(&mut *state, Transfer::Idle) {
            Transfer::Idle => Poll::Ready(None),
            Transfer::Done(result) => Poll::Ready(Some(result)),
            Transfer::Busy(_) => {
                *state = Transfer::Busy(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }

    fn into_owned_fd(self: Arc<Slot>) -> io::Result<OwnedFd> {
        let busy = || io::Error::from(io::ErrorKind::WouldBlock);
        let slot = Arc::into_inner(self).ok_or_else(busy)?;
        Arc::into_inner(slot.file).map(OwnedFd::from).ok_or_else(busy)
    }
}

/// A pipe from a child.
pub(super) struct RealReader {
    slot: Arc<Slot>,
    left: Vec<u8>,
}

impl RealReader {
    pub(super) fn new(fd: OwnedFd) -> io::Result<RealReader> {
        Ok(RealReader { slot: Slot::new(fd), left: Vec::new() })
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            let read = match std::task::ready!(self.slot.poll(cx)) {
                Some(result) => result?,
                None => {
                    self.slot.begin(Some(cx.waker().clone()), |mut file| {
                        let mut bytes = vec![0; CHUNK_BYTES];
                        let length = file.read(&mut bytes)?;
                        bytes.truncate(length);
                        Ok(bytes)
                    })?;
                    return Poll::Pending;
                }
            };
            self.left = read;
        }
        let length = self.left.len().min(buf.remaining());
        buf.put_slice(&self.left[..length]);
        self.left.drain(..length);
        Poll::Ready(Ok(()))
    }

    pub(super) fn into_owned_fd(self) -> io::Result<OwnedFd> {
        self.slot.into_owned_fd()
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.slot.file.as_raw_fd()
    }
}

impl std::fmt::Debug for RealReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.slot.file.fmt(f)
    }
}

/// A pipe to a child.
pub(super) struct RealWriter {
    slot: Arc<Slot>,
}

impl RealWriter {
    pub(super) fn new(fd: OwnedFd) -> io::Result<RealWriter> {
        Ok(RealWriter { slot: Slot::new(fd) })
    }

    /// Takes bytes for the thread; what became of them is told by the next call.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_flush(cx))?;
        let bytes = buf[..buf.len().min(CHUNK_BYTES)].to_vec();
        let length = bytes.len();
        self.slot.begin(None, move |mut file| file.write_all(&bytes).map(|()| Vec::new()))?;
        Poll::Ready(Ok(length))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match std::task::ready!(self.slot.poll(cx)) {
            Some(Err(error)) => Poll::Ready(Err(error)),
            Some(Ok(_)) | None => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn into_owned_fd(self) -> io::Result<OwnedFd> {
        self.slot.into_owned_fd()
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.slot.file.as_raw_fd()
    }
}

impl std::fmt::Debug for RealWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.slot.file.fmt(f)
    }
}
