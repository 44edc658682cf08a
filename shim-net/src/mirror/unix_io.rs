//! Mirror of `tokio::io::unix`.
//!
//! Owns names only. Must not know descriptors. Invariant: exactly the names that tokio has.

#[expect(deprecated, reason = "tokio still has the name")]
#[doc(hidden)]
pub use super::async_fd::AsyncFdTryNewError;
pub use super::async_fd::{
    AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, AsyncFdRegisterError, TryIoError,
};
