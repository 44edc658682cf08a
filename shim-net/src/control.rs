//! What a test may do to the network: faults, links, names, addresses, and what it may ask.
//!
//! Owns the functions that `tokio::sim` is built on. Must not be reachable from `tokio::net`. Invariant:
//! every fault is recorded in the trace when it is injected and when it ends.

pub mod topology;

use std::net::IpAddr;
use std::path::Path;

use shim_runtime::device;
use shim_runtime::device::DeviceContext;
use shim_runtime::node::NodeId;
use shim_runtime::trace::Kind;

use crate::fabric::dns::Target;
use crate::fabric::link::Gate;
use crate::fabric::path::Trip;
use crate::fabric::segment::INTERNET;
use crate::net::Net;
use crate::netstat;
use crate::packet::Packet;

pub use crate::fabric::Stats;
pub use crate::fabric::link::{
    Above, BurstLoss, CoDel, FqCoDel, Framing, Latency, LinkConfig, LossPattern, Outages, Preset, Queue, Red,
    Schedule, Step,
};

/// The rules of links: everything that a [`LinkConfig`] is made of, and networks as they were measured.
pub mod links {
    pub use super::{
        Above, BurstLoss, CoDel, FqCoDel, Framing, Latency, LinkConfig, LossPattern, Outages, Preset, Queue,
        Red, Schedule, Step,
    };
    pub use crate::fabric::link::presets;
}
pub use crate::stack::tcp::ecn::TcpEcn;

/// What a fault record in the trace is about.
#[repr(u64)]
enum Fault {
    Partition = 1,
    Repair,
    Hold,
    Release,
    Heal,
    Link,
    Topology,
}

