//! All that a server knows: databases, clients, subscriptions, replication, cluster.
//!
//! Owns the state and what touches several parts of it. Must not know sockets, files or single commands. Invariant: whatever
//! changes a key tells who watches it, who waits for it, and the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::blocking::Waiting;
use super::client::{Client, Role};
use super::cluster::Cluster;
use super::config::Config;
use super::journal::{Circumstances, Grouping, Journal, encode_record};
use super::keyspace::{Database, Entry};
use super::pubsub::Subscriptions;
use super::replication::Replication;
use super::wire::Reply;

/// The number of databases.
pub(crate) const DATABASES: usize = 16;

/// What is counted, for INFO.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
    pub(crate) commands: u64,
    pub(crate) errors: u64,
    pub(crate) expired: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) net_input_bytes: u64,
    pub(crate) net_output_bytes: u64,
    pub(crate) full_syncs: u64,
    pub(crate) partial_syncs: u64,
    pub(crate) partial_syncs_refused: u64,
    pub(crate) changes: u64,
    pub(crate) rewrites: u64,
    pub(crate) error_counts: BTreeMap<String, u64>,
    pub(crate) command_counts: BTreeMap<&'static str, u64>,
}

/// The state of a server.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) run_id: String,
    pub(crate) port: u16,
    pub(crate) started: Instant,
    pub(crate) started_ms: i64,
    pub(crate) config: Config,
    pub(crate) databases: Vec<Database>,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) next_client: u64,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) waiting: Waiting,
    pub(crate) watchers: BTreeMap<(usize, Bytes), BTreeSet<u64>>,
    pub(crate) journal: Journal,
    pub(crate) replication: Replication,
    pub(crate) cluster: Option<Box<Cluster>>,
    pub(crate) stats: Stats,
    pub(crate) random: fastrand::Rng,
    /// Until when nothing is executed: DEBUG SLEEP, CLIENT PAUSE.
    pub(crate) pause: Pause,
    pub(crate) expires_actively: bool,
    pub(crate) last_save_ms: i64,
    pub(crate) is_shutting_down: bool,
}

/// Times during which commands wait.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// The whole server sleeps.
    pub(crate) all_until: Option<Instant>,
    /// Clients wait, all of them or those that write.
    pub(crate) clients_until: Option<(Instant, bool)>,
    /// A pause ended before its time.
    pub(crate) is_over: Arc<Notify>,
}

/// Milliseconds since 1970, by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a server reads its machine's clock, which in a simulation is the node's"
)]
pub(crate) fn now_ms() -> i64 {
    now_since_1970(std::time::SystemTime::now()).as_millis() as i64
}

/// Microseconds since 1970, by this machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "a server reads its machine's clock, which in a simulation is the node's"
)]
pub(crate) fn now_us() -> u128 {
    now_since_1970(std::time::SystemTime::now()).as_micros()
}

