//! Segments: what is plugged into one switch, and who has which address there.
//!
//! Owns [`Segment`] and the numbers of elements. Must not know links, nor what routers do. Invariant: an address has
//! at most one owner in a segment; other segments may have it too.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::link::Rules;
use crate::packet::ip_bits;
use crate::stack::routes::Subnet;
use crate::stack::table::FixedMap;

/// The segment that every node is in unless it is put elsewhere.
pub(crate) const INTERNET: u32 = 0;

const ROUTERS: u32 = 1 << 20;
const SWITCHES: u32 = 1 << 21;

/// What the ends of links are: nodes, routers and switches have numbers of one space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Element {
    Node(u32),
    Router(u32),
    Switch(u32),
}

impl Element {
    pub(crate) fn of(number: u32) -> Element {
        match number {
            SWITCHES.. => Element::Switch(number - SWITCHES),
            ROUTERS.. => Element::Router(number - ROUTERS),
            _ => Element::Node(number),
        }
    }

    pub(crate) fn number(self) -> u32 {
        match self {
            Element::Node(node) => node,
            Element::Router(router) => ROUTERS + router,
            Element::Switch(segment) => SWITCHES + segment,
        }
    }
}

/// A switch and what is plugged into it.
pub(crate) struct Segment {
    pub(crate) name: String,
    owners: FixedMap<u128, u32>,
    /// The networks that it has addresses of; none where all addresses are neighbours.
    pub(crate) subnets: Vec<Subnet>,
    /// The router that knows the way elsewhere.
    pub(crate) gateway: Option<u32>,
    /// Routers that have their uplink here.
    pub(crate) announcers: Vec<u32>,
    /// Nodes and routers.
    pub(crate) members: BTreeSet<u32>,
    /// The rules of its links that have none of their own.
    pub(crate) rules: Option<Rules>,
    has_lines: bool,
    /// Counts the changes of `owners` and `has_lines`.
    edition: u64,
    next_host: u32,
}

impl Segment {
    pub(crate) fn new(name: &str, subnets: Vec<Subnet>) -> Segment {
        Segment {
            name: name.to_owned(),
            owners: FixedMap::default(),
            subnets,
            gateway: None,
            announcers: Vec::new(),
            members: BTreeSet::new(),
            rules: None,
            has_lines: false,
            edition: 0,
            next_host: 1,
        }
    }

    /// Who has `ip` here.
    pub(crate) fn owner(&self, ip: IpAddr) -> Option<u32> {
        self.owners.get(&ip_bits(ip)).copied()
    }

    /// A number that is another one when addresses have gone from one element to another, or lines have got rules.
    pub(crate) fn edition(&self) -> u64 {
        self.edition
    }

    /// Whether the way to or from the switch itself has rules, for anybody.
    pub(crate) fn has_lines(&self) -> bool {
        self.has_lines
    }

    /// The way to or from the switch itself has rules from now on.
    pub(crate) fn expect_lines(&mut self) {
        self.has_lines = true;
        self.edition += 1;
    }

    /// `ip` is `element`'s from now on.
    pub(crate) fn give(&mut self, ip: IpAddr, element: u32) {
        self.edition += 1;
        self.owners.insert(ip_bits(ip), element);
        self.members.insert(element);
    }

    /// `ip` is nobody's any more, where it was `element`'s.
    pub(crate) fn take(&mut self, ip: IpAddr, element: u32) {
        if self.owner(ip) == Some(element) {
            self.edition += 1;
            self.owners.remove(&ip_bits(ip));
        }
    }

    /// The next free address of each subnet.
    pub(crate) fn free_addresses(&mut self) -> Vec<Subnet> {
        let host = self.next_host;
        self.next_host += 1;
        let nth = |subnet: &Subnet| -> Subnet {
            let ip = match subnet.ip {
                IpAddr::V4(ip) => Ipv4Addr::from_bits(masked_v4(ip, subnet.prefix_len) + host).into(),
                IpAddr::V6(ip) => {
                    Ipv6Addr::from_bits(masked_v6(ip, subnet.prefix_len) + u128::from(host)).into()
                }
            };
            Subnet { ip, ..*subnet }
        };
        let found: Vec<Subnet> = self.subnets.iter().map(nth).collect();
        if found.iter().any(|address| self.owner(address.ip).is_some()) {
            return self.free_addresses();
        }
        for (address, subnet) in found.iter().zip(&self.subnets) {
            let ends = is_last(*address) || !subnet.contains(address.ip);
            assert!(!ends, "simulation: the switch {:?} has no address left", self.name);
        }
        found
    }

    /// `ip` with the prefix that it has here.
    pub(crate) fn in_subnet(&self, ip: IpAddr) -> Subnet {
        let subnet = self.subnets.iter().find(|subnet| subnet.contains(ip));
        Subnet { ip, prefix_len: subnet.map_or(0, |subnet| subnet.prefix_len) }
    }
}

fn masked_v4(ip: Ipv4Addr, prefix_len: u8) -> u32 {
    let free = 32 - u32::from(prefix_len.min(32));
    let mask = u32::MAX.checked_shl(free).unwrap_or(0);
    ip.to_bits() & mask
}

fn masked_v6(ip: Ipv6Addr, prefix_len: u8) -> u128 {
    let free = 128 - u32::from(prefix_len.min(128));
    let mask = u128::MAX.checked_shl(free).unwrap_or(0);
    ip.to_bits() & mask
}

/// Whether an IPv4 address is its subnet's broadcast address.
pub(crate) fn is_last(address: Subnet) -> bool {
    let IpAddr::V4(ip) = address.ip else { return false };
    let free = 32 - u32::from(address.prefix_len.min(32));
    free > 1 && ip.to_bits() | !u32::MAX.checked_shl(free).unwrap_or(0) == ip.to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for element in [Element::Node(7), Element::Router(0), Element::Router(5), Element::Switch(3)] {
            assert_eq!(Element::of(element.number()), element);
        }
    }

    #[test]
    fn addresses_are_given_once() {
        let subnet = |ip: &str, prefix_len| Subnet { ip: ip.parse().unwrap(), prefix_len };
        let mut segment = Segment::new("lan", vec![subnet("10.0.0.0", 29), subnet("fd00::", 64)]);
        segment.give("10.0.0.2".parse().unwrap(), 9);
        let mut given = Vec::new();
        for element in 0..5 {
            let addresses = segment.free_addresses();
            assert_eq!(addresses.len(), 2);
            for address in addresses {
                assert!(segment.owner(address.ip).is_none());
                segment.give(address.ip, element);
                given.push(address.ip.to_string());
            }
        }
        assert_eq!(given[..4], ["10.0.0.1", "fd00::1", "10.0.0.3", "fd00::3"]);
        assert!(std::panic::catch_unwind(move || segment.free_addresses()).is_err(), "10.0.0.7 is for all");
    }
}
