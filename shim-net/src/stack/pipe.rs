//! Pipes and FIFOs inside one node.
//!
//! Owns [`PipeEnd`] and [`Pipes`]. Must not know sockets beyond their waiters, nor files beyond the number that
//! names a FIFO. Invariant: a pipe is there exactly as long as one of its ends is.
//!
//! The buffer is counted as Linux counts it: in pages, which a write fills from the front, so that small writes
//! can fill a pipe before its bytes do.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

use bytes::Bytes;

use super::Stack;
use super::buffer::{Sink, gather};
use super::readiness::Events;
use super::socket::{Core, Domain, Inner, Kind, SocketId};
use crate::error::{Errno, Result};

/// A page: what is written in one piece at most, and never torn (`PIPE_BUF`).
const PAGE_BYTES: usize = 4096;
/// How many pages a new pipe has.
const PAGES: usize = 16;

/// What names a FIFO on its node: the number of its file.
pub(crate) type FifoKey = u64;

/// One end of a pipe, or both in one (a FIFO that was opened for reading and writing).
#[derive(Clone, Copy)]
pub(crate) struct PipeEnd {
    pipe: u32,
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    /// How many writers there had ever been when a reader came to a FIFO that had none: it sees no end before
    /// another one has come and gone.
    writers_seen: u64,
}

/// The part of a page that is in use.
struct Page {
    data: Vec<u8>,
    start: usize,
}

struct Pipe {
    pages: VecDeque<Page>,
    most: usize,
    ends: Vec<SocketId>,
    readers: usize,
    writers: usize,
    readers_ever: u64,
    writers_ever: u64,
    fifo: Option<FifoKey>,
}

/// The pipes of a node.
#[derive(Default)]
pub(crate) struct Pipes {
    pipes: BTreeMap<u32, Pipe>,
    fifos: BTreeMap<FifoKey, u32>,
    last: u32,
}

impl Pipes {
    fn make(&mut self, fifo: Option<FifoKey>) -> u32 {
        self.last += 1;
        let pipe = Pipe {
            pages: VecDeque::new(),
            most: PAGES,
            ends: Vec::new(),
            readers: 0,
            writers: 0,
            readers_ever: 0,
            writers_ever: 0,
            fifo,
        };
        self.pipes.insert(self.last, pipe);
        self.last
    }

    fn find(&self, end: PipeEnd) -> &Pipe {
        self.pipes.get(&end.pipe).expect("invariant: a pipe is there as long as its ends")
    }

    fn find_mut(&mut self, end: PipeEnd) -> &mut Pipe {
        self.pipes.get_mut(&end.pipe).expect("invariant: a pipe is there as long as its ends")
    }

    /// The machine lost power.
    pub(crate) fn clear(&mut self) {
        *self = Pipes { last: self.last, ..Pipes::default() };
    }

    /// What `poll(2)` would show of an end.
    pub(crate) fn events(&self, core: &Core, end: PipeEnd) -> Events {
        let pipe = self.find(end);
        Events {
            readable: end.reads && !pipe.pages.is_empty(),
            writable: end.writes && !pipe.is_full(),
            hang_up: end.reads && pipe.writers == 0 && pipe.writers_ever != end.writers_seen,
            error: (end.writes && pipe.readers == 0) || core.error.is_some(),
            ..Events::default()
        }
    }
}

impl Pipe {
    fn is_full(&self) -> bool {
        self.pages.len() >= self.most
    }

    fn len(&self) -> usize {
        self.pages.iter().map(|page| page.data.len() - page.start).sum()
    }

    /// Copies in what there is room for; how much.
    fn write(&mut self, data: &[u8]) -> usize {
        let mut rest = data;
        let odd = data.len() % PAGE_BYTES;
        if odd > 0
            && let Some(last) = self.pages.back_mut()
            && last.data.len() + odd <= PAGE_BYTES
        {
            last.data.extend_from_slice(&rest[..odd]);
            rest = &rest[odd..];
        }
        while !rest.is_empty() && !self.is_full() {
            let (page, more) = rest.split_at(rest.len().min(PAGE_BYTES));
            self.pages.push_back(Page { data: page.to_vec(), start: 0 });
            rest = more;
        }
        data.len() - rest.len()
    }

    fn read(&mut self, sink: &mut impl Sink) -> usize {
        let mut total = 0;
        while let Some(page) = self.pages.front_mut() {
            let taken = sink.take(&page.data[page.start..]);
            total += taken;
            page.start += taken;
            if page.start < page.data.len() {
                break;
            }
            self.pages.pop_front();
        }
        total
    }
}

impl Stack {
    /// `pipe(2)`: the end to read from, and the end to write to.
    pub(crate) fn pipe(&mut self) -> Result<(SocketId, SocketId)> {
        let pipe = self.pipes.make(None);
        let reader = self.pipe_end(pipe, true, false)?;
        let writer = self.pipe_end(pipe, false, true)?;
        Ok((reader, writer))
    }

    /// `open(2)` of a FIFO, as far as it does not wait; and whether it must wait for the other side.
    pub(crate) fn fifo_open(
        &mut self,
        key: FifoKey,
        (reads, writes): (bool, bool),
        waits: bool,
    ) -> Result<(SocketId, bool)> {
        let known = self.pipes.fifos.get(&key).copied();
        let pipe = match known {
            Some(pipe) => pipe,
            None if writes && !reads && !waits => return Err(Errno(libc::ENXIO)),
            None => {
                let pipe = self.pipes.make(Some(key));
                self.pipes.fifos.insert(key, pipe);
                pipe
            }
        };
        let there = &self.pipes.pipes[&pipe];
        let (alone, deaf) = (there.writers == 0, there.readers == 0);
        if writes && !reads && deaf && !waits {
            return Err(Errno(libc::ENXIO));
        }
        let id = self.pipe_end(pipe, reads, writes)?;
        let must_wait = waits && reads != writes && if reads { alone } else { deaf };
        Ok((id, must_wait))
    }

