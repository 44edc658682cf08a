//! Mirror of `UdpSocket`: options and multicast groups.
//!
//! Owns methods only. Must not know what an option does. Invariant: a group is named in the bytes that
//! `setsockopt(2)` takes, so that the host layer and this say the same.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::UdpSocket;
use crate::sys::{self, Name, Value};

impl UdpSocket {
    /// `SO_BROADCAST`.
    pub fn broadcast(&self) -> io::Result<bool> {
        self.socket.flag(Name::Broadcast)
    }

    /// Sets `SO_BROADCAST`.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.socket.set_flag(Name::Broadcast, on)
    }

    /// `IP_MULTICAST_LOOP`.
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.socket.flag(Name::MulticastLoop)
    }

    /// Sets `IP_MULTICAST_LOOP`.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.socket.set_flag(Name::MulticastLoop, on)
    }

    /// `IP_MULTICAST_TTL`.
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.socket.number(Name::MulticastTtl)
    }

    /// Sets `IP_MULTICAST_TTL`.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_number(Name::MulticastTtl, ttl)
    }

    /// `IPV6_MULTICAST_LOOP`.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.socket.flag(Name::MulticastLoopV6)
    }

    /// Sets `IPV6_MULTICAST_LOOP`.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.socket.set_flag(Name::MulticastLoopV6, on)
    }

    /// `IPV6_TCLASS`.
    pub fn tclass_v6(&self) -> io::Result<u32> {
        self.socket.number(Name::TrafficClass)
    }

    /// Sets `IPV6_TCLASS`.
    pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
        self.socket.set_number(Name::TrafficClass, tclass)
    }

    /// `IP_TTL`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.number(Name::Ttl)
    }

    /// Sets `IP_TTL`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_number(Name::Ttl, ttl)
    }

    /// `IP_TOS`.
    pub fn tos_v4(&self) -> io::Result<u32> {
        self.socket.number(Name::Tos)
    }

    /// The old name of [`tos_v4`](UdpSocket::tos_v4).
    #[deprecated(note = "is now called `tos_v4`, because it is for IPv4 only")]
    #[doc(hidden)]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    /// Sets `IP_TOS`.
    pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
        self.socket.set_number(Name::Tos, tos)
    }

    /// The old name of [`set_tos_v4`](UdpSocket::set_tos_v4).
    #[deprecated(note = "is now called `set_tos_v4`, because it is for IPv4 only")]
    #[doc(hidden)]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// `SO_BINDTODEVICE`.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.socket.device()
    }

    /// Sets `SO_BINDTODEVICE`.
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.socket.bind_device(interface)
    }

    /// Joins a group (`IP_ADD_MEMBERSHIP`).
    pub fn join_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.set_group(Name::AddMembership, multiaddr.octets(), interface.octets())
    }

    /// Joins a group (`IPV6_ADD_MEMBERSHIP`).
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.set_group(Name::AddMembershipV6, multiaddr.octets(), interface.to_ne_bytes())
    }

    /// Leaves a group (`IP_DROP_MEMBERSHIP`).
    pub fn leave_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.set_group(Name::DropMembership, multiaddr.octets(), interface.octets())
    }

    /// Leaves a group (`IPV6_DROP_MEMBERSHIP`).
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.set_group(Name::DropMembershipV6, multiaddr.octets(), interface.to_ne_bytes())
    }

    fn set_group<const N: usize>(&self, name: Name, group: [u8; N], interface: [u8; 4]) -> io::Result<()> {
        sys::set_option(self.socket.id, name, Value::Bytes([&group[..], &interface[..]].concat()))
    }
}
