//! What a test may do to disks.
//!
//! Owns nothing: it acts on the world's disks. Must not know descriptors. Invariant: what a test writes or
//! reads here meets no fault, and is durable.

use std::io;
use std::time::Duration;

use shim_runtime::device::{self, DeviceContext};
use shim_runtime::node::NodeId;
use shim_runtime::trace::Kind as Traced;

use crate::disks::Disks;
use crate::error::{Errno, Result};
pub use crate::faults::{DiskOp, DiskStats, Image, Journal, PowerLoss};
use crate::tree::Volume;
use crate::tree::walk::Found;

fn with<R>(node: NodeId, f: impl FnOnce(&mut Volume, &mut DeviceContext<'_>) -> R) -> R {
    device::with::<Disks, _>(|disks, cx| f(&mut disks.disk(node.0, cx).volume, cx))
}

/// Nodes that have not used their disk yet begin with this image.
pub fn set_default_image(image: Image) {
    device::with::<Disks, _>(|disks, _| disks.defaults.image = image);
}

/// On nodes that have not used their disk yet, `path` is the machine's own.
pub fn pass_through_by_default(path: &[u8]) {
    device::with::<Disks, _>(|disks, _| disks.defaults.pass_through.push(path.to_vec()));
}

/// Lets `path` be the machine's own on `node`.
pub fn pass_through(node: NodeId, path: &[u8]) {
    with(node, |volume, _| volume.pass_through(path));
}

/// Lays the files of `node` over `image`; false where its disk has been used already.
pub fn set_image(node: NodeId, image: Image) -> bool {
    device::with::<Disks, _>(|disks, cx| {
        if disks.has_disk(node.0) {
            return disks.disk(node.0, cx).volume.switches.image == image;
        }
        let before = std::mem::replace(&mut disks.defaults.image, image);
        disks.disk(node.0, cx);
        disks.defaults.image = before;
        true
    })
}

/// How many bytes fit on the disk; `None` is without bound.
pub fn set_capacity_bytes(node: NodeId, capacity: Option<u64>) {
    with(node, |volume, cx| {
        volume.switches.capacity_bytes = capacity;
        cx.record(Traced::Fault, u64::from(node.0), capacity.unwrap_or(u64::MAX));
    });
}

/// Whether the disk can only be read.
pub fn set_read_only(node: NodeId, read_only: bool) {
    with(node, |volume, cx| {
        volume.switches.read_only = read_only;
        cx.record(Traced::Fault, u64::from(node.0), u64::from(read_only));
    });
}

/// How long calls take; `None` is no time.
pub fn set_latency(node: NodeId, latency: Option<(Duration, Duration)>) {
    with(node, |volume, _| volume.switches.latency = latency);
}

/// What a loss of power leaves.
pub fn set_power_loss(node: NodeId, how: PowerLoss) {
    with(node, |volume, _| volume.switches.power_loss = how);
}

/// Which names a sync makes durable.
pub fn set_journal(node: NodeId, journal: Journal) {
    with(node, |volume, _| volume.switches.journal = journal);
}

/// Fails the next call of a kind.
pub fn fail_next(node: NodeId, op: DiskOp, errno: i32) {
    with(node, |volume, _| volume.switches.fail_next(op, errno));
}

/// Fails calls of a kind at random.
pub fn fail_rate(node: NodeId, op: DiskOp, errno: i32, probability: f64) {
    with(node, |volume, _| volume.switches.fail_rate(op, errno, probability));
}

/// What happened so far.
pub fn stats(node: NodeId) -> DiskStats {
    with(node, |volume, _| volume.switches.stats)
}

/// Everything is durable.
pub fn sync(node: NodeId) -> io::Result<()> {
    with(node, |volume, _| volume.sync_all()).map_err(io::Error::from)
}

/// Replaces what the file at `path` contains; it and the folders above are made where they are not there.
///
/// # Errors
/// As the system calls would have; `EXDEV` for a path of the machine.
pub fn write(node: NodeId, path: &[u8], bytes: &[u8]) -> io::Result<()> {
    with(node, |volume, cx| {
        let now = cx.wall_ns() as i64;
        let before = (volume.switches.read_only, volume.switches.journal);
        volume.switches.read_only = false;
        let result = write_durably(volume, path, bytes, now);
        (volume.switches.read_only, volume.switches.journal) = before;
        result
    })
    .map_err(io::Error::from)
}

fn write_durably(volume: &mut Volume, path: &[u8], bytes: &[u8], now: i64) -> Result<()> {
    let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    if parent > 0 {
        match volume.walk(volume.cwd, &path[..parent], true) {
            Err(Errno(libc::ENOENT)) | Ok(Found::Entry { ino: None, .. }) => {
                volume.make_folders(&path[..parent], now)?;
            }
            _ => {}
        }
    }
    let ino = match volume.walk(volume.cwd, path, true)? {
        Found::Entry { folder, name, ino: None, .. } => volume.make_file(folder, &name, 0o666, now)?,
        Found::Machine(_) => return Err(Errno(libc::EXDEV)),
        found => found.existing()?,
    };
    let content = volume.content(ino)?;
    content.replace(bytes)?;
    content.sync()?;
    volume.touch(ino, now);
    volume.switches.journal = Journal::Ordered;
    volume.commit_names(ino);
    Ok(())
}

/// What the file at `path` contains.
///
/// # Errors
/// As the system calls would have; `EXDEV` for a path of the machine.
pub fn read(node: NodeId, path: &[u8]) -> io::Result<Vec<u8>> {
    with(node, |volume, _| match volume.walk(volume.cwd, path, true)? {
        Found::Machine(_) => Err(Errno(libc::EXDEV)),
        found => {
            let ino = found.existing()?;
            volume.content(ino)?.read()
        }
    })
    .map_err(io::Error::from)
}

/// The names in the folder at `path`.
///
/// # Errors
/// As [`read`].
pub fn list(node: NodeId, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    with(node, |volume, _| match volume.walk(volume.cwd, path, true)? {
        Found::Machine(_) => Err(Errno(libc::EXDEV)),
        found => {
            let ino = found.existing()?;
            Ok(volume.list(ino)?.into_iter().map(|(name, _)| name).collect())
        }
    })
    .map_err(io::Error::from)
}

/// How many bytes the node has written that are in files now.
pub fn used_bytes(node: NodeId) -> u64 {
    with(node, |volume, _| volume.used_bytes())
}
