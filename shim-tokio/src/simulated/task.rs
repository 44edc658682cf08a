//! `tokio::task`, from the engine; cooperative budgets and task-locals are the real ones.
//!
//! Must not hold behaviour. Invariant: names and gates are tokio's.

pub use real::task::coop::{Unconstrained, consume_budget};
pub use real::task::{LocalKey, coop, futures, unconstrained};
pub use shim_runtime::task::{
    AbortHandle, Id, JoinError, JoinHandle, JoinSet, LocalEnterGuard, LocalSet, block_in_place, id, spawn,
    spawn_blocking, spawn_local, try_id, yield_now,
};

#[cfg(tokio_unstable)]
pub use shim_runtime::task::Builder;

/// Mirror of `tokio::task::join_set`.
pub mod join_set {
    pub use shim_runtime::task::JoinSet;
    #[cfg(tokio_unstable)]
    pub use shim_runtime::task::JoinSetBuilder as Builder;
}
