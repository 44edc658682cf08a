//! What a test can do to a running server.
//!
//! Owns the switches of a server, which outlive its process. Must not know messages. Invariant: a fault is used up where it is one-time, and
//! counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::engine::{Cluster, Reason};

type Hook = Arc<dyn Fn(i32) + Send + Sync>;

/// The switches of a server; clones are the same ones.
#[derive(Clone, Default)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    statement_delay_us: AtomicU64,
    lost_answers: AtomicUsize,
    lost: AtomicUsize,
    hook: Mutex<Option<Hook>>,
    cluster: Mutex<Weak<Cluster>>,
}

impl Control {
    /// Each statement takes so much longer, before it begins.
    pub fn set_statement_delay(&self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.inner.statement_delay_us.store(us, Ordering::Relaxed);
    }

    /// The next `count` commits that write something are done and never answered: their connections close without a word.
    pub fn lose_commit_answers(&self, count: usize) {
        self.inner.lost_answers.store(count, Ordering::Relaxed);
    }

    /// How many answers were lost that way.
    pub fn lost_commit_answers(&self) -> usize {
        self.inner.lost.load(Ordering::Relaxed)
    }

    /// Calls `hook` after each commit that wrote something, once it is safe and before it is answered, with the number of the session.
    /// A test crashes the server's machine there.
    pub fn on_commit(&self, hook: impl Fn(i32) + Send + Sync + 'static) {
        *self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// The numbers of all sessions.
    pub fn sessions(&self) -> Vec<i32> {
        self.cluster()
            .map(|cluster| cluster.backends.all().iter().map(|found| found.id).collect())
            .unwrap_or_default()
    }

    /// How many sessions there are.
    pub fn connections(&self) -> usize {
        self.sessions().len()
    }

    /// How many advisory locks are held in a database.
    pub fn advisory_locks(&self, database: &str) -> usize {
        self.cluster().and_then(|cluster| cluster.database(database)).map_or(0, |found| found.advisory.held())
    }

    /// Ends a session, as `pg_terminate_backend` does; whether there was one.
    pub fn terminate(&self, session: i32) -> bool {
        let found = self.cluster().and_then(|cluster| cluster.backends.find(session));
        if let Some(found) = &found {
            found.cancel(Reason::Terminate);
        }
        found.is_some()
    }

    /// Ends all sessions; how many there were.
    pub fn terminate_all(&self) -> usize {
        self.sessions().into_iter().filter(|session| self.terminate(*session)).count()
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.inner.cluster.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    pub(crate) fn attach(&self, cluster: &Arc<Cluster>) {
        *self.inner.cluster.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(cluster);
    }

    pub(crate) fn statement_delay(&self) -> Option<Duration> {
        let us = self.inner.statement_delay_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }

    /// Whether the answer to this commit is to be lost.
    pub(crate) fn takes_answer(&self) -> bool {
        let taken = self
            .inner
            .lost_answers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if taken.is_ok() {
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    pub(crate) fn committed(&self, session: i32) {
        let hook = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook(session);
        }
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("sessions", &self.sessions()).finish_non_exhaustive()
    }
}
