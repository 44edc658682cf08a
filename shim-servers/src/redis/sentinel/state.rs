//! What a sentinel knows: masters, their replicas, other sentinels, and how it is connected to each.
//!
//! Owns the data and what is common to all that change it. Must not know sockets, files, or the clock: time is in
//! milliseconds, and given. Invariant: all that has to happen outside is an [`Effect`], in the order in which it was decided.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Milliseconds of the machine's monotonic clock.
pub(super) type Millis = i64;

/// The clock begins here, so that zero is long ago, as in "never".
pub(super) const FIRST_MS: Millis = 1_000_000_000_000;

/// The times that Redis has, which `SENTINEL DEBUG` changes.
#[derive(Clone, Debug)]
pub(super) struct Periods {
    pub(super) info_ms: Millis,
    pub(super) ping_ms: Millis,
    pub(super) ask_ms: Millis,
    pub(super) publish_ms: Millis,
    pub(super) down_after_ms: Millis,
    pub(super) failover_timeout_ms: Millis,
    pub(super) tilt_trigger_ms: Millis,
    pub(super) tilt_ms: Millis,
    pub(super) reconf_timeout_ms: Millis,
    pub(super) min_reconnect_ms: Millis,
    pub(super) election_timeout_ms: Millis,
}

impl Default for Periods {
    fn default() -> Periods {
        Periods {
            info_ms: 10_000,
            ping_ms: 1_000,
            ask_ms: 1_000,
            publish_ms: 2_000,
            down_after_ms: 30_000,
            failover_timeout_ms: 180_000,
            tilt_trigger_ms: 2_000,
            tilt_ms: 30_000,
            reconf_timeout_ms: 10_000,
            min_reconnect_ms: 15_000,
            election_timeout_ms: 10_000,
        }
    }
}

/// What a server is to a sentinel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Master,
    Replica,
    Sentinel,
}

/// Which instance of a master's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Who {
    Master,
    Replica(SocketAddr),
    Sentinel(String),
}

/// Whose a connection is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) master: String,
    pub(super) who: Who,
    pub(super) is_for_messages: bool,
}

/// What was asked, so that the reply finds its meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Request {
    Ping,
    Info,
    Publish,
    AskMasterDown,
    Other,
}

/// What has to happen outside of the state.
#[derive(Debug)]
pub(super) enum Effect {
    /// Connect; `first` is sent at once.
    Connect { link: u64, address: SocketAddr, is_for_messages: bool, first: Vec<(Request, Vec<String>)> },
    /// Send on a connection.
    Send { link: u64, request: Request, arguments: Vec<String> },
    /// Close a connection.
    Close { link: u64 },
    /// Tell those who subscribed.
    Publish { channel: String, message: String },
}

/// The connections to one instance, and when it was heard of.
#[derive(Debug, Default)]
pub(super) struct Contact {
    pub(super) commands: Option<u64>,
    pub(super) messages: Option<u64>,
    pub(super) local: Option<IpAddr>,
    pub(super) pending: usize,
    pub(super) commands_since_ms: Millis,
    pub(super) messages_since_ms: Millis,
    pub(super) messages_heard_ms: Millis,
    /// When the ping was sent that has no good answer yet; 0 where there is none.
    pub(super) ping_pending_ms: Millis,
    pub(super) pinged_ms: Millis,
    pub(super) available_ms: Millis,
    pub(super) answered_ms: Millis,
    pub(super) reconnected_ms: Millis,
}

/// How far a replica is on its way to a new master.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Reconf {
    #[default]
    None,
    Sent,
    InProgress,
    Done,
}

/// A master, a replica or another sentinel.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) kind: Kind,
    pub(super) address: SocketAddr,
    pub(super) run_id: Option<String>,
    pub(super) contact: Contact,
    pub(super) is_s_down: bool,
    pub(super) s_down_since_ms: Millis,
    pub(super) is_o_down: bool,
    pub(super) o_down_since_ms: Millis,
    pub(super) published_ms: Millis,
    // Of masters and replicas.
    pub(super) info: Option<String>,
    pub(super) info_ms: Millis,
    pub(super) reports_master: bool,
    pub(super) role_since_ms: Millis,
    // Of replicas.
    pub(super) master_link_down_ms: Millis,
    pub(super) master_link_is_up: bool,
    pub(super) master_host: Option<String>,
    pub(super) master_port: u16,
    pub(super) conf_changed_ms: Millis,
    pub(super) priority: i64,
    pub(super) offset: i64,
    pub(super) is_announced: bool,
    pub(super) is_promoted: bool,
    pub(super) reconf: Reconf,
    pub(super) reconf_sent_ms: Millis,
    // Of sentinels.
    pub(super) hello_ms: Millis,
    pub(super) says_master_down: bool,
    pub(super) master_down_answer_ms: Millis,
    pub(super) leader: Option<String>,
    pub(super) leader_epoch: u64,
}

