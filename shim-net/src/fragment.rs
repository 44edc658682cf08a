//! Fragments: packets that are longer than a link takes, cut into parts and put together again.
//!
//! Owns [`Fragment`], the cutting and the `Reassembly`. Must not know links or sockets. Invariant: a packet is put together
//! only when every byte of it has arrived.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shim_runtime::clock::SimTime;

use crate::packet::{Body, Packet};

/// A part of a packet, or a train of parts that no link needed to take apart. The addresses are the packet's.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Tells apart the packets between two addresses.
    pub id: u64,
    /// What the whole packet carries.
    pub whole: Arc<Body>,
    /// Where the part begins, in bytes after the header of IP.
    pub offset: usize,
    /// How many bytes it has.
    pub len: usize,
    /// The largest packet that its sender makes of it.
    pub most: usize,
}

impl Fragment {
    /// How many bytes the whole packet has after the header of IP.
    pub fn total(&self) -> usize {
        transport_len(&self.whole)
    }
}

/// How many bytes `body` takes after the header of IP.
fn transport_len(body: &Body) -> usize {
    match body {
        Body::Tcp(segment) => 20 + segment.payload.len(),
        Body::Udp(data) => 8 + data.len(),
        Body::Unreachable(_) => 36,
        Body::Fragment(part) => part.len,
    }
}

/// Makes of `packet` a train of fragments of at most `most` bytes each, with the number `id`.
pub(crate) fn train(mut packet: Box<Packet>, most: usize, id: u64) -> Box<Packet> {
    let len = transport_len(&packet.body);
    packet.body = match packet.body {
        Body::Fragment(part) => Body::Fragment(Fragment { most: part.most.min(most), ..part }),
        whole => Body::Fragment(Fragment { id, whole: Arc::new(whole), offset: 0, len, most }),
    };
    packet
}

/// Takes the first part out of a train of several.
pub(crate) fn first_part(packet: &mut Packet) -> Option<Box<Packet>> {
    let header = packet.header_len();
    let Body::Fragment(train) = &mut packet.body else { return None };
    // Parts begin at multiples of eight bytes; only the last may end elsewhere.
    let room = (train.most.saturating_sub(header) & !7).max(8);
    if header + train.len <= train.most || train.len <= room {
        return None;
    }
    let first = Fragment { len: room, ..train.clone() };
    train.offset += room;
    train.len -= room;
    Some(packet.with_body(Body::Fragment(first)))
}

/// As Linux' `net.ipv4.ipfrag_time`.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Partial {
    since: SimTime,
    /// Which bytes have arrived: from where until where.
    parts: Vec<(usize, usize)>,
    ecn: u8,
}

/// The packets of which a node has only some parts.
#[derive(Default)]
pub(crate) struct Reassembly {
    waiting: BTreeMap<(IpAddr, IpAddr, u64), Partial>,
}

impl Reassembly {
    /// A part arrived. Gives the whole packet where it was the last that was missing.
    pub(crate) fn put(&mut self, mut packet: Box<Packet>, now: SimTime) -> Option<Box<Packet>> {
        let Body::Fragment(part) = packet.body else { return Some(packet) };
        self.waiting.retain(|_, partial| now - partial.since < TIMEOUT);
        let key = (packet.source.ip(), packet.destination.ip(), part.id);
        let fresh = || Partial { since: now, parts: Vec::new(), ecn: packet.ecn };
        let partial = self.waiting.entry(key).or_insert_with(fresh);
        // RFC 3168: one mark is enough.
        partial.ecn |= packet.ecn;
        partial.parts.push((part.offset, part.offset + part.len));
        partial.parts.sort_unstable();
        let reached =
            partial.parts.iter().fold(0, |end, (from, to)| if *from <= end { end.max(*to) } else { end });
        if reached < part.total() {
            return None;
        }
        packet.ecn = self.waiting.remove(&key)?.ecn;
        packet.body = Arc::unwrap_or_clone(part.whole);
        Some(packet)
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::fabric::pieces;

    fn cut(train: Box<Packet>) -> Vec<Packet> {
        pieces(train, None).map(|part| *part).collect()
    }

    fn datagram(len: usize) -> Box<Packet> {
        Box::new(Packet {
            source: "10.0.0.1:5".parse().unwrap(),
            destination: "10.0.0.2:6".parse().unwrap(),
            ecn: 2,
            dont_fragment: false,
            body: Body::Udp(Bytes::from(vec![7; len])),
        })
    }

    #[test]
    fn parts_have_the_sizes_of_the_wire_and_come_together_in_any_order() {
        let parts = cut(train(datagram(4000), 1500, 1));
        let sizes: Vec<usize> = parts.iter().map(|part| part.header_len() + part.payload_len()).collect();
        // 4008 bytes: 1480, 1480, and the rest.
        assert_eq!(sizes, [1500, 1500, 1068]);
        let mut again = cut(train(Box::new(parts[1].clone()), 600, 9));
        assert_eq!(again.len(), 3);
        again[0].ecn = 3;
        let mut reassembly = Reassembly::default();
        let mut order = vec![parts[2].clone(), again[2].clone(), again[0].clone(), parts[0].clone()];
        order.push(parts[0].clone());
        for part in order {
            assert!(reassembly.put(Box::new(part), SimTime(0)).is_none());
        }
        let whole = reassembly.put(Box::new(again[1].clone()), SimTime(0)).unwrap();
        assert_eq!((whole.payload_len(), whole.ecn), (4000, 3));
    }

    #[test]
    fn only_the_last_part_may_end_anywhere() {
        // As Linux: 1386 bytes fit, of which 1384 are a multiple of eight; 2770 are two parts.
        let parts = cut(train(datagram(2762), 1406, 1));
        assert_eq!(parts.iter().map(Packet::payload_len).collect::<Vec<_>>(), [1384, 1386]);
    }

    #[test]
    fn what_stays_incomplete_is_forgotten() {
        let parts = cut(train(datagram(2000), 1500, 1));
        let mut reassembly = Reassembly::default();
        assert!(reassembly.put(Box::new(parts[0].clone()), SimTime(0)).is_none());
        let late = SimTime(0) + TIMEOUT;
        assert!(reassembly.put(Box::new(parts[1].clone()), late).is_none());
        assert!(reassembly.put(Box::new(parts[0].clone()), late).is_some());
        assert!(reassembly.put(train(datagram(2000), 1500, 2), late).is_some(), "a train is whole");
    }
}
