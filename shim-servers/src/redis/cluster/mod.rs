//! The cluster: its nodes, and who has which slots.
//!
//! Owns the cluster's state. Must not know sockets. Invariant: a slot has at most one owner, and whoever has a slot is known.

mod bus;
pub(crate) mod commands;
mod failover;
mod gossip;
mod health;
mod message;
pub(crate) mod migrate;
mod node;
mod nodes_file;
mod owners;
pub(crate) mod redirect;
mod shape;
mod slots;
mod tend;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::state::State;
pub(crate) use bus::open;
use failover::{Election, ManualFailover};
use message::{Kind, Message};
use node::Node;
use owners::Owners;

/// The name of a node: 40 hexadecimal digits.
pub(crate) type NodeId = Arc<str>;

/// What a node knows of its cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) me: NodeId,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    owners: Owners,
    pub(crate) migrating: BTreeMap<u16, NodeId>,
    pub(crate) importing: BTreeMap<u16, NodeId>,
    pub(crate) epoch: u64,
    pub(crate) last_vote_epoch: u64,
    /// Whether requests are served.
    pub(crate) is_ok: bool,
    /// After so long without an answer, a node is suspected.
    pub(crate) timeout_ms: i64,
    /// The address that others are told; empty where they are to look at the connection.
    announced_ip: String,
    first_look_ms: Option<i64>,
    in_minority_ms: i64,
    election: Election,
    manual: Option<ManualFailover>,
    /// Nodes that were forgotten, and until when they are not taken in again.
    forgotten: BTreeMap<NodeId, i64>,
    /// Counts changes of what is kept in `nodes.conf`.
    pub(crate) version: u64,
    sent: BTreeMap<&'static str, u64>,
    received: BTreeMap<&'static str, u64>,
}

impl Cluster {
    /// A cluster of one node, which has no slots.
    pub(crate) fn new(me: NodeId, port: u16) -> Cluster {
        let mut node = Node::new(Arc::clone(&me), String::new(), port, port.wrapping_add(10_000));
        node.is_master = true;
        Cluster {
            me: Arc::clone(&me),
            nodes: BTreeMap::from([(me, node)]),
            owners: Owners::default(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            epoch: 0,
            last_vote_epoch: 0,
            is_ok: false,
            timeout_ms: 15_000,
            announced_ip: String::new(),
            first_look_ms: None,
            in_minority_ms: 0,
            election: Election::default(),
            manual: None,
            forgotten: BTreeMap::new(),
            version: 1,
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
        }
    }

    /// How many connections between nodes there are.
    pub(crate) fn links(&self) -> usize {
        self.nodes.values().filter(|node| node.link.is_some()).count()
    }

    pub(crate) fn myself(&self) -> &Node {
        &self.nodes[&self.me]
    }

    pub(crate) fn myself_mut(&mut self) -> &mut Node {
        self.nodes.get_mut(&self.me).expect("invariant: a node knows itself")
    }

    /// The master whose slots this node serves, which may be itself.
    pub(crate) fn my_master(&self) -> Option<&NodeId> {
        let myself = self.myself();
        if myself.is_master { Some(&self.me) } else { myself.master.as_ref() }
    }

    /// The node that has a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&NodeId> {
        self.owners.of(slot)
    }

    /// The slots of a node, as ranges that include both ends.
    pub(crate) fn ranges_of(&self, id: &NodeId) -> Vec<(u16, u16)> {
        self.owners.ranges(id).to_vec()
    }

    pub(crate) fn slot_count(&self, id: &NodeId) -> usize {
        self.owners.count(id)
    }

    /// Masters that have slots.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        self.owners.all().map(|(owner, _)| Arc::clone(owner)).collect()
    }

    /// How many masters are a majority.
    pub(crate) fn quorum(&self) -> usize {
        self.owners.all().count() / 2 + 1
    }

    /// Replicas of a master.
    pub(crate) fn replicas_of<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = &'a Node> {
        self.nodes.values().filter(move |node| !node.is_master && node.master.as_ref() == Some(id))
    }

    /// Gives slots to a node, or to nobody.
    pub(crate) fn assign(&mut self, slots: impl IntoIterator<Item = u16>, owner: Option<&NodeId>) {
        self.owners.assign(slots, owner);
        self.version += 1;
    }

    /// Takes a node out, with all that hangs on it.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        self.nodes.remove(id);
        self.owners.hand_over(id, None);
        self.migrating.retain(|_, target| target != id);
        self.importing.retain(|_, source| source != id);
        for node in self.nodes.values_mut() {
            node.reports.remove(id);
            if node.master.as_ref() == Some(id) {
                node.master = None;
            }
        }
        self.version += 1;
    }

    /// Sends a message over the connection to a node, if there is one.
    pub(crate) fn send(&mut self, to: &NodeId, message: Message) {
        *self.sent.entry(message.kind.name()).or_default() += 1;
        let version = self.version;
        if let Some(link) = self.nodes.get(to).and_then(|node| node.link.as_ref()) {
            // A connection that just ended takes it with it, as the network does.
            let _ = link.send((version, message));
        }
    }

    /// Sends a message to all nodes that are known well.
    pub(crate) fn broadcast(&mut self, message: &Message) {
        let ids: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.id != self.me && !node.is_in_handshake)
            .map(|node| Arc::clone(&node.id))
            .collect();
        ids.iter().for_each(|id| self.send(id, message.clone()));
    }

    /// Sends one's own state to all, without waiting for the next round.
    pub(crate) fn broadcast_pong(&mut self, offset: i64, random: &mut fastrand::Rng) {
        let gossip = self.gossip(random, None);
        let message = self.message(Kind::Pong(gossip), offset);
        self.broadcast(&message);
    }
}

impl State {
    /// Milliseconds since 1970 on a clock that never jumps: the cluster measures its waits by it.
    pub(crate) fn steady_ms(&self) -> i64 {
        self.started_ms + self.started.elapsed().as_millis() as i64
    }

    /// Sends a published message to the other nodes.
    pub(crate) fn publish_on_bus(&mut self, channel: &bytes::Bytes, text: &bytes::Bytes, is_sharded: bool) {
        let offset = self.replication.offset;
        let Some(cluster) = &mut self.cluster else { return };
        let kind = Kind::Publish { channel: channel.clone(), message: text.clone(), is_sharded };
        let message = cluster.message(kind, offset);
        if !is_sharded {
            cluster.broadcast(&message);
            return;
        }
        // Only those who have the same slots.
        let Some(master) = cluster.my_master().cloned() else { return };
        let mut shard: Vec<NodeId> = cluster.replicas_of(&master).map(|node| Arc::clone(&node.id)).collect();
        shard.push(master);
        shard.retain(|id| *id != cluster.me);
        shard.iter().for_each(|id| cluster.send(id, message.clone()));
    }
}
