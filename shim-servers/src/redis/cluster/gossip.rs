//! Pings, pongs and what they tell of others.
//!
//! Owns the making and the reading of messages. Must not know sockets. Invariant: only nodes that are known are believed, and
//! only masters are believed about failures.

use std::net::IpAddr;
use std::sync::Arc;

use super::message::{Gossip, Kind, Message};
use super::node::Node;
use super::{Cluster, NodeId};
use crate::redis::state::{State, random_name};

/// How a message came.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: IpAddr,
    pub(crate) local: IpAddr,
    /// The node to which we made the connection; `None` where it made it.
    pub(crate) link: Option<NodeId>,
}

impl Cluster {
    /// A message of ours.
    pub(crate) fn message(&self, kind: Kind, offset: i64) -> Message {
        let myself = self.myself();
        let speaks_for = self.my_master().unwrap_or(&self.me);
        let config_epoch = self.nodes.get(speaks_for).map_or(0, |node| node.config_epoch);
        Message {
            sender: self.me.to_string(),
            ip: self.announced_ip.clone(),
            port: myself.port,
            bus_port: myself.bus_port,
            epoch: self.epoch,
            config_epoch,
            offset,
            is_master: myself.is_master,
            master: myself.master.as_ref().map(|id| id.to_string()),
            slots: self.ranges_of(speaks_for),
            is_paused: self.is_paused_for_failover(),
            is_forced: false,
            kind,
        }
    }

    /// Some nodes, as we see them: a few at random, and all that we suspect.
    pub(crate) fn gossip(&self, random: &mut fastrand::Rng, to: Option<&NodeId>) -> Vec<Gossip> {
        let is_told = |node: &&Node| {
            node.id != self.me && Some(&node.id) != to && !node.is_in_handshake && !node.ip.is_empty()
        };
        let mut known: Vec<&Node> = self.nodes.values().filter(is_told).collect();
        random.shuffle(&mut known);
        let count = (self.nodes.len() / 10).max(3);
        let (few, rest) = known.split_at(count.min(known.len()));
        let suspected = rest.iter().filter(|node| node.is_suspected);
        few.iter().chain(suspected).map(|node| self.about(node)).collect()
    }

    fn about(&self, node: &Node) -> Gossip {
        Gossip {
            id: node.id.to_string(),
            ip: node.ip.clone(),
            port: node.port,
            bus_port: node.bus_port,
            is_master: node.is_master,
            is_suspected: node.is_suspected && !node.is_failed,
            is_failed: node.is_failed,
        }
    }

    /// Takes a node in whose name is not known yet.
    pub(crate) fn start_handshake(
        &mut self,
        name: NodeId,
        ip: String,
        port: u16,
        bus_port: u16,
        now_ms: i64,
    ) -> bool {
        let is_known =
            self.nodes.values().any(|node| node.is_in_handshake && node.ip == ip && node.port == port);
        if is_known {
            return false;
        }
        let mut node = Node::new(Arc::clone(&name), ip, port, bus_port);
        node.is_in_handshake = true;
        node.is_master = true;
        node.created_ms = now_ms;
        self.nodes.insert(name, node);
        true
    }
}

