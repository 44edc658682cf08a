//! The network as a test sees it: faults between sets of nodes, routers and switches, names, addresses, counts.
//!
//! Must not hold state: the network does. Invariant: a fault that is injected twice is the same as once.

use std::net::IpAddr;
use std::path::Path;

use shim_net::control;
pub use shim_net::control::{Stats as NetworkStats, TcpEcn};

use super::node::{self, NodeSet};

/// Cuts all links between the nodes of `a` and those of `b`, in both directions.
///
/// # Panics
/// Where there is no such node; so too for all faults below.
#[track_caller]
pub fn partition(a: impl Into<NodeSet>, b: impl Into<NodeSet>) {
    control::partition(&a.into().elements(), &b.into().elements());
}

/// Cuts the links from the nodes of `from` to those of `to`; the way back stays open.
#[track_caller]
pub fn partition_oneway(from: impl Into<NodeSet>, to: impl Into<NodeSet>) {
    control::partition_oneway(&from.into().elements(), &to.into().elements());
}

/// Undoes [`partition`].
#[track_caller]
pub fn repair(a: impl Into<NodeSet>, b: impl Into<NodeSet>) {
    control::repair(&a.into().elements(), &b.into().elements());
}

/// Undoes [`partition_oneway`].
#[track_caller]
pub fn repair_oneway(from: impl Into<NodeSet>, to: impl Into<NodeSet>) {
    control::repair_oneway(&from.into().elements(), &to.into().elements());
}

/// Keeps all packets between the nodes of `a` and those of `b` until [`release`].
#[track_caller]
pub fn hold(a: impl Into<NodeSet>, b: impl Into<NodeSet>) {
    control::hold(&a.into().elements(), &b.into().elements());
}

/// Ends [`hold`]: what was kept is sent now.
#[track_caller]
pub fn release(a: impl Into<NodeSet>, b: impl Into<NodeSet>) {
    control::release(&a.into().elements(), &b.into().elements());
}

/// Ends every partition and every hold.
pub fn heal() {
    control::heal();
}

/// The first address of `name`.
///
/// # Panics
/// Where nobody has the name.
#[track_caller]
pub fn lookup(name: &str) -> IpAddr {
    match control::lookup(name).first() {
        Some(address) => *address,
        None => panic!("simulation: nobody is called {name:?}"),
    }
}

/// Lets `name` resolve to the addresses of the node called `node`, beside what it resolves to already.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn register_name(name: &str, node: &str) {
    control::register_name(name, node::id(node));
}

/// Lets `name` resolve to `addresses` and to nothing else, as when a DNS record is changed; to none, nobody has the name.
pub fn set_name(name: &str, addresses: Vec<IpAddr>) {
    if addresses.is_empty() {
        control::remove_name(name);
    } else {
        control::set_name(name, addresses);
    }
}

/// The addresses of the node called `node`, without its loopback.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn addresses(node: &str) -> Vec<IpAddr> {
    control::addresses(node::id(node))
}

/// Gives the node called `node` other addresses; connections over the old ones hang.
///
/// # Panics
/// Where there is no such node, or another has one of the addresses.
#[track_caller]
pub fn set_addresses(node: &str, addresses: Vec<IpAddr>) {
    control::set_addresses(node::id(node), addresses);
}

/// Writes every packet from now on to the machine's file `path`, in the format that Wireshark reads (pcapng). What was
/// captured before ends there. `SIM_PCAP=FOLDER` does so for every run.
///
/// # Panics
/// Where the file cannot be made, or, later, written.
///
/// # Determinism
/// Changes nothing of the run.
pub fn capture(path: impl AsRef<Path>) {
    control::capture(path.as_ref());
}

/// Puts lines of a key log (as in `SSLKEYLOGFILE`) into the capture, where there is one: for an implementation of rustls'
/// `KeyLog`. Packets after them can be decrypted.
///
/// # Panics
/// Where the file cannot be written.
pub fn capture_secrets(key_log: &str) {
    control::capture_secrets(key_log);
}

/// What new TCP connections of the node called `node` do with explicit congestion notification: `net.ipv4.tcp_ecn`.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn set_tcp_ecn(node: &str, mode: TcpEcn) {
    control::set_tcp_ecn(node::id(node), mode);
}

/// How many packets met which fate so far: for asserting that faults happened.
pub fn network_stats() -> NetworkStats {
    control::stats()
}
