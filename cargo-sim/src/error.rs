//! What can go wrong, in the user's words.
//!
//! Owns the messages, their hints and their exit codes. It must not know how anything is done. Invariant: each
//! message completes "error: ", starts in lower case, and each code stands in `exit_code::TABLE`.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit_code;

/// A failure of `cargo sim` itself (what cargo reports passes through as an exit code).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bad command line.
    #[error("{0}")]
    Usage(String),
    /// A bad seed expression.
    #[error("failed to read the seeds `{text}`: {reason}")]
    Seeds {
        /// What the user wrote.
        text: String,
        /// Why it is no list of seeds.
        reason: String,
    },
    /// cargo or rustc could not be started, or did not answer.
    #[error("failed to run `{program}`: {reason}")]
    NotRunnable {
        /// The program as it was called.
        program: String,
        /// What the system or the program said.
        reason: String,
    },
    /// The compiler is too old.
    #[error("failed to use rustc {found}: the drop-in needs {needed} or newer")]
    RustcTooOld {
        /// The version of the compiler.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// cargo refused a question about the project; its own message was shown.
    #[error("failed to {task}: cargo said\n{said}")]
    CargoSaid {
        /// What was asked for.
        task: String,
        /// cargo's standard error.
        said: String,
        /// cargo's exit code.
        code: i32,
    },
    /// The real tokio could not be had.
    #[error("failed to fetch tokio {version}: neither a cache nor the network has it; cargo said\n{said}")]
    Fetch {
        /// The wanted release.
        version: String,
        /// cargo's standard error.
        said: String,
    },
    /// The graph does not take the patch.
    #[error("failed to put the drop-in in the place of tokio: {reason}")]
    PatchNotUsed {
        /// Who prevents it, and how.
        reason: String,
        /// What the user can do.
        hint: String,
    },
    /// The project's tokio is too old.
    #[error("failed to simulate tokio {found}: the drop-in needs {needed} or newer")]
    TokioTooOld {
        /// The version in the project's lock file.
        found: String,
        /// The oldest version that works.
        needed: &'static str,
    },
    /// A folder or file of ours could not be written.
    #[error("failed to write `{}`: {source}", path.display())]
    Unwritable {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The project's lock file could not be handled.
    #[error("failed to {task} `{}`: {reason}", path.display())]
    LockFile {
        /// The step that failed.
        task: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

/// The result of everything that can fail here.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps a failed write below the target folder.
    pub(crate) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |source| Error::Unwritable { path: path.to_owned(), source }
    }

    /// The exit code that stands for this error.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Usage(_) => exit_code::USAGE,
            Error::Seeds { .. } => exit_code::SEEDS,
            Error::NotRunnable { .. } => exit_code::CARGO_NOT_RUNNABLE,
            Error::RustcTooOld { .. } => exit_code::RUSTC_TOO_OLD,
            Error::CargoSaid { code, .. } => *code,
            Error::Fetch { .. } => exit_code::FETCH_FAILED,
            Error::PatchNotUsed { .. } => exit_code::PATCH_NOT_USED,
            Error::TokioTooOld { .. } => exit_code::TOKIO_TOO_OLD,
            Error::Unwritable { .. } => exit_code::TARGET_UNWRITABLE,
            Error::LockFile { .. } => exit_code::LOCK_FILE,
            Error::Interrupted => exit_code::INTERRUPTED,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Usage(_) => "`cargo sim --help` shows what there is".into(),
            Error::Seeds { .. } => "write `7`, `0..200`, `0..=199` or `1,5,10-20`".into(),
            Error::NotRunnable { .. } => {
                "install a Rust toolchain, or set CARGO to the cargo that is to be used".into()
            }
            Error::RustcTooOld { .. } => "`rustup update` brings a newer one".into(),
            Error::Fetch { .. } => {
                "run `cargo fetch` in the project once while there is a network, or point \
                                    cargo at a mirror or a vendored source"
                    .into()
            }
            Error::PatchNotUsed { hint, .. } => hint.clone(),
            Error::TokioTooOld { .. } => "`cargo update -p tokio` brings a newer one".into(),
            Error::Unwritable { .. } => {
                "set CARGO_TARGET_DIR (or pass --target-dir) to a folder that can be written".into()
            }
            Error::LockFile { .. } => "with cargo 1.97 or newer, `cargo sim` keeps its lock file under the \
                                       target folder and does not touch the project's at all"
                .into(),
            Error::CargoSaid { .. } | Error::Interrupted => return None,
        })
    }
}
