//! Network address translation, as RFC 4787 (UDP) and RFC 5382 (TCP) tell its kinds apart.
//!
//! Owns [`Nat`]: the mappings of one router. Must not know segments or links. Invariant: no two living mappings of a
//! protocol have the same outer port.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use crate::packet::{Body, Flags, Packet};

/// On how much of the remote end something depends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dependence {
    /// Nothing: one for all.
    EndpointIndependent,
    /// Its address.
    AddressDependent,
    /// Its address and port.
    AddressAndPortDependent,
}

impl Dependence {
    /// As much of `remote` as counts.
    fn part_of(self, remote: SocketAddr) -> Option<(IpAddr, u16)> {
        match self {
            Dependence::EndpointIndependent => None,
            Dependence::AddressDependent => Some((remote.ip(), 0)),
            Dependence::AddressAndPortDependent => Some((remote.ip(), remote.port())),
        }
    }
}

/// Which outer port a new mapping has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortAssignment {
    /// The inner one where it is free, else the next that is.
    Preserve,
    /// One after another.
    Sequential,
    /// Any, drawn from the `link` stream.
    Random,
}

/// What becomes of a TCP segment from inside that opens no connection and belongs to none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownTcp {
    /// It is dropped.
    Drop,
    /// It is answered by a reset.
    Reset,
}

/// How a router translates addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatConfig {
    /// When two packets of one inner port have the same outer port (RFC 4787, section 4.1).
    pub mapping: Dependence,
    /// Whose packets a mapping lets in (RFC 4787, section 5).
    pub filtering: Dependence,
    /// Which outer port a new mapping has.
    pub port_assignment: PortAssignment,
    /// The outer ports that there are.
    pub ports: RangeInclusive<u16>,
    /// How long a mapping for UDP lives that is not used.
    pub udp_timeout: Duration,
    /// How long a mapping for an established TCP connection lives that is not used.
    pub tcp_timeout: Duration,
    /// How long a mapping for any other TCP connection lives.
    pub tcp_transitory_timeout: Duration,
    /// Whether what comes in keeps a mapping alive; what goes out always does.
    pub inbound_refresh: bool,
    /// Whether those inside reach each other by their outer addresses.
    pub hairpinning: bool,
    /// What becomes of TCP segments of no known connection.
    pub unknown_tcp: UnknownTcp,
}

impl NatConfig {
    /// Endpoint-independent mapping and filtering, once called a full cone.
    pub fn full_cone() -> NatConfig {
        NatConfig::of(Dependence::EndpointIndependent, Dependence::EndpointIndependent)
    }

    /// Endpoint-independent mapping, address-dependent filtering: what RFC 4787 recommends for safety.
    pub fn restricted_cone() -> NatConfig {
        NatConfig::of(Dependence::EndpointIndependent, Dependence::AddressDependent)
    }

    /// Endpoint-independent mapping, address- and port-dependent filtering: the ordinary home.
    pub fn port_restricted_cone() -> NatConfig {
        NatConfig::of(Dependence::EndpointIndependent, Dependence::AddressAndPortDependent)
    }

    /// A mapping for each remote end, with a drawn port: what holes cannot be punched through from both sides.
    pub fn symmetric() -> NatConfig {
        let all = Dependence::AddressAndPortDependent;
        NatConfig { port_assignment: PortAssignment::Random, ..NatConfig::of(all, all) }
    }

    fn of(mapping: Dependence, filtering: Dependence) -> NatConfig {
        NatConfig {
            mapping,
            filtering,
            port_assignment: PortAssignment::Preserve,
            ports: 1024..=65_535,
            // RFC 4787, REQ-5: at least two minutes, five are recommended. RFC 5382, REQ-5 for TCP.
            udp_timeout: Duration::from_secs(300),
            tcp_timeout: Duration::from_secs(7_440),
            tcp_transitory_timeout: Duration::from_secs(240),
            inbound_refresh: false,
            hairpinning: true,
            unknown_tcp: UnknownTcp::Drop,
        }
    }
}

