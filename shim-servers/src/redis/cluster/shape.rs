//! How the cluster is shown: NODES, SLOTS, SHARDS, INFO.
//!
//! Owns these forms. Must not change anything. Invariant: clients are told addresses, never names.

use std::sync::Arc;

use super::node::Node;
use super::{Cluster, NodeId};
use crate::redis::state::State;
use crate::redis::wire::Reply;

/// The lines of CLUSTER NODES.
pub(super) fn nodes(state: &State, cluster: &Cluster, is_shown: impl Fn(&Node) -> bool) -> String {
    cluster
        .nodes
        .values()
        .filter(|node| is_shown(node))
        .map(|node| line(state, cluster, node) + "\n")
        .collect()
}

/// One line of CLUSTER NODES.
pub(super) fn line(state: &State, cluster: &Cluster, node: &Node) -> String {
    let is_myself = node.id == cluster.me;
    let config_epoch = match node.master.as_ref().and_then(|master| cluster.nodes.get(master)) {
        Some(master) if !node.is_master => master.config_epoch,
        _ => node.config_epoch,
    };
    let is_linked = is_myself || node.is_connected;
    let hostname = if is_myself { state.config.text("cluster-announce-hostname") } else { "" };
    let hostname = if hostname.is_empty() { String::new() } else { format!(",{hostname}") };
    let mut text = format!(
        "{} {}:{}@{}{hostname} {} {} {} {} {config_epoch} {}",
        node.id,
        node.ip,
        node.port,
        node.bus_port,
        node.flags(is_myself),
        node.master.as_deref().unwrap_or("-"),
        node.ping_sent_ms.unwrap_or(0),
        node.pong_received_ms,
        if is_linked { "connected" } else { "disconnected" },
    );
    for (first, last) in cluster.ranges_of(&node.id) {
        text += &if first == last { format!(" {first}") } else { format!(" {first}-{last}") };
    }
    if is_myself {
        text.extend(cluster.migrating.iter().map(|(slot, target)| format!(" [{slot}->-{target}]")));
        text.extend(cluster.importing.iter().map(|(slot, source)| format!(" [{slot}-<-{source}]")));
    }
    text
}

/// A master and those of its replicas that live, for CLUSTER SLOTS.
fn servers(cluster: &Cluster, master: &NodeId) -> Vec<Reply> {
    let show = |node: &Node| {
        Reply::Array(vec![
            node.ip.as_str().into(),
            i64::from(node.port).into(),
            (*node.id).into(),
            Reply::Array(Vec::new()),
        ])
    };
    let replicas = cluster.replicas_of(master).filter(|node| !node.is_failed);
    cluster.nodes.get(master).into_iter().chain(replicas).map(show).collect()
}

pub(super) fn slots(cluster: &Cluster) -> Reply {
    let mut ranges: Vec<(u16, u16, &NodeId)> = Vec::new();
    for id in cluster.nodes.keys() {
        ranges.extend(cluster.ranges_of(id).into_iter().map(|(first, last)| (first, last, id)));
    }
    ranges.sort();
    let range = |(first, last, id): (u16, u16, &NodeId)| {
        let mut reply = vec![i64::from(first).into(), i64::from(last).into()];
        reply.extend(servers(cluster, id));
        Reply::Array(reply)
    };
    Reply::Array(ranges.into_iter().map(range).collect())
}

pub(super) fn shards(state: &State, cluster: &Cluster) -> Reply {
    let masters = cluster.nodes.values().filter(|node| node.is_master && !node.is_in_handshake);
    let shard = |master: &Node| {
        let ranges = cluster.ranges_of(&master.id).into_iter();
        let ends = ranges.flat_map(|(first, last)| [i64::from(first), i64::from(last)]).collect();
        let members = std::iter::once(master).chain(cluster.replicas_of(&master.id));
        let members = members.map(|node| member(state, cluster, node)).collect();
        Reply::Map(vec![("slots".into(), ends), ("nodes".into(), Reply::Array(members))])
    };
    Reply::Array(masters.map(shard).collect())
}

fn member(state: &State, cluster: &Cluster, node: &Node) -> Reply {
    let is_myself = node.id == cluster.me;
    let offset = if is_myself { state.replication.offset } else { node.offset };
    let is_loading = !node.is_master && offset == 0;
    let health = if node.is_failed {
        "fail"
    } else if is_loading {
        "loading"
    } else {
        "online"
    };
    Reply::Map(vec![
        ("id".into(), (*node.id).into()),
        ("port".into(), i64::from(node.port).into()),
        ("ip".into(), node.ip.as_str().into()),
        ("endpoint".into(), node.ip.as_str().into()),
        ("role".into(), if node.is_master { "master" } else { "replica" }.into()),
        ("replication-offset".into(), offset.into()),
        ("health".into(), health.into()),
    ])
}

pub(super) fn info(cluster: &Cluster) -> String {
    let slots_of = |is_meant: &dyn Fn(&Node) -> bool| -> usize {
        let meant = cluster.nodes.values().filter(|node| is_meant(node));
        meant.map(|node| cluster.slot_count(&node.id)).sum()
    };
    let assigned = slots_of(&|_| true);
    let failed = slots_of(&|node| node.is_failed);
    let suspected = slots_of(&|node| node.is_suspected && !node.is_failed);
    let my_epoch =
        cluster.my_master().and_then(|id| cluster.nodes.get(id)).map_or(0, |node| node.config_epoch);
    let mut text = format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{}\r\ncluster_slots_pfail:{suspected}\r\n\
         cluster_slots_fail:{failed}\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n\
         cluster_my_epoch:{my_epoch}\r\n",
        if cluster.is_ok { "ok" } else { "fail" },
        assigned,
        assigned - failed - suspected,
        cluster.nodes.len(),
        cluster.voters().len(),
        cluster.epoch,
    );
    for (counts, direction) in [(&cluster.sent, "sent"), (&cluster.received, "received")] {
        for (name, count) in counts {
            text += &format!("cluster_stats_messages_{name}_{direction}:{count}\r\n");
        }
        let total: u64 = counts.values().sum();
        text += &format!("cluster_stats_messages_{direction}:{total}\r\n");
    }
    text + "total_cluster_links_buffer_limit_exceeded:0\r\n"
}

/// The connections of the bus, for CLUSTER LINKS.
pub(super) fn links(cluster: &Cluster) -> Reply {
    let made = cluster.nodes.values().filter(|node| node.link.is_some());
    let link = |node: &Node| {
        Reply::Map(vec![
            ("direction".into(), "to".into()),
            ("node".into(), (*Arc::clone(&node.id)).into()),
            ("create-time".into(), node.link_since_ms.into()),
            ("events".into(), "rw".into()),
            ("send-buffer-allocated".into(), 0.into()),
            ("send-buffer-used".into(), 0.into()),
        ])
    };
    Reply::Array(made.map(link).collect())
}
