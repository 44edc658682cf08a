//! The bytes of a packet, as they are on a wire: IP, and what it carries.
//!
//! Owns what the world's packets leave out: options, checksums, identifications. Must not know files. Invariant: every
//! checksum is right, unless the packet was damaged.

use std::net::{IpAddr, SocketAddr};

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpFragOffset, IpNumber, Ipv4Header,
    Ipv6FragmentHeader, Ipv6Header, TcpHeader, TcpOptionElement, UdpHeader,
};

use crate::packet::{Body, Flags, Fragment, Packet, Reason, Segment, Unreachable};

/// As Linux' `net.ipv4.ip_default_ttl`.
const HOPS: u8 = 64;
/// The shift that every window is shown with.
const WINDOW_SHIFT: u8 = 7;
/// How much of the transport's header an ICMP error quotes.
const QUOTED_BYTES: usize = 8;
/// The largest packet of IPv4, and the largest payload of IPv6.
const MOST_BYTES: usize = 65_535;
const TCP_HEADER_BYTES: usize = 20;

/// The bytes of `packet` from the header of IP on; with a wrong checksum where it was damaged.
pub(super) fn bytes(packet: &Packet, is_damaged: bool) -> Vec<u8> {
    let (source, destination) = (packet.source, packet.destination);
    let mut bytes = match &packet.body {
        Body::Fragment(part) => {
            let whole = transport(source, destination, &part.whole);
            let end = (part.offset + part.len).min(whole.1.len());
            let payload = &whole.1[part.offset.min(end)..end];
            network(packet, whole.0, payload, Some(part))
        }
        body => {
            let (protocol, payload) = transport(source, destination, body);
            network(packet, protocol, &payload, None)
        }
    };
    if is_damaged && let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes
}

/// The header of IP before `payload`.
fn network(packet: &Packet, protocol: IpNumber, payload: &[u8], part: Option<&Fragment>) -> Vec<u8> {
    // A train of fragments that no link took apart is no fragment.
    let part = part.filter(|part| part.len < part.total());
    match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = header_v4(source.octets(), destination.octets(), protocol, payload.len());
            header.ecn = packet.ecn.try_into().unwrap_or_default();
            header.dont_fragment = packet.dont_fragment;
            if let Some(part) = part {
                header.identification = part.id as u16;
                header.more_fragments = part.offset + part.len < part.total();
                header.fragment_offset = offset(part);
                header.header_checksum = header.calc_header_checksum();
            }
            header.header_checksum = header.calc_header_checksum();
            [&header.to_bytes()[..], payload].concat()
        }
        (source, destination) => {
            let mut extension = Vec::new();
            if let Some(part) = part {
                let more = part.offset + part.len < part.total();
                let header = Ipv6FragmentHeader::new(protocol, offset(part), more, part.id as u32);
                extension.extend_from_slice(&header.to_bytes());
            }
            let next = if part.is_some() { IpNumber::IPV6_FRAGMENTATION_HEADER } else { protocol };
            let length = extension.len() + payload.len();
            let mut header = header_v6(octets_v6(source), octets_v6(destination), next, length);
            header.set_ecn(packet.ecn.try_into().unwrap_or_default());
            [&header.to_bytes()[..], &extension, payload].concat()
        }
    }
}

fn offset(part: &Fragment) -> IpFragOffset {
    let units = u16::try_from(part.offset / 8).unwrap_or(u16::MAX);
    IpFragOffset::try_new(units.min(IpFragOffset::MAX_U16)).unwrap_or_default()
}

fn header_v4(source: [u8; 4], destination: [u8; 4], protocol: IpNumber, payload: usize) -> Ipv4Header {
    let mut header =
        Ipv4Header { time_to_live: HOPS, protocol, source, destination, ..Ipv4Header::default() };
    header.total_len = u16::try_from(header.header_len() + payload).unwrap_or(u16::MAX);
    header
}

fn header_v6(source: [u8; 16], destination: [u8; 16], next_header: IpNumber, payload: usize) -> Ipv6Header {
    let payload_length = u16::try_from(payload).unwrap_or(u16::MAX);
    Ipv6Header { payload_length, next_header, hop_limit: HOPS, source, destination, ..Ipv6Header::default() }
}

