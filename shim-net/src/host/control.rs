//! Control messages: what `sendmsg` and `recvmsg` carry beside data.
//!
//! Owns their form. Must not call anybody, nor know sockets. Invariant: nothing is read or written outside
//! the bytes that the caller lent, whatever lengths they claim.

use libc::{c_int, cmsghdr};

use super::address::array;
use crate::error::{Errno, Result};

const LENGTH_BYTES: usize = size_of::<usize>();
const INT_BYTES: usize = size_of::<c_int>();
/// The header: its length, level and kind.
const HEADER_BYTES: usize = size_of::<cmsghdr>();

/// One control message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Control<'a> {
    pub(super) level: c_int,
    pub(super) kind: c_int,
    pub(super) data: &'a [u8],
}

impl Control<'_> {
    /// The number that the message is.
    pub(super) fn number(&self) -> Result<c_int> {
        if self.data.len() == INT_BYTES {
            Ok(c_int::from_ne_bytes(array(self.data, 0)))
        } else {
            Err(Errno::EINVAL)
        }
    }

    /// The number that the message is, where it may be a single byte.
    pub(super) fn byte_or_number(&self) -> Result<c_int> {
        if let [byte] = self.data { Ok((*byte).into()) } else { self.number() }
    }
}

/// The messages in `bytes`.
///
/// # Errors
/// `EINVAL` where one is shorter than its header or longer than what is left, as the kernel has it.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Control<'_>>> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while rest.len() >= HEADER_BYTES {
        let length = usize::from_ne_bytes(array(rest, 0));
        if length < HEADER_BYTES || length > rest.len() {
            return Err(Errno::EINVAL);
        }
        messages.push(Control {
            level: c_int::from_ne_bytes(array(rest, LENGTH_BYTES)),
            kind: c_int::from_ne_bytes(array(rest, LENGTH_BYTES + INT_BYTES)),
            data: &rest[HEADER_BYTES..length],
        });
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Ok(messages)
}

/// Writes messages into the room that a caller has for them.
pub(super) struct Writer<'a> {
    room: &'a mut [u8],
    used: usize,
    /// Whether there was no room for all (`MSG_CTRUNC`).
    pub(super) truncated: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(room: &'a mut [u8]) -> Writer<'a> {
        Writer { room, used: 0, truncated: false }
    }

    /// How much of the room is used, which becomes `msg_controllen`.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Adds a message; one that does not fit is cut, as the kernel does, or left out.
    pub(super) fn add(&mut self, message: &Control<'_>) {
        let room = &mut self.room[self.used..];
        if room.len() < HEADER_BYTES {
            self.truncated = true;
            return;
        }
        let data = message.data.len().min(room.len() - HEADER_BYTES);
        self.truncated |= data < message.data.len();
        let length = HEADER_BYTES + data;
        room[..LENGTH_BYTES].copy_from_slice(&length.to_ne_bytes());
        room[LENGTH_BYTES..][..INT_BYTES].copy_from_slice(&message.level.to_ne_bytes());
        room[LENGTH_BYTES + INT_BYTES..][..INT_BYTES].copy_from_slice(&message.kind.to_ne_bytes());
        room[HEADER_BYTES..length].copy_from_slice(&message.data[..data]);
        self.used += aligned(length).min(room.len());
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(LENGTH_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: [Control<'_>; 4] = [
        Control { level: 0, kind: 1, data: &[7] },
        Control { level: 41, kind: 67, data: &[1, 2, 3, 4] },
        Control { level: -1, kind: 0, data: &[] },
        Control { level: 1, kind: 2, data: &[9; 20] },
    ];

    fn written(room: &mut [u8]) -> (usize, bool) {
        let mut writer = Writer::new(room);
        SAMPLES.iter().for_each(|message| writer.add(message));
        (writer.used(), writer.truncated)
    }

    #[test]
    fn messages_come_back_equal() {
        let mut room = [0; 200];
        let (used, truncated) = written(&mut room);
        assert!(!truncated);
        assert_eq!(parse(&room[..used]), Ok(SAMPLES.to_vec()));
    }

    #[test]
    fn any_room_holds_a_beginning_of_the_messages() {
        let full = written(&mut [0; 200]).0;
        for size in 0..200 {
            let mut room = vec![0; size];
            let (used, truncated) = written(&mut room);
            assert!(used <= size);
            assert_eq!(truncated, size < full - 4, "{size}");
            let found = parse(&room[..used]).unwrap();
            for (message, sample) in found.iter().zip(&SAMPLES) {
                assert_eq!((message.level, message.kind), (sample.level, sample.kind));
                assert!(sample.data.starts_with(message.data));
            }
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let mut room = [0; 200];
        let (used, _) = written(&mut room);
        for length in (0..HEADER_BYTES).chain([used + 1, usize::MAX]) {
            room[..LENGTH_BYTES].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&room[..used]), Err(Errno::EINVAL), "{length}");
        }
        assert_eq!(parse(&room[..HEADER_BYTES - 1]), Ok(Vec::new()));
    }

    #[test]
    fn numbers_come_as_bytes_and_as_words() {
        assert_eq!(SAMPLES[0].byte_or_number(), Ok(7));
        assert_eq!(SAMPLES[0].number(), Err(Errno::EINVAL));
        assert_eq!(SAMPLES[1].number(), Ok(i32::from_ne_bytes([1, 2, 3, 4])));
        assert_eq!(SAMPLES[2].number(), Err(Errno::EINVAL));
    }
}
