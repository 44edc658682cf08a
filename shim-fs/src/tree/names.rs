//! Changes of names: making, linking, removing, renaming.
//!
//! Owns the rules of each call, with Linux' errors in Linux' order. Must not know what a path is: it is told
//! folders and names. Invariant: each change is in the journal before the call returns.

use super::journal::{Change, Slot};
use super::walk::Found;
use super::{Content, Folder, Ino, Kind, ROOT, Volume};
use crate::error::{Errno, Result, refuse};

/// What `rename` does about a name that is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    Replace,
    Refuse,
    Exchange,
}

impl Volume {
    /// Gives `ino` the name: counts only.
    pub(super) fn linked(&mut self, ino: Ino, folder: Ino, name: &[u8]) {
        let inode = self.inode_mut(ino);
        inode.links += 1;
        if let Kind::Folder(own) = &mut inode.kind {
            (own.parent, own.name) = (folder, name.to_vec());
        }
    }

    /// Takes a name from `ino`: counts only.
    pub(super) fn unlinked(&mut self, ino: Ino) {
        let inode = self.inode_mut(ino);
        inode.links = inode.links.saturating_sub(1);
        self.collect(ino);
    }

    /// Puts `ino` (or nothing) under a name, and tells what changed.
    fn put(&mut self, folder: Ino, name: &[u8], ino: Option<Ino>, now: i64) -> Result<Change> {
        let entries = self.folder_mut(folder)?;
        let old: Slot = entries.names.get(name).copied();
        let new: Slot = match ino {
            Some(ino) => Some(Some(ino)),
            None if entries.image.is_some() => Some(None),
            None => None,
        };
        match new {
            Some(slot) => entries.names.insert(name.to_vec(), slot),
            None => entries.names.remove(name),
        };
        if let Some(ino) = ino {
            self.linked(ino, folder, name);
            self.inode_mut(ino).times.changed = now;
        }
        if let Some(Some(old)) = old {
            let inode = self.inode_mut(old);
            inode.links = inode.links.saturating_sub(1);
            inode.times.changed = now;
        }
        let times = &mut self.inode_mut(folder).times;
        (times.modified, times.changed) = (now, now);
        Ok(Change { folder, name: name.to_vec(), old, new })
    }

    /// A name that is to be made in `folder`: where that may be.
    fn may_make(&self, folder: Ino) -> Result<()> {
        if self.switches.read_only {
            return refuse(libc::EROFS);
        }
        if self.inode(folder).links == 0 {
            return refuse(libc::ENOENT);
        }
        self.may_change_names(folder)
    }

    fn make(&mut self, folder: Ino, name: &[u8], kind: Kind, mode: u32, now: i64) -> Result<Ino> {
        self.may_make(folder)?;
        let ino = self.add(kind, mode, now);
        let change = self.put(folder, name, Some(ino), now)?;
        self.note(vec![change]);
        Ok(ino)
    }

    /// Makes an empty file.
    pub(crate) fn make_file(&mut self, folder: Ino, name: &[u8], mode: u32, now: i64) -> Result<Ino> {
        self.make(folder, name, Kind::File(Content::empty()), mode & 0o7777 & !self.umask, now)
    }

    /// Makes a file without a name (`O_TMPFILE`).
    pub(crate) fn make_nameless(&mut self, folder: Ino, mode: u32, now: i64) -> Result<Ino> {
        self.folder(folder)?;
        self.may_make(folder)?;
        Ok(self.add(Kind::File(Content::empty()), mode & 0o7777 & !self.umask, now))
    }

    /// Makes a folder.
    pub(crate) fn make_folder(&mut self, folder: Ino, name: &[u8], mode: u32, now: i64) -> Result<Ino> {
        let new = Folder { parent: folder, ..Folder::default() };
        self.make(folder, name, Kind::Folder(new), mode & 0o1777 & !self.umask, now)
    }

    /// Makes a symbolic link.
    pub(crate) fn make_link(&mut self, folder: Ino, name: &[u8], target: &[u8], now: i64) -> Result<Ino> {
        self.make(folder, name, Kind::Link(target.to_vec()), 0o777, now)
    }

    /// Makes the name of a pipe or a socket.
    pub(crate) fn make_special(
        &mut self,
        folder: Ino,
        name: &[u8],
        kind: Kind,
        mode: u32,
        now: i64,
    ) -> Result<Ino> {
        self.make(folder, name, kind, mode & 0o7777 & !self.umask, now)
    }

    /// `link(2)`: gives `ino` one more name.
    pub(crate) fn link(&mut self, ino: Ino, folder: Ino, name: &[u8], now: i64) -> Result<()> {
        if self.is_folder(ino) {
            return refuse(libc::EPERM);
        }
        self.may_make(folder)?;
        let change = self.put(folder, name, Some(ino), now)?;
        self.note(vec![change]);
        Ok(())
    }

