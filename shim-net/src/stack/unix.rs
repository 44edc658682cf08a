//! Unix sockets: streams, datagrams and listeners inside one node.
//!
//! Owns [`Unix`] and the node's Unix addresses. Must not know the network: nothing here takes time.
//! Invariant: two stream sockets that are peers know each other until one of them is closed.
//!
//! A path is a name in the node's own table, not a file. What a closed socket leaves behind there may be
//! bound again, because the `unlink` that programs do first goes to the real file system.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::Stack;
use super::buffer::{ReceiveBuffer, Sink, gather};
use super::readiness::Events;
use super::socket::{Addr, Core, Domain, Inner, Kind, SocketId, UnixAddr};
use super::udp::Received;
use crate::error::{Errno, Result};

/// What only a Unix socket has.
pub(crate) struct Unix {
    pub(crate) name: UnixAddr,
    pub(crate) peer: Option<SocketId>,
    pub(crate) peer_name: UnixAddr,
    pub(crate) role: Role,
    /// Whether the application reads, or writes, no more.
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
        receive: ReceiveBuffer,
        /// Whether the peer writes no more.
        eof: bool,
    },
    Datagram {
        queue: VecDeque<(Bytes, UnixAddr)>,
        /// Senders that found the queue full.
        blocked: Vec<SocketId>,
    },
}

