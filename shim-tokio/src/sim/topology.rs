//! Topology as a test sees it: switches, routers, NATs, firewalls, and where nodes are plugged in.
//!
//! Must not hold state: the network does. Invariant: a test that calls nothing of this has all its nodes on one switch,
//! called `internet`, as neighbours.

use std::net::IpAddr;

use shim_net::control::LinkConfig;
use shim_net::control::topology::{self, RouterConfig};
use shim_runtime::{NodeId, node as nodes};

pub use shim_net::control::topology::{
    Action, Dependence, FirewallConfig, FirewallRule, NatConfig, NatMapping, PortAssignment, Protocol,
    Subnet, UnknownTcp,
};

use super::node;

/// The name of the switch that every node is plugged into unless it is put elsewhere.
const INTERNET: &str = "internet";

/// The node, switch or router called `name`.
#[track_caller]
pub(super) fn element(name: &str) -> NodeId {
    nodes::find(name).or_else(|| topology::find(name)).unwrap_or_else(|| {
        let all = nodes::names().into_iter().chain(topology::names()).collect::<Vec<_>>();
        panic!("simulation: there is no node, switch or router called {name:?}; there are {}", all.join(", "))
    })
}

#[track_caller]
fn switch_called(name: &str) -> NodeId {
    match topology::find(name).filter(|element| !topology::is_router(*element)) {
        Some(switch) => switch,
        None => panic!(
            "simulation: there is no switch called {name:?}; there are {}",
            topology::names().join(", ")
        ),
    }
}

#[track_caller]
fn router_called(name: &str) -> NodeId {
    match topology::find(name).filter(|element| topology::is_router(*element)) {
        Some(router) => router,
        None => panic!(
            "simulation: there is no router called {name:?}; there are {}",
            topology::names().join(", ")
        ),
    }
}

#[track_caller]
fn refuse_taken(name: &str) {
    let is_taken = nodes::find(name).is_some() || topology::find(name).is_some();
    assert!(!is_taken, "simulation: {name:?} is taken: nodes, switches and routers have names of one space");
}

/// Puts a new node into these switches, instead of the internet; none leaves it where it is.
#[track_caller]
pub(super) fn place(node: NodeId, switches: &[String]) {
    if switches.is_empty() {
        return;
    }
    topology::disconnect(node, switch_called(INTERNET));
    for switch in switches {
        topology::connect(node, switch_called(switch), Vec::new());
    }
}

/// A switch that is about to be made.
#[must_use = "a switch is made by `make`"]
#[derive(Debug)]
pub struct SwitchBuilder {
    name: String,
    subnets: Vec<Subnet>,
    link: Option<LinkConfig>,
}

/// Begins a switch called `name`. What is plugged into it hears what else is; nobody else does, but through a [`router`].
///
/// # Examples
/// ```ignore
/// sim::switch("home").subnet("192.168.178.0/24").make();
/// sim::router("home-router").lan("home").nat(NatConfig::port_restricted_cone()).make();
/// sim::node("laptop").switch("home").client(async { .. });
/// ```
pub fn switch(name: impl Into<String>) -> SwitchBuilder {
    SwitchBuilder { name: name.into(), subnets: Vec::new(), link: None }
}

impl SwitchBuilder {
    /// Gives it addresses of this network (`192.168.178.0/24`, `2001:db8:7::/64`), instead of those that it would be
    /// given: one network of each family.
    ///
    /// # Panics
    /// Where `subnet` is no network.
    #[track_caller]
    pub fn subnet(mut self, subnet: &str) -> SwitchBuilder {
        self.subnets.push(parsed(subnet));
        self
    }

    /// Sets what the links between what is plugged into it do, unless they have rules of their own.
    pub fn link(mut self, change: impl FnOnce(&mut LinkConfig)) -> SwitchBuilder {
        change(self.link.get_or_insert_with(LinkConfig::default));
        self
    }

    /// Makes it.
    ///
    /// # Panics
    /// Where the name is taken; where an address of its networks is a node's on the internet.
    #[track_caller]
    pub fn make(self) {
        refuse_taken(&self.name);
        let switch = topology::add_switch(&self.name, self.subnets);
        if let Some(link) = self.link {
            topology::set_switch_link(switch, link);
        }
    }
}

#[track_caller]
fn parsed(subnet: &str) -> Subnet {
    match subnet.parse() {
        Ok(subnet) => subnet,
        Err(error) => panic!("simulation: {subnet:?} is no network: {error}"),
    }
}

/// A router that is about to be made.
#[must_use = "a router is made by `make`"]
#[derive(Debug)]
pub struct RouterBuilder {
    name: String,
    uplink: String,
    uplink_addresses: Vec<IpAddr>,
    lans: Vec<String>,
    nat: Option<NatConfig>,
    firewall: Option<FirewallConfig>,
}

