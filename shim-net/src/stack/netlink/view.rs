//! What a node's kernel tells of its links, addresses and routes, and the messages that tell it (rtnetlink(7)).
//!
//! Owns [`View`]. Must not know sockets or requests. Invariant: equal views give equal messages in the same order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{Heading, Message};
use crate::stack::Stack;
use crate::stack::interfaces::NetworkInterface;
use crate::stack::routes::{LOOPBACK_NUMBER, Subnet};

pub(super) const INET: u8 = libc::AF_INET as u8;
pub(super) const INET6: u8 = libc::AF_INET6 as u8;

const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;
const LOWER_UP: u32 = 0x1_0000;
const UP: u32 = (libc::IFF_UP | libc::IFF_RUNNING) as u32 | LOWER_UP;
const LOOPBACK_MTU: u32 = 65_536;
const QUEUE_LEN: u32 = 1000;
/// `IF_OPER_UNKNOWN`, `IF_OPER_DOWN`, `IF_OPER_UP`.
const OPERSTATE_UNKNOWN: u8 = 0;
const OPERSTATE_DOWN: u8 = 2;
const OPERSTATE_UP: u8 = 6;
/// What a change says has changed: everything.
const ALL_FLAGS: u32 = u32::MAX;

const PERMANENT: u8 = 0x80;
const FOREVER: u32 = u32::MAX;

const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
const PROTOCOL_KERNEL: u8 = 2;
const PROTOCOL_BOOT: u8 = 3;
pub(super) const UNICAST: u8 = 1;
pub(super) const LOCAL: u8 = 2;
pub(super) const BROADCAST: u8 = 3;
pub(super) const MULTICAST: u8 = 5;
/// The metric of the preferred interface's default route; the others' follow.
const FIRST_METRIC: u32 = 100;
/// `IP6_RT_PRIO_ADDRCONF`.
const METRIC_V6: u32 = 256;
pub(super) const CACHE_INFO_BYTES: usize = 32;

/// The family of an address.
pub(super) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { INET } else { INET6 }
}

/// An address as bytes.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// How many bits an address of its family has.
pub(super) fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Link {
    pub(super) number: u32,
    pub(super) name: String,
    hardware: [u8; 6],
    mtu: u32,
}

impl Link {
    fn of(interface: &NetworkInterface, mtu: usize) -> Link {
        let mtu = if interface.is_loopback() { LOOPBACK_MTU } else { mtu as u32 };
        Link { number: interface.number, name: interface.name.clone(), hardware: interface.hardware, mtu }
    }

    /// The message that it is there.
    pub(super) fn new_message(&self, family: u8, heading: Heading) -> Vec<u8> {
        self.message(libc::RTM_NEWLINK, (family, 0), heading)
    }

    /// The message that it has come, or gone.
    pub(super) fn change(&self, is_new: bool) -> Vec<u8> {
        let kind = if is_new { libc::RTM_NEWLINK } else { libc::RTM_DELLINK };
        self.message(kind, (0, ALL_FLAGS), Heading::default())
    }

    fn message(&self, kind: u16, (family, change): (u8, u32), heading: Heading) -> Vec<u8> {
        let is_loopback = self.number == LOOPBACK_NUMBER;
        let (hardware_kind, own) = match is_loopback {
            true => (ARPHRD_LOOPBACK, libc::IFF_LOOPBACK),
            false => (ARPHRD_ETHER, libc::IFF_BROADCAST | libc::IFF_MULTICAST),
        };
        let is_up = kind == libc::RTM_NEWLINK;
        let flags = own as u32 | if is_up { UP } else { 0 };
        let state = match (is_up, is_loopback) {
            (true, true) => OPERSTATE_UNKNOWN,
            (true, false) => OPERSTATE_UP,
            (false, _) => OPERSTATE_DOWN,
        };
        let everybody = if is_loopback { [0; 6] } else { [0xff; 6] };
        let mut info = vec![family, 0];
        info.extend(hardware_kind.to_ne_bytes());
        for number in [self.number, flags, change] {
            info.extend(number.to_ne_bytes());
        }
        Message::new(kind, heading)
            .put(&info)
            .text(libc::IFLA_IFNAME, &self.name)
            .number(libc::IFLA_TXQLEN, QUEUE_LEN)
            .attribute(libc::IFLA_OPERSTATE, &[state])
            .attribute(libc::IFLA_LINKMODE, &[0])
            .number(libc::IFLA_MTU, self.mtu)
            .number(libc::IFLA_GROUP, 0)
            .number(libc::IFLA_PROMISCUITY, 0)
            .attribute(libc::IFLA_CARRIER, &[is_up.into()])
            .attribute(libc::IFLA_ADDRESS, &self.hardware)
            .attribute(libc::IFLA_BROADCAST, &everybody)
            .finish()
    }
}

