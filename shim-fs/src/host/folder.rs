//! Reading folders: `opendir` to `closedir`.
//!
//! Owns `DIR` values of simulated folders. Must not know how a folder is stored. Invariant: a `DIR` that libc
//! made is given to libc; which it is stands in its first word.

use std::ffi::CStr;

use libc::{DIR, c_char, c_int, c_long, dirent64};
use shim_runtime::device;
use shim_runtime::host::next::Next;
use shim_runtime::host::raw;

use super::call::{At, gate, resolve, world};
use super::{fail, marks, open, shared};
use crate::error::{Errno, Result, refuse};
use crate::faults::DiskOp;
use crate::tree::walk::Found;
use crate::tree::{Ino, Kind, Volume};

/// libc's own begin with a descriptor and a lock, which are small numbers.
const MAGIC: u64 = 0x51f0_1de2_0d12_ec70;

/// An open folder.
#[repr(C)]
struct Listing {
    magic: u64,
    fd: c_int,
    entries: Vec<Entry>,
    next: usize,
    shown: dirent64,
}

struct Entry {
    name: Vec<u8>,
    ino: Ino,
    kind: u8,
}

/// # Safety
/// `folder` must be a `DIR` of libc or of this file.
unsafe fn own<'a>(folder: *mut DIR) -> Option<&'a mut Listing> {
    // SAFETY: either begins with eight readable bytes, and the magic says that it is one of this file.
    unsafe {
        if folder.is_null() || *folder.cast::<u64>() != MAGIC {
            return None;
        }
        Some(&mut *folder.cast::<Listing>())
    }
}

fn entries(volume: &mut Volume, folder: Ino) -> Result<Vec<Entry>> {
    let parent = volume.folder(folder)?.parent;
    let mut entries = vec![
        Entry { name: b".".to_vec(), ino: folder, kind: libc::DT_DIR },
        Entry { name: b"..".to_vec(), ino: parent, kind: libc::DT_DIR },
    ];
    for (name, ino) in volume.list(folder)? {
        let kind = match &volume.inode(ino).kind {
            Kind::File(_) => libc::DT_REG,
            Kind::Folder(_) => libc::DT_DIR,
            Kind::Link(_) => libc::DT_LNK,
            Kind::Fifo => libc::DT_FIFO,
            Kind::Socket => libc::DT_SOCK,
            Kind::Device(kind, _) => (*kind >> 12) as u8,
        };
        entries.push(Entry { name, ino, kind });
    }
    Ok(entries)
}

fn listing(fd: c_int) -> Result<*mut DIR> {
    let (node, ..) = world(|disks, _| disks.open_file(fd))?;
    gate(node, DiskOp::List)?;
    let entries = world(|disks, cx| {
        let (node, ino, flags) = disks.open_file(fd)?;
        let volume = disks.volume(node, cx)?;
        if !volume.may(ino, crate::tree::attributes::READ) {
            return refuse(libc::EACCES);
        }
        if flags & libc::O_PATH != 0 {
            return refuse(libc::EBADF);
        }
        entries(volume, ino)
    })?;
    // SAFETY: all fields of the structure may be zero.
    let shown = unsafe { std::mem::zeroed() };
    Ok(Box::into_raw(Box::new(Listing { magic: MAGIC, fd, entries, next: 0, shown })).cast())
}

/// `opendir(3)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn opendir(path: *const c_char) -> *mut DIR {
    static NEXT: Next = Next::new(c"opendir");
    let at = At::here(path);
    // SAFETY: the caller vouches for the path; libc's symbol has this type.
    unsafe {
        let real: unsafe extern "C" fn(*const c_char) -> *mut DIR = std::mem::transmute(NEXT.address());
        if !at.is_simulated() {
            return real(path);
        }
        if let Ok((_, Found::Machine(path))) = resolve(at, true) {
            return std::ffi::CString::new(path).map_or(std::ptr::null_mut(), |path| real(path.as_ptr()));
        }
        let fd = open::open(path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC, 0);
        if fd < 0 {
            return std::ptr::null_mut();
        }
        listing(fd).unwrap_or_else(|errno| {
            shared::close(fd);
            fail(errno);
            std::ptr::null_mut()
        })
    }
}

