//! Unix sockets: streams, datagrams and listeners inside one node.
//!
//! Owns [`Unix`] and the node's Unix addresses. Must not know the network: nothing here takes time.
//! Invariant: two stream sockets that are peers know each other until one of them is closed.
//!
//! A path is a name in the node's own table, not a file. What a closed socket leaves behind there may be
//! bound again, because the `unlink` that programs do first goes to the real file system.

mod datagram;
mod names;

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::error::{Errno, Result};
use crate::stack::Stack;
use crate::stack::buffer::{ReceiveBuffer, Sink, gather};
use crate::stack::readiness::Events;
use crate::stack::socket::{Core, Domain, Inner, Kind, SocketId, UnixAddr};
use crate::stack::udp::Received;
use datagram::is_full;
use names::{key, named};

/// What only a Unix socket has.
pub(crate) struct Unix {
    pub(crate) name: UnixAddr,
    pub(crate) peer: Option<SocketId>,
    pub(crate) peer_name: UnixAddr,
    pub(crate) role: Role,
    /// Whether there is nothing to read, or no way to write, any more; by which side's doing is all the same.
    pub(crate) read_closed: bool,
    pub(crate) write_closed: bool,
}

/// What a Unix socket is at the moment.
pub(crate) enum Role {
    /// New, or only bound.
    Idle,
    Listener {
        backlog: u32,
        ready: VecDeque<u32>,
    },
    Stream {
        /// What came, and from where.
        receive: ReceiveBuffer,
    },
    Datagram {
        queue: VecDeque<(Bytes, Sender)>,
        /// Senders that found the queue full.
        blocked: Vec<SocketId>,
    },
}

/// As Linux' `net.unix.max_dgram_qlen`.
const MOST_DATAGRAMS: usize = 10;
/// What a datagram costs in the sender's buffer beside its data.
const DATAGRAM_COST: usize = 768;
/// What of a send buffer no datagram may use.
const DATAGRAM_OVERHEAD: usize = 32;

/// Who sent a datagram, and the name that it had then.
#[derive(Clone)]
pub(crate) struct Sender {
    id: SocketId,
    name: UnixAddr,
}

impl Unix {
    pub(crate) fn new(kind: Kind) -> Unix {
        let role = match kind {
            Kind::Stream => Role::Idle,
            Kind::Datagram => Role::Datagram { queue: VecDeque::new(), blocked: Vec::new() },
        };
        Unix {
            name: UnixAddr::Unnamed,
            peer: None,
            peer_name: UnixAddr::Unnamed,
            role,
            read_closed: false,
            write_closed: false,
        }
    }
}

impl Unix {
    /// Whether a datagram socket, `own`, takes what `from` sends: where it has a peer, from that one only.
    fn takes_from(&self, from: SocketId, own: SocketId) -> bool {
        debug_assert!(from.node() == own.node());
        self.peer.is_none_or(|peer| peer == from)
    }
}

