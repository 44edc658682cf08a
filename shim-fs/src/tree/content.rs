//! What a file contains, and what of that is durable.
//!
//! Owns the bytes. Must not know names. Invariant: a page without a pre-image is, up to the durable length,
//! what it was at the last sync.

use std::collections::BTreeMap;

use shim_runtime::rng::Stream;

use crate::error::Result;
use crate::faults::PowerLoss;
use crate::host::machine::{self, MemoryFile};

/// What a pre-image covers.
const PAGE: u64 = 4096;
/// What a disk writes at once: a page may be torn between two of these.
const SECTOR: u64 = 512;

/// Where the bytes are.
pub(crate) enum Store {
    /// In the machine's file of this path, as they were when the file was first seen.
    Image(Vec<u8>),
    /// Here.
    Bytes(Vec<u8>),
    /// In a file of memory, because the file is or was open.
    Memory(MemoryFile),
}

/// A file's bytes.
pub(crate) struct Content {
    store: Store,
    len: u64,
    durable_len: u64,
    pre_images: BTreeMap<u64, Vec<u8>>,
    /// Somebody can write without being seen: by a shared mapping, or libc's own streams.
    unseen_writers: bool,
}

impl Content {
    /// An empty file, of which nothing is durable.
    pub(crate) fn empty() -> Content {
        Content::new(Store::Bytes(Vec::new()), 0)
    }

    /// The machine's file at `path`.
    pub(crate) fn image(path: Vec<u8>, len: u64) -> Content {
        Content::new(Store::Image(path), len)
    }

    fn new(store: Store, len: u64) -> Content {
        Content { store, len, durable_len: len, pre_images: BTreeMap::new(), unseen_writers: false }
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> u64 {
        match &self.store {
            Store::Memory(file) if self.unseen_writers => file.len(),
            _ => self.len,
        }
    }

    /// The path of the machine's file, where this is still that.
    pub(crate) fn image_path(&self) -> Option<&[u8]> {
        match &self.store {
            Store::Image(path) => Some(path),
            _ => None,
        }
    }

    /// The file of memory that the bytes are in from now on.
    pub(crate) fn memory(&mut self) -> Result<&MemoryFile> {
        if !matches!(self.store, Store::Memory(_)) {
            let bytes = self.take_bytes()?;
            let file = MemoryFile::new()?;
            file.write_at(&bytes, 0)?;
            self.store = Store::Memory(file);
        }
        match &self.store {
            Store::Memory(file) => Ok(file),
            _ => unreachable!("invariant: the bytes were just put there"),
        }
    }

    /// The bytes need no descriptor from now on; does nothing where somebody may still reach them by one.
    pub(crate) fn release(&mut self) -> Result<()> {
        if matches!(self.store, Store::Memory(_)) && !self.unseen_writers {
            let bytes = self.take_bytes()?;
            self.store = Store::Bytes(bytes);
        }
        Ok(())
    }

    fn take_bytes(&mut self) -> Result<Vec<u8>> {
        match &mut self.store {
            Store::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Store::Image(path) => machine::read(path, self.len),
            Store::Memory(file) => file.read_at(0, self.len),
        }
    }

    /// All bytes.
    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        match &self.store {
            Store::Bytes(bytes) => Ok(bytes.clone()),
            Store::Image(path) => machine::read(path, self.len),
            Store::Memory(file) => file.read_at(0, self.len()),
        }
    }

    /// Replaces all bytes.
    pub(crate) fn replace(&mut self, bytes: &[u8]) -> Result<()> {
        self.set_len(0)?;
        self.will_write(0, bytes.len() as u64)?;
        self.memory()?.write_at(bytes, 0)?;
        self.did_write(bytes.len() as u64);
        Ok(())
    }

