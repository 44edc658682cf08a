//! What may go wrong with a disk.
//!
//! Owns the switches and what is counted. Must not know files. Invariant: where nothing is switched on,
//! nothing is drawn.

use std::time::Duration;

use shim_runtime::rng::Stream;

/// What a call does, as far as faults can tell calls apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum DiskOp {
    /// Opening a file.
    Open = 1,
    /// Reading bytes.
    Read,
    /// Writing bytes, also by `ftruncate` and `fallocate`.
    Write,
    /// `fsync`, `fdatasync`, `msync`, `sync_file_range`.
    Sync,
    /// Asking what is known about a file. Never slow: it is in memory.
    Stat,
    /// Reading a folder.
    List,
    /// Making a folder, a link, a pipe.
    Create,
    /// Renaming.
    Rename,
    /// Removing a file or a folder.
    Remove,
    /// Changing permissions, owners or times.
    Attributes,
}

/// What a loss of power leaves of what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PowerLoss {
    /// Nothing of it.
    #[default]
    Unsynced,
    /// Some of it: of the names a first part, of each file some sectors of 512 bytes. The fault stream draws.
    Torn,
    /// All of it.
    Nothing,
}

/// Which changes of names a sync makes durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Journal {
    /// Any sync makes all earlier ones durable, as with ext4, XFS and btrfs.
    #[default]
    Ordered,
    /// A sync of a folder makes those in it durable, and nothing else does: what POSIX promises.
    PerFolder,
}

/// What a node's files are laid over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Image {
    /// The machine's own files, which are only read.
    #[default]
    Machine,
    /// Nothing: only the current folder and the one for temporary files exist, and are empty.
    Empty,
}

/// How often what went wrong, and how much a loss of power took.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DiskStats {
    /// Calls that failed because a test wanted it.
    pub errors: u64,
    /// Calls that had to wait.
    pub slow: u64,
    /// Calls that found the disk full.
    pub full: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
    /// Losses of power.
    pub power_losses: u64,
    /// Changes of names that those took back.
    pub names_lost: u64,
    /// Bytes that those took back, or that did not get to the disk.
    pub bytes_lost: u64,
}

#[derive(Clone, Debug)]
struct ErrorRule {
    op: DiskOp,
    errno: i32,
    probability: f64,
    once: bool,
}

/// The switches of one disk.
#[derive(Clone, Debug)]
pub(crate) struct Switches {
    pub(crate) image: Image,
    pub(crate) pass_through: Vec<Vec<u8>>,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) read_only: bool,
    pub(crate) power_loss: PowerLoss,
    pub(crate) journal: Journal,
    pub(crate) latency: Option<(Duration, Duration)>,
    errors: Vec<ErrorRule>,
    pub(crate) stats: DiskStats,
}

impl Default for Switches {
    fn default() -> Self {
        Switches {
            image: Image::default(),
            pass_through: vec![b"/proc".to_vec(), b"/sys".to_vec()],
            capacity_bytes: None,
            read_only: false,
            power_loss: PowerLoss::default(),
            journal: Journal::default(),
            latency: None,
            errors: Vec::new(),
            stats: DiskStats::default(),
        }
    }
}

/// What becomes of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Pass,
    Wait(Duration),
    Fail(i32),
}

impl Switches {
    /// Fails the next call of the kind, after those that are to fail already.
    pub(crate) fn fail_next(&mut self, op: DiskOp, errno: i32) {
        self.errors.push(ErrorRule { op, errno, probability: 1.0, once: true });
    }

    /// Fails calls of the kind at random from now on; 0 ends it.
    pub(crate) fn fail_rate(&mut self, op: DiskOp, errno: i32, probability: f64) {
        self.errors.retain(|rule| rule.once || rule.op != op || rule.errno != errno);
        if probability > 0.0 {
            self.errors.push(ErrorRule { op, errno, probability, once: false });
        }
    }

    /// Whether a call of the kind could be anything but `Pass`.
    pub(crate) fn concern(&self, op: DiskOp) -> bool {
        (self.latency.is_some() && op != DiskOp::Stat) || self.errors.iter().any(|rule| rule.op == op)
    }

    /// How long a call of the kind waits.
    pub(crate) fn delay(&mut self, op: DiskOp, draw: &mut Stream) -> Verdict {
        match self.latency {
            Some((min, max)) if op != DiskOp::Stat => {
                self.stats.slow += 1;
                let nanos = draw.between(min.as_nanos() as u64, max.max(min).as_nanos() as u64);
                Verdict::Wait(Duration::from_nanos(nanos))
            }
            _ => Verdict::Pass,
        }
    }

    /// Whether a call of the kind fails.
    pub(crate) fn failure(&mut self, op: DiskOp, draw: &mut Stream) -> Verdict {
        for place in 0..self.errors.len() {
            let rule = &self.errors[place];
            if rule.op == op && draw.chance(rule.probability) {
                let errno = rule.errno;
                if rule.once {
                    self.errors.remove(place);
                }
                self.stats.errors += 1;
                return Verdict::Fail(errno);
            }
        }
        Verdict::Pass
    }
}
