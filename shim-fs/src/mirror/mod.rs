//! Mirror of `tokio::fs`, and of `tokio::io`'s standard streams.
//!
//! Owns which call goes to the blocking pool, as in tokio. Must not know disks: everything goes through `std::fs`.
//! Invariant: each function is one call of std's function of the same name, on a thread of the pool.

mod blocking;
mod buffer;
mod dir;
mod file;
mod inner;
mod open_options;
#[doc(hidden)]
pub mod standard;

pub use dir::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use file::{File, FileTimes};
pub use open_options::OpenOptions;

use std::fs as std_fs;
use std::io;
use std::path::{Path, PathBuf};

use shim_runtime::task::spawn_blocking;

/// Runs `f` on the blocking pool.
///
/// # Panics
/// Outside a runtime.
async fn on_pool<F, T>(f: F) -> io::Result<T>
where
    F: FnOnce() -> io::Result<T> + Send + 'static,
    T: Send + 'static,
{
    match spawn_blocking(f).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other("background task failed")),
    }
}

macro_rules! with_path {
    ($($(#[$documentation:meta])* $name:ident(path) -> $result:ty;)*) => {
        $(
            $(#[$documentation])*
            ///
            /// # Errors
            /// As the function of the same name in `std::fs`.
            ///
            /// # Panics
            /// Outside a runtime.
            ///
            /// # Cancel safety
            /// Once begun it goes on, whoever still waits for it.
            pub async fn $name(path: impl AsRef<Path>) -> io::Result<$result> {
                let path = path.as_ref().to_owned();
                on_pool(move || std_fs::$name(path)).await
            }
        )*
    };
}

with_path! {
    /// The absolute form of a path.
    canonicalize(path) -> PathBuf;
    /// Makes a folder.
    create_dir(path) -> ();
    /// Makes a folder and those above it.
    create_dir_all(path) -> ();
    /// What is known about a file.
    metadata(path) -> std_fs::Metadata;
    /// A file's bytes.
    read(path) -> Vec<u8>;
    /// Where a symbolic link leads.
    read_link(path) -> PathBuf;
    /// A file's text.
    read_to_string(path) -> String;
    /// Removes an empty folder.
    remove_dir(path) -> ();
    /// Removes a folder and what is in it.
    remove_dir_all(path) -> ();
    /// Removes a file.
    remove_file(path) -> ();
    /// What is known about a file, not following a symbolic link.
    symlink_metadata(path) -> std_fs::Metadata;
}

macro_rules! with_paths {
    ($($(#[$documentation:meta])* $name:ident($from:ident, $to:ident) -> $result:ty = $call:path;)*) => {
        $(
            $(#[$documentation])*
            ///
            /// # Errors
            /// As the function of the same name in `std::fs`.
            ///
            /// # Panics
            /// Outside a runtime.
            ///
            /// # Cancel safety
            /// Once begun it goes on, whoever still waits for it.
            pub async fn $name($from: impl AsRef<Path>, $to: impl AsRef<Path>) -> io::Result<$result> {
                let ($from, $to) = ($from.as_ref().to_owned(), $to.as_ref().to_owned());
                on_pool(move || $call($from, $to)).await
            }
        )*
    };
}

with_paths! {
    /// Copies a file.
    copy(from, to) -> u64 = std_fs::copy;
    /// Makes another name for a file.
    hard_link(original, link) -> () = std_fs::hard_link;
    /// Moves a file.
    rename(from, to) -> () = std_fs::rename;
    /// Makes a symbolic link.
    symlink(original, link) -> () = std::os::unix::fs::symlink;
}

/// Sets who may do what with a file.
///
/// # Errors
/// As `std::fs::set_permissions`.
///
/// # Panics
/// Outside a runtime.
pub async fn set_permissions(path: impl AsRef<Path>, perm: std_fs::Permissions) -> io::Result<()> {
    let path = path.as_ref().to_owned();
    on_pool(move || std_fs::set_permissions(path, perm)).await
}

/// Whether there is a file at `path`.
///
/// # Errors
/// As `Path::try_exists`.
///
/// # Panics
/// Outside a runtime.
pub async fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
    let path = path.as_ref().to_owned();
    on_pool(move || path.try_exists()).await
}

/// Replaces a file's bytes.
///
/// # Errors
/// As `std::fs::write`.
///
/// # Panics
/// Outside a runtime.
pub async fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
    let (path, contents) = (path.as_ref().to_owned(), contents.as_ref().to_vec());
    on_pool(move || std_fs::write(path, contents)).await
}
