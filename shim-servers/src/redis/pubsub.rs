//! Publish and subscribe: who listens to what.
//!
//! Owns channels, patterns and their listeners. Must not know commands. Invariant: messages reach listeners in the order of
//! their numbers, and a client that left listens to nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::numbers::glob_matches;
use super::state::State;
use super::wire::Reply;

/// Listeners by what they listen to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    pub(crate) channels: BTreeMap<Bytes, BTreeSet<u64>>,
    pub(crate) patterns: BTreeMap<Bytes, BTreeSet<u64>>,
    pub(crate) shard_channels: BTreeMap<Bytes, BTreeSet<u64>>,
}

/// Adds a listener.
pub(crate) fn listen(listeners: &mut BTreeMap<Bytes, BTreeSet<u64>>, name: &Bytes, client: u64) {
    listeners.entry(name.clone()).or_default().insert(client);
}

/// Takes a listener away.
pub(crate) fn unlisten(listeners: &mut BTreeMap<Bytes, BTreeSet<u64>>, name: &Bytes, client: u64) {
    if let Some(clients) = listeners.get_mut(name) {
        clients.remove(&client);
        if clients.is_empty() {
            listeners.remove(name);
        }
    }
}

impl Subscriptions {
    /// A client left.
    pub(crate) fn forget(&mut self, client: u64) {
        for listeners in [&mut self.channels, &mut self.patterns, &mut self.shard_channels] {
            listeners.retain(|_, clients| {
                clients.remove(&client);
                !clients.is_empty()
            });
        }
    }
}

impl State {
    /// Sends a message to those who listen, and says how many they are.
    pub(crate) fn publish(&mut self, channel: &Bytes, message: &Bytes) -> usize {
        let mut sent = Vec::new();
        if let Some(clients) = self.subscriptions.channels.get(channel) {
            let words = [Bytes::from_static(b"message"), channel.clone(), message.clone()];
            sent.extend(clients.iter().map(|client| (*client, push(&words))));
        }
        for (pattern, clients) in &self.subscriptions.patterns {
            if glob_matches(pattern, channel) {
                let words =
                    [Bytes::from_static(b"pmessage"), pattern.clone(), channel.clone(), message.clone()];
                sent.extend(clients.iter().map(|client| (*client, push(&words))));
            }
        }
        sent.iter().for_each(|(client, message)| self.send(*client, message));
        sent.len()
    }

    /// Sends a message to those who listen to a shard channel.
    pub(crate) fn publish_sharded(&mut self, channel: &Bytes, message: &Bytes) -> usize {
        let clients = self.subscriptions.shard_channels.get(channel).cloned().unwrap_or_default();
        let message = push(&[Bytes::from_static(b"smessage"), channel.clone(), message.clone()]);
        clients.iter().for_each(|client| self.send(*client, &message));
        clients.len()
    }

    /// Tells listeners of `__keyspace@…__` and `__keyevent@…__` what happened to a key, as far as the configuration says.
    pub(crate) fn notify(&mut self, database: usize, class: char, event: &str, key: &Bytes) {
        let wanted = self.config.text("notify-keyspace-events");
        if wanted.is_empty() {
            return;
        }
        let is_wanted = wanted.contains(class) || (wanted.contains('A') && !matches!(class, 'm' | 'n'));
        let (to_keys, to_events) = (wanted.contains('K'), wanted.contains('E'));
        if !is_wanted {
            return;
        }
        if to_keys {
            let mut channel = format!("__keyspace@{database}__:").into_bytes();
            channel.extend_from_slice(key);
            self.publish(&channel.into(), &Bytes::copy_from_slice(event.as_bytes()));
        }
        if to_events {
            let channel = format!("__keyevent@{database}__:{event}");
            self.publish(&channel.into(), key);
        }
    }
}

fn push(words: &[Bytes]) -> Reply {
    Reply::Push(words.iter().cloned().map(Reply::Bulk).collect())
}
