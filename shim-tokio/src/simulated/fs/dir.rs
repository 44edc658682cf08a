//! Mirror of `tokio::fs::{read_dir, DirBuilder}`.
//!
//! Must not show the file system's own order, which differs between machines. Invariant: entries come in the
//! order of their names.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

/// The entries of a folder.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReadDir {
    entries: VecDeque<io::Result<fs::DirEntry>>,
}

/// An entry of a folder.
#[derive(Debug)]
pub struct DirEntry {
    std: fs::DirEntry,
}

/// Reads the folder at `path`.
///
/// # Errors
/// As std's.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let mut entries: Vec<_> = fs::read_dir(path)?.collect();
    entries.sort_by_key(|entry| entry.as_ref().map(fs::DirEntry::file_name).unwrap_or_default());
    Ok(ReadDir { entries: entries.into() })
}

impl ReadDir {
    /// The next entry.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Cancel safety
    /// No entry is lost where this is dropped.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        self.entries.pop_front().transpose().map(|entry| entry.map(|std| DirEntry { std }))
    }

    /// Polls for the next entry.
    pub fn poll_next_entry(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        Poll::Ready(self.entries.pop_front().transpose().map(|entry| entry.map(|std| DirEntry { std })))
    }
}

impl DirEntry {
    /// The entry's path.
    pub fn path(&self) -> PathBuf {
        self.std.path()
    }

    /// The entry's name.
    pub fn file_name(&self) -> OsString {
        self.std.file_name()
    }

    /// The entry's number in its file system.
    pub fn ino(&self) -> u64 {
        self.std.ino()
    }

    /// What is known about the entry.
    ///
    /// # Errors
    /// As std's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.std.metadata()
    }

    /// What kind of file it is.
    ///
    /// # Errors
    /// As std's.
    pub async fn file_type(&self) -> io::Result<FileType> {
        self.std.file_type()
    }
}

/// How a folder is made.
#[derive(Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    mode: Option<u32>,
}

impl DirBuilder {
    /// Nothing is set.
    pub fn new() -> DirBuilder {
        DirBuilder::default()
    }

    /// Whether the folders above are made too.
    pub fn recursive(&mut self, recursive: bool) -> &mut Self {
        self.recursive = recursive;
        self
    }

    /// Who may do what with it.
    pub fn mode(&mut self, mode: u32) -> &mut Self {
        self.mode = Some(mode);
        self
    }

    /// Makes the folder at `path`.
    ///
    /// # Errors
    /// As std's.
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        builder.create(path)
    }
}
