//! `sockaddr`: addresses in the kernel's form.
//!
//! Owns both ways between [`Addr`] and bytes. Must not call anybody. Invariant: what was put into bytes comes
//! back equal; bytes that are too short are refused, never read past.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{sa_family_t, sockaddr, socklen_t};

use crate::error::{Errno, Result};
use crate::sys::{Addr, UnixAddr};

/// The size of the largest address.
pub(super) const SOCKADDR_BYTES_MAX: usize = size_of::<libc::sockaddr_storage>();
const INET_BYTES: usize = size_of::<libc::sockaddr_in>();
const INET6_BYTES: usize = size_of::<libc::sockaddr_in6>();
const UNIX_BYTES: usize = size_of::<libc::sockaddr_un>();
/// An IPv6 address without its scope, which Linux takes too.
const INET6_BYTES_MIN: usize = 24;
/// `sockaddr_nl`.
pub(super) const NETLINK_BYTES: usize = 12;
const FAMILY_BYTES: usize = size_of::<sa_family_t>();

/// An address in the kernel's form.
pub(super) struct Wire {
    bytes: [u8; SOCKADDR_BYTES_MAX],
    len: usize,
}

impl Wire {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn new(family: i32) -> Wire {
        let mut wire = Wire { bytes: [0; SOCKADDR_BYTES_MAX], len: 0 };
        wire.put(&(family as sa_family_t).to_ne_bytes());
        wire
    }

    fn put(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }
}

/// Puts an address into bytes.
pub(super) fn encode(address: &Addr) -> Wire {
    match address {
        Addr::Inet(SocketAddr::V4(v4)) => {
            let mut wire = Wire::new(libc::AF_INET);
            wire.put(&v4.port().to_be_bytes());
            wire.put(&v4.ip().octets());
            wire.put(&[0; INET_BYTES - 8]);
            wire
        }
        Addr::Inet(SocketAddr::V6(v6)) => {
            let mut wire = Wire::new(libc::AF_INET6);
            wire.put(&v6.port().to_be_bytes());
            wire.put(&v6.flowinfo().to_ne_bytes());
            wire.put(&v6.ip().octets());
            wire.put(&v6.scope_id().to_ne_bytes());
            wire
        }
        Addr::Netlink { port, groups } => {
            let mut wire = Wire::new(libc::AF_NETLINK);
            wire.put(&[0; 2]);
            wire.put(&port.to_ne_bytes());
            wire.put(&groups.to_ne_bytes());
            wire
        }
        Addr::Unix(name) => {
            let mut wire = Wire::new(libc::AF_UNIX);
            match name {
                UnixAddr::Unnamed => {}
                UnixAddr::Path(path) => {
                    wire.put(path);
                    wire.put(&[0]);
                }
                UnixAddr::Abstract(name) => {
                    wire.put(&[0]);
                    wire.put(name);
                }
            }
            wire
        }
    }
}

