//! INFO: who a server is, whom it follows, and who follows it.
//!
//! Owns reading it, and what follows from a role that is not the one we want. Must not know connections. Invariant: a server
//! is told to follow another master only while the master that we know is in order.

use std::net::{IpAddr, SocketAddr};

use super::failover;
use super::hello;
use super::state::{Instance, Kind, Master, Millis, Phase, Reconf, Shared, Who};

/// Takes in what a master or a replica says of itself.
pub(super) fn refresh(master: &mut Master, who: &Who, text: &str, shared: &mut Shared) {
    let now = shared.now;
    let described = master.describe(who);
    let (mut found, mut reports_master) = (Vec::new(), None);
    let Some(instance) = master.instance(who) else { return };
    // It is told only while the link is down.
    instance.master_link_down_ms = 0;
    for line in text.lines() {
        let Some((name, value)) = line.trim_end().split_once(':') else { continue };
        match name {
            "role" => reports_master = Some(value == "master"),
            "run_id" => {
                if instance.run_id.as_deref().is_some_and(|old| old != value) {
                    shared.event("+reboot", described.clone());
                }
                instance.run_id = Some(value.to_owned());
            }
            "master_link_down_since_seconds" => {
                instance.master_link_down_ms = value.parse::<Millis>().map_or(0, |seconds| seconds * 1_000);
            }
            _ if name.starts_with("slave") && value.starts_with("ip=") => found.extend(replica_of(value)),
            _ => field_of_replica(instance, name, value, now),
        }
    }
    instance.info_ms = now;
    instance.info = Some(text.to_owned());
    let reports_master = reports_master.unwrap_or(instance.reports_master);
    if reports_master != instance.reports_master {
        instance.reports_master = reports_master;
        instance.role_since_ms = now;
        instance.conf_changed_ms = now;
        let is_right = reports_master == (instance.kind == Kind::Master);
        let channel = if is_right { "+role-change" } else { "-role-change" };
        let role = if reports_master { "master" } else { "slave" };
        shared.event(channel, format!("{described} new reported role is {role}"));
    }
    if *who == Who::Master && reports_master {
        meet_replicas(master, found, shared);
    }
    if !shared.is_tilted {
        act(master, who, shared);
    }
}

/// What only replicas say.
fn field_of_replica(instance: &mut Instance, name: &str, value: &str, now: Millis) {
    match name {
        "master_host" if instance.master_host.as_deref() != Some(value) => {
            instance.master_host = Some(value.to_owned());
            instance.conf_changed_ms = now;
        }
        "master_port" => {
            let port = value.parse().unwrap_or(0);
            if instance.master_port != port {
                instance.master_port = port;
                instance.conf_changed_ms = now;
            }
        }
        "master_link_status" => instance.master_link_is_up = value == "up",
        "slave_priority" => instance.priority = value.parse().unwrap_or(100),
        "slave_repl_offset" => instance.offset = value.parse().unwrap_or(0),
        "replica_announced" => instance.is_announced = value != "0",
        _ => {}
    }
}

/// The address of a line `slave0:ip=10.0.0.2,port=6379,state=online,…`.
fn replica_of(value: &str) -> Option<SocketAddr> {
    let part = |name: &str| {
        value.split(',').find_map(|part| part.strip_prefix(name).and_then(|part| part.strip_prefix('=')))
    };
    Some(SocketAddr::new(part("ip")?.parse::<IpAddr>().ok()?, part("port")?.parse().ok()?))
}

fn meet_replicas(master: &mut Master, found: Vec<SocketAddr>, shared: &mut Shared) {
    for address in found {
        if !master.replicas.contains_key(&address) {
            add_replica(master, address, shared);
        }
    }
}

/// Begins to watch a replica.
pub(super) fn add_replica(master: &mut Master, address: SocketAddr, shared: &mut Shared) {
    master.replicas.insert(address, Instance::new(Kind::Replica, address, shared.now));
    shared.is_dirty = true;
    shared.event("+slave", master.describe(&Who::Replica(address)));
}

/// Does what a replica's role asks for.
fn act(master: &mut Master, who: &Who, shared: &mut Shared) {
    let Who::Replica(address) = who else { return };
    let Some(replica) = master.replicas.get(address) else { return };
    if replica.reports_master {
        let is_awaited = replica.is_promoted && master.failover.phase == Phase::WaitPromotion;
        match is_awaited {
            true => promoted(master, *address, shared),
            false => demote(master, *address, shared),
        }
        return;
    }
    if !replica.follows(master.own.address, &shared.names) && !is_on_its_way(replica) {
        correct(master, *address, shared);
    }
    progress(master, *address, shared);
}

fn is_on_its_way(replica: &Instance) -> bool {
    replica.reconf != Reconf::None || replica.is_promoted
}

/// The replica that was told to be a master is one: from here on clients are sent to it.
fn promoted(master: &mut Master, address: SocketAddr, shared: &mut Shared) {
    master.config_epoch = master.failover.epoch;
    shared.is_dirty = true;
    shared.event("+promoted-slave", master.describe(&Who::Replica(address)));
    failover::enter(master, Phase::ReconfReplicas, Some("+failover-state-reconf-slaves"), shared);
    hello::greet_soon(master, shared);
}

/// A replica that says it is a master: it was one, and comes back after a failover.
fn demote(master: &mut Master, address: SocketAddr, shared: &mut Shared) {
    let wait_ms = shared.periods.publish_ms * 4;
    let is_sane = looks_sane(master, shared);
    let target = master.own.address;
    let Some(replica) = master.replicas.get_mut(&address) else { return };
    let is_settled = shared.now - replica.role_since_ms > wait_ms && replica.no_down_for(wait_ms, shared.now);
    if !replica.is_promoted && is_sane && is_settled && failover::follow(replica, Some(target), shared) {
        shared.event("+convert-to-slave", master.describe(&Who::Replica(address)));
    }
}

/// A replica that follows somebody else.
fn correct(master: &mut Master, address: SocketAddr, shared: &mut Shared) {
    let wait_ms = master.failover_timeout_ms;
    let is_sane = looks_sane(master, shared);
    let target = master.own.address;
    let Some(replica) = master.replicas.get_mut(&address) else { return };
    let is_settled =
        shared.now - replica.conf_changed_ms > wait_ms && replica.no_down_for(wait_ms, shared.now);
    if is_sane && is_settled && failover::follow(replica, Some(target), shared) {
        shared.event("+fix-slave-config", master.describe(&Who::Replica(address)));
    }
}

/// A replica that was told to follow the promoted one.
fn progress(master: &mut Master, address: SocketAddr, shared: &mut Shared) {
    let target = master.failover.promoted;
    let described = master.describe(&Who::Replica(address));
    let Some(replica) = master.replicas.get_mut(&address) else { return };
    if replica.reconf == Reconf::Sent && target.is_some_and(|target| replica.follows(target, &shared.names)) {
        replica.reconf = Reconf::InProgress;
        shared.event("+slave-reconf-inprog", described.clone());
    }
    if replica.reconf == Reconf::InProgress && replica.master_link_is_up {
        replica.reconf = Reconf::Done;
        shared.event("+slave-reconf-done", described);
    }
}

/// Whether the master is one, and has said so lately.
fn looks_sane(master: &Master, shared: &Shared) -> bool {
    let own = &master.own;
    own.reports_master
        && !own.is_s_down
        && !own.is_o_down
        && shared.now - own.info_ms < shared.periods.info_ms * 2
}
