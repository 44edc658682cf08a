//! Mirror of `tokio::fs::{File, FileTimes}`.
//!
//! Must not call std on the task's own thread. Invariant: a write returns when its bytes are taken; whether they
//! were written is told by the next write, flush or sync.

use std::fmt;
use std::fs::{File as StdFile, Metadata, Permissions};
use std::io::{self, IoSlice, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use real::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};
use real::sync::Mutex;

use super::buffer::DEFAULT_MAX_BUF_SIZE;
use super::inner::Inner;
use super::{OpenOptions, on_pool};

/// An open file.
pub struct File {
    std: Arc<StdFile>,
    inner: Mutex<Inner>,
    max_buf_size: usize,
}

/// Times of a file, to be set.
#[derive(Debug, Clone, Default)]
#[must_use = "must be applied to a file via `File::set_times` to have any effect"]
pub struct FileTimes {
    accessed: Option<SystemTime>,
    modified: Option<SystemTime>,
}

impl FileTimes {
    /// No time is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// When it was last read.
    pub fn set_accessed(mut self, t: SystemTime) -> Self {
        self.accessed = Some(t);
        self
    }

    /// When it was last written.
    pub fn set_modified(mut self, t: SystemTime) -> Self {
        self.modified = Some(t);
        self
    }

    fn into_std(self) -> std::fs::FileTimes {
        let mut times = std::fs::FileTimes::new();
        if let Some(accessed) = self.accessed {
            times = times.set_accessed(accessed);
        }
        if let Some(modified) = self.modified {
            times = times.set_modified(modified);
        }
        times
    }
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As std's; so for all below.
    ///
    /// # Panics
    /// Outside a runtime; so for all below.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref().to_owned();
        on_pool(|| StdFile::open(path)).await.map(File::from_std)
    }

    /// Opens a file for writing, empty.
    ///
    /// # Errors
    /// As std's.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref().to_owned();
        on_pool(|| StdFile::create(path)).await.map(File::from_std)
    }

    /// Makes a file that was not there.
    ///
    /// # Errors
    /// As std's.
    pub async fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        Self::options().read(true).write(true).create_new(true).open(path).await
    }

    /// Options for opening a file.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// From std's type.
    pub fn from_std(std: StdFile) -> File {
        File { std: Arc::new(std), inner: Mutex::new(Inner::new()), max_buf_size: DEFAULT_MAX_BUF_SIZE }
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// As std's. The error of a write that is in flight is told by the next write or flush.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.settled(|std| std.sync_all()).await
    }

    /// Waits until the contents are on the disk.
    ///
    /// # Errors
    /// As [`File::sync_all`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.settled(|std| std.sync_data()).await
    }

    /// Waits for the operation in flight, then makes a call on the pool.
    async fn settled<T: Send + 'static>(
        &self,
        f: impl FnOnce(&StdFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.inner.lock().await.settle().await;
        let std = Arc::clone(&self.std);
        on_pool(move || f(&std)).await
    }

    /// Cuts or extends the file. What was read ahead is forgotten, and the reader's place stays.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        let mut inner = self.inner.lock().await;
        inner.settle().await;
        inner.set_len(&self.std, size).await
    }

    /// What is known about the file.
    ///
    /// # Errors
    /// As std's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let std = Arc::clone(&self.std);
        on_pool(move || std.metadata()).await
    }

    /// Another handle on the file; the two share their place.
    ///
    /// # Errors
    /// As std's.
    pub async fn try_clone(&self) -> io::Result<File> {
        let mut clone = self.settled(|std| std.try_clone()).await.map(File::from_std)?;
        clone.max_buf_size = self.max_buf_size;
        Ok(clone)
    }

    /// Into std's type, once nothing is in flight.
    pub async fn into_std(mut self) -> StdFile {
        self.inner.get_mut().settle().await;
        Arc::try_unwrap(self.std).expect("Arc::try_unwrap failed")
    }

    /// Into std's type.
    ///
    /// # Errors
    /// The file itself, where an operation is in flight.
    pub fn try_into_std(mut self) -> Result<StdFile, Self> {
        match Arc::try_unwrap(self.std) {
            Ok(std) => Ok(std),
            Err(shared) => {
                self.std = shared;
                Err(self)
            }
        }
    }

    /// Sets who may do what with the file.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        let std = Arc::clone(&self.std);
        on_pool(move || std.set_permissions(perm)).await
    }

    /// Sets the file's times.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        let times = times.into_std();
        self.settled(move |std| std.set_times(times)).await
    }

    /// Sets when the file was last written.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.set_times(FileTimes::new().set_modified(time)).await
    }

    /// How much one operation may move.
    ///
    /// # Panics
    /// Where it is 0.
    #[track_caller]
    pub fn set_max_buf_size(&mut self, max_buf_size: usize) {
        assert!(max_buf_size > 0, "`max_buf_size` must be greater than 0");
        self.max_buf_size = max_buf_size;
    }

    /// How much one operation may move.
    pub fn max_buf_size(&self) -> usize {
        self.max_buf_size
    }
}

impl AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        me.inner.get_mut().poll_read(cx, &me.std, buf, me.max_buf_size)
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let me = self.get_mut();
        me.inner.get_mut().start_seek(&me.std, position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.inner.get_mut().poll_complete(cx)
    }
}

impl AsyncWrite for File {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.inner.get_mut().poll_write(cx, &me.std, &[IoSlice::new(buf)], me.max_buf_size)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.inner.get_mut().poll_write(cx, &me.std, bufs, me.max_buf_size)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.get_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("tokio::fs::File").field("std", &self.std).finish()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.std.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.std.as_raw_fd()
    }
}

impl From<StdFile> for File {
    fn from(std: StdFile) -> File {
        File::from_std(std)
    }
}

impl From<OwnedFd> for File {
    fn from(fd: OwnedFd) -> File {
        File::from_std(fd.into())
    }
}
