//! UDP: datagrams, connected sockets, errors that come back.
//!
//! Owns [`Udp`] and which socket gets a datagram. Must not know links. Invariant: a datagram that finds
//! the receive buffer full is dropped without a word, as Linux does.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use shim_runtime::clock::SimTime;

use super::buffer::Sink;
use super::datagrams::{Datagram, Datagrams, Joining, fits_a_batch};
use super::options::MtuDiscovery;
use super::readiness::Events;
use super::socket::{Addr, Core, Domain, Inner, SocketId};
use super::table::Flow;
use super::{Stack, is_broadcast};
use crate::error::{Errno, Result};
use crate::fragment::train;
use crate::packet::{Body, Packet, Reason, Unreachable, wire};

/// What only a UDP socket has.
#[derive(Default)]
pub(crate) struct Udp {
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) queue: Datagrams,
    pub(crate) dropped: u64,
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
}

/// As Linux' `UDP_MAX_SEGMENTS`.
const SEGMENTS_MAX: usize = 128;

/// What the kernel tells about something received.
#[derive(Clone, Debug)]
pub struct Received {
    /// How much was copied.
    pub len: usize,
    /// How long the datagram was; more than `len` where it was cut.
    pub full_len: usize,
    /// Who sent it, where that is known.
    pub from: Option<Addr>,
    /// The local address that it was sent to.
    pub to: Option<IpAddr>,
    /// The ECN bits.
    pub ecn: u8,
    /// The size of each datagram of a batch, where it is one.
    pub segment_size: Option<u16>,
}

/// What may be said about something sent, beside its destination.
#[derive(Clone, Copy, Default, Debug)]
pub struct SendExtra {
    /// The ECN bits, in place of those that the socket's options say.
    pub ecn: Option<u8>,
    /// Cuts the data into datagrams of this size (`UDP_SEGMENT`).
    pub segment_size: Option<u16>,
    /// The source address (`IP_PKTINFO`).
    pub source: Option<IpAddr>,
}

impl Udp {
    /// What `poll(2)` would show.
    pub(crate) fn events(&self, core: &Core) -> Events {
        Events {
            readable: self.queue.front().is_some() || self.read_closed,
            writable: true,
            read_hang_up: self.read_closed,
            hang_up: self.read_closed && self.write_closed,
            error: core.error.is_some(),
            ..Events::default()
        }
    }

    /// `recvfrom(2)`.
    pub(crate) fn recv(&mut self, core: &mut Core, sink: &mut impl Sink, peek: bool) -> Result<Received> {
        core.check_error()?;
        // As Linux: that reading is over shows only where the call waits.
        let Some(datagram) = self.queue.front() else { return Err(Errno::EAGAIN) };
        let received = Received {
            len: datagram.copy(sink),
            full_len: datagram.len(),
            from: Some(Addr::Inet(core.show(datagram.from))),
            to: Some(core.show(SocketAddr::new(datagram.to, 0)).ip()),
            ecn: datagram.ecn,
            segment_size: datagram.segment_size(),
        };
        if !peek {
            self.queue.pop();
        }
        Ok(received)
    }
}

/// Whether what comes from `from` is for a socket that is connected to `peer`, whose port may be any.
fn is_from(peer: SocketAddr, from: SocketAddr) -> bool {
    peer.ip() == from.ip() && (peer.port() == 0 || peer.port() == from.port())
}

impl Stack {
    /// `connect(2)` of a UDP socket: fixes the peer.
    pub(crate) fn udp_connect(&mut self, id: SocketId, remote: SocketAddr) -> Result<()> {
        self.ensure_port(id)?;
        let remote = self.destination(id, remote)?;
        let core = &self.table.find(id)?.core;
        if is_broadcast(remote.ip()) && !core.options.broadcast {
            return Err(Errno::EACCES);
        }
        let own = core.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let asked = core.bound.is_some_and(|bound| !bound.ip().is_unspecified());
        let ip = match own {
            // As Linux: an address of IPv6 that an earlier `connect` had chosen stays, and is not used.
            Some(ip) if ip.is_ipv6() && remote.is_ipv4() && !asked => ip,
            Some(ip) if ip.is_ipv6() && remote.is_ipv4() => return Err(Errno::ENETUNREACH),
            Some(ip) if ip.is_ipv4() != remote.is_ipv4() => return Err(Errno::EAFNOSUPPORT),
            Some(ip) => ip,
            None => self.source_for(remote.ip())?,
        };
        let socket = self.table.find_mut(id)?;
        socket.core.local = Some(SocketAddr::new(ip, socket.core.port));
        if let Inner::Udp(udp) = &mut socket.inner {
            udp.peer = Some(remote);
        }
        Ok(())
    }

