//! `tokio::runtime`, from the engine.
//!
//! Must not hold behaviour. Invariant: names and gates are tokio's.

pub use shim_runtime::runtime::{
    Builder, EnterGuard, Handle, Id, LocalOptions, LocalRuntime, Runtime, RuntimeFlavor, RuntimeMetrics,
    TryCurrentError,
};
