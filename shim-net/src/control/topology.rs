//! What a test may do to the topology: switches, routers, NATs, firewalls, interfaces of nodes.
//!
//! Owns the functions that `tokio::sim`'s topology is built on. Must not know packets. Invariant: every change is
//! recorded in the trace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shim_runtime::node::NodeId;

use super::{Fault, record, with};
use crate::fabric::firewall::Firewall;
use crate::fabric::link::LinkConfig;
use crate::fabric::nat::Nat;
use crate::fabric::router::{Port, Router};
use crate::fabric::segment::{Element, INTERNET, Segment};
use crate::net::Net;

pub use crate::fabric::firewall::{Action, FirewallConfig, FirewallRule, Protocol};
pub use crate::fabric::nat::{Dependence, NatConfig, NatMapping, PortAssignment, UnknownTcp};
pub use crate::stack::routes::Subnet;

/// What a router is made of.
#[derive(Clone, Debug)]
pub struct RouterConfig {
    /// The switch that its uplink is in.
    pub uplink: NodeId,
    /// Its addresses there; none for the next free ones.
    pub uplink_addresses: Vec<IpAddr>,
    /// The switches behind it. It is their gateway.
    pub inner: Vec<NodeId>,
    /// Whether it translates addresses, and how.
    pub nat: Option<NatConfig>,
    /// What it lets pass.
    pub firewall: Option<FirewallConfig>,
}

/// The switch or the router that is called `name`: a number that links and faults take as they take a node's.
pub fn find(name: &str) -> Option<NodeId> {
    with(|net, _| {
        let switch = net.fabric.segments.iter().position(|segment| segment.name == name);
        let router = net.fabric.routers.iter().position(|router| router.name == name);
        let switch = switch.map(|place| Element::Switch(place as u32));
        let found = switch.or(router.map(|place| Element::Router(place as u32)));
        found.map(|element| NodeId(element.number()))
    })
}

/// The names of all switches and routers.
pub fn names() -> Vec<String> {
    with(|net, _| {
        let switches = net.fabric.segments.iter().map(|segment| segment.name.clone());
        switches.chain(net.fabric.routers.iter().map(|router| router.name.clone())).collect()
    })
}

/// Makes a switch with these networks; without any it has 10.(n / 256).(n % 256).0/24 and a /64 of 2001:db8::/32.
///
/// # Panics
/// Where an address of the networks is a node's on the internet, whom nobody on the switch could reach then.
pub fn add_switch(name: &str, subnets: Vec<Subnet>) -> NodeId {
    with(|net, cx| {
        let number = net.fabric.segments.len() as u32;
        let subnets = if subnets.is_empty() { automatic_subnets(number) } else { subnets };
        let on_internet = net.stacks.iter().flat_map(|stack| stack.routes.addresses());
        let is_hidden = |ip: &&IpAddr| subnets.iter().any(|subnet| subnet.contains(**ip));
        if let Some(ip) =
            on_internet.filter(|ip| net.fabric.segment(INTERNET).owner(**ip).is_some()).find(is_hidden)
        {
            panic!(
                "simulation: the network of the switch {name:?} hides {ip}, which a node on the internet has"
            );
        }
        net.fabric.segments.push(Segment::new(name, subnets));
        let element = Element::Switch(number).number();
        record(cx, Fault::Topology, &[element], &[]);
        NodeId(element)
    })
}

fn automatic_subnets(number: u32) -> Vec<Subnet> {
    let v4 = Ipv4Addr::new(10, (number >> 8) as u8, number as u8, 0);
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, number as u16, 0, 0, 0, 0);
    vec![Subnet { ip: v4.into(), prefix_len: 24 }, Subnet { ip: v6.into(), prefix_len: 64 }]
}

/// The segment of a switch.
///
/// # Panics
/// Where `switch` is none.
fn segment_of(switch: NodeId) -> u32 {
    match Element::of(switch.0) {
        Element::Switch(segment) => segment,
        other => panic!("invariant: {other:?} is no switch"),
    }
}

