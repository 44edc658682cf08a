//! Listeners: the queue of finished connections, the backlog, `listen` and `accept`.
//!
//! Owns [`Listener`] and how a SYN becomes a socket. Must not know data. Invariant: a full queue refuses
//! silently, as Linux does, so that the peer tries again.

use std::collections::VecDeque;

use shim_runtime::clock::SimTime;

use super::{Conn, State, Tcb, Tcp};
use crate::error::{Errno, Result};
use crate::packet::{Body, Packet};
use crate::stack::Stack;
use crate::stack::socket::{Inner, Kind, SocketId};
use crate::stack::table::Flow;

/// A socket that takes connections.
pub(crate) struct Listener {
    pub(crate) backlog: u32,
    /// Connections that nobody accepted yet, oldest first.
    pub(crate) ready: VecDeque<u32>,
}

/// As Linux' `net.core.somaxconn`.
const MOST_BACKLOG: u32 = 4096;

impl Listener {
    /// Linux lets one more in than the backlog says.
    fn full(&self) -> bool {
        self.ready.len() as u32 > self.backlog
    }
}

impl Stack {
    /// `listen(2)`.
    pub(crate) fn tcp_listen(&mut self, id: SocketId, backlog: u32) -> Result<()> {
        let backlog = backlog.min(MOST_BACKLOG);
        let socket = self.table.find_mut(id)?;
        match &mut socket.inner {
            Inner::Tcp(Tcp::Listener(listener)) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Inner::Tcp(Tcp::Idle) => {}
            Inner::Tcp(_) => return Err(Errno::EINVAL),
            _ => return Err(Errno::EOPNOTSUPP),
        }
        if socket.core.port == 0 {
            self.autobind(id)?;
        }
        self.check_listen(id)?;
        let socket = self.table.find_mut(id)?;
        socket.inner = Inner::Tcp(Tcp::Listener(Listener { backlog, ready: VecDeque::new() }));
        let port = socket.core.local.map_or(0, |local| local.port());
        self.listeners.entry(port).or_default().push(id.index());
        Ok(())
    }

    /// `accept(2)`: the oldest finished connection.
    pub(crate) fn tcp_accept(&mut self, id: SocketId) -> Result<SocketId> {
        let socket = self.table.find_mut(id)?;
        let Inner::Tcp(tcp) = &mut socket.inner else { return Err(Errno::EOPNOTSUPP) };
        let Tcp::Listener(listener) = tcp else { return Err(Errno::EINVAL) };
        let Some(index) = listener.ready.pop_front() else { return Err(Errno::EAGAIN) };
        let child = self.table.get_mut(index).expect("invariant: a queued connection is in the table");
        if let Inner::Tcp(Tcp::Connection(t)) = &mut child.inner {
            t.parent = None;
            t.queued = false;
        }
        Ok(child.core.id)
    }

    /// The listener for a SYN: the most specific address wins; a `SO_REUSEPORT` group shares by flow.
    pub(crate) fn find_listener(&self, packet: &Packet) -> Option<u32> {
        let (local, remote) = (packet.destination, packet.source);
        let candidates = self.listeners.get(&local.port())?;
        let score = |index: u32| self.table.get(index).and_then(|socket| socket.core.score(local.ip()));
        let best = candidates.iter().filter_map(|index| score(*index)).max()?;
        let group: Vec<u32> =
            candidates.iter().copied().filter(|index| score(*index) == Some(best)).collect();
        let place = if group.len() > 1 { Flow::new(local, remote).spread() % group.len() as u64 } else { 0 };
        group.get(place as usize).copied()
    }

    /// A SYN for the listener at `parent`: makes a socket that is in its handshake.
    pub(crate) fn on_syn(&mut self, parent: u32, packet: &Packet, now: SimTime) {
        let Body::Tcp(segment) = &packet.body else { return };
        let iss = self.next_iss();
        let mss = self.mss(packet.source.ip(), now);
        let Some(socket) = self.table.get(parent) else { return };
        let Inner::Tcp(Tcp::Listener(listener)) = &socket.inner else { return };
        if listener.full() {
            return;
        }
        let (domain, options) = (socket.core.domain, socket.core.options.clone());
        let closed = (socket.core.idle_read_closed, socket.core.idle_write_closed);
        let mss = if options.max_segment > 0 { mss.min(options.max_segment) } else { mss };
        let mut t = Tcb::new(State::SynReceived, packet.destination, packet.source, iss, mss);
        t.parent = Some(parent);
        let id = self.table.insert(domain, Kind::Stream, Inner::Tcp(Tcp::Connection(Box::new(t))));
        let index = id.index();
        self.flows.insert(Flow::new(packet.destination, packet.source), index);
        self.tcp_ports.add(packet.destination.port(), index, false);
        if let Some(child) = self.table.get_mut(index) {
            child.core.options = options;
            (child.core.idle_read_closed, child.core.idle_write_closed) = closed;
            child.core.local = Some(packet.destination);
            child.core.port = packet.destination.port();
        }
        self.with_conn(index, now, |conn: &mut Conn<'_>| {
            conn.take_syn(segment);
            conn.begin();
        });
    }

    /// Whether the listener of the half-open connection at `index` has no room for it.
    pub(crate) fn parent_full(&self, index: u32) -> bool {
        let Some(Inner::Tcp(Tcp::Connection(t))) = self.table.get(index).map(|socket| &socket.inner) else {
            return false;
        };
        if t.state != State::SynReceived {
            return false;
        }
        let parent = t.parent.and_then(|parent| self.table.get(parent));
        matches!(parent.map(|socket| &socket.inner), Some(Inner::Tcp(Tcp::Listener(l))) if l.full())
    }

    /// Puts a connection that has just been established into its listener's queue.
    pub(crate) fn enqueue(&mut self, index: u32, parent: u32) {
        let Some(socket) = self.table.get_mut(parent) else { return };
        let Inner::Tcp(Tcp::Listener(listener)) = &mut socket.inner else { return };
        listener.ready.push_back(index);
        socket.core.wake_readers(&mut self.fx);
    }

    /// The listener at `index` is gone: so are the connections that nobody accepted.
    pub(crate) fn close_listener(&mut self, index: u32, now: SimTime) {
        let Some(socket) = self.table.get_mut(index) else { return };
        socket.inner = Inner::Tcp(Tcp::Idle);
        let port = socket.core.local.map_or(0, |local| local.port());
        if let Some(group) = self.listeners.get_mut(&port) {
            group.retain(|other| *other != index);
            if group.is_empty() {
                self.listeners.remove(&port);
            }
        }
        let orphan = |socket: &&crate::stack::socket::Socket| match &socket.inner {
            Inner::Tcp(Tcp::Connection(t)) => t.parent == Some(index),
            _ => false,
        };
        let orphans: Vec<u32> = self.table.iter().filter(orphan).map(|s| s.core.id.index()).collect();
        for orphan in orphans {
            self.with_conn(orphan, now, |conn| {
                conn.core.detached = true;
                conn.t.parent = None;
                if conn.t.state.synchronized() && conn.t.state != State::TimeWait {
                    conn.send_reset();
                }
                conn.finish();
            });
        }
    }
}
