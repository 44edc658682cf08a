//! The names of Unix sockets: paths of the node, and its abstract name space.
//!
//! Owns the table of names. Must not know what is sent. Invariant: a name leads to one socket of a kind at most.

use super::{Sender, Unix};
use crate::error::{Errno, Result};
use crate::stack::Stack;
use crate::stack::socket::{Addr, Inner, Kind, SocketId, UnixAddr};

impl Stack {
    /// `bind(2)`; without a name the kernel makes an abstract one.
    pub(crate) fn unix_bind(&mut self, id: SocketId, name: &UnixAddr) -> Result<()> {
        let (core, unix) = self.unix(id)?;
        let (kind, bound) = (core.kind, unix.name != UnixAddr::Unnamed);
        match name {
            UnixAddr::Unnamed if bound => return Ok(()),
            // As Linux, which makes the file first.
            UnixAddr::Path(_) if self.unix_names.contains_key(&key(name, kind)) => {
                return Err(Errno::EADDRINUSE);
            }
            _ if bound => return Err(Errno::EINVAL),
            _ => {}
        }
        let mut name = name.clone();
        while name == UnixAddr::Unnamed {
            let own = UnixAddr::Abstract(format!("{:05x}", self.next_unix_serial()).into_bytes());
            if !self.unix_names.contains_key(&key(&own, kind)) {
                name = own;
            }
        }
        // A path outlives its socket until somebody removes the file; an abstract name does not.
        let taken = self.unix_names.get(&key(&name, kind));
        if matches!((&name, taken), (UnixAddr::Path(_), Some(_)) | (_, Some(Some(_)))) {
            return Err(Errno::EADDRINUSE);
        }
        self.unix_names.insert(key(&name, kind), Some(id));
        self.unix(id)?.1.name = name;
        Ok(())
    }

    /// Somebody removed the file: the name is free, the socket goes on.
    pub(crate) fn unix_unlink(&mut self, path: &[u8]) -> bool {
        self.unix_names.remove(&key(&UnixAddr::Path(path.to_vec()), Kind::Stream)).is_some()
    }

    /// The socket of kind `kind` that is bound to `name`.
    pub(super) fn unix_find(&self, name: &UnixAddr, kind: Kind) -> Result<SocketId> {
        let id = match (self.unix_names.get(&key(name, kind)), name) {
            (_, UnixAddr::Unnamed) => return Err(Errno::EINVAL),
            (Some(Some(id)), _) => *id,
            (None, UnixAddr::Path(_)) => return Err(Errno::ENOENT),
            _ => return Err(Errno::ECONNREFUSED),
        };
        if self.table.find(id)?.core.kind == kind { Ok(id) } else { Err(Errno::EPROTOTYPE) }
    }

    /// The name that a sender has now, or had when it was closed.
    pub(super) fn unix_name_of(&self, sender: &Sender) -> UnixAddr {
        match self.table.find(sender.id).map(|socket| &socket.inner) {
            Ok(Inner::Unix(unix)) => unix.name.clone(),
            _ => sender.name.clone(),
        }
    }

    /// The name of the peer.
    pub(crate) fn unix_peer_name(&self, unix: &Unix) -> Option<UnixAddr> {
        let name = unix.peer_name.clone();
        unix.peer.map(|id| self.unix_name_of(&Sender { id, name }))
    }
}

/// What the table of names is searched by: two sockets of different kinds may have one abstract name, as two files
/// may not have one path.
pub(super) fn key(name: &UnixAddr, kind: Kind) -> (UnixAddr, Kind) {
    let kind = if matches!(name, UnixAddr::Path(_)) { Kind::Stream } else { kind };
    (name.clone(), kind)
}

/// A sender that a receiver is told of; one without a name is not.
pub(super) fn named(name: UnixAddr) -> Option<Addr> {
    (name != UnixAddr::Unnamed).then_some(Addr::Unix(name))
}