/// Sets what links between what is plugged into `switch` do that have no rules of their own.
pub fn set_switch_link(switch: NodeId, config: LinkConfig) {
    with(|net, cx| {
        record(cx, Fault::Link, &[switch.0], &[]);
        net.fabric.segments[segment_of(switch) as usize].rules = Some(config.into());
    });
}

/// What links between what is plugged into `switch` do that have no rules of their own.
pub fn switch_link(switch: NodeId) -> LinkConfig {
    with(|net, _| {
        let own = net.fabric.segment(segment_of(switch)).rules.as_ref();
        own.unwrap_or(&net.fabric.default_link).config.clone()
    })
}

/// Makes a router.
///
/// # Panics
/// Where an address belongs to somebody else, or a switch behind it has a gateway already.
pub fn add_router(name: &str, config: RouterConfig) -> NodeId {
    with(|net, cx| {
        let place = net.fabric.routers.len() as u32;
        let element = Element::Router(place).number();
        record(cx, Fault::Topology, &[element], &[config.uplink.0]);
        let uplink = plug_in_router(net, element, segment_of(config.uplink), config.uplink_addresses);
        let inner: Vec<Port> = config
            .inner
            .iter()
            .map(|switch| plug_in_router(net, element, segment_of(*switch), Vec::new()))
            .collect();
        for port in &inner {
            let segment = &mut net.fabric.segments[port.segment as usize];
            assert!(
                segment.gateway.is_none(),
                "simulation: the switch {:?} has a gateway already",
                segment.name
            );
            segment.gateway = Some(element);
        }
        net.fabric.segments[uplink.segment as usize].announcers.push(element);
        let outer_ip = uplink.addresses.iter().copied().find(IpAddr::is_ipv4);
        let nat = config.nat.map(|nat| {
            let outer_ip =
                outer_ip.expect("simulation: a router that translates has an IPv4 address at its uplink");
            Nat::new(nat, outer_ip)
        });
        let firewall = config.firewall.map(Firewall::new);
        let uplink = Port { subnets: Vec::new(), ..uplink };
        let behind: Vec<u32> = inner.iter().map(|port| port.segment).collect();
        net.fabric.routers.push(Router { name: name.to_owned(), uplink, inner, nat, firewall });
        behind.into_iter().for_each(|segment| net.announce_gateway(segment, cx));
        NodeId(element)
    })
}

fn plug_in_router(net: &mut Net, element: u32, segment: u32, addresses: Vec<IpAddr>) -> Port {
    let place = &mut net.fabric.segments[segment as usize];
    let addresses = match addresses.is_empty() {
        false => addresses,
        true if place.subnets.is_empty() => internet_addresses(element),
        true => place.free_addresses().into_iter().map(|address| address.ip).collect(),
    };
    for ip in &addresses {
        assert!(place.owner(*ip).is_none(), "address {ip} belongs to another");
        place.give(*ip, element);
    }
    Port { segment, addresses, subnets: place.subnets.clone() }
}

/// What a router has on the internet unless it is told otherwise: addresses for benchmarks (RFC 2544) and for
/// documentation (RFC 3849), which no node has by itself.
fn internet_addresses(element: u32) -> Vec<IpAddr> {
    let Element::Router(number) = Element::of(element) else { return Vec::new() };
    let number = number + 1;
    let v4 = Ipv4Addr::new(198, 18, (number >> 8) as u8, number as u8);
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, number as u16);
    vec![v4.into(), v6.into()]
}

fn router_mut(net: &mut Net, router: NodeId) -> &mut Router {
    match Element::of(router.0) {
        Element::Router(place) => &mut net.fabric.routers[place as usize],
        other => panic!("invariant: {other:?} is no router"),
    }
}

/// Whether `element` is a router; else it is a switch.
pub fn is_router(element: NodeId) -> bool {
    matches!(Element::of(element.0), Element::Router(_))
}

/// A router forgets its mappings and flows, as after a restart.
pub fn restart_router(router: NodeId) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[router.0], &[]);
        router_mut(net, router).restart();
    });
}

