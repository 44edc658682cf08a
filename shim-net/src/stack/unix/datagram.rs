//! Unix datagrams: who may send to whom, and what becomes of what was sent.
//!
//! Owns peers of datagram sockets and the room in their queues. Must not know streams. Invariant: a socket that has a
//! peer takes datagrams from that one alone.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{DATAGRAM_COST, DATAGRAM_OVERHEAD, MOST_DATAGRAMS, Role, Sender};
use crate::error::{Errno, Result};
use crate::stack::Stack;
use crate::stack::socket::{Inner, Kind, SocketId, UnixAddr};

impl Stack {
    pub(super) fn unix_connect_datagram(
        &mut self,
        id: SocketId,
        target: SocketId,
        name: &UnixAddr,
    ) -> Result<()> {
        if !self.unix(target)?.1.takes_from(id, target) {
            return Err(Errno::EPERM);
        }
        let unix = self.unix(id)?.1;
        let before = unix.peer.replace(target);
        unix.peer_name = name.clone();
        if before.is_some_and(|before| before != target) {
            self.unix_leave(id, before);
        }
        Ok(())
    }

    /// `connect(2)` to nowhere: a datagram socket has no peer any more.
    pub(crate) fn unix_disconnect(&mut self, id: SocketId) -> Result<()> {
        let unix = self.unix(id)?.1;
        let before = unix.peer.take();
        unix.peer_name = UnixAddr::Unnamed;
        self.unix_leave(id, before);
        Ok(())
    }

    /// A datagram socket has left its peer: what had come from there is lost, of which a peer that was connected in
    /// turn hears.
    pub(super) fn unix_leave(&mut self, id: SocketId, before: Option<SocketId>) {
        let Ok((core, unix)) = self.unix(id) else { return };
        let Role::Datagram { queue, .. } = &mut unix.role else { return };
        if queue.is_empty() {
            return;
        }
        queue.clear();
        let _core = core;
        let Some(Ok(socket)) = before.map(|before| self.table.find_mut(before)) else { return };
        if matches!(&socket.inner, Inner::Unix(other) if other.peer == Some(id)) {
            socket.core.fail(Errno::ECONNRESET, &mut self.fx);
        }
    }

    pub(super) fn unix_send_datagram(
        &mut self,
        id: SocketId,
        data: Bytes,
        to: Option<&UnixAddr>,
    ) -> Result<usize> {
        let (core, unix) = self.unix(id)?;
        let (name, peer) = (unix.name.clone(), unix.peer);
        let limit = core.options.send_buffer;
        if data.len() > limit - DATAGRAM_OVERHEAD {
            return Err(Errno::EMSGSIZE);
        }
        core.check_error()?;
        if unix.write_closed {
            return Err(Errno::EPIPE);
        }
        if to.is_none() && peer.is_none() {
            return Err(Errno::ENOTCONN);
        }
        let target = match (to, peer) {
            (Some(to), _) => self.unix_find(to, Kind::Datagram)?,
            (None, Some(peer)) if self.table.find(peer).is_ok() => peer,
            _ => {
                self.unix_disconnect(id)?;
                return Err(Errno::ECONNREFUSED);
            }
        };
        let (core, unix) = self.unix(target)?;
        if !unix.takes_from(id, target) {
            return Err(Errno::EPERM);
        }
        if unix.read_closed {
            return Err(Errno::EPIPE);
        }
        let Role::Datagram { queue, blocked } = &mut unix.role else {
            debug_assert!(core.kind == Kind::Stream);
            return Err(Errno::EPROTOTYPE);
        };
        if is_full(queue, unix.peer == Some(id), limit) {
            if !blocked.contains(&id) {
                blocked.push(id);
            }
            return Err(Errno::EAGAIN);
        }
        let len = data.len();
        queue.push_back((data, Sender { id, name }));
        if let Ok(socket) = self.table.find_mut(target) {
            socket.core.wake_readers(&mut self.fx);
        }
        Ok(len)
    }

    /// A datagram socket is closed: what it sent and nobody has read is from the name that it has now.
    pub(super) fn unix_remember_name(&mut self, id: SocketId, name: &UnixAddr) {
        for socket in self.table.iter_mut() {
            let Inner::Unix(unix) = &mut socket.inner else { continue };
            let Role::Datagram { queue, .. } = &mut unix.role else { continue };
            for (_, sender) in queue.iter_mut().filter(|(_, sender)| sender.id == id) {
                sender.name = name.clone();
            }
            if unix.peer == Some(id) {
                unix.peer_name = name.clone();
            }
        }
    }
}

/// Whether a queue takes no more: of one who takes from everybody by the number of datagrams, between two that are
/// connected to each other by the sender's buffer.
pub(super) fn is_full(queue: &VecDeque<(Bytes, Sender)>, mutual: bool, limit: usize) -> bool {
    let held = || queue.iter().map(|(data, _)| data.len() + DATAGRAM_COST).sum::<usize>();
    if mutual { held() > limit } else { queue.len() > MOST_DATAGRAMS }
}
