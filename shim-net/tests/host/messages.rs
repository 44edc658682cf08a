//! `sendmsg`, `sendmmsg` and `recvmmsg` with control messages, as calls of a [`Machine`].
//!
//! Owns [`Extra`], what is sent along, and the text of what comes. Must not know which world it is in. Invariant:
//! control messages are shown in the order in which they came.

use std::fmt::Write as _;

use libc::{c_int, cmsghdr, iovec, mmsghdr, msghdr};

use super::{Machine, Place, contents, shown};

/// A control message of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extra {
    Nothing,
    Tos(c_int),
    TosByte(u8),
    Class(c_int),
    Ttl(c_int),
    Segment(u16),
    WideSegment(c_int),
    /// `IP_PKTINFO` with the sequence's own address as source, or one that nobody has.
    Info(bool),
    /// The same with a byte too few.
    ShortInfo,
    Unknown(c_int, c_int),
}

/// Room for messages, aligned as they must be.
type Room = [u64; 32];
const ROOM_BYTES: usize = size_of::<Room>();
const BATCH: usize = 8;

impl Machine {
    fn control(&self, extra: Extra) -> Option<(c_int, c_int, Vec<u8>)> {
        let ip = |kind, data: Vec<u8>| Some((libc::IPPROTO_IP, kind, data));
        match extra {
            Extra::Nothing => None,
            Extra::Tos(value) => ip(libc::IP_TOS, value.to_ne_bytes().to_vec()),
            Extra::TosByte(value) => ip(libc::IP_TOS, vec![value]),
            Extra::Ttl(value) => ip(libc::IP_TTL, value.to_ne_bytes().to_vec()),
            Extra::Class(value) => {
                Some((libc::IPPROTO_IPV6, libc::IPV6_TCLASS, value.to_ne_bytes().to_vec()))
            }
            Extra::Segment(size) => Some((libc::SOL_UDP, libc::UDP_SEGMENT, size.to_ne_bytes().to_vec())),
            Extra::WideSegment(size) => Some((libc::SOL_UDP, libc::UDP_SEGMENT, size.to_ne_bytes().to_vec())),
            Extra::Info(own) => {
                let source = if own { self.own_ip() } else { [198, 51, 100, 7] };
                ip(libc::IP_PKTINFO, [[0; 4], source, [0; 4]].concat())
            }
            Extra::ShortInfo => ip(libc::IP_PKTINFO, vec![0; 11]),
            Extra::Unknown(level, kind) => Some((level, kind, vec![0; 4])),
        }
    }

    /// Sends `times` datagrams of `len` bytes by one call.
    pub(super) fn tell(
        &mut self,
        fd: usize,
        len: usize,
        to: Place,
        extra: [Extra; 2],
        times: usize,
    ) -> String {
        let data = self.data(len);
        let mut address = self.address(to);
        address.resize(128, 0);
        let name_len = if i32::from(address[0]) == libc::AF_INET { 16 } else { 28 };
        let mut room: Room = [0; 32];
        let mut used = 0;
        for (level, kind, data) in extra.into_iter().filter_map(|extra| self.control(extra)) {
            used += append(&mut room, used, level, kind, &data);
        }
        let mut vector = iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: len };
        // SAFETY: all zero is a valid header.
        let mut header: msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = address.as_mut_ptr().cast();
        header.msg_namelen = name_len;
        (header.msg_iov, header.msg_iovlen) = (&raw mut vector, 1);
        if used > 0 {
            (header.msg_control, header.msg_controllen) = (room.as_mut_ptr().cast(), used);
        }
        if times == 1 {
            // SAFETY: all that the header points to lives until after the call.
            return shown(unsafe { libc::sendmsg(self.fd(fd), &raw const header, libc::MSG_NOSIGNAL) });
        }
        let mut all = vec![mmsghdr { msg_hdr: header, msg_len: 0 }; times];
        // SAFETY: as above, for each header.
        let result =
            unsafe { libc::sendmmsg(self.fd(fd), all.as_mut_ptr(), times as u32, libc::MSG_NOSIGNAL) };
        let sizes: Vec<_> = all.iter().map(|entry| entry.msg_len).collect();
        format!("{} {sizes:?}", shown(result as isize))
    }

    /// Receives what is there, up to eight datagrams by one call, each with room for `len` bytes.
    pub(super) fn hear(&mut self, fd: usize, len: usize, control_bytes: usize) -> String {
        let mut spaces = vec![vec![0u8; len]; BATCH];
        let (mut rooms, mut names) = ([[0u64; 32]; BATCH], [[0u64; 32]; BATCH]);
        let mut vectors: Vec<_> = spaces
            .iter_mut()
            .map(|space| iovec { iov_base: space.as_mut_ptr().cast(), iov_len: len })
            .collect();
        let mut all: Vec<mmsghdr> = (0..BATCH)
            .map(|place| {
                // SAFETY: all zero is a valid header.
                let mut header: msghdr = unsafe { std::mem::zeroed() };
                (header.msg_name, header.msg_namelen) = (names[place].as_mut_ptr().cast(), 128);
                (header.msg_iov, header.msg_iovlen) = (&raw mut vectors[place], 1);
                (header.msg_control, header.msg_controllen) =
                    (rooms[place].as_mut_ptr().cast(), control_bytes.min(ROOM_BYTES));
                mmsghdr { msg_hdr: header, msg_len: 0 }
            })
            .collect();
        // SAFETY: all that the headers point to lives until after the call.
        let result =
            unsafe { libc::recvmmsg(self.fd(fd), all.as_mut_ptr(), BATCH as u32, 0, std::ptr::null_mut()) };
        let mut text = shown(result as isize);
        for place in 0..usize::try_from(result).unwrap_or(0) {
            let (header, count) = (&all[place].msg_hdr, all[place].msg_len as isize);
            let from = self.show_address(&names[place], header.msg_namelen);
            let flags = header.msg_flags;
            write!(text, " | {count} {} from {from} flags {flags:#x}", contents(&spaces[place], count))
                .unwrap();
            for (level, kind, data) in controls(&rooms[place], header.msg_controllen) {
                write!(text, " ({level},{kind}) {data:?}").unwrap();
            }
        }
        text
    }
}

/// Adds a control message at `start`; how much room it takes.
fn append(room: &mut Room, start: usize, level: c_int, kind: c_int, data: &[u8]) -> usize {
    let header = size_of::<cmsghdr>();
    let length = header + data.len();
    let bytes = [&length.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), data].concat();
    for (place, byte) in bytes.iter().enumerate() {
        room[(start + place) / 8] |= u64::from(*byte) << (8 * ((start + place) % 8));
    }
    length.next_multiple_of(8)
}

/// The control messages in the first `used` bytes of `room`.
fn controls(room: &Room, used: usize) -> Vec<(c_int, c_int, Vec<u8>)> {
    let bytes: Vec<u8> = room.iter().flat_map(|word| word.to_ne_bytes()).take(used).collect();
    let number = |at: usize| c_int::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut found = Vec::new();
    let mut at = 0;
    while at + size_of::<cmsghdr>() <= bytes.len() {
        let length = usize::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        found.push((
            number(at + 8),
            number(at + 12),
            bytes[at + 16..(at + length).min(bytes.len())].to_vec(),
        ));
        at += length.next_multiple_of(8);
    }
    found
}
