//! What is known about a file: its status, and who may do what with it.
//!
//! Owns permissions and times. Must not know names. Invariant: the superuser may do everything, as on Linux.

use super::{Ino, Kind, Times, Volume};
use crate::error::{Result, refuse};

/// May be read.
pub(crate) const READ: u32 = 4;
/// May be written.
pub(crate) const WRITE: u32 = 2;
/// May be executed, or searched.
pub(crate) const EXECUTE: u32 = 1;

/// What `stat(2)` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) ino: Ino,
    /// With the type.
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u64,
    pub(crate) size: u64,
    pub(crate) times: Times,
}

impl Volume {
    /// `stat(2)`.
    pub(crate) fn status(&self, ino: Ino) -> Status {
        let inode = self.inode(ino);
        let (kind, size) = match &inode.kind {
            Kind::File(content) => (libc::S_IFREG, content.len()),
            Kind::Folder(_) => (libc::S_IFDIR, 4096),
            Kind::Link(target) => (libc::S_IFLNK, target.len() as u64),
            Kind::Fifo => (libc::S_IFIFO, 0),
            Kind::Socket => (libc::S_IFSOCK, 0),
            Kind::Device(kind, _) => (*kind, 0),
        };
        let links = match &inode.kind {
            Kind::Folder(folder) if inode.links > 0 => {
                let below = folder.names.values().flatten().filter(|ino| self.is_folder(**ino)).count();
                2 + below as u32
            }
            _ => inode.links,
        };
        Status {
            ino,
            mode: kind | inode.mode,
            links,
            uid: inode.uid,
            gid: inode.gid,
            rdev: inode.rdev,
            size,
            times: inode.times,
        }
    }

    /// Whether the process may do `wanted` (bits of `access(2)`) with `ino`.
    pub(crate) fn may(&self, ino: Ino, wanted: u32) -> bool {
        let inode = self.inode(ino);
        if self.uid == 0 {
            let runs = inode.mode & 0o111 != 0 || matches!(inode.kind, Kind::Folder(_));
            return wanted & EXECUTE == 0 || runs;
        }
        let granted = if inode.uid == self.uid {
            inode.mode >> 6
        } else if inode.gid == self.gid {
            inode.mode >> 3
        } else {
            inode.mode
        };
        granted & wanted == wanted
    }

    pub(super) fn may_search(&self, folder: Ino) -> Result<()> {
        self.folder(folder)?;
        if self.may(folder, EXECUTE) { Ok(()) } else { refuse(libc::EACCES) }
    }

    pub(super) fn may_change_names(&self, folder: Ino) -> Result<()> {
        if self.may(folder, WRITE | EXECUTE) { Ok(()) } else { refuse(libc::EACCES) }
    }

    /// Whether `ino` may lose its name in `folder`: others' files stay in a sticky folder.
    pub(super) fn may_remove(&self, folder: Ino, ino: Ino) -> Result<()> {
        self.may_change_names(folder)?;
        let owner = self.inode(folder);
        let sticky = owner.mode & 0o1000 != 0 && self.uid != 0;
        if sticky && owner.uid != self.uid && self.inode(ino).uid != self.uid {
            return refuse(libc::EPERM);
        }
        Ok(())
    }

    /// What changes an inode itself: its owner or the superuser may, where the disk can be written.
    fn may_change(&self, ino: Ino) -> Result<()> {
        if self.switches.read_only {
            return refuse(libc::EROFS);
        }
        if self.uid != 0 && self.inode(ino).uid != self.uid {
            return refuse(libc::EPERM);
        }
        Ok(())
    }

    /// `chmod(2)`.
    pub(crate) fn set_mode(&mut self, ino: Ino, mode: u32, now: i64) -> Result<()> {
        self.may_change(ino)?;
        if matches!(self.inode(ino).kind, Kind::Link(_)) {
            return refuse(libc::EOPNOTSUPP);
        }
        let inode = self.inode_mut(ino);
        inode.mode = mode & 0o7777;
        inode.times.changed = now;
        Ok(())
    }

    /// `chown(2)`; `u32::MAX` leaves what it is.
    pub(crate) fn set_owner(&mut self, ino: Ino, uid: u32, gid: u32, now: i64) -> Result<()> {
        self.may_change(ino)?;
        let foreign = |wanted: u32, own: u32| wanted != u32::MAX && wanted != own;
        if self.uid != 0 && (foreign(uid, self.uid) || foreign(gid, self.gid)) {
            return refuse(libc::EPERM);
        }
        let inode = self.inode_mut(ino);
        if uid != u32::MAX {
            inode.uid = uid;
        }
        if gid != u32::MAX {
            inode.gid = gid;
        }
        inode.times.changed = now;
        Ok(())
    }

    /// `utimensat(2)`; `None` leaves what it is.
    pub(crate) fn set_times(
        &mut self,
        ino: Ino,
        accessed: Option<i64>,
        modified: Option<i64>,
        now: i64,
    ) -> Result<()> {
        self.may_change(ino)?;
        let times = &mut self.inode_mut(ino).times;
        times.accessed = accessed.unwrap_or(times.accessed);
        times.modified = modified.unwrap_or(times.modified);
        times.changed = now;
        Ok(())
    }

    /// The contents of `ino` were changed.
    pub(crate) fn touch(&mut self, ino: Ino, now: i64) {
        let times = &mut self.inode_mut(ino).times;
        (times.modified, times.changed) = (now, now);
    }
}
