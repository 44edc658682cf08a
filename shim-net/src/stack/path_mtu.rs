//! Path MTU discovery: how large packets on the way to an address may be, as far as routers have told.
//!
//! Owns the node's memory of it, and what an ICMP "too big" does to sockets. Must not know links. Invariant: what is
//! remembered is never more than the interface takes, and is forgotten after ten minutes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::table::Flow;
use super::{LOOPBACK_MSS, Stack};
use crate::packet::{Packet, Unreachable};

/// As Linux' `net.ipv4.route.mtu_expires`.
const EXPIRES: Duration = Duration::from_secs(600);
/// What every link of IPv6 takes (RFC 8200): no less is believed.
const LEAST_V6: usize = 1280;
/// What every link of IPv4 takes (RFC 791).
const LEAST_V4: usize = 68;
/// The size of the loopback interface's packets.
const LOOPBACK_MTU: usize = 65_536;

/// What routers have told of the ways to addresses.
#[derive(Default)]
pub(crate) struct PathMtus {
    known: BTreeMap<IpAddr, (usize, SimTime)>,
}

impl Stack {
    /// The largest packet that the interface takes on which packets to `ip` leave.
    pub(crate) fn interface_mtu(&self, ip: IpAddr) -> usize {
        if self.owns(ip) { LOOPBACK_MTU } else { self.mtu }
    }

    /// The largest packet on the way to `ip`, as far as this node knows.
    pub(crate) fn path_mtu(&self, ip: IpAddr, now: SimTime) -> usize {
        let own = self.interface_mtu(ip);
        match self.path_mtus.known.get(&ip) {
            Some((mtu, until)) if now < *until => own.min(*mtu),
            _ => own,
        }
    }

    /// The largest segment to ask of `ip`.
    pub(crate) fn mss(&self, ip: IpAddr, now: SimTime) -> u16 {
        segment_size(self.path_mtu(ip, now), ip)
    }

    /// Forgets what routers have told.
    pub(crate) fn forget_path_mtus(&mut self) {
        self.path_mtus.known.clear();
    }

    /// A router tells that a packet was too big, and what would not have been.
    pub(crate) fn too_big(&mut self, packet: &Packet, icmp: Unreachable, mtu: usize, now: SimTime) {
        let ip = icmp.original.ip();
        let mtu = mtu.max(if ip.is_ipv4() { LEAST_V4 } else { LEAST_V6 });
        if mtu < self.path_mtu(ip, now) {
            self.path_mtus.known.insert(ip, (mtu, now + EXPIRES));
        }
        if !icmp.tcp {
            return self.udp_unreachable(packet, icmp);
        }
        let size = segment_size(mtu, ip);
        if let Some(&index) = self.flows.get(&Flow::new(packet.destination, icmp.original)) {
            self.with_conn(index, now, |conn| conn.lower_mss(size));
        }
    }
}

/// The largest segment in a packet of `mtu` bytes.
fn segment_size(mtu: usize, ip: IpAddr) -> u16 {
    let headers = if ip.is_ipv4() { 40 } else { 60 };
    mtu.saturating_sub(headers).clamp(88, LOOPBACK_MSS.into()) as u16
}
