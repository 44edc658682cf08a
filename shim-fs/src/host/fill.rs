//! What is known about a file, in the kernel's structures.
//!
//! Owns their form. Must not call anybody. Invariant: every field that is not known is zero.

use crate::tree::Times;
use crate::tree::attributes::Status;

const BLOCK_BYTES: u64 = 512;
/// What a program should read and write at once.
const IO_BYTES: u32 = 4096;

/// The device number of a node's disk; it is another after each start, so that what a dead process left in
/// statics by device and inode is not taken for the new one's.
#[derive(Clone, Copy)]
pub(super) struct DeviceNumber {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl DeviceNumber {
    pub(super) fn of(node: u32, starts: u32) -> DeviceNumber {
        DeviceNumber { major: 0x800 + node % 0x700, minor: (node / 0x700) << 16 | (starts & 0xffff) }
    }
}

fn parts(nanos: i64) -> (i64, i64) {
    (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
}

pub(super) fn stat(status: &Status, device: DeviceNumber) -> libc::stat64 {
    // SAFETY: all fields of the structure may be zero.
    let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
    let Times { accessed, modified, changed, .. } = status.times;
    stat.st_dev = libc::makedev(device.major, device.minor);
    stat.st_ino = status.ino;
    stat.st_mode = status.mode;
    stat.st_nlink = status.links as libc::nlink_t;
    stat.st_uid = status.uid;
    stat.st_gid = status.gid;
    stat.st_rdev = status.rdev;
    stat.st_size = status.size as i64;
    stat.st_blksize = IO_BYTES as libc::blksize_t;
    stat.st_blocks = status.size.div_ceil(BLOCK_BYTES) as i64;
    (stat.st_atime, stat.st_atime_nsec) = parts(accessed);
    (stat.st_mtime, stat.st_mtime_nsec) = parts(modified);
    (stat.st_ctime, stat.st_ctime_nsec) = parts(changed);
    stat
}

pub(super) fn statx(status: &Status, device: DeviceNumber) -> libc::statx {
    // SAFETY: all fields of the structure may be zero.
    let mut statx: libc::statx = unsafe { std::mem::zeroed() };
    let time = |nanos| {
        // SAFETY: as above.
        let mut time: libc::statx_timestamp = unsafe { std::mem::zeroed() };
        let (seconds, rest) = parts(nanos);
        (time.tv_sec, time.tv_nsec) = (seconds, rest as u32);
        time
    };
    statx.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    statx.stx_blksize = IO_BYTES;
    statx.stx_nlink = status.links;
    statx.stx_uid = status.uid;
    statx.stx_gid = status.gid;
    statx.stx_mode = status.mode as u16;
    statx.stx_ino = status.ino;
    statx.stx_size = status.size;
    statx.stx_blocks = status.size.div_ceil(BLOCK_BYTES);
    statx.stx_atime = time(status.times.accessed);
    statx.stx_mtime = time(status.times.modified);
    statx.stx_ctime = time(status.times.changed);
    statx.stx_btime = time(status.times.born);
    (statx.stx_rdev_major, statx.stx_rdev_minor) = (libc::major(status.rdev), libc::minor(status.rdev));
    (statx.stx_dev_major, statx.stx_dev_minor) = (device.major, device.minor);
    statx
}
