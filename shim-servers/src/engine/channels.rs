//! `LISTEN` and `NOTIFY`: who listens, and what they are sent.
//!
//! Owns the listeners of one database. Must not know transactions: a session gives what its transaction collected, once
//! it has committed. Invariant: notifications of one commit reach every listener in one piece and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

/// One notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The number of the session that sent it.
    pub sender: i32,
    /// The name that was listened for.
    pub channel: String,
    /// The text that came with it.
    pub payload: String,
}

/// The listeners of a database.
#[derive(Debug, Default)]
pub struct Channels {
    listeners: Mutex<BTreeMap<i32, Listener>>,
}

#[derive(Debug)]
struct Listener {
    channels: BTreeSet<String>,
    sender: mpsc::UnboundedSender<Notification>,
}

impl Channels {
    /// Makes a session known, which listens to nothing yet.
    pub fn register(&self, session: i32) -> mpsc::UnboundedReceiver<Notification> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.with(|listeners| listeners.insert(session, Listener { channels: BTreeSet::new(), sender }));
        receiver
    }

    /// Forgets a session.
    pub fn unregister(&self, session: i32) {
        self.with(|listeners| listeners.remove(&session));
    }

    /// From now on, notifications of `channel` go to the session.
    pub fn listen(&self, session: i32, channel: &str) {
        self.with(|listeners| {
            if let Some(listener) = listeners.get_mut(&session) {
                listener.channels.insert(channel.to_owned());
            }
        });
    }

    /// No more of `channel`, or of any where there is none.
    pub fn unlisten(&self, session: i32, channel: Option<&str>) {
        self.with(|listeners| {
            if let Some(listener) = listeners.get_mut(&session) {
                match channel {
                    Some(channel) => drop(listener.channels.remove(channel)),
                    None => listener.channels.clear(),
                }
            }
        });
    }

    /// What a session listens to.
    pub fn of(&self, session: i32) -> Vec<String> {
        self.with(|listeners| {
            listeners.get(&session).map(|found| found.channels.iter().cloned().collect()).unwrap_or_default()
        })
    }

    /// Sends what a committed transaction collected.
    pub fn publish(&self, notifications: &[Notification]) {
        self.with(|listeners| {
            for listener in listeners.values() {
                for notification in
                    notifications.iter().filter(|sent| listener.channels.contains(&sent.channel))
                {
                    // A receiver that is gone belongs to a session that is ending.
                    let _ = listener.sender.send(notification.clone());
                }
            }
        });
    }

    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<i32, Listener>) -> R) -> R {
        f(&mut self.listeners.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
