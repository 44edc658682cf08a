//! Clients that wait: for keys, or for replicas.
//!
//! Owns who waits for what, in which order. Must not know what they wait for it with. Invariant: of those who wait for a key,
//! the first one that its command can serve is served first.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::call::{Origin, Stop};
use super::client::{Blocked, BlockedOn};
use super::dispatch::{find_command, run};
use super::state::State;
use super::wire::Reply;

/// Clients by the keys for which they wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// In the order in which they came.
    by_key: BTreeMap<(usize, Bytes), BTreeMap<u64, u64>>,
    next: u64,
    /// Keys that were changed while somebody waited for them.
    changed: Vec<(usize, Bytes)>,
}

impl Waiting {
    /// Something happened to a key.
    pub(crate) fn key_changed(&mut self, database: usize, key: &Bytes) {
        let place = (database, key.clone());
        if self.by_key.contains_key(&place) && !self.changed.contains(&place) {
            self.changed.push(place);
        }
    }
}

impl State {
    /// Lets a client wait.
    pub(crate) fn start_waiting(&mut self, id: u64, blocked: Blocked) {
        let turn = self.waiting.next;
        self.waiting.next += 1;
        if let BlockedOn::Keys { database, keys, .. } = &blocked.on {
            let keys: BTreeSet<&Bytes> = keys.iter().collect();
            for key in keys {
                self.waiting.by_key.entry((*database, key.clone())).or_default().insert(turn, id);
            }
        }
        if let Some(client) = self.clients.get_mut(&id) {
            client.blocked = Some(blocked);
        }
    }

    /// A client waits no longer: it goes on with its next command.
    pub(crate) fn stop_waiting(&mut self, id: u64) -> Option<Blocked> {
        let client = self.clients.get_mut(&id)?;
        let blocked = client.blocked.take()?;
        client.outlet.woken.notify_one();
        if let BlockedOn::Keys { database, keys, .. } = &blocked.on {
            for key in keys {
                let place = (*database, key.clone());
                if let Some(clients) = self.waiting.by_key.get_mut(&place) {
                    clients.retain(|_, waiting| *waiting != id);
                    if clients.is_empty() {
                        self.waiting.by_key.remove(&place);
                    }
                }
            }
        }
        Some(blocked)
    }

    /// The time of a client is over.
    pub(crate) fn time_out(&mut self, id: u64) {
        let Some(blocked) = self.stop_waiting(id) else { return };
        let reply = match blocked.on {
            BlockedOn::Replicas { offset, .. } => Reply::from(self.replicas_at(offset)),
            BlockedOn::Keys { .. } | BlockedOn::Migration => blocked.at_timeout,
        };
        self.send(id, &reply);
    }

    /// Ends the wait of each client that waits for keys, with an error: this server is not the one to wait at any more.
    pub(crate) fn refuse_waiting(&mut self, is_refused: impl Fn(&State, &Blocked) -> Option<String>) {
        let blocked: Vec<(u64, Blocked)> =
            self.clients.values().filter_map(|client| Some((client.id, client.blocked.clone()?))).collect();
        for (id, blocked) in blocked {
            if let Some(error) = is_refused(self, &blocked) {
                self.stop_waiting(id);
                self.send(id, &Reply::error(error));
            }
        }
    }

    /// Serves those who wait for keys that were changed.
    pub(crate) fn serve_waiting(&mut self) {
        while !self.waiting.changed.is_empty() {
            for place in std::mem::take(&mut self.waiting.changed) {
                let clients = self.waiting.by_key.get(&place).cloned().unwrap_or_default();
                for id in clients.into_values() {
                    self.try_again(id);
                }
            }
        }
    }

    fn try_again(&mut self, id: u64) {
        let Some(client) = self.clients.get(&id) else { return };
        let Some(Blocked { on: BlockedOn::Keys { database, command, .. }, .. }) = client.blocked.clone()
        else {
            return;
        };
        let Some(spec) = command.first().and_then(|name| find_command(name)) else { return };
        let at = self.circumstances(database);
        let reply = match run(self, id, spec, command, at, Origin::Client) {
            Err(Stop::Wait { .. }) => return,
            // A key of another type is not what it waits for.
            Err(Stop::Error(error)) if error.starts_with("WRONGTYPE") => return,
            Err(Stop::Error(error)) => Reply::Error(error),
            Ok(reply) => reply,
        };
        self.stop_waiting(id);
        self.send_answer(id, &reply);
    }

    /// Serves those who wait for replicas, after one of them told how far it is.
    pub(crate) fn serve_waiting_for_replicas(&mut self) {
        let waiting: Vec<(u64, i64, i64)> = self
            .clients
            .values()
            .filter_map(|client| match client.blocked.as_ref()?.on {
                BlockedOn::Replicas { offset, count } => Some((client.id, offset, count)),
                BlockedOn::Keys { .. } | BlockedOn::Migration => None,
            })
            .collect();
        for (id, offset, count) in waiting {
            let reached = self.replicas_at(offset);
            if reached as i64 >= count {
                self.stop_waiting(id);
                self.send(id, &Reply::from(reached));
            }
        }
    }
}
