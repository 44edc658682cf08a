//! `sendmsg`, `recvmsg` and their forms for many messages, as quinn uses them.
//!
//! Owns what the control messages mean. Must not know their form. Invariant: a control message that is not
//! understood is refused when sent; one that was not asked for by an option is not given.

use std::io;
use std::net::IpAddr;

use libc::{c_int, c_uint, mmsghdr, msghdr, ssize_t, timespec};

use super::calls_data::{receive, shown_len, slices, slices_mut, transmit};
use super::control::{self, Control, Writer};
use super::{address, answer, int, kernel, loud, refuse};
use crate::error::Errno;
use crate::sys::{self, Domain, Name, Received, SendExtra, SocketId, Value};

/// `UIO_MAXIOV`: what the calls for many messages take at most.
const MESSAGES_MAX: c_uint = 1024;
/// The numbers of the interfaces that packet info names.
const LOOPBACK_INDEX: c_int = 1;
const ETHERNET_INDEX: c_int = 2;

/// What the control messages of a `sendmsg` ask for.
fn extra(messages: &[Control<'_>]) -> io::Result<SendExtra> {
    let mut extra = SendExtra::default();
    for message in messages {
        match (message.level, message.kind) {
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                extra.ecn = (message.number()? & 3) as u8;
            }
            (libc::SOL_UDP, libc::UDP_SEGMENT) => match message.data {
                [a, b] => extra.segment_size = Some(u16::from_ne_bytes([*a, *b])).filter(|size| *size > 0),
                _ => return refuse(Errno::EINVAL),
            },
            // in_pktinfo: the interface, the source, the destination.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => match message.data {
                data if data.len() >= 12 => extra.source = source(IpAddr::from(address::array::<4>(data, 4))),
                _ => return refuse(Errno::EINVAL),
            },
            // in6_pktinfo: the source, the interface.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => match message.data {
                data if data.len() >= 20 => extra.source = source(IpAddr::from(address::array::<16>(data, 0))),
                _ => return refuse(Errno::EINVAL),
            },
            (libc::IPPROTO_IP, libc::IP_TTL)
            | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
            | (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {}
            (level, kind) => {
                let what = if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) { " (SCM_RIGHTS)" } else { "" };
                loud(&format!("sendmsg: control message {kind} of level {level}{what}"));
                return refuse(Errno::EINVAL);
            }
        }
    }
    Ok(extra)
}

fn source(ip: IpAddr) -> Option<IpAddr> {
    Some(ip).filter(|ip| !ip.is_unspecified())
}

/// Which control messages a socket's options ask for.
struct Asked {
    packet_info: bool,
    packet_info_v6: bool,
    tos: bool,
    traffic_class: bool,
    offload: bool,
}

impl Asked {
    fn of(id: SocketId) -> Asked {
        let on = |name| matches!(sys::option(id, name), Ok(Value::Int(value)) if value != 0);
        let v6 = sys::describe(id).is_ok_and(|(domain, _)| domain == Domain::Inet6);
        Asked {
            packet_info: on(Name::PacketInfo),
            packet_info_v6: v6 && on(Name::ReceivePacketInfoV6),
            tos: on(Name::ReceiveTos),
            traffic_class: v6 && on(Name::ReceiveTrafficClass),
            offload: on(Name::UdpReceiveOffload),
        }
    }

    /// Writes what was asked for and is known.
    fn write(&self, received: &Received, out: &mut Writer<'_>) {
        let mut add = |level, kind, data: &[u8]| out.add(&Control { level, kind, data });
        let Some(to) = received.to else { return };
        let v4 = to.to_canonical().is_ipv4();
        let index = if to.to_canonical().is_loopback() { LOOPBACK_INDEX } else { ETHERNET_INDEX }.to_ne_bytes();
        let octets = address::octets(to.to_canonical());
        if self.packet_info && v4 {
            add(libc::IPPROTO_IP, libc::IP_PKTINFO, &[&index[..], &octets, &octets].concat());
        }
        if self.packet_info_v6 {
            let ip = match to {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &[&ip.octets()[..], &index].concat());
        }
        if self.tos && v4 {
            add(libc::IPPROTO_IP, libc::IP_TOS, &[received.ecn]);
        }
        if self.traffic_class && !v4 {
            add(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &c_int::from(received.ecn).to_ne_bytes());
        }
        if let (true, Some(size)) = (self.offload, received.segment_size) {
            add(libc::SOL_UDP, libc::UDP_GRO, &c_int::from(size).to_ne_bytes());
        }
    }
}

/// # Safety
/// As `sendmsg(2)`.
unsafe fn send_one(socket: (c_int, SocketId), message: *const msghdr, flags: c_int) -> io::Result<usize> {
    // SAFETY: the caller vouches for the message and all that it points to.
    unsafe {
        let message = &*message;
        let to = if message.msg_name.is_null() || message.msg_namelen == 0 {
            None
        } else {
            Some(address::read(message.msg_name.cast(), message.msg_namelen)?)
        };
        let data = slices(message.msg_iov, message.msg_iovlen)?;
        let control = match message.msg_controllen {
            0 => &[][..],
            length => std::slice::from_raw_parts(message.msg_control.cast::<u8>(), length),
        };
        let extra = extra(&control::parse(control)?)?;
        transmit(socket, &data, to.as_ref(), extra, flags)
    }
}

