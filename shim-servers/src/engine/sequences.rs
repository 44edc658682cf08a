//! The numbers that sequences gave.
//!
//! Owns the last number of each. Must not know names. Invariant: a number is given once: rolling back does not
//! bring it back, and a transaction that used it writes it down before it commits.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::catalog::Sequence;
use super::error::{Condition, Result, SqlError};

/// The state of all sequences of a database, by number.
#[derive(Debug, Default)]
pub struct Sequences {
    last: Mutex<BTreeMap<u32, State>>,
}

/// The last number, and whether it was given already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) last: i64,
    pub(crate) called: bool,
}

impl Sequences {
    pub(crate) fn load(&self, states: impl IntoIterator<Item = (u32, State)>) {
        self.with(|map| *map = states.into_iter().collect());
    }

    /// The next number.
    ///
    /// # Errors
    /// `2200H` is not kept apart: `22003` at the end of a sequence that does not begin again.
    pub fn next(&self, name: &str, sequence: &Sequence) -> Result<i64> {
        self.with(|map| {
            let state = map.entry(sequence.oid).or_insert(State { last: sequence.start, called: false });
            let next =
                if state.called { state.last.checked_add(sequence.increment) } else { Some(state.last) };
            let up = sequence.increment > 0;
            let next = match next {
                Some(next) if next >= sequence.min && next <= sequence.max => next,
                _ if sequence.cycle && up => sequence.min,
                _ if sequence.cycle => sequence.max,
                _ => {
                    let (end, bound) = if up { ("maximum", sequence.max) } else { ("minimum", sequence.min) };
                    let message = format!("nextval: reached {end} value of sequence \"{name}\" ({bound})");
                    return Err(SqlError::new(Condition::NumericValueOutOfRange, message));
                }
            };
            *state = State { last: next, called: true };
            Ok(next)
        })
    }

    /// Sets the last number.
    pub fn set(&self, oid: u32, last: i64, called: bool) {
        self.with(|map| map.insert(oid, State { last, called }));
    }

    pub(crate) fn states_of(&self, oids: impl IntoIterator<Item = u32>) -> Vec<(u32, State)> {
        self.with(|map| oids.into_iter().filter_map(|oid| map.get(&oid).map(|state| (oid, *state))).collect())
    }

    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<u32, State>) -> R) -> R {
        f(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