    /// Bytes in `from..from + len` are about to change: saves what is durable of them.
    pub(crate) fn will_write(&mut self, from: u64, len: u64) -> Result<()> {
        let end = from.saturating_add(len).min(self.durable_len);
        if from >= end {
            return Ok(());
        }
        self.memory()?;
        for page in from / PAGE..end.div_ceil(PAGE) {
            if self.pre_images.contains_key(&page) {
                continue;
            }
            let start = page * PAGE;
            let len = PAGE.min(self.durable_len - start);
            let bytes = self.memory()?.read_at(start, len)?;
            self.pre_images.insert(page, bytes);
        }
        Ok(())
    }

    /// Bytes were written up to `end`.
    pub(crate) fn did_write(&mut self, end: u64) {
        self.len = self.len.max(end);
    }

    /// Cuts or extends the file.
    pub(crate) fn set_len(&mut self, len: u64) -> Result<()> {
        if len < self.durable_len {
            self.will_write(len, self.durable_len - len)?;
        }
        self.memory()?.set_len(len)?;
        self.len = len;
        Ok(())
    }

    /// All bytes are durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.len = self.len();
        self.pre_images.clear();
        self.durable_len = self.len;
        if self.unseen_writers { self.will_write(0, self.len) } else { Ok(()) }
    }

    /// Whether a sync would have something to do.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.pre_images.is_empty() || self.len() != self.durable_len
    }

    /// Somebody is about to write without being seen: all that is durable is saved.
    pub(crate) fn expect_unseen_writers(&mut self) -> Result<()> {
        self.will_write(0, self.durable_len)?;
        self.memory()?;
        self.unseen_writers = true;
        Ok(())
    }

    /// The machine lost power: what is left, and how many bytes are not as they were written.
    pub(crate) fn lose_power(&mut self, how: PowerLoss, draw: &mut Stream) -> Result<u64> {
        self.len = self.len();
        self.unseen_writers = false;
        let before = self.len;
        if how == PowerLoss::Nothing || !self.is_dirty() {
            self.sync()?;
            return Ok(0);
        }
        let mut bytes = self.read()?;
        let kept = match how {
            PowerLoss::Torn => Fate::drawn(draw),
            _ => Fate::Lost,
        };
        let len = kept.len(self.durable_len, before, draw);
        let common = self.durable_len.min(before);
        bytes.resize(before.max(self.durable_len).max(len) as usize, 0);
        let mut lost = len.abs_diff(before);
        for (page, old) in std::mem::take(&mut self.pre_images) {
            for (place, old) in old.chunks(SECTOR as usize).enumerate() {
                let start = (page * PAGE + place as u64 * SECTOR) as usize;
                let now = &mut bytes[start..start + old.len()];
                let exists = (start as u64) < before;
                if now != old && !(exists && kept.sector(draw)) {
                    now.copy_from_slice(old);
                    lost += old.len() as u64;
                }
            }
        }
        // New sectors that did not get there are zeros.
        let mut start = common.next_multiple_of(SECTOR);
        while start < len {
            let end = (start + SECTOR).min(len);
            if !kept.sector(draw) {
                bytes[start as usize..end as usize].fill(0);
                lost += end - start;
            }
            start = end;
        }
        bytes.truncate(len as usize);
        self.store = Store::Bytes(bytes);
        (self.len, self.durable_len) = (len, len);
        Ok(lost)
    }
}

/// What becomes of one file's un-synced writes.
#[derive(Clone, Copy)]
enum Fate {
    Lost,
    Kept,
    Torn,
}

impl Fate {
    fn drawn(draw: &mut Stream) -> Fate {
        match draw.below(4) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Torn,
        }
    }

    fn sector(self, draw: &mut Stream) -> bool {
        match self {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Torn => draw.below(2) == 0,
        }
    }

    fn len(self, durable: u64, now: u64, draw: &mut Stream) -> u64 {
        match self {
            Fate::Lost => durable,
            Fate::Kept => now,
            Fate::Torn if draw.below(2) == 0 => durable,
            Fate::Torn if now <= durable => now,
            Fate::Torn => {
                let sectors = draw.between(0, (now - durable).div_ceil(SECTOR));
                (durable + sectors * SECTOR).min(now)
            }
        }
    }
}
