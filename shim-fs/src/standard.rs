//! A node's standard streams.
//!
//! Owns what was fed to a node's input and captured of its outputs. Must not know who prints. Invariant: a node
//! that nobody feeds is at the end of its input; a stream that nobody captures goes to the test's own.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;

use shim_runtime::device;
use shim_runtime::node::NodeId;
use shim_runtime::threads;

use crate::disks::Disks;

/// An output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The streams of one node.
#[derive(Default)]
pub(crate) struct Standard {
    input: VecDeque<u8>,
    input_is_open: bool,
    readers: Vec<Waker>,
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
}

impl Standard {
    fn output(&mut self, output: Output) -> &mut Option<Vec<u8>> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }

    /// The process is gone, and what it had not read with it.
    pub(crate) fn forget_input(&mut self) {
        self.input.clear();
        self.readers.clear();
    }
}

fn with<R>(node: NodeId, f: impl FnOnce(&mut Standard, &mut Vec<Waker>) -> R) -> R {
    device::with::<Disks, _>(|disks, cx| {
        let standard = &mut disks.disk(node.0, cx).standard;
        f(standard, cx.wakes)
    })
}

/// Keeps what `node` writes from now on, instead of showing it.
pub fn capture(node: NodeId, output: Output) {
    with(node, |standard, _| {
        standard.output(output).get_or_insert_default();
    });
}

/// Takes what was captured so far; empty where nothing was.
pub fn take(node: NodeId, output: Output) -> Vec<u8> {
    with(node, |standard, _| standard.output(output).as_mut().map(std::mem::take).unwrap_or_default())
}

/// Gives `node` bytes to read; it waits for more at their end, until [`close_input`].
pub fn feed(node: NodeId, bytes: &[u8]) {
    with(node, |standard, wakes| {
        standard.input.extend(bytes);
        standard.input_is_open = true;
        wakes.append(&mut standard.readers);
    });
}

/// `node`'s input ends after what it was fed.
pub fn close_input(node: NodeId) {
    with(node, |standard, wakes| {
        standard.input_is_open = false;
        wakes.append(&mut standard.readers);
    });
}

/// Writes to an output of the current node: true where it is captured.
pub(crate) fn write(output: Output, bytes: &[u8]) -> bool {
    device::is_reachable()
        && device::with::<Disks, _>(|disks, cx| {
            let node = cx.node().0;
            // A node without a disk has not been told to capture.
            if !disks.has_disk(node) {
                return false;
            }
            match disks.disk(node, cx).standard.output(output) {
                Some(captured) => {
                    captured.extend_from_slice(bytes);
                    true
                }
                None => false,
            }
        })
}

/// Reads from the current node's standard input; the calling thread waits while there is nothing and it may
/// still come. Outside a run it is at its end.
///
/// # Errors
/// None so far.
pub fn read(buffer: &mut [u8]) -> io::Result<usize> {
    if !device::is_reachable() || buffer.is_empty() {
        return Ok(0);
    }
    let node = shim_runtime::current_node();
    let count = threads::block_on_waker("a read of standard input", None, |waker| {
        with(node, |standard, _| {
            if standard.input.is_empty() && standard.input_is_open {
                standard.readers.push(waker.clone());
                return None;
            }
            let count = buffer.len().min(standard.input.len());
            for (place, byte) in buffer.iter_mut().zip(standard.input.drain(..count)) {
                *place = byte;
            }
            Some(count)
        })
    });
    Ok(count.unwrap_or(0))
}
