//! The calls that change names: `mkdir`, `rmdir`, `unlink`, `rename`, `link`, `symlink`, `mknod`, `mkfifo`.
//!
//! Owns the symbols. Must not know the rules: `tree::names` does. Invariant: a call between the world and the
//! machine is `EXDEV`, as between two mounts.

use libc::{c_char, c_int, c_uint, dev_t, mode_t};
use shim_runtime::host::raw;

use super::call::{At, gate, now, on_machine, resolve, start, with_path, world};
use super::{fail, int, kernel, to_libc};
use crate::error::{Errno, Result, refuse};
use crate::faults::DiskOp;
use crate::special;
use crate::tree::names::Taken;
use crate::tree::walk::{Found, Last};
use crate::tree::{Kind, Volume};

/// The folder and name that something new is to have.
fn free(found: Found, folder_too: bool) -> Result<(crate::tree::Ino, Vec<u8>)> {
    match found {
        Found::Entry { ino: None, must_be_folder: true, .. } if !folder_too => refuse(libc::ENOENT),
        Found::Entry { folder, name, ino: None, .. } => Ok((folder, name)),
        _ => refuse(libc::EEXIST),
    }
}

/// `mkdir(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { mkdirat(libc::AT_FDCWD, path, mode) }
}

/// `mkdirat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_mkdirat, [int(at.0), at.1 as usize, mode as usize]) };
    let answer = |volume: &mut Volume, found, now| {
        let (folder, name) = free(found, true)?;
        volume.make_folder(folder, &name, mode, now).map(|_| 0)
    };
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Create, At(folder, path), Last::Name, real, answer) as c_int }
}

/// `rmdir(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: as this call.
    unsafe { unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

/// `unlink(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: as this call.
    unsafe { unlinkat(libc::AT_FDCWD, path, 0) }
}

/// `remove(3)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn remove(path: *const c_char) -> c_int {
    // SAFETY: as this call.
    unsafe {
        let result = unlink(path);
        if result != 0 && *libc::__errno_location() == libc::EISDIR { rmdir(path) } else { result }
    }
}

/// `unlinkat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_unlinkat, [int(at.0), at.1 as usize, int(flags)]) };
    let at = At(folder, path);
    let mut special_name = None;
    let answer = |volume: &mut Volume, found: Found, now| {
        if flags & libc::AT_REMOVEDIR != 0 {
            // SAFETY: the caller vouches for the path.
            let dot = unsafe { at.text() }.ends_with(b".");
            return volume.remove_folder(&found, dot, now).map(|()| 0);
        }
        if let Found::Entry { ino: Some(ino), .. } = &found
            && matches!(volume.inode(*ino).kind, Kind::Socket | Kind::Fifo)
        {
            // SAFETY: as above.
            special_name = Some(unsafe { at.text() }.to_vec());
        }
        volume.unlink(&found, now).map(|()| 0)
    };
    // SAFETY: the caller vouches for the path.
    unsafe {
        if shim_runtime::host::in_run()
            && !path.is_null()
            && !at.is_simulated()
            && let Some(owner) = special::owner()
            && (owner.removed)(at.text())
        {
            return 0;
        }
    }
    // SAFETY: the caller vouches for the path.
    let result = unsafe { with_path(DiskOp::Remove, at, Last::Name, real, answer) as c_int };
    if result == 0
        && let (Some(name), Some(owner)) = (special_name, special::owner())
    {
        (owner.removed)(&name);
    }
    result
}

/// `rename(2)`.
///
/// # Safety
/// Both paths must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as this call.
    unsafe { renameat2(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) }
}

/// `renameat(2)`.
///
/// # Safety
/// Both paths must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn renameat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: as this call.
    unsafe { renameat2(from_folder, from, to_folder, to, 0) }
}

