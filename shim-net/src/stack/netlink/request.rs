//! What the kernel answers to the requests of rtnetlink(7).
//!
//! Owns which types there are, what they may ask for, and errors. Must not know sockets. Invariant: every request gets
//! what Linux gives a process without privileges, or an error of Linux; whatever bytes it has, none panics.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::lookup::{self, Asked};
use super::view::{INET, INET6, View, family};
use super::wire::{Heading, Request, attributes, bytes_at, u32_at};
use crate::error::{Errno, Result};
use crate::stack::Stack;

/// The largest type that Linux knows (`RTM_MAX`).
const TYPE_MAX: u16 = 123;
/// Of each four types the third only asks.
const GET: u16 = 2;
const DUMP: u16 = libc::NLM_F_DUMP as u16;
const MULTI: u16 = libc::NLM_F_MULTI as u16;
const FILTERED: u16 = libc::NLM_F_DUMP_FILTERED as u16;

const LINK_INFO_BYTES: usize = 16;
const ADDRESS_INFO_BYTES: usize = 8;
const ROUTE_INFO_BYTES: usize = 12;
/// `RTM_F_CLONED`, and with it the only other flag that a dump may have, `RTM_F_PREFIX`.
const CLONED: u32 = 0x200;
const PREFIX: u32 = 0x800;
/// Attributes that choose nothing here, but are known: `IFLA_EXT_MASK`.
const EXT_MASK: u16 = 29;
const AF_BRIDGE: u8 = 7;

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing but the acknowledgement, if one was asked for.
    Nothing,
    /// One message.
    One(Vec<u8>),
    /// A list, and how it ended: zero, or an error.
    List(Vec<Vec<u8>>, Result<()>),
}