    /// Whatever is asked of a UDP socket, Linux gives it a port first.
    pub(crate) fn ensure_port(&mut self, id: SocketId) -> Result<()> {
        if self.table.find(id)?.core.port == 0 { self.autobind(id) } else { Ok(()) }
    }

    /// `connect(2)` to nowhere: no peer any more, and no port that was not asked for.
    pub(crate) fn udp_disconnect(&mut self, id: SocketId) -> Result<()> {
        let socket = self.table.find_mut(id)?;
        let Inner::Udp(udp) = &mut socket.inner else { return Err(Errno::EOPNOTSUPP) };
        udp.peer = None;
        let port = socket.core.port;
        if let Some(bound) = socket.core.bound {
            socket.core.local = Some(bound);
        } else if port != 0 {
            (socket.core.local, socket.core.port) = (None, 0);
            self.udp_ports.remove(port, id.index());
        }
        Ok(())
    }

    /// Where a datagram goes: to who was named, else to the peer.
    fn udp_destination(&mut self, id: SocketId, to: Option<SocketAddr>) -> Result<SocketAddr> {
        self.ensure_port(id)?;
        let socket = self.table.find(id)?;
        let Inner::Udp(udp) = &socket.inner else { return Err(Errno::EOPNOTSUPP) };
        match (to, udp.peer) {
            (Some(to), _) if socket.core.options.only_v6 && wire(to).is_ipv4() => Err(Errno::ENETUNREACH),
            (Some(to), _) if to.port() == 0 => Err(Errno::EINVAL),
            (Some(to), _) => self.destination(id, to),
            // As Linux: an IPv6 socket looks at the port once more before it sends by IPv4.
            (None, Some(peer))
                if peer.port() == 0 && peer.is_ipv4() && socket.core.domain != Domain::Inet =>
            {
                Err(Errno::EINVAL)
            }
            (None, Some(peer)) => Ok(peer),
            (None, None) => Err(Errno::EDESTADDRREQ),
        }
    }

    /// Where a datagram would go, where the socket is one of UDP.
    pub(crate) fn destination_of(&mut self, id: SocketId, to: Option<&Addr>) -> Result<Option<IpAddr>> {
        let to = match to {
            Some(Addr::Unix(_) | Addr::Netlink { .. }) => return Ok(None),
            Some(Addr::Inet(to)) => Some(*to),
            None => None,
        };
        let socket = self.table.find(id)?;
        let only_v6 = socket.core.options.only_v6;
        if !matches!(socket.inner, Inner::Udp(_)) {
            return Ok(None);
        }
        let ip = self.udp_destination(id, to)?.ip();
        if only_v6 && ip.is_ipv4() { Err(Errno::ENETUNREACH) } else { Ok(Some(ip)) }
    }

