//! Binding: which local addresses and ports a socket may have, and which of them gets a packet.
//!
//! Owns `bind`, the rules of `SO_REUSEADDR` and `SO_REUSEPORT`, and the choice of source addresses. Must
//! not know connections beyond their state. Invariant: `core.port` is the port that the socket owns in the
//! port table, or 0.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::socket::{Core, Domain, Inner, Kind, Socket, SocketId};
use super::table::{Bucket, overlap};
use super::tcp::{State, Tcp};
use super::{Stack, is_broadcast};
use crate::error::{Errno, Result};
use crate::packet::wire;

impl Core {
    /// Fails where `address` is not of this socket's family.
    pub(crate) fn check_family(&self, address: SocketAddr) -> Result<()> {
        match (self.domain, address) {
            (Domain::Inet, SocketAddr::V4(_)) | (Domain::Inet6, SocketAddr::V6(_)) => Ok(()),
            // As Linux: an IPv6 socket that is given a sockaddr_in finds it too short.
            (Domain::Inet6, SocketAddr::V4(_)) => Err(Errno::EINVAL),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// How well the bound address fits a packet for `ip`; `None` where it does not.
    pub(crate) fn score(&self, ip: IpAddr) -> Option<u8> {
        let bound = self.local?.ip();
        if bound == ip {
            return Some(3);
        }
        match (bound, ip) {
            (IpAddr::V4(wild), IpAddr::V4(_)) if wild.is_unspecified() => Some(2),
            (IpAddr::V6(wild), IpAddr::V6(_)) if wild.is_unspecified() => Some(2),
            (IpAddr::V6(wild), IpAddr::V4(_)) if wild.is_unspecified() && !self.options.only_v6 => Some(1),
            _ => None,
        }
    }
}

impl Stack {
    /// `bind(2)` of an internet socket.
    pub(crate) fn inet_bind(&mut self, id: SocketId, address: SocketAddr) -> Result<()> {
        let socket = self.table.find(id)?;
        socket.core.check_family(address)?;
        let busy = match &socket.inner {
            Inner::Tcp(Tcp::Connection(t)) => t.state != State::Closed,
            Inner::Tcp(Tcp::Listener(_)) => true,
            _ => false,
        };
        if socket.core.port != 0 || busy {
            return Err(Errno::EINVAL);
        }
        let wire = wire(address);
        let ip = wire.ip();
        if socket.core.options.only_v6 && wire.is_ipv4() && address.is_ipv6() {
            return Err(Errno::EINVAL);
        }
        let special =
            ip.is_unspecified() || ip.is_multicast() || is_broadcast(ip) || socket.core.options.free_bind;
        if !special && !self.owns(ip) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let port = if wire.port() == 0 { self.free_port(id, ip)? } else { wire.port() };
        let conflicts = wire.port() != 0 && self.conflicts(id, SocketAddr::new(ip, port));
        let core = &mut self.table.find_mut(id)?.core;
        if conflicts {
            // As Linux: the address of the connection before is forgotten.
            if let Some(local) = &mut core.local {
                local.set_ip(unspecified(core.domain == Domain::Inet));
            }
            return Err(Errno::EADDRINUSE);
        }
        core.bound = Some(SocketAddr::new(ip, port));
        core.chose_port = wire.port() != 0;
        // As Linux: what is bound to one address of IPv6 has nothing to do with IPv4.
        core.options.only_v6 |= ip.is_ipv6() && !ip.is_unspecified();
        self.take_port(id, SocketAddr::new(ip, port))?;
        Ok(())
    }

    /// Gives an unbound socket the wildcard address and a free port.
    pub(crate) fn autobind(&mut self, id: SocketId) -> Result<()> {
        let core = &self.table.find(id)?.core;
        let ip: IpAddr = match (core.bound, core.domain) {
            (Some(bound), _) => bound.ip(),
            (None, Domain::Inet) => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        let port = self.free_port(id, ip).map_err(|_| Errno::EAGAIN)?;
        self.take_port(id, SocketAddr::new(ip, port))
    }

    fn take_port(&mut self, id: SocketId, local: SocketAddr) -> Result<()> {
        let socket = self.table.find_mut(id)?;
        socket.core.local = Some(local);
        socket.core.port = local.port();
        let kind = socket.core.kind;
        self.ports(kind).add(local.port(), id.index(), false);
        Ok(())
    }

    fn free_port(&mut self, id: SocketId, ip: IpAddr) -> Result<u16> {
        let kind = self.table.find(id)?.core.kind;
        let table = &self.table;
        let ports = if kind == Kind::Stream { &mut self.tcp_ports } else { &mut self.udp_ports };
        let only_v6 = table.find(id)?.core.options.only_v6;
        let free = |_, bucket: Option<&Bucket>| {
            bucket.is_none_or(|bucket| {
                let mut owners = bucket.owners.iter().filter_map(|owner| table.get(*owner));
                !owners.any(|owner| overlap((ip, only_v6), address_of(owner)))
            })
        };
        ports.choose(free).ok_or(Errno::EADDRINUSE)
    }

    /// Whether another owner of the port forbids `local` to the socket.
    fn conflicts(&self, id: SocketId, local: SocketAddr) -> bool {
        let Ok(socket) = self.table.find(id) else { return true };
        let own = &socket.core.options;
        let ports = if socket.core.kind == Kind::Stream { &self.tcp_ports } else { &self.udp_ports };
        let Some(bucket) = ports.bucket(local.port()) else { return false };
        bucket.owners.iter().filter_map(|owner| self.table.get(*owner)).any(|owner| {
            let other = &owner.core.options;
            let listens = matches!(&owner.inner, Inner::Tcp(Tcp::Listener(_)));
            let shares = (own.reuse_address && other.reuse_address && !listens)
                || (own.reuse_port && other.reuse_port);
            owner.core.id != id && overlap((local.ip(), own.only_v6), address_of(owner)) && !shares
        })
    }

    /// Two listeners may have one address only as a `SO_REUSEPORT` group.
    pub(crate) fn check_listen(&self, id: SocketId) -> Result<()> {
        let socket = self.table.find(id)?;
        let Some(local) = socket.core.local else { return Err(Errno::EINVAL) };
        // As Linux, which looks once more: connections of a listener that was shut down may have the port.
        if self.conflicts(id, local) {
            return Err(Errno::EADDRINUSE);
        }
        let group = self.listeners.get(&local.port()).into_iter().flatten();
        for other in group.filter_map(|index| self.table.get(*index)) {
            let shares = socket.core.options.reuse_port && other.core.options.reuse_port;
            if !shares && overlap(address_of(socket), address_of(other)) {
                return Err(Errno::EADDRINUSE);
            }
        }
        Ok(())
    }

    /// The source address for packets to `remote`.
    pub(crate) fn source_for(&self, remote: IpAddr) -> Result<IpAddr> {
        if remote.is_loopback() {
            return Ok(match remote {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        if self.owns(remote) {
            return Ok(remote);
        }
        let (_, own) = self.routes.way_to(remote).ok_or(Errno::ENETUNREACH)?;
        Ok(own)
    }

    /// Whether packets to `ip` are for this node.
    pub(crate) fn owns(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.routes.addresses().contains(&ip)
    }
}

/// The unspecified address.
pub(crate) fn unspecified(of_v4: bool) -> IpAddr {
    if of_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn address_of(socket: &Socket) -> (IpAddr, bool) {
    let ip = socket.core.local.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |local| local.ip());
    (ip, socket.core.options.only_v6)
}