impl Instance {
    pub(super) fn new(kind: Kind, address: SocketAddr, now: Millis) -> Instance {
        let contact =
            Contact { ping_pending_ms: now, available_ms: now, answered_ms: now, ..Contact::default() };
        Instance {
            kind,
            address,
            run_id: None,
            contact,
            is_s_down: false,
            s_down_since_ms: 0,
            is_o_down: false,
            o_down_since_ms: 0,
            published_ms: now,
            info: None,
            info_ms: 0,
            reports_master: kind == Kind::Master,
            role_since_ms: now,
            master_link_down_ms: 0,
            master_link_is_up: false,
            master_host: None,
            master_port: 0,
            conf_changed_ms: now,
            priority: 100,
            offset: 0,
            is_announced: true,
            is_promoted: false,
            reconf: Reconf::None,
            reconf_sent_ms: 0,
            hello_ms: now,
            says_master_down: false,
            master_down_answer_ms: 0,
            leader: None,
            leader_epoch: 0,
        }
    }

    /// Whether there is a connection for commands, and one for messages where it needs one.
    pub(super) fn is_connected(&self) -> bool {
        self.contact.commands.is_some() && (self.kind == Kind::Sentinel || self.contact.messages.is_some())
    }

    /// Whether it follows `address`, of which it may have been told by a name.
    pub(super) fn follows(&self, address: SocketAddr, names: &BTreeMap<String, IpAddr>) -> bool {
        let Some(host) = &self.master_host else { return false };
        let ip = host.parse::<IpAddr>().ok().or_else(|| names.get(&host.to_ascii_lowercase()).copied());
        ip == Some(address.ip()) && self.master_port == address.port()
    }

    /// Whether it was not down in the last `period_ms`.
    pub(super) fn no_down_for(&self, period_ms: Millis, now: Millis) -> bool {
        now - self.s_down_since_ms.max(self.o_down_since_ms) > period_ms
    }
}

/// Where a failover is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Phase {
    #[default]
    None,
    WaitStart,
    SelectReplica,
    SendReplicaOfNoOne,
    WaitPromotion,
    ReconfReplicas,
    UpdateConfig,
}

/// A failover of one master.
#[derive(Debug, Default)]
pub(super) struct Failover {
    pub(super) phase: Phase,
    pub(super) is_forced: bool,
    pub(super) epoch: u64,
    pub(super) started_ms: Millis,
    pub(super) phase_since_ms: Millis,
    pub(super) promoted: Option<SocketAddr>,
}

/// A master with all that belongs to it.
#[derive(Debug)]
pub(super) struct Master {
    pub(super) name: String,
    pub(super) own: Instance,
    pub(super) replicas: BTreeMap<SocketAddr, Instance>,
    pub(super) sentinels: BTreeMap<String, Instance>,
    pub(super) quorum: usize,
    pub(super) down_after_ms: Millis,
    pub(super) failover_timeout_ms: Millis,
    pub(super) parallel_syncs: usize,
    pub(super) auth_user: Option<String>,
    pub(super) auth_password: Option<String>,
    pub(super) config_epoch: u64,
    pub(super) leader: Option<String>,
    pub(super) leader_epoch: u64,
    pub(super) failover: Failover,
}

impl Master {
    pub(super) fn new(name: String, address: SocketAddr, quorum: usize, shared: &Shared) -> Master {
        Master {
            name,
            own: Instance::new(Kind::Master, address, shared.now),
            replicas: BTreeMap::new(),
            sentinels: BTreeMap::new(),
            quorum,
            down_after_ms: shared.periods.down_after_ms,
            failover_timeout_ms: shared.periods.failover_timeout_ms,
            parallel_syncs: 1,
            auth_user: None,
            auth_password: None,
            config_epoch: 0,
            leader: None,
            leader_epoch: 0,
            failover: Failover::default(),
        }
    }

    /// The address that clients are given: the promoted replica's, as soon as it is a master.
    pub(super) fn current_address(&self) -> SocketAddr {
        let is_done = matches!(self.failover.phase, Phase::ReconfReplicas | Phase::UpdateConfig);
        self.failover.promoted.filter(|_| is_done).unwrap_or(self.own.address)
    }