/// Takes a message in. Says what goes back over the same connection, and the new name of the node at its other end.
pub(crate) fn receive(
    state: &mut State,
    message: Message,
    arrival: &Arrival,
) -> (Option<Message>, Option<NodeId>) {
    let now_ms = state.steady_ms();
    let offset = state.replication.offset;
    let mut random = state.random.fork();
    let Some(cluster) = state.cluster.as_deref_mut() else { return (None, None) };
    *cluster.received.entry(message.kind.name()).or_default() += 1;
    let sender_id: NodeId = message.sender.as_str().into();
    let sender =
        cluster.nodes.get_mut(&sender_id).filter(|node| !node.is_in_handshake && node.id != cluster.me);
    let is_known = sender.is_some();
    if let Some(sender) = sender {
        sender.heard_ms = now_ms;
        sender.offset = message.offset;
        if message.config_epoch > sender.config_epoch && message.is_master {
            sender.config_epoch = message.config_epoch;
            cluster.version += 1;
        }
        if message.epoch > cluster.epoch {
            cluster.epoch = message.epoch;
            cluster.version += 1;
        }
    }
    if is_known {
        state.hear_pause(&sender_id, &message);
    }
    let Some(cluster) = state.cluster.as_deref_mut() else { return (None, None) };
    let mut renamed = None;
    let mut answer = None;
    match &message.kind {
        Kind::Ping(_) | Kind::Meet(_) => {
            let is_meeting = matches!(message.kind, Kind::Meet(_));
            learn_own_address(cluster, arrival, is_meeting);
            if is_known && !is_meeting && arrival.link.is_none() {
                // It may have come back with another address.
                move_to(cluster, &sender_id, address(&message, arrival), message.port, message.bus_port);
            }
            if is_meeting && !cluster.nodes.contains_key(&sender_id) {
                let name: NodeId = random_name(&mut random).into();
                let ip = address(&message, arrival);
                cluster.start_handshake(name, ip, message.port, message.bus_port, now_ms);
                cluster.version += 1;
            }
            let gossip = cluster.gossip(&mut random, Some(&sender_id));
            answer = Some(cluster.message(Kind::Pong(gossip), offset));
            *cluster.sent.entry("pong").or_default() += 1;
        }
        Kind::Pong(_) => renamed = hear_pong(cluster, &message, arrival, now_ms),
        _ => {}
    }
    let is_meeting = matches!(message.kind, Kind::Meet(_));
    if let Kind::Ping(gossip) | Kind::Pong(gossip) | Kind::Meet(gossip) = &message.kind {
        if is_known || renamed.is_some() {
            take_role(state, &sender_id, &message);
            state.take_claims(&sender_id, &message);
            state.hear_gossip(&sender_id, gossip, now_ms);
            state.solve_epoch_conflict(&sender_id, &message);
        } else if is_meeting {
            state.hear_gossip(&sender_id, gossip, now_ms);
        }
    } else if is_known {
        state.hear_other(&sender_id, message);
    }
    (answer, renamed)
}

fn address(message: &Message, arrival: &Arrival) -> String {
    if message.ip.is_empty() { arrival.peer.to_string() } else { message.ip.clone() }
}

/// A node finds out its own address when another one reaches it.
fn learn_own_address(cluster: &mut Cluster, arrival: &Arrival, is_meeting: bool) {
    if !is_meeting && !cluster.myself().ip.is_empty() {
        return;
    }
    let announced = cluster.announced_ip.clone();
    let ip = if announced.is_empty() { arrival.local.to_string() } else { announced };
    if cluster.myself().ip != ip {
        cluster.myself_mut().ip = ip;
        cluster.version += 1;
    }
}

/// An answer. One to a handshake tells the node's name.
fn hear_pong(cluster: &mut Cluster, message: &Message, arrival: &Arrival, now_ms: i64) -> Option<NodeId> {
    let link = arrival.link.clone()?;
    let sender: NodeId = message.sender.as_str().into();
    let mut renamed = None;
    if cluster.nodes.get(&link).is_some_and(|node| node.is_in_handshake) {
        if cluster.nodes.contains_key(&sender) {
            // Known already, perhaps by an old address.
            let (ip, port, bus_port) = (address(message, arrival), message.port, message.bus_port);
            if sender != cluster.me {
                move_to(cluster, &sender, ip, port, bus_port);
            }
            cluster.remove(&link);
            return None;
        }
        let mut node = cluster.nodes.remove(&link)?;
        node.id = Arc::clone(&sender);
        node.is_in_handshake = false;
        node.is_to_be_met = false;
        node.is_master = message.is_master;
        cluster.nodes.insert(Arc::clone(&sender), node);
        cluster.version += 1;
        renamed = Some(Arc::clone(&sender));
    } else if link != sender {
        // Another node lives at this address now.
        if let Some(node) = cluster.nodes.get_mut(&link) {
            node.link = None;
            node.is_connected = false;
        }
        return None;
    }
    let node = cluster.nodes.get_mut(&sender)?;
    node.pong_received_ms = now_ms;
    node.heard_ms = now_ms;
    node.ping_sent_ms = None;
    if node.is_suspected && !node.is_failed {
        node.is_suspected = false;
    }
    cluster.forgive(&sender, now_ms);
    renamed
}

