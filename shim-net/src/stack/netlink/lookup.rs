//! Which way a packet to an address would take, as `ip route get` asks.
//!
//! Owns [`Way`]. Must not know sockets. Invariant: what it says is what [`Routes::way_to`] does.
//!
//! [`Routes::way_to`]: crate::stack::routes::Routes::way_to

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::view::{BROADCAST, CACHE_INFO_BYTES, LOCAL, MULTICAST, UNICAST, broadcast, family, octets, width};
use super::wire::{Heading, Message};
use crate::error::{Errno, Result};
use crate::stack::Stack;
use crate::stack::routes::LOOPBACK_NUMBER;

const TABLE_MAIN: u8 = 254;
const TABLE_LOCAL: u8 = 255;
/// `RTM_F_CLONED`, and what IPv4 says beside it.
const CLONED: u32 = 0x200;
const FLAG_LOCAL: u32 = 0x8000_0000;
const FLAG_BROADCAST: u32 = 0x1000_0000;
const FLAG_MULTICAST: u32 = 0x2000_0000;

/// What is asked.
pub(super) struct Asked {
    pub(super) to: IpAddr,
    /// The address that the packet has already.
    pub(super) from: Option<IpAddr>,
    /// The link that it must leave by.
    pub(super) link: Option<u32>,
}

/// The way.
#[derive(Debug)]
pub(super) struct Way {
    to: IpAddr,
    from: Option<IpAddr>,
    kind: u8,
    link: u32,
    source: IpAddr,
    gateway: Option<IpAddr>,
}

/// Looks the way up.
///
/// # Errors
/// `ENETUNREACH` where there is none; `ENODEV` for a link that is not there.
pub(super) fn way(stack: &Stack, asked: &Asked) -> Result<Way> {
    let is_v4 = asked.to.is_ipv4();
    let to = asked.to;
    let made = |kind, link, source, gateway| Way { to, from: asked.from, kind, link, source, gateway };
    if to.is_unspecified() || stack.owns(to) {
        let loopback = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let source = if to.is_unspecified() { loopback } else { to };
        return Ok(made(LOCAL, LOOPBACK_NUMBER, source, None));
    }
    let interfaces = stack.routes.interfaces();
    let (interface, source) = match asked.link {
        None => {
            let (segment, source) = stack.routes.way_to(to).ok_or(Errno::ENETUNREACH)?;
            (interfaces.iter().find(|interface| interface.segment == segment), source)
        }
        Some(LOOPBACK_NUMBER) => return Err(Errno::ENETUNREACH),
        Some(number) => {
            let interface = interfaces.iter().find(|interface| interface.number == number);
            let interface = interface.ok_or(Errno(libc::ENODEV))?;
            (Some(interface), interface.first(is_v4).ok_or(Errno::ENETUNREACH)?)
        }
    };
    let interface = interface.ok_or(Errno::ENETUNREACH)?;
    let own = interface.addresses.iter().filter(|subnet| subnet.ip.is_ipv4() == is_v4);
    let kind = match to {
        _ if to.is_multicast() => MULTICAST,
        IpAddr::V4(v4) if v4.is_broadcast() => BROADCAST,
        IpAddr::V4(_) if own.clone().any(|subnet| subnet.prefix_len > 0 && broadcast(*subnet) == to) => {
            BROADCAST
        }
        _ => UNICAST,
    };
    let is_near = own.clone().any(|subnet| subnet.contains(to));
    let gateway = interface.gateway(is_v4).filter(|_| kind == UNICAST && !is_near);
    Ok(made(kind, interface.number, source, gateway))
}

impl Way {
    /// The message that tells it.
    pub(super) fn message(&self, heading: Heading) -> Vec<u8> {
        let is_v4 = self.to.is_ipv4();
        // As Linux, where IPv4 names the main table unless it is asked to say which.
        let table = if self.kind == LOCAL && !is_v4 { TABLE_LOCAL } else { TABLE_MAIN };
        let flags = match self.kind {
            _ if !is_v4 => 0,
            LOCAL => CLONED | FLAG_LOCAL,
            BROADCAST => CLONED | FLAG_BROADCAST,
            MULTICAST => CLONED | FLAG_MULTICAST,
            _ => CLONED,
        };
        let from_len = if self.from.is_some() { width(self.to) } else { 0 };
        let mut message = Message::new(libc::RTM_NEWROUTE, heading)
            .put(&[family(self.to), width(self.to), from_len, 0, table, 0, 0, self.kind])
            .put(&flags.to_ne_bytes())
            .number(libc::RTA_TABLE, table.into())
            .attribute(libc::RTA_DST, &octets(self.to));
        if let Some(from) = self.from {
            message = message.attribute(libc::RTA_SRC, &octets(from));
        }
        message = message.number(libc::RTA_OIF, self.link);
        if self.from.is_none() {
            message = message.attribute(libc::RTA_PREFSRC, &octets(self.source));
        }
        if let Some(gateway) = self.gateway {
            message = message.attribute(libc::RTA_GATEWAY, &octets(gateway));
        }
        message.attribute(libc::RTA_CACHEINFO, &[0; CACHE_INFO_BYTES]).finish()
    }
}