/// Begins a router called `name`, whose uplink is on the internet.
pub fn router(name: impl Into<String>) -> RouterBuilder {
    RouterBuilder {
        name: name.into(),
        uplink: INTERNET.to_owned(),
        uplink_addresses: Vec::new(),
        lans: Vec::new(),
        nat: None,
        firewall: None,
    }
}

impl RouterBuilder {
    /// Its uplink is in this switch: behind another router where that is one of its own.
    pub fn uplink(mut self, switch: impl Into<String>) -> RouterBuilder {
        self.uplink = switch.into();
        self
    }

    /// Gives its uplink an address, instead of those that it would be given.
    pub fn uplink_ip(mut self, address: IpAddr) -> RouterBuilder {
        self.uplink_addresses.push(address);
        self
    }

    /// It is the gateway of this switch.
    pub fn lan(mut self, switch: impl Into<String>) -> RouterBuilder {
        self.lans.push(switch.into());
        self
    }

    /// It translates the IPv4 addresses of those behind it.
    pub fn nat(mut self, nat: NatConfig) -> RouterBuilder {
        self.nat = Some(nat);
        self
    }

    /// It lets pass what this allows, seen with the addresses that nodes have behind it.
    pub fn firewall(mut self, firewall: FirewallConfig) -> RouterBuilder {
        self.firewall = Some(firewall);
        self
    }

    /// Makes it.
    ///
    /// # Panics
    /// Where the name is taken, a switch does not exist or has a gateway already, or an address is somebody else's.
    #[track_caller]
    pub fn make(self) {
        refuse_taken(&self.name);
        let config = RouterConfig {
            uplink: switch_called(&self.uplink),
            uplink_addresses: self.uplink_addresses,
            inner: self.lans.iter().map(|name| switch_called(name)).collect(),
            nat: self.nat,
            firewall: self.firewall,
        };
        topology::add_router(&self.name, config);
    }
}

/// Plugs a node into a switch, beside where it is plugged in already: a further interface, with the next free addresses.
///
/// # Panics
/// Where there is no such node or switch; so too for all of the following.
#[track_caller]
pub fn connect(node: &str, switch: &str) {
    topology::connect(node::id(node), switch_called(switch), Vec::new());
}

/// As [`connect`], with these addresses.
///
/// # Panics
/// Also where somebody else has one of them there.
#[track_caller]
pub fn connect_with(node: &str, switch: &str, addresses: Vec<IpAddr>) {
    topology::connect(node::id(node), switch_called(switch), addresses);
}

/// Unplugs a node from a switch: the interface and its addresses are gone. A cable that is cut without the node's
/// noticing is `partition(node, switch)`.
#[track_caller]
pub fn disconnect(node: &str, switch: &str) {
    topology::disconnect(node::id(node), switch_called(switch));
}

/// What leaves a node for elsewhere leaves by its interface in `switch` from now on.
///
/// # Panics
/// Also where the node has no interface there.
#[track_caller]
pub fn set_default_route(node: &str, switch: &str) {
    let has_one = topology::set_default_route(node::id(node), switch_called(switch));
    assert!(has_one, "simulation: {node:?} is not plugged into {switch:?}");
}

/// A router forgets its mappings and flows, as after a restart.
#[track_caller]
pub fn restart_router(router: &str) {
    topology::restart_router(router_called(router));
}

/// The addresses of a router at its uplink: how those behind its NAT look from outside.
#[track_caller]
pub fn router_addresses(router: &str) -> Vec<IpAddr> {
    topology::router_addresses(router_called(router))
}

/// A router has other addresses at its uplink, as when a provider gives it a new one; its mappings are gone.
///
/// # Panics
/// Also where one of them belongs to somebody else.
#[track_caller]
pub fn set_router_addresses(router: &str, addresses: Vec<IpAddr>) {
    topology::set_router_addresses(router_called(router), addresses);
}

/// The living mappings of a router's NAT.
#[track_caller]
pub fn nat_mappings(router: &str) -> Vec<NatMapping> {
    topology::nat_mappings(router_called(router))
}

/// Changes how a router translates; what is mapped stays.
///
/// # Panics
/// Also where the router has no NAT.
#[track_caller]
pub fn update_nat(router: &str, change: impl FnOnce(&mut NatConfig)) {
    topology::update_nat(router_called(router), change);
}

/// Sets the firewall of a router, or that of a node itself; what it remembered of flows is forgotten.
#[track_caller]
pub fn set_firewall(name: &str, firewall: Option<FirewallConfig>) {
    let element = element(name);
    assert!(
        nodes::find(name).is_some() || topology::is_router(element),
        "simulation: {name:?} is a switch, which has no firewall"
    );
    topology::set_firewall(element, firewall);
}