/// Answers a request that is the kernel's to look at, of a socket with the port `port`.
///
/// # Errors
/// What the error message says.
pub(super) fn answer(stack: &Stack, request: &Request<'_>, (port, is_strict): (u32, bool)) -> Result<Answer> {
    if request.kind > TYPE_MAX {
        return Err(Errno::EOPNOTSUPP);
    }
    let Some(&family) = request.payload.first() else { return Ok(Answer::Nothing) };
    if request.kind % 4 != GET {
        return Err(Errno::EPERM);
    }
    let heading = Heading { flags: 0, sequence: request.sequence, port };
    if request.flags & DUMP != 0 {
        let heading = Heading { flags: MULTI, ..heading };
        let dump = Dump { stack, view: View::of(stack), payload: request.payload, is_strict, heading };
        let found = match request.kind {
            libc::RTM_GETLINK => dump.links(family),
            libc::RTM_GETADDR => dump.addresses(family),
            libc::RTM_GETROUTE => dump.routes(family),
            // Nobody here has a neighbour table: a segment knows who has an address.
            libc::RTM_GETNEIGH => Ok(Vec::new()),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        return Ok(match found {
            Ok(messages) => Answer::List(messages, Ok(())),
            Err(errno) => Answer::List(Vec::new(), Err(errno)),
        });
    }
    match (request.kind, family) {
        (libc::RTM_GETLINK, _) => link(&View::of(stack), request.payload, heading),
        (libc::RTM_GETROUTE, INET | INET6) => route(stack, family, request.payload, heading),
        _ => Err(Errno::EOPNOTSUPP),
    }
    .map(Answer::One)
}

/// One link, by number or by name.
fn link(view: &View, payload: &[u8], heading: Heading) -> Result<Vec<u8>> {
    let rest = payload.get(LINK_INFO_BYTES..).ok_or(Errno::EINVAL)?;
    let number = u32_at(payload, 4).unwrap_or(0);
    let (found, _) = attributes(rest);
    let named = found.iter().rev().find(|(kind, _)| *kind == libc::IFLA_IFNAME);
    let link = match (number, named) {
        (1..=0x7fff_ffff, _) => view.links.iter().find(|link| link.number == number),
        (_, Some((_, name))) => {
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            view.links.iter().find(|link| link.name.as_bytes() == name)
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok(link.ok_or(Errno(libc::ENODEV))?.new_message(0, heading))
}

/// The way to an address.
fn route(stack: &Stack, family: u8, payload: &[u8], heading: Heading) -> Result<Vec<u8>> {
    let rest = payload.get(ROUTE_INFO_BYTES..).ok_or(Errno::EINVAL)?;
    let mut asked = Asked { to: unspecified(family), from: None, link: None };
    for (kind, data) in attributes(rest).0 {
        match kind {
            libc::RTA_DST => asked.to = ip(family, data)?,
            libc::RTA_SRC => asked.from = Some(ip(family, data)?).filter(|ip| !ip.is_unspecified()),
            libc::RTA_OIF => {
                asked.link = Some(u32_at(data, 0).ok_or(Errno(libc::ERANGE))?).filter(|number| *number > 0);
            }
            _ => {}
        }
    }
    lookup::way(stack, &asked).map(|way| way.message(heading))
}

fn unspecified(family: u8) -> IpAddr {
    if family == INET { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn ip(family: u8, data: &[u8]) -> Result<IpAddr> {
    let found = match family {
        INET => bytes_at::<4>(data, 0).map(IpAddr::from),
        _ => bytes_at::<16>(data, 0).map(IpAddr::from),
    };
    found.ok_or(Errno(libc::ERANGE))
}

/// A request for a list.
struct Dump<'a> {
    stack: &'a Stack,
    view: View,
    payload: &'a [u8],
    /// Whether the socket asked for strict checks, with which filters go (`NETLINK_GET_STRICT_CHK`).
    is_strict: bool,
    heading: Heading,
}

impl Dump<'_> {
    /// The attributes after a header of `len` bytes, where all must be right.
    fn strict_attributes(&self, len: usize) -> Result<Vec<(u16, &[u8])>> {
        let rest = self.payload.get(len..).ok_or(Errno::EINVAL)?;
        match attributes(rest) {
            (found, true) => Ok(found),
            (_, false) => Err(Errno::EINVAL),
        }
    }

    fn links(&self, family: u8) -> Result<Vec<Vec<u8>>> {
        if self.is_strict {
            let found = self.strict_attributes(LINK_INFO_BYTES)?;
            let is_plain = self.payload[1..LINK_INFO_BYTES].iter().all(|byte| *byte == 0);
            if !is_plain || found.iter().any(|(kind, _)| *kind != EXT_MASK) {
                return Err(Errno::EINVAL);
            }
        }
        // There are no bridges.
        let links = self.view.links.iter().filter(|_| family != AF_BRIDGE);
        let family = if family == INET6 { INET6 } else { 0 };
        Ok(links.map(|link| link.new_message(family, self.heading)).collect())
    }

    fn addresses(&self, asked: u8) -> Result<Vec<Vec<u8>>> {
        let mut link = None;
        if self.is_strict {
            let found = self.strict_attributes(ADDRESS_INFO_BYTES)?;
            if self.payload[1..4] != [0; 3] || !found.is_empty() {
                return Err(Errno::EINVAL);
            }
            link = u32_at(self.payload, 4).filter(|number| *number != 0);
            if let Some(number) = link
                && !self.view.links.iter().any(|link| link.number == number)
            {
                return Err(Errno(libc::ENODEV));
            }
        }
        let heading = self.filtered(link.is_some());
        let chosen = self.view.addresses.iter().filter(|address| {
            is_of(asked, address.subnet.ip) && link.is_none_or(|number| address.link == number)
        });
        Ok(chosen.map(|address| address.message(true, heading)).collect())
    }

    fn routes(&self, asked: u8) -> Result<Vec<Vec<u8>>> {
        let flags = u32_at(self.payload, 8).unwrap_or(0);
        let (mut table, mut protocol, mut kind, mut link) = (0, 0, 0, None);
        if self.is_strict {
            let found = self.strict_attributes(ROUTE_INFO_BYTES)?;
            let [_, to_len, from_len, tos, own_table, own_protocol, scope, own_kind, ..] = *self.payload
            else {
                return Err(Errno::EINVAL);
            };
            if [to_len, from_len, tos, scope] != [0; 4] || flags & !(CLONED | PREFIX) != 0 {
                return Err(Errno::EINVAL);
            }
            (table, protocol, kind) = (u32::from(own_table), own_protocol, own_kind);
            for (attribute, data) in found {
                match attribute {
                    libc::RTA_TABLE => table = u32_at(data, 0).ok_or(Errno::EINVAL)?,
                    libc::RTA_OIF => link = u32_at(data, 0),
                    _ => return Err(Errno::EINVAL),
                }
            }
            if let Some(number) = link
                && !self.stack.network_interfaces().iter().any(|own| own.number == number)
            {
                return Err(Errno(libc::ENODEV));
            }
        }
        if flags & CLONED != 0 {
            // What was learnt of single destinations: it is not told.
            return Ok(Vec::new());
        }
        let heading = self.filtered(table != 0 || protocol != 0 || kind != 0 || link.is_some());
        let chosen = self.view.routes.iter().filter(|route| {
            is_of(asked, route.destination.ip)
                && (table == 0 || table == route.table.into())
                && (protocol == 0 || protocol == route.protocol)
                && (kind == 0 || kind == route.kind)
                && link.is_none_or(|number| route.link == number)
        });
        Ok(chosen.map(|route| route.message(true, heading)).collect())
    }

    fn filtered(&self, is_filtered: bool) -> Heading {
        let flags = self.heading.flags | if is_filtered { FILTERED } else { 0 };
        Heading { flags, ..self.heading }
    }
}

/// Whether a family that was asked for includes an address: one that has no list of its own is as good as none.
fn is_of(asked: u8, ip: IpAddr) -> bool {
    !matches!(asked, INET | INET6) || asked == family(ip)
}
