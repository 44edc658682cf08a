//! Advisory locks: locks on numbers, whose meaning the application knows.
//!
//! Owns who holds which, and who waits. Must not know SQL. Invariant: a lock is granted in the order of asking among
//! those that it can be granted to, and a holder may take it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// What is locked: one number of 64 bits, or two of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdvisoryKey {
    /// `pg_advisory_lock(bigint)`
    One(i64),
    /// `pg_advisory_lock(int, int)`
    Two(i32, i32),
}

/// The advisory locks of a database.
#[derive(Debug, Default)]
pub struct Advisory {
    locks: Mutex<BTreeMap<AdvisoryKey, Lock>>,
}

#[derive(Debug, Default)]
struct Lock {
    holders: Vec<Holder>,
    waiting: VecDeque<(Holder, oneshot::Sender<()>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    session: i32,
    shared: bool,
    /// Given back at the end of the transaction.
    transaction: bool,
}

impl Lock {
    fn admits(&self, wanted: Holder) -> bool {
        self.holders.iter().all(|holder| holder.session == wanted.session || (holder.shared && wanted.shared))
    }

    /// Grants what can be granted now.
    fn grant(&mut self) {
        while let Some((holder, _)) = self.waiting.front() {
            if !self.admits(*holder) {
                return;
            }
            if let Some((holder, sender)) = self.waiting.pop_front() {
                // One that no longer waits is passed over.
                if sender.send(()).is_ok() {
                    self.holders.push(holder);
                }
            }
        }
    }
}

impl Advisory {
    /// Takes the lock if nobody else has it.
    pub fn try_lock(&self, session: i32, key: AdvisoryKey, shared: bool, transaction: bool) -> bool {
        self.with(|locks| {
            let lock = locks.entry(key).or_default();
            let holder = Holder { session, shared, transaction };
            let held = lock.holders.iter().any(|other| other.session == session);
            let granted = lock.admits(holder) && (held || lock.waiting.is_empty());
            if granted {
                lock.holders.push(holder);
            } else if lock.holders.is_empty() && lock.waiting.is_empty() {
                locks.remove(&key);
            }
            granted
        })
    }

    /// Takes the lock, or gives what to wait for; it is held once that comes.
    pub fn lock(
        &self,
        session: i32,
        key: AdvisoryKey,
        shared: bool,
        transaction: bool,
    ) -> Option<oneshot::Receiver<()>> {
        if self.try_lock(session, key, shared, transaction) {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        self.with(|locks| {
            let lock = locks.entry(key).or_default();
            lock.waiting.push_back((Holder { session, shared, transaction }, sender));
            lock.grant();
        });
        Some(receiver)
    }

    /// Gives one hold of the session back; `false` where it has none.
    pub fn unlock(&self, session: i32, key: AdvisoryKey, shared: bool) -> bool {
        self.with(|locks| {
            let Some(lock) = locks.get_mut(&key) else { return false };
            let wanted = Holder { session, shared, transaction: false };
            let Some(at) = lock.holders.iter().position(|holder| *holder == wanted) else { return false };
            lock.holders.remove(at);
            lock.grant();
            if lock.holders.is_empty() && lock.waiting.is_empty() {
                locks.remove(&key);
            }
            true
        })
    }

    /// Gives back what a session holds: of its transaction, or all.
    pub fn release(&self, session: i32, transaction_only: bool) {
        self.with(|locks| {
            for lock in locks.values_mut() {
                lock.holders
                    .retain(|holder| holder.session != session || (transaction_only && !holder.transaction));
                lock.grant();
            }
            locks.retain(|_, lock| !lock.holders.is_empty() || !lock.waiting.is_empty());
        });
    }

    /// How many locks are held; a test's way to see a leak.
    pub fn held(&self) -> usize {
        self.with(|locks| locks.values().map(|lock| lock.holders.len()).sum())
    }

    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<AdvisoryKey, Lock>) -> R) -> R {
        f(&mut self.locks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_granted_in_order_and_nest() {
        let advisory = Advisory::default();
        let key = AdvisoryKey::One(7);
        assert!(advisory.try_lock(1, key, false, false));
        assert!(advisory.try_lock(1, key, false, false), "a holder takes it again");
        assert!(!advisory.try_lock(2, key, false, false));
        let mut second = advisory.lock(2, key, false, false).expect("it waits");
        assert!(advisory.unlock(1, key, false));
        assert!(second.try_recv().is_err(), "it is still held once");
        assert!(advisory.unlock(1, key, false));
        assert!(second.try_recv().is_ok());
        assert!(!advisory.unlock(1, key, false));
        advisory.release(2, false);
        assert_eq!(advisory.held(), 0);
    }
}
