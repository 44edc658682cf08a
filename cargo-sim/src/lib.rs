//! `cargo sim`: any cargo command, in the simulation configuration, with no edit of the project.
//!
//! Owns the way into a simulation build: the patch, the flags, the lock file, the real tokio, the seeds of a
//! sweep. It must not know the engine: it speaks to tests through environment variables, exit codes and report
//! files only. Invariant: whatever happens, the project's `Cargo.lock` is left (or found again) as it was.

#![forbid(unsafe_code)]

mod arguments;
mod cargo;
mod child;
mod cli;
mod doctor;
mod error;
pub mod exit_code;
mod flags;
mod lock_guard;
mod lockfile;
mod passthrough;
mod patch_check;
mod place;
mod project;
mod real_tokio;
mod seeds;
mod setup;
mod shim_manifest;
mod simulation;
mod sweep;

pub use cli::run;
pub use error::Error;

/// The embedded sources of the drop-in: path inside the repository, and content.
pub type ShimFiles = &'static [(&'static str, &'static [u8])];
