//! Who is alive: suspicion, agreement, and whether the cluster serves.
//!
//! Owns the rule that a majority of masters decides. Must not know sockets. Invariant: a master in the minority serves nobody
//! after the time limit for nodes.

use std::sync::Arc;

use super::message::Kind;
use super::{Cluster, NodeId};
use crate::redis::keyspace::SLOTS;
use crate::redis::state::State;

/// For so long after its start, a master does not serve: it may have been replaced meanwhile.
const SILENCE_AFTER_START_MS: i64 = 2_000;

impl Cluster {
    /// A node that had failed answered: it is forgiven, at once or after a while.
    pub(super) fn forgive(&mut self, id: &NodeId, now_ms: i64) {
        let slots = self.slot_count(id);
        let timeout_ms = self.timeout_ms;
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.is_failed) else { return };
        let is_without_slots = !node.is_master || slots == 0;
        // A master whose slots nobody took may come back, but not so soon that a replica is about to.
        if is_without_slots || now_ms - node.failed_ms > timeout_ms * 2 {
            node.is_failed = false;
            node.is_suspected = false;
            self.version += 1;
        }
    }

    fn condemn(&mut self, id: &NodeId, now_ms: i64) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.is_failed = true;
            node.is_suspected = false;
            node.failed_ms = now_ms;
            self.version += 1;
        }
    }
}

impl State {
    /// A suspected node has failed when a majority of masters suspects it.
    pub(super) fn condemn_if_agreed(&mut self, id: &NodeId) {
        let now_ms = self.steady_ms();
        let offset = self.replication.offset;
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let (quorum, oldest_ms) = (cluster.quorum(), now_ms - cluster.timeout_ms * 2);
        let votes = usize::from(cluster.myself().is_master && cluster.slot_count(&cluster.me) > 0);
        let voters = cluster.voters();
        let Some(node) = cluster.nodes.get_mut(id).filter(|node| node.is_suspected && !node.is_failed) else {
            return;
        };
        node.reports.retain(|_, said_ms| *said_ms >= oldest_ms);
        let votes = votes + node.reports.keys().filter(|reporter| voters.contains(*reporter)).count();
        if votes < quorum {
            return;
        }
        cluster.condemn(id, now_ms);
        let message = cluster.message(Kind::Fail(id.to_string()), offset);
        cluster.broadcast(&message);
    }

    /// Somebody tells that a majority agreed.
    pub(super) fn hear_failure(&mut self, id: &str) {
        let now_ms = self.steady_ms();
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let id: NodeId = id.into();
        if id != cluster.me && cluster.nodes.get(&id).is_some_and(|node| !node.is_failed) {
            cluster.condemn(&id, now_ms);
        }
    }

    /// Suspects nodes that did not answer in time.
    pub(super) fn suspect_silent(&mut self) {
        let now_ms = self.steady_ms();
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let (me, timeout_ms) = (Arc::clone(&cluster.me), cluster.timeout_ms);
        let mut suspected = Vec::new();
        for node in cluster.nodes.values_mut().filter(|node| node.id != me && !node.is_in_handshake) {
            let Some(sent_ms) = node.ping_sent_ms else { continue };
            let silent_ms = (now_ms - sent_ms).min(now_ms - node.heard_ms);
            if silent_ms > timeout_ms && !node.is_failed {
                node.is_suspected = true;
                suspected.push(Arc::clone(&node.id));
            }
        }
        suspected.iter().for_each(|id| self.condemn_if_agreed(id));
    }

    /// Finds out whether this node may serve.
    pub(super) fn judge_cluster(&mut self) {
        let now_ms = self.steady_ms();
        let needs_all = self.config.is_on("cluster-require-full-coverage");
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let first_look_ms = *cluster.first_look_ms.get_or_insert(now_ms);
        let is_master = cluster.myself().is_master;
        if is_master && !cluster.is_ok && now_ms - first_look_ms < SILENCE_AFTER_START_MS {
            return;
        }
        let is_alive = |id: &NodeId| cluster.nodes.get(id).is_some_and(|node| !node.is_failed);
        let alive = cluster.owners.all().filter(|(id, _)| is_alive(id));
        let covered = alive.map(|(id, _)| cluster.owners.count(id)).sum::<usize>() == usize::from(SLOTS);
        let reachable =
            |id: &&NodeId| cluster.nodes.get(*id).is_some_and(|node| !node.is_failed && !node.is_suspected);
        let voters = cluster.voters();
        let has_majority = voters.iter().filter(reachable).count() >= cluster.quorum();
        let is_ok = has_majority && (covered || !needs_all);
        if !has_majority {
            cluster.in_minority_ms = now_ms;
        }
        let rejoin_ms = cluster.timeout_ms.clamp(500, 5_000);
        if is_ok && !cluster.is_ok && is_master && now_ms - cluster.in_minority_ms < rejoin_ms {
            return;
        }
        cluster.is_ok = is_ok;
    }
}
