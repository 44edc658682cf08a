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
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::packet::Segment;

    const OUTER: &str = "198.18.0.1";

    fn packet(source: &str, destination: &str, body: Body) -> Packet {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Packet { source, destination, ecn: 0, dont_fragment: false, body }
    }

    fn udp(source: &str, destination: &str) -> Packet {
        packet(source, destination, Body::Udp(Bytes::from_static(b"x")))
    }

    fn tcp(source: &str, destination: &str, flags: Flags) -> Packet {
        let (sack, payload) = (Vec::new(), Bytes::new());
        let segment = Segment { seq: 1, ack: 1, window: 1, flags, mss: 0, sack, payload };
        packet(source, destination, Body::Tcp(segment))
    }

    /// A NAT and its clock.
    struct Bench {
        nat: Nat,
        now: SimTime,
        rng: Stream,
    }

    impl Bench {
        fn new(config: NatConfig) -> Bench {
            let nat = Nat::new(config, OUTER.parse().unwrap());
            Bench { nat, now: SimTime::ZERO, rng: Stream::new(1, "link", 0) }
        }

        fn out(&mut self, mut packet: Packet) -> Option<String> {
            let passes = self.nat.outbound(&mut packet, self.now, &mut self.rng) == Outbound::Passes;
            passes.then(|| packet.source.to_string())
        }

        fn comes_in(&mut self, from: &str, to: &str) -> Option<String> {
            let mut packet = udp(from, to);
            self.nat.inbound(&mut packet, self.now).then(|| packet.destination.to_string())
        }
    }

    #[test]
    fn the_kinds_map_and_filter_as_they_are_named() {
        let kinds = [
            // Kind, one outer port for all, lets in: the same end, another port of it, somebody else.
            (NatConfig::full_cone(), true, [true, true, true]),
            (NatConfig::restricted_cone(), true, [true, true, false]),
            (NatConfig::port_restricted_cone(), true, [true, false, false]),
            (NatConfig::symmetric(), false, [true, false, false]),
        ];
        for (config, shares, lets_in) in kinds {
            let mut bench = Bench::new(config);
            let first = bench.out(udp("10.0.0.2:5000", "203.0.113.1:53")).unwrap();
            let second = bench.out(udp("10.0.0.2:5000", "203.0.113.2:53")).unwrap();
            assert_eq!(first == second, shares);
            assert_eq!(bench.out(udp("10.0.0.2:5000", "203.0.113.1:53")).unwrap(), first);
            let others = ["203.0.113.1:53", "203.0.113.1:54", "203.0.113.9:53"];
            let seen = others.map(|from| bench.comes_in(from, &first).is_some());
            assert_eq!(seen, lets_in);
            assert_eq!(bench.comes_in("203.0.113.1:53", &first).unwrap(), "10.0.0.2:5000");
        }
    }

    #[test]
    fn mappings_die_when_they_are_idle() {
        let mut bench = Bench::new(NatConfig::full_cone());
        let outer = bench.out(udp("10.0.0.2:5000", "203.0.113.1:53")).unwrap();
        bench.now = SimTime::ZERO + Duration::from_secs(299);
        assert!(bench.comes_in("203.0.113.1:53", &outer).is_some());
        assert_eq!(bench.nat.mappings(bench.now).len(), 1);
        // What came in did not keep it.
        bench.now = SimTime::ZERO + Duration::from_secs(300);
        assert!(bench.comes_in("203.0.113.1:53", &outer).is_none());
        assert!(bench.nat.mappings(bench.now).is_empty());

        let mut bench = Bench::new(NatConfig { inbound_refresh: true, ..NatConfig::full_cone() });
        let outer = bench.out(udp("10.0.0.2:5000", "203.0.113.1:53")).unwrap();
        for _ in 0..5 {
            bench.now = bench.now + Duration::from_secs(299);
            assert!(bench.comes_in("203.0.113.1:53", &outer).is_some());
        }
    }

    #[test]
    fn ports_are_kept_where_they_are_free() {
        let mut bench = Bench::new(NatConfig { ports: 5000..=5002, ..NatConfig::full_cone() });
        let mut outer =
            |inner: &str| bench.out(udp(inner, "203.0.113.1:53")).map(|outer| outer[11..].to_owned());
        assert_eq!(outer("10.0.0.2:5001").unwrap(), "5001");
        assert_eq!(outer("10.0.0.3:5001").unwrap(), "5002");
        assert_eq!(outer("10.0.0.4:5001").unwrap(), "5000");
        assert_eq!(outer("10.0.0.5:5001"), None);
        // A port that died is given again, and does not lead to who had it.
        bench.now = SimTime::ZERO + Duration::from_secs(301);
        assert_eq!(bench.out(udp("10.0.0.5:5001", "203.0.113.1:53")).unwrap(), "198.18.0.1:5001");
        assert_eq!(bench.comes_in("203.0.113.1:53", "198.18.0.1:5001").unwrap(), "10.0.0.5:5001");
        assert_eq!(bench.out(udp("10.0.0.2:5001", "203.0.113.1:53")).unwrap(), "198.18.0.1:5002");
    }

    #[test]
    fn tcp_opens_with_syn_and_lives_as_long_as_its_state() {
        let (inner, remote) = ("10.0.0.2:5000", "203.0.113.1:80");
        let ack = Flags::ACK;
        let mut bench = Bench::new(NatConfig::port_restricted_cone());
        assert_eq!(bench.out(tcp(inner, remote, ack)), None);
        bench.nat.config.unknown_tcp = UnknownTcp::Reset;
        let mut stray = tcp(inner, remote, ack);
        assert_eq!(bench.nat.outbound(&mut stray, bench.now, &mut bench.rng), Outbound::Reset);
        let outer = bench.out(tcp(inner, remote, Flags::SYN)).unwrap();
        let mut answer = tcp(remote, &outer, Flags::SYN.with(ack));
        assert!(bench.nat.inbound(&mut answer, bench.now));
        bench.now = bench.now + Duration::from_secs(7_439);
        assert_eq!(bench.out(tcp(inner, remote, ack)).unwrap(), outer);
        // Both sides are done: now it lives four minutes more.
        assert!(bench.out(tcp(inner, remote, ack.with(Flags::FIN))).is_some());
        assert!(bench.nat.inbound(&mut tcp(remote, &outer, ack.with(Flags::FIN)), bench.now));
        bench.now = bench.now + Duration::from_secs(239);
        assert_eq!(bench.out(tcp(inner, remote, ack)).unwrap(), outer);
        bench.now = bench.now + Duration::from_secs(240);
        assert_eq!(bench.out(tcp(inner, remote, ack.with(Flags::RST))), None);
    }

    #[test]
    fn errors_are_translated_both_ways() {
        use crate::packet::{Reason, Unreachable};
        let mut bench = Bench::new(NatConfig::port_restricted_cone());
        let outer = bench.out(udp("10.0.0.2:5000", "203.0.113.1:53")).unwrap();
        let about = |original: &str| {
            Body::Unreachable(Unreachable {
                reason: Reason::Port,
                tcp: false,
                original: original.parse().unwrap(),
            })
        };
        // From a router on the way: what counts is whom the datagram was for.
        let mut error = packet("192.0.2.1:0", &outer, about("203.0.113.1:53"));
        assert!(bench.nat.inbound(&mut error, bench.now));
        assert_eq!(error.destination.to_string(), "10.0.0.2:5000");
        let mut foreign = packet("192.0.2.1:0", &outer, about("203.0.113.9:53"));
        assert!(!bench.nat.inbound(&mut foreign, bench.now));
        let mut refusal = packet("10.0.0.2:5000", "203.0.113.1:53", about("10.0.0.2:5000"));
        assert_eq!(bench.nat.outbound(&mut refusal, bench.now, &mut bench.rng), Outbound::Passes);
        assert_eq!(
            (refusal.source.to_string(), refusal.about().unwrap().to_string()),
            (outer.clone(), outer)
        );
    }

    #[test]
    fn many_flows_keep_the_tables_small_and_ports_unique() {
        let mut bench = Bench::new(NatConfig::symmetric());
        for round in 0..40 {
            let mut seen = std::collections::BTreeSet::new();
            for port in 0..100 {
                let remote = format!("203.0.113.{}:{}", round % 7, 1000 + port);
                let outer = bench.out(udp(&format!("10.0.0.{}:4000", port % 5), &remote)).unwrap();
                assert!(seen.insert(outer), "a port twice");
            }
            bench.now = bench.now + Duration::from_secs(400);
        }
        assert!(bench.nat.by_outer.len() <= 300, "{}", bench.nat.by_outer.len());
        assert_eq!(bench.nat.by_outer.len(), bench.nat.by_key.len());
    }
}
