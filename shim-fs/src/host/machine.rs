//! The way to the machine's own files: raw system calls, which no symbol of this layer sees.
//!
//! Owns files of memory, and reading the image. Must not change anything on the machine. Invariant: a
//! [`MemoryFile`] owns its descriptor.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStringExt;

use libc::c_int;

use super::{int, kernel};
use crate::error::{Errno, Result};
use crate::tree::Times;

/// What the machine knows of a file.
pub(crate) struct Raw {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u64,
    pub(crate) size: u64,
    pub(crate) times: Times,
}

fn checked(result: isize) -> Result<usize> {
    if result < 0 { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

fn c_string(path: &[u8]) -> Result<CString> {
    CString::new(path).map_err(|_| Errno(libc::EINVAL))
}

/// `lstat` of the machine's file at `path`.
pub(crate) fn stat(path: &[u8]) -> Result<Raw> {
    let path = c_string(path)?;
    // SAFETY: all fields of the structure may be zero.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    let arguments = [
        int(libc::AT_FDCWD),
        path.as_ptr() as usize,
        int(libc::AT_SYMLINK_NOFOLLOW | libc::AT_STATX_SYNC_AS_STAT),
        mask as usize,
        (&raw mut found) as usize,
    ];
    // SAFETY: the path is a C string, and the structure is valid to write.
    checked(unsafe { kernel(libc::SYS_statx, arguments) })?;
    let nanos = |time: libc::statx_timestamp| time.tv_sec * 1_000_000_000 + i64::from(time.tv_nsec);
    Ok(Raw {
        mode: found.stx_mode.into(),
        uid: found.stx_uid,
        gid: found.stx_gid,
        rdev: libc::makedev(found.stx_rdev_major, found.stx_rdev_minor),
        size: found.stx_size,
        times: Times {
            accessed: nanos(found.stx_atime),
            modified: nanos(found.stx_mtime),
            changed: nanos(found.stx_ctime),
            born: nanos(found.stx_btime),
        },
    })
}

/// Where the machine's link at `path` leads.
pub(crate) fn read_link(path: &[u8]) -> Result<Vec<u8>> {
    let path = c_string(path)?;
    let mut target = vec![0; 4096];
    let arguments = [int(libc::AT_FDCWD), path.as_ptr() as usize, target.as_mut_ptr() as usize, target.len()];
    // SAFETY: the path is a C string, and the buffer is valid for its length.
    let length = checked(unsafe { kernel(libc::SYS_readlinkat, arguments) })?;
    target.truncate(length);
    Ok(target)
}

/// Opens the machine's file at `path`.
pub(crate) fn open(path: &[u8], flags: c_int, mode: u32) -> Result<RawFd> {
    let path = c_string(path)?;
    // SAFETY: the path is a C string.
    let result = unsafe {
        kernel(libc::SYS_openat, [int(libc::AT_FDCWD), path.as_ptr() as usize, int(flags), mode as usize])
    };
    checked(result).map(|fd| fd as RawFd)
}

/// Closes a descriptor that is this layer's.
pub(crate) fn close(fd: RawFd) {
    // SAFETY: the descriptor is this layer's, and nobody uses it any more.
    unsafe { kernel(libc::SYS_close, [int(fd)]) };
}

/// The names in the machine's folder at `path`, in no order.
pub(crate) fn list(path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let fd = open(path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC, 0)?;
    let mut buffer = vec![0u8; 32 << 10];
    let mut names = Vec::new();
    let result = loop {
        let arguments = [int(fd), buffer.as_mut_ptr() as usize, buffer.len()];
        // SAFETY: the buffer is valid for its length.
        let length = match checked(unsafe { kernel(libc::SYS_getdents64, arguments) }) {
            Ok(0) => break Ok(names),
            Ok(length) => length,
            Err(errno) => break Err(errno),
        };
        let mut rest = &buffer[..length];
        // inode 8, offset 8, length of the record 2, type 1, name
        while rest.len() > 19 {
            let record = usize::from(u16::from_ne_bytes([rest[16], rest[17]])).clamp(19, rest.len());
            let name = rest[19..record].split(|byte| *byte == 0).next().unwrap_or_default();
            if !matches!(name, b"" | b"." | b"..") {
                names.push(name.to_vec());
            }
            rest = &rest[record..];
        }
    };
    close(fd);
    result
}

/// The first `len` bytes of the machine's file at `path`, or all where there are fewer.
pub(crate) fn read(path: &[u8], len: u64) -> Result<Vec<u8>> {
    let fd = open(path, libc::O_RDONLY | libc::O_CLOEXEC, 0)?;
    let result = read_at(fd, 0, len);
    close(fd);
    result
}

fn read_at(fd: RawFd, from: u64, len: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    let mut done = 0;
    while done < bytes.len() {
        let space = &mut bytes[done..];
        let arguments = [int(fd), space.as_mut_ptr() as usize, space.len(), from as usize + done];
        // SAFETY: the buffer is valid for its length.
        match checked(unsafe { kernel(libc::SYS_pread64, arguments) })? {
            0 => break,
            count => done += count,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// The process's own current folder.
pub(crate) fn cwd() -> Vec<u8> {
    let mut path = vec![0; 4096];
    // SAFETY: the buffer is valid for its length.
    let length = unsafe { kernel(libc::SYS_getcwd, [path.as_mut_ptr() as usize, path.len()]) };
    path.truncate((length.max(1) - 1) as usize);
    if path.first() == Some(&b'/') { path } else { b"/".to_vec() }
}

/// The folder for temporary files.
pub(crate) fn temporary() -> Vec<u8> {
    let path = std::env::temp_dir().into_os_string().into_vec();
    if path.first() == Some(&b'/') { path } else { b"/tmp".to_vec() }
}

/// The process's user and group, which all nodes have.
pub(crate) fn identity() -> (u32, u32) {
    // SAFETY: these calls have no arguments.
    unsafe { (kernel(libc::SYS_geteuid, []) as u32, kernel(libc::SYS_getegid, []) as u32) }
}

/// The value of `SIM_FS_PASS_THROUGH`.
pub(crate) fn passed_through_by_environment() -> Vec<Vec<u8>> {
    let text = std::env::var_os("SIM_FS_PASS_THROUGH").unwrap_or_default().into_vec();
    text.split(|byte| *byte == b':').filter(|path| path.first() == Some(&b'/')).map(<[u8]>::to_vec).collect()
}

/// A file that is only in memory.
pub(crate) struct MemoryFile {
    fd: RawFd,
}

impl MemoryFile {
    /// An empty one.
    pub(crate) fn new() -> Result<MemoryFile> {
        let arguments = [c"sim-file".as_ptr() as usize, libc::MFD_CLOEXEC as usize];
        // SAFETY: the name is a C string.
        let fd = checked(unsafe { kernel(libc::SYS_memfd_create, arguments) })?;
        Ok(MemoryFile { fd: fd as RawFd })
    }

    /// Another description of it, with an offset and flags of its own.
    pub(crate) fn reopen(&self, flags: c_int) -> Result<RawFd> {
        open(format!("/proc/self/fd/{}", self.fd).as_bytes(), flags, 0)
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> u64 {
        // SAFETY: all fields of the structure may be zero.
        let mut found: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the structure is valid to write.
        unsafe { kernel(libc::SYS_fstat, [int(self.fd), (&raw mut found) as usize]) };
        found.st_size as u64
    }

    /// Up to `len` bytes from `from` on.
    pub(crate) fn read_at(&self, from: u64, len: u64) -> Result<Vec<u8>> {
        read_at(self.fd, from, len)
    }

    /// Writes `bytes` at `from`.
    pub(crate) fn write_at(&self, bytes: &[u8], from: u64) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &bytes[done..];
            let arguments = [int(self.fd), rest.as_ptr() as usize, rest.len(), from as usize + done];
            // SAFETY: the buffer is valid for its length.
            done += checked(unsafe { kernel(libc::SYS_pwrite64, arguments) })?;
        }
        Ok(())
    }

    /// Cuts or extends it.
    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        // SAFETY: the call has no pointers.
        checked(unsafe { kernel(libc::SYS_ftruncate, [int(self.fd), len as usize]) }).map(drop)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        close(self.fd);
    }
}
