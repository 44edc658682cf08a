//! CLUSTER.
//!
//! Owns its subcommands. Must not know the bus. Invariant: what a command changes is kept before anybody else hears of it.

use std::net::IpAddr;
use std::sync::Arc;

use super::failover::Manner;
use super::{Cluster, NodeId, shape};
use crate::redis::call::{Answer, Call, SYNTAX, Stop, unknown_subcommand, wrong_arity};
use crate::redis::keyspace::{Database, SLOTS, slot_of};
use crate::redis::numbers::parse_integer;
use crate::redis::state::random_name;
use crate::redis::wire::Reply;

/// How long a node that was forgotten is kept out.
const FORGOTTEN_MS: i64 = 60_000;

impl Call<'_> {
    fn cluster(&mut self) -> Result<&mut Cluster, Stop> {
        self.state
            .cluster
            .as_deref_mut()
            .ok_or_else(|| "ERR This instance has cluster support disabled".into())
    }

    fn slot(&self, index: usize) -> Result<u16, Stop> {
        let slot = self.args.get(index).and_then(|text| parse_integer(text));
        let slot = slot.and_then(|slot| u16::try_from(slot).ok()).filter(|slot| *slot < SLOTS);
        slot.ok_or_else(|| "ERR Invalid or out of range slot".into())
    }

    /// A node that is known, by its name.
    fn node(&mut self, index: usize) -> Result<NodeId, Stop> {
        let name = String::from_utf8_lossy(&self.args[index]).into_owned();
        let cluster = self.cluster()?;
        let found = cluster.nodes.get(name.as_str()).filter(|node| !node.is_in_handshake);
        found.map(|node| Arc::clone(&node.id)).ok_or_else(|| format!("ERR Unknown node {name}").into())
    }
}

/// How many arguments a subcommand has, with both names.
fn arity(subcommand: &str) -> Option<std::ops::RangeInclusive<usize>> {
    Some(match subcommand {
        "info" | "myid" | "nodes" | "slots" | "shards" | "links" | "bumpepoch" | "saveconfig"
        | "flushslots" => 2..=2,
        "keyslot"
        | "countkeysinslot"
        | "replicate"
        | "replicas"
        | "slaves"
        | "forget"
        | "set-config-epoch"
        | "count-failure-reports" => 3..=3,
        "getkeysinslot" => 4..=4,
        "meet" => 4..=5,
        "addslots" | "delslots" | "addslotsrange" | "delslotsrange" => 3..=usize::MAX,
        "setslot" => 4..=5,
        "failover" | "reset" => 2..=3,
        _ => return None,
    })
}

pub(crate) fn cluster(call: &mut Call) -> Answer {
    call.cluster()?;
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    let Some(arity) = arity(&subcommand) else { return Err(unknown_subcommand("CLUSTER", &call.args[1])) };
    if !arity.contains(&call.args.len()) {
        return Err(wrong_arity(&format!("cluster|{subcommand}")));
    }
    match subcommand.as_str() {
        "info" => Ok(Reply::Verbatim(shape::info(call.cluster()?).into())),
        "myid" => Ok((*call.cluster()?.me).into()),
        "nodes" => show_nodes(call),
        "slots" => Ok(shape::slots(call.cluster()?)),
        "shards" => {
            call.cluster()?;
            let state = &*call.state;
            Ok(state.cluster.as_deref().map_or(Reply::Null, |cluster| shape::shards(state, cluster)))
        }
        "links" => Ok(shape::links(call.cluster()?)),
        "keyslot" => Ok(i64::from(slot_of(&call.args[2])).into()),
        "countkeysinslot" => {
            call.integer(2)?;
            let slot = call.slot(2).map_err(|_| "ERR Invalid slot")?;
            Ok(call.state.databases[0].keys_of_slot(slot).count().into())
        }
        "getkeysinslot" => {
            call.integer(2)?;
            let count =
                usize::try_from(call.integer(3)?).map_err(|_| "ERR Invalid slot or number of keys")?;
            let slot = call.slot(2).map_err(|_| "ERR Invalid slot or number of keys")?;
            Ok(call.state.databases[0].keys_of_slot(slot).take(count).cloned().collect())
        }
        "meet" => meet(call),
        "addslots" | "addslotsrange" => change_slots(call, true),
        "delslots" | "delslotsrange" => change_slots(call, false),
        "flushslots" => flush_slots(call),
        "setslot" => set_slot(call),
        "replicate" => replicate(call),
        "replicas" | "slaves" => replicas(call),
        "forget" => forget(call),
        "failover" => failover(call),
        "reset" => reset(call),
        "set-config-epoch" => set_config_epoch(call),
        "bumpepoch" => bump_epoch(call),
        "count-failure-reports" => {
            let id = call.node(2)?;
            Ok(call.cluster()?.nodes.get(&id).map_or(0, |node| node.reports.len()).into())
        }
        _ => {
            call.cluster()?.version += 1;
            Ok(Reply::OK)
        }
    }
}

