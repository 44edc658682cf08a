//! Where a request belongs.
//!
//! Owns MOVED, ASK and the other answers of a node that is not the right one. Must not know what commands do. Invariant: a
//! request is executed by the owner of its slot, or by who is about to become that.

use bytes::Bytes;

use super::Cluster;
use crate::redis::client::Client;
use crate::redis::dispatch::find_command;
use crate::redis::keyspace::slot_of;
use crate::redis::state::{State, now_ms};
use crate::redis::table::Command;

/// Why a client that waits for these keys cannot wait here any more.
pub(super) fn why_not_here(state: &State, keys: &[Bytes]) -> Option<String> {
    let cluster = state.cluster.as_deref()?;
    if !cluster.is_ok {
        return Some("CLUSTERDOWN The cluster is down".into());
    }
    let slot = slot_of(keys.first()?);
    let owner = cluster.owner(slot);
    let is_here = owner == Some(&cluster.me) || owner.is_some_and(|owner| Some(owner) == cluster.my_master());
    if is_here || cluster.importing.contains_key(&slot) {
        return None;
    }
    Some(moved(cluster, slot).unwrap_or_else(|| "CLUSTERDOWN Hash slot not served".into()))
}

fn moved(cluster: &Cluster, slot: u16) -> Option<String> {
    let owner = cluster.nodes.get(cluster.owner(slot)?)?;
    Some(format!("MOVED {slot} {}:{}", owner.ip, owner.port))
}

/// The keys of a request; for EXEC, those of the whole transaction.
fn keys_of(client: &Client, command: &Command, args: &[Bytes]) -> Vec<Bytes> {
    if command.name != "exec" {
        return command.keys_in(args);
    }
    let queued = client.transaction.iter().flat_map(|transaction| &transaction.commands);
    queued
        .flat_map(|args| args.first().and_then(|name| find_command(name)).map(|c| c.keys_in(args)))
        .flatten()
        .collect()
}

/// The error that sends a client elsewhere; `None` where its request is executed here.
pub(crate) fn redirection(
    state: &State,
    client: &Client,
    command: &Command,
    args: &[Bytes],
) -> Option<String> {
    let cluster = state.cluster.as_deref()?;
    let keys = keys_of(client, command, args);
    let slot = slot_of(keys.first()?);
    if keys.iter().any(|key| slot_of(key) != slot) {
        return Some("CROSSSLOT Keys in request don't hash to the same slot".into());
    }
    let Some(owner) = cluster.owner(slot) else { return Some("CLUSTERDOWN Hash slot not served".into()) };
    let reads = is_read(client, command);
    if !cluster.is_ok {
        let is_channel = command.name.ends_with("ssubscribe") || command.name == "spublish";
        if is_channel && state.config.is_on("cluster-allow-pubsubshard-when-down") {
            // Who listens may do so.
        } else if !state.config.is_on("cluster-allow-reads-when-down") {
            return Some("CLUSTERDOWN The cluster is down".into());
        } else if !reads {
            return Some("CLUSTERDOWN The cluster is down and only accepts read commands".into());
        }
    }
    let is_mine = *owner == cluster.me;
    let target = cluster.migrating.get(&slot).filter(|_| is_mine).and_then(|id| cluster.nodes.get(id));
    let is_arriving = cluster.importing.contains_key(&slot);
    if (target.is_some() || is_arriving) && command.name == "migrate" {
        return None;
    }
    let missing = keys.iter().filter(|key| !is_there(state, key)).count();
    if let Some(target) = target.filter(|_| missing > 0) {
        if missing < keys.len() {
            return Some("TRYAGAIN Multiple keys request during rehashing of slot".into());
        }
        return Some(format!("ASK {slot} {}:{}", target.ip, target.port));
    }
    if is_arriving && (client.is_asking || command.has("asking")) {
        let is_partial = keys.len() > 1 && missing > 0;
        return is_partial.then(|| "TRYAGAIN Multiple keys request during rehashing of slot".into());
    }
    let is_my_masters = !cluster.myself().is_master && cluster.myself().master.as_ref() == Some(owner);
    let is_listening = command.name.ends_with("ssubscribe");
    if is_my_masters && ((client.reads_replicas && reads) || is_listening) {
        return None;
    }
    if is_mine { None } else { moved(cluster, slot) }
}

fn is_read(client: &Client, command: &Command) -> bool {
    if command.name != "exec" {
        return command.has("readonly");
    }
    let mut queued = client.transaction.iter().flat_map(|transaction| &transaction.commands);
    queued.all(|args| args.first().and_then(|name| find_command(name)).is_some_and(|c| !c.has("write")))
}

fn is_there(state: &State, key: &Bytes) -> bool {
    let entry = state.databases[0].find(key);
    entry.is_some_and(|entry| entry.expires_at_ms.is_none_or(|at| at > now_ms()))
}
