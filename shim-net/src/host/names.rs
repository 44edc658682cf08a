//! Names and services: the answers to `getaddrinfo`'s question.
//!
//! Owns what hints mean, and in what order the answers are. Must not know lists in memory, nor the table of
//! names. Invariant: where glibc answers from its argument alone, the answer here is the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use libc::c_int;

use crate::sys;

/// What `hints` asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hints {
    pub(super) flags: c_int,
    pub(super) family: c_int,
    pub(super) kind: c_int,
    pub(super) protocol: c_int,
}

/// One answer.
pub(super) struct Answer {
    pub(super) address: SocketAddr,
    pub(super) kind: c_int,
    pub(super) protocol: c_int,
}

/// The services of an address, in glibc's order.
const SERVICES: [(c_int, c_int); 3] =
    [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP), (libc::SOCK_RAW, 0)];
/// Names of ports that programs use; a simulation has no `/etc/services`.
const PORTS: [(&str, u16); 12] = [
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("ldap", 389),
    ("mysql", 3306),
    ("ntp", 123),
    ("postgresql", 5432),
    ("redis", 6379),
    ("smtp", 25),
    ("ssh", 22),
];
const EAI_ADDRFAMILY: c_int = -9;
const EAI_NODATA: c_int = -5;

/// The answers to a question.
pub(super) fn resolve(host: Option<&str>, service: Option<&str>, hints: Hints) -> Result<Vec<Answer>, c_int> {
    if host.is_none() && service.is_none() {
        return Err(libc::EAI_NONAME);
    }
    if !matches!(hints.family, libc::AF_UNSPEC | libc::AF_INET | libc::AF_INET6) {
        return Err(libc::EAI_FAMILY);
    }
    let port = service.map_or(Ok(0), |service| port(service, hints))?;
    let services: Vec<(c_int, c_int)> =
        SERVICES.into_iter().filter(|service| fits(*service, hints)).collect();
    if services.is_empty() {
        return Err(if hints.kind == 0 { libc::EAI_SERVICE } else { libc::EAI_SOCKTYPE });
    }
    let addresses = addresses(host, port, hints)?;
    let each = |address: SocketAddr| {
        let answers = services.iter().map(move |(kind, protocol)| (address, *kind, *protocol));
        answers.map(|(address, kind, protocol)| Answer { address, kind, protocol })
    };
    Ok(addresses.into_iter().flat_map(each).collect())
}

fn fits((kind, protocol): (c_int, c_int), hints: Hints) -> bool {
    (hints.kind == 0 || hints.kind == kind)
        && (hints.protocol == 0 || protocol == 0 || hints.protocol == protocol)
}

fn port(service: &str, hints: Hints) -> Result<u16, c_int> {
    if let Ok(number) = service.parse::<u32>() {
        // As glibc, which keeps the low half.
        return Ok(number as u16);
    }
    if hints.flags & libc::AI_NUMERICSERV != 0 {
        return Err(libc::EAI_NONAME);
    }
    PORTS.iter().find(|(name, _)| *name == service).map(|(_, port)| *port).ok_or(libc::EAI_SERVICE)
}

fn addresses(host: Option<&str>, port: u16, hints: Hints) -> Result<Vec<SocketAddr>, c_int> {
    let wanted = |ip: &IpAddr| match hints.family {
        libc::AF_INET => ip.is_ipv4(),
        libc::AF_INET6 => ip.is_ipv6(),
        _ => true,
    };
    let Some(host) = host else {
        let own: [IpAddr; 2] = match hints.flags & libc::AI_PASSIVE {
            0 => [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
            _ => [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        };
        return Ok(own.into_iter().filter(wanted).map(|ip| SocketAddr::new(ip, port)).collect());
    };
    if let Some(literal) = literal(host, port) {
        return if wanted(&literal.ip()) { Ok(vec![literal]) } else { Err(EAI_ADDRFAMILY) };
    }
    if hints.flags & libc::AI_NUMERICHOST != 0 {
        return Err(libc::EAI_NONAME);
    }
    let found = sys::lookup(host).map_err(|_| libc::EAI_NONAME)?;
    let found: Vec<SocketAddr> =
        found.into_iter().filter(wanted).map(|ip| SocketAddr::new(ip, port)).collect();
    if found.is_empty() { Err(EAI_NODATA) } else { Ok(found) }
}

/// An address that is spelled out, with the number of its scope after a `%`.
fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, port));
    }
    let (ip, scope) = host.split_once('%')?;
    let mut address = SocketAddrV6::new(ip.parse().ok()?, port, 0, 0);
    address.set_scope_id(scope.parse().ok()?);
    Some(address.into())
}