fn show_nodes(call: &mut Call) -> Answer {
    let state = &*call.state;
    let text = state.cluster.as_deref().map(|cluster| shape::nodes(state, cluster, |_| true));
    Ok(Reply::Verbatim(text.unwrap_or_default().into()))
}

fn meet(call: &mut Call) -> Answer {
    let (host, port) = (String::from_utf8_lossy(&call.args[2]).into_owned(), call.arg(3));
    let port_number = parse_integer(&port).and_then(|port| u16::try_from(port).ok());
    let invalid = || {
        let port = String::from_utf8_lossy(&port);
        Stop::from(format!("ERR Invalid node address specified: {host}:{port}"))
    };
    let port_number = port_number.ok_or_else(|| {
        Stop::from(format!("ERR Invalid TCP base port specified: {}", String::from_utf8_lossy(&port)))
    })?;
    let ip: IpAddr = host.parse().map_err(|_| invalid())?;
    let bus_port =
        if call.ends_at(4) { port_number.checked_add(10_000) } else { u16::try_from(call.integer(4)?).ok() };
    let bus_port = bus_port.ok_or_else(invalid)?;
    let now_ms = call.state.steady_ms();
    let name: NodeId = random_name(&mut call.random).into();
    let cluster = call.cluster()?;
    if cluster.start_handshake(Arc::clone(&name), ip.to_string(), port_number, bus_port, now_ms)
        && let Some(node) = cluster.nodes.get_mut(&name)
    {
        node.is_to_be_met = true;
    }
    Ok(Reply::OK)
}

/// The slots that ADDSLOTS and its kin name.
fn named_slots(call: &Call) -> Result<Vec<u16>, Stop> {
    let by_range = call.args[1].to_ascii_lowercase().ends_with(b"range");
    if !by_range {
        return (2..call.args.len()).map(|index| call.slot(index)).collect();
    }
    if !call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(&format!(
            "cluster|{}",
            String::from_utf8_lossy(&call.args[1]).to_lowercase()
        )));
    }
    let mut slots = Vec::new();
    for index in (2..call.args.len()).step_by(2) {
        let (first, last) = (call.slot(index)?, call.slot(index + 1)?);
        if first > last {
            return Err(
                format!("ERR start slot number {first} is greater than end slot number {last}").into()
            );
        }
        slots.extend(first..=last);
    }
    Ok(slots)
}

fn change_slots(call: &mut Call, adds: bool) -> Answer {
    let slots = named_slots(call)?;
    let cluster = call.cluster()?;
    let mut seen = std::collections::BTreeSet::new();
    for slot in &slots {
        let is_taken = cluster.owner(*slot).is_some();
        if adds && is_taken {
            return Err(format!("ERR Slot {slot} is already busy").into());
        }
        if !adds && !is_taken {
            return Err(format!("ERR Slot {slot} is already unassigned").into());
        }
        if !seen.insert(*slot) {
            return Err(format!("ERR Slot {slot} specified multiple times").into());
        }
    }
    let owner = adds.then(|| Arc::clone(&cluster.me));
    for slot in &slots {
        cluster.importing.remove(slot);
    }
    cluster.assign(slots, owner.as_ref());
    call.state.judge_cluster();
    Ok(Reply::OK)
}

fn flush_slots(call: &mut Call) -> Answer {
    if call.state.databases[0].len() > 0 {
        return Err("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.".into());
    }
    let cluster = call.cluster()?;
    let me = Arc::clone(&cluster.me);
    cluster.owners.hand_over(&me, None);
    cluster.version += 1;
    Ok(Reply::OK)
}