fn now_since_1970(now: std::time::SystemTime) -> Duration {
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// A name of 40 hexadecimal digits that nobody else has.
pub(crate) fn random_name(random: &mut fastrand::Rng) -> String {
    (0..40).map(|_| char::from_digit(random.u32(0..16), 16).unwrap_or('0')).collect()
}

impl State {
    pub(crate) fn new(port: u16, config: Config, seed: u64) -> State {
        let mut random = fastrand::Rng::with_seed(seed);
        let run_id = random_name(&mut random);
        let replication = Replication::new(random_name(&mut random));
        State {
            run_id,
            port,
            started: Instant::now(),
            started_ms: now_ms(),
            config,
            databases: (0..DATABASES).map(|_| Database::default()).collect(),
            clients: BTreeMap::new(),
            next_client: 1,
            subscriptions: Subscriptions::default(),
            waiting: Waiting::default(),
            watchers: BTreeMap::new(),
            journal: Journal::default(),
            replication,
            cluster: None,
            stats: Stats::default(),
            random,
            pause: Pause::default(),
            expires_actively: true,
            last_save_ms: now_ms(),
            is_shutting_down: false,
        }
    }

    /// What the next command of a client depends on.
    pub(crate) fn circumstances(&mut self, database: usize) -> Circumstances {
        Circumstances { database, now_ms: now_ms(), seed: self.random.u64(..) }
    }

    /// Whether this server takes its data from another one.
    pub(crate) fn is_replica(&self) -> bool {
        self.replication.master.is_some()
    }

    /// Sends a reply, or a message, to a client.
    pub(crate) fn send(&self, client: u64, reply: &Reply) {
        if let Some(client) = self.clients.get(&client) {
            let protocol = client.protocol;
            client.outlet.push(self.journal.appended, 0, |out| reply.encode(protocol, out));
            self.drop_if_too_slow(client);
        }
    }

    /// Ends the connection of a client that has too much to read: the hard limit of `client-output-buffer-limit`.
    pub(crate) fn drop_if_too_slow(&self, client: &Client) {
        let waiting = client.outlet.waiting_bytes();
        // So much, Redis keeps in a buffer that it does not count.
        if waiting <= 16 * 1024 {
            return;
        }
        let class = match client.role {
            Role::Replica(_) => "slave",
            Role::Normal if client.subscriptions() > 0 => "pubsub",
            Role::Normal => "normal",
        };
        let words: Vec<&str> = self.config.text("client-output-buffer-limit").split(' ').collect();
        let limit =
            words.chunks(4).find(|words| words[0] == class).and_then(|words| words.get(1)?.parse().ok());
        if limit.is_some_and(|limit: usize| limit > 0 && waiting > limit) {
            client.outlet.killed.notify_one();
        }
    }

    /// Ends a connection from our side.
    pub(crate) fn kill(&mut self, client: u64) {
        if let Some(client) = self.clients.get_mut(&client) {
            client.is_closing = true;
            client.outlet.killed.notify_one();
        }
    }

    /// Forgets a client whose connection ended.
    pub(crate) fn forget(&mut self, id: u64) {
        self.unwatch(id);
        self.subscriptions.forget(id);
        self.stop_waiting(id);
        let Some(client) = self.clients.remove(&id) else { return };
        if matches!(client.role, Role::Replica(_)) {
            self.replication.without_replicas_since = Some(Instant::now());
        }
    }

    /// Writes a change into the journal, for the disk and for replicas.
    pub(crate) fn record(&mut self, circumstances: Circumstances, command: &[Bytes]) {
        let mut records = BytesMut::new();
        if self.journal.grouping == Grouping::Pending {
            encode_record(circumstances, &[Bytes::from_static(b"MULTI")], &mut records);
            self.journal.grouping = Grouping::Open;
        }
        encode_record(circumstances, command, &mut records);
        self.feed(&records);
    }

    /// The end of the changes of a transaction.
    pub(crate) fn close_group(&mut self, circumstances: Circumstances) {
        if std::mem::take(&mut self.journal.grouping) == Grouping::Open {
            self.record(circumstances, &[Bytes::from_static(b"EXEC")]);
        }
    }

    /// Appends whole records to the file, and sends them to replicas.
    pub(crate) fn feed(&mut self, records: &[u8]) {
        self.stats.changes += 1;
        self.journal.append(records);
        self.feed_replicas(records);
    }

    /// Who watches this key has to begin again.
    pub(crate) fn touch_watched(&mut self, database: usize, key: &Bytes) {
        let Some(watchers) = self.watchers.get(&(database, key.clone())) else { return };
        for id in watchers {
            if let Some(client) = self.clients.get_mut(id) {
                client.is_stale = true;
            }
        }
    }

    /// Who watches a key of these databases that is there, or that comes, has to begin again.
    pub(crate) fn touch_all_watched(&mut self, is_affected: impl Fn(&State, usize, &Bytes) -> bool) {
        let keys: Vec<(usize, Bytes)> = self.watchers.keys().cloned().collect();
        for (database, key) in keys {
            if is_affected(self, database, &key) {
                self.touch_watched(database, &key);
            }
        }
    }

    /// Watches nothing any more.
    pub(crate) fn unwatch(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        client.is_stale = false;
        for place in std::mem::take(&mut client.watched) {
            if let Some(watchers) = self.watchers.get_mut(&place) {
                watchers.remove(&id);
                if watchers.is_empty() {
                    self.watchers.remove(&place);
                }
            }
        }
    }

    /// Takes an expired key away, and lets everybody know.
    pub(crate) fn expire(&mut self, at: Circumstances, key: &Bytes) {
        if self.databases[at.database].remove(key).is_none() {
            return;
        }
        self.stats.expired += 1;
        self.touch_watched(at.database, key);
        self.record(at, &[Bytes::from_static(b"DEL"), key.clone()]);
        self.notify(at.database, 'x', "expired", key);
    }

    /// Takes away keys whose time has come, some at a time, where this server decides about that.
    pub(crate) fn expire_some(&mut self) {
        let is_asleep = self.pause.all_until.is_some_and(|until| until > Instant::now());
        if self.is_replica() || !self.expires_actively || is_asleep {
            return;
        }
        for database in 0..self.databases.len() {
            let at = self.circumstances(database);
            for key in self.databases[database].expired(at.now_ms, 200) {
                self.expire(at, &key);
            }
        }
    }

    /// All data as records that make it again.
    pub(crate) fn snapshot(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        for database in 0..self.databases.len() {
            let at = self.circumstances(database);
            for (key, entry) in self.databases[database].iter() {
                encode_record(at, &restoring(key, entry), &mut out);
            }
        }
        out
    }

    /// Drops all data, as a replica does before it takes its master's.
    pub(crate) fn clear(&mut self) {
        self.touch_all_watched(|_, _, _| true);
        self.databases.iter_mut().for_each(Database::clear);
    }

    /// Clients that wait for something, for INFO.
    pub(crate) fn blocked_clients(&self) -> usize {
        self.clients.values().filter(|client| client.blocked.is_some()).count()
    }

    /// Clients that are no replicas and not our master.
    pub(crate) fn normal_clients(&self) -> usize {
        self.clients.values().filter(|client| matches!(client.role, Role::Normal)).count()
    }
}

/// The command that makes a key again.
pub(crate) fn restoring(key: &Bytes, entry: &Entry) -> [Bytes; 6] {
    let expires_at_ms = entry.expires_at_ms.unwrap_or(0).to_string();
    [
        Bytes::from_static(b"RESTORE"),
        key.clone(),
        expires_at_ms.into(),
        super::commands::dump(&entry.value),
        Bytes::from_static(b"REPLACE"),
        Bytes::from_static(b"ABSTTL"),
    ]
}
