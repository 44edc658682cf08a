//! The current node's interfaces as its programs see them.
//!
//! Owns nothing. Must not know libc's lists. Invariant: what is told here is what netlink tells.

use std::io;

use super::call_here;

pub(crate) use crate::stack::interfaces::NetworkInterface;

/// The interfaces, the loopback first, in the order of their numbers.
///
/// # Errors
/// `ENETDOWN` on a node whose process is dead.
pub(crate) fn interfaces() -> io::Result<Vec<NetworkInterface>> {
    call_here(|stack, _| Ok(stack.network_interfaces()))
}
