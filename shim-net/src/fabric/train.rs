//! Trains: segments, or fragments, that left as one packet, as with the offloads of a network card.
//!
//! Owns how they are taken apart. Must not know links. Invariant: the parts are what would have been sent one by one.

use crate::fragment;
use crate::packet::{Body, Flags, Packet};

/// Takes a train of TCP segments or of fragments apart, as a network card does, and lowers the segment size of a
/// handshake to what fits into `mtu`, as routers do.
pub(crate) fn pieces(mut packet: Box<Packet>, mtu: Option<usize>) -> Vec<Box<Packet>> {
    let headers = packet.header_len();
    let Body::Tcp(segment) = &mut packet.body else { return fragment::cut(packet) };
    let most = mtu.map_or(u16::MAX, |mtu| mtu.saturating_sub(headers).clamp(88, u16::MAX.into()) as u16);
    if segment.flags.has(Flags::SYN) {
        segment.mss = segment.mss.min(most);
        return vec![packet];
    }
    let size = usize::from(segment.mss).max(1);
    if segment.payload.len() <= size {
        return vec![packet];
    }
    let whole = std::mem::take(&mut segment.payload);
    let mut result = Vec::with_capacity(whole.len().div_ceil(size));
    for start in (0..whole.len()).step_by(size) {
        let end = (start + size).min(whole.len());
        let mut piece = packet.clone();
        if let Body::Tcp(part) = &mut piece.body {
            part.seq += start as u64;
            part.payload = whole.slice(start..end);
            if start > 0 {
                // RFC 3168, section 6.1.2: on the first segment that is sent after the window was reduced.
                part.flags = part.flags.without(Flags::CWR);
            }
            if end < whole.len() {
                part.flags = part.flags.without(Flags::FIN);
            }
        }
        result.push(piece);
    }
    result
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::packet::Segment;

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
            .iter()
            .map(|part| match &part.body {
                Body::Tcp(part) => (part.seq, format!("{:?}", part.flags), part.payload.clone()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [(5, ".EW", "abc"), (8, ".E", "def"), (11, "F.E", "gh")];
        assert_eq!(parts, expected.map(|(seq, flags, data)| (seq, flags.to_owned(), Bytes::from(data))));
    }
}
