//! The engine of the simulation. A map of the crate:
//!
//! * [`clock`], [`queue`], [`rng`], [`trace`], [`config`]: pure parts, each testable alone;
//! * `world` owns all of them and everything else of a run; `context` is the one way to it;
//! * [`scheduler`] is the loop: pick a task, poll it, or jump to the next event;
//! * [`task`] and [`runtime`] mirror `tokio::task` and `tokio::runtime`;
//! * [`node`] is what a simulated machine is to the engine; [`threads`] passes the baton;
//! * [`device`] is the seam for the network; [`report`] explains a stall; [`run`] runs a world to its end;
//! * [`host`] is what goes around tokio: clocks, entropy, identity. All `unsafe` is there.
//!
//! Must not know: sockets, packets, time's mirror types. Invariant: foreign code (a poll, a destructor, a
//! waker) never runs while the world is borrowed.
#![cfg(sim)]
#![deny(unsafe_code)]

pub mod clock;
pub mod config;
mod context;
pub mod device;
pub mod external;
pub mod host;
pub mod node;
pub mod queue;
pub mod report;
pub mod rng;
pub mod run;
pub mod runtime;
pub mod scheduler;
pub mod sweep;
pub mod task;
pub mod threads;
pub mod time;
pub mod trace;
mod world;

pub use clock::SimTime;
pub use context::{Wait, in_simulation, waits_for};
pub use node::{NodeId, current_node};
pub use queue::EventId;
