//! `getsockopt` and `setsockopt`.
//!
//! Owns the forms of options' values, and which options the world leaves to the placeholder. Must not know
//! what an option does. Invariant: an option that is neither the world's nor harmless is refused.

use std::io;
use std::time::Duration;

use libc::{c_int, c_void, linger, socklen_t, timeval, ucred};

use super::transfer::slice;
use super::{address::array, answer, int, kernel, loud, refuse};
use crate::error::{Errno, Result};
use crate::sys::{self, Domain, Name, SocketId, Value};

/// Options that the world need not know: the placeholder keeps them.
const HARMLESS: [(c_int, c_int); 8] = [
    (libc::SOL_SOCKET, libc::SO_DEBUG),
    (libc::SOL_SOCKET, libc::SO_DONTROUTE),
    (libc::SOL_SOCKET, libc::SO_NO_CHECK),
    (libc::SOL_SOCKET, libc::SO_BUSY_POLL),
    (libc::SOL_SOCKET, libc::SO_SNDLOWAT),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::IPPROTO_IP, IP_MULTICAST_ALL),
    (libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL),
];
const IP_MULTICAST_ALL: c_int = 49;
const IPV6_MULTICAST_ALL: c_int = 29;
/// How much of an option's value is looked at.
const VALUE_BYTES_MAX: usize = 4096;
const INT_BYTES: usize = size_of::<c_int>();
const LONG_BYTES: usize = size_of::<libc::c_long>();
/// `TCP_CA_NAME_MAX`.
const CONGESTION_NAME_BYTES: usize = 16;

/// Reads the value of option `name` as `setsockopt` is given it.
fn decode(name: Name, bytes: &[u8]) -> Result<Value> {
    match name {
        Name::Linger => {
            if bytes.len() < size_of::<linger>() {
                return Err(Errno::EINVAL);
            }
            let (on, seconds) = (number(bytes, 0), number(bytes, INT_BYTES));
            Ok(Value::Linger((on != 0).then(|| Duration::from_secs(u64::from(seconds as u32)))))
        }
        Name::ReceiveTimeout | Name::SendTimeout => {
            if bytes.len() < size_of::<timeval>() {
                return Err(Errno::EINVAL);
            }
            let seconds = i64::from_ne_bytes(array(bytes, 0));
            let micros = i64::from_ne_bytes(array(bytes, LONG_BYTES));
            match (u64::try_from(seconds), u32::try_from(micros)) {
                (_, Err(_) | Ok(1_000_000..)) => Err(Errno(libc::EDOM)),
                (Ok(0), Ok(0)) => Ok(Value::Timeout(None)),
                (Ok(seconds), Ok(micros)) => Ok(Value::Timeout(Some(Duration::new(seconds, micros * 1000)))),
                // As Linux: a negative time is no time at all.
                (Err(_), _) => Ok(Value::Timeout(Some(Duration::ZERO))),
            }
        }
        Name::BindToDevice | Name::Congestion => {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            Ok(Value::Bytes(bytes[..end].to_vec()))
        }
        Name::AddMembership
        | Name::DropMembership
        | Name::AddMembershipV6
        | Name::DropMembershipV6
        | Name::MulticastInterface => Ok(Value::Bytes(bytes.to_vec())),
        _ if bytes.len() >= INT_BYTES => Ok(Value::Int(number(bytes, 0))),
        // The options of IP, and they alone, may be given as one byte.
        _ if name >= Name::Ttl && name < Name::OnlyV6 && !bytes.is_empty() => Ok(Value::Int(bytes[0].into())),
        _ => Err(Errno::EINVAL),
    }
}

/// The value of option `name` as `getsockopt` gives it, before it is cut to the caller's room.
fn encode(name: Name, value: &Value) -> Vec<u8> {
    match value {
        Value::Int(value) => value.to_ne_bytes().to_vec(),
        Value::Linger(limit) => {
            let seconds = limit.map_or(0, |limit| c_int::try_from(limit.as_secs()).unwrap_or(c_int::MAX));
            [c_int::from(limit.is_some()).to_ne_bytes(), seconds.to_ne_bytes()].concat()
        }
        Value::Timeout(limit) => {
            let limit = limit.unwrap_or_default();
            [(limit.as_secs() as i64).to_ne_bytes(), i64::from(limit.subsec_micros()).to_ne_bytes()].concat()
        }
        Value::Bytes(bytes) => {
            let mut bytes = bytes.clone();
            match name {
                Name::BindToDevice if !bytes.is_empty() => bytes.push(0),
                Name::Congestion => bytes.resize(CONGESTION_NAME_BYTES, 0),
                _ => {}
            }
            bytes
        }
    }
}

fn number(bytes: &[u8], start: usize) -> c_int {
    c_int::from_ne_bytes(array(bytes, start))
}

