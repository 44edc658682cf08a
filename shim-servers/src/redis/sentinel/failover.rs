//! Failover: a replica takes the place of a master.
//!
//! Owns its phases, the choice of the replica, and the change of the master's address. Must not know how votes are counted.
//! Invariant: a replica is told to be a master only by the sentinel that was elected for this epoch, or that was asked to.

use std::net::SocketAddr;

use super::state::{Failover, Instance, Kind, Master, Millis, Phase, Reconf, Request, Shared, Who};
use super::{election, info};

/// Begins one, where the master is down for enough sentinels and none was tried lately.
pub(super) fn start_if_needed(master: &mut Master, shared: &mut Shared) -> bool {
    let is_free = master.own.is_o_down && master.failover.phase == Phase::None;
    let is_too_early = shared.now - master.failover.started_ms < master.failover_timeout_ms * 2;
    if !is_free || is_too_early {
        return false;
    }
    start(master, false, shared);
    true
}

/// Begins one.
pub(super) fn start(master: &mut Master, is_forced: bool, shared: &mut Shared) {
    shared.current_epoch += 1;
    master.failover = Failover {
        phase: Phase::WaitStart,
        is_forced,
        epoch: shared.current_epoch,
        started_ms: shared.now + shared.desync_ms(),
        phase_since_ms: shared.now,
        promoted: None,
    };
    shared.event("+new-epoch", shared.current_epoch.to_string());
    shared.event("+try-failover", master.describe(&Who::Master));
}

/// Goes on to `phase`, and says so.
pub(super) fn enter(master: &mut Master, phase: Phase, channel: Option<&str>, shared: &mut Shared) {
    master.failover.phase = phase;
    master.failover.phase_since_ms = shared.now;
    if let Some(channel) = channel {
        shared.event(channel, master.describe(&Who::Master));
    }
}

/// Takes the step that the phase asks for.
pub(super) fn advance(master: &mut Master, shared: &mut Shared) {
    match master.failover.phase {
        Phase::None | Phase::UpdateConfig => {}
        Phase::WaitStart => wait_start(master, shared),
        Phase::SelectReplica => select(master, shared),
        Phase::SendReplicaOfNoOne => promote(master, shared),
        Phase::WaitPromotion => {
            if shared.now - master.failover.phase_since_ms > master.failover_timeout_ms {
                abort(master, "-failover-abort-slave-timeout", shared);
            }
        }
        Phase::ReconfReplicas => {
            reconf_next(master, shared);
            detect_end(master, shared);
        }
    }
}

fn abort(master: &mut Master, channel: &str, shared: &mut Shared) {
    if let Some(promoted) = master.failover.promoted.take()
        && let Some(replica) = master.replicas.get_mut(&promoted)
    {
        replica.is_promoted = false;
    }
    master.failover.is_forced = false;
    enter(master, Phase::None, Some(channel), shared);
}

fn wait_start(master: &mut Master, shared: &mut Shared) {
    let leader = election::leader(master, master.failover.epoch, shared);
    if leader.as_deref() == Some(&shared.id) || master.failover.is_forced {
        shared.event("+elected-leader", master.describe(&Who::Master));
        enter(master, Phase::SelectReplica, Some("+failover-state-select-slave"), shared);
        return;
    }
    let limit_ms = shared.periods.election_timeout_ms.min(master.failover_timeout_ms);
    if shared.now - master.failover.started_ms > limit_ms {
        abort(master, "-failover-abort-not-elected", shared);
    }
}

/// The replica that is best: it answers, its data is fresh, and it comes first by priority, offset and id.
pub(super) fn best_replica(master: &Master, shared: &Shared) -> Option<SocketAddr> {
    let now = shared.now;
    let master_down_ms = if master.own.is_s_down { now - master.own.s_down_since_ms } else { 0 };
    let link_down_max_ms = master_down_ms + master.down_after_ms * 10;
    let periods = &shared.periods;
    let info_max_ms = if master.own.is_s_down { periods.ping_ms * 5 } else { periods.info_ms * 3 };
    let is_good = |replica: &&Instance| {
        !replica.is_s_down
            && replica.is_connected()
            && now - replica.contact.available_ms <= periods.ping_ms * 5
            && replica.priority != 0
            && now - replica.info_ms <= info_max_ms
            && replica.master_link_down_ms <= link_down_max_ms
    };
    let rank = |replica: &&Instance| {
        let id = replica.run_id.clone();
        (replica.priority, -replica.offset, id.is_none(), id.map(|id| id.to_lowercase()))
    };
    master.replicas.values().filter(is_good).min_by_key(rank).map(|replica| replica.address)
}

fn select(master: &mut Master, shared: &mut Shared) {
    let Some(address) = best_replica(master, shared) else {
        abort(master, "-failover-abort-no-good-slave", shared);
        return;
    };
    shared.event("+selected-slave", master.describe(&Who::Replica(address)));
    if let Some(replica) = master.replicas.get_mut(&address) {
        replica.is_promoted = true;
    }
    master.failover.promoted = Some(address);
    let described = master.describe(&Who::Replica(address));
    enter(master, Phase::SendReplicaOfNoOne, None, shared);
    shared.event("+failover-state-send-slaveof-noone", described);
}