    /// `sendto(2)`.
    pub(crate) fn udp_send(
        &mut self,
        id: SocketId,
        data: Bytes,
        to: Option<SocketAddr>,
        extra: SendExtra,
        now: SimTime,
    ) -> Result<usize> {
        let to = self.udp_destination(id, to)?;
        let socket = self.table.find_mut(id)?;
        let over = matches!(&socket.inner, Inner::Udp(udp) if udp.write_closed);
        let asked = socket.core.bound.is_some_and(|bound| !bound.ip().is_unspecified());
        socket.core.check_error()?;
        if is_broadcast(to.ip()) && !socket.core.options.broadcast {
            return Err(Errno::EACCES);
        }
        if socket.core.options.only_v6 && to.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let options = &socket.core.options;
        let (tos, dont_fragment, free_bind) = (options.tos, options.forbids_fragments(), options.free_bind);
        let probes = options.mtu_discovery == MtuDiscovery::Probe;
        let segment = extra.segment_size.unwrap_or(options.udp_segment) as usize;
        let bound = socket.core.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified());
        let most = if to.is_ipv4() { 65_507 } else { 65_527 };
        let each = if segment > 0 { segment.min(data.len()) } else { data.len() };
        let source = match extra.source.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified()) {
            Some(ip) if !self.owns(ip) && to.is_ipv4() => return Err(Errno::ENETUNREACH),
            Some(ip) if !self.owns(ip) => return Err(Errno::EINVAL),
            Some(ip) => ip,
            None => match bound.filter(|ip| !ip.is_multicast() && !is_broadcast(*ip)) {
                // As Linux: an address that the node has no more is not sent from.
                Some(ip) if !free_bind && !self.owns(ip) => return Err(Errno::EINVAL),
                Some(ip) if ip.is_ipv4() == to.is_ipv4() => ip,
                Some(ip) if ip.is_ipv4() => return Err(Errno::EAFNOSUPPORT),
                Some(_) if asked => return Err(Errno::ENETUNREACH),
                _ => self.source_for(to.ip())?,
            },
        };
        let overhead = if to.is_ipv4() { 28 } else { 48 };
        let whole = dont_fragment || segment > 0;
        let mtu = if probes { self.interface_mtu(to.ip()) } else { self.path_mtu(to.ip(), now) };
        if data.len() > most || (whole && each + overhead > mtu) {
            return Err(Errno::EMSGSIZE);
        }
        if segment > 0 && data.len().div_ceil(segment) > SEGMENTS_MAX {
            return Err(Errno::EINVAL);
        }
        if over {
            return Err(Errno::EPIPE);
        }
        let source = SocketAddr::new(source, self.table.find(id)?.core.port);
        let len = data.len();
        let ecn = extra.ecn.unwrap_or(tos) & 3;
        let batch = segment > 0 && fits_a_batch(len) && self.owns(to.ip());
        self.own_batch = batch.then_some((source, to, 0));
        let mut rest = data;
        loop {
            let piece =
                if segment > 0 { rest.split_to(segment.min(rest.len())) } else { std::mem::take(&mut rest) };
            let fits = piece.len() + overhead <= mtu;
            let body = Body::Udp(piece);
            let packet = Box::new(Packet { source, destination: to, ecn, dont_fragment, body });
            let packet = if fits { packet } else { train(packet, mtu, self.next_fragment_id()) };
            self.fx.outbox.push_back(packet);
            if rest.is_empty() {
                return Ok(len);
            }
        }
    }

    /// A datagram arrived.
    pub(crate) fn udp_receive(&mut self, packet: &mut Packet, now: SimTime) {
        let Body::Udp(data) = &mut packet.body else { return };
        let data = std::mem::take(data);
        let (from, to) = (packet.source, packet.destination.ip());
        let datagram = Datagram::new(data, from, to, packet.ecn, now);
        if is_broadcast(to) || to.is_multicast() {
            let joining = self.joining(packet);
            let audience = self.udp_audience(packet);
            return audience.into_iter().for_each(|taker| self.udp_take(taker, datagram.clone(), joining));
        }
        match self.udp_taker(packet) {
            Some(taker) => {
                let joining = self.joining(packet);
                self.udp_take(taker, datagram, joining);
            }
            None => self.refuse(packet, Reason::Port),
        }
    }

    /// The socket at `taker` gets a datagram, if there is room.
    fn udp_take(&mut self, taker: u32, datagram: Datagram, joining: Joining) {
        let Some(socket) = self.table.get_mut(taker) else { return };
        let Inner::Udp(udp) = &mut socket.inner else { return };
        let options = &socket.core.options;
        let joining = if options.udp_receive_offload { joining } else { Joining::Never };
        if udp.queue.push(datagram, joining, options.receive_buffer) {
            socket.core.wake_readers(&mut self.fx);
        } else {
            udp.dropped += 1;
            self.overflows += 1;
        }
    }

    /// What `packet` may be joined to: on loopback, what the same call has sent.
    fn joining(&mut self, packet: &Packet) -> Joining {
        if !self.owns(packet.source.ip()) {
            return Joining::SameMoment;
        }
        match &mut self.own_batch {
            Some(batch) if batch.0 == packet.source && batch.1 == packet.destination => {
                batch.2 += 1;
                if batch.2 == 1 { Joining::Never } else { Joining::Always }
            }
            _ => Joining::Never,
        }
    }

    /// How well the socket at `index` fits a datagram; for a broadcast (`many`) it need not have the address.
    fn udp_score(&self, index: u32, packet: &Packet, many: bool) -> Option<u8> {
        let socket = self.table.get(index)?;
        let Inner::Udp(udp) = &socket.inner else { return None };
        let wild = socket.core.local.is_some_and(|bound| bound.ip().is_unspecified());
        let fit = if many && !wild { Some(2) } else { socket.core.score(packet.destination.ip()) }?;
        match udp.peer {
            Some(peer) if !is_from(peer, packet.source) => None,
            Some(_) => Some(fit + 4),
            None => Some(fit),
        }
    }

    /// The sockets that get a broadcast: all that fit.
    fn udp_audience(&self, packet: &Packet) -> Vec<u32> {
        let bucket = self.udp_ports.bucket(packet.destination.port());
        let owners = bucket.into_iter().flat_map(|bucket| &bucket.owners).copied();
        owners.filter(|index| self.udp_score(*index, packet, true).is_some()).collect()
    }

    /// The socket that gets a datagram.
    fn udp_taker(&self, packet: &Packet) -> Option<u32> {
        let (local, remote) = (packet.destination, packet.source);
        let bucket = self.udp_ports.bucket(local.port())?;
        let score = |index: u32| self.udp_score(index, packet, false);
        if let (1, Some(only)) = (bucket.owners.len(), bucket.owners.first()) {
            return score(*only).map(|_| *only);
        }
        let best = bucket.owners.iter().filter_map(|index| score(*index)).max()?;
        let group: Vec<u32> =
            bucket.owners.iter().copied().filter(|index| score(*index) == Some(best)).collect();
        let spread = Flow::new(local, remote).spread() as usize % group.len();
        let shared = |index: &u32| self.table.get(*index).is_some_and(|s| s.core.options.reuse_port);
        // Without SO_REUSEPORT the newest of those that share the address gets all.
        let place = if group.iter().all(shared) { spread } else { group.len() - 1 };
        group.get(place).copied()
    }

    /// An ICMP error about a datagram that a socket here had sent: only a connected one hears of
    /// it, or one that asked to by `IP_RECVERR`.
    pub(crate) fn udp_unreachable(&mut self, packet: &Packet, icmp: Unreachable) {
        let Some(bucket) = self.udp_ports.bucket(packet.destination.port()) else { return };
        let owners: Vec<u32> = bucket.owners.iter().copied().collect();
        for owner in owners {
            let Some(socket) = self.table.get_mut(owner) else { continue };
            let Inner::Udp(udp) = &socket.inner else { continue };
            let is_own = socket.core.score(packet.destination.ip()).is_some();
            let hears = match udp.peer {
                Some(peer) => is_from(peer, wire(icmp.original)),
                None => socket.core.options.receives_errors(),
            };
            let cares = match icmp.reason {
                Reason::TooBig(_) => socket.core.options.mtu_discovery.cares(icmp.original.is_ipv4()),
                Reason::Port | Reason::Host => true,
            };
            if is_own && hears && cares {
                let errno = match icmp.reason {
                    Reason::Port => Errno::ECONNREFUSED,
                    Reason::Host => Errno::EHOSTUNREACH,
                    Reason::TooBig(_) => Errno::EMSGSIZE,
                };
                socket.core.fail(errno, &mut self.fx);
            }
        }
    }
}
