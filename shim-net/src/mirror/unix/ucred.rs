//! Mirror of `UCred`: who is at the other end of a Unix stream.
//!
//! Owns the type. Must not know nodes. Invariant: both ends are on one node and of one process, so the peer
//! is whom the program itself takes itself for.

use std::io;
use std::os::unix::fs::MetadataExt;

use super::{gid_t, pid_t, uid_t};

/// The user, group and process at the other end.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct UCred {
    uid: uid_t,
    gid: gid_t,
    pid: pid_t,
}

impl UCred {
    /// The user.
    pub fn uid(&self) -> uid_t {
        self.uid
    }

    /// The group.
    pub fn gid(&self) -> gid_t {
        self.gid
    }

    /// The process.
    pub fn pid(&self) -> Option<pid_t> {
        Some(self.pid)
    }

    /// Those of the calling process, as the host layer shows it.
    pub(super) fn own() -> io::Result<UCred> {
        let own = std::fs::metadata("/proc/self")?;
        Ok(UCred { uid: own.uid(), gid: own.gid(), pid: std::process::id() as pid_t })
    }
}
