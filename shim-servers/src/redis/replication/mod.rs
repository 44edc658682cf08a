//! Replication: the stream of changes, who follows it, and whom we follow.
//!
//! Owns names, offsets and the backlog. Must not know sockets. Invariant: two servers with the same name and offset hold the
//! same data.

pub(crate) mod commands;
pub(crate) mod replica;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::{Client, Role};
use super::state::{State, random_name};
use super::wire::encode_request;

/// A name that nobody has.
pub(crate) const NO_NAME: &str = "0000000000000000000000000000000000000000";

/// What a master knows of one replica.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaState {
    pub(crate) port: u16,
    pub(crate) announced_ip: String,
    pub(crate) acknowledged: i64,
    pub(crate) heard: Instant,
    /// It gets the stream; before that, it only said that it will.
    pub(crate) is_online: bool,
}

/// How far the connection to the master is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Connect,
    Connecting,
    Handshake,
    Transfer,
    Connected,
}

/// Whom we follow.
#[derive(Clone, Debug)]
pub(crate) struct Master {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) phase: Phase,
    pub(crate) heard: Instant,
    pub(crate) down_since: Option<Instant>,
    pub(crate) missing_bytes: usize,
}

/// The state of replication.
#[derive(Debug)]
pub(crate) struct Replication {
    pub(crate) id: String,
    pub(crate) other_id: String,
    pub(crate) offset: i64,
    pub(crate) other_offset: i64,
    /// The last bytes of the stream; `None` before there was a replica.
    pub(crate) backlog: Option<VecDeque<u8>>,
    pub(crate) master: Option<Master>,
    /// The master is another one now.
    pub(crate) changed: Arc<Notify>,
    pub(crate) without_replicas_since: Option<Instant>,
    pinged: Instant,
}

impl Replication {
    pub(crate) fn new(id: String) -> Replication {
        Replication {
            id,
            other_id: NO_NAME.to_owned(),
            offset: 0,
            other_offset: -1,
            backlog: None,
            master: None,
            changed: Arc::default(),
            without_replicas_since: None,
            pinged: Instant::now(),
        }
    }

    /// Whether what we have is what our master has, a moment ago.
    pub(crate) fn is_link_up(&self) -> bool {
        self.master.as_ref().is_some_and(|master| master.phase == Phase::Connected)
    }

    /// The offset of the first byte of the backlog.
    pub(crate) fn backlog_start(&self) -> i64 {
        self.offset - self.backlog.as_ref().map_or(0, |backlog| backlog.len() as i64) + 1
    }

    /// What a replica has missed that has the stream up to before `offset`.
    fn missed(&self, id: &str, offset: i64) -> Option<Vec<u8>> {
        let is_ours = id == self.id || (id == self.other_id && offset <= self.other_offset);
        let backlog = self.backlog.as_ref().filter(|_| is_ours)?;
        let start = self.backlog_start();
        if offset < start || offset > self.offset + 1 {
            return None;
        }
        Some(backlog.range((offset - start) as usize..).copied().collect())
    }

    /// A name of our own from here on; replicas of the old one may go on.
    pub(crate) fn take_new_name(&mut self, random: &mut fastrand::Rng) {
        self.other_id = std::mem::replace(&mut self.id, random_name(random));
        self.other_offset = self.offset + 1;
    }
}