/// An address of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) link: u32,
    pub(super) label: String,
    pub(super) subnet: Subnet,
}

impl Address {
    pub(super) fn message(&self, is_new: bool, heading: Heading) -> Vec<u8> {
        let (ip, prefix_len) = (self.subnet.ip, self.subnet.prefix_len);
        let kind = if is_new { libc::RTM_NEWADDR } else { libc::RTM_DELADDR };
        let scope = match ip {
            _ if ip.is_loopback() => SCOPE_HOST,
            IpAddr::V6(v6) if v6.is_unicast_link_local() => SCOPE_LINK,
            _ => SCOPE_UNIVERSE,
        };
        let mut message = Message::new(kind, heading)
            .put(&[family(ip), prefix_len, PERMANENT, scope])
            .put(&self.link.to_ne_bytes())
            .attribute(libc::IFA_ADDRESS, &octets(ip));
        if ip.is_ipv4() {
            message = message.attribute(libc::IFA_LOCAL, &octets(ip));
            if self.link != LOOPBACK_NUMBER && has_broadcast(self.subnet) {
                message = message.attribute(libc::IFA_BROADCAST, &octets(broadcast(self.subnet)));
            }
            message = message.text(libc::IFA_LABEL, &self.label);
        }
        let lifetimes = [FOREVER, FOREVER, 0, 0].map(u32::to_ne_bytes).concat();
        message.number(libc::IFA_FLAGS, PERMANENT.into()).attribute(libc::IFA_CACHEINFO, &lifetimes).finish()
    }
}

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Route {
    /// Where to; everywhere, where the prefix is empty.
    pub(super) destination: Subnet,
    pub(super) table: u8,
    pub(super) protocol: u8,
    scope: u8,
    pub(super) kind: u8,
    pub(super) link: u32,
    source: Option<IpAddr>,
    gateway: Option<IpAddr>,
    metric: u32,
}

impl Route {
    pub(super) fn message(&self, is_new: bool, heading: Heading) -> Vec<u8> {
        let (ip, prefix_len) = (self.destination.ip, self.destination.prefix_len);
        let kind = if is_new { libc::RTM_NEWROUTE } else { libc::RTM_DELROUTE };
        let info = [family(ip), prefix_len, 0, 0, self.table, self.protocol, self.scope, self.kind];
        let mut message =
            Message::new(kind, heading).put(&info).put(&[0; 4]).number(libc::RTA_TABLE, self.table.into());
        if prefix_len > 0 {
            message = message.attribute(libc::RTA_DST, &octets(ip));
        }
        if self.metric > 0 || ip.is_ipv6() {
            message = message.number(libc::RTA_PRIORITY, self.metric);
        }
        if let Some(source) = self.source.filter(IpAddr::is_ipv4) {
            message = message.attribute(libc::RTA_PREFSRC, &octets(source));
        }
        if let Some(gateway) = self.gateway {
            message = message.attribute(libc::RTA_GATEWAY, &octets(gateway));
        }
        message = message.number(libc::RTA_OIF, self.link);
        if ip.is_ipv6() {
            message = message
                .attribute(libc::RTA_CACHEINFO, &[0; CACHE_INFO_BYTES])
                .attribute(libc::RTA_PREF, &[0]);
        }
        message.finish()
    }
}

/// Everything that is told.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct View {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
}

