//! `tokio::runtime`, from the engine.
//!
//! Must not hold behaviour. Invariant: names and gates are tokio's.

#[doc(hidden)]
pub use shim_runtime::runtime::is_rt_shutdown_err;
pub use shim_runtime::runtime::{
    Builder, EnterGuard, Handle, Id, LocalOptions, LocalRuntime, Runtime, RuntimeFlavor, RuntimeMetrics,
    TryCurrentError, worker_index,
};

#[cfg(tokio_unstable)]
pub use real::runtime::{
    HistogramConfiguration, HistogramScale, InvalidHistogramConfiguration, LogHistogram, LogHistogramBuilder,
    RngSeed, UnhandledPanic,
};
#[cfg(tokio_unstable)]
pub use shim_runtime::runtime::TaskMeta;
