//! Which address a call takes of which socket, and what it says to another one.
//!
//! Owns the checks that Linux makes of an address before it looks at anything else, which are different for each
//! protocol and each call. Must not call anybody but `sys`. Invariant: what goes on from here is of the socket's
//! family.

use std::io;
use std::net::{IpAddr, SocketAddr};

use libc::{sockaddr, socklen_t};

use super::address::{self, SOCKADDR_BYTES_MAX};
use super::refuse;
use crate::error::Errno;
use crate::sys::{self, Addr, Domain, Kind, Name, SocketId, UnixAddr, Value};

const INET_BYTES: usize = size_of::<libc::sockaddr_in>();
const INET6_BYTES_MIN: usize = 24;
const UNIX_BYTES_MAX: usize = size_of::<libc::sockaddr_un>();
const FAMILY_BYTES: usize = size_of::<libc::sa_family_t>();

/// The caller's bytes, with their family.
///
/// # Safety
/// `address` is null or valid to read for `len` bytes.
unsafe fn bytes<'a>(address: *const sockaddr, len: socklen_t) -> io::Result<(&'a [u8], i32)> {
    if len as usize > SOCKADDR_BYTES_MAX {
        return refuse(Errno::EINVAL);
    }
    if address.is_null() {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    // SAFETY: the caller vouches for the bytes.
    let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), len as usize) };
    let family = bytes
        .first_chunk::<FAMILY_BYTES>()
        .map_or(libc::AF_UNSPEC, |family| i32::from(libc::sa_family_t::from_ne_bytes(*family)));
    Ok((bytes, family))
}

/// The address that `bind(2)` is given.
///
/// # Safety
/// `address` is null or valid to read for `len` bytes.
pub(super) unsafe fn to_bind(id: SocketId, address: *const sockaddr, len: socklen_t) -> io::Result<Addr> {
    // SAFETY: as this call.
    let (bytes, family) = unsafe { bytes(address, len) }?;
    match sys::describe(id)?.0 {
        Domain::Unix if bytes.len() == FAMILY_BYTES && family == libc::AF_UNIX => {
            Ok(Addr::Unix(UnixAddr::Unnamed))
        }
        domain => Ok(own_family(domain, bytes, family)?),
    }
}

/// An address of the socket's own family.
fn own_family(domain: Domain, bytes: &[u8], family: i32) -> Result<Addr, Errno> {
    let (own, least, other) = match domain {
        Domain::Inet => (libc::AF_INET, INET_BYTES, Errno::EAFNOSUPPORT),
        Domain::Inet6 => (libc::AF_INET6, INET6_BYTES_MIN, Errno::EAFNOSUPPORT),
        Domain::Netlink => (libc::AF_NETLINK, address::NETLINK_BYTES, Errno::EINVAL),
        Domain::Unix | Domain::Pipe => (libc::AF_UNIX, FAMILY_BYTES + 1, Errno::EINVAL),
    };
    if bytes.len() < least || (own == libc::AF_UNIX && bytes.len() > UNIX_BYTES_MAX) {
        return Err(Errno::EINVAL);
    }
    let any = domain == Domain::Inet && family == libc::AF_UNSPEC && bytes[4..8] == [0; 4];
    if any {
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        return Ok(Addr::Inet(SocketAddr::from(([0, 0, 0, 0], port))));
    }
    if family == own { address::decode(bytes) } else { Err(other) }
}

/// `connect(2)`.
///
/// # Safety
/// `address` is null or valid to read for `len` bytes.
pub(super) unsafe fn connect(id: SocketId, address: *const sockaddr, len: socklen_t) -> io::Result<()> {
    // SAFETY: as this call.
    let (bytes, family) = unsafe { bytes(address, len) }?;
    let (domain, kind) = sys::describe(id)?;
    if bytes.len() < FAMILY_BYTES {
        return refuse(Errno::EINVAL);
    }
    if family == libc::AF_UNSPEC && (domain, kind) != (Domain::Unix, Kind::Stream) {
        return sys::disconnect(id);
    }
    let both = (domain, kind, family) == (Domain::Inet6, Kind::Datagram, libc::AF_INET);
    let domain = if both { Domain::Inet } else { domain };
    match own_family(domain, bytes, family) {
        Ok(_) if both && is_v6_only(id) => sys::connect_wrong(id, Errno::EAFNOSUPPORT),
        Ok(address) => sys::connect(id, &if both { mapped(address) } else { address }),
        Err(errno) => sys::connect_wrong(id, errno),
    }
}

/// Whether the socket has nothing to do with IPv4.
fn is_v6_only(id: SocketId) -> bool {
    matches!(sys::option(id, Name::OnlyV6), Ok(Value::Int(1)))
}

/// An IPv4 address as a socket of IPv6 has it.
fn mapped(address: Addr) -> Addr {
    match address {
        Addr::Inet(SocketAddr::V4(v4)) => {
            Addr::Inet(SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()))
        }
        other => other,
    }
}

/// The address that a sending call is given, if it looks at one.
///
/// # Safety
/// `address` is null or valid to read for `len` bytes.
pub(super) unsafe fn to_send(
    id: SocketId,
    address: *const sockaddr,
    len: socklen_t,
) -> io::Result<Option<Addr>> {
    if address.is_null() {
        return Ok(None);
    }
    // SAFETY: as this call.
    let (bytes, family) = unsafe { bytes(address, len) }?;
    let (domain, kind) = sys::describe(id)?;
    match (domain, kind) {
        (Domain::Inet | Domain::Inet6, Kind::Stream) => return Ok(None),
        // Whatever it is, a stream does not want it.
        (Domain::Unix, Kind::Stream) if !bytes.is_empty() => return Ok(Some(Addr::Unix(UnixAddr::Unnamed))),
        (Domain::Unix | Domain::Netlink | Domain::Pipe, _) if bytes.is_empty() => return Ok(None),
        (Domain::Inet | Domain::Inet6, _) => sys::ensure_port(id)?,
        _ => {}
    }
    if domain != Domain::Inet6 {
        return Ok(Some(own_family(domain, bytes, family)?));
    }
    match family {
        libc::AF_INET => Ok(Some(mapped(own_family(Domain::Inet, bytes, family)?))),
        libc::AF_UNSPEC => Ok(None),
        libc::AF_INET6 => Ok(Some(own_family(domain, bytes, family)?)),
        _ => refuse(Errno::EINVAL),
    }
}
