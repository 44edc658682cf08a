//! What a node of a cluster does ten times in a second.
//!
//! Owns whom it pings and when. Must not know sockets. Invariant: each node is asked at least twice within the time limit for
//! nodes.

use std::sync::Arc;

use super::message::Kind;
use super::redirect::why_not_here;
use super::{Cluster, NodeId};
use crate::redis::client::BlockedOn;
use crate::redis::state::State;

impl Cluster {
    /// Goes by this address, where there is one.
    pub(super) fn announce(&mut self, ip: &str) {
        if self.announced_ip != ip {
            self.announced_ip = ip.to_owned();
            if !ip.is_empty() {
                self.myself_mut().ip = ip.to_owned();
            }
            self.version += 1;
        }
    }

    /// Asks a node whether it lives.
    pub(super) fn ping(
        &mut self,
        id: &NodeId,
        offset: i64,
        random: &mut fastrand::Rng,
        now_ms: i64,
        meets: bool,
    ) {
        let gossip = self.gossip(random, Some(id));
        let kind = if meets { Kind::Meet(gossip) } else { Kind::Ping(gossip) };
        let message = self.message(kind, offset);
        self.send(id, message);
        if let Some(node) = self.nodes.get_mut(id) {
            node.ping_sent_ms = Some(now_ms);
        }
    }

    /// Forgets nodes that never told their name, and those who were to be kept out for a while.
    fn forget_old(&mut self, now_ms: i64) {
        let limit_ms = self.timeout_ms.max(1_000);
        let lost: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.is_in_handshake && now_ms - node.created_ms > limit_ms)
            .map(|node| Arc::clone(&node.id))
            .collect();
        lost.iter().for_each(|id| self.remove(id));
        self.forgotten.retain(|_, until_ms| *until_ms > now_ms);
    }

    /// Ends connections over which no answer comes.
    fn drop_dead_links(&mut self, now_ms: i64) {
        let timeout_ms = self.timeout_ms;
        for node in self.nodes.values_mut().filter(|node| node.link.is_some()) {
            let Some(sent_ms) = node.ping_sent_ms else { continue };
            let is_old = now_ms - node.link_since_ms > timeout_ms;
            if is_old && now_ms - sent_ms > timeout_ms / 2 && now_ms - node.heard_ms > timeout_ms / 2 {
                node.link = None;
                node.is_connected = false;
            }
        }
    }

    /// Whom to ask now.
    fn to_ping(&self, ticks: u64, now_ms: i64, random: &mut fastrand::Rng) -> Vec<NodeId> {
        let is_askable = |id: &NodeId| {
            let node = &self.nodes[id];
            *id != self.me && node.link.is_some() && node.ping_sent_ms.is_none() && !node.is_in_handshake
        };
        let all: Vec<&NodeId> = self.nodes.keys().filter(|id| is_askable(id)).collect();
        let mut chosen: Vec<NodeId> = Vec::new();
        if ticks.is_multiple_of(10) && !all.is_empty() {
            let some = (0..5).map(|_| all[random.usize(0..all.len())]);
            chosen.extend(some.min_by_key(|id| self.nodes[*id].pong_received_ms).cloned());
        }
        let is_due = |id: &&&NodeId| {
            let node = &self.nodes[**id];
            now_ms - node.pong_received_ms > self.timeout_ms / 2 || self.successor() == Some(&node.id)
        };
        for id in all.iter().filter(is_due) {
            if !chosen.contains(id) {
                chosen.push((*id).clone());
            }
        }
        chosen
    }
}

impl State {
    /// The regular work.
    pub(super) fn tend_cluster(&mut self, ticks: u64) {
        let (now_ms, offset) = (self.steady_ms(), self.replication.offset);
        let timeout_ms = self.config.number("cluster-node-timeout").max(1);
        let mut random = self.random.fork();
        let announced = self.config.text("cluster-announce-ip").to_owned();
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        cluster.timeout_ms = timeout_ms;
        cluster.announce(&announced);
        cluster.forget_old(now_ms);
        cluster.drop_dead_links(now_ms);
        for id in cluster.to_ping(ticks, now_ms, &mut random) {
            cluster.ping(&id, offset, &mut random, now_ms, false);
        }
        self.suspect_silent();
        self.follow_cluster_master();
        self.tend_manual_failover();
        self.tend_election();
        self.judge_cluster();
        self.redirect_waiting();
    }

    /// Who waits for a key that is elsewhere by now is sent there.
    fn redirect_waiting(&mut self) {
        self.refuse_waiting(|state, blocked| match &blocked.on {
            BlockedOn::Keys { keys, .. } => why_not_here(state, keys),
            BlockedOn::Replicas { .. } | BlockedOn::Migration => None,
        });
    }
}