impl View {
    pub(crate) fn of(stack: &Stack) -> View {
        let interfaces = stack.network_interfaces();
        let links = interfaces.iter().map(|interface| Link::of(interface, stack.mtu)).collect();
        let all = interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().map(|subnet| Address {
                link: interface.number,
                label: interface.name.clone(),
                subnet: *subnet,
            })
        });
        let mut addresses: Vec<Address> = all.collect();
        addresses.sort_by_key(|address| address.subnet.ip.is_ipv6());
        let mut routes = default_routes(stack);
        routes.extend(addresses.iter().filter(|address| has_neighbours(address)).map(near));
        routes.extend(addresses.iter().flat_map(own));
        // As Linux tells them: IPv4 first; of each family the main table, then what is the node's own.
        routes.sort_by_key(|route| (route.destination.ip.is_ipv6(), route.table));
        View { links, addresses, routes }
    }
}

/// The ways to everywhere, the preferred one first.
fn default_routes(stack: &Stack) -> Vec<Route> {
    let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let mut routes = Vec::new();
    for ip in everywhere {
        let able = stack.routes.interfaces().iter().filter_map(|interface| {
            Some((interface, interface.first(ip.is_ipv4())?, interface.gateway(ip.is_ipv4())))
        });
        routes.extend(able.enumerate().map(|(place, (interface, source, gateway))| Route {
            destination: Subnet { ip, prefix_len: 0 },
            table: TABLE_MAIN,
            protocol: PROTOCOL_BOOT,
            scope: if gateway.is_none() && ip.is_ipv4() { SCOPE_LINK } else { SCOPE_UNIVERSE },
            kind: UNICAST,
            link: interface.number,
            source: Some(source),
            gateway,
            metric: FIRST_METRIC + place as u32,
        }));
    }
    routes
}

/// Whether somebody else can be in an address's network.
fn has_neighbours(address: &Address) -> bool {
    address.link != LOOPBACK_NUMBER && address.subnet.prefix_len < width(address.subnet.ip)
}

/// Whether a network is large enough to have an address of everybody.
fn has_broadcast(subnet: Subnet) -> bool {
    subnet.prefix_len < 31
}

/// The way to the neighbours.
fn near(address: &Address) -> Route {
    let is_v4 = address.subnet.ip.is_ipv4();
    Route {
        destination: network(address.subnet),
        table: TABLE_MAIN,
        protocol: PROTOCOL_KERNEL,
        scope: if is_v4 { SCOPE_LINK } else { SCOPE_UNIVERSE },
        kind: UNICAST,
        link: address.link,
        source: Some(address.subnet.ip),
        gateway: None,
        metric: if is_v4 { 0 } else { METRIC_V6 },
    }
}

/// What an address makes the node's own.
fn own(address: &Address) -> Vec<Route> {
    let ip = address.subnet.ip;
    let (host, broadcast_scope) = if ip.is_ipv4() { (SCOPE_HOST, SCOPE_LINK) } else { (0, 0) };
    let of = |ip: IpAddr, prefix_len: u8, kind: u8, scope: u8| Route {
        destination: Subnet { ip, prefix_len },
        table: TABLE_LOCAL,
        protocol: PROTOCOL_KERNEL,
        scope,
        kind,
        link: address.link,
        source: Some(address.subnet.ip),
        gateway: None,
        metric: 0,
    };
    let mut routes = Vec::new();
    if ip.is_ipv4() && address.link == LOOPBACK_NUMBER {
        let net = network(address.subnet);
        routes.push(of(net.ip, net.prefix_len, LOCAL, host));
    }
    routes.push(of(ip, width(ip), LOCAL, host));
    if ip.is_ipv4() && has_broadcast(address.subnet) {
        routes.push(of(broadcast(address.subnet), 32, BROADCAST, broadcast_scope));
    }
    routes
}

/// The network, its free bits zero.
fn network(subnet: Subnet) -> Subnet {
    let len = u32::from(subnet.prefix_len);
    let ip = match subnet.ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & !free_v4(len)).into(),
        IpAddr::V6(v6) => {
            let free = u128::MAX.checked_shr(len).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & !free).into()
        }
    };
    Subnet { ip, ..subnet }
}

fn free_v4(len: u32) -> u32 {
    u32::MAX.checked_shr(len).unwrap_or(0)
}

/// The address of everybody in a network of IPv4; one of IPv6 has none, and gives the address itself.
pub(super) fn broadcast(subnet: Subnet) -> IpAddr {
    match subnet.ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() | free_v4(subnet.prefix_len.into())).into(),
        v6 => v6,
    }
}
