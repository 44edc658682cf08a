//! Databases: keys with values and times of expiry.
//!
//! Owns the order in which keys are walked. Must not know commands. Invariant: keys are walked by slot, then by hash, so that a
//! walk that is interrupted goes on where it was, whatever was added or removed meanwhile.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::value::Value;

/// The number of slots of a cluster.
pub(crate) const SLOTS: u16 = 16384;

/// The slot of a key: of the part between `{` and `}`, where there is one.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Where a key stands in the order of a walk: 14 bits of its slot, then 48 of a hash.
pub(crate) fn place_of(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (u64::from(slot_of(key)) << 48) | (hash >> 16)
}

/// A value and when it goes.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    /// Milliseconds since 1970.
    pub(crate) expires_at_ms: Option<i64>,
    /// When it was used last, in milliseconds since 1970.
    pub(crate) used_ms: i64,
}

/// One of the databases that SELECT chooses from.
#[derive(Debug, Default)]
pub(crate) struct Database {
    entries: BTreeMap<(u64, Bytes), Entry>,
    /// Keys by the time at which they go.
    expiries: BTreeMap<(i64, Bytes), ()>,
}

impl Database {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many keys have a time at which they go.
    pub(crate) fn expiring(&self) -> usize {
        self.expiries.len()
    }

    pub(crate) fn find(&self, key: &Bytes) -> Option<&Entry> {
        self.entries.get(&(place_of(key), key.clone()))
    }

    pub(crate) fn find_mut(&mut self, key: &Bytes) -> Option<&mut Value> {
        self.entries.get_mut(&(place_of(key), key.clone())).map(|entry| &mut entry.value)
    }

    pub(crate) fn set_used(&mut self, key: &Bytes, used_ms: i64) {
        if let Some(entry) = self.entries.get_mut(&(place_of(key), key.clone())) {
            entry.used_ms = used_ms;
        }
    }

    pub(crate) fn insert(&mut self, key: Bytes, entry: Entry) {
        self.remove(&key);
        if let Some(at) = entry.expires_at_ms {
            self.expiries.insert((at, key.clone()), ());
        }
        self.entries.insert((place_of(&key), key), entry);
    }

    pub(crate) fn remove(&mut self, key: &Bytes) -> Option<Entry> {
        let entry = self.entries.remove(&(place_of(key), key.clone()))?;
        if let Some(at) = entry.expires_at_ms {
            self.expiries.remove(&(at, key.clone()));
        }
        Some(entry)
    }

    /// Says when a key goes, or that it does not.
    pub(crate) fn set_expiry(&mut self, key: &Bytes, expires_at_ms: Option<i64>) {
        let Some(entry) = self.entries.get_mut(&(place_of(key), key.clone())) else { return };
        if let Some(at) = entry.expires_at_ms {
            self.expiries.remove(&(at, key.clone()));
        }
        entry.expires_at_ms = expires_at_ms;
        if let Some(at) = expires_at_ms {
            self.expiries.insert((at, key.clone()), ());
        }
    }

    /// Up to `most` keys whose time has come.
    pub(crate) fn expired(&self, now_ms: i64, most: usize) -> Vec<Bytes> {
        let due = self.expiries.keys().take_while(|(at, _)| *at <= now_ms);
        due.take(most).map(|(_, key)| key.clone()).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.expiries.clear();
    }

    /// All keys with their entries, in the order of a walk.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Entry)> {
        self.entries.iter().map(|((_, key), entry)| (key, entry))
    }

    /// The keys of a walk from `cursor` on: at least `count` of them if there are so many, and where to go on; 0 at the end.
    pub(crate) fn walk(&self, cursor: u64, count: usize) -> (u64, Vec<(&Bytes, &Entry)>) {
        let mut found: Vec<(&Bytes, &Entry)> = Vec::new();
        let mut last = None;
        let from = (Bound::Included((cursor, Bytes::new())), Bound::Unbounded);
        for ((place, key), entry) in self.entries.range(from) {
            // Keys of the same place come together, or the next call would miss some.
            if found.len() >= count && last != Some(*place) {
                return (*place, found);
            }
            last = Some(*place);
            found.push((key, entry));
        }
        (0, found)
    }

    /// The keys of one slot.
    pub(crate) fn keys_of_slot(&self, slot: u16) -> impl Iterator<Item = &Bytes> {
        let first = (u64::from(slot) << 48, Bytes::new());
        let behind = (u64::from(slot + 1) << 48, Bytes::new());
        self.entries.range(first..behind).map(|((_, key), _)| key)
    }

    /// The key at this position of a walk.
    pub(crate) fn key_at(&self, index: usize) -> Option<&Bytes> {
        self.entries.keys().nth(index).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"foo"), 12182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    #[test]
    fn a_walk_sees_all_keys_that_stay() {
        let mut database = Database::default();
        for number in 0..500 {
            let key = Bytes::from(format!("key{number}"));
            let value = Value::String(Bytes::new());
            database.insert(key, Entry { value, expires_at_ms: None, used_ms: 0 });
        }
        let (mut cursor, mut seen) = (0, 0);
        loop {
            let (next, found) = database.walk(cursor, 10);
            seen += found.len();
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(seen, 500);
    }
}
