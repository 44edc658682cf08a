//! One node of a cluster, as another one sees it.
//!
//! Owns what is known of a node. Must not know the others. Invariant: a node that failed for all had failed for us, or we were
//! told so.

use std::collections::BTreeMap;

use tokio::sync::mpsc::UnboundedSender;

use super::NodeId;
use super::message::Message;

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) bus_port: u16,
    pub(crate) is_master: bool,
    pub(crate) master: Option<NodeId>,
    pub(crate) config_epoch: u64,
    /// We think that it failed.
    pub(crate) is_suspected: bool,
    /// A majority thinks so.
    pub(crate) is_failed: bool,
    /// Its name is not known yet.
    pub(crate) is_in_handshake: bool,
    /// It is to take us in.
    pub(crate) is_to_be_met: bool,
    /// When we asked and had no answer yet, on the steady clock.
    pub(crate) ping_sent_ms: Option<i64>,
    pub(crate) pong_received_ms: i64,
    pub(crate) heard_ms: i64,
    pub(crate) created_ms: i64,
    pub(crate) failed_ms: i64,
    /// When we voted for one of its replicas.
    pub(crate) voted_ms: Option<i64>,
    pub(crate) offset: i64,
    /// Masters that think that it failed, and when they said so.
    pub(crate) reports: BTreeMap<NodeId, i64>,
    pub(crate) link: Option<UnboundedSender<(u64, Message)>>,
    pub(crate) link_since_ms: i64,
    /// Which of its connections this is.
    pub(crate) link_number: u64,
    pub(crate) is_connected: bool,
}

impl Node {
    pub(crate) fn new(id: NodeId, ip: String, port: u16, bus_port: u16) -> Node {
        Node {
            id,
            ip,
            port,
            bus_port,
            is_master: false,
            master: None,
            config_epoch: 0,
            is_suspected: false,
            is_failed: false,
            is_in_handshake: false,
            is_to_be_met: false,
            ping_sent_ms: None,
            pong_received_ms: 0,
            heard_ms: 0,
            created_ms: 0,
            failed_ms: 0,
            voted_ms: None,
            offset: 0,
            reports: BTreeMap::new(),
            link: None,
            link_since_ms: 0,
            link_number: 0,
            is_connected: false,
        }
    }

    /// Its flags, as CLUSTER NODES shows them.
    pub(crate) fn flags(&self, is_myself: bool) -> String {
        let mut flags: Vec<&str> = Vec::new();
        if is_myself {
            flags.push("myself");
        }
        flags.push(if self.is_master { "master" } else { "slave" });
        if self.is_failed {
            flags.push("fail");
        } else if self.is_suspected {
            flags.push("fail?");
        }
        if self.is_in_handshake {
            // Whether it is a master is not known yet.
            flags.retain(|flag| *flag != "slave" && *flag != "master");
            flags.push("handshake");
        }
        flags.join(",")
    }
}