fn set_slot(call: &mut Call) -> Answer {
    if !call.cluster()?.myself().is_master {
        return Err("ERR You can use SETSLOT only with masters.".into());
    }
    let slot = call.slot(2)?;
    let has_node = call.args.len() == 5;
    let me = Arc::clone(&call.cluster()?.me);
    let is_mine = call.cluster()?.owner(slot) == Some(&me);
    if call.is(3, "STABLE") && !has_node {
        let cluster = call.cluster()?;
        cluster.migrating.remove(&slot);
        cluster.importing.remove(&slot);
        cluster.version += 1;
        return Ok(Reply::OK);
    }
    let is_known = ["MIGRATING", "IMPORTING", "NODE"].iter().any(|word| call.is(3, word));
    if !is_known || !has_node {
        return Err("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP".into());
    }
    if call.is(3, "MIGRATING") && !is_mine {
        return Err(format!("ERR I'm not the owner of hash slot {slot}").into());
    }
    if call.is(3, "IMPORTING") && is_mine {
        return Err(format!("ERR I'm already the owner of hash slot {slot}").into());
    }
    let name = String::from_utf8_lossy(&call.args[4]).into_owned();
    let node = call.node(4).map_err(|_| match call.is(3, "NODE") {
        true => Stop::from(format!("ERR Unknown node {name}")),
        false => Stop::from(format!("ERR I don't know about node {name}")),
    })?;
    if !call.cluster()?.nodes.get(&node).is_some_and(|node| node.is_master) {
        return Err("ERR Target node is not a master".into());
    }
    if call.is(3, "MIGRATING") {
        call.cluster()?.migrating.insert(slot, node);
    } else if call.is(3, "IMPORTING") {
        call.cluster()?.importing.insert(slot, node);
    } else {
        assign(call, slot, node, is_mine)?;
    }
    call.cluster()?.version += 1;
    call.state.judge_cluster();
    Ok(Reply::OK)
}

/// SETSLOT NODE: the end of a migration, at both of its ends.
fn assign(call: &mut Call, slot: u16, node: NodeId, was_mine: bool) -> Result<(), Stop> {
    let has_keys = call.state.databases[0].keys_of_slot(slot).next().is_some();
    let offset = call.state.replication.offset;
    let mut random = call.random.fork();
    let cluster = call.cluster()?;
    let me = Arc::clone(&cluster.me);
    if was_mine && node != me && has_keys {
        return Err(format!(
            "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this \
                            hash slot."
        )
        .into());
    }
    if !has_keys {
        cluster.migrating.remove(&slot);
    }
    let has_arrived = node == me && cluster.importing.remove(&slot).is_some();
    cluster.assign([slot], Some(&node));
    if has_arrived {
        // Nobody has to agree: the greatest epoch makes this claim win.
        bump(cluster);
    }
    cluster.broadcast_pong(offset, &mut random);
    Ok(())
}

/// Takes an epoch that is greater than all, unless this node has it already.
fn bump(cluster: &mut Cluster) -> bool {
    let greatest = cluster.nodes.values().map(|node| node.config_epoch).max().unwrap_or(0).max(cluster.epoch);
    let own = cluster.myself().config_epoch;
    let others = cluster.nodes.values().filter(|node| node.id != cluster.me);
    let is_alone = others.clone().all(|node| node.config_epoch < own);
    if own != 0 && own == greatest && is_alone {
        return false;
    }
    cluster.epoch += 1;
    let epoch = cluster.epoch;
    cluster.myself_mut().config_epoch = epoch;
    cluster.version += 1;
    true
}

fn bump_epoch(call: &mut Call) -> Answer {
    let cluster = call.cluster()?;
    let word = if bump(cluster) { "BUMPED" } else { "STILL" };
    Ok(Reply::simple(format!("{word} {}", cluster.myself().config_epoch)))
}

