//! The exit codes of `cargo sim`: a stable, documented table.
//!
//! Owns the numbers and their one-line meanings, which `--help` prints. It must not know which error leads to
//! which code (see `error`). Invariant: a number, once given a meaning, keeps it.

/// Everything went well.
pub const OK: i32 = 0;
/// The command line makes no sense.
pub const USAGE: i32 = 2;
/// cargo (or rustc) is missing or cannot be run.
pub const CARGO_NOT_RUNNABLE: i32 = 60;
/// rustc is older than the drop-in needs.
pub const RUSTC_TOO_OLD: i32 = 61;
/// The real tokio is in no cache, and could not be downloaded.
pub const FETCH_FAILED: i32 = 62;
/// The project's graph does not take the drop-in (a version requirement, a feature, or no tokio at all).
pub const PATCH_NOT_USED: i32 = 63;
/// The project's lock file has a tokio older than the drop-in supports.
pub const TOKIO_TOO_OLD: i32 = 64;
/// The target folder cannot be written.
pub const TARGET_UNWRITABLE: i32 = 65;
/// The project's lock file could not be read, put aside or given back.
pub const LOCK_FILE: i32 = 66;
/// The seeds make no sense.
pub const SEEDS: i32 = 67;
/// `cargo sim doctor` found something that a simulation cannot control.
pub const DOCTOR: i32 = 68;
/// A sweep found failing seeds, although cargo itself ended well.
pub const SWEEP_FAILED: i32 = 69;
/// cargo's own code for a failed build or a failed test; passed through.
pub const CARGO_FAILED: i32 = 101;
/// Interrupted by SIGINT or SIGTERM.
pub const INTERRUPTED: i32 = 130;

/// Every code with its meaning, in the order of `--help`.
pub const TABLE: &[(i32, &str)] = &[
    (OK, "everything went well"),
    (USAGE, "the command line makes no sense"),
    (CARGO_NOT_RUNNABLE, "cargo or rustc is missing or cannot be run"),
    (RUSTC_TOO_OLD, "rustc is older than 1.88"),
    (FETCH_FAILED, "the real tokio is in no cache and could not be downloaded"),
    (PATCH_NOT_USED, "the project's graph does not take the drop-in"),
    (TOKIO_TOO_OLD, "the project's tokio is older than 1.51"),
    (TARGET_UNWRITABLE, "the target folder cannot be written"),
    (LOCK_FILE, "Cargo.lock could not be read, put aside or given back"),
    (SEEDS, "the seeds make no sense"),
    (DOCTOR, "doctor found something that a simulation cannot control"),
    (SWEEP_FAILED, "a sweep found failing seeds, although cargo ended well"),
    (CARGO_FAILED, "cargo failed, or tests failed (any other code of cargo is passed through, too)"),
    (INTERRUPTED, "interrupted"),
];