/// `fdopendir(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fdopendir(fd: c_int) -> *mut DIR {
    static NEXT: Next = Next::new(c"fdopendir");
    if marks::is_file(fd) && device::is_reachable() {
        return listing(fd).unwrap_or_else(|errno| {
            fail(errno);
            std::ptr::null_mut()
        });
    }
    // SAFETY: libc's symbol has this type.
    unsafe {
        let real: unsafe extern "C" fn(c_int) -> *mut DIR = std::mem::transmute(NEXT.address());
        real(fd)
    }
}

/// `readdir(3)`, by glibc's other name.
///
/// # Safety
/// `folder` must be an open `DIR`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readdir64(folder: *mut DIR) -> *mut dirent64 {
    static NEXT: Next = Next::new(c"readdir64");
    // SAFETY: the caller vouches for the folder; libc's symbol has this type.
    unsafe {
        let Some(listing) = own(folder) else {
            let real: unsafe extern "C" fn(*mut DIR) -> *mut dirent64 = std::mem::transmute(NEXT.address());
            return real(folder);
        };
        let Some(entry) = listing.entries.get(listing.next) else { return std::ptr::null_mut() };
        listing.next += 1;
        let shown = &mut listing.shown;
        shown.d_ino = entry.ino;
        shown.d_off = listing.next as i64;
        shown.d_reclen = size_of::<dirent64>() as u16;
        shown.d_type = entry.kind;
        for (place, byte) in shown.d_name.iter_mut().zip(entry.name.iter().chain(&[0])) {
            *place = *byte as c_char;
        }
        shown
    }
}

/// `readdir(3)`.
///
/// # Safety
/// As [`readdir64`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readdir(folder: *mut DIR) -> *mut dirent64 {
    // SAFETY: as this call; the structures are the same on machines of 64 bits.
    unsafe { readdir64(folder) }
}

/// `readdir_r(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readdir64_r(
    folder: *mut DIR,
    entry: *mut dirent64,
    result: *mut *mut dirent64,
) -> c_int {
    // SAFETY: the caller vouches for all three.
    unsafe {
        let found = readdir64(folder);
        if found.is_null() {
            *result = std::ptr::null_mut();
        } else {
            std::ptr::copy_nonoverlapping(found, entry, 1);
            *result = entry;
        }
    }
    0
}

/// `readdir_r(3)`, by its other name.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readdir_r(
    folder: *mut DIR,
    entry: *mut dirent64,
    result: *mut *mut dirent64,
) -> c_int {
    // SAFETY: as this call.
    unsafe { readdir64_r(folder, entry, result) }
}

/// `closedir(3)`.
///
/// # Safety
/// `folder` must be an open `DIR`, which is not used any more.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn closedir(folder: *mut DIR) -> c_int {
    static NEXT: Next = Next::new(c"closedir");
    // SAFETY: the caller vouches for the folder; libc's symbol has this type.
    unsafe {
        if let Some(listing) = own(folder) {
            let listing = Box::from_raw(listing);
            shared::close(listing.fd);
            return 0;
        }
        let real: unsafe extern "C" fn(*mut DIR) -> c_int = std::mem::transmute(NEXT.address());
        real(folder)
    }
}

/// `dirfd(3)`.
///
/// # Safety
/// `folder` must be an open `DIR`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dirfd(folder: *mut DIR) -> c_int {
    static NEXT: Next = Next::new(c"dirfd");
    // SAFETY: the caller vouches for the folder; libc's symbol has this type.
    unsafe {
        if let Some(listing) = own(folder) {
            return listing.fd;
        }
        let real: unsafe extern "C" fn(*mut DIR) -> c_int = std::mem::transmute(NEXT.address());
        real(folder)
    }
}

/// `rewinddir(3)`: what is there now is read again.
///
/// # Safety
/// `folder` must be an open `DIR`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rewinddir(folder: *mut DIR) {
    static NEXT: Next = Next::new(c"rewinddir");
    // SAFETY: the caller vouches for the folder; libc's symbol has this type.
    unsafe {
        let Some(listing) = own(folder) else {
            let real: unsafe extern "C" fn(*mut DIR) = std::mem::transmute(NEXT.address());
            return real(folder);
        };
        listing.next = 0;
        let again = world(|disks, cx| {
            let (node, ino, _) = disks.open_file(listing.fd)?;
            entries(disks.volume(node, cx)?, ino)
        });
        if let Ok(entries) = again {
            listing.entries = entries;
        }
    }
}