    /// How many of the other side have ever come.
    pub(crate) fn fifo_count(&self, id: SocketId) -> Result<u64> {
        let end = self.pipe_of(id)?;
        Ok(self.pipes.find(end).met(end))
    }

    /// Whether an end is for reading, and whether for writing.
    pub(crate) fn pipe_access(&self, id: SocketId) -> Result<(bool, bool)> {
        self.pipe_of(id).map(|end| (end.reads, end.writes))
    }

    fn pipe_of(&self, id: SocketId) -> Result<PipeEnd> {
        match &self.table.find(id)?.inner {
            Inner::Pipe(end) => Ok(*end),
            _ => Err(Errno::EINVAL),
        }
    }

    fn pipe_end(&mut self, pipe: u32, reads: bool, writes: bool) -> Result<SocketId> {
        let there =
            self.pipes.pipes.get_mut(&pipe).expect("invariant: an end is made of a pipe that is there");
        let writers_seen =
            if there.fifo.is_some() && there.writers == 0 && !writes { there.writers_ever } else { 0 };
        let end = PipeEnd { pipe, reads, writes, writers_seen };
        there.readers += usize::from(reads);
        there.readers_ever += u64::from(reads);
        there.writers += usize::from(writes);
        there.writers_ever += u64::from(writes);
        let id = self.table.insert(Domain::Pipe, Kind::Stream, Inner::Pipe(end));
        self.pipes.find_mut(end).ends.push(id);
        self.wake_ends(end, |_| true, true, true);
        Ok(id)
    }

    /// Tells those ends of a pipe that are `chosen` of an event.
    fn wake_ends(&mut self, end: PipeEnd, chosen: fn(&PipeEnd) -> bool, readers: bool, writers: bool) {
        for id in self.pipes.find(end).ends.clone() {
            let Ok(socket) = self.table.find_mut(id) else { continue };
            let Inner::Pipe(other) = &socket.inner else { continue };
            if !chosen(other) {
                continue;
            }
            if readers {
                socket.core.wake_readers(&mut self.fx);
            }
            if writers {
                socket.core.wake_writers(&mut self.fx);
            }
        }
    }

    /// `read(2)`.
    pub(crate) fn pipe_read(&mut self, end: PipeEnd, sink: &mut impl Sink) -> Result<usize> {
        if !end.reads {
            return Err(Errno::EBADF);
        }
        let pipe = self.pipes.find_mut(end);
        if sink.is_full() || (pipe.pages.is_empty() && pipe.writers == 0) {
            return Ok(0);
        }
        let was_full = pipe.is_full();
        match pipe.read(sink) {
            0 => Err(Errno::EAGAIN),
            len => {
                if was_full && !self.pipes.find(end).is_full() {
                    self.wake_ends(end, |other| other.writes, false, true);
                }
                Ok(len)
            }
        }
    }

    /// `write(2)`.
    pub(crate) fn pipe_write(&mut self, end: PipeEnd, data: &[IoSlice<'_>]) -> Result<usize> {
        if !end.writes {
            return Err(Errno::EBADF);
        }
        let data: Bytes = gather(data, usize::MAX);
        let pipe = self.pipes.find_mut(end);
        if data.is_empty() {
            return Ok(0);
        }
        if pipe.readers == 0 {
            return Err(Errno::EPIPE);
        }
        match pipe.write(&data) {
            0 => Err(Errno::EAGAIN),
            len => {
                self.wake_ends(end, |other| other.reads, true, false);
                Ok(len)
            }
        }
    }

    /// How much there is to read.
    pub(crate) fn pipe_len(&self, id: SocketId) -> Result<usize> {
        Ok(self.pipes.find(self.pipe_of(id)?).len())
    }

    /// `F_SETPIPE_SZ`, already rounded to pages.
    pub(crate) fn pipe_resize(&mut self, id: SocketId, bytes: usize) -> Result<()> {
        let end = self.pipe_of(id)?;
        let pipe = self.pipes.find_mut(end);
        let pages = bytes / PAGE_BYTES;
        if pages < pipe.pages.len() {
            return Err(Errno(libc::EBUSY));
        }
        pipe.most = pages;
        self.wake_ends(end, |other| other.writes, false, true);
        Ok(())
    }

    /// `close(2)` of an end.
    pub(crate) fn pipe_close(&mut self, id: SocketId, end: PipeEnd) {
        self.free(id.index());
        let pipe = self.pipes.find_mut(end);
        pipe.ends.retain(|other| *other != id);
        pipe.readers -= usize::from(end.reads);
        pipe.writers -= usize::from(end.writes);
        if !pipe.ends.is_empty() {
            return self.wake_ends(end, |_| true, true, true);
        }
        let fifo = pipe.fifo;
        self.pipes.pipes.remove(&end.pipe);
        if let Some(key) = fifo {
            self.pipes.fifos.remove(&key);
        }
    }
}

impl Pipe {
    fn met(&self, end: PipeEnd) -> u64 {
        if end.reads { self.writers_ever } else { self.readers_ever }
    }
}