fn octets_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// What comes after the header of IP, and its protocol.
fn transport(source: SocketAddr, destination: SocketAddr, body: &Body) -> (IpNumber, Vec<u8>) {
    match body {
        Body::Tcp(segment) => (IpNumber::TCP, tcp(source, destination, segment)),
        Body::Udp(data) => (IpNumber::UDP, [&udp(source, destination, data).to_bytes()[..], data].concat()),
        Body::Unreachable(icmp) => error(source, destination, icmp),
        Body::Fragment(part) => transport(source, destination, &part.whole),
    }
}

fn udp(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> UdpHeader {
    let mut header = UdpHeader {
        source_port: source.port(),
        destination_port: destination.port(),
        length: u16::try_from(8 + data.len()).unwrap_or(u16::MAX),
        checksum: 0,
    };
    let checksum = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => header.calc_checksum_ipv4_raw(from.octets(), to.octets(), data),
        (from, to) => header.calc_checksum_ipv6_raw(octets_v6(from), octets_v6(to), data),
    };
    header.checksum = checksum.unwrap_or_default();
    header
}

fn tcp(source: SocketAddr, destination: SocketAddr, segment: &Segment) -> Vec<u8> {
    let is_syn = segment.flags.has(Flags::SYN);
    // The window of a SYN is not scaled; one that is open must not look shut.
    let window = if is_syn { segment.window } else { segment.window.div_ceil(1 << WINDOW_SHIFT) };
    let mut header = TcpHeader::new(
        source.port(),
        destination.port(),
        segment.seq as u32,
        u16::try_from(window).unwrap_or(u16::MAX),
    );
    // The bits of the world's flags are those of the wire.
    let Flags(bits) = segment.flags;
    let has = |bit: u8| bits & bit != 0;
    (header.fin, header.syn, header.rst, header.ack) = (has(1), has(2), has(4), has(16));
    (header.psh, header.urg, header.ece, header.cwr) = (has(8), has(32), has(64), has(128));
    if header.ack {
        header.acknowledgment_number = segment.ack as u32;
    }
    let mut options = Vec::new();
    if is_syn {
        options.push(TcpOptionElement::MaximumSegmentSize(segment.mss));
        options.push(TcpOptionElement::SelectiveAcknowledgementPermitted);
        options.push(TcpOptionElement::WindowScale(WINDOW_SHIFT));
    }
    let ip_header = if destination.is_ipv4() { 20 } else { 0 };
    // A train may be so long that it has less room than its segments would have had.
    let room = MOST_BYTES.saturating_sub(ip_header + TCP_HEADER_BYTES + segment.payload.len());
    let fits = room.saturating_sub(4) / 8;
    let mut ranges = segment.sack.iter().take(fits).map(|(start, end)| (*start as u32, *end as u32));
    if let Some(first) = ranges.next() {
        let others = [ranges.next(), ranges.next(), ranges.next()];
        options.push(TcpOptionElement::SelectiveAcknowledgement(first, others));
    }
    header.set_options(&options).expect("invariant: four ranges fit into the options of a segment");
    let checksum = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.calc_checksum_ipv4_raw(from.octets(), to.octets(), &segment.payload)
        }
        (from, to) => header.calc_checksum_ipv6_raw(octets_v6(from), octets_v6(to), &segment.payload),
    };
    header.checksum = checksum.unwrap_or_default();
    [&header.to_bytes()[..], &segment.payload].concat()
}