/// `renameat2(2)`.
///
/// # Safety
/// Both paths must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn renameat2(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    let (from, to) = (At(from_folder, from), At(to_folder, to));
    // SAFETY: as the system call.
    let real = |from: At, to: At| unsafe {
        let arguments = [int(from.0), from.1 as usize, int(to.0), to.1 as usize, flags as usize];
        kernel(libc::SYS_renameat2, arguments)
    };
    let answer = |volume: &mut Volume, from: Found, to: Found, now| {
        let taken = match flags {
            0 => Taken::Replace,
            libc::RENAME_NOREPLACE => Taken::Refuse,
            libc::RENAME_EXCHANGE => Taken::Exchange,
            _ => return refuse(libc::EINVAL),
        };
        volume.rename(&from, &to, taken, now)
    };
    // SAFETY: the caller vouches for the paths.
    unsafe { with_paths(DiskOp::Rename, from, to, Last::Name, real, answer) }
}

/// `link(2)`.
///
/// # Safety
/// Both paths must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as this call.
    unsafe { linkat(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) }
}

/// `linkat(2)`, also of an open file without a name.
///
/// # Safety
/// Both paths must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn linkat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
    flags: c_int,
) -> c_int {
    let (at, to) = (At(from_folder, from), At(to_folder, to));
    // SAFETY: the caller vouches for the paths.
    unsafe {
        if to.is_simulated()
            && let Some(fd) = open_file_of(at, flags)
        {
            return link_open_file(fd, to);
        }
    }
    // SAFETY: as the system call.
    let real = |from: At, to: At| unsafe {
        kernel(libc::SYS_linkat, [int(from.0), from.1 as usize, int(to.0), to.1 as usize, int(flags)])
    };
    let answer = |volume: &mut Volume, from: Found, to: Found, now| {
        let ino = from.existing()?;
        let (folder, name) = free(to, false)?;
        volume.link(ino, folder, &name, now)
    };
    let follow = flags & libc::AT_SYMLINK_FOLLOW != 0;
    // SAFETY: the caller vouches for the paths.
    unsafe { with_paths(DiskOp::Create, at, to, Last::from(follow), real, answer) }
}

/// The descriptor that `linkat` is given as what to link: by itself, or by its name in `/proc`.
///
/// # Safety
/// The path must be null or a C string.
unsafe fn open_file_of(at: At, flags: c_int) -> Option<c_int> {
    if at.1.is_null() {
        return None;
    }
    // SAFETY: the caller vouches for the path.
    let text = unsafe { at.text() };
    let fd = if text.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
        at.0
    } else if flags & libc::AT_SYMLINK_FOLLOW != 0 {
        std::str::from_utf8(text.strip_prefix(b"/proc/self/fd/")?).ok()?.parse().ok()?
    } else {
        return None;
    };
    super::marks::is_file(fd).then_some(fd)
}

/// # Safety
/// The path must be a C string.
unsafe fn link_open_file(fd: c_int, to: At) -> c_int {
    // SAFETY: the caller vouches for the path.
    let text = unsafe { to.text() };
    to_libc(world(|disks, cx| {
        let (node, ino, flags) = disks.open_file(fd)?;
        if flags & libc::O_EXCL != 0 && flags & libc::O_TMPFILE == libc::O_TMPFILE {
            return refuse(libc::ENOENT);
        }
        let (_, start) = start(disks, cx, to.0, text)?;
        let now = now(cx);
        let volume = disks.volume(node, cx)?;
        let (folder, name) = free(volume.walk(start, text, Last::Name)?, false)?;
        volume.link(ino, folder, &name, now).map(|()| 0)
    })) as c_int
}

