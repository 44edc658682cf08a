//! What a file of the mirror is doing: nothing, or one operation on the blocking pool.
//!
//! Owns the buffer and the operation in flight. Must not know which trait asked. Invariant: an error of a write
//! that was found by somebody else is told by the next write or flush.

use std::fs::File as StdFile;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use real::io::ReadBuf;
use shim_runtime::task::{JoinHandle, spawn_blocking, spawn_mandatory_blocking};

use super::buffer::Buffer;

/// What an operation gave.
#[derive(Debug)]
pub(super) enum Done {
    Read(io::Result<()>),
    Write(io::Result<()>),
    Seek(io::Result<u64>),
}

#[derive(Debug)]
enum State {
    Idle(Buffer),
    Busy(JoinHandle<(Done, Buffer)>),
}

#[derive(Debug)]
pub(super) struct Inner {
    state: State,
    write_error: Option<io::ErrorKind>,
    /// Where the last seek led.
    place: u64,
}

fn failed() -> io::Error {
    io::Error::other("background task failed")
}

impl Inner {
    pub(super) fn new() -> Inner {
        Inner { state: State::Idle(Buffer::default()), write_error: None, place: 0 }
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.state, State::Busy(_))
    }

    /// Waits for the operation in flight; `None` where there is none.
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Done>>> {
        let State::Busy(handle) = &mut self.state else { return Poll::Ready(Ok(None)) };
        match ready!(Pin::new(handle).poll(cx)) {
            Ok((done, buffer)) => {
                self.state = State::Idle(buffer);
                Poll::Ready(Ok(Some(done)))
            }
            Err(error) => {
                self.state = State::Idle(Buffer::default());
                Poll::Ready(Err(error.into()))
            }
        }
    }

    fn take_buffer(&mut self) -> Buffer {
        match &mut self.state {
            State::Idle(buffer) => std::mem::take(buffer),
            State::Busy(_) => panic!("invariant: a file that is busy has no buffer"),
        }
    }

    /// Keeps the error of a write for whoever may be told of it.
    fn note(&mut self, done: &Done) {
        if let Done::Write(Err(error)) = done {
            self.write_error = Some(error.kind());
        }
        if let Done::Seek(Ok(place)) = done {
            self.place = *place;
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        std: &Arc<StdFile>,
        out: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(done) = ready!(self.poll_done(cx))? {
                self.note(&done);
                if let Done::Read(result) = done {
                    result?;
                    let mut buffer = self.take_buffer();
                    buffer.give(out);
                    self.state = State::Idle(buffer);
                    return Poll::Ready(Ok(()));
                }
            }
            let mut buffer = self.take_buffer();
            if !buffer.is_empty() || out.remaining() == 0 {
                buffer.give(out);
                self.state = State::Idle(buffer);
                return Poll::Ready(Ok(()));
            }
            let (std, most) = (Arc::clone(std), most.min(out.remaining()));
            self.state = State::Busy(spawn_blocking(move || {
                let result = buffer.read_from(&mut &*std, most).map(drop);
                (Done::Read(result), buffer)
            }));
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        std: &Arc<StdFile>,
        data: &[IoSlice<'_>],
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if let Some(kind) = self.write_error.take() {
            return Poll::Ready(Err(kind.into()));
        }
        if let Some(Done::Write(result)) = ready!(self.poll_done(cx))? {
            result?;
        }
        let mut buffer = self.take_buffer();
        let back = if buffer.is_empty() { None } else { Some(SeekFrom::Current(buffer.forget())) };
        let count = buffer.fill(data, most);
        let std = Arc::clone(std);
        let handle = spawn_mandatory_blocking(move || {
            let sought = back.map_or(Ok(0), |back| (&*std).seek(back));
            let result = sought.and_then(|_| buffer.write_to(&mut &*std));
            (Done::Write(result), buffer)
        });
        match handle {
            Some(handle) => {
                self.state = State::Busy(handle);
                Poll::Ready(Ok(count))
            }
            None => {
                self.state = State::Idle(Buffer::default());
                Poll::Ready(Err(failed()))
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.write_error.take() {
            return Poll::Ready(Err(kind.into()));
        }
        Poll::Ready(match ready!(self.poll_done(cx))? {
            Some(Done::Write(result)) => result,
            _ => Ok(()),
        })
    }

    pub(super) fn start_seek(&mut self, std: &Arc<StdFile>, mut to: SeekFrom) -> io::Result<()> {
        if self.is_busy() {
            return Err(io::Error::other(
                "other file operation is pending, call poll_complete before start_seek",
            ));
        }
        let mut buffer = self.take_buffer();
        let ahead = buffer.forget();
        let mut first = None;
        if let SeekFrom::Current(offset) = &mut to {
            match offset.checked_add(ahead) {
                Some(whole) => *offset = whole,
                None => first = Some(SeekFrom::Current(ahead)),
            }
        }
        let std = Arc::clone(std);
        self.state = State::Busy(spawn_blocking(move || {
            let result = first.map_or(Ok(0), |first| (&*std).seek(first));
            (Done::Seek(result.and_then(|_| (&*std).seek(to))), buffer)
        }));
        Ok(())
    }

    pub(super) fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        match ready!(self.poll_done(cx))? {
            None => Poll::Ready(Ok(self.place)),
            Some(done) => {
                self.note(&done);
                match done {
                    Done::Seek(result) => Poll::Ready(result),
                    _ => Poll::Ready(Ok(self.place)),
                }
            }
        }
    }

    /// Cuts or extends the file, which must be settled.
    pub(super) async fn set_len(&mut self, std: &Arc<StdFile>, len: u64) -> io::Result<()> {
        let mut buffer = self.take_buffer();
        let back = if buffer.is_empty() { None } else { Some(SeekFrom::Current(buffer.forget())) };
        let std = Arc::clone(std);
        self.state = State::Busy(spawn_blocking(move || {
            let sought = back.map_or(Ok(0), |back| (&*std).seek(back));
            (Done::Seek(sought.and_then(|_| std.set_len(len)).map(|()| 0)), buffer)
        }));
        match poll_fn(|cx| self.poll_done(cx)).await? {
            Some(Done::Seek(result)) => {
                self.place = result?;
                Ok(())
            }
            _ => panic!("invariant: the operation in flight is the own one"),
        }
    }

    /// Waits until nothing is in flight; the error of a write is kept.
    pub(super) async fn settle(&mut self) {
        let flushed = poll_fn(|cx| self.poll_flush(cx)).await;
        if let Err(error) = flushed {
            self.write_error = Some(error.kind());
        }
    }
}
