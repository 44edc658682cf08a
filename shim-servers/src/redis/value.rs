//! What a key holds.
//!
//! Owns the types of values and their text form in snapshots. Must not know keys, clients or time. Invariant: a collection that
//! a key holds is never empty, but for streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};

use super::numbers::parse_integer;
use super::stream::Stream;

/// The value of a key.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Value {
    String(Bytes),
    List(VecDeque<Bytes>),
    Set(IndexSet<Bytes>),
    Hash(IndexMap<Bytes, Bytes>),
    Sorted(SortedSet),
    Stream(Box<Stream>),
}

impl Value {
    /// What TYPE says.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::String(_) => "string",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Hash(_) => "hash",
            Value::Sorted(_) => "zset",
            Value::Stream(_) => "stream",
        }
    }

    /// Whether the key that holds it has to go.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Value::String(_) | Value::Stream(_) => false,
            Value::List(list) => list.is_empty(),
            Value::Set(set) => set.is_empty(),
            Value::Hash(hash) => hash.is_empty(),
            Value::Sorted(sorted) => sorted.is_empty(),
        }
    }

    /// What OBJECT ENCODING says: Redis's choice for a value of this size.
    pub(crate) fn encoding(&self) -> &'static str {
        let is_short = |bytes: &Bytes| bytes.len() <= 64;
        match self {
            Value::String(text) if parse_integer(text).is_some() => "int",
            Value::String(text) if text.len() <= 44 => "embstr",
            Value::String(_) => "raw",
            Value::List(_) => "quicklist",
            Value::Set(set) if is_integers(set) => "intset",
            Value::Set(_) => "hashtable",
            Value::Hash(hash) => {
                let is_small = hash.len() <= 512 && hash.iter().all(|(k, v)| is_short(k) && is_short(v));
                if is_small { "listpack" } else { "hashtable" }
            }
            Value::Sorted(sorted) => {
                let is_small = sorted.len() <= 128 && sorted.iter().all(|(_, member)| is_short(member));
                if is_small { "listpack" } else { "skiplist" }
            }
            Value::Stream(_) => "stream",
        }
    }
}

/// Whether a set is one that Redis keeps as sorted integers.
pub(crate) fn is_integers(set: &IndexSet<Bytes>) -> bool {
    set.len() <= 512 && set.iter().all(|member| parse_integer(member).is_some())
}

/// The members of a set in Redis's order: integers by size, others as they came.
pub(crate) fn members(set: &IndexSet<Bytes>) -> Vec<Bytes> {
    let mut members: Vec<Bytes> = set.iter().cloned().collect();
    if is_integers(set) {
        members.sort_by_key(|member| parse_integer(member));
    }
    members
}

/// A score: a number that is not NaN, with an order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score(pub(crate) f64);

impl PartialEq for Score {
    fn eq(&self, other: &Score) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Score) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Score) -> std::cmp::Ordering {
        // Both zeros are the same score.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

/// Members with scores, in the order of score and member.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Vec<(Bytes, f64)>", into = "Vec<(Bytes, f64)>")]
pub(crate) struct SortedSet {
    scores: BTreeMap<Bytes, f64>,
    order: BTreeSet<(Score, Bytes)>,
}

impl SortedSet {
    pub(crate) fn len(&self) -> usize {
        self.scores.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        self.scores.get(member).copied()
    }

    /// Sets a member's score, and says which one it had.
    pub(crate) fn insert(&mut self, member: Bytes, score: f64) -> Option<f64> {
        // A small set of Redis's keeps whole numbers as integers, which have no negative zero.
        let score = score + 0.0;
        let old = self.scores.insert(member.clone(), score);
        if let Some(old) = old {
            self.order.remove(&(Score(old), member.clone()));
        }
        self.order.insert((Score(score), member));
        old
    }

    pub(crate) fn remove(&mut self, member: &Bytes) -> Option<f64> {
        let score = self.scores.remove(member)?;
        self.order.remove(&(Score(score), member.clone()));
        Some(score)
    }

    /// Scores and members, the smallest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (f64, &Bytes)> + ExactSizeIterator {
        self.order.iter().map(|(score, member)| (score.0, member))
    }

    /// How many members come before this one.
    pub(crate) fn rank(&self, member: &Bytes) -> Option<usize> {
        let place = (Score(self.score(member)?), member.clone());
        Some(self.order.range(..place).count())
    }
}

impl From<Vec<(Bytes, f64)>> for SortedSet {
    fn from(pairs: Vec<(Bytes, f64)>) -> SortedSet {
        let mut sorted = SortedSet::default();
        for (member, score) in pairs {
            sorted.insert(member, score);
        }
        sorted
    }
}

impl From<SortedSet> for Vec<(Bytes, f64)> {
    fn from(sorted: SortedSet) -> Vec<(Bytes, f64)> {
        sorted.scores.into_iter().collect()
    }
}
