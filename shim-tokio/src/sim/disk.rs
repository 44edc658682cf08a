//! A node's disk and standard streams, as a test sees them.
//!
//! Must not hold state: the disks do. Invariant: each call takes effect at once, for calls made from then on.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use shim_fs::control;
pub use shim_fs::control::{DiskOp, DiskStats, Image, Journal, PowerLoss};
use shim_fs::standard::{self, Output};
use shim_runtime::NodeId;

use super::node;

/// A handle on the disk of a node.
#[derive(Clone, Copy, Debug)]
pub struct Disk {
    node: NodeId,
}

/// The disk of the node called `node`.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn disk(node: &str) -> Disk {
    Disk { node: node::id(node) }
}

impl Disk {
    /// Bounds how many bytes the node's files may have; writes beyond fail with `ENOSPC`.
    pub fn capacity_bytes(self, capacity: u64) -> Disk {
        control::set_capacity_bytes(self.node, Some(capacity));
        self
    }

    /// Ends [`Disk::capacity_bytes`].
    pub fn unbounded(self) -> Disk {
        control::set_capacity_bytes(self.node, None);
        self
    }

    /// Whether everything that would change the disk fails with `EROFS`.
    pub fn read_only(self, read_only: bool) -> Disk {
        control::set_read_only(self.node, read_only);
        self
    }

    /// Each call but `stat` takes between the two bounds of virtual time; its thread waits.
    pub fn latency(self, min: Duration, max: Duration) -> Disk {
        let latency = (!max.is_zero()).then_some((min, max));
        control::set_latency(self.node, latency);
        self
    }

    /// Fails the next call of the kind with the number of an error, such as `EIO`; several calls queue up.
    pub fn fail_next(self, op: DiskOp, errno: i32) -> Disk {
        control::fail_next(self.node, op, errno);
        self
    }

    /// Fails calls of the kind with the given probability (0 to 1); 0 ends it.
    pub fn fail_rate(self, op: DiskOp, errno: i32, probability: f64) -> Disk {
        control::fail_rate(self.node, op, errno, probability);
        self
    }

    /// What a loss of power leaves of what was not synced.
    pub fn power_loss(self, how: PowerLoss) -> Disk {
        control::set_power_loss(self.node, how);
        self
    }

    /// Which changes of names a sync makes durable.
    pub fn journal(self, journal: Journal) -> Disk {
        control::set_journal(self.node, journal);
        self
    }

    /// Lets the files below `path` be the machine's own: what the node writes there stays there.
    pub fn pass_through(self, path: impl AsRef<Path>) -> Disk {
        control::pass_through(self.node, path.as_ref().as_os_str().as_bytes());
        self
    }

    /// Replaces a file's bytes, durably and without faults; makes it and its folders where they are not there.
    ///
    /// # Errors
    /// As `std::fs::write`; for a path that is passed through.
    pub fn write(self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        control::write(self.node, path.as_ref().as_os_str().as_bytes(), bytes.as_ref())
    }

    /// What a file contains, without faults.
    ///
    /// # Errors
    /// As `std::fs::read`; for a path that is passed through.
    pub fn read(self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        control::read(self.node, path.as_ref().as_os_str().as_bytes())
    }

    /// The names in a folder, in their order.
    ///
    /// # Errors
    /// As `std::fs::read_dir`; for a path that is passed through.
    pub fn list(self, path: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
        let names = control::list(self.node, path.as_ref().as_os_str().as_bytes())?;
        Ok(names.into_iter().map(|name| PathBuf::from(OsString::from_vec(name))).collect())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// Where the machine has no memory left.
    pub fn sync(self) -> io::Result<()> {
        control::sync(self.node)
    }

    /// How many bytes the files have that the node wrote.
    pub fn used_bytes(self) -> u64 {
        control::used_bytes(self.node)
    }

    /// What went wrong so far: for asserting that faults happened.
    pub fn stats(self) -> DiskStats {
        control::stats(self.node)
    }
}

/// Keeps what the node called `node` writes to its standard output from now on, instead of showing it.
///
/// # Panics
/// Where there is no such node; so too for all below.
#[track_caller]
pub fn capture_stdout(node: &str) {
    standard::capture(node::id(node), Output::Stdout);
}

/// As [`capture_stdout`], for standard error.
#[track_caller]
pub fn capture_stderr(node: &str) {
    standard::capture(node::id(node), Output::Stderr);
}

/// Takes what [`capture_stdout`] kept so far.
#[track_caller]
pub fn captured_stdout(node: &str) -> Vec<u8> {
    standard::take(node::id(node), Output::Stdout)
}

/// Takes what [`capture_stderr`] kept so far.
#[track_caller]
pub fn captured_stderr(node: &str) -> Vec<u8> {
    standard::take(node::id(node), Output::Stderr)
}

/// Gives the node called `node` bytes to read from its standard input. At their end it waits for more, until
/// [`close_stdin`]. A node that was never fed is at the end of its input.
#[track_caller]
pub fn feed_stdin(node: &str, bytes: impl AsRef<[u8]>) {
    standard::feed(node::id(node), bytes.as_ref());
}

/// Ends the standard input of the node called `node` after what it was fed.
#[track_caller]
pub fn close_stdin(node: &str) {
    standard::close_input(node::id(node));
}