/// Reads an address.
///
/// # Errors
/// `EINVAL` where it is too short or too long; `EAFNOSUPPORT` where the family is not simulated.
pub(super) fn decode(bytes: &[u8]) -> Result<Addr> {
    let Some(family) = bytes.first_chunk::<FAMILY_BYTES>() else { return Err(Errno::EINVAL) };
    match i32::from(sa_family_t::from_ne_bytes(*family)) {
        libc::AF_INET if bytes.len() >= INET_BYTES => {
            let address = SocketAddrV4::new(array::<4>(bytes, 4).into(), port(bytes));
            Ok(Addr::Inet(address.into()))
        }
        libc::AF_INET6 if bytes.len() >= INET6_BYTES_MIN => {
            let flow = u32::from_ne_bytes(array(bytes, 4));
            let scope = if bytes.len() >= INET6_BYTES { u32::from_ne_bytes(array(bytes, 24)) } else { 0 };
            let address = SocketAddrV6::new(array::<16>(bytes, 8).into(), port(bytes), flow, scope);
            Ok(Addr::Inet(address.into()))
        }
        libc::AF_UNIX if bytes.len() <= UNIX_BYTES => Ok(Addr::Unix(match &bytes[FAMILY_BYTES..] {
            [] => UnixAddr::Unnamed,
            [0, name @ ..] => UnixAddr::Abstract(name.to_vec()),
            path => UnixAddr::Path(path.split(|byte| *byte == 0).next().unwrap_or(path).to_vec()),
        })),
        libc::AF_NETLINK if bytes.len() >= NETLINK_BYTES => {
            let number = |start| u32::from_ne_bytes(array(bytes, start));
            Ok(Addr::Netlink { port: number(4), groups: number(8) })
        }
        libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX | libc::AF_NETLINK => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The address of a control message or a DNS answer, as bytes.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn port(bytes: &[u8]) -> u16 {
    u16::from_be_bytes(array(bytes, 2))
}

/// The `N` bytes from `start` on, which the caller knows to be there.
pub(super) fn array<const N: usize>(bytes: &[u8], start: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[start..start + N]);
    array
}

/// Reads the address that a caller gave.
///
/// # Errors
/// As [`decode`]; `EFAULT` would be the kernel's for a null pointer, here `EINVAL`.
///
/// # Safety
/// `address` is null or valid to read for `len` bytes.
pub(super) unsafe fn read(address: *const sockaddr, len: socklen_t) -> Result<Addr> {
    if address.is_null() || len as usize > SOCKADDR_BYTES_MAX {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller vouches for the bytes.
    decode(unsafe { std::slice::from_raw_parts(address.cast::<u8>(), len as usize) })
}

/// Writes an address to where a caller wants it: cut to the room that there is, with its full length.
///
/// # Safety
/// `out` is null, or valid to write for `*len` bytes and `len` for a number.
pub(super) unsafe fn write(address: Option<&Addr>, out: *mut sockaddr, len: *mut socklen_t) {
    if out.is_null() || len.is_null() {
        return;
    }
    let wire = address.map(encode);
    let bytes = wire.as_ref().map_or(&[][..], Wire::bytes);
    // SAFETY: the caller vouches for `*len` bytes at `out`, and no more are written.
    unsafe {
        let room = bytes.len().min(*len as usize);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), out.cast::<u8>(), room);
        *len = bytes.len() as socklen_t;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Addr> {
        let mut samples = vec![
            Addr::Inet("1.2.3.4:5".parse().unwrap()),
            Addr::Inet("[2001:db8::1]:65535".parse().unwrap()),
            Addr::Inet(SocketAddrV6::new(1u128.into(), 80, 7, 9).into()),
            Addr::Netlink { port: 7, groups: 0x8000_0001 },
            Addr::Unix(UnixAddr::Unnamed),
            Addr::Unix(UnixAddr::Abstract(Vec::new())),
            Addr::Unix(UnixAddr::Abstract(b"a\0b".to_vec())),
        ];
        samples.extend((1..108).map(|len| Addr::Unix(UnixAddr::Path(vec![b'p'; len]))));
        samples.extend((0..108).map(|len| Addr::Unix(UnixAddr::Abstract(vec![0; len]))));
        samples
    }

    #[test]
    fn addresses_come_back_equal() {
        for address in samples() {
            assert_eq!(decode(encode(&address).bytes()), Ok(address));
        }
    }

    #[test]
    fn the_forms_are_those_of_libc() {
        assert_eq!(encode(&Addr::Inet("1.2.3.4:258".parse().unwrap())).bytes()[2..8], [1, 2, 1, 2, 3, 4]);
        assert_eq!(encode(&samples()[0]).bytes().len(), INET_BYTES);
        assert_eq!(encode(&samples()[1]).bytes().len(), INET6_BYTES);
        assert_eq!(encode(&Addr::Unix(UnixAddr::Unnamed)).bytes().len(), 2);
        assert_eq!(encode(&Addr::Unix(UnixAddr::Path(b"/x".to_vec()))).bytes().len(), 5);
    }

    #[test]
    fn every_prefix_is_read_or_refused() {
        for address in samples() {
            let wire = encode(&address);
            for len in 0..wire.bytes().len() {
                let cut = decode(&wire.bytes()[..len]);
                let least = match address {
                    Addr::Unix(_) => FAMILY_BYTES,
                    Addr::Netlink { .. } => NETLINK_BYTES,
                    Addr::Inet(_) => INET_BYTES,
                };
                assert!(len >= least || cut == Err(Errno::EINVAL), "{address:?} cut to {len}: {cut:?}");
            }
        }
        assert_eq!(decode(&[0; 16]), Err(Errno::EAFNOSUPPORT));
        assert_eq!(decode(&[libc::AF_UNIX as u8; 111]), Err(Errno::EAFNOSUPPORT));
    }
}
