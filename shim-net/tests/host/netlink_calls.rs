//! Netlink by libc's calls alone: sockets, requests, and a reader of answers that checks their form.
//!
//! Owns no test. Must not know the simulation. Invariant: an answer whose lengths do not add up fails the test.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, sockaddr_nl, socklen_t};

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) port: u32,
    pub(crate) payload: Vec<u8>,
}

fn u16_at(bytes: &[u8], start: usize) -> u16 {
    u16::from_ne_bytes(bytes[start..start + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], start: usize) -> u32 {
    u32::from_ne_bytes(bytes[start..start + 4].try_into().unwrap())
}

impl Reply {
    pub(crate) fn number_at(&self, start: usize) -> u32 {
        u32_at(&self.payload, start)
    }

    /// The first attribute of a kind.
    pub(crate) fn attribute(&self, kind: u16) -> Option<Vec<u8>> {
        let header = match self.kind {
            16..=19 => 16,
            20..=23 => 8,
            24..=27 => 12,
            other => panic!("type {other} has no attributes"),
        };
        let mut rest = &self.payload[header..];
        while !rest.is_empty() {
            let len = usize::from(u16_at(rest, 0));
            assert!(len >= 4 && len <= rest.len(), "an attribute of {len} in {}", rest.len());
            if u16_at(rest, 2) & 0x3fff == kind {
                return Some(rest[4..len].to_vec());
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        None
    }

    pub(crate) fn number(&self, kind: u16) -> u32 {
        u32_at(&self.attribute(kind).unwrap_or_else(|| panic!("attribute {kind} of {self:?}")), 0)
    }

    pub(crate) fn text(&self, kind: u16) -> String {
        let bytes = self.attribute(kind).unwrap();
        assert_eq!(bytes.last(), Some(&0));
        String::from_utf8(bytes[..bytes.len() - 1].to_vec()).unwrap()
    }

    pub(crate) fn ip(&self, kind: u16) -> Option<IpAddr> {
        let bytes = self.attribute(kind)?;
        match bytes.len() {
            4 => Some(<[u8; 4]>::try_from(&bytes[..]).unwrap().into()),
            _ => Some(<[u8; 16]>::try_from(&bytes[..]).unwrap().into()),
        }
    }
}

/// The messages of a datagram.
pub(crate) fn parse(datagram: &[u8]) -> Vec<Reply> {
    let mut all = Vec::new();
    let mut rest = datagram;
    while !rest.is_empty() {
        let len = u32_at(rest, 0) as usize;
        assert!(len >= 16 && len <= rest.len(), "a message of {len} in {}", rest.len());
        all.push(Reply {
            kind: u16_at(rest, 4),
            flags: u16_at(rest, 6),
            sequence: u32_at(rest, 8),
            port: u32_at(rest, 12),
            payload: rest[16..len].to_vec(),
        });
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// A message.
pub(crate) fn request(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes
}

pub(crate) fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let len = (4 + data.len()) as u16;
    let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `ifinfomsg`.
pub(crate) fn link_info(number: u32) -> Vec<u8> {
    [&[0; 4][..], &number.to_ne_bytes(), &[0; 8]].concat()
}

/// `ifaddrmsg`.
pub(crate) fn address_info(family: c_int, number: u32) -> Vec<u8> {
    [&[family as u8, 0, 0, 0][..], &number.to_ne_bytes()].concat()
}

/// `rtmsg`.
pub(crate) fn route_info(family: c_int, prefix_len: u8) -> Vec<u8> {
    [&[family as u8, prefix_len][..], &[0; 10]].concat()
}

/// What one call received.
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    /// What the call returned.
    pub(crate) len: usize,
    pub(crate) was_cut: bool,
    pub(crate) from_port: u32,
    pub(crate) from_groups: u32,
    /// The group of `NETLINK_PKTINFO`.
    pub(crate) packet_info: Option<u32>,
}

/// A socket; errors are their numbers.
pub(crate) struct Socket(OwnedFd);

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn checked(result: isize) -> Result<usize, c_int> {
    usize::try_from(result).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap())
}

fn address(port: u32, groups: u32) -> sockaddr_nl {
    // SAFETY: zeros are an address.
    let mut address: sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as u16;
    address.nl_pid = port;
    address.nl_groups = groups;
    address
}

const ADDRESS_BYTES: socklen_t = size_of::<sockaddr_nl>() as socklen_t;

impl Socket {
    pub(crate) fn open(kind: c_int, protocol: c_int) -> Result<Socket, c_int> {
        // SAFETY: the call has no pointers, and the number is nobody else's.
        unsafe {
            let fd = checked(libc::socket(libc::AF_NETLINK, kind, protocol) as isize)?;
            Ok(Socket(OwnedFd::from_raw_fd(fd as RawFd)))
        }
    }

    pub(crate) fn new(kind: c_int) -> Socket {
        Socket::open(kind | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE).unwrap()
    }

    pub(crate) fn bind(&self, port: u32, groups: u32) -> Result<(), c_int> {
        let own = address(port, groups);
        // SAFETY: the address is valid to read.
        let result = unsafe { libc::bind(self.as_raw_fd(), (&raw const own).cast(), ADDRESS_BYTES) };
        checked(result as isize).map(drop)
    }

    pub(crate) fn connect(&self, port: u32, groups: u32) -> Result<(), c_int> {
        let peer = address(port, groups);
        // SAFETY: the address is valid to read.
        let result = unsafe { libc::connect(self.as_raw_fd(), (&raw const peer).cast(), ADDRESS_BYTES) };
        checked(result as isize).map(drop)
    }

    fn named(
        &self,
        call: unsafe extern "C" fn(c_int, *mut libc::sockaddr, *mut socklen_t) -> c_int,
    ) -> (u32, u32) {
        let (mut own, mut len) = (address(0, 0), ADDRESS_BYTES);
        // SAFETY: the address and its length are valid to write.
        let result = unsafe { call(self.as_raw_fd(), (&raw mut own).cast(), &mut len) };
        checked(result as isize).unwrap();
        assert_eq!((i32::from(own.nl_family), len), (libc::AF_NETLINK, ADDRESS_BYTES));
        (own.nl_pid, own.nl_groups)
    }

    pub(crate) fn name(&self) -> (u32, u32) {
        self.named(libc::getsockname)
    }

    pub(crate) fn peer(&self) -> (u32, u32) {
        self.named(libc::getpeername)
    }

    pub(crate) fn option(&self, level: c_int, option: c_int) -> Result<c_int, c_int> {
        let (mut value, mut len) = (0_i64, 8);
        // SAFETY: the value and its length are valid to write.
        let result =
            unsafe { libc::getsockopt(self.as_raw_fd(), level, option, (&raw mut value).cast(), &mut len) };
        checked(result as isize).map(|_| value as c_int)
    }

    pub(crate) fn set_option(&self, level: c_int, option: c_int, value: c_int) -> Result<(), c_int> {
        // SAFETY: the value is valid to read.
        let result =
            unsafe { libc::setsockopt(self.as_raw_fd(), level, option, (&raw const value).cast(), 4) };
        checked(result as isize).map(drop)
    }

    pub(crate) fn listen(&self) -> Result<(), c_int> {
        // SAFETY: the call has no pointers.
        checked(unsafe { libc::listen(self.as_raw_fd(), 1) } as isize).map(drop)
    }

    pub(crate) fn shutdown(&self) -> Result<(), c_int> {
        // SAFETY: the call has no pointers.
        checked(unsafe { libc::shutdown(self.as_raw_fd(), libc::SHUT_RDWR) } as isize).map(drop)
    }

    /// To the kernel.
    pub(crate) fn send(&self, data: &[u8]) -> Result<usize, c_int> {
        let kernel = address(0, 0);
        // SAFETY: the data and the address are valid to read.
        let result = unsafe {
            let to = (&raw const kernel).cast();
            libc::sendto(self.as_raw_fd(), data.as_ptr().cast(), data.len(), 0, to, ADDRESS_BYTES)
        };
        checked(result)
    }

    pub(crate) fn receive(&self, room: usize, flags: c_int) -> Result<Datagram, c_int> {
        let (mut bytes, mut control, mut from) = (vec![0_u8; room], [0_u64; 16], address(9, 9));
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: room };
        // SAFETY: all that the message points to is valid to write, and control messages are read within their room.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_name = (&raw mut from).cast();
            message.msg_namelen = ADDRESS_BYTES;
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control) as _;
            let len = checked(libc::recvmsg(self.as_raw_fd(), &mut message, flags))?;
            assert_eq!(message.msg_namelen, ADDRESS_BYTES);
            bytes.truncate(len);
            let found = libc::CMSG_FIRSTHDR(&message).as_ref().map(|header| {
                assert_eq!((header.cmsg_level, header.cmsg_type), (libc::SOL_NETLINK, libc::NETLINK_PKTINFO));
                libc::CMSG_DATA(header).cast::<u32>().read_unaligned()
            });
            let was_cut = message.msg_flags & libc::MSG_TRUNC != 0;
            let (from_port, from_groups) = (from.nl_pid, from.nl_groups);
            Ok(Datagram { bytes, len, was_cut, from_port, from_groups, packet_info: found })
        }
    }

    /// The messages of the next datagram, for which it waits.
    pub(crate) fn read(&self) -> Result<Vec<Reply>, c_int> {
        self.receive(1 << 16, 0).map(|datagram| parse(&datagram.bytes))
    }

    /// As [`Socket::read`], without waiting.
    pub(crate) fn read_now(&self) -> Result<Vec<Reply>, c_int> {
        self.receive(1 << 16, libc::MSG_DONTWAIT).map(|datagram| parse(&datagram.bytes))
    }

    /// What `poll(2)` shows.
    pub(crate) fn poll(&self) -> i16 {
        let events = libc::POLLIN | libc::POLLOUT;
        let mut entry = libc::pollfd { fd: self.as_raw_fd(), events, revents: 0 };
        // SAFETY: the entry is valid to write.
        assert!(unsafe { libc::poll(&mut entry, 1, 0) } >= 0);
        entry.revents
    }
}
