//! Stateful firewalls: rules for what begins, memory for what answers.
//!
//! Owns [`Firewall`]. Must not know where it stands. Invariant: a packet of a remembered flow passes whatever the
//! rules say, until the flow was idle for its time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use shim_runtime::clock::SimTime;

use crate::packet::{Body, Flags, Packet};
use crate::stack::routes::Subnet;

/// What is done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It passes.
    Accept,
    /// It is dropped without a word.
    Drop,
    /// It is refused: by a reset, or by ICMP "port unreachable".
    Reject,
}

/// A protocol above IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Which packets something is done with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirewallRule {
    /// Of one protocol, or of any.
    pub protocol: Option<Protocol>,
    /// From a network, or from anywhere.
    pub source: Option<Subnet>,
    /// To a network, or to anywhere.
    pub destination: Option<Subnet>,
    /// To these ports.
    pub ports: RangeInclusive<u16>,
    /// What is done with them.
    pub action: Action,
}

impl FirewallRule {
    /// Does `action` with every packet; the other fields make it narrower.
    pub fn all(action: Action) -> FirewallRule {
        FirewallRule { protocol: None, source: None, destination: None, ports: 0..=65_535, action }
    }

    fn fits(&self, protocol: Protocol, packet: &Packet) -> bool {
        let within = |subnet: Option<Subnet>, address: SocketAddr| {
            subnet.is_none_or(|subnet| subnet.contains(address.ip()))
        };
        self.protocol.is_none_or(|own| own == protocol)
            && within(self.source, packet.source)
            && within(self.destination, packet.destination)
            && self.ports.contains(&packet.destination.port())
    }
}

/// What a firewall lets pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FirewallConfig {
    /// For what comes in: the first rule that fits counts.
    pub inbound: Vec<FirewallRule>,
    /// For what comes in and fits no rule.
    pub inbound_default: Action,
    /// For what goes out: the first rule that fits counts.
    pub outbound: Vec<FirewallRule>,
    /// For what goes out and fits no rule.
    pub outbound_default: Action,
    /// Whether what one side began the other may answer.
    pub is_stateful: bool,
    /// How long a UDP flow is remembered that was not answered.
    pub udp_timeout: Duration,
    /// How long a UDP flow is remembered that was answered.
    pub udp_stream_timeout: Duration,
    /// How long an established TCP connection is remembered.
    pub tcp_timeout: Duration,
    /// How long any other TCP connection is remembered.
    pub tcp_transitory_timeout: Duration,
}

impl FirewallConfig {
    /// Everything goes out, nothing begins from outside. The times are those of Linux' connection tracking.
    pub fn stateful() -> FirewallConfig {
        FirewallConfig {
            inbound: Vec::new(),
            inbound_default: Action::Drop,
            outbound: Vec::new(),
            outbound_default: Action::Accept,
            is_stateful: true,
            udp_timeout: Duration::from_secs(30),
            udp_stream_timeout: Duration::from_secs(120),
            tcp_timeout: Duration::from_secs(432_000),
            tcp_transitory_timeout: Duration::from_secs(120),
        }
    }

    /// Lets connections to `ports` of `protocol` begin from outside.
    pub fn allow_inbound(mut self, protocol: Protocol, ports: RangeInclusive<u16>) -> FirewallConfig {
        let rule = FirewallRule { protocol: Some(protocol), ports, ..FirewallRule::all(Action::Accept) };
        self.inbound.push(rule);
        self
    }

    /// Drops what goes out to `ports` of `protocol`.
    pub fn block_outbound(mut self, protocol: Protocol, ports: RangeInclusive<u16>) -> FirewallConfig {
        let rule = FirewallRule { protocol: Some(protocol), ports, ..FirewallRule::all(Action::Drop) };
        self.outbound.push(rule);
        self
    }
}

/// Protocol, the end inside, the end outside.
type Flow = (bool, SocketAddr, SocketAddr);

struct Tracked {
    last_seen: SimTime,
    began_inside: bool,
    is_answered: bool,
    fin_seen: [bool; 2],
    is_reset: bool,
}

impl Tracked {
    fn timeout(&self, tcp: bool, config: &FirewallConfig) -> Duration {
        match (tcp, self.is_answered) {
            (false, false) => config.udp_timeout,
            (false, true) => config.udp_stream_timeout,
            (true, true) if !self.is_reset && self.fin_seen != [true, true] => config.tcp_timeout,
            (true, _) => config.tcp_transitory_timeout,
        }
    }
}

/// A firewall at work.
pub(crate) struct Firewall {
    config: FirewallConfig,
    flows: BTreeMap<Flow, Tracked>,
    purge_at: usize,
}

impl Firewall {
    pub(crate) fn new(config: FirewallConfig) -> Firewall {
        Firewall { config, flows: BTreeMap::new(), purge_at: 64 }
    }

    /// Forgets every flow.
    pub(crate) fn clear(&mut self) {
        self.flows.clear();
    }

