//! Streams: entries with growing numbers, and groups that share them out.
//!
//! Owns a stream's data. Must not know commands or clients. Invariant: no entry is younger than `last_id`.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::numbers::parse_integer;

/// The name of an entry: milliseconds since 1970, and a number within them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct StreamId {
    pub(crate) ms: u64,
    pub(crate) sequence: u64,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.sequence)
    }
}

impl StreamId {
    pub(crate) const ZERO: StreamId = StreamId { ms: 0, sequence: 0 };
    pub(crate) const MAX: StreamId = StreamId { ms: u64::MAX, sequence: u64::MAX };

    /// `ms-sequence`, or `ms` with `sequence` from the argument.
    pub(crate) fn parse(text: &[u8], sequence: u64) -> Option<StreamId> {
        let number = |text: &[u8]| -> Option<u64> {
            let is_small = parse_integer(text).is_some_and(|number| number >= 0);
            let text = std::str::from_utf8(text).ok()?;
            (is_small || text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
        };
        match text.iter().position(|byte| *byte == b'-') {
            None => Some(StreamId { ms: number(text)?, sequence }),
            Some(dash) => Some(StreamId { ms: number(&text[..dash])?, sequence: number(&text[dash + 1..])? }),
        }
    }

    /// The next one, if there is one.
    pub(crate) fn next(self) -> Option<StreamId> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(StreamId { sequence, ..self }),
            None => Some(StreamId { ms: self.ms.checked_add(1)?, sequence: 0 }),
        }
    }

    /// The one before, if there is one.
    pub(crate) fn previous(self) -> Option<StreamId> {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Some(StreamId { sequence, ..self }),
            None => Some(StreamId { ms: self.ms.checked_sub(1)?, sequence: u64::MAX }),
        }
    }
}

/// Entries and groups.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Stream {
    pub(crate) entries: BTreeMap<StreamId, Vec<Bytes>>,
    pub(crate) last_id: StreamId,
    pub(crate) max_deleted_id: StreamId,
    pub(crate) entries_added: u64,
    pub(crate) groups: BTreeMap<Bytes, Group>,
}

/// Consumers that share a stream.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Group {
    pub(crate) last_id: StreamId,
    pub(crate) entries_read: Option<u64>,
    pub(crate) pending: BTreeMap<StreamId, Pending>,
    pub(crate) consumers: BTreeMap<Bytes, Consumer>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Pending {
    pub(crate) consumer: Bytes,
    pub(crate) delivered_ms: i64,
    pub(crate) deliveries: u64,
}

/// A member of a group.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Consumer {
    pub(crate) seen_ms: i64,
}

impl Stream {
    /// How many entries a group has not read, where that can be told.
    pub(crate) fn lag(&self, group: &Group) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        let has_gap = !self.entries.is_empty()
            && self.max_deleted_id != StreamId::ZERO
            && group.last_id <= self.max_deleted_id;
        if let Some(read) = group.entries_read.filter(|_| !has_gap) {
            return Some(self.entries_added.saturating_sub(read));
        }
        self.read_until(group.last_id).map(|read| self.entries_added - read)
    }

    /// How many entries were added up to `id`, where that can be told.
    pub(crate) fn read_until(&self, id: StreamId) -> Option<u64> {
        let added = self.entries_added;
        if added == 0 {
            return Some(0);
        }
        let length = self.entries.len() as u64;
        if id == self.last_id || (length == 0 && id < self.last_id) {
            return Some(added);
        }
        if id > self.last_id {
            return None;
        }
        let first = *self.entries.keys().next()?;
        let is_whole = self.max_deleted_id == StreamId::ZERO || self.max_deleted_id < first;
        if id < first && is_whole {
            return Some(added - length);
        }
        if id == first && is_whole {
            return Some(added - length + 1);
        }
        None
    }

    /// Takes an entry out.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        let is_there = self.entries.remove(&id).is_some();
        if is_there && id > self.max_deleted_id {
            self.max_deleted_id = id;
        }
        is_there
    }
}
