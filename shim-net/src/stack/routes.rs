//! The interfaces of a node, and which of them a packet leaves by.
//!
//! Owns [`Routes`]. Must not know what is plugged in at the other end. Invariant: the addresses of all interfaces,
//! one after another, are what the node answers to beside its loopback.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network, written as an address and the number of its leading bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subnet {
    /// Any address of it.
    pub ip: IpAddr,
    /// How many leading bits its addresses have in common: up to 32, or 128.
    pub prefix_len: u8,
}

/// Why a text is no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseSubnetError(&'static str);

impl fmt::Display for ParseSubnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for ParseSubnetError {}

impl FromStr for Subnet {
    type Err = ParseSubnetError;

    /// Reads `192.168.1.0/24`.
    fn from_str(text: &str) -> Result<Subnet, ParseSubnetError> {
        let (ip, len) = text.split_once('/').ok_or(ParseSubnetError("it has no prefix length"))?;
        let ip: IpAddr = ip.parse().map_err(|_| ParseSubnetError("its address cannot be read"))?;
        let prefix_len: u8 = len.parse().map_err(|_| ParseSubnetError("its prefix length is no number"))?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if prefix_len == 0 || prefix_len > most {
            return Err(ParseSubnetError("its prefix length is out of range"));
        }
        Ok(Subnet { ip, prefix_len })
    }
}

impl Subnet {
    /// Whether `ip` is in it.
    pub fn contains(self, ip: IpAddr) -> bool {
        let (own, other, width) = match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let free = width - u32::from(self.prefix_len).min(width);
        // A shift by all 128 bits is none.
        u128::checked_shr(own ^ other, free).unwrap_or(0) == 0
    }
}

/// The number of a node's loopback.
pub(crate) const LOOPBACK_NUMBER: u32 = 1;

/// Where a node is plugged in.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// What the node calls it by: 2 for its first one, since the loopback is 1. No other ever has it.
    pub(crate) number: u32,
    pub(crate) segment: u32,
    /// Its addresses, each with its subnet. Where the prefix is empty, everybody is a neighbour.
    pub(crate) addresses: Vec<Subnet>,
}

impl Interface {
    fn first(&self, is_v4: bool) -> Option<IpAddr> {
        self.addresses.iter().map(|address| address.ip).find(|ip| ip.is_ipv4() == is_v4)
    }
}

/// The interfaces of a node, the preferred one first.
#[derive(Default)]
pub(crate) struct Routes {
    interfaces: Vec<Interface>,
    addresses: Vec<IpAddr>,
    /// How many interfaces there ever were.
    plugged: u32,
}

impl Routes {
    /// One interface in a segment where everybody is a neighbour.
    pub(crate) fn flat(segment: u32, addresses: &[IpAddr]) -> Routes {
        let mut routes = Routes::default();
        routes.plug_in(segment, addresses.iter().map(|&ip| Subnet { ip, prefix_len: 0 }).collect());
        routes
    }

    /// All addresses of the node but those of its loopback.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The interfaces, the preferred one first.
    pub(crate) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The segments that the node is plugged into, the preferred one first.
    pub(crate) fn segments(&self) -> impl Iterator<Item = u32> {
        self.interfaces.iter().map(|interface| interface.segment)
    }

    /// A new interface, the last in the order of preference; or other addresses for one that is there.
    pub(crate) fn plug_in(&mut self, segment: u32, addresses: Vec<Subnet>) {
        match self.interfaces.iter_mut().find(|interface| interface.segment == segment) {
            Some(interface) => interface.addresses = addresses,
            None => {
                self.plugged += 1;
                self.interfaces.push(Interface {
                    number: LOOPBACK_NUMBER + self.plugged,
                    segment,
                    addresses,
                });
            }
        }
        self.collect();
    }

    /// Takes an interface away; its addresses.
    pub(crate) fn unplug(&mut self, segment: u32) -> Vec<IpAddr> {
        let place = self.interfaces.iter().position(|interface| interface.segment == segment);
        let gone = place.map(|place| self.interfaces.remove(place));
        self.collect();
        gone.into_iter().flat_map(|gone| gone.addresses).map(|address| address.ip).collect()
    }