fn promote(master: &mut Master, shared: &mut Shared) {
    let Some(address) = master.failover.promoted else { return };
    let described = master.describe(&Who::Replica(address));
    let is_told = match master.replicas.get_mut(&address) {
        Some(replica) if replica.is_connected() => follow(replica, None, shared),
        _ => false,
    };
    if is_told {
        enter(master, Phase::WaitPromotion, None, shared);
        shared.event("+failover-state-wait-promotion", described);
    } else if shared.now - master.failover.phase_since_ms > master.failover_timeout_ms {
        abort(master, "-failover-abort-slave-timeout", shared);
    }
}

/// Tells a server to follow `target`, or nobody; and to drop its clients, who then ask again who the master is.
pub(super) fn follow(server: &mut Instance, target: Option<SocketAddr>, shared: &mut Shared) -> bool {
    let host = target.map_or("NO".to_owned(), |target| target.ip().to_string());
    let port = target.map_or("ONE".to_owned(), |target| target.port().to_string());
    let all: [&[&str]; 6] = [
        &["MULTI"],
        &["SLAVEOF", &host, &port],
        &["CONFIG", "REWRITE"],
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
        &["EXEC"],
    ];
    all.iter().all(|arguments| shared.send(server, Request::Other, arguments))
}

/// Tells the other replicas, a few at a time, to follow the promoted one.
fn reconf_next(master: &mut Master, shared: &mut Shared) {
    let Some(target) = master.failover.promoted else { return };
    let now = shared.now;
    let is_busy = |replica: &&Instance| matches!(replica.reconf, Reconf::Sent | Reconf::InProgress);
    let mut busy = master.replicas.values().filter(is_busy).count();
    for address in master.replicas.keys().copied().collect::<Vec<_>>() {
        if busy >= master.parallel_syncs {
            return;
        }
        let described = master.describe(&Who::Replica(address));
        let Some(replica) = master.replicas.get_mut(&address) else { continue };
        if replica.is_promoted || replica.reconf == Reconf::Done {
            continue;
        }
        if replica.reconf == Reconf::Sent && now - replica.reconf_sent_ms > shared.periods.reconf_timeout_ms {
            // It does not say that it was reconfigured: the others shall not wait for it.
            replica.reconf = Reconf::Done;
            shared.event("-slave-reconf-sent-timeout", described.clone());
        }
        if replica.reconf != Reconf::None || !replica.is_connected() {
            continue;
        }
        if follow(replica, Some(target), shared) {
            replica.reconf = Reconf::Sent;
            replica.reconf_sent_ms = now;
            shared.event("+slave-reconf-sent", described);
            busy += 1;
        }
    }
}

/// Ends it when all replicas follow, or when the time is over.
fn detect_end(master: &mut Master, shared: &mut Shared) {
    let promoted = master.failover.promoted.and_then(|promoted| master.replicas.get(&promoted));
    if promoted.is_none_or(|promoted| promoted.is_s_down) {
        return;
    }
    let is_waiting =
        |replica: &Instance| !replica.is_promoted && replica.reconf != Reconf::Done && !replica.is_s_down;
    let is_late = shared.now - master.failover.phase_since_ms > master.failover_timeout_ms;
    if is_late {
        shared.event("+failover-end-for-timeout", master.describe(&Who::Master));
    } else if master.replicas.values().any(is_waiting) {
        return;
    }
    enter(master, Phase::UpdateConfig, Some("+failover-end"), shared);
    if is_late {
        tell_the_rest(master, shared);
    }
}

fn tell_the_rest(master: &mut Master, shared: &mut Shared) {
    let Some(target) = master.failover.promoted else { return };
    for address in master.replicas.keys().copied().collect::<Vec<_>>() {
        let described = master.describe(&Who::Replica(address));
        let Some(replica) = master.replicas.get_mut(&address) else { continue };
        let is_told = replica.is_promoted || matches!(replica.reconf, Reconf::Sent | Reconf::Done);
        if !is_told && replica.is_connected() && follow(replica, Some(target), shared) {
            replica.reconf = Reconf::Sent;
            shared.event("+slave-reconf-sent-be", described);
        }
    }
}

/// The promoted replica is the master from here on.
pub(super) fn switch_to_promoted(master: &mut Master, shared: &mut Shared) {
    let address = master.failover.promoted.unwrap_or(master.own.address);
    announce_switch(master, address, shared);
    reset_to(master, address, shared);
}

/// Says that clients have to go elsewhere.
pub(super) fn announce_switch(master: &Master, to: SocketAddr, shared: &mut Shared) {
    let (name, from) = (&master.name, master.own.address);
    let text = format!("{name} {} {} {} {}", from.ip(), from.port(), to.ip(), to.port());
    shared.event("+switch-master", text);
}

/// Forgets what was known of the servers but their addresses: `address` is the master, all others are its replicas.
pub(super) fn reset_to(master: &mut Master, address: SocketAddr, shared: &mut Shared) {
    let mut others: Vec<SocketAddr> = master.replicas.keys().copied().collect();
    if master.own.address != address {
        others.push(master.own.address);
    }
    others.retain(|other| *other != address);
    forget_servers(master, shared);
    master.own.address = address;
    for other in others {
        info::add_replica(master, other, shared);
    }
    shared.is_dirty = true;
}

/// Closes all connections to servers, and forgets the replicas and the failover.
pub(super) fn forget_servers(master: &mut Master, shared: &mut Shared) {
    for mut replica in std::mem::take(&mut master.replicas).into_values() {
        shared.close(&mut replica);
    }
    shared.close(&mut master.own);
    let (published_ms, now): (Millis, Millis) = (master.own.published_ms, shared.now);
    master.own = Instance { published_ms, ..Instance::new(Kind::Master, master.own.address, now) };
    master.leader = None;
    master.failover = Failover::default();
}
