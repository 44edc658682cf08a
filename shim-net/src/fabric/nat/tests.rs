//! The kinds of NAT, their timers, ports and errors.
//!
//! Owns a NAT and a clock for each test. Must not know routers. Invariant: the time moves only when a test says so.

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
        bench.now += Duration::from_secs(299);
        assert!(bench.comes_in("203.0.113.1:53", &outer).is_some());
    }
}

#[test]
fn ports_are_kept_where_they_are_free() {
    let mut bench = Bench::new(NatConfig { ports: 5000..=5002, ..NatConfig::full_cone() });
    let mut outer = |inner: &str| bench.out(udp(inner, "203.0.113.1:53")).map(|outer| outer[11..].to_owned());
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
    bench.now += Duration::from_secs(7_439);
    assert_eq!(bench.out(tcp(inner, remote, ack)).unwrap(), outer);
    // Both sides are done: now it lives four minutes more.
    assert!(bench.out(tcp(inner, remote, ack.with(Flags::FIN))).is_some());
    assert!(bench.nat.inbound(&mut tcp(remote, &outer, ack.with(Flags::FIN)), bench.now));
    bench.now += Duration::from_secs(239);
    assert_eq!(bench.out(tcp(inner, remote, ack)).unwrap(), outer);
    bench.now += Duration::from_secs(240);
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
    assert_eq!((refusal.source.to_string(), refusal.about().unwrap().to_string()), (outer.clone(), outer));
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
        bench.now += Duration::from_secs(400);
    }
    assert!(bench.nat.by_outer.len() <= 300, "{}", bench.nat.by_outer.len());
    assert_eq!(bench.nat.by_outer.len(), bench.nat.by_key.len());
}
