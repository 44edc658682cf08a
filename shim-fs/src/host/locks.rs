//! `flock`, and the locks of `fcntl`.
//!
//! Owns who waits for a lock. Must not know names. Invariants: a lock of `flock` or `F_OFD_SETLK` is a
//! description's and ends with it; those of `F_SETLK` are a process's, and a node is one process.

use libc::c_int;
use shim_runtime::device;
use shim_runtime::threads;

use super::call::{with_file, world};
use super::{fail, int, kernel, marks, to_libc};
use crate::disks::{DescriptionId, Disks, Lock};
use crate::error::{Errno, Result, refuse};
use crate::faults::DiskOp;

/// What a call wants of a file's locks.
#[derive(Clone, Copy)]
struct Wanted {
    /// `None` gives up what there is.
    exclusive: Option<bool>,
    whole: bool,
    range: (u64, u64),
}

fn conflict<'a>(locks: &'a [Lock], id: DescriptionId, wanted: &Wanted) -> Option<&'a Lock> {
    locks.iter().find(|lock| {
        let overlaps = lock.range.0 < wanted.range.1 && wanted.range.0 < lock.range.1;
        let excludes = lock.exclusive || wanted.exclusive == Some(true);
        lock.owner != id && lock.whole == wanted.whole && overlaps && excludes
    })
}

/// Takes or gives up a lock.
///
/// # Errors
/// `EAGAIN` where somebody else has it.
fn lock(disks: &mut Disks, wakes: &mut Vec<std::task::Waker>, fd: c_int, wanted: Wanted) -> Result<()> {
    disks.open_file(fd)?;
    let (id, node, ino) = disks.find(fd).map(|(id, it)| (id, it.node, it.ino)).ok_or(Errno(libc::EBADF))?;
    let Some(locks) = disks.locks_of(node, ino) else { return refuse(libc::EBADF) };
    if wanted.exclusive.is_some() && conflict(locks, id, &wanted).is_some() {
        return refuse(libc::EAGAIN);
    }
    let mut kept = Vec::new();
    for old in locks.drain(..) {
        if old.owner != id || old.whole != wanted.whole {
            kept.push(old);
            continue;
        }
        // What of an own lock is outside of the range stays.
        for (from, to) in
            [(old.range.0, old.range.1.min(wanted.range.0)), (old.range.0.max(wanted.range.1), old.range.1)]
        {
            if from < to {
                kept.push(Lock { range: (from, to), ..old });
            }
        }
    }
    if let Some(exclusive) = wanted.exclusive {
        kept.push(Lock { owner: id, exclusive, whole: wanted.whole, range: wanted.range });
    }
    *locks = kept;
    wakes.append(&mut disks.lock_waiters);
    Ok(())
}

fn lock_or_wait(fd: c_int, wanted: Wanted, waits: bool) -> Result<()> {
    let attempt = || world(|disks, cx| lock(disks, cx.wakes, fd, wanted));
    match attempt() {
        Err(Errno(libc::EAGAIN)) if waits => {}
        result => return result,
    }
    let result = threads::block_on_waker("a lock of a file", None, |waker| match attempt() {
        Err(Errno(libc::EAGAIN)) => {
            world(|disks, _| disks.lock_waiters.push(waker.clone()));
            None
        }
        result => Some(result),
    });
    result.unwrap_or(refuse(libc::EINTR))
}

/// `flock(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    if !marks::is_file(fd) || !device::is_reachable() {
        return with_file(
            DiskOp::Stat,
            fd,
            // SAFETY: the call has no pointers.
            || unsafe { kernel(libc::SYS_flock, [int(fd), int(operation)]) },
            |_, _, _| refuse(libc::EBADF),
        ) as c_int;
    }
    let exclusive = match operation & !libc::LOCK_NB {
        libc::LOCK_SH => Some(false),
        libc::LOCK_EX => Some(true),
        libc::LOCK_UN => None,
        _ => return fail(Errno(libc::EINVAL)) as c_int,
    };
    let wanted = Wanted { exclusive, whole: true, range: (0, u64::MAX) };
    to_libc(lock_or_wait(fd, wanted, operation & libc::LOCK_NB == 0).map(|()| 0)) as c_int
}

