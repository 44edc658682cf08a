//! The meaning of control messages: ECN bits, batches, sources and destinations.
//!
//! Owns what each message asks for or tells. Must not know their form. Invariant: a control message that is not
//! understood is refused when sent; one that was not asked for by an option is not given.

use std::io;
use std::net::IpAddr;

use libc::c_int;

use super::control::{Control, Writer};
use super::{address, loud, refuse};
use crate::error::Errno;
use crate::sys::{self, Addr, Domain, Name, Received, SendExtra, SocketId, Value};

/// The numbers of the interfaces that packet info names.
const LOOPBACK_INDEX: c_int = 1;
const ETHERNET_INDEX: c_int = 2;

/// What the control messages of a `sendmsg` ask for that goes `to` an address, if the socket is one of UDP. As Linux: each
/// protocol looks at its own messages alone.
pub(super) fn extra(messages: &[Control<'_>], to: Option<IpAddr>) -> io::Result<SendExtra> {
    let mut extra = SendExtra::default();
    for message in messages {
        match (message.level, to) {
            (libc::SOL_SOCKET, _) => of_socket(message)?,
            (libc::SOL_UDP, Some(_)) => match (message.kind, message.data) {
                (libc::UDP_SEGMENT, [a, b]) => {
                    // Zero is none, in place of what the option says.
                    extra.segment_size = Some(u16::from_ne_bytes([*a, *b]));
                }
                _ => return refuse(Errno::EINVAL),
            },
            (libc::IPPROTO_IP, Some(IpAddr::V4(_))) => of_v4(message, &mut extra)?,
            (libc::IPPROTO_IPV6, Some(IpAddr::V6(_))) => of_v6(message, &mut extra)?,
            (libc::IPPROTO_IPV6, Some(_)) if message.kind == libc::IPV6_PKTINFO => {
                of_v6(message, &mut extra)?
            }
            _ => {}
        }
    }
    Ok(extra)
}

fn of_socket(message: &Control<'_>) -> io::Result<()> {
    match message.kind {
        libc::SCM_CREDENTIALS => Ok(()),
        libc::SCM_RIGHTS => {
            loud("sendmsg: descriptors (SCM_RIGHTS)");
            refuse(Errno::EINVAL)
        }
        kind => {
            loud(&format!("sendmsg: control message {kind} of sockets"));
            refuse(Errno::EINVAL)
        }
    }
}

fn of_v4(message: &Control<'_>, extra: &mut SendExtra) -> io::Result<()> {
    match message.kind {
        libc::IP_TOS => extra.ecn = Some(within(0, 255, message.byte_or_number()?)? as u8 & 3),
        libc::IP_TTL => drop(within(1, 255, message.number()?)?),
        // in_pktinfo: the interface, the source, the destination.
        libc::IP_PKTINFO if message.data.len() == 12 => {
            extra.source = source(IpAddr::from(address::array::<4>(message.data, 4)));
        }
        _ => return refuse(Errno::EINVAL),
    }
    Ok(())
}

fn of_v6(message: &Control<'_>, extra: &mut SendExtra) -> io::Result<()> {
    match message.kind {
        libc::IPV6_TCLASS => {
            // As Linux: -1 is taken, and means all bits.
            extra.ecn = Some(within(-1, 255, message.number()?)? as u8 & 3);
        }
        libc::IPV6_HOPLIMIT => drop(within(-1, 255, message.number()?)?),
        // in6_pktinfo: the source, the interface.
        libc::IPV6_PKTINFO if message.data.len() >= 20 => {
            extra.source = source(IpAddr::from(address::array::<16>(message.data, 0)));
        }
        libc::IPV6_PKTINFO => return refuse(Errno::EINVAL),
        kind => {
            loud(&format!("sendmsg: control message {kind} of IPv6"));
            return refuse(Errno::EINVAL);
        }
    }
    Ok(())
}

/// `value`, if it is between the two.
fn within(least: c_int, most: c_int, value: c_int) -> io::Result<c_int> {
    if (least..=most).contains(&value) { Ok(value) } else { refuse(Errno::EINVAL) }
}

fn source(ip: IpAddr) -> Option<IpAddr> {
    Some(ip).filter(|ip| !ip.is_unspecified())
}

/// Which control messages a socket's options ask for.
pub(super) struct Asked {
    packet_info: bool,
    packet_info_v6: bool,
    tos: bool,
    traffic_class: bool,
    offload: bool,
    netlink_packet_info: bool,
}

impl Asked {
    pub(super) fn of(id: SocketId) -> Asked {
        let on = |name| matches!(sys::option(id, name), Ok(Value::Int(value)) if value != 0);
        let domain = sys::describe(id).ok().map(|(domain, _)| domain);
        let v6 = domain == Some(Domain::Inet6);
        Asked {
            netlink_packet_info: domain == Some(Domain::Netlink) && on(Name::NetlinkPacketInfo),
            packet_info: on(Name::PacketInfo),
            packet_info_v6: v6 && on(Name::ReceivePacketInfoV6),
            tos: on(Name::ReceiveTos),
            traffic_class: v6 && on(Name::ReceiveTrafficClass),
            offload: on(Name::UdpReceiveOffload),
        }
    }

    /// Writes what was asked for and is known.
    pub(super) fn write(&self, received: &Received, out: &mut Writer<'_>) {
        let mut add = |level, kind, data: &[u8]| out.add(&Control { level, kind, data });
        if let (true, Some(Addr::Netlink { groups, .. })) = (self.netlink_packet_info, &received.from) {
            // The group that it went to; zero for none.
            let group = if *groups == 0 { 0 } else { groups.trailing_zeros() + 1 };
            add(libc::SOL_NETLINK, libc::NETLINK_PKTINFO, &group.to_ne_bytes());
        }
        let Some(to) = received.to else { return };
        let v4 = to.to_canonical().is_ipv4();
        let index =
            if to.to_canonical().is_loopback() { LOOPBACK_INDEX } else { ETHERNET_INDEX }.to_ne_bytes();
        let octets = address::octets(to.to_canonical());
        if let (true, Some(size)) = (self.offload, received.segment_size) {
            add(libc::SOL_UDP, libc::UDP_GRO, &c_int::from(size).to_ne_bytes());
        }
        if self.packet_info_v6 {
            let ip = match to {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &[&ip.octets()[..], &index].concat());
        }
        if self.packet_info && v4 {
            add(libc::IPPROTO_IP, libc::IP_PKTINFO, &[&index[..], &octets, &octets].concat());
        }
        if self.tos && v4 {
            add(libc::IPPROTO_IP, libc::IP_TOS, &[received.ecn]);
        }
        if self.traffic_class && !v4 {
            add(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &c_int::from(received.ecn).to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::control;
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
        let found = extra(&messages, Some(IpAddr::from([10, 0, 0, 2]))).unwrap();
        assert_eq!((found.ecn, found.segment_size), (Some(2), Some(1200)));
        assert_eq!(found.source, Some(IpAddr::from([10, 0, 0, 1])));
        let rights = Control { level: libc::SOL_SOCKET, kind: libc::SCM_RIGHTS, data: &[0; 4] };
        assert_eq!(extra(&[rights], None).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn what_is_received_is_what_was_asked_for() {
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let received =
            Received { len: 1, full_len: 1, from: None, to: Some(mapped), ecn: 3, segment_size: None };
        let all = Asked {
            packet_info: true,
            packet_info_v6: true,
            tos: true,
            traffic_class: true,
            offload: true,
            netlink_packet_info: true,
        };
        let mut room = [0; 256];
        let mut out = Writer::new(&mut room);
        all.write(&received, &mut out);
        let used = out.used();
        let kinds: Vec<_> =
            control::parse(&room[..used]).unwrap().iter().map(|m| (m.level, m.kind)).collect();
        assert_eq!(
            kinds,
            [
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO),
                (libc::IPPROTO_IP, libc::IP_PKTINFO),
                (libc::IPPROTO_IP, libc::IP_TOS),
            ]
        );
    }
}
