//! The form of netlink messages (netlink(7)): headers, attributes, alignment.
//!
//! Owns reading and writing them. Must not know what a message means. Invariant: whatever bytes an application sends
//! are read to their end or refused, never past it; what is written has the length that its header says.

/// `NLMSG_ALIGNTO`, and that of attributes.
const ALIGNMENT: usize = 4;
/// The size of a message's header.
pub(super) const HEADER_BYTES: usize = 16;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// The bits of an attribute's type that are flags: nested, and in network byte order.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT)
}

/// The `N` bytes from `start` on, if they are there.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..)?.first_chunk().copied()
}

/// The number at `start`, in the machine's order, if it is there.
pub(super) fn u32_at(bytes: &[u8], start: usize) -> Option<u32> {
    bytes_at(bytes, start).map(u32::from_ne_bytes)
}

/// One message that an application sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The header as it came, for an error to repeat.
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// The messages in what was sent, up to the first whose length is wrong: as Linux, that one is passed over without a
/// word.
pub(super) fn requests(bytes: &[u8]) -> Vec<Request<'_>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let len = u32_at(header, 0).unwrap_or(0) as usize;
        let Some(payload) = rest.get(HEADER_BYTES..len) else { break };
        let half = |start| bytes_at(header, start).map_or(0, u16::from_ne_bytes);
        found.push(Request {
            kind: half(4),
            flags: half(6),
            sequence: u32_at(header, 8).unwrap_or(0),
            header: &rest[..HEADER_BYTES],
            payload,
        });
        rest = rest.get(aligned(len)..).unwrap_or_default();
    }
    found
}

/// The attributes in `bytes`, and whether nothing is left that is none.
pub(super) fn attributes(bytes: &[u8]) -> (Vec<(u16, &[u8])>, bool) {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let (Some(len), Some(kind)) = (bytes_at(rest, 0), bytes_at(rest, 2)) {
        let len = usize::from(u16::from_ne_bytes(len));
        let Some(data) = rest.get(ATTRIBUTE_HEADER_BYTES..len) else { return (found, false) };
        found.push((u16::from_ne_bytes(kind) & ATTRIBUTE_TYPE_MASK, data));
        rest = rest.get(aligned(len)..).unwrap_or_default();
    }
    (found, rest.is_empty())
}

/// What a message that goes to an application says in its header beside its type.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Heading {
    pub(super) flags: u16,
    pub(super) sequence: u32,
    pub(super) port: u32,
}

/// A message that goes to an application.
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(kind: u16, heading: Heading) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(heading.flags.to_ne_bytes());
        bytes.extend(heading.sequence.to_ne_bytes());
        bytes.extend(heading.port.to_ne_bytes());
        Message(bytes)
    }

    /// Adds bytes, up to the next boundary.
    pub(super) fn put(mut self, bytes: &[u8]) -> Message {
        self.0.extend(bytes);
        self.0.resize(aligned(self.0.len()), 0);
        self
    }

    /// Adds an attribute.
    pub(super) fn attribute(self, kind: u16, data: &[u8]) -> Message {
        let len = (ATTRIBUTE_HEADER_BYTES + data.len()) as u16;
        self.put(&[&len.to_ne_bytes()[..], &kind.to_ne_bytes(), data].concat())
    }

    /// Adds an attribute that is a number.
    pub(super) fn number(self, kind: u16, value: u32) -> Message {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds an attribute that is a text, with the zero at its end.
    pub(super) fn text(self, kind: u16, text: &str) -> Message {
        self.attribute(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// The bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let heading = Heading { flags: 5, sequence: 9, port: 7 };
        let one = Message::new(18, heading).put(&[1, 2, 3]).text(3, "lo").number(4, 1500).finish();
        let two = Message::new(22, heading).finish();
        let all = [one, two].concat();
        let found = requests(&all);
        assert_eq!(
            found.iter().map(|r| (r.kind, r.flags, r.sequence)).collect::<Vec<_>>(),
            [(18, 5, 9), (22, 5, 9)]
        );
        assert_eq!(found[0].payload[..4], [1, 2, 3, 0]);
        let (read, whole) = attributes(&found[0].payload[4..]);
        assert!(whole);
        assert_eq!(read, [(3, &b"lo\0"[..]), (4, &1500_u32.to_ne_bytes())]);
    }

    #[test]
    fn wrong_lengths_end_it() {
        let mut message = Message::new(18, Heading::default()).put(&[0; 16]).finish();
        for len in [0_u32, 4, 15, 33, u32::MAX] {
            message[..4].copy_from_slice(&len.to_ne_bytes());
            assert!(requests(&message).is_empty(), "{len}");
        }
        for wrong in [&[3, 0, 1, 0][..], &[9, 0, 1, 0, 0], &[1, 2]] {
            assert_eq!(attributes(wrong), (Vec::new(), false));
        }
    }
}