impl State {
    /// Replicas that get the stream.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = (&Client, &ReplicaState)> {
        self.clients.values().filter_map(|client| match &client.role {
            Role::Replica(replica) if replica.is_online => Some((client, &**replica)),
            _ => None,
        })
    }

    /// Sends bytes of the stream to replicas, and keeps them for those that come back.
    pub(crate) fn feed_replicas(&mut self, bytes: &[u8]) {
        let most = self.config.number("repl-backlog-size").max(16 * 1024) as usize;
        let Some(backlog) = &mut self.replication.backlog else { return };
        self.replication.offset += bytes.len() as i64;
        backlog.extend(bytes);
        let surplus = backlog.len().saturating_sub(most);
        backlog.drain(..surplus);
        let end = self.journal.appended;
        for (client, _) in self.replicas() {
            client.outlet.push(end, 0, |out| out.extend_from_slice(bytes));
            self.drop_if_too_slow(client);
        }
    }

    /// Puts a request into the stream that changes no data.
    pub(crate) fn tell_replicas(&mut self, command: &[Bytes]) {
        if self.is_replica() {
            return;
        }
        let mut bytes = BytesMut::new();
        encode_request(command, &mut bytes);
        self.feed_replicas(&bytes);
    }

    /// How many replicas have the stream up to here.
    pub(crate) fn replicas_at(&self, offset: i64) -> usize {
        self.replicas().filter(|(_, replica)| replica.acknowledged >= offset).count()
    }

    /// Whether there are as many replicas as `min-replicas-to-write` asks for.
    pub(crate) fn has_enough_replicas(&self) -> bool {
        let (wanted, lag) =
            (self.config.number("min-replicas-to-write"), self.config.number("min-replicas-max-lag"));
        if wanted == 0 || lag == 0 {
            return true;
        }
        let most = Duration::from_secs(lag as u64);
        self.replicas().filter(|(_, replica)| replica.heard.elapsed() <= most).count() as i64 >= wanted
    }

    /// Follows another server.
    pub(crate) fn follow(&mut self, host: String, port: u16) {
        let was_master = self.replication.master.is_none();
        let now = Instant::now();
        let (phase, down_since) = (Phase::Connect, Some(now));
        self.replication.master =
            Some(Master { host, port, phase, heard: now, down_since, missing_bytes: 0 });
        if was_master {
            let error = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
            self.refuse_waiting(|_, _| Some(error.to_owned()));
            self.disconnect_replicas();
        }
        self.replication.changed.notify_one();
    }

    /// Follows nobody any more.
    pub(crate) fn stop_following(&mut self) {
        if self.replication.master.take().is_none() {
            return;
        }
        let mut random = self.random.fork();
        self.replication.take_new_name(&mut random);
        // They have to hear the new name.
        self.disconnect_replicas();
        self.replication.changed.notify_one();
        self.replication.without_replicas_since = Some(Instant::now());
        self.replication.backlog.get_or_insert_default();
    }

    /// Ends the connections of all replicas; they come back.
    pub(crate) fn disconnect_replicas(&mut self) {
        let ids: Vec<u64> =
            self.clients.values().filter(|client| client.is_replica()).map(|client| client.id).collect();
        ids.into_iter().for_each(|id| self.kill(id));
    }

    /// What a master does each second.
    pub(crate) fn tend_replicas(&mut self) {
        let timeout = Duration::from_secs(self.config.number("repl-timeout") as u64);
        let silent: Vec<u64> = self
            .replicas()
            .filter(|(_, replica)| replica.heard.elapsed() > timeout)
            .map(|(client, _)| client.id)
            .collect();
        silent.into_iter().for_each(|id| self.kill(id));
        let period = Duration::from_secs(self.config.number("repl-ping-replica-period") as u64);
        if self.replication.pinged.elapsed() >= period && self.replicas().next().is_some() {
            self.replication.pinged = Instant::now();
            self.tell_replicas(&[Bytes::from_static(b"PING")]);
        }
        let keep = Duration::from_secs(self.config.number("repl-backlog-ttl") as u64);
        let is_alone = !self.is_replica() && self.clients.values().all(|client| !client.is_replica());
        let since = self.replication.without_replicas_since.filter(|_| is_alone && !keep.is_zero());
        if since.is_some_and(|since| since.elapsed() > keep) && self.replication.backlog.take().is_some() {
            // Without a backlog the stream has a gap: nobody may go on with the old name.
            let mut random = self.random.fork();
            self.replication.id = random_name(&mut random);
            self.replication.other_id = NO_NAME.to_owned();
            self.replication.other_offset = -1;
        }
    }
}
