//! Faults between sets of nodes: partitions, held links, repair.
//!
//! Owns who can reach whom. Must not know packets' contents. Invariant: a gate concerns packets sent from
//! now on; what is on its way arrives.

use super::Fabric;
use super::link::Gate;
use super::path::Trip;
use crate::packet::Packet;

impl Fabric {
    /// Sets the gate of each link from a node of `from` to a node of `to`. Returns the packets that were
    /// held on links that are now open, for sending again.
    pub(crate) fn set_gates(&mut self, from: &[u32], to: &[u32], gate: Gate) -> Vec<(Trip, Box<Packet>)> {
        let mut released = Vec::new();
        for &source in from {
            for &target in to.iter().filter(|target| **target != source) {
                let link = self.link(source, target);
                link.gate = gate;
                if gate != Gate::Held {
                    released.append(&mut link.held);
                }
            }
        }
        released
    }

    /// Opens all gates that are closed in the way of `only`, or in any.
    pub(crate) fn open_gates(&mut self, only: Option<Gate>) -> Vec<(Trip, Box<Packet>)> {
        let mut released = Vec::new();
        for link in self.links() {
            if only.is_none_or(|gate| gate == link.gate) {
                link.gate = Gate::Open;
                released.append(&mut link.held);
            }
        }
        released
    }
}