/// An ICMP error, with the headers of the packet that it is about.
fn error(source: SocketAddr, destination: SocketAddr, icmp: &Unreachable) -> (IpNumber, Vec<u8>) {
    let protocol = if icmp.tcp { IpNumber::TCP } else { IpNumber::UDP };
    let mut ports = [destination.port().to_be_bytes(), icmp.original.port().to_be_bytes()].concat();
    // Of TCP the sequence number, which nobody has kept; of UDP the length, and no checksum.
    ports.extend_from_slice(if icmp.tcp { &[0, 0, 0, 0] } else { &[0, 8, 0, 0] });
    match (source.ip(), destination.ip(), icmp.original.ip()) {
        (IpAddr::V4(_), IpAddr::V4(own), IpAddr::V4(original)) => {
            let mut quoted = header_v4(own.octets(), original.octets(), protocol, QUOTED_BYTES);
            quoted.dont_fragment = matches!(icmp.reason, Reason::TooBig(_));
            quoted.header_checksum = quoted.calc_header_checksum();
            let quoted = [&quoted.to_bytes()[..], &ports].concat();
            let kind = match icmp.reason {
                Reason::Port => DestUnreachableHeader::Port,
                Reason::Host => DestUnreachableHeader::Host,
                Reason::TooBig(next_hop_mtu) => DestUnreachableHeader::FragmentationNeeded { next_hop_mtu },
            };
            let header = Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(kind), &quoted);
            (IpNumber::ICMP, [&header.to_bytes()[..], &quoted].concat())
        }
        (from, own, original) => {
            let quoted = header_v6(octets_v6(own), octets_v6(original), protocol, QUOTED_BYTES);
            let quoted = [&quoted.to_bytes()[..], &ports].concat();
            let kind = match icmp.reason {
                Reason::Port => Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Port),
                Reason::Host => Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Address),
                Reason::TooBig(mtu) => Icmpv6Type::PacketTooBig { mtu: mtu.into() },
            };
            let header = Icmpv6Header::with_checksum(kind, octets_v6(from), octets_v6(own), &quoted);
            let header = header.expect("invariant: an error is short");
            (IpNumber::IPV6_ICMP, [&header.to_bytes()[..], &quoted].concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;
    use crate::fabric::pieces;
    use crate::fragment::train;

    fn packet(v6: bool, body: Body) -> Packet {
        let address = |v4: &str, other: &str| if v6 { other } else { v4 }.parse().unwrap();
        Packet {
            source: address("10.0.0.1:5000", "[fd00::1]:5000"),
            destination: address("10.0.0.2:80", "[fd00::2]:80"),
            ecn: 3,
            dont_fragment: false,
            body,
        }
    }

    fn segment(flags: Flags, len: usize) -> Segment {
        Segment {
            seq: (7 << 32) + 5,
            ack: (9 << 32) + 6,
            window: 1 << 20,
            flags,
            mss: 1460,
            sack: vec![(1 << 33, (1 << 33) + 10); 4],
            payload: Bytes::from(vec![1; len]),
        }
    }

    #[test]
    fn segments_come_back_with_the_lower_halves_of_their_numbers() {
        for (v6, len) in [(false, 0), (true, 1), (false, 65_483), (true, 65_483)] {
            let packet = packet(v6, Body::Tcp(segment(Flags::ACK, len)));
            let bytes = bytes(&packet, false);
            let sliced = SlicedPacket::from_ip(&bytes).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
            assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (5, 6));
            assert_eq!((tcp.window_size(), tcp.payload().len()), (8192, len));
            assert_eq!(tcp.options_iterator().filter(|option| option.is_ok()).count(), 1);
            let checksum = match sliced.net {
                Some(NetSlice::Ipv4(ip)) => {
                    assert_eq!(ip.header().ecn().value(), 3);
                    tcp.calc_checksum_ipv4(ip.header().source(), ip.header().destination())
                }
                Some(NetSlice::Ipv6(ip)) => {
                    tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
                }
                _ => panic!("no IP"),
            };
            assert_eq!(checksum.unwrap(), tcp.checksum());
        }
    }

    #[test]
    fn a_window_that_is_open_is_never_shown_shut() {
        let small = Segment { window: 1, ..segment(Flags::ACK, 0) };
        let bytes = bytes(&packet(false, Body::Tcp(small)), false);
        let sliced = SlicedPacket::from_ip(&bytes).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = sliced.transport else { panic!("no TCP") };
        assert_eq!(tcp.window_size(), 1);
    }

    #[test]
    fn fragments_are_the_parts_of_the_whole() {
        for v6 in [false, true] {
            let whole =
                packet(v6, Body::Udp(Bytes::from((0..=255u8).cycle().take(3000).collect::<Vec<_>>())));
            let expected = bytes(&whole, false);
            let header = if v6 { 40 } else { 20 };
            let mut together = Vec::new();
            for part in pieces(train(Box::new(whole), 1300, 77), None) {
                let bytes = bytes(&part, false);
                assert!(bytes.len() <= 1300);
                together.extend_from_slice(&bytes[if v6 { 48 } else { 20 }..]);
            }
            assert_eq!(together, expected[header..]);
        }
    }

    #[test]
    fn damage_makes_the_checksum_wrong_and_nothing_else() {
        let packet = packet(false, Body::Udp(Bytes::from_static(b"text")));
        let (right, wrong) = (bytes(&packet, false), bytes(&packet, true));
        let differ = right.iter().zip(&wrong).filter(|(a, b)| a != b).count();
        assert_eq!((differ, right.len()), (1, wrong.len()));
    }
}
