//! Who has which slot: claims, and what follows from them.
//!
//! Owns the rule that the greater epoch wins. Must not know sockets. Invariant: keys of slots that were lost are gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::NodeId;
use super::message::{Kind, Message};
use crate::redis::keyspace::SLOTS;
use crate::redis::state::State;

/// The slots of these ranges, those that there are.
pub(super) fn slots_of(ranges: &[(u16, u16)]) -> impl Iterator<Item = u16> + '_ {
    ranges.iter().flat_map(|(first, last)| *first..=*last).filter(|slot| *slot < SLOTS)
}

impl State {
    /// What a node claims, for itself or for its master.
    pub(super) fn take_claims(&mut self, sender: &NodeId, message: &Message) {
        let offset = self.replication.offset;
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let Some(node) = cluster.nodes.get(sender) else { return };
        let claimant = if node.is_master { Some(Arc::clone(sender)) } else { node.master.clone() };
        let Some(claimant) = claimant.filter(|id| cluster.nodes.contains_key(id)) else { return };
        if cluster.owners.ranges(&claimant) == message.slots {
            return;
        }
        // Somebody else has one of them with a greater epoch: the sender does not know yet.
        let better = slots_of(&message.slots).find_map(|slot| {
            let owner = cluster.owner(slot).filter(|owner| **owner != claimant)?;
            (cluster.nodes.get(owner)?.config_epoch > message.config_epoch).then(|| Arc::clone(owner))
        });
        if message.is_master {
            self.apply_claims(sender, message.config_epoch, &message.slots);
        }
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        if let Some(owner) = better {
            let config_epoch = cluster.nodes.get(&owner).map_or(0, |node| node.config_epoch);
            let slots = cluster.ranges_of(&owner);
            let update =
                cluster.message(Kind::Update { owner: owner.to_string(), config_epoch, slots }, offset);
            cluster.send(sender, update);
        }
    }

    /// Gives slots to a node, as far as nobody has them with a greater epoch.
    pub(super) fn apply_claims(&mut self, claimant: &NodeId, config_epoch: u64, ranges: &[(u16, u16)]) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        if *claimant == cluster.me {
            return;
        }
        let my_master = cluster.my_master().cloned();
        let (mut won, mut lost, mut was_taken) = (Vec::new(), BTreeSet::new(), false);
        for slot in slots_of(ranges) {
            let owner = cluster.owner(slot).cloned();
            if owner.as_ref() == Some(claimant) || cluster.importing.contains_key(&slot) {
                continue;
            }
            let is_older = owner.as_ref().and_then(|owner| cluster.nodes.get(owner));
            if is_older.is_some_and(|owner| owner.config_epoch >= config_epoch) {
                continue;
            }
            if owner.as_ref() == Some(&cluster.me) {
                lost.insert(slot);
            }
            was_taken |= owner.is_some() && owner == my_master;
            cluster.migrating.remove(&slot);
            won.push(slot);
        }
        if !won.is_empty() {
            cluster.assign(won, Some(claimant));
        }
        // What the sender does not claim any more stays with it until somebody else does.
        let has_none = my_master.is_some_and(|master| cluster.slot_count(&master) == 0);
        if was_taken && has_none {
            self.become_replica_of(claimant);
        } else if !lost.is_empty() {
            self.drop_slots(&lost);
        }
    }

    /// Deletes the keys of slots that are another node's by now.
    fn drop_slots(&mut self, slots: &BTreeSet<u16>) {
        let keys: Vec<Bytes> =
            slots.iter().flat_map(|slot| self.databases[0].keys_of_slot(*slot)).cloned().collect();
        let at = self.circumstances(0);
        for key in keys {
            self.databases[0].remove(&key);
            self.touch_watched(0, &key);
            self.record(at, &[Bytes::from_static(b"DEL"), key]);
        }
    }

    /// Two masters with the same epoch: the one with the lesser name takes a new one.
    pub(super) fn solve_epoch_conflict(&mut self, sender: &NodeId, message: &Message) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let is_conflict = message.is_master
            && cluster.myself().is_master
            && cluster.myself().config_epoch == message.config_epoch
            && *sender > cluster.me;
        if is_conflict {
            cluster.epoch += 1;
            let epoch = cluster.epoch;
            cluster.myself_mut().config_epoch = epoch;
            cluster.version += 1;
        }
    }

    /// Serves another master from here on.
    pub(super) fn become_replica_of(&mut self, master: &NodeId) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        cluster.migrating.clear();
        cluster.importing.clear();
        let myself = cluster.myself_mut();
        myself.is_master = false;
        myself.master = Some(Arc::clone(master));
        cluster.version += 1;
        self.end_manual_failover();
        self.follow_cluster_master();
    }

    /// Takes the data of the master that the cluster names.
    pub(super) fn follow_cluster_master(&mut self) {
        let Some(cluster) = self.cluster.as_deref() else { return };
        if cluster.myself().is_master {
            return;
        }
        let Some(master) = cluster.myself().master.as_ref().and_then(|id| cluster.nodes.get(id)) else {
            return;
        };
        if master.ip.is_empty() {
            return;
        }
        let (ip, port) = (master.ip.clone(), master.port);
        let is_followed =
            self.replication.master.as_ref().is_some_and(|old| old.host == ip && old.port == port);
        if !is_followed {
            self.follow(ip, port);
        }
    }

    /// An answer to a stale claim of ours.
    pub(super) fn hear_update(&mut self, owner: &str, config_epoch: u64, slots: &[(u16, u16)]) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let owner: NodeId = owner.into();
        let Some(node) = cluster.nodes.get_mut(&owner).filter(|node| node.config_epoch < config_epoch) else {
            return;
        };
        node.is_master = true;
        node.master = None;
        node.config_epoch = config_epoch;
        cluster.version += 1;
        self.apply_claims(&owner, config_epoch, slots);
    }
}
