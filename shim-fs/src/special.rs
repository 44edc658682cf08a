//! The seam to what has a name here and lives elsewhere: Unix sockets, pipes, devices.
//!
//! Owns the names. Must not know sockets: whoever does registers [`SpecialFiles`]. Invariant: a name is made
//! before anything is bound to it, and is not removed with it.

use std::os::fd::RawFd;
use std::sync::OnceLock;

use libc::c_int;
use shim_runtime::device;

use crate::disks::Disks;
use crate::error::{Errno, Result, refuse};
use crate::tree::Kind;
use crate::tree::walk::Found;

/// What the owner of sockets and pipes does when their names are used.
#[derive(Clone, Copy)]
pub struct SpecialFiles {
    /// A device of the machine was opened inside a run.
    pub device_opened: fn(fd: RawFd, path: &[u8]),
    /// The pipe with the given number is opened, on the current node; `open(2)`'s flags.
    pub open_pipe: fn(id: u64, flags: c_int) -> std::result::Result<RawFd, i32>,
    /// A name of a socket or a pipe was removed, by the path that was used; whether it was one. Where files are
    /// not simulated, this is asked about every path.
    pub removed: fn(path: &[u8]) -> bool,
}

static OWNER: OnceLock<SpecialFiles> = OnceLock::new();

/// Registers the owner of sockets and pipes; the first one stays.
pub fn register(owner: SpecialFiles) {
    let _ = OWNER.set(owner);
}

pub(crate) fn owner() -> Option<&'static SpecialFiles> {
    OWNER.get()
}

/// What kind of special file a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    /// A Unix socket.
    Socket,
    /// A named pipe.
    Pipe,
}

/// Makes the name of a special file on the current node; its number there. Does nothing where files are not
/// simulated, or the path is the machine's.
///
/// # Errors
/// `EEXIST` where the name is taken; as `mknod(2)`.
pub fn make(path: &[u8], special: Special, mode: u32) -> Result<Option<u64>> {
    if !device::is_reachable() {
        return Ok(None);
    }
    device::with::<Disks, _>(|disks, cx| {
        let node = cx.node().0;
        let now = cx.wall_ns() as i64;
        let volume = disks.volume(node, cx)?;
        match volume.walk(volume.cwd, path, false)? {
            Found::Machine(_) => Ok(None),
            Found::Entry { folder, name, ino: None, must_be_folder: false } => {
                let kind = match special {
                    Special::Socket => Kind::Socket,
                    Special::Pipe => Kind::Fifo,
                };
                volume.make_special(folder, &name, kind, mode, now).map(Some)
            }
            Found::Entry { ino: None, .. } => refuse(libc::ENOENT),
            _ => Err(Errno(libc::EEXIST)),
        }
    })
}

/// Takes back what [`make`] did, where the binding failed after it.
pub fn take_back(path: &[u8]) {
    if !device::is_reachable() {
        return;
    }
    device::with::<Disks, _>(|disks, cx| {
        let node = cx.node().0;
        let now = cx.wall_ns() as i64;
        // It was made a moment ago; where the node died meanwhile, it stays.
        let _ = disks.volume(node, cx).and_then(|volume| {
            let found = volume.walk(volume.cwd, path, false)?;
            volume.unlink(&found, now)
        });
    });
}

/// What special file a path of the current node leads to, and its number.
pub fn find(path: &[u8]) -> Option<(Special, u64)> {
    if !device::is_reachable() {
        return None;
    }
    device::with::<Disks, _>(|disks, cx| {
        let node = cx.node().0;
        let volume = disks.volume(node, cx).ok()?;
        let ino = volume.walk(volume.cwd, path, true).ok()?.existing().ok()?;
        match volume.inode(ino).kind {
            Kind::Socket => Some((Special::Socket, ino)),
            Kind::Fifo => Some((Special::Pipe, ino)),
            _ => None,
        }
    })
}
