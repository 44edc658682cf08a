//! Files over simulated disks. A map of the crate:
//!
//! * `tree` is one node's file system: names, inodes, contents, and what of them is durable;
//! * `disks` has the volumes of all nodes and what is open: the device that the engine knows;
//! * [`faults`] is what may go wrong; [`control`] is what a test may do; [`standard`] are a node's streams;
//! * [`mirror`] is `tokio::fs` and the standard streams of `tokio::io`;
//! * [`special`] is the seam to sockets and pipes, which have names here and live elsewhere;
//! * [`host`] are libc's symbols, and the way to the machine's own files. All `unsafe` is there.
//!
//! Must not know: sockets, pipes. Invariant: nothing that a simulation writes reaches the machine, unless a
//! path was passed through.
#![cfg(sim)]
#![deny(unsafe_code)]

pub mod control;
mod disks;
pub mod error;
pub mod faults;
pub mod host;
pub mod mirror;
pub mod special;
pub mod standard;
mod tree;
