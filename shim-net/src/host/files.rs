//! The files that belong to a simulation: `/dev/urandom`, `/dev/random`, FIFOs, and the names of Unix sockets.
//!
//! Owns what those do when `shim-fs` meets one. Must not know any other file. Invariant: inside a simulation
//! random bytes come from the current node's stream, also through a file.

use std::io::IoSliceMut;
use std::os::fd::RawFd;

use libc::{c_int, ssize_t};
use shim_fs::special::{self, SpecialFiles};
use shim_runtime::host::{fill_entropy, in_run};

use super::pipe;
use super::table::{self, Mark};
use crate::sys;

/// Fills buffers from the simulation; `None` outside of one.
pub(super) fn fill(buffers: &mut [IoSliceMut<'_>]) -> Option<ssize_t> {
    let mut count = 0;
    for buffer in buffers {
        if !buffer.is_empty() && !fill_entropy(buffer) {
            return None;
        }
        count += buffer.len();
    }
    in_run().then_some(count as ssize_t)
}

/// A device of the machine was opened: one of random bytes is marked.
fn device_opened(fd: RawFd, path: &[u8]) {
    if matches!(path, b"/dev/urandom" | b"/dev/random") {
        table::set_mark(fd, Mark::Entropy);
    }
}

/// A FIFO is opened: its file's number names it on its node.
fn open_pipe(id: u64, flags: c_int) -> Result<RawFd, i32> {
    pipe::open_fifo(id, flags).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// The name of a Unix socket was removed.
fn removed(path: &[u8]) -> bool {
    sys::unlink(path)
}

extern "C" fn register() {
    special::register(SpecialFiles { device_opened, open_pipe, removed });
}

/// Runs before `main`.
#[used]
#[unsafe(link_section = ".init_array.00098")]
static REGISTER: extern "C" fn() = register;