fn with<R>(f: impl FnOnce(&mut Net, &mut DeviceContext<'_>) -> R) -> R {
    device::with::<Net, _>(f)
}

fn record(cx: &mut DeviceContext<'_>, fault: Fault, from: &[u32], to: &[u32]) {
    let fold = |nodes: &[u32]| nodes.iter().fold(0u64, |sum, node| sum.rotate_left(7) ^ u64::from(node + 1));
    cx.record(Kind::Fault, fault as u64, fold(from) << 32 | (fold(to) & 0xffff_ffff));
}

fn set(from: &[NodeId], to: &[NodeId], both: bool, gate: Gate, fault: Fault) {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    let (from, to) = (numbers(from), numbers(to));
    with(|net, cx| {
        record(cx, fault, &from, &to);
        let mut released = net.fabric.set_gates(&from, &to, gate);
        if both {
            released.extend(net.fabric.set_gates(&to, &from, gate));
        }
        if gate == Gate::Open {
            resend(net, cx, released);
        }
    });
}

fn resend(net: &mut Net, cx: &mut DeviceContext<'_>, released: Vec<(Trip, Box<Packet>)>) {
    for (trip, packet) in released {
        net.fabric.travel(trip, packet, cx.now, &mut cx.rng.link);
    }
    net.schedule(cx);
}

/// Cuts all links between the nodes of `a` and those of `b`, in both directions. Packets that are on
/// their way still arrive; what was held between them is lost.
pub fn partition(a: &[NodeId], b: &[NodeId]) {
    set(a, b, true, Gate::Cut, Fault::Partition);
}

/// Cuts the links from the nodes of `from` to those of `to`; the way back stays open.
pub fn partition_oneway(from: &[NodeId], to: &[NodeId]) {
    set(from, to, false, Gate::Cut, Fault::Partition);
}

/// Undoes [`partition`] between the nodes of `a` and those of `b`.
pub fn repair(a: &[NodeId], b: &[NodeId]) {
    set(a, b, true, Gate::Open, Fault::Repair);
}

/// Undoes [`partition_oneway`].
pub fn repair_oneway(from: &[NodeId], to: &[NodeId]) {
    set(from, to, false, Gate::Open, Fault::Repair);
}

/// Keeps all packets between the nodes of `a` and those of `b` until [`release`].
pub fn hold(a: &[NodeId], b: &[NodeId]) {
    set(a, b, true, Gate::Held, Fault::Hold);
}

/// Ends [`hold`]: what was kept is sent now, in its order.
pub fn release(a: &[NodeId], b: &[NodeId]) {
    set(a, b, true, Gate::Open, Fault::Release);
}

/// Ends every partition and every hold. Links keep their loss and latency.
pub fn heal() {
    with(|net, cx| {
        record(cx, Fault::Heal, &[], &[]);
        let released = net.fabric.open_gates(None);
        resend(net, cx, released);
    });
}

/// Sets what links do that have no rules of their own.
pub fn set_default_link(config: LinkConfig) {
    with(|net, cx| {
        record(cx, Fault::Link, &[], &[]);
        net.fabric.default_link = config.into();
    });
}

/// What links do that have no rules of their own.
pub fn default_link() -> LinkConfig {
    with(|net, _| net.fabric.default_link.config.clone())
}

/// Sets what the links between `a` and `b` do, in both directions.
pub fn set_link(a: NodeId, b: NodeId, config: LinkConfig) {
    set_link_oneway(a, b, config.clone());
    set_link_oneway(b, a, config);
}

/// Sets what the link from `from` to `to` does.
pub fn set_link_oneway(from: NodeId, to: NodeId, config: LinkConfig) {
    with(|net, cx| {
        record(cx, Fault::Link, &[from.0], &[to.0]);
        net.fabric.link(from.0, to.0).rules = Some(Box::new(config.into()));
    });
}

/// What the link from `from` to `to` does. The way to a switch that has no rules of its own does nothing; other links
/// do as the switch says that both are plugged into.
pub fn link(from: NodeId, to: NodeId) -> LinkConfig {
    with(|net, _| net.fabric.rules_between(from.0, to.0).config.clone())
}

/// Changes what the links between `a` and `b` do, in both directions, beginning with what they do from
/// `a` to `b`.
pub fn update_link(a: NodeId, b: NodeId, change: impl FnOnce(&mut LinkConfig)) {
    let mut config = link(a, b);
    change(&mut config);
    set_link(a, b, config);
}

/// What new TCP connections of `node` do with ECN: `net.ipv4.tcp_ecn`.
pub fn set_tcp_ecn(node: NodeId, mode: TcpEcn) {
    with(|net, _| net.stack(node.0).tcp_ecn = mode);
}

/// What `name` resolves to.
pub fn lookup(name: &str) -> Vec<IpAddr> {
    with(|net, _| net.lookup(name)).unwrap_or_default()
}

/// Lets `name` resolve to `node`'s addresses, beside what it resolves to already.
pub fn register_name(name: &str, node: NodeId) {
    with(|net, _| net.fabric.names.add(name, Target::Node(node.0)));
}

/// Lets `name` resolve to `addresses` only.
pub fn set_name(name: &str, addresses: Vec<IpAddr>) {
    with(|net, _| {
        net.fabric.names.remove(name);
        net.fabric.names.add(name, Target::Addresses(addresses));
    });
}

/// Lets `name` resolve to nothing; whether it did.
pub fn remove_name(name: &str) -> bool {
    with(|net, _| net.fabric.names.remove(name))
}

/// Gives `node` other addresses, on its preferred interface. Connections over the old ones hang, as when a cable
/// is moved.
///
/// # Panics
/// Where another element has one of them there.
pub fn set_addresses(node: NodeId, addresses: Vec<IpAddr>) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[node.0], &[]);
        let segment = net.stack(node.0).routes.segments().next().unwrap_or(INTERNET);
        let addresses = addresses.into_iter().map(|ip| net.fabric.segment(segment).in_subnet(ip)).collect();
        net.plug_in(node.0, segment, addresses);
        net.stack(node.0).change_routes(|routes| routes.prefer(segment));
        net.settle(node.0, cx);
    });
}

/// The addresses of `node`, without its loopback.
pub fn addresses(node: NodeId) -> Vec<IpAddr> {
    with(|net, _| net.stack(node.0).routes.addresses().to_vec())
}

/// Sets the largest packet of `node`'s interface.
pub fn set_mtu_bytes(node: NodeId, mtu: usize) {
    with(|net, cx| {
        net.stack(node.0).change_links(|stack| stack.mtu = mtu.clamp(576, 65_535));
        net.settle(node.0, cx);
    });
}

/// Writes every packet from now on to the machine's file `path` (pcapng). What was captured before ends there.
///
/// # Panics
/// Where the file cannot be made, or, later, written.
///
/// # Determinism
/// Changes nothing of the run.
pub fn capture(path: &Path) {
    with(|net, cx| net.capture(path, cx));
}

/// Puts lines of a key log (as in `SSLKEYLOGFILE`) into the capture, where there is one: packets after them can be
/// decrypted.
///
/// # Panics
/// Where the file cannot be written.
pub fn capture_secrets(key_log: &str) {
    with(|net, _| {
        if let Some(capture) = &mut net.fabric.capture {
            capture.secrets(key_log);
        }
    });
}

/// How many packets met which fate so far.
pub fn stats() -> Stats {
    with(|net, _| net.fabric.stats)
}

/// The socket table of `node`, as `netstat -an` shows it.
pub fn netstat(node: NodeId) -> String {
    with(|net, _| netstat::table(net.stack(node.0)))
}
