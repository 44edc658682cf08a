//! Packets: what travels between the stacks of nodes.
//!
//! Owns their form, their size on a wire, and their line of text. Must not know links or sockets.
//! Invariant: addresses are in wire form, that is, IPv4 is never written as an IPv4-mapped IPv6 address.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

pub use crate::fragment::Fragment;

/// One packet, or a train of TCP segments that no link needed to take apart.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The two ECN bits.
    pub ecn: u8,
    /// Whether routers may not fragment it.
    pub dont_fragment: bool,
    /// What it carries.
    pub body: Body,
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram.
    Udp(Bytes),
    /// An ICMP error about a packet that the destination had sent.
    Unreachable(Unreachable),
    /// A part of any of these.
    Fragment(Fragment),
}

/// A TCP segment.
///
/// Sequence numbers have 64 bits and do not wrap; a capture shows the lower 32.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The number of the first byte.
    pub seq: u64,
    /// The next byte that the sender waits for; meaningful with [`Flags::ACK`].
    pub ack: u64,
    /// The receive window in bytes, already scaled.
    pub window: u32,
    /// The control bits.
    pub flags: Flags,
    /// On SYN: the largest segment the sender wants. Else: the size into which the payload may be cut.
    pub mss: u16,
    /// Ranges held beyond `ack`, nearest to the newest arrival first.
    pub sack: Vec<(u64, u64)>,
    /// The data.
    pub payload: Bytes,
}

impl Segment {
    /// How much of the sequence space the segment takes.
    pub fn len(&self) -> u64 {
        self.payload.len() as u64
            + u64::from(self.flags.has(Flags::SYN))
            + u64::from(self.flags.has(Flags::FIN))
    }

    /// Whether the segment takes nothing of the sequence space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The control bits of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender has no more data.
    pub const FIN: Flags = Flags(1);
    /// The sender begins a connection.
    pub const SYN: Flags = Flags(2);
    /// The connection is gone.
    pub const RST: Flags = Flags(4);
    /// `ack` is meaningful.
    pub const ACK: Flags = Flags(16);
    /// A mark came; on a SYN, the sender understands marks.
    pub const ECE: Flags = Flags(64);
    /// The window was reduced because of a mark; on a SYN, as [`Flags::ECE`].
    pub const CWR: Flags = Flags(128);

    /// Whether all bits of `flags` are set.
    pub fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These, but for `flags`.
    pub const fn without(self, flags: Flags) -> Flags {
        Flags(self.0 & !flags.0)
    }

    /// Both together.
    pub const fn with(self, flags: Flags) -> Flags {
        Flags(self.0 | flags.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Flags::SYN, 'S'), (Flags::FIN, 'F'), (Flags::RST, 'R'), (Flags::ACK, '.')];
        let names = names.into_iter().chain([(Flags::ECE, 'E'), (Flags::CWR, 'W')]);
        for (flag, name) in names {
            if self.has(flag) {
                write!(f, "{name}")?;
            }
        }
        Ok(())
    }
}

/// An ICMP "destination unreachable".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreachable {
    /// What could not be reached.
    pub reason: Reason,
    /// Whether the packet was TCP; else it was UDP.
    pub tcp: bool,
    /// Where the packet had been sent.
    pub original: SocketAddr,
}

/// What an ICMP error is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Nobody has bound the port.
    Port,
    /// Nobody has the address.
    Host,
    /// The packet forbids fragments, and a link takes none larger than this, in bytes.
    TooBig(u16),
}

impl Packet {
    /// The bytes of headers, without the link's own.
    pub fn header_len(&self) -> usize {
        let ip = if self.destination.is_ipv4() { 20 } else { 40 };
        match &self.body {
            Body::Tcp(_) => ip + 20,
            Body::Udp(_) | Body::Unreachable(_) => ip + 8,
            // IPv6 has a header of its own for fragments.
            Body::Fragment(_) => ip + if ip == 40 { 8 } else { 0 },
        }
    }

