//! Trains: segments, or fragments, that left as one packet, as with the offloads of a network card.
//!
//! Owns how they are taken apart. Must not know links. Invariant: the parts are what would have been sent one by one.

use crate::fragment;
use crate::packet::{Body, Flags, Packet, Segment};

/// Takes a train apart, as a network card does, and lowers the segment size of a handshake to what fits into `mtu`, as
/// routers do.
pub(crate) fn pieces(mut packet: Box<Packet>, mtu: Option<usize>) -> impl Iterator<Item = Box<Packet>> {
    let headers = packet.header_len();
    if let (Body::Tcp(segment), Some(mtu)) = (&mut packet.body, mtu)
        && segment.flags.has(Flags::SYN)
    {
        segment.mss = segment.mss.min(mtu.saturating_sub(headers).clamp(88, u16::MAX.into()) as u16);
    }
    let mut rest = Some(packet);
    std::iter::from_fn(move || {
        let train = rest.as_mut()?;
        let first = first_segment(train).or_else(|| fragment::first_part(train));
        first.or_else(|| rest.take())
    })
}

/// Takes the first segment out of a train of several.
fn first_segment(train: &mut Packet) -> Option<Box<Packet>> {
    let Body::Tcp(segment) = &mut train.body else { return None };
    let size = usize::from(segment.mss).max(1);
    if segment.flags.has(Flags::SYN) || segment.payload.len() <= size {
        return None;
    }
    let payload = segment.payload.split_to(size);
    let flags = segment.flags.without(Flags::FIN);
    let first = Segment { flags, payload, sack: segment.sack.clone(), ..*segment };
    segment.seq += size as u64;
    // RFC 3168, section 6.1.2: only the first one says that the window was reduced.
    segment.flags = segment.flags.without(Flags::CWR);
    Some(train.with_body(Body::Tcp(first)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn flags_that_are_about_one_place_stay_there() {
        let flags = Flags::ACK.with(Flags::ECE).with(Flags::CWR).with(Flags::FIN);
        let payload = Bytes::from_static(b"abcdefgh");
        let segment = Segment { seq: 5, ack: 9, window: 1, flags, mss: 3, sack: Vec::new(), payload };
        let train = Box::new(Packet {
            source: "10.0.0.1:5".parse().unwrap(),
            destination: "10.0.0.2:6".parse().unwrap(),
            ecn: 2,
            dont_fragment: true,
            body: Body::Tcp(segment),
        });
        let parts: Vec<_> = pieces(train, None)
            .map(|part| match &part.body {
                Body::Tcp(part) => (part.seq, format!("{:?}", part.flags), part.payload.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [(5, ".EW", "abc"), (8, ".E", "def"), (11, "F.E", "gh")];
        assert_eq!(parts, expected.map(|(seq, flags, data)| (seq, flags.to_owned(), Bytes::from(data))));
    }
}