fn set_config_epoch(call: &mut Call) -> Answer {
    let epoch = call.integer(2)?;
    let epoch = u64::try_from(epoch).map_err(|_| format!("ERR Invalid config epoch specified: {epoch}"))?;
    let cluster = call.cluster()?;
    if cluster.nodes.len() > 1 {
        return Err(
            "ERR The user can assign a config epoch only when the node does not know any other node.".into(),
        );
    }
    if cluster.myself().config_epoch != 0 {
        return Err("ERR Node config epoch is already non-zero".into());
    }
    cluster.myself_mut().config_epoch = epoch;
    cluster.epoch = cluster.epoch.max(epoch);
    cluster.version += 1;
    Ok(Reply::OK)
}

fn replicate(call: &mut Call) -> Answer {
    let id = call.node(2)?;
    let is_empty = call.state.databases[0].len() == 0;
    let cluster = call.cluster()?;
    if id == cluster.me {
        return Err("ERR Can't replicate myself".into());
    }
    if !cluster.nodes.get(&id).is_some_and(|node| node.is_master) {
        return Err("ERR I can only replicate a master, not a replica.".into());
    }
    if cluster.myself().is_master && (cluster.slot_count(&cluster.me) > 0 || !is_empty) {
        return Err("ERR To set a master the node must be empty and without assigned slots.".into());
    }
    call.state.become_replica_of(&id);
    call.state.judge_cluster();
    Ok(Reply::OK)
}

fn replicas(call: &mut Call) -> Answer {
    let id = call.node(2)?;
    if !call.cluster()?.nodes.get(&id).is_some_and(|node| node.is_master) {
        return Err("ERR The specified node is not a master".into());
    }
    let state = &*call.state;
    let Some(cluster) = state.cluster.as_deref() else { return Err(SYNTAX.into()) };
    Ok(cluster.replicas_of(&id).map(|node| shape::line(state, cluster, node)).collect())
}

fn forget(call: &mut Call) -> Answer {
    let id = call.node(2)?;
    let until_ms = call.state.steady_ms() + FORGOTTEN_MS;
    let cluster = call.cluster()?;
    if id == cluster.me {
        return Err("ERR I tried hard but I can't forget myself...".into());
    }
    if !cluster.myself().is_master && cluster.myself().master.as_ref() == Some(&id) {
        return Err("ERR Can't forget my master!".into());
    }
    cluster.forgotten.insert(Arc::clone(&id), until_ms);
    cluster.remove(&id);
    Ok(Reply::OK)
}

fn failover(call: &mut Call) -> Answer {
    let manner = match () {
        () if call.ends_at(2) => Manner::Agreed,
        () if call.is(2, "FORCE") => Manner::Forced,
        () if call.is(2, "TAKEOVER") => Manner::Takeover,
        () => return Err(SYNTAX.into()),
    };
    call.state.ask_for_failover(manner)?;
    Ok(Reply::OK)
}

fn reset(call: &mut Call) -> Answer {
    let is_hard = call.is(2, "HARD");
    if !call.ends_at(2) && !is_hard && !call.is(2, "SOFT") {
        return Err(SYNTAX.into());
    }
    let is_master = call.cluster()?.myself().is_master;
    if is_master && call.state.databases[0].len() > 0 {
        return Err("ERR CLUSTER RESET can't be called with master nodes containing keys".into());
    }
    if !is_master {
        call.state.stop_following();
        call.state.databases.iter_mut().for_each(Database::clear);
        call.changes += 1;
        call.recorded_as = Some(vec!["FLUSHALL".into()]);
    }
    let port = call.state.port;
    let name: NodeId = random_name(&mut call.random).into();
    let cluster = call.cluster()?;
    let (ip, epoch, version) = (cluster.myself().ip.clone(), cluster.epoch, cluster.version);
    let (config_epoch, vote) = (cluster.myself().config_epoch, cluster.last_vote_epoch);
    let me = if is_hard { name } else { Arc::clone(&cluster.me) };
    let first_look_ms = cluster.first_look_ms;
    let timeout_ms = cluster.timeout_ms;
    *cluster = Cluster::new(me, port);
    (cluster.first_look_ms, cluster.timeout_ms) = (first_look_ms, timeout_ms);
    cluster.myself_mut().ip = ip;
    cluster.version = version + 1;
    if !is_hard {
        cluster.epoch = epoch;
        cluster.last_vote_epoch = vote;
        cluster.myself_mut().config_epoch = config_epoch;
    }
    Ok(Reply::OK)
}