fn move_to(cluster: &mut Cluster, id: &NodeId, ip: String, port: u16, bus_port: u16) {
    let Some(node) = cluster.nodes.get_mut(id) else { return };
    if (&node.ip, node.port, node.bus_port) != (&ip, port, bus_port) {
        (node.ip, node.port, node.bus_port) = (ip, port, bus_port);
        node.link = None;
        node.is_connected = false;
        cluster.version += 1;
    }
}

/// What the sender says that it is.
fn take_role(state: &mut State, id: &NodeId, message: &Message) {
    let Some(cluster) = state.cluster.as_deref_mut() else { return };
    let Some(node) = cluster.nodes.get_mut(id) else { return };
    let master: Option<NodeId> = message.master.as_deref().map(Into::into);
    if message.is_master {
        if !node.is_master {
            node.is_master = true;
            node.master = None;
            cluster.version += 1;
        }
        return;
    }
    let was_master = node.is_master;
    // A master loses its slots to a greater epoch only. What says otherwise is from before it became one, and was overtaken
    // by what came over the other connection.
    let is_overtaken = message.config_epoch < node.config_epoch && cluster.owners.count(id) > 0;
    if was_master && is_overtaken {
        return;
    }
    if was_master || node.master != master {
        node.is_master = false;
        node.master = master;
        cluster.version += 1;
    }
    if was_master {
        // What it had is free until somebody claims it.
        cluster.owners.hand_over(id, None);
    }
}

impl State {
    /// What a node tells of others.
    fn hear_gossip(&mut self, sender: &NodeId, gossip: &[Gossip], now_ms: i64) {
        let Some(cluster) = self.cluster.as_deref_mut() else { return };
        let is_believed =
            cluster.nodes.get(sender).is_some_and(|node| node.is_master && !node.is_in_handshake);
        let is_known = cluster.nodes.contains_key(sender);
        let mut judged = Vec::new();
        for about in gossip {
            let id: NodeId = about.id.as_str().into();
            if id == cluster.me {
                continue;
            }
            let Some(node) = cluster.nodes.get_mut(&id) else {
                let is_forgotten = cluster.forgotten.get(&id).is_some_and(|until| *until > now_ms);
                if is_known && !is_forgotten && !about.ip.is_empty() {
                    let mut node = Node::new(Arc::clone(&id), about.ip.clone(), about.port, about.bus_port);
                    node.is_master = about.is_master;
                    node.created_ms = now_ms;
                    node.heard_ms = now_ms;
                    cluster.nodes.insert(id, node);
                    cluster.version += 1;
                }
                continue;
            };
            if is_believed {
                if about.is_failed || about.is_suspected {
                    node.reports.insert(Arc::clone(sender), now_ms);
                } else {
                    node.reports.remove(sender);
                }
            }
            let has_moved = (&node.ip, node.port) != (&about.ip, about.port);
            if node.is_suspected
                && !about.is_failed
                && !about.is_suspected
                && has_moved
                && !about.ip.is_empty()
            {
                move_to(cluster, &id, about.ip.clone(), about.port, about.bus_port);
            }
            judged.push(id);
        }
        judged.iter().for_each(|id| self.condemn_if_agreed(id));
    }
}
