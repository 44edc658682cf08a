//! One node's file system: an upper layer in memory over the machine's own files.
//!
//! Owns inodes and their life. Must not know descriptors, faults, nor what time it is: `now` is an argument.
//! Invariant: an inode lives as long as it has a name, is open, or a change that is not durable could give
//! it a name back.
//!
//! * `walk` finds what a path means; `names` changes names; `journal` knows which changes are durable;
//! * `content` is what a file contains; `attributes` is what is known about a file.

pub(crate) mod attributes;
pub(crate) mod content;
mod journal;
pub(crate) mod names;
pub(crate) mod walk;

use std::collections::BTreeMap;

use shim_runtime::rng::Stream;

use crate::error::{Result, refuse};
use crate::faults::{Image, PowerLoss, Switches};
use crate::host::machine::{self, Raw};
use content::Content;

/// The number of an inode. Numbers are never used again.
pub(crate) type Ino = u64;

/// The root folder.
pub(crate) const ROOT: Ino = 2;

/// A folder's names.
#[derive(Default)]
pub(crate) struct Folder {
    /// `None` is a name that the image has and this file system has not.
    pub(super) names: BTreeMap<Vec<u8>, Option<Ino>>,
    /// The folder of the machine whose names are seen through, while not all of them are here.
    pub(super) image: Option<Vec<u8>>,
    pub(super) parent: Ino,
    pub(super) name: Vec<u8>,
}

/// What an inode is.
pub(crate) enum Kind {
    File(Content),
    Folder(Folder),
    Link(Vec<u8>),
    Fifo,
    Socket,
    /// A device of the machine, with the type bits of its mode.
    Device(u32, Vec<u8>),
}

/// When what happened to a file, in nanoseconds of the node's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) accessed: i64,
    pub(crate) modified: i64,
    pub(crate) changed: i64,
    pub(crate) born: i64,
}

/// A file, a folder, a link.
pub(crate) struct Inode {
    pub(crate) kind: Kind,
    /// Permissions, without the type.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u64,
    pub(crate) times: Times,
    pub(super) links: u32,
    /// How many descriptions of it are open.
    pub(super) open: u32,
    /// How many changes that are not durable took a name from it.
    pub(super) pins: u32,
}

/// What a loss of power did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) names: u64,
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

/// A node's file system.
pub(crate) struct Volume {
    pub(crate) inodes: BTreeMap<Ino, Inode>,
    next_ino: Ino,
    journal: Vec<journal::Group>,
    pub(crate) cwd: Ino,
    pub(crate) umask: u32,
    /// Folders' names under which the machine's own files are.
    mounts: BTreeMap<(Ino, Vec<u8>), Vec<u8>>,
    /// All is the machine's.
    pub(crate) all_machine: bool,
    pub(crate) switches: Switches,
    /// Times of the image are never later than this.
    born: i64,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Volume {
    /// The file system of a node that begins at `now`.
    pub(crate) fn new(switches: Switches, now: i64) -> Volume {
        let (uid, gid) = machine::identity();
        let mut volume = Volume {
            inodes: BTreeMap::new(),
            next_ino: ROOT,
            journal: Vec::new(),
            cwd: ROOT,
            umask: 0o022,
            mounts: BTreeMap::new(),
            all_machine: false,
            switches,
            born: now,
            uid,
            gid,
        };
        let image = (volume.switches.image == Image::Machine).then(|| b"/".to_vec());
        let root = Folder { image, parent: ROOT, ..Folder::default() };
        let ino = volume.add(Kind::Folder(root), 0o755, now);
        volume.inodes.get_mut(&ino).expect("invariant: just added").links = 1;
        volume.begin_folders(now);
        volume
    }

    /// What every node has: the folder that the process is in, one for temporary files, and the machine's own.
    fn begin_folders(&mut self, now: i64) {
        let cwd = machine::cwd();
        let temporary = machine::temporary();
        if self.switches.image == Image::Empty {
            for path in [&cwd, &temporary, b"/dev/shm".as_slice(), b"/etc"] {
                // A folder that cannot be made is one that the process cannot use either.
                let _ = self.make_folders(path, now);
            }
            for name in ["null", "zero", "full", "random", "urandom", "tty"] {
                self.pass_through(format!("/dev/{name}").as_bytes());
            }
        }
        for path in self.switches.pass_through.clone() {
            self.pass_through(&path);
        }
        if let Ok(walk::Found::Here(ino) | walk::Found::Entry { ino: Some(ino), .. }) =
            self.walk(ROOT, &cwd, true)
        {
            self.cwd = ino;
        }
        // What was there from the beginning is durable.
        self.journal.clear();
        self.inodes.values_mut().for_each(|inode| inode.pins = 0);
    }

    /// Lets `path` be the machine's own from now on.
    pub(crate) fn pass_through(&mut self, path: &[u8]) {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if path.is_empty() {
            self.all_machine = true;
            return;
        }
        let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (folder, name) = (&path[..parent.max(1)], &path[parent + 1..]);
        let folder = match self.walk(ROOT, folder, true) {
            Ok(walk::Found::Here(ino) | walk::Found::Entry { ino: Some(ino), .. }) => ino,
            // Inside of another prefix, or nowhere: there is nothing to see it from.
            _ => return,
        };
        self.mounts.insert((folder, name.to_vec()), path.to_vec());
    }

    pub(super) fn add(&mut self, kind: Kind, mode: u32, now: i64) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        let times = Times { accessed: now, modified: now, changed: now, born: now };
        let (uid, gid) = (self.uid, self.gid);
        let inode = Inode { kind, mode, uid, gid, rdev: 0, times, links: 0, open: 0, pins: 0 };
        self.inodes.insert(ino, inode);
        ino
    }