/// A router has other addresses at its uplink, as when a provider gives it a new one; its mappings are gone.
///
/// # Panics
/// Where one of them belongs to somebody else.
pub fn set_router_addresses(router: NodeId, addresses: Vec<IpAddr>) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[router.0], &[]);
        let port = &mut router_mut(net, router).uplink;
        let (segment, old) = (port.segment, std::mem::replace(&mut port.addresses, addresses.clone()));
        let place = &mut net.fabric.segments[segment as usize];
        old.into_iter().for_each(|ip| place.take(ip, router.0));
        for ip in &addresses {
            assert!(place.owner(*ip).is_none(), "address {ip} belongs to another");
            place.give(*ip, router.0);
        }
        let outer_ip = addresses.into_iter().find(IpAddr::is_ipv4);
        if let (Some(nat), Some(ip)) = (&mut router_mut(net, router).nat, outer_ip) {
            nat.set_outer_ip(ip);
        }
    });
}

/// The addresses of a router at its uplink.
pub fn router_addresses(router: NodeId) -> Vec<IpAddr> {
    with(|net, _| router_mut(net, router).uplink.addresses.clone())
}

/// The living mappings of a router's NAT, in the order of protocol and outer port; none where it has no NAT.
pub fn nat_mappings(router: NodeId) -> Vec<NatMapping> {
    with(|net, cx| {
        let now = cx.now;
        router_mut(net, router).nat.as_ref().map(|nat| nat.mappings(now)).unwrap_or_default()
    })
}

/// Changes what a router translates; what is mapped stays.
///
/// # Panics
/// Where it has no NAT.
pub fn update_nat(router: NodeId, change: impl FnOnce(&mut NatConfig)) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[router.0], &[]);
        let router = router_mut(net, router);
        let Some(nat) = &mut router.nat else { panic!("simulation: {:?} has no NAT", router.name) };
        change(&mut nat.config);
    });
}

/// Sets what a node's own firewall, or a router's, lets pass; it forgets what it knew.
pub fn set_firewall(element: NodeId, config: Option<FirewallConfig>) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[element.0], &[]);
        let firewall = config.map(Firewall::new);
        match (Element::of(element.0), firewall) {
            (Element::Router(_), firewall) => router_mut(net, element).firewall = firewall,
            (_, Some(firewall)) => _ = net.fabric.firewalls.insert(element.0, firewall),
            (_, None) => _ = net.fabric.firewalls.remove(&element.0),
        }
    });
}

/// Plugs a node into a switch: an interface with these addresses, or with the next free ones.
///
/// # Panics
/// Where somebody else has one of them there.
pub fn connect(node: NodeId, switch: NodeId, addresses: Vec<IpAddr>) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[node.0], &[switch.0]);
        let number = segment_of(switch);
        let segment = &mut net.fabric.segments[number as usize];
        let addresses = match addresses.is_empty() {
            false => addresses.into_iter().map(|ip| segment.in_subnet(ip)).collect(),
            true if segment.subnets.is_empty() => crate::net::automatic_addresses(node.0)
                .into_iter()
                .map(|ip| Subnet { ip, prefix_len: 0 })
                .collect(),
            true => segment.free_addresses(),
        };
        net.plug_in(node.0, number, addresses);
        net.settle(node.0, cx);
    });
}

/// Unplugs a node from a switch: the interface and its addresses are gone. What is on its way is lost.
pub fn disconnect(node: NodeId, switch: NodeId) {
    with(|net, cx| {
        record(cx, Fault::Topology, &[node.0], &[switch.0]);
        net.unplug(node.0, segment_of(switch));
        net.settle(node.0, cx);
    });
}

/// The switches that a node is plugged into, the preferred one first.
pub fn interfaces(node: NodeId) -> Vec<NodeId> {
    with(|net, _| {
        let segments: Vec<u32> = net.stack(node.0).routes.segments().collect();
        segments.into_iter().map(|segment| NodeId(Element::Switch(segment).number())).collect()
    })
}

/// What leaves a node for elsewhere leaves by its interface in `switch` from now on; whether it has one there.
pub fn set_default_route(node: NodeId, switch: NodeId) -> bool {
    with(|net, cx| {
        record(cx, Fault::Topology, &[node.0], &[switch.0]);
        let segment = segment_of(switch);
        let is_there = net.stack(node.0).change_routes(|routes| routes.prefer(segment));
        net.settle(node.0, cx);
        is_there
    })
}
