//! The simulated network. A map of the crate:
//!
//! * [`sys`] is the door: the system calls, for the mirror of `tokio::net` and for the host layer;
//! * `stack` is the kernel of one node: sockets, TCP, UDP, Unix, netlink; it takes the time as an argument;
//! * `fabric` is what lies between the nodes: routes, links, faults, names;
//! * [`net`] is the device that ties them to the engine's event queue; [`packet`] is what they exchange;
//! * [`control`] is what a test may do to all this.
//!
//! Must not know: tasks, time's mirror types. Invariant: nothing here blocks, and no waker is called while
//! the world is borrowed.
#![cfg(sim)]
#![deny(unsafe_code)]

mod capture;
pub mod control;
pub mod error;
mod fabric;
pub mod fragment;
pub mod host;
pub mod mirror;
pub mod net;
mod netstat;
pub mod packet;
mod stack;
pub mod sys;
