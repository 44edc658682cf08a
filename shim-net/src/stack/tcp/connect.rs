//! `connect(2)`: the addresses, the port, and the first SYN.
//!
//! Owns the errors of `connect` and the choice of the local end. Must not know what comes back.
//! Invariant: no two connections of a node have the same four numbers.

use std::net::{IpAddr, SocketAddr};

use shim_runtime::clock::SimTime;

use super::{State, Tcb, Tcp};
use crate::error::{Errno, Result};
use crate::packet::wire;
use crate::stack::Stack;
use crate::stack::bind::unspecified;
use crate::stack::socket::{Core, Domain, Inner, SocketId};
use crate::stack::table::Flow;

impl Stack {
    /// `connect(2)` of a TCP socket; `EINPROGRESS` where it is under way.
    pub(crate) fn tcp_connect(&mut self, id: SocketId, remote: SocketAddr, now: SimTime) -> Result<()> {
        let socket = self.table.find_mut(id)?;
        let Inner::Tcp(tcp) = &socket.inner else { return Err(Errno::EOPNOTSUPP) };
        match check_state(&mut socket.core, tcp) {
            Ok(Now::Connected) => return Ok(()),
            Ok(Now::Idle) => {}
            Ok(Now::Failed(errno)) => {
                self.tcp_disconnect(id, now)?;
                return Err(errno);
            }
            Err(errno) => return Err(errno),
        }
        let remote = self.destination(id, remote)?;
        let socket = self.table.find_mut(id)?;
        let bound = socket.core.bound;
        let (port, keeps_port) = (socket.core.port, socket.core.chose_port);
        let max_segment = socket.core.options.max_segment;
        let only_v6 = socket.core.options.only_v6;
        if only_v6 && remote.is_ipv4() {
            return Err(Errno::ENETUNREACH);
        }
        let ip = match bound.map(|local| local.ip()).filter(|ip| !ip.is_unspecified()) {
            Some(ip) if ip.is_ipv4() == remote.is_ipv4() => ip,
            Some(ip) if ip.is_ipv4() => return Err(Errno::EAFNOSUPPORT),
            Some(_) => return Err(Errno::ENETUNREACH),
            None => self.source_for(remote.ip())?,
        };
        let local = self.claim_port(id, ip, port, remote)?;
        let mut mss = self.mss(remote.ip(), now);
        if max_segment > 0 {
            mss = mss.min(max_segment);
        }
        let iss = self.next_iss();
        let index = id.index();
        self.flows.insert(Flow::new(local, remote), index);
        let socket = self.table.find_mut(id)?;
        socket.core.local = Some(local);
        socket.core.error = None;
        socket.core.connecting = true;
        let mut t = Tcb::new(State::SynSent, local, remote, iss, mss);
        t.keeps_port = keeps_port;
        socket.inner = Inner::Tcp(Tcp::Connection(Box::new(t)));
        self.with_conn(index, now, |conn| conn.begin());
        Err(Errno::EINPROGRESS)
    }

    /// As `connect(2)`, with an address that is wrong by itself.
    pub(crate) fn tcp_connect_wrong(&mut self, id: SocketId, errno: Errno, now: SimTime) -> Result<()> {
        let socket = self.table.find_mut(id)?;
        let Inner::Tcp(tcp) = &socket.inner else { return Err(Errno::EOPNOTSUPP) };
        match check_state(&mut socket.core, tcp)? {
            Now::Connected => Ok(()),
            Now::Idle => Err(errno),
            Now::Failed(errno) => self.tcp_disconnect(id, now).and(Err(errno)),
        }
    }

    /// `connect(2)` to nowhere, and what a failed one leaves: a socket as new, but for its address and options.
    pub(crate) fn tcp_disconnect(&mut self, id: SocketId, now: SimTime) -> Result<()> {
        let index = id.index();
        let mut was_open = true;
        match &self.table.find(id)?.inner {
            Inner::Tcp(Tcp::Connection(t)) => {
                was_open = t.state != State::Closed;
                self.with_conn(index, now, |conn| {
                    if conn.t.state.synchronized() {
                        conn.send_reset();
                    }
                    conn.finish();
                });
            }
            Inner::Tcp(Tcp::Listener(_)) => self.close_listener(index, now),
            _ => {}
        }
        let socket = self.table.find_mut(id)?;
        socket.inner = Inner::Tcp(Tcp::Idle);
        let core = &mut socket.core;
        core.gave_up = false;
        (core.connecting, core.idle_read_closed, core.idle_write_closed) = (false, false, false);
        core.error = None;
        // The port is shown for as long as there is no other one, also where it is the socket's no longer.
        if let Some(local) = &mut core.local {
            let none = unspecified(core.domain == Domain::Inet);
            local.set_ip(core.bound.map_or(none, |bound| bound.ip()));
        }
        core.wake_all(&mut self.fx);
        let port = core.port;
        if port != 0 && !core.chose_port && was_open {
            core.port = 0;
            self.tcp_ports.remove(port, index);
        }
        Ok(())
    }

    /// The wire form of where to connect; the unspecified address means this host.
    pub(crate) fn destination(&self, id: SocketId, remote: SocketAddr) -> Result<SocketAddr> {
        let core = &self.table.find(id)?.core;
        core.check_family(remote)?;
        let mut remote = wire(remote);
        if remote.ip().is_unspecified() {
            let own = core.local.map(|local| local.ip()).filter(|ip| ip.is_ipv4());
            remote.set_ip(match own.filter(|ip| !ip.is_unspecified()) {
                // As Linux' routes have it: to the address that it comes from.
                Some(own) if remote.is_ipv4() => own,
                _ if remote.is_ipv4() || own.is_some() => IpAddr::from([127, 0, 0, 1]),
                _ => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(remote)
    }

    /// The local end: a port that was bound, or one that is free for this peer.
    fn claim_port(&mut self, id: SocketId, ip: IpAddr, port: u16, remote: SocketAddr) -> Result<SocketAddr> {
        let flows = &self.flows;
        let taken = |port| flows.contains_key(&Flow::new(SocketAddr::new(ip, port), remote));
        if port != 0 {
            return if taken(port) { Err(Errno::EADDRNOTAVAIL) } else { Ok(SocketAddr::new(ip, port)) };
        }
        let port = self
            .tcp_ports
            .choose(|port, bucket| bucket.is_none_or(|bucket| bucket.shared && !taken(port)))
            .ok_or(Errno::EADDRNOTAVAIL)?;
        self.tcp_ports.add(port, id.index(), true);
        self.table.find_mut(id)?.core.port = port;
        Ok(SocketAddr::new(ip, port))
    }
}

/// What a `connect` finds.
enum Now {
    Idle,
    /// The one before has succeeded, and nobody was told.
    Connected,
    /// The one before has failed, or what it made is over.
    Failed(Errno),
}

fn check_state(core: &mut Core, tcp: &Tcp) -> Result<Now> {
    let t = match tcp {
        Tcp::Idle => return Ok(Now::Idle),
        Tcp::Listener(_) => return Err(Errno::EISCONN),
        Tcp::Connection(t) => t,
    };
    match t.state {
        _ if core.gave_up => Err(Errno::EINVAL),
        _ if !core.connecting => Err(Errno::EISCONN),
        State::SynSent | State::SynReceived => Err(Errno::EALREADY),
        State::Closed => Ok(Now::Failed(core.error.take().unwrap_or(Errno::ECONNABORTED))),
        _ => {
            core.connecting = false;
            Ok(Now::Connected)
        }
    }
}