/// `telldir(3)`.
///
/// # Safety
/// `folder` must be an open `DIR`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn telldir(folder: *mut DIR) -> c_long {
    static NEXT: Next = Next::new(c"telldir");
    // SAFETY: the caller vouches for the folder; libc's symbol has this type.
    unsafe {
        if let Some(listing) = own(folder) {
            return listing.next as c_long;
        }
        let real: unsafe extern "C" fn(*mut DIR) -> c_long = std::mem::transmute(NEXT.address());
        real(folder)
    }
}

/// `seekdir(3)`.
///
/// # Safety
/// `folder` must be an open `DIR`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn seekdir(folder: *mut DIR, place: c_long) {
    static NEXT: Next = Next::new(c"seekdir");
    // SAFETY: the caller vouches for the folder; libc's symbol has this type.
    unsafe {
        if let Some(listing) = own(folder) {
            listing.next = place as usize;
            return;
        }
        let real: unsafe extern "C" fn(*mut DIR, c_long) = std::mem::transmute(NEXT.address());
        real(folder, place);
    }
}

/// `mkdtemp(3)`: the last six letters of `template` are drawn.
///
/// # Safety
/// `template` must be a C string that can be written.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkdtemp(template: *mut c_char) -> *mut c_char {
    // SAFETY: the caller vouches for the template.
    let made = unsafe { from_template(template, 0, |path| super::names::mkdir(path, 0o700)) };
    if made < 0 { std::ptr::null_mut() } else { template }
}

/// `mkstemp(3)`.
///
/// # Safety
/// As [`mkdtemp`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkstemp64(template: *mut c_char) -> c_int {
    // SAFETY: the caller vouches for the template.
    unsafe { mkostemps64(template, 0, 0) }
}

/// `mkostemps(3)`.
///
/// # Safety
/// As [`mkdtemp`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mkostemps64(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int {
    let flags = flags | libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    // SAFETY: the caller vouches for the template.
    unsafe { from_template(template, suffix, |path| open::open(path, flags, 0o600)) }
}

macro_rules! also_called {
    ($($name:ident($($argument:ident: $kind:ty),*) = $other:ident, $text:literal;)*) => {
        $(
            #[doc = $text]
            ///
            /// # Safety
            /// As [`mkdtemp`].
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C" fn $name($($argument: $kind),*) -> c_int {
                // SAFETY: as this call.
                unsafe { $other($($argument),*) }
            }
        )*
    };
}

also_called! {
    mkstemp(template: *mut c_char) = mkstemp64, "`mkstemp(3)`, by its other name.";
    mkostemps(template: *mut c_char, suffix: c_int, flags: c_int) = mkostemps64, "`mkostemps(3)`, by its other name.";
}

/// # Safety
/// `template` must be a C string that can be written.
unsafe fn from_template(
    template: *mut c_char,
    suffix: c_int,
    make: impl Fn(*const c_char) -> c_int,
) -> c_int {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    // SAFETY: the caller vouches for the template.
    let text = unsafe { CStr::from_ptr(template) }.to_bytes();
    let end = text.len().saturating_sub(suffix.max(0) as usize);
    if end < 6 || &text[end - 6..end] != b"XXXXXX" {
        return fail(Errno(libc::EINVAL)) as c_int;
    }
    for _ in 0..100 {
        let mut random = [0u8; 6];
        if !shim_runtime::host::fill_entropy(&mut random) {
            // SAFETY: the buffer is valid for its length.
            unsafe { super::kernel(libc::SYS_getrandom, [random.as_mut_ptr() as usize, random.len(), 0]) };
        }
        for (place, byte) in random.iter().enumerate() {
            // SAFETY: the six letters are part of the template.
            unsafe { *template.add(end - 6 + place) = LETTERS[usize::from(*byte) % LETTERS.len()] as c_char };
        }
        let made = make(template);
        // SAFETY: errno is always readable.
        if made >= 0 || unsafe { *libc::__errno_location() } != libc::EEXIST {
            return made;
        }
    }
    raw::set_errno(libc::EEXIST);
    -1
}
