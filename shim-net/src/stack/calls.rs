//! The system calls that every kind of socket has: from the call to the protocol.
//!
//! Owns the dispatch, names, options and readiness. Must not know what a protocol does. Invariant: a call
//! on a number that is no open socket of this node fails with `EBADF` and changes nothing.

use std::io::IoSlice;
use std::net::SocketAddr;

use real::io::{Interest, Ready};
use shim_runtime::clock::SimTime;

use super::Stack;
use super::buffer::{Sink, gather};
use super::datagrams::Datagram;
use super::options::{Name, Value};
use super::readiness::Events;
use super::socket::{Addr, Domain, Inner, Kind, Socket, SocketId, UnixAddr};
use super::tcp::{Listener, State, Tcp, tcp_info};
use super::udp::{Received, SendExtra};
use crate::error::{Errno, Result};
use crate::packet::wire;

impl Stack {
    /// `bind(2)`.
    pub(crate) fn bind(&mut self, id: SocketId, address: &Addr) -> Result<()> {
        match (self.table.find(id)?.core.domain, address) {
            (Domain::Unix, Addr::Unix(name)) => self.unix_bind(id, name),
            (Domain::Netlink, Addr::Netlink { port, groups }) => self.netlink_bind(id, *port, *groups),
            (Domain::Inet | Domain::Inet6, Addr::Inet(address)) => self.inet_bind(id, *address),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// `listen(2)`.
    pub(crate) fn listen(&mut self, id: SocketId, backlog: u32) -> Result<()> {
        match self.table.find(id)?.inner {
            Inner::Unix(_) => self.unix_listen(id, backlog),
            Inner::Tcp(_) => self.tcp_listen(id, backlog),
            Inner::Udp(_) | Inner::Netlink(_) => Err(Errno::EOPNOTSUPP),
            Inner::Pipe(_) => Err(Errno::ENOTSOCK),
        }
    }

    /// `connect(2)`.
    pub(crate) fn connect(&mut self, id: SocketId, address: &Addr, now: SimTime) -> Result<()> {
        match (&self.table.find(id)?.inner, address) {
            (Inner::Unix(_), Addr::Unix(name)) => self.unix_connect(id, name),
            (Inner::Tcp(_), Addr::Inet(address)) => self.tcp_connect(id, *address, now),
            (Inner::Udp(_), Addr::Inet(address)) => self.udp_connect(id, *address),
            (Inner::Netlink(_), Addr::Netlink { port, groups }) => self.netlink_connect(id, *port, *groups),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// `accept(2)`, with the address of the peer.
    pub(crate) fn accept(&mut self, id: SocketId) -> Result<(SocketId, Addr)> {
        let child = match self.table.find(id)?.inner {
            Inner::Unix(_) => self.unix_accept(id)?,
            Inner::Tcp(_) => self.tcp_accept(id)?,
            Inner::Udp(_) | Inner::Netlink(_) => return Err(Errno::EOPNOTSUPP),
            Inner::Pipe(_) => return Err(Errno::ENOTSOCK),
        };
        let core = &self.table.find(child)?.core;
        let from = match &self.table.find(child)?.inner {
            Inner::Tcp(Tcp::Connection(t)) => Addr::Inet(core.show(t.remote)),
            Inner::Unix(unix) => Addr::Unix(self.unix_peer_name(unix).unwrap_or(UnixAddr::Unnamed)),
            _ => panic!("invariant: an accepted socket is a connection"),
        };
        Ok((child, from))
    }

    /// `recvfrom(2)`.
    pub(crate) fn recv_from(
        &mut self,
        id: SocketId,
        sink: &mut impl Sink,
        peek: bool,
        now: SimTime,
    ) -> Result<Received> {
        let socket = self.table.find_mut(id)?;
        match &mut socket.inner {
            Inner::Udp(udp) => udp.recv(&mut socket.core, sink, peek),
            Inner::Unix(_) => self.unix_recv(id, sink, peek),
            Inner::Netlink(netlink) => netlink.recv(&mut socket.core, sink, peek, &mut self.fx),
            Inner::Pipe(end) => {
                let end = *end;
                let len = self.pipe_read(end, sink)?;
                Ok(Received { len, full_len: len, from: None, to: None, ecn: 0, segment_size: None })
            }
            Inner::Tcp(_) => {
                let len = self.recv(id, sink, peek, now)?;
                Ok(Received { len, full_len: len, from: None, to: None, ecn: 0, segment_size: None })
            }
        }
    }

    /// `recv(2)`.
    pub(crate) fn recv(
        &mut self,
        id: SocketId,
        sink: &mut impl Sink,
        peek: bool,
        now: SimTime,
    ) -> Result<usize> {
        let socket = self.table.find_mut(id)?;
        match &mut socket.inner {
            Inner::Tcp(Tcp::Connection(_)) => {
                let result = self.with_conn(id.index(), now, |conn| conn.recv(sink, peek));
                result.unwrap_or(Err(Errno::EBADF))
            }
            Inner::Tcp(Tcp::Idle) => {
                socket.core.check_error()?;
                if socket.core.idle_read_closed { Ok(0) } else { Err(Errno::ENOTCONN) }
            }
            Inner::Tcp(_) => Err(Errno::ENOTCONN),
            _ => self.recv_from(id, sink, peek, now).map(|received| received.len),
        }
    }

    /// `sendto(2)` with several buffers.
    pub(crate) fn send_to(
        &mut self,
        id: SocketId,
        data: &[IoSlice<'_>],
        to: Option<&Addr>,
        extra: SendExtra,
        now: SimTime,
    ) -> Result<usize> {
        let socket = self.table.find_mut(id)?;
        match (&socket.inner, to) {
            (Inner::Tcp(Tcp::Connection(_)), _) => {
                let result = self.with_conn(id.index(), now, |conn| conn.send(data));
                result.unwrap_or(Err(Errno::EBADF))
            }
            (Inner::Tcp(_), _) => {
                socket.core.check_error()?;
                Err(Errno::EPIPE)
            }
            (Inner::Udp(_), None) => self.udp_send(id, gather(data, usize::MAX), None, extra, now),
            (Inner::Udp(_), Some(Addr::Inet(to))) => {
                self.udp_send(id, gather(data, usize::MAX), Some(*to), extra, now)
            }
            (Inner::Unix(_), None) => self.unix_send(id, data, None),
            (Inner::Netlink(_), to) => self.netlink_send(id, gather(data, usize::MAX), to),
            (Inner::Pipe(end), None) => {
                let end = *end;
                self.pipe_write(end, data)
            }
            (Inner::Unix(_), Some(Addr::Unix(to))) => self.unix_send(id, data, Some(to)),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// `connect(2)` with an address that is wrong by itself: what the socket says first.
    pub(crate) fn connect_wrong(&mut self, id: SocketId, errno: Errno, now: SimTime) -> Result<()> {
        match &self.table.find(id)?.inner {
            Inner::Tcp(_) => self.tcp_connect_wrong(id, errno, now),
            Inner::Udp(_) => self.ensure_port(id).and(Err(errno)),
            _ => Err(errno),
        }
    }

    /// `connect(2)` to nowhere.
    pub(crate) fn disconnect(&mut self, id: SocketId, now: SimTime) -> Result<()> {
        match &self.table.find(id)?.inner {
            Inner::Tcp(_) => self.tcp_disconnect(id, now),
            Inner::Udp(_) => self.udp_disconnect(id),
            Inner::Unix(_) if self.table.find(id)?.core.kind == Kind::Datagram => self.unix_disconnect(id),
            // It has no peer but the kernel.
            Inner::Netlink(_) => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }

    /// How much a read would give: of a datagram socket the next datagram.
    ///
    /// # Errors
    /// `EINVAL` of a listener.
    pub(crate) fn unread(&self, id: SocketId) -> Result<usize> {
        use super::unix::Role;
        match &self.table.find(id)?.inner {
            Inner::Tcp(Tcp::Connection(t)) => Ok(t.receive.len()),
            Inner::Tcp(Tcp::Idle) => Ok(0),
            Inner::Tcp(Tcp::Listener(_)) => Err(Errno::EINVAL),
            Inner::Udp(udp) => Ok(udp.queue.front().map_or(0, Datagram::len)),
            Inner::Unix(unix) => match &unix.role {
                Role::Listener { .. } => Err(Errno::EINVAL),
                Role::Idle => Ok(0),
                Role::Stream { receive } => Ok(receive.len()),
                Role::Datagram { queue, .. } => Ok(queue.front().map_or(0, |(data, _)| data.len())),
            },
            Inner::Netlink(_) => Err(Errno(libc::ENOTTY)),
            Inner::Pipe(_) => self.pipe_len(id),
        }
    }

    /// `shutdown(2)`.
    pub(crate) fn shutdown(&mut self, id: SocketId, read: bool, write: bool, now: SimTime) -> Result<()> {
        let socket = self.table.find_mut(id)?;
        match &mut socket.inner {
            Inner::Unix(_) => self.unix_shutdown(id, read, write),
            Inner::Netlink(_) => Err(Errno::EOPNOTSUPP),
            Inner::Pipe(_) => Err(Errno::ENOTSOCK),
            Inner::Udp(udp) => {
                udp.read_closed |= read;
                udp.write_closed |= write;
                let result = if udp.peer.is_none() { Err(Errno::ENOTCONN) } else { Ok(()) };
                socket.core.wake_all(&mut self.fx);
                result
            }
            Inner::Tcp(Tcp::Idle) => {
                // As Linux: it is noted all the same.
                socket.core.idle_read_closed |= read;
                socket.core.idle_write_closed |= write;
                socket.core.wake_all(&mut self.fx);
                Err(Errno::ENOTCONN)
            }
            Inner::Tcp(Tcp::Listener(_)) if read => self.tcp_disconnect(id, now),
            Inner::Tcp(Tcp::Listener(_)) => Ok(()),
            Inner::Tcp(Tcp::Connection(t)) => {
                match t.state {
                    State::Closed => {
                        socket.core.gave_up |= std::mem::take(&mut socket.core.connecting);
                        return Err(Errno::ENOTCONN);
                    }
                    // Linux gives the attempt up.
                    State::SynSent => return self.tcp_disconnect(id, now),
                    _ => socket.core.connecting = false,
                }
                self.with_conn(id.index(), now, |conn| {
                    if read {
                        conn.shut_read();
                    }
                    if write {
                        conn.shut_write();
                    }
                });
                Ok(())
            }
        }
    }

    /// `getsockname(2)`.
    pub(crate) fn local_addr(&self, id: SocketId) -> Result<Addr> {
        let socket = self.table.find(id)?;
        match &socket.inner {
            Inner::Unix(unix) => return Ok(Addr::Unix(unix.name.clone())),
            Inner::Netlink(netlink) => return Ok(netlink.address()),
            _ => {}
        }
        let local = match (socket.core.local, socket.core.domain) {
            (Some(local), _) if local.ip().is_unspecified() => local,
            (Some(local), _) => socket.core.show(local),
            (None, Domain::Inet) => SocketAddr::from(([0, 0, 0, 0], 0)),
            (None, _) => SocketAddr::from(([0u16; 8], 0)),
        };
        Ok(Addr::Inet(local))
    }

    /// `getpeername(2)`.
    pub(crate) fn peer_addr(&self, id: SocketId) -> Result<Addr> {
        let socket = self.table.find(id)?;
        match &socket.inner {
            Inner::Tcp(Tcp::Connection(t)) if t.state.synchronized() => {
                Ok(Addr::Inet(socket.core.show(t.remote)))
            }
            Inner::Udp(udp) => match udp.peer.filter(|peer| peer.port() != 0) {
                Some(peer) => Ok(Addr::Inet(socket.core.show(peer))),
                None => Err(Errno::ENOTCONN),
            },
            Inner::Unix(unix) => self.unix_peer_name(unix).map(Addr::Unix).ok_or(Errno::ENOTCONN),
            Inner::Netlink(_) => Ok(Addr::Netlink { port: 0, groups: 0 }),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// `getsockopt(2)`.
    pub(crate) fn option(&mut self, id: SocketId, name: Name, now: SimTime) -> Result<Value> {
        let default_mss = i32::from(self.mtu as u16) - 40;
        if matches!(name, Name::Mtu | Name::MtuV6) {
            let Ok(Addr::Inet(peer)) = self.peer_addr(id) else { return Err(Errno::ENOTCONN) };
            return Ok(Value::Int(self.path_mtu(wire(peer).ip(), now) as i32));
        }
        let socket = self.table.find_mut(id)?;
        match check_level(socket, name) {
            // As Linux, where IPv4 says it otherwise than where it is set.
            Err(Errno::ENOPROTOOPT) if name < Name::Ttl && socket.core.domain == Domain::Inet => {
                return Err(Errno::EOPNOTSUPP);
            }
            checked => checked?,
        }
        Ok(Value::Int(match name {
            Name::Error => socket.core.error.take().map_or(0, |errno| errno.0),
            Name::Type => match (socket.core.kind, &socket.inner) {
                (_, Inner::Netlink(netlink)) if netlink.is_raw => libc::SOCK_RAW,
                (Kind::Stream, _) => libc::SOCK_STREAM,
                (Kind::Datagram, _) => libc::SOCK_DGRAM,
            },
            Name::Domain => match socket.core.domain {
                Domain::Inet => libc::AF_INET,
                Domain::Inet6 => libc::AF_INET6,
                Domain::Unix => libc::AF_UNIX,
                Domain::Netlink => libc::AF_NETLINK,
                Domain::Pipe => return Err(Errno::ENOTSOCK),
            },
            Name::Protocol => match &socket.inner {
                Inner::Tcp(_) => libc::IPPROTO_TCP,
                Inner::Udp(_) => libc::IPPROTO_UDP,
                Inner::Unix(_) | Inner::Netlink(_) | Inner::Pipe(_) => 0,
            },
            Name::TcpInfo => match &socket.inner {
                Inner::Tcp(tcp) => return Ok(Value::Bytes(tcp_info(tcp, now))),
                _ => return Err(Errno::EOPNOTSUPP),
            },
            Name::AcceptsConnections => i32::from(accepts(&socket.inner)),
            _ if name >= Name::NetlinkAddMembership => match &socket.inner {
                Inner::Netlink(netlink) => return netlink.option(name),
                _ => return Err(Errno::ENOPROTOOPT),
            },
            Name::MaxSegment => match &socket.inner {
                Inner::Tcp(Tcp::Connection(t)) => t.mss.into(),
                _ if socket.core.options.max_segment > 0 => socket.core.options.max_segment.into(),
                _ => default_mss,
            },
            _ => return socket.core.options.get(name),
        }))
    }

    /// `setsockopt(2)`.
    pub(crate) fn set_option(&mut self, id: SocketId, name: Name, value: Value, now: SimTime) -> Result<()> {
        let socket = self.table.find_mut(id)?;
        check_level(socket, name)?;
        if let Inner::Netlink(netlink) = &mut socket.inner
            && name >= Name::NetlinkAddMembership
        {
            return netlink.set_option(name, &value);
        }
        if name == Name::OnlyV6 && socket.core.port != 0 {
            return Err(Errno::EINVAL);
        }
        socket.core.options.set(name, value)?;
        self.with_conn(id.index(), now, |conn| match name {
            Name::KeepAlive | Name::KeepIdle => conn.rearm_keep_alive(),
            Name::QuickAck => conn.t.interactive = !conn.core.options.quick_ack,
            Name::Congestion => conn.t.congestion.set_algorithm(conn.core.options.congestion),
            // What waited for company goes now.
            Name::NoDelay | Name::Cork => conn.output(false),
            _ => {}
        });
        Ok(())
    }

    /// Makes the reactor of `runtime` know the socket; what it is ready for is told at the next turn.
    pub(crate) fn register(
        &mut self,
        id: SocketId,
        runtime: u64,
        interest: Interest,
        assumed: Ready,
    ) -> Result<u32> {
        let now = self.events(id)?.ready_for(interest);
        let waiters = &mut self.table.find_mut(id)?.core.waiters;
        let key = waiters.register(runtime, interest, assumed);
        if !now.is_empty()
            && let Some(own) = waiters.find(key)
        {
            own.marked = true;
            self.fx.marked.push((id, key));
        }
        Ok(key)
    }

    /// The reactor's turn for a registration that was marked.
    pub(crate) fn turn(&mut self, id: SocketId, key: u32) {
        let Ok(events) = self.events(id) else { return };
        let Ok(socket) = self.table.find_mut(id) else { return };
        if let Some(own) = socket.core.waiters.find(key) {
            own.turn(events, &mut self.fx);
        }
    }

    /// What `poll(2)` would show of the socket at this moment.
    pub(crate) fn events(&self, id: SocketId) -> Result<Events> {
        let socket = self.table.find(id)?;
        let core = &socket.core;
        Ok(match &socket.inner {
            Inner::Tcp(tcp) => tcp.events(core),
            Inner::Udp(udp) => udp.events(core),
            Inner::Unix(unix) => self.unix_events(core, unix),
            Inner::Netlink(netlink) => netlink.events(core),
            Inner::Pipe(end) => self.pipes.events(core, *end),
        })
    }

    /// Removes the name of a Unix socket's file.
    pub(crate) fn unlink(&mut self, path: &[u8]) -> bool {
        self.unix_unlink(path)
    }

    /// The peer's name, for reports.
    pub(crate) fn unix_name(name: &UnixAddr) -> String {
        match name {
            UnixAddr::Unnamed => "*".to_owned(),
            UnixAddr::Path(path) => String::from_utf8_lossy(path).into_owned(),
            UnixAddr::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
        }
    }
}

fn accepts(inner: &Inner) -> bool {
    match inner {
        Inner::Tcp(tcp) => matches!(tcp, Tcp::Listener(Listener { .. })),
        Inner::Unix(unix) => matches!(unix.role, super::unix::Role::Listener { .. }),
        Inner::Udp(_) | Inner::Netlink(_) | Inner::Pipe(_) => false,
    }
}

/// An option of another protocol is unknown to the socket.
fn check_level(socket: &Socket, name: Name) -> Result<()> {
    let tcp = name >= Name::NoDelay && name <= Name::Congestion;
    let udp = name == Name::UdpSegment || name == Name::UdpReceiveOffload;
    let ip = name >= Name::Ttl;
    match &socket.inner {
        Inner::Netlink(_) if name >= Name::NoDelay && name < Name::NetlinkAddMembership => {
            Err(Errno::ENOPROTOOPT)
        }
        Inner::Tcp(_) | Inner::Udp(_) if name >= Name::NetlinkAddMembership => Err(Errno::ENOPROTOOPT),
        _ if socket.core.domain == Domain::Inet && name >= Name::OnlyV6 => Err(Errno::ENOPROTOOPT),
        Inner::Tcp(_) if udp => Err(Errno::ENOPROTOOPT),
        Inner::Udp(_) if tcp => Err(Errno::ENOPROTOOPT),
        Inner::Unix(_) if tcp || udp || ip => Err(Errno::EOPNOTSUPP),
        _ => Ok(()),
    }
}