/// # Safety
/// As `recvmsg(2)`.
unsafe fn receive_one(
    socket: (c_int, SocketId),
    asked: &Asked,
    message: *mut msghdr,
    flags: c_int,
) -> io::Result<usize> {
    // SAFETY: the caller vouches for the message and all that it points to.
    unsafe {
        let message = &mut *message;
        let mut buffers = slices_mut(message.msg_iov, message.msg_iovlen)?;
        let received = receive(socket, &mut buffers, flags)?;
        let name = message.msg_name.cast();
        address::write(received.from.as_ref(), name, &raw mut message.msg_namelen);
        let room = match message.msg_controllen {
            0 => &mut [][..],
            length => std::slice::from_raw_parts_mut(message.msg_control.cast::<u8>(), length),
        };
        let mut out = Writer::new(room);
        asked.write(&received, &mut out);
        message.msg_controllen = out.used();
        message.msg_flags = if out.truncated { libc::MSG_CTRUNC } else { 0 };
        if received.full_len > received.len {
            message.msg_flags |= libc::MSG_TRUNC;
        }
        Ok(shown_len(&received, flags))
    }
}

/// `sendmsg(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    answer(
        "sendmsg",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_sendmsg, [int(fd), message as usize, int(flags)]) },
        // SAFETY: as the system call.
        |id| unsafe { send_one((fd, id), message, flags) }.map(|sent| sent as isize),
    )
}

/// `recvmsg(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    answer(
        "recvmsg",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_recvmsg, [int(fd), message as usize, int(flags)]) },
        // SAFETY: as the system call.
        |id| unsafe { receive_one((fd, id), &Asked::of(id), message, flags) }.map(|count| count as isize),
    )
}

/// `sendmmsg(2)`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    answer(
        "sendmmsg",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_sendmmsg, [int(fd), messages as usize, count as usize, int(flags)]) },
        |id| {
            for_each(count, |place| {
                // SAFETY: the caller vouches for `count` messages.
                unsafe {
                    let entry = messages.add(place);
                    (*entry).msg_len = send_one((fd, id), &raw const (*entry).msg_hdr, flags)? as c_uint;
                }
                Ok(())
            })
        },
    ) as c_int
}

/// `recvmmsg(2)`. The time-out, which the kernel looks at between messages only, is not looked at.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    answer(
        "recvmmsg",
        fd,
        || {
            let arguments = [int(fd), messages as usize, count as usize, int(flags), timeout as usize];
            // SAFETY: as the system call.
            unsafe { kernel(libc::SYS_recvmmsg, arguments) }
        },
        |id| {
            let asked = Asked::of(id);
            let wait_for_one = flags & libc::MSG_WAITFORONE != 0;
            for_each(count, |place| {
                let mut flags = flags & !libc::MSG_WAITFORONE;
                if wait_for_one && place > 0 {
                    flags |= libc::MSG_DONTWAIT;
                }
                // SAFETY: the caller vouches for `count` messages.
                unsafe {
                    let entry = messages.add(place);
                    let header = &raw mut (*entry).msg_hdr;
                    (*entry).msg_len = receive_one((fd, id), &asked, header, flags)? as c_uint;
                }
                Ok(())
            })
        },
    ) as c_int
}

/// How many of `count` messages went well; the error of the first where none did.
fn for_each(count: c_uint, mut one: impl FnMut(usize) -> io::Result<()>) -> io::Result<isize> {
    for place in 0..count.min(MESSAGES_MAX) as usize {
        match one(place) {
            Ok(()) => {}
            Err(error) if place == 0 => return Err(error),
            Err(_) => return Ok(place as isize),
        }
    }
    Ok(count.min(MESSAGES_MAX) as isize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_understood_or_refused() {
        let ecn = 2i32.to_ne_bytes();
        let info = [[0; 4], [10, 0, 0, 1], [0; 4]].concat();
        let messages = [
            Control { level: libc::IPPROTO_IP, kind: libc::IP_TOS, data: &ecn },
            Control { level: libc::SOL_UDP, kind: libc::UDP_SEGMENT, data: &1200u16.to_ne_bytes() },
            Control { level: libc::IPPROTO_IP, kind: libc::IP_PKTINFO, data: &info },
        ];
        let found = extra(&messages).unwrap();
        assert_eq!((found.ecn, found.segment_size), (2, Some(1200)));
        assert_eq!(found.source, Some(IpAddr::from([10, 0, 0, 1])));
        let rights = Control { level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, data: &[0; 4] };
        assert_eq!(extra(&[rights]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn what_is_received_is_what_was_asked_for() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let received =
            Received { len: 1, full_len: 1, from: None, to: Some(mapped), ecn: 3, segment_size: None };
        let all =
            Asked { packet_info: true, packet_info_v6: true, tos: true, traffic_class: true, offload: true };
        let mut room = [0; 256];
        let mut out = Writer::new(&mut room);
        all.write(&received, &mut out);
        let used = out.used();
        let kinds: Vec<_> = control::parse(&room[..used]).unwrap().iter().map(|m| (m.level, m.kind)).collect();
        assert_eq!(
            kinds,
            [
                (libc::IPPROTO_IP, libc::IP_PKTINFO),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
                (libc::IPPROTO_IP, libc::IP_TOS),
            ]
        );
    }
}