    /// An inode for what the image has at `path`.
    fn add_image(&mut self, raw: &Raw, path: Vec<u8>) -> Result<Ino> {
        let kind = match raw.mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File(Content::image(path, raw.size)),
            libc::S_IFDIR => Kind::Folder(Folder { image: Some(path), ..Folder::default() }),
            libc::S_IFLNK => Kind::Link(machine::read_link(&path)?),
            other => Kind::Device(other, path),
        };
        let ino = self.add(kind, raw.mode & 0o7777, 0);
        let born = self.born;
        let inode = self.inodes.get_mut(&ino).expect("invariant: just added");
        (inode.uid, inode.gid, inode.rdev) = (raw.uid, raw.gid, raw.rdev);
        inode.times = Times {
            accessed: raw.times.accessed.min(born),
            modified: raw.times.modified.min(born),
            changed: raw.times.changed.min(born),
            born: raw.times.born.min(born),
        };
        Ok(ino)
    }

    pub(crate) fn inode(&self, ino: Ino) -> &Inode {
        self.inodes.get(&ino).expect("invariant: an inode that is in use exists")
    }

    pub(crate) fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("invariant: an inode that is in use exists")
    }

    /// The contents of `ino`, which must be a file.
    pub(crate) fn content(&mut self, ino: Ino) -> Result<&mut Content> {
        match &mut self.inode_mut(ino).kind {
            Kind::File(content) => Ok(content),
            Kind::Folder(_) => refuse(libc::EISDIR),
            _ => refuse(libc::EINVAL),
        }
    }

    pub(crate) fn opened(&mut self, ino: Ino) {
        self.inode_mut(ino).open += 1;
    }

    /// A description of `ino` is closed; whether it was the last and the file lives on.
    pub(crate) fn closed(&mut self, ino: Ino) -> bool {
        let Some(inode) = self.inodes.get_mut(&ino) else { return false };
        inode.open = inode.open.saturating_sub(1);
        let last = inode.open == 0;
        self.collect(ino);
        last && self.inodes.contains_key(&ino)
    }

    /// Whether any description of `ino` is open.
    pub(crate) fn is_open(&self, ino: Ino) -> bool {
        self.inodes.get(&ino).is_some_and(|inode| inode.open > 0)
    }

    /// Drops `ino` if nothing can reach it any more.
    pub(super) fn collect(&mut self, ino: Ino) {
        if self.inodes.get(&ino).is_some_and(|inode| inode.links == 0 && inode.open == 0 && inode.pins == 0) {
            self.inodes.remove(&ino);
        }
    }

    /// How many bytes the files of the upper layer have.
    pub(crate) fn used_bytes(&self) -> u64 {
        let used = |inode: &Inode| match &inode.kind {
            Kind::File(content) if content.image_path().is_none() && (inode.links > 0 || inode.open > 0) => {
                content.len()
            }
            _ => 0,
        };
        self.inodes.values().map(used).sum()
    }

    /// The machine lost power. Nobody has anything open any more.
    pub(crate) fn lose_power(&mut self, how: PowerLoss, draw: &mut Stream) -> Loss {
        let mut loss = Loss { names: self.lose_names(how, draw), ..Loss::default() };
        let all: Vec<Ino> = self.inodes.keys().copied().collect();
        for ino in all {
            let inode = self.inode_mut(ino);
            inode.open = 0;
            if let Kind::File(content) = &mut inode.kind {
                // A file of memory that cannot be read any more has lost everything.
                let lost = content.lose_power(how, draw).unwrap_or_default();
                loss.bytes += lost;
                loss.files += u64::from(lost > 0);
            }
            self.collect(ino);
        }
        loss
    }
}