    pub(super) fn instance(&mut self, who: &Who) -> Option<&mut Instance> {
        match who {
            Who::Master => Some(&mut self.own),
            Who::Replica(address) => self.replicas.get_mut(address),
            Who::Sentinel(id) => self.sentinels.get_mut(id),
        }
    }

    /// All instances, the master first.
    pub(super) fn everybody(&self) -> Vec<Who> {
        let replicas = self.replicas.keys().map(|address| Who::Replica(*address));
        let sentinels = self.sentinels.keys().map(|id| Who::Sentinel(id.clone()));
        std::iter::once(Who::Master).chain(replicas).chain(sentinels).collect()
    }

    /// How an instance is named in events.
    pub(super) fn describe(&self, who: &Who) -> String {
        let own = format!("{} {} {}", self.name, self.own.address.ip(), self.own.address.port());
        let of = |kind: &str, name: &str, address: SocketAddr| {
            format!("{kind} {name} {} {} @ {own}", address.ip(), address.port())
        };
        match who {
            Who::Master => format!("master {own}"),
            Who::Replica(address) => of("slave", &address.to_string(), *address),
            Who::Sentinel(id) => {
                let address = self.sentinels.get(id).map_or(self.own.address, |sentinel| sentinel.address);
                of("sentinel", id, address)
            }
        }
    }
}

/// What is common to all masters.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) id: String,
    pub(super) port: u16,
    pub(super) now: Millis,
    pub(super) current_epoch: u64,
    pub(super) periods: Periods,
    /// Since when clocks are not trusted; 0 where they are.
    pub(super) tilt_since_ms: Millis,
    pub(super) is_tilted: bool,
    pub(super) ticked_ms: Millis,
    pub(super) sentinel_user: Option<String>,
    pub(super) sentinel_password: Option<String>,
    pub(super) announce_ip: Option<IpAddr>,
    pub(super) announce_port: Option<u16>,
    /// The hosts that were looked up when the sentinel started.
    pub(super) names: BTreeMap<String, IpAddr>,
    pub(super) links: BTreeMap<u64, Place>,
    pub(super) next_link: u64,
    pub(super) effects: Vec<Effect>,
    /// Whether something changed that has to be on the disk before anybody hears of it.
    pub(super) is_dirty: bool,
}

impl Shared {
    pub(super) fn new(id: String, port: u16) -> Shared {
        Shared {
            id,
            port,
            now: FIRST_MS,
            current_epoch: 0,
            periods: Periods::default(),
            tilt_since_ms: 0,
            is_tilted: false,
            ticked_ms: FIRST_MS,
            sentinel_user: None,
            sentinel_password: None,
            announce_ip: None,
            announce_port: None,
            names: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 0,
            effects: Vec::new(),
            is_dirty: false,
        }
    }

    /// Tells subscribers of `channel`.
    pub(super) fn event(&mut self, channel: &str, message: impl Into<String>) {
        self.effects.push(Effect::Publish { channel: channel.to_owned(), message: message.into() });
    }

    /// Sends on the instance's connection, if there is one.
    pub(super) fn send(&mut self, instance: &mut Instance, request: Request, arguments: &[&str]) -> bool {
        let Some(link) = instance.contact.commands else { return false };
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        instance.contact.pending += 1;
        self.effects.push(Effect::Send { link, request, arguments });
        true
    }

    /// Closes the connection for commands.
    pub(super) fn close_commands(&mut self, instance: &mut Instance) {
        if let Some(link) = instance.contact.commands.take() {
            self.forget(link);
        }
        instance.contact.pending = 0;
        instance.contact.local = None;
    }

    /// Closes the connection for messages.
    pub(super) fn close_messages(&mut self, instance: &mut Instance) {
        if let Some(link) = instance.contact.messages.take() {
            self.forget(link);
        }
    }

    fn forget(&mut self, link: u64) {
        self.links.remove(&link);
        self.effects.push(Effect::Close { link });
    }

    /// Closes both: before an instance is dropped.
    pub(super) fn close(&mut self, instance: &mut Instance) {
        self.close_commands(instance);
        self.close_messages(instance);
    }

    /// A random delay, so that sentinels do not all act at once.
    pub(super) fn desync_ms(&self) -> Millis {
        Millis::from(super::random_u32() % 1_000)
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) masters: BTreeMap<String, Master>,
    pub(super) shared: Shared,
}
