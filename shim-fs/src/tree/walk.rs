//! What a path means.
//!
//! Owns the walk: folders, links, the image below, and where the machine's own files begin. Must not change
//! anything but to remember what it found in the image. Invariant: limits are Linux'.

use std::collections::VecDeque;

use super::{Folder, Ino, Kind, ROOT, Volume};
use crate::error::{Errno, Result, refuse};
use crate::host::machine;

const LINKS_MAX: u32 = 40;
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 4096;

/// What becomes of the last name of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// A link is followed.
    Follow,
    /// A link is not followed, but before a slash.
    Keep,
    /// It is a name to be made or removed: never followed, and a slash behind it is told.
    Name,
}

impl From<bool> for Last {
    fn from(follow: bool) -> Last {
        if follow { Last::Follow } else { Last::Keep }
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A name in a folder, and what has it.
    Entry { folder: Ino, name: Vec<u8>, ino: Option<Ino>, must_be_folder: bool },
    /// An inode that the path does not name by its own name: the root, `.`, `..`.
    Here(Ino),
    /// A path of the machine.
    Machine(Vec<u8>),
}

impl Found {
    /// What is there.
    ///
    /// # Errors
    /// `ENOENT`.
    pub(crate) fn existing(&self) -> Result<Ino> {
        match self {
            Found::Here(ino) | Found::Entry { ino: Some(ino), .. } => Ok(*ino),
            _ => refuse(libc::ENOENT),
        }
    }
}

impl Volume {
    /// Walks `path` from `start`.
    pub(crate) fn walk(&mut self, start: Ino, path: &[u8], last: impl Into<Last>) -> Result<Found> {
        let last = last.into();
        if path.is_empty() {
            return refuse(libc::ENOENT);
        }
        if path.len() >= PATH_BYTES_MAX {
            return refuse(libc::ENAMETOOLONG);
        }
        if self.all_machine {
            return Ok(Found::Machine(self.absolute(start, path)));
        }
        let mut at = if path[0] == b'/' { ROOT } else { start };
        let mut rest: VecDeque<Vec<u8>> = components(path);
        let mut must_be_folder = path.ends_with(b"/");
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            self.may_search(at)?;
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    at = self.folder(at)?.parent;
                    continue;
                }
                _ => {}
            }
            if let Some(mount) = self.mounts.get(&(at, name.clone())) {
                let mut path = mount.clone();
                rest.iter().for_each(|name| push(&mut path, name));
                return Ok(Found::Machine(path));
            }
            let ino = self.lookup(at, &name)?;
            let is_last = rest.is_empty();
            if let Some(Kind::Link(target)) = ino.map(|ino| &self.inode(ino).kind)
                && (!is_last || last == Last::Follow || last == Last::Keep && must_be_folder)
            {
                links += 1;
                if links > LINKS_MAX {
                    return refuse(libc::ELOOP);
                }
                if target.first() == Some(&b'/') {
                    at = ROOT;
                }
                must_be_folder |= is_last && target.ends_with(b"/");
                let mut all = components(target);
                all.append(&mut rest);
                rest = all;
                continue;
            }
            if is_last {
                if must_be_folder && last != Last::Name && ino.is_some_and(|ino| !self.is_folder(ino)) {
                    return refuse(libc::ENOTDIR);
                }
                return Ok(Found::Entry { folder: at, name, ino, must_be_folder });
            }
            at = ino.ok_or(Errno(libc::ENOENT))?;
        }
        self.folder(at)?;
        Ok(Found::Here(at))
    }

    /// What `folder` has under `name`; an entry of the image becomes an inode now.
    pub(super) fn lookup(&mut self, folder: Ino, name: &[u8]) -> Result<Option<Ino>> {
        if name.len() > NAME_BYTES_MAX {
            return refuse(libc::ENAMETOOLONG);
        }
        let entries = self.folder(folder)?;
        if let Some(slot) = entries.names.get(name) {
            return Ok(*slot);
        }
        let Some(image) = &entries.image else { return Ok(None) };
        let mut path = image.clone();
        push(&mut path, name);
        match machine::stat(&path) {
            Ok(raw) => {
                let ino = self.add_image(&raw, path)?;
                self.folder_mut(folder)?.names.insert(name.to_vec(), Some(ino));
                self.linked(ino, folder, name);
                Ok(Some(ino))
            }
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The names in `folder`, in their order, and what has them.
    pub(crate) fn list(&mut self, folder: Ino) -> Result<Vec<(Vec<u8>, Ino)>> {
        if let Some(image) = self.folder(folder)?.image.clone() {
            for name in machine::list(&image)? {
                // One that vanished from the machine meanwhile is not there.
                self.lookup(folder, &name)?;
            }
            self.folder_mut(folder)?.image = None;
        }
        let names = &self.folder(folder)?.names;
        Ok(names.iter().filter_map(|(name, ino)| Some((name.clone(), (*ino)?))).collect())
    }

    pub(crate) fn folder(&self, ino: Ino) -> Result<&Folder> {
        match &self.inode(ino).kind {
            Kind::Folder(folder) => Ok(folder),
            _ => refuse(libc::ENOTDIR),
        }
    }

    pub(super) fn folder_mut(&mut self, ino: Ino) -> Result<&mut Folder> {
        match &mut self.inode_mut(ino).kind {
            Kind::Folder(folder) => Ok(folder),
            _ => refuse(libc::ENOTDIR),
        }
    }

    pub(crate) fn is_folder(&self, ino: Ino) -> bool {
        matches!(self.inode(ino).kind, Kind::Folder(_))
    }

    /// The path of a folder.
    ///
    /// # Errors
    /// `ENOENT` where it was removed.
    pub(crate) fn path_of(&self, mut folder: Ino) -> Result<Vec<u8>> {
        let mut names = Vec::new();
        while folder != ROOT {
            if self.inode(folder).links == 0 {
                return refuse(libc::ENOENT);
            }
            let entries = self.folder(folder)?;
            names.push(entries.name.clone());
            folder = entries.parent;
        }
        let mut path = Vec::new();
        names.iter().rev().for_each(|name| push(&mut path, name));
        Ok(if path.is_empty() { b"/".to_vec() } else { path })
    }

    fn absolute(&self, start: Ino, path: &[u8]) -> Vec<u8> {
        if path.first() == Some(&b'/') {
            return path.to_vec();
        }
        let mut whole = self.path_of(start).unwrap_or_default();
        push(&mut whole, path);
        whole
    }

    /// Makes the folders of `path` that are not there.
    pub(crate) fn make_folders(&mut self, path: &[u8], now: i64) -> Result<Ino> {
        let mut at = if path.starts_with(b"/") { ROOT } else { self.cwd };
        for name in components(path) {
            at = match self.lookup(at, &name)? {
                Some(ino) => ino,
                None => self.make_folder(at, &name, 0o777, now)?,
            };
        }
        Ok(at)
    }
}

fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}