/// A mapping, as a test sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NatMapping {
    /// Whether it is for TCP; else it is for UDP.
    pub tcp: bool,
    /// Who is inside.
    pub inner: SocketAddr,
    /// How it looks outside.
    pub outer: SocketAddr,
}

/// What [`Nat::outbound`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outbound {
    Passes,
    Drop,
    Reset,
}

/// Which packets share a mapping: protocol, inner end, as much of the remote end as counts.
type Key = (bool, SocketAddr, Option<(IpAddr, u16)>);

struct Mapping {
    key: Key,
    last_used: SimTime,
    /// Whom it was used for, and when; empty where that does not count.
    peers: BTreeMap<(IpAddr, u16), SimTime>,
    is_established: bool,
    fin_seen: [bool; 2],
    is_reset: bool,
}

impl Mapping {
    fn timeout(&self, config: &NatConfig) -> Duration {
        match self.key.0 {
            false => config.udp_timeout,
            true if self.is_established && !self.is_reset && self.fin_seen != [true, true] => {
                config.tcp_timeout
            }
            true => config.tcp_transitory_timeout,
        }
    }

    fn is_alive(&self, config: &NatConfig, now: SimTime) -> bool {
        now - self.last_used < self.timeout(config)
    }

    fn note_flags(&mut self, flags: Flags, is_outbound: bool) {
        self.fin_seen[usize::from(is_outbound)] |= flags.has(Flags::FIN);
        self.is_reset |= flags.has(Flags::RST);
        if flags.has(Flags::SYN) && !flags.has(Flags::ACK) && is_outbound {
            // The same numbers, for a new connection.
            (self.fin_seen, self.is_reset, self.is_established) = ([false; 2], false, false);
        }
        self.is_established |= !is_outbound && flags.has(Flags::ACK) && !flags.has(Flags::RST);
    }
}

/// The translation of one router.
pub(crate) struct Nat {
    pub(crate) config: NatConfig,
    outer_ip: IpAddr,
    by_outer: BTreeMap<(bool, u16), Mapping>,
    by_key: BTreeMap<Key, u16>,
    next_port: u16,
    /// At how many mappings the dead ones are looked for.
    purge_at: usize,
}

impl Nat {
    pub(crate) fn new(config: NatConfig, outer_ip: IpAddr) -> Nat {
        let next_port = *config.ports.start();
        let (by_outer, by_key) = (BTreeMap::new(), BTreeMap::new());
        Nat { config, outer_ip, by_outer, by_key, next_port, purge_at: 64 }
    }

    /// Forgets everything, as a router that restarts.
    pub(crate) fn clear(&mut self) {
        self.by_outer.clear();
        self.by_key.clear();
    }

    /// The router has another address: what was mapped to the old one is gone.
    pub(crate) fn set_outer_ip(&mut self, ip: IpAddr) {
        self.outer_ip = ip;
        self.clear();
    }

    /// The mappings that live, in the order of their outer ports.
    pub(crate) fn mappings(&self, now: SimTime) -> Vec<NatMapping> {
        let living = self.by_outer.iter().filter(|(_, mapping)| mapping.is_alive(&self.config, now));
        let show = |(&(tcp, port), mapping): (&(bool, u16), &Mapping)| NatMapping {
            tcp,
            inner: mapping.key.1,
            outer: SocketAddr::new(self.outer_ip, port),
        };
        living.map(show).collect()
    }