    /// The bytes of data.
    pub fn payload_len(&self) -> usize {
        match &self.body {
            Body::Tcp(segment) => segment.payload.len(),
            Body::Udp(data) => data.len(),
            Body::Unreachable(_) => 28,
            Body::Fragment(part) => part.len,
        }
    }

    /// Whether it is TCP, or an error about TCP; else it is UDP, or an error about that.
    pub(crate) fn is_tcp(&self) -> bool {
        match &self.body {
            Body::Tcp(_) => true,
            Body::Udp(_) => false,
            Body::Unreachable(icmp) => icmp.tcp,
            Body::Fragment(part) => matches!(*part.whole, Body::Tcp(_)),
        }
    }

    /// Where the packet had been sent that an ICMP error is about.
    pub(crate) fn about(&self) -> Option<SocketAddr> {
        match &self.body {
            Body::Tcp(_) | Body::Udp(_) | Body::Fragment(_) => None,
            Body::Unreachable(icmp) => Some(icmp.original),
        }
    }

    /// As [`Packet::about`], for changing it.
    pub(crate) fn about_mut(&mut self) -> Option<&mut SocketAddr> {
        match &mut self.body {
            Body::Tcp(_) | Body::Udp(_) | Body::Fragment(_) => None,
            Body::Unreachable(icmp) => Some(&mut icmp.original),
        }
    }

    /// A packet of the same sender and receiver that carries `body`.
    pub(crate) fn with_body(&self, body: Body) -> Box<Packet> {
        let Packet { source, destination, ecn, dont_fragment, .. } = *self;
        Box::new(Packet { source, destination, ecn, dont_fragment, body })
    }

    /// A packet back to the sender.
    pub(crate) fn answer(&self, body: Body) -> Box<Packet> {
        let (source, destination) = (self.destination, self.source);
        Box::new(Packet { source, destination, ecn: 0, dont_fragment: true, body })
    }

    /// The reset that answers a segment of no connection (RFC 9293, section 3.10.7.1); a reset is not answered.
    pub(crate) fn reset(&self) -> Option<Box<Packet>> {
        let Body::Tcp(segment) = &self.body else { return None };
        if segment.flags.has(Flags::RST) {
            return None;
        }
        let (seq, ack, flags) = if segment.flags.has(Flags::ACK) {
            (segment.ack, 0, Flags::RST)
        } else {
            (0, segment.seq + segment.len(), Flags::RST.with(Flags::ACK))
        };
        let reset = Segment { seq, ack, window: 0, flags, mss: 0, sack: Vec::new(), payload: Bytes::new() };
        Some(self.answer(Body::Tcp(reset)))
    }

    /// A number that says what the packet is, for the trace: kind, control bits, ports, length.
    pub fn digest(&self) -> u64 {
        let kind = match &self.body {
            Body::Tcp(segment) => 0x100 | u64::from(segment.flags.0),
            Body::Udp(_) => 0x200,
            Body::Unreachable(_) => 0x300,
            Body::Fragment(part) => 0x400 | (part.offset as u64 >> 3 & 0xff),
        };
        kind << 52
            | u64::from(self.source.port()) << 36
            | u64::from(self.destination.port()) << 20
            | (self.payload_len() as u64 & 0xf_ffff)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}: ", self.source, self.destination)?;
        match &self.body {
            Body::Tcp(segment) => {
                let Segment { seq, ack, window, flags, payload, .. } = segment;
                write!(f, "tcp [{flags:?}] seq {seq} ack {ack} win {window} len {}", payload.len())
            }
            Body::Udp(data) => write!(f, "udp len {}", data.len()),
            Body::Unreachable(icmp) => write!(f, "icmp {:?} of {} unreachable", icmp.reason, icmp.original),
            Body::Fragment(part) => {
                write!(f, "fragment {} of {}, len {}", part.offset, part.total(), part.len)
            }
        }
    }
}

/// The wire form of `address`: IPv4-mapped IPv6 becomes IPv4; scope and flow are dropped.
pub(crate) fn wire(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An address as a number, IPv4 as mapped IPv6: for keys.
pub(crate) fn ip_bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}