/// Answers a call with two paths.
///
/// # Safety
/// Both paths must be null or C strings.
unsafe fn with_paths(
    op: DiskOp,
    from: At,
    to: At,
    last: Last,
    kernel: impl Fn(At, At) -> isize,
    answer: impl FnOnce(&mut Volume, Found, Found, i64) -> Result<()>,
) -> c_int {
    // SAFETY: as this function.
    unsafe {
        if !from.is_simulated() || !to.is_simulated() {
            return raw::to_libc(kernel(from, to)) as c_int;
        }
        let mut found = resolve(from, last);
        if let Ok((_, Found::Entry { ino: None, .. })) = found
            && last != Last::Name
        {
            // What is to be linked is looked for first.
            found = refuse(libc::ENOENT);
        }
        match (found, resolve(to, Last::Name)) {
            (Ok((_, Found::Machine(from))), Ok((_, Found::Machine(to)))) => {
                let result = on_machine(&from, |from| on_machine(&to, |to| kernel(from, to)));
                return raw::to_libc(result) as c_int;
            }
            (Err(errno), _) | (_, Err(errno)) => return fail(errno) as c_int,
            (Ok((_, Found::Machine(_))), _) | (_, Ok((_, Found::Machine(_)))) => {
                return fail(Errno(libc::EXDEV)) as c_int;
            }
            (Ok((node, _)), _) => {
                if let Err(errno) = gate(node, op) {
                    return fail(errno) as c_int;
                }
            }
        }
        let (from_text, to_text) = (from.text(), to.text());
        to_libc(world(|disks, cx| {
            let (node, from_start) = start(disks, cx, from.0, from_text)?;
            let (_, to_start) = start(disks, cx, to.0, to_text)?;
            let now = now(cx);
            let volume = disks.volume(node, cx)?;
            let from = volume.walk(from_start, from_text, last)?;
            let to = volume.walk(to_start, to_text, Last::Name)?;
            answer(volume, from, to, now).map(|()| 0)
        })) as c_int
    }
}

/// `symlink(2)`.
///
/// # Safety
/// Both must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn symlink(target: *const c_char, path: *const c_char) -> c_int {
    // SAFETY: as this call.
    unsafe { symlinkat(target, libc::AT_FDCWD, path) }
}

/// `symlinkat(2)`.
///
/// # Safety
/// Both must be C strings.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn symlinkat(
    target: *const c_char,
    folder: c_int,
    path: *const c_char,
) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe { kernel(libc::SYS_symlinkat, [target as usize, int(at.0), at.1 as usize]) };
    let answer = |volume: &mut Volume, found, now| {
        // SAFETY: the caller vouches for the target.
        let target = unsafe { At::here(target).text() };
        if target.is_empty() {
            return refuse(libc::ENOENT);
        }
        let (folder, name) = free(found, false)?;
        volume.make_link(folder, &name, target, now).map(|_| 0)
    };
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Create, At(folder, path), Last::Name, real, answer) as c_int }
}

/// `mknod(2)`: plain files, pipes and sockets; devices are refused.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mknod(path: *const c_char, mode: mode_t, device: dev_t) -> c_int {
    // SAFETY: as this call.
    unsafe { mknodat(libc::AT_FDCWD, path, mode, device) }
}

/// `mknodat(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mknodat(
    folder: c_int,
    path: *const c_char,
    mode: mode_t,
    device: dev_t,
) -> c_int {
    // SAFETY: as the system call.
    let real = |at: At| unsafe {
        kernel(libc::SYS_mknodat, [int(at.0), at.1 as usize, mode as usize, device as usize])
    };
    let answer = |volume: &mut Volume, found, now| {
        let (folder, name) = free(found, false)?;
        match mode & libc::S_IFMT {
            0 | libc::S_IFREG => volume.make_file(folder, &name, mode, now),
            libc::S_IFIFO => volume.make_special(folder, &name, Kind::Fifo, mode, now),
            libc::S_IFSOCK => volume.make_special(folder, &name, Kind::Socket, mode, now),
            _ => refuse(libc::EPERM),
        }
        .map(|_| 0)
    };
    // SAFETY: the caller vouches for the path.
    unsafe { with_path(DiskOp::Create, At(folder, path), Last::Name, real, answer) as c_int }
}

/// `mkfifo(3)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkfifo(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { mknodat(libc::AT_FDCWD, path, mode | libc::S_IFIFO, 0) }
}

/// `mkfifoat(3)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkfifoat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { mknodat(folder, path, mode | libc::S_IFIFO, 0) }
}
