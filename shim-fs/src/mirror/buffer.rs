//! The buffer between a file and whoever reads or writes it.
//!
//! Owns the bytes that were read ahead, or are about to be written. Must not know files. Invariant: it is
//! empty before it is filled from either side.

use std::io::{self, IoSlice, Read, Write};

use real::io::ReadBuf;

/// How much one operation moves, unless somebody says otherwise.
pub(super) const DEFAULT_MAX_BUF_SIZE: usize = 2 << 20;

#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    /// Gives as much as `to` takes.
    pub(super) fn give(&mut self, to: &mut ReadBuf<'_>) {
        let count = self.len().min(to.remaining());
        to.put_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes up to `most` of what is to be written.
    pub(super) fn fill(&mut self, buffers: &[IoSlice<'_>], most: usize) -> usize {
        debug_assert!(self.is_empty(), "invariant: nothing is written over");
        for buffer in buffers {
            let room = most - self.bytes.len();
            self.bytes.extend_from_slice(&buffer[..buffer.len().min(room)]);
        }
        self.bytes.len()
    }

    /// Forgets what was read ahead; by how much the file's place must move to be where the reader is.
    pub(super) fn forget(&mut self) -> i64 {
        let ahead = -(self.len() as i64);
        self.clear();
        ahead
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.taken = 0;
    }

    /// Reads up to `most` bytes.
    pub(super) fn read_from(&mut self, from: &mut impl Read, most: usize) -> io::Result<usize> {
        self.bytes.resize(most, 0);
        self.taken = 0;
        let result = loop {
            match from.read(&mut self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.bytes.truncate(*result.as_ref().unwrap_or(&0));
        result
    }

    /// Writes everything; what could not be written is forgotten.
    pub(super) fn write_to(&mut self, to: &mut impl Write) -> io::Result<()> {
        let result = to.write_all(&self.bytes[self.taken..]);
        self.clear();
        result
    }
}