    /// `unlink(2)`.
    pub(crate) fn unlink(&mut self, found: &Found, now: i64) -> Result<()> {
        let Found::Entry { folder, name, ino, must_be_folder } = found else { return refuse(libc::EISDIR) };
        let ino = ino.ok_or(Errno(libc::ENOENT))?;
        if self.switches.read_only {
            return refuse(libc::EROFS);
        }
        self.may_remove(*folder, ino)?;
        if self.is_folder(ino) {
            return refuse(libc::EISDIR);
        }
        if *must_be_folder {
            return refuse(libc::ENOTDIR);
        }
        self.remove(*folder, name, now)
    }

    /// `rmdir(2)`.
    pub(crate) fn remove_folder(&mut self, found: &Found, ends_in_dot: bool, now: i64) -> Result<()> {
        let Found::Entry { folder, name, ino, .. } = found else {
            return match found {
                Found::Here(ROOT) => refuse(libc::EBUSY),
                _ if ends_in_dot => refuse(libc::EINVAL),
                _ => refuse(libc::ENOTEMPTY),
            };
        };
        let ino = ino.ok_or(Errno(libc::ENOENT))?;
        if self.switches.read_only {
            return refuse(libc::EROFS);
        }
        self.may_remove(*folder, ino)?;
        if !self.is_folder(ino) {
            return refuse(libc::ENOTDIR);
        }
        if self.mounts.keys().any(|(mounted, _)| *mounted == ino) {
            return refuse(libc::EBUSY);
        }
        if !self.list(ino)?.is_empty() {
            return refuse(libc::ENOTEMPTY);
        }
        self.remove(*folder, name, now)
    }

    fn remove(&mut self, folder: Ino, name: &[u8], now: i64) -> Result<()> {
        let change = self.put(folder, name, None, now)?;
        let old = change.old;
        self.note(vec![change]);
        if let Some(Some(ino)) = old {
            self.collect(ino);
        }
        Ok(())
    }

    /// `renameat2(2)`.
    pub(crate) fn rename(&mut self, from: &Found, to: &Found, taken: Taken, now: i64) -> Result<()> {
        let (
            Found::Entry { folder: from_folder, name: from_name, ino: moved, must_be_folder: from_slash },
            Found::Entry { folder: to_folder, name: to_name, ino: target, must_be_folder: to_slash },
        ) = (from, to)
        else {
            return refuse(libc::EBUSY);
        };
        let moved = moved.ok_or(Errno(libc::ENOENT))?;
        if self.switches.read_only {
            return refuse(libc::EROFS);
        }
        if taken == Taken::Refuse && target.is_some() {
            return refuse(libc::EEXIST);
        }
        if taken == Taken::Exchange && target.is_none() {
            return refuse(libc::ENOENT);
        }
        self.may_remove(*from_folder, moved)?;
        self.may_make(*to_folder)?;
        if (*from_slash || *to_slash) && !self.is_folder(moved) {
            return refuse(libc::ENOTDIR);
        }
        if *target == Some(moved) {
            return Ok(());
        }
        if self.is_inside(*to_folder, moved) {
            return refuse(libc::EINVAL);
        }
        if let Some(target) = *target {
            self.may_replace(moved, target, *from_folder, taken)?;
        }
        let other = target.filter(|_| taken == Taken::Exchange);
        let first = self.put(*to_folder, to_name, Some(moved), now)?;
        let second = self.put(*from_folder, from_name, other, now)?;
        self.note(vec![first, second]);
        if let Some(target) = *target {
            self.collect(target);
        }
        // A folder's place is where it was linked last, which is its new one unless both changed.
        for (ino, folder, name) in [(Some(moved), to_folder, to_name), (other, from_folder, from_name)] {
            if let Some(Kind::Folder(own)) = ino.map(|ino| &mut self.inode_mut(ino).kind) {
                (own.parent, own.name) = (*folder, name.clone());
            }
        }
        Ok(())
    }

    fn may_replace(&mut self, moved: Ino, target: Ino, from_folder: Ino, taken: Taken) -> Result<()> {
        if taken == Taken::Exchange {
            return if self.is_inside(from_folder, target) { refuse(libc::EINVAL) } else { Ok(()) };
        }
        if self.is_inside(from_folder, target) {
            return refuse(libc::ENOTEMPTY);
        }
        match (self.is_folder(moved), self.is_folder(target)) {
            (true, false) => refuse(libc::ENOTDIR),
            (false, true) => refuse(libc::EISDIR),
            (true, true) if !self.list(target)?.is_empty() => refuse(libc::ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Whether `folder` is `above` or below it.
    fn is_inside(&self, mut folder: Ino, above: Ino) -> bool {
        loop {
            if folder == above {
                return true;
            }
            if folder == ROOT {
                return false;
            }
            match self.folder(folder) {
                Ok(entries) => folder = entries.parent,
                Err(_) => return false,
            }
        }
    }
}
