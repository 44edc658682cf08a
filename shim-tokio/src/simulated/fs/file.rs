//! Mirror of `tokio::fs::File`.
//!
//! Must not buffer: each operation is done at once. Invariant: after a write returns, the bytes are in the
//! file.

use std::fs::{File as StdFile, Metadata, Permissions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use super::OpenOptions;
use crate::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

/// An open file.
#[derive(Debug)]
pub struct File {
    std: StdFile,
    sought: Option<io::Result<u64>>,
    max_buf_size: usize,
}

/// Times of a file, to be set.
#[derive(Clone, Debug, Default)]
pub struct FileTimes(std::fs::FileTimes);

impl FileTimes {
    /// No time is set.
    pub fn new() -> FileTimes {
        FileTimes::default()
    }

    /// When it was last read.
    pub fn set_accessed(self, time: SystemTime) -> FileTimes {
        FileTimes(self.0.set_accessed(time))
    }

    /// When it was last written.
    pub fn set_modified(self, time: SystemTime) -> FileTimes {
        FileTimes(self.0.set_modified(time))
    }
}

impl File {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As std's; so for all below.
    pub async fn open(path: impl AsRef<Path>) -> io::Result<File> {
        StdFile::open(path).map(File::from_std)
    }

    /// Opens a file for writing, empty.
    ///
    /// # Errors
    /// As std's.
    pub async fn create(path: impl AsRef<Path>) -> io::Result<File> {
        StdFile::create(path).map(File::from_std)
    }

    /// Makes a file that was not there.
    ///
    /// # Errors
    /// As std's.
    pub async fn create_new<P: AsRef<Path>>(path: P) -> io::Result<File> {
        StdFile::create_new(path).map(File::from_std)
    }

    /// Options for opening a file.
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// From std's type.
    pub fn from_std(std: StdFile) -> File {
        File { std, sought: None, max_buf_size: 2 << 20 }
    }

    /// Into std's type.
    pub async fn into_std(self) -> StdFile {
        self.std
    }

    /// Into std's type.
    ///
    /// # Errors
    /// None: no operation is ever in flight.
    pub fn try_into_std(self) -> Result<StdFile, File> {
        Ok(self.std)
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// As std's.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.std.sync_all()
    }

    /// Waits until the contents are on the disk.
    ///
    /// # Errors
    /// As std's.
    pub async fn sync_data(&self) -> io::Result<()> {
        self.std.sync_data()
    }

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_len(&self, size: u64) -> io::Result<()> {
        self.std.set_len(size)
    }

    /// What is known about the file.
    ///
    /// # Errors
    /// As std's.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        self.std.metadata()
    }

    /// Another handle on the file.
    ///
    /// # Errors
    /// As std's.
    pub async fn try_clone(&self) -> io::Result<File> {
        self.std.try_clone().map(File::from_std)
    }

    /// Sets who may do what with the file.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_permissions(&self, perm: Permissions) -> io::Result<()> {
        self.std.set_permissions(perm)
    }

    /// Sets the file's times.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_times(&self, times: FileTimes) -> io::Result<()> {
        self.std.set_times(times.0)
    }

    /// Sets when the file was last written.
    ///
    /// # Errors
    /// As std's.
    pub async fn set_modified(&self, time: SystemTime) -> io::Result<()> {
        self.std.set_modified(time)
    }

    /// How much one operation may move.
    pub fn set_max_buf_size(&mut self, max_buf_size: usize) {
        self.max_buf_size = max_buf_size.max(1);
    }

    /// How much one operation may move.
    pub fn max_buf_size(&self) -> usize {
        self.max_buf_size
    }
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = buf.remaining().min(self.max_buf_size);
        let read = self.std.read(buf.initialize_unfilled_to(length));
        Poll::Ready(read.map(|count| buf.advance(count)))
    }
}

impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let length = buf.len().min(self.max_buf_size);
        Poll::Ready(self.std.write(&buf[..length]))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.std.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.std.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let sought = self.std.seek(position);
        self.sought = Some(sought);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let sought = self.sought.take();
        Poll::Ready(sought.unwrap_or_else(|| self.std.stream_position()))
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