fn set(id: SocketId, level: c_int, option: c_int, bytes: &[u8]) -> io::Result<()> {
    let option = match (level, option) {
        // What needs a privilege outside.
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE) => libc::SO_RCVBUF,
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE) => libc::SO_SNDBUF,
        _ => option,
    };
    let Some(name) = Name::from_raw(level, option) else { return unknown("setsockopt", level, option) };
    sys::set_option(id, name, decode(name, bytes)?)
}

fn get(id: SocketId, level: c_int, option: c_int) -> io::Result<Vec<u8>> {
    if (level, option) == (libc::SOL_SOCKET, libc::SO_PEERCRED) {
        return credentials(id);
    }
    let Some(name) = Name::from_raw(level, option) else { return unknown("getsockopt", level, option) };
    sys::option(id, name).map(|value| encode(name, &value))
}

/// `SO_PEERCRED`: both ends of a Unix socket are on one node, and belong to its one process.
fn credentials(id: SocketId) -> io::Result<Vec<u8>> {
    let own = if sys::describe(id)?.0 == Domain::Unix {
        // SAFETY: these calls have no preconditions.
        unsafe { ucred { pid: libc::getpid(), uid: libc::geteuid(), gid: libc::getegid() } }
    } else {
        // As Linux: nobody's.
        ucred { pid: 0, uid: libc::uid_t::MAX, gid: libc::gid_t::MAX }
    };
    Ok([own.pid.to_ne_bytes(), own.uid.to_ne_bytes(), own.gid.to_ne_bytes()].concat())
}

fn unknown<T>(call: &str, level: c_int, option: c_int) -> io::Result<T> {
    loud(&format!("{call}: option {option} of level {level}"));
    refuse(Errno::ENOPROTOOPT)
}

/// `setsockopt(2)`.
///
/// # Safety
/// `value` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    option: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    let real = || {
        let arguments = [int(fd), int(level), int(option), value as usize, len as usize];
        // SAFETY: as the system call.
        unsafe { kernel(libc::SYS_setsockopt, arguments) }
    };
    answer("setsockopt", fd, real, |id| {
        if HARMLESS.contains(&(level, option)) {
            return kept(real());
        }
        let len = len as usize;
        if len > VALUE_BYTES_MAX || (value.is_null() && len > 0) {
            return refuse(Errno::EINVAL);
        }
        // SAFETY: the caller vouches for the bytes.
        let bytes = unsafe { slice(value, len) };
        set(id, level, option, bytes).map(|()| 0)
    }) as c_int
}

/// `getsockopt(2)`.
///
/// # Safety
/// `value` must be valid to write for `*len` bytes, and `len` for a number.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    option: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let real = || {
        let arguments = [int(fd), int(level), int(option), value as usize, len as usize];
        // SAFETY: as the system call.
        unsafe { kernel(libc::SYS_getsockopt, arguments) }
    };
    answer("getsockopt", fd, real, |id| {
        if HARMLESS.contains(&(level, option)) {
            return kept(real());
        }
        let found = get(id, level, option)?;
        // SAFETY: the caller vouches for `*len` bytes at `value`, and no more are written.
        unsafe {
            let count = found.len().min(*len as usize);
            std::ptr::copy_nonoverlapping(found.as_ptr(), value.cast::<u8>(), count);
            *len = count as socklen_t;
        }
        Ok(0)
    }) as c_int
}

/// What the placeholder answered.
fn kept(result: isize) -> io::Result<isize> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_equal() {
        for (name, value) in [
            (Name::NoDelay, Value::Int(1)),
            (Name::Linger, Value::Linger(None)),
            (Name::Linger, Value::Linger(Some(Duration::from_secs(7)))),
            (Name::ReceiveTimeout, Value::Timeout(None)),
            (Name::SendTimeout, Value::Timeout(Some(Duration::new(3, 5_000)))),
            (Name::BindToDevice, Value::Bytes(b"eth0".to_vec())),
            (Name::BindToDevice, Value::Bytes(Vec::new())),
            (Name::Congestion, Value::Bytes(b"reno".to_vec())),
        ] {
            assert_eq!(decode(name, &encode(name, &value)), Ok(value));
        }
    }

    #[test]
    fn values_that_are_cut_are_refused() {
        for name in [Name::NoDelay, Name::Linger, Name::ReceiveTimeout, Name::ReuseAddress] {
            assert_eq!(decode(name, &[1, 0, 0]), Err(Errno::EINVAL), "{name:?}");
            assert_eq!(decode(name, &[]), Err(Errno::EINVAL), "{name:?}");
        }
        assert_eq!(decode(Name::Ttl, &[9]), Ok(Value::Int(9)));
        assert_eq!(decode(Name::OnlyV6, &[1]), Err(Errno::EINVAL));
        let micros = [0i64.to_ne_bytes(), 1_000_000i64.to_ne_bytes()].concat();
        assert_eq!(decode(Name::SendTimeout, &micros), Err(Errno(libc::EDOM)));
    }
}
