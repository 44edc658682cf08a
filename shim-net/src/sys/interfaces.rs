//! The current node's interfaces as its programs see them.
//!
//! Owns their names, numbers and hardware addresses. Must not know libc's lists. Invariant: an interface has the same
//! name and number as long as it is plugged in, whichever is preferred, and no other has them afterwards.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::call_here;
use crate::stack::routes::{LOOPBACK_NUMBER, Subnet};

/// What a netmask says where everybody is a neighbour: what the automatic addresses have in common.
const FLAT_PREFIX_V4: u8 = 16;
const FLAT_PREFIX_V6: u8 = 64;

/// One interface.
#[derive(Clone, Debug)]
pub(crate) struct NetworkInterface {
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Locally administered (IEEE 802), and of the node and the number alone; zero for the loopback.
    pub(crate) hardware: [u8; 6],
    pub(crate) addresses: Vec<Subnet>,
}

impl NetworkInterface {
    pub(crate) fn is_loopback(&self) -> bool {
        self.number == LOOPBACK_NUMBER
    }
}

/// The interfaces, the loopback first, in the order of their numbers.
///
/// # Errors
/// `ENETDOWN` on a node whose process is dead.
pub(crate) fn interfaces() -> io::Result<Vec<NetworkInterface>> {
    let mut plugged = call_here(|stack, cx| {
        let node = cx.node().0.to_be_bytes();
        let of = |interface: &crate::stack::routes::Interface| NetworkInterface {
            number: interface.number,
            name: format!("eth{}", interface.number - LOOPBACK_NUMBER - 1),
            hardware: [2, 0, node[2], node[3], 0, interface.number as u8],
            addresses: interface.addresses.iter().copied().map(shown).collect(),
        };
        Ok(stack.routes.interfaces().iter().map(of).collect::<Vec<_>>())
    })?;
    plugged.sort_by_key(|interface| interface.number);
    let own = [(IpAddr::from(Ipv4Addr::LOCALHOST), 8), (Ipv6Addr::LOCALHOST.into(), 128)];
    let loopback = NetworkInterface {
        number: LOOPBACK_NUMBER,
        name: "lo".to_owned(),
        hardware: [0; 6],
        addresses: own.map(|(ip, prefix_len)| Subnet { ip, prefix_len }).to_vec(),
    };
    plugged.insert(0, loopback);
    Ok(plugged)
}

fn shown(address: Subnet) -> Subnet {
    let flat = if address.ip.is_ipv4() { FLAT_PREFIX_V4 } else { FLAT_PREFIX_V6 };
    Subnet { prefix_len: if address.prefix_len == 0 { flat } else { address.prefix_len }, ..address }
}