/// As Linux' `net.unix.max_dgram_qlen`.
const MOST_DATAGRAMS: usize = 10;

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
            unix.role = Role::Stream { receive: ReceiveBuffer::default(), eof: false };
        }
        Ok(())
    }

    /// `bind(2)`; without a name the kernel makes an abstract one.
    pub(crate) fn unix_bind(&mut self, id: SocketId, name: &UnixAddr) -> Result<()> {
        if self.unix(id)?.1.name != UnixAddr::Unnamed {
            return Err(Errno::EINVAL);
        }
        let mut name = name.clone();
        while name == UnixAddr::Unnamed {
            let own = UnixAddr::Abstract(format!("{:05x}", self.next_unix_serial()).into_bytes());
            if !self.unix_names.contains_key(&own) {
                name = own;
            }
        }
        // A path outlives its socket until somebody removes the file; an abstract name does not.
        if matches!((&name, self.unix_names.get(&name)), (UnixAddr::Path(_), Some(_)) | (_, Some(Some(_)))) {
            return Err(Errno::EADDRINUSE);
        }
        self.unix_names.insert(name.clone(), Some(id));
        self.unix(id)?.1.name = name;
        Ok(())
    }

    /// Somebody removed the file: the name is free, the socket goes on.
    pub(crate) fn unix_unlink(&mut self, path: &[u8]) -> bool {
        self.unix_names.remove(&UnixAddr::Path(path.to_vec())).is_some()
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

    /// The socket bound to `name`.
    fn unix_find(&self, name: &UnixAddr) -> Result<SocketId> {
        match (self.unix_names.get(name), name) {
            (Some(Some(id)), _) => Ok(*id),
            (None, UnixAddr::Path(_)) => Err(Errno::ENOENT),
            _ => Err(Errno::ECONNREFUSED),
        }
    }

    /// `connect(2)`.
    pub(crate) fn unix_connect(&mut self, id: SocketId, name: &UnixAddr) -> Result<()> {
        let (core, unix) = self.unix(id)?;
        let kind = core.kind;
        match unix.role {
            Role::Stream { .. } => return Err(Errno::EISCONN),
            Role::Listener { .. } => return Err(Errno::EINVAL),
            _ => {}
        }
        let own_name = unix.name.clone();
        let target = self.unix_find(name)?;
        let (core, unix) = self.unix(target)?;
        if core.kind != kind {
            return Err(Errno::EPROTOTYPE);
        }
        if kind == Kind::Datagram {
            let unix = self.unix(id)?.1;
            unix.peer = Some(target);
            unix.peer_name = name.clone();
            return Ok(());
        }
        let Role::Listener { backlog, ready } = &unix.role else { return Err(Errno::ECONNREFUSED) };
        if ready.len() as u32 > *backlog {
            return Err(Errno::EAGAIN);
        }
        let options = core.options.clone();
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
        core.check_error()?;
        let limit = core.options.send_buffer;
        if unix.write_closed {
            return Err(Errno::EPIPE);
        }
        match unix.role {
            Role::Idle | Role::Listener { .. } => return Err(Errno::ENOTCONN),
            Role::Datagram { .. } => return self.unix_send_datagram(id, gather(data, usize::MAX), to),
            Role::Stream { .. } if to.is_some() => return Err(Errno::EISCONN),
            Role::Stream { .. } => {}
        }
        let Some(peer) = unix.peer.and_then(|peer| self.table.find_mut(peer).ok()) else {
            return Err(Errno::EPIPE);
        };
        let Inner::Unix(Unix { role: Role::Stream { receive, .. }, read_closed, .. }) = &mut peer.inner
        else {
            return Err(Errno::EPIPE);
        };
        if *read_closed {
            return Err(Errno::EPIPE);
        }
        if data.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
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

    fn unix_send_datagram(&mut self, id: SocketId, data: Bytes, to: Option<&UnixAddr>) -> Result<usize> {
        let (core, unix) = self.unix(id)?;
        if data.len() > core.options.send_buffer {
            return Err(Errno::EMSGSIZE);
        }
        let (name, peer) = (unix.name.clone(), unix.peer);
        let target = match to {
            Some(to) => self.unix_find(to)?,
            None => peer.ok_or(Errno::ENOTCONN)?,
        };
        let Ok((core, unix)) = self.unix(target) else { return Err(Errno::ECONNREFUSED) };
        if unix.peer.is_some_and(|peer| peer != id) {
            return Err(Errno::EPERM);
        }
        if unix.read_closed {
            return Err(Errno::EPIPE);
        }
        let Role::Datagram { queue, blocked } = &mut unix.role else {
            debug_assert!(core.kind == Kind::Stream);
            return Err(Errno::EPROTOTYPE);
        };
        if queue.len() > MOST_DATAGRAMS {
            if !blocked.contains(&id) {
                blocked.push(id);
            }
            return Err(Errno::EAGAIN);
        }
        let len = data.len();
        queue.push_back((data, name));
        if let Ok(socket) = self.table.find_mut(target) {
            socket.core.wake_readers(&mut self.fx);
        }
        Ok(len)
    }

    /// `recvfrom(2)`.
    pub(crate) fn unix_recv(&mut self, id: SocketId, sink: &mut impl Sink, peek: bool) -> Result<Received> {
        let (core, unix) = self.unix(id)?;
        let peer = unix.peer;
        let result = match &mut unix.role {
            Role::Idle => return Err(Errno::EINVAL),
            Role::Listener { .. } => return Err(Errno::EINVAL),
            Role::Stream { receive, eof } => {
                let held = receive.len();
                if held == 0 {
                    core.check_error()?;
                    if !(*eof || unix.read_closed || sink.is_full()) {
                        return Err(Errno::EAGAIN);
                    }
                }
                let len = receive.read(sink, peek);
                if len > 0 && !peek {
                    self.wake_peer_writers(peer);
                }
                return Ok(Received { len, full_len: len, from: None, to: None, ecn: 0, segment_size: None });
            }
            Role::Datagram { queue, blocked } => {
                core.check_error()?;
                let Some((data, from)) = queue.front() else {
                    let nothing =
                        Received { len: 0, full_len: 0, from: None, to: None, ecn: 0, segment_size: None };
                    return if unix.read_closed { Ok(nothing) } else { Err(Errno::EAGAIN) };
                };
                let received = Received {
                    len: sink.take(data),
                    full_len: data.len(),
                    from: Some(Addr::Unix(from.clone())),
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
        if core.kind == Kind::Stream && !matches!(unix.role, Role::Stream { .. }) {
            return Err(Errno::ENOTCONN);
        }
        unix.read_closed |= read;
        unix.write_closed |= write;
        let (peer, stream) = (unix.peer, core.kind == Kind::Stream);
        let socket = self.table.find_mut(id)?;
        socket.core.wake_all(&mut self.fx);
        if let (true, Some(Ok(peer))) = (stream, peer.map(|peer| self.table.find_mut(peer))) {
            if let Inner::Unix(Unix { role: Role::Stream { eof, .. }, .. }) = &mut peer.inner {
                *eof |= write;
            }
            peer.core.wake_all(&mut self.fx);
        }
        Ok(())
    }

    /// `close(2)`: the peer reads the end, or a reset where something was not read.
    pub(crate) fn unix_close(&mut self, index: u32) {
        let Some(socket) = self.table.get_mut(index) else { return };
        let id = socket.core.id;
        let Inner::Unix(unix) = &mut socket.inner else { return };
        let (name, peer) = (unix.name.clone(), unix.peer);
        let role = std::mem::replace(&mut unix.role, Role::Idle);
        self.free(index);
        if self.unix_names.get(&name) == Some(&Some(id)) {
            match name {
                UnixAddr::Path(_) => self.unix_names.insert(name, None),
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
            Role::Stream { receive, .. } => {
                let Some(Ok(peer)) = peer.map(|peer| self.table.find_mut(peer)) else { return };
                if let Inner::Unix(Unix { role: Role::Stream { eof, .. }, .. }) = &mut peer.inner {
                    *eof = true;
                }
                if receive.len() > 0 {
                    peer.core.error = Some(Errno::ECONNRESET);
                }
                peer.core.wake_all(&mut self.fx);
            }
            Role::Datagram { blocked, .. } => {
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
        let error = core.error.is_some();
        match &unix.role {
            Role::Idle => Events { writable: true, hang_up: true, error, ..Events::default() },
            Role::Listener { ready, .. } => {
                Events { readable: !ready.is_empty(), error, ..Events::default() }
            }
            Role::Stream { receive, eof } => {
                let waiting = peer.map_or(0, |peer| match &peer.inner {
                    Inner::Unix(Unix { role: Role::Stream { receive, .. }, .. }) => receive.len(),
                    _ => 0,
                });
                let read_over = *eof || unix.read_closed;
                Events {
                    readable: receive.len() > 0 || read_over || error,
                    writable: peer.is_none() || unix.write_closed || waiting * 4 <= core.options.send_buffer,
                    read_hang_up: read_over,
                    hang_up: peer.is_none() || (read_over && unix.write_closed),
                    error,
                    ..Events::default()
                }
            }
            Role::Datagram { queue, .. } => {
                let full = peer.is_some_and(|peer| match &peer.inner {
                    Inner::Unix(Unix { role: Role::Datagram { queue, .. }, .. }) => {
                        queue.len() > MOST_DATAGRAMS
                    }
                    _ => false,
                });
                Events {
                    readable: !queue.is_empty() || unix.read_closed || error,
                    writable: !full,
                    read_hang_up: unix.read_closed,
                    hang_up: unix.read_closed && unix.write_closed,
                    error,
                    ..Events::default()
                }
            }
        }
    }
}