    /// The interface in `segment` comes first from now on; whether there is one.
    pub(crate) fn prefer(&mut self, segment: u32) -> bool {
        let Some(place) = self.interfaces.iter().position(|interface| interface.segment == segment) else {
            return false;
        };
        self.interfaces[..=place].rotate_right(1);
        self.collect();
        true
    }

    fn collect(&mut self) {
        let all = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        self.addresses = all.map(|address| address.ip).collect();
    }

    /// The segment that a packet to `ip` leaves into, and the address that it has then unless its socket has one.
    pub(crate) fn way_to(&self, ip: IpAddr) -> Option<(u32, IpAddr)> {
        let is_v4 = ip.is_ipv4();
        if let [only] = &self.interfaces[..] {
            return Some((only.segment, only.first(is_v4)?));
        }
        let near = self.interfaces.iter().flat_map(|interface| {
            let holds = |subnet: &&Subnet| subnet.prefix_len > 0 && subnet.contains(ip);
            interface.addresses.iter().filter(holds).map(move |subnet| (interface.segment, *subnet))
        });
        // The longest prefix; of equals the first.
        let nearest =
            near.reduce(|best, next| if next.1.prefix_len > best.1.prefix_len { next } else { best });
        if let Some((segment, subnet)) = nearest {
            return Some((segment, subnet.ip));
        }
        self.interfaces.iter().find_map(|interface| Some((interface.segment, interface.first(is_v4)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(ip: &str, prefix_len: u8) -> Subnet {
        Subnet { ip: ip.parse().unwrap(), prefix_len }
    }

    fn way(routes: &Routes, to: &str) -> Option<(u32, String)> {
        routes.way_to(to.parse().unwrap()).map(|(segment, ip)| (segment, ip.to_string()))
    }

    #[test]
    fn subnets_hold_their_addresses() {
        assert!(subnet("10.1.2.3", 24).contains("10.1.2.200".parse().unwrap()));
        assert!(!subnet("10.1.2.3", 24).contains("10.1.3.3".parse().unwrap()));
        assert!(subnet("0.0.0.0", 0).contains("8.8.8.8".parse().unwrap()));
        assert!(!subnet("0.0.0.0", 0).contains("::1".parse().unwrap()));
        assert!(subnet("fd00::", 64).contains("fd00::7".parse().unwrap()));
        assert!(subnet("::", 0).contains("fd00::7".parse().unwrap()));
        assert_eq!("10.1.0.0/16".parse(), Ok(subnet("10.1.0.0", 16)));
        for wrong in ["10.1.0.0", "10.1.0/8", "10.1.0.0/33", "::/129", "::/x", "0.0.0.0/0"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
        assert!(!subnet("fd00::1", 128).contains("fd00::2".parse().unwrap()));
    }

    #[test]
    fn the_nearest_interface_is_taken_else_the_preferred_one() {
        let mut routes = Routes::default();
        routes.plug_in(1, vec![subnet("10.0.1.5", 24), subnet("fd00:1::5", 64)]);
        routes.plug_in(2, vec![subnet("10.0.2.5", 24)]);
        assert_eq!(way(&routes, "10.0.2.9"), Some((2, "10.0.2.5".to_owned())));
        assert_eq!(way(&routes, "203.0.113.1"), Some((1, "10.0.1.5".to_owned())));
        assert_eq!(way(&routes, "2001:db8::1"), Some((1, "fd00:1::5".to_owned())));
        assert!(routes.prefer(2));
        assert_eq!(way(&routes, "203.0.113.1"), Some((2, "10.0.2.5".to_owned())));
        assert_eq!(way(&routes, "2001:db8::1"), Some((1, "fd00:1::5".to_owned())));
        assert_eq!(routes.unplug(2), ["10.0.2.5".parse::<IpAddr>().unwrap()]);
        assert_eq!(way(&routes, "203.0.113.1"), Some((1, "10.0.1.5".to_owned())));
        routes.unplug(1);
        assert_eq!(way(&routes, "203.0.113.1"), None);
        assert!(!routes.prefer(1));
    }
}