    /// What is done with a packet, with the addresses that it has inside.
    pub(crate) fn judge(&mut self, packet: &Packet, is_outbound: bool, now: SimTime) -> Action {
        let tcp = packet.is_tcp();
        let (inside, outside) = match (packet.about(), is_outbound) {
            (None, true) => (packet.source, packet.destination),
            (None, false) => (packet.destination, packet.source),
            // An error from inside is about a packet to there, one from outside about a packet from inside.
            (Some(about), true) => (about, packet.destination),
            (Some(about), false) => (packet.destination, about),
        };
        let flow = (tcp, inside, outside);
        if self.config.is_stateful && self.follows(flow, packet, is_outbound, now) {
            return Action::Accept;
        }
        if packet.about().is_some() {
            return Action::Drop;
        }
        let protocol = if tcp { Protocol::Tcp } else { Protocol::Udp };
        let (rules, default) = match is_outbound {
            true => (&self.config.outbound, self.config.outbound_default),
            false => (&self.config.inbound, self.config.inbound_default),
        };
        let action =
            rules.iter().find(|rule| rule.fits(protocol, packet)).map_or(default, |rule| rule.action);
        if self.config.is_stateful && action == Action::Accept {
            self.remember(flow, packet, is_outbound, now);
        }
        action
    }

    /// Whether a packet is of a flow that is remembered.
    fn follows(&mut self, flow: Flow, packet: &Packet, is_outbound: bool, now: SimTime) -> bool {
        let Some(tracked) = self.flows.get_mut(&flow) else { return false };
        if now - tracked.last_seen >= tracked.timeout(flow.0, &self.config) {
            self.flows.remove(&flow);
            return false;
        }
        if let Body::Tcp(segment) = &packet.body {
            tracked.fin_seen[usize::from(is_outbound)] |= segment.flags.has(Flags::FIN);
            tracked.is_reset |= segment.flags.has(Flags::RST);
        }
        if packet.about().is_none() {
            tracked.last_seen = now;
            tracked.is_answered |= tracked.began_inside != is_outbound;
        }
        true
    }

    fn remember(&mut self, flow: Flow, packet: &Packet, is_outbound: bool, now: SimTime) {
        if self.flows.len() >= self.purge_at {
            let config = &self.config;
            self.flows.retain(|(tcp, ..), tracked| now - tracked.last_seen < tracked.timeout(*tcp, config));
            self.purge_at = 64 + 2 * self.flows.len();
        }
        let is_reset = matches!(&packet.body, Body::Tcp(segment) if segment.flags.has(Flags::RST));
        let tracked = Tracked {
            last_seen: now,
            began_inside: is_outbound,
            is_answered: false,
            fin_seen: [false; 2],
            is_reset,
        };
        self.flows.insert(flow, tracked);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn udp(source: &str, destination: &str) -> Packet {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Packet { source, destination, ecn: 0, dont_fragment: false, body: Body::Udp(Bytes::new()) }
    }

    const INSIDE: &str = "10.0.0.2:5000";
    const OUTSIDE: &str = "203.0.113.1:53";

    #[test]
    fn what_began_inside_may_be_answered_for_a_while() {
        let mut firewall = Firewall::new(FirewallConfig::stateful());
        let at = |seconds| SimTime::ZERO + Duration::from_secs(seconds);
        assert_eq!(firewall.judge(&udp(OUTSIDE, INSIDE), false, at(0)), Action::Drop);
        assert_eq!(firewall.judge(&udp(INSIDE, OUTSIDE), true, at(0)), Action::Accept);
        assert_eq!(firewall.judge(&udp("203.0.113.1:54", INSIDE), false, at(1)), Action::Drop);
        assert_eq!(firewall.judge(&udp(OUTSIDE, INSIDE), false, at(29)), Action::Accept);
        // It was answered: it is remembered for longer.
        assert_eq!(firewall.judge(&udp(OUTSIDE, INSIDE), false, at(148)), Action::Accept);
        assert_eq!(firewall.judge(&udp(OUTSIDE, INSIDE), false, at(268)), Action::Drop);
        assert_eq!(firewall.judge(&udp(INSIDE, OUTSIDE), true, at(269)), Action::Accept);
        assert_eq!(firewall.judge(&udp(OUTSIDE, INSIDE), false, at(299)), Action::Drop);
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mut config = FirewallConfig::stateful()
            .allow_inbound(Protocol::Udp, 50..=60)
            .block_outbound(Protocol::Tcp, 25..=25);
        config.inbound.insert(
            0,
            FirewallRule {
                source: Some("203.0.113.0/25".parse().unwrap()),
                ..FirewallRule::all(Action::Reject)
            },
        );
        let mut firewall = Firewall::new(config);
        let mut judge = |packet: &Packet| firewall.judge(packet, false, SimTime::ZERO);
        assert_eq!(judge(&udp("203.0.113.1:9", "10.0.0.2:55")), Action::Reject);
        assert_eq!(judge(&udp("203.0.113.200:9", "10.0.0.2:55")), Action::Accept);
        assert_eq!(judge(&udp("203.0.113.200:9", "10.0.0.2:61")), Action::Drop);
        // What it let in may be answered, whatever the rules say of what goes out.
        firewall.config.outbound_default = Action::Drop;
        assert_eq!(
            firewall.judge(&udp("10.0.0.2:55", "203.0.113.200:9"), true, SimTime::ZERO),
            Action::Accept
        );
        assert_eq!(firewall.judge(&udp("10.0.0.2:55", "203.0.113.201:9"), true, SimTime::ZERO), Action::Drop);
    }
}
