//! The journal: each change, as a request that makes it again.
//!
//! Owns the form of a record and what is not on the disk yet. Must not know files or sockets. Invariant: a record carries all
//! that its command depends on beside the data (database, time, randomness), so that it does the same wherever it is applied.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::wire::encode_request;

/// What a command depends on beside the data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Circumstances {
    pub(crate) database: usize,
    /// Milliseconds since 1970.
    pub(crate) now_ms: i64,
    pub(crate) seed: u64,
}

impl Circumstances {
    fn header(self) -> Bytes {
        format!("@{} {} {}", self.database, self.now_ms, self.seed).into()
    }

    /// Reads a record's first argument; `None` for a request that is no record.
    pub(crate) fn parse(header: &[u8]) -> Option<Circumstances> {
        let text = std::str::from_utf8(header.strip_prefix(b"@")?).ok()?;
        let mut parts = text.split(' ');
        let database = parts.next()?.parse().ok()?;
        let now_ms = parts.next()?.parse().ok()?;
        let seed = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Circumstances { database, now_ms, seed })
    }
}

/// Writes a record behind what `out` holds.
pub(crate) fn encode_record(circumstances: Circumstances, command: &[Bytes], out: &mut BytesMut) {
    let mut record = Vec::with_capacity(command.len() + 1);
    record.push(circumstances.header());
    record.extend_from_slice(command);
    encode_request(&record, out);
}

/// Whether the changes of a transaction are being written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Grouping {
    #[default]
    None,
    /// In EXEC, and nothing was changed yet.
    Pending,
    /// In EXEC, and MULTI was written.
    Open,
}

/// What is to be written to the append-only file.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) is_kept: bool,
    pub(crate) pending: BytesMut,
    /// How many bytes were ever appended: what is safe is told in the same count.
    pub(crate) appended: u64,
    pub(crate) wants_rewrite: bool,
    pub(crate) grouping: Grouping,
    pub(crate) ready: Arc<Notify>,
}

impl Journal {
    /// Appends bytes of whole records.
    pub(crate) fn append(&mut self, records: &[u8]) {
        if !self.is_kept {
            return;
        }
        self.pending.extend_from_slice(records);
        self.appended += records.len() as u64;
        self.ready.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let circumstances = Circumstances { database: 3, now_ms: 1_700_000_000_000, seed: u64::MAX };
        assert_eq!(Circumstances::parse(&circumstances.header()), Some(circumstances));
        assert_eq!(Circumstances::parse(b"PING"), None);
    }
}