    /// A packet goes out: gives it its outer source.
    pub(crate) fn outbound(&mut self, packet: &mut Packet, now: SimTime, rng: &mut Stream) -> Outbound {
        let (inner, remote, tcp) = (packet.source, packet.destination, packet.is_tcp());
        let key = (tcp, inner, self.config.mapping.part_of(remote));
        let known = self.by_key.get(&key).copied().filter(|port| self.is_alive(tcp, *port, now));
        let port = match (known, &packet.body) {
            (Some(port), _) => port,
            (None, Body::Tcp(segment)) if !segment.flags.has(Flags::SYN) || segment.flags.has(Flags::ACK) => {
                return match self.config.unknown_tcp {
                    UnknownTcp::Reset if !segment.flags.has(Flags::RST) => Outbound::Reset,
                    _ => Outbound::Drop,
                };
            }
            (None, Body::Tcp(_) | Body::Udp(_) | Body::Fragment(_)) => match self.open(key, now, rng) {
                Some(port) => port,
                None => return Outbound::Drop,
            },
            // An error about a packet that no mapping let in.
            (None, _) => return Outbound::Drop,
        };
        let outer = SocketAddr::new(self.outer_ip, port);
        let filtering = self.config.filtering;
        if let Some(mapping) = self.by_outer.get_mut(&(tcp, port)) {
            mapping.last_used = now;
            if let Some(peer) = filtering.part_of(remote) {
                mapping.peers.insert(peer, now);
            }
            if let Body::Tcp(segment) = &packet.body {
                mapping.note_flags(segment.flags, true);
            }
        }
        packet.source = outer;
        if let Some(about) = packet.about_mut() {
            // What the error is about came to the outer address.
            *about = outer;
        }
        Outbound::Passes
    }

    /// A packet for the router's own address came in: gives it its inner destination; false where it is not let in.
    pub(crate) fn inbound(&mut self, packet: &mut Packet, now: SimTime) -> bool {
        let tcp = packet.is_tcp();
        let remote = packet.about().unwrap_or(packet.source);
        let place = (tcp, packet.destination.port());
        if !self.is_alive(tcp, place.1, now) {
            return false;
        }
        let (filtering, refreshes) = (self.config.filtering, self.config.inbound_refresh);
        let Some(mapping) = self.by_outer.get_mut(&place) else { return false };
        if let Some(peer) = filtering.part_of(remote) {
            let timeout = mapping.timeout(&self.config);
            match mapping.peers.get_mut(&peer) {
                Some(last) if now - *last < timeout => {
                    if refreshes {
                        *last = now;
                    }
                }
                _ => return false,
            }
        }
        if refreshes {
            mapping.last_used = now;
        }
        if let Body::Tcp(segment) = &packet.body {
            mapping.note_flags(segment.flags, false);
        }
        packet.destination = mapping.key.1;
        true
    }

    fn is_alive(&self, tcp: bool, port: u16, now: SimTime) -> bool {
        self.by_outer.get(&(tcp, port)).is_some_and(|mapping| mapping.is_alive(&self.config, now))
    }

    fn open(&mut self, key: Key, now: SimTime, rng: &mut Stream) -> Option<u16> {
        self.purge(now);
        let port = self.free_port(key, now, rng)?;
        let mapping = Mapping {
            key,
            last_used: now,
            peers: BTreeMap::new(),
            is_established: false,
            fin_seen: [false; 2],
            is_reset: false,
        };
        if let Some(dead) = self.by_outer.insert((key.0, port), mapping)
            && dead.key != key
        {
            self.by_key.remove(&dead.key);
        }
        if let Some(old) = self.by_key.insert(key, port)
            && old != port
        {
            self.by_outer.remove(&(key.0, old));
        }
        Some(port)
    }

    fn free_port(&mut self, key: Key, now: SimTime, rng: &mut Stream) -> Option<u16> {
        let (first, last) = (*self.config.ports.start(), *self.config.ports.end());
        let is_free = |port: u16| !self.is_alive(key.0, port, now);
        let begin = match self.config.port_assignment {
            PortAssignment::Preserve => key.1.port().clamp(first, last),
            PortAssignment::Sequential => self.next_port,
            PortAssignment::Random => first + rng.below(u32::from(last - first) + 1) as u16,
        };
        let port = (begin..=last).chain(first..begin).find(|port| is_free(*port))?;
        self.next_port = if port == last { first } else { port + 1 };
        Some(port)
    }

    /// Now and then, takes the dead out of the tables.
    fn purge(&mut self, now: SimTime) {
        if self.by_outer.len() < self.purge_at {
            return;
        }
        let (config, by_key) = (&self.config, &mut self.by_key);
        self.by_outer.retain(|_, mapping| {
            let lives = mapping.is_alive(config, now);
            if !lives {
                by_key.remove(&mapping.key);
            }
            lives
        });
        self.purge_at = 64 + 2 * self.by_outer.len();
    }
}

#[cfg(test)]
mod tests;
