//! One client: what the server knows of it, and the way to it.
//!
//! Owns a connection's state and what is still to be sent. Must not know sockets or commands. Invariant: bytes leave in the
//! order in which they were pushed, and none before what they tell of is safe.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cluster::migrate::Migration;
use super::replication::ReplicaState;
use super::wire::{Protocol, Reply};

/// What is to be sent to one client.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    pending: Mutex<Outgoing>,
    /// There is something to send.
    pub(crate) ready: Notify,
    /// The client waits no longer.
    pub(crate) woken: Notify,
    /// Somebody ended the connection.
    pub(crate) killed: Notify,
}

/// Bytes, and what has to be safe before they leave.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) bytes: BytesMut,
    /// The end of the journal that has to be safe.
    pub(crate) journal_end: u64,
    /// How many writes of this client the bytes tell of.
    pub(crate) writes: u64,
}

impl Outlet {
    /// Adds what `write` writes.
    pub(crate) fn push(&self, journal_end: u64, writes: u64, write: impl FnOnce(&mut BytesMut)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut pending.bytes);
        pending.journal_end = journal_end;
        pending.writes += writes;
        drop(pending);
        self.ready.notify_one();
    }

    /// All that is to be sent, if there is something.
    pub(crate) fn take(&self) -> Option<Outgoing> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        (!pending.bytes.is_empty() || pending.writes > 0).then(|| std::mem::take(&mut *pending))
    }

    /// How many bytes wait to be sent.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).bytes.len()
    }
}

/// Commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) commands: Vec<Vec<Bytes>>,
    pub(crate) is_aborted: bool,
}

/// What a client waits for.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    pub(crate) on: BlockedOn,
    pub(crate) deadline: Option<Instant>,
    /// What it is told when the time is over.
    pub(crate) at_timeout: Reply,
}

/// The event that ends a wait.
#[derive(Clone, Debug)]
pub(crate) enum BlockedOn {
    /// One of these keys gets something; the command is tried again then.
    Keys { database: usize, keys: Vec<Bytes>, command: Vec<Bytes> },
    /// So many replicas have this much of the journal.
    Replicas { offset: i64, count: i64 },
    /// Keys of its are on their way to another server.
    Migration,
}

/// What a client is.
#[derive(Debug)]
pub(crate) enum Role {
    Normal,
    Replica(Box<ReplicaState>),
}

/// Which replies a client wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ReplyMode {
    On,
    Off,
    SkipNext,
    Skip,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) name: Bytes,
    pub(crate) created_ms: i64,
    pub(crate) used_ms: i64,
    pub(crate) last_command: String,
    pub(crate) database: usize,
    pub(crate) protocol: Protocol,
    pub(crate) is_authenticated: bool,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watched: Vec<(usize, Bytes)>,
    /// Something that it watches was changed.
    pub(crate) is_stale: bool,
    pub(crate) channels: BTreeSet<Bytes>,
    pub(crate) patterns: BTreeSet<Bytes>,
    pub(crate) shard_channels: BTreeSet<Bytes>,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) reply_mode: ReplyMode,
    /// It reads from replicas of a cluster.
    pub(crate) reads_replicas: bool,
    /// The next command may use a slot that is being imported.
    pub(crate) is_asking: bool,
    pub(crate) is_monitor: bool,
    pub(crate) no_evict: bool,
    pub(crate) is_closing: bool,
    pub(crate) role: Role,
    /// The journal's offset behind its last write.
    pub(crate) written_offset: i64,
    pub(crate) outlet: Arc<Outlet>,
    /// Keys that it wants to be moved.
    pub(crate) migration: Option<Migration>,
    /// What happened while a command of its own ran: it comes behind the reply.
    pub(crate) after_reply: VecDeque<Reply>,
}

impl Client {
    pub(crate) fn new(
        id: u64,
        peer: SocketAddr,
        local: SocketAddr,
        now_ms: i64,
        is_authenticated: bool,
    ) -> Client {
        Client {
            id,
            peer,
            local,
            name: Bytes::new(),
            created_ms: now_ms,
            used_ms: now_ms,
            last_command: "NULL".into(),
            database: 0,
            protocol: Protocol::Resp2,
            is_authenticated,
            transaction: None,
            watched: Vec::new(),
            is_stale: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            blocked: None,
            reply_mode: ReplyMode::On,
            reads_replicas: false,
            is_asking: false,
            is_monitor: false,
            no_evict: false,
            is_closing: false,
            role: Role::Normal,
            written_offset: 0,
            outlet: Arc::default(),
            migration: None,
            after_reply: VecDeque::new(),
        }
    }

    /// How many channels, patterns and shard channels it listens to.
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    pub(crate) fn is_replica(&self) -> bool {
        matches!(self.role, Role::Replica(_))
    }

    /// Its line in CLIENT LIST.
    pub(crate) fn describe(&self, now_ms: i64) -> String {
        let mut flags = String::new();
        for (is_set, flag) in [
            (self.is_replica(), 'S'),
            (self.is_monitor, 'O'),
            (self.subscriptions() > 0, 'P'),
            (self.transaction.is_some(), 'x'),
            (self.blocked.is_some(), 'b'),
            (self.is_stale, 'd'),
            (self.is_closing, 'c'),
            (self.reads_replicas, 'r'),
            (self.no_evict, 'e'),
        ] {
            if is_set {
                flags.push(flag);
            }
        }
        if flags.is_empty() {
            flags.push('N');
        }
        let queued = self.transaction.as_ref().map_or(-1, |transaction| transaction.commands.len() as i64);
        let protocol = if self.protocol == Protocol::Resp3 { 3 } else { 2 };
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} \
             multi={queued} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem={} \
             tot-mem=0 events=r cmd={} user=default redir=-1 resp={protocol}",
            self.id,
            self.peer,
            self.local,
            self.id + 7,
            String::from_utf8_lossy(&self.name),
            (now_ms - self.created_ms) / 1000,
            (now_ms - self.used_ms) / 1000,
            self.database,
            self.channels.len(),
            self.patterns.len(),
            self.shard_channels.len(),
            self.outlet.waiting_bytes(),
            self.last_command,
        )
    }
}