/// The range that a caller names, from its own offset or the file's end.
fn range(fd: c_int, lock: &libc::flock) -> Result<(u64, u64)> {
    let base = match c_int::from(lock.l_whence) {
        libc::SEEK_SET => 0,
        // SAFETY: the call has no pointers.
        libc::SEEK_CUR => unsafe { kernel(libc::SYS_lseek, [int(fd), 0, int(libc::SEEK_CUR)]) as i64 },
        libc::SEEK_END => world(|disks, cx| {
            let (node, ino, _) = disks.open_file(fd)?;
            Ok::<_, Errno>(disks.volume(node, cx)?.status(ino).size as i64)
        })?,
        _ => return refuse(libc::EINVAL),
    };
    let start = base + lock.l_start;
    let (from, to) = match lock.l_len {
        0 => (start, i64::MAX),
        len if len > 0 => (start, start.saturating_add(len)),
        len => (start + len, start),
    };
    if from < 0 { refuse(libc::EINVAL) } else { Ok((from as u64, to as u64)) }
}

/// The locks of `fcntl(2)` on a simulated file; `None` for other commands and descriptors.
///
/// # Safety
/// As the system call.
pub(super) unsafe fn fcntl(fd: c_int, command: c_int, argument: usize) -> Option<c_int> {
    let is_lock = matches!(
        command,
        libc::F_SETLK
            | libc::F_SETLKW
            | libc::F_GETLK
            | libc::F_OFD_SETLK
            | libc::F_OFD_SETLKW
            | libc::F_OFD_GETLK
    );
    if !is_lock || !marks::is_file(fd) || !device::is_reachable() {
        return None;
    }
    // SAFETY: the caller vouches for the argument, which is a pointer to a lock.
    let wanted_lock = unsafe { &mut *(argument as *mut libc::flock) };
    let mut answer = || {
        let range = range(fd, wanted_lock)?;
        let exclusive = match c_int::from(wanted_lock.l_type) {
            libc::F_RDLCK => Some(false),
            libc::F_WRLCK => Some(true),
            libc::F_UNLCK => None,
            _ => return refuse(libc::EINVAL),
        };
        let (_, _, flags) = world(|disks, _| disks.open_file(fd))?;
        let may = match (exclusive, flags & libc::O_ACCMODE) {
            (Some(false), mode) => mode != libc::O_WRONLY,
            (Some(true), mode) => mode != libc::O_RDONLY,
            (None, _) => true,
        };
        let wanted = Wanted { exclusive, whole: false, range };
        match command {
            libc::F_GETLK => wanted_lock.l_type = libc::F_UNLCK as _,
            libc::F_OFD_GETLK => world(|disks, _| tell(disks, fd, &wanted, wanted_lock)),
            _ if !may => return refuse(libc::EBADF),
            libc::F_OFD_SETLK => lock_or_wait(fd, wanted, false)?,
            libc::F_OFD_SETLKW => lock_or_wait(fd, wanted, true)?,
            _ => {}
        }
        Ok(0)
    };
    Some(to_libc(answer()) as c_int)
}

fn tell(disks: &mut Disks, fd: c_int, wanted: &Wanted, out: &mut libc::flock) {
    let found = disks.find(fd).map(|(id, it)| (id, it.node, it.ino));
    let Some((id, node, ino)) = found else { return };
    let locks = disks.locks_of(node, ino);
    match locks.and_then(|locks| conflict(locks, id, wanted)) {
        None => out.l_type = libc::F_UNLCK as _,
        Some(lock) => {
            out.l_type = if lock.exclusive { libc::F_WRLCK as _ } else { libc::F_RDLCK as _ };
            out.l_whence = libc::SEEK_SET as _;
            out.l_start = lock.range.0 as i64;
            out.l_len =
                if lock.range.1 >= i64::MAX as u64 { 0 } else { (lock.range.1 - lock.range.0) as i64 };
            out.l_pid = -1;
        }
    }
}
