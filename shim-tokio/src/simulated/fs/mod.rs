//! Mirror of `tokio::fs`: a pass-through to the real file system, at once and on the calling thread.
//!
//! Must not use a thread pool: what a file holds is then read at a fixed place in the run. Invariant: a run is
//! repeatable as far as the files that it reads are the same; nodes do not have disks of their own yet, and a
//! crash loses nothing that was written (see SUPPORT.md).

mod dir;
mod file;
mod open_options;

pub use dir::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use file::{File, FileTimes};
pub use open_options::OpenOptions;

use std::fs as real_fs;
use std::io;
use std::path::{Path, PathBuf};

macro_rules! passed_through {
    ($($(#[$documentation:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(
            $(#[$documentation])*
            ///
            /// # Errors
            /// As the function of the same name in `std::fs`.
            pub async fn $name($($argument: $kind),*) -> $result {
                real_fs::$name($($argument),*)
            }
        )*
    };
}

passed_through! {
    /// The absolute form of a path.
    canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf>;
    /// Makes a folder.
    create_dir(path: impl AsRef<Path>) -> io::Result<()>;
    /// Makes a folder and those above it.
    create_dir_all(path: impl AsRef<Path>) -> io::Result<()>;
    /// Makes another name for a file.
    hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()>;
    /// What is known about a file.
    metadata(path: impl AsRef<Path>) -> io::Result<real_fs::Metadata>;
    /// A file's bytes.
    read(path: impl AsRef<Path>) -> io::Result<Vec<u8>>;
    /// Where a symbolic link leads.
    read_link(path: impl AsRef<Path>) -> io::Result<PathBuf>;
    /// A file's text.
    read_to_string(path: impl AsRef<Path>) -> io::Result<String>;
    /// Removes an empty folder.
    remove_dir(path: impl AsRef<Path>) -> io::Result<()>;
    /// Removes a folder and what is in it.
    remove_dir_all(path: impl AsRef<Path>) -> io::Result<()>;
    /// Moves a file.
    rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()>;
    /// Sets who may do what with a file.
    set_permissions(path: impl AsRef<Path>, perm: real_fs::Permissions) -> io::Result<()>;
    /// What is known about a file, not following a symbolic link.
    symlink_metadata(path: impl AsRef<Path>) -> io::Result<real_fs::Metadata>;
    /// Replaces a file's bytes.
    write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()>;
    /// Copies a file.
    copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64>;
}

/// Removes a file; a Unix socket that listens there is not reached any more.
///
/// # Errors
/// As `std::fs::remove_file`.
pub async fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    real_fs::remove_file(path)
}

/// Whether there is a file at `path`.
///
/// # Errors
/// As `Path::try_exists`.
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    path.as_ref().try_exists()
}

/// Makes a symbolic link.
///
/// # Errors
/// As `std::os::unix::fs::symlink`.
pub async fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    std::os::unix::fs::symlink(original, link)
}
