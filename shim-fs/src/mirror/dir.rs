//! Mirror of `tokio::fs::{read_dir, ReadDir, DirEntry, DirBuilder}`.
//!
//! Must not sort: the folder's own order is that of names. Invariant: entries are read in portions, each on
//! the blocking pool.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{FileType, Metadata};
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use shim_runtime::task::{JoinHandle, spawn_blocking};

use super::on_pool;

const PORTION: usize = 32;

/// The entries of a folder.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct ReadDir(State);

#[derive(Debug)]
enum State {
    Idle(Option<Portion>),
    Busy(JoinHandle<Portion>),
}

#[derive(Debug)]
struct Portion {
    entries: VecDeque<io::Result<DirEntry>>,
    std: std::fs::ReadDir,
    may_have_more: bool,
}

impl Portion {
    fn fill(mut self) -> Portion {
        for _ in 0..PORTION {
            let Some(entry) = self.std.next() else {
                self.may_have_more = false;
                break;
            };
            let failed = entry.is_err();
            self.entries
                .push_back(entry.map(|std| DirEntry { file_type: std.file_type().ok(), std: Arc::new(std) }));
            if failed {
                break;
            }
        }
        self
    }
}

/// Reads the folder at `path`.
///
/// # Errors
/// As std's.
///
/// # Panics
/// Outside a runtime.
pub async fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
    let path = path.as_ref().to_owned();
    on_pool(move || {
        let std = std::fs::read_dir(path)?;
        let portion = Portion { entries: VecDeque::with_capacity(PORTION), std, may_have_more: true };
        Ok(ReadDir(State::Idle(Some(portion.fill()))))
    })
    .await
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
        poll_fn(|cx| self.poll_next_entry(cx)).await
    }

    /// Polls for the next entry.
    ///
    /// # Errors
    /// As std's.
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            match &mut self.0 {
                State::Idle(portion) => {
                    let own = portion.as_mut().expect("invariant: an idle reader has its folder");
                    if let Some(entry) = own.entries.pop_front() {
                        return Poll::Ready(entry.map(Some));
                    }
                    if !own.may_have_more {
                        return Poll::Ready(Ok(None));
                    }
                    let own = portion.take().expect("invariant: as above");
                    self.0 = State::Busy(spawn_blocking(move || own.fill()));
                }
                State::Busy(handle) => {
                    let portion = ready!(Pin::new(handle).poll(cx))?;
                    self.0 = State::Idle(Some(portion));
                }
            }
        }
    }
}

/// An entry of a folder.
#[derive(Debug)]
pub struct DirEntry {
    file_type: Option<FileType>,
    std: Arc<std::fs::DirEntry>,
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
        let std = Arc::clone(&self.std);
        on_pool(move || std.metadata()).await
    }

    /// What kind of file it is.
    ///
    /// # Errors
    /// As std's.
    pub async fn file_type(&self) -> io::Result<FileType> {
        if let Some(file_type) = self.file_type {
            return Ok(file_type);
        }
        let std = Arc::clone(&self.std);
        on_pool(move || std.file_type()).await
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
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref().to_owned();
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        on_pool(move || builder.create(path)).await
    }
}