impl Stack {
    fn unix(&mut self, id: SocketId) -> Result<(&mut Core, &mut Unix)> {
        let socket = self.table.find_mut(id)?;
        match &mut socket.inner {
            Inner::Unix(unix) => Ok((&mut socket.core, unix)),
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// `socketpair(2)`.
    pub(crate) fn socketpair(&mut self, kind: Kind) -> Result<(SocketId, SocketId)> {
        let (a, b) = (self.socket(Domain::Unix, kind)?, self.socket(Domain::Unix, kind)?);
        self.join(a, b)?;
        self.join(b, a)?;
        Ok((a, b))
    }

    fn join(&mut self, id: SocketId, peer: SocketId) -> Result<()> {
        let (core, unix) = self.unix(id)?;
        unix.peer = Some(peer);
        if core.kind == Kind::Stream {
            unix.role = Role::Stream { receive: ReceiveBuffer::default() };
        }
        Ok(())
    }

    /// `listen(2)`.
    pub(crate) fn unix_listen(&mut self, id: SocketId, most: u32) -> Result<()> {
        let (core, unix) = self.unix(id)?;
        if core.kind != Kind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        if unix.name == UnixAddr::Unnamed {
            return Err(Errno::EINVAL);
        }
        match &mut unix.role {
            Role::Idle => unix.role = Role::Listener { backlog: most, ready: VecDeque::new() },
            Role::Listener { backlog, .. } => *backlog = most,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// `connect(2)`.
    pub(crate) fn unix_connect(&mut self, id: SocketId, name: &UnixAddr) -> Result<()> {
        let (core, unix) = self.unix(id)?;
        let (kind, own_name) = (core.kind, unix.name.clone());
        let target = self.unix_find(name, kind)?;
        if kind == Kind::Datagram {
            return self.unix_connect_datagram(id, target, name);
        }
        let (core, unix) = self.unix(target)?;
        let Role::Listener { backlog, ready } = &unix.role else { return Err(Errno::ECONNREFUSED) };
        if unix.read_closed {
            return Err(Errno::ECONNREFUSED);
        }
        if ready.len() as u32 > *backlog {
            return Err(Errno::EAGAIN);
        }
        let options = core.options.clone();
        match self.unix(id)?.1.role {
            Role::Stream { .. } => return Err(Errno::EISCONN),
            Role::Listener { .. } => return Err(Errno::EINVAL),
            _ => {}
        }
        let child = self.socket(Domain::Unix, Kind::Stream)?;
        self.join(child, id)?;
        self.join(id, child)?;
        let (core, unix) = self.unix(child)?;
        core.options = options;
        unix.name = name.clone();
        unix.peer_name = own_name;
        self.unix(id)?.1.peer_name = name.clone();
        let socket = self.table.find_mut(target)?;
        if let Inner::Unix(Unix { role: Role::Listener { ready, .. }, .. }) = &mut socket.inner {
            ready.push_back(child.index());
        }
        socket.core.wake_readers(&mut self.fx);
        let socket = self.table.find_mut(id)?;
        socket.core.wake_writers(&mut self.fx);
        Ok(())
    }

    /// `accept(2)`.
    pub(crate) fn unix_accept(&mut self, id: SocketId) -> Result<SocketId> {
        if self.unix(id)?.0.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let Role::Listener { ready, .. } = &mut self.unix(id)?.1.role else { return Err(Errno::EINVAL) };
        let index = ready.pop_front().ok_or(Errno::EAGAIN)?;
        let child = self.table.get(index).expect("invariant: a queued connection is in the table");
        Ok(child.core.id)
    }

    /// `sendto(2)`.
    pub(crate) fn unix_send(
        &mut self,
        id: SocketId,
        data: &[IoSlice<'_>],
        to: Option<&UnixAddr>,
    ) -> Result<usize> {
        let (core, unix) = self.unix(id)?;
        let limit = core.options.send_buffer;
        match unix.role {
            Role::Datagram { .. } => return self.unix_send_datagram(id, gather(data, usize::MAX), to),
            Role::Stream { .. } if to.is_some() => return Err(Errno::EISCONN),
            _ if to.is_some() => return Err(Errno::EOPNOTSUPP),
            Role::Idle | Role::Listener { .. } => return Err(Errno::ENOTCONN),
            Role::Stream { .. } => {}
        }
        if unix.write_closed {
            return Err(Errno::EPIPE);
        }
        if data.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        core.check_error()?;
        let peer = unix.peer;
        let Some(peer) = peer.and_then(|peer| self.table.find_mut(peer).ok()) else {
            return Err(Errno::EPIPE);
        };
        let Inner::Unix(Unix { role: Role::Stream { receive, .. }, read_closed, .. }) = &mut peer.inner
        else {
            return Err(Errno::EPIPE);
        };
        if *read_closed {
            return Err(Errno::EPIPE);
        }
        let room = limit.saturating_sub(receive.len());
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let chunk = gather(data, room);
        let len = chunk.len();
        receive.push(chunk);
        peer.core.wake_readers(&mut self.fx);
        Ok(len)
    }

    /// `recvfrom(2)`.
    pub(crate) fn unix_recv(&mut self, id: SocketId, sink: &mut impl Sink, peek: bool) -> Result<Received> {
        let sender = match &self.unix(id)?.1 {
            Unix { role: Role::Datagram { queue, .. }, .. } => queue.front().map(|(_, from)| from.clone()),
            unix => unix.peer.map(|id| Sender { id, name: unix.peer_name.clone() }),
        };
        let from = sender.map_or(UnixAddr::Unnamed, |sender| self.unix_name_of(&sender));
        let (core, unix) = self.unix(id)?;
        let peer = unix.peer;
        let result = match &mut unix.role {
            Role::Idle => return Err(Errno::EINVAL),
            Role::Listener { .. } => return Err(Errno::EINVAL),
            Role::Stream { receive } => {
                let held = receive.len();
                if held == 0 {
                    core.check_error()?;
                    if !unix.read_closed {
                        return Err(Errno::EAGAIN);
                    }
                }
                let len = receive.read(sink, peek);
                if len > 0 && !peek {
                    self.wake_peer_writers(peer);
                }
                let from = (held > 0).then_some(from).and_then(named);
                return Ok(Received { len, full_len: len, from, to: None, ecn: 0, segment_size: None });
            }
            Role::Datagram { queue, blocked } => {
                core.check_error()?;
                // As Linux: the end of it shows only where the call waits.
                let Some((data, _)) = queue.front() else { return Err(Errno::EAGAIN) };
                let received = Received {
                    len: sink.take(data),
                    full_len: data.len(),
                    from: named(from),
                    to: None,
                    ecn: 0,
                    segment_size: None,
                };
                if peek {
                    return Ok(received);
                }
                queue.pop_front();
                (received, std::mem::take(blocked))
            }
        };
        // Those who were refused, and those who saw by readiness that there is no room.
        for sender in result.1 {
            self.wake_peer_writers(Some(sender));
        }
        for socket in self.table.iter_mut() {
            if matches!(&socket.inner, Inner::Unix(unix) if unix.peer == Some(id)) {
                socket.core.wake_writers(&mut self.fx);
            }
        }
        Ok(result.0)
    }

    fn wake_peer_writers(&mut self, peer: Option<SocketId>) {
        if let Some(Ok(peer)) = peer.map(|peer| self.table.find_mut(peer)) {
            peer.core.wake_writers(&mut self.fx);
        }
    }

    /// `shutdown(2)`.
    pub(crate) fn unix_shutdown(&mut self, id: SocketId, read: bool, write: bool) -> Result<()> {
        let (core, unix) = self.unix(id)?;
        unix.read_closed |= read;
        unix.write_closed |= write;
        let (peer, stream) = (unix.peer, core.kind == Kind::Stream);
        self.table.find_mut(id)?.core.wake_all(&mut self.fx);
        if stream {
            self.unix_end_peer(peer, write, read);
        }
        Ok(())
    }

    /// The other end of a stream reads, or writes, no more.
    fn unix_end_peer(&mut self, peer: Option<SocketId>, read: bool, write: bool) {
        let Some(Ok(socket)) = peer.map(|peer| self.table.find_mut(peer)) else { return };
        if let Inner::Unix(unix) = &mut socket.inner {
            unix.read_closed |= read;
            unix.write_closed |= write;
        }
        socket.core.wake_all(&mut self.fx);
    }

    /// `close(2)`: the peer reads the end, or a reset where something was not read.
    pub(crate) fn unix_close(&mut self, index: u32) {
        let Some(socket) = self.table.get_mut(index) else { return };
        let id = socket.core.id;
        let Inner::Unix(unix) = &mut socket.inner else { return };
        let (name, peer) = (key(&unix.name, socket.core.kind), unix.peer);
        let role = std::mem::replace(&mut unix.role, Role::Idle);
        self.free(index);
        if self.unix_names.get(&name) == Some(&Some(id)) {
            match name.0 {
                UnixAddr::Path(_) => self.unix_names.insert(name.clone(), None),
                _ => self.unix_names.remove(&name),
            };
        }
        match role {
            Role::Idle => {}
            Role::Listener { ready, .. } => {
                for child in ready {
                    self.unix_reset_queued(child);
                    self.unix_close(child);
                }
            }
            Role::Stream { receive } => {
                if receive.len() > 0
                    && let Some(Ok(peer)) = peer.map(|peer| self.table.find_mut(peer))
                {
                    peer.core.error = Some(Errno::ECONNRESET);
                }
                if let Some(Ok(peer)) = peer.map(|peer| self.table.find_mut(peer))
                    && let Inner::Unix(other) = &mut peer.inner
                {
                    other.peer_name = name.0.clone();
                }
                self.unix_end_peer(peer, true, true);
            }
            Role::Datagram { blocked, .. } => {
                self.unix_remember_name(id, &name.0);
                for sender in blocked {
                    self.wake_peer_writers(Some(sender));
                }
            }
        }
    }

    /// The listener of a connection that nobody has accepted is closed: its other end learns that.
    fn unix_reset_queued(&mut self, index: u32) {
        let peer = self.table.get(index).and_then(|child| match &child.inner {
            Inner::Unix(unix) => unix.peer,
            _ => None,
        });
        if let Some(Ok(peer)) = peer.map(|peer| self.table.find_mut(peer)) {
            peer.core.error = Some(Errno::ECONNRESET);
        }
    }

    /// What `poll(2)` would show.
    pub(crate) fn unix_events(&self, core: &Core, unix: &Unix) -> Events {
        let peer = unix.peer.and_then(|peer| self.table.find(peer).ok());
        let over = unix.read_closed && unix.write_closed;
        let (queued, writable) = match &unix.role {
            Role::Idle => (false, true),
            Role::Listener { ready, .. } => (!ready.is_empty(), false),
            Role::Stream { receive } => {
                let waiting = peer.map_or(0, |peer| match &peer.inner {
                    Inner::Unix(Unix { role: Role::Stream { receive, .. }, .. }) => receive.len(),
                    _ => 0,
                });
                (receive.len() > 0, waiting * 4 <= core.options.send_buffer)
            }
            Role::Datagram { queue, .. } => {
                let full = peer.is_some_and(|peer| match &peer.inner {
                    Inner::Unix(Unix { role: Role::Datagram { queue, .. }, peer: back, .. }) => {
                        is_full(queue, *back == Some(core.id), core.options.send_buffer)
                    }
                    _ => false,
                });
                (!queue.is_empty(), !full)
            }
        };
        Events {
            readable: queued || unix.read_closed,
            writable,
            read_hang_up: unix.read_closed,
            hang_up: over || matches!(unix.role, Role::Idle),
            error: core.error.is_some(),
            ..Events::default()
        }
    }
}
