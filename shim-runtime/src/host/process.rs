//! Processes: forking one for each seed, starting the pristine parent, and the address layout.
//!
//! Owns the calls that std has no safe way for. Must not know what a seed is. Invariant: between `fork` and
//! the child's end nothing of the parent is used but memory.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use super::raw;

/// What `fork(2)` returned.
pub(crate) enum Fork {
    /// This is the child.
    Child,
    /// This is the parent; the child's number.
    Parent(libc::pid_t),
}

/// `fork(2)`, from a process whose other threads, if any, hold no lock.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the caller runs on the only thread that does anything, so the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent(child)),
    }
}

/// Waits for `child`; its raw wait status.
pub(crate) fn wait(child: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is valid to write.
        if unsafe { libc::waitpid(child, &mut status, 0) } == child {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits until the child `pid` has ended, and leaves it to be waited for.
pub(crate) fn wait_without_reaping(pid: u32) {
    loop {
        // SAFETY: all-zero is valid information, which the call may write.
        let result = unsafe {
            let mut information: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid, &mut information, libc::WEXITED | libc::WNOWAIT)
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

/// Ends the process without destructors: what the parent left in memory is not this process's to tidy.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Writes a line to standard error itself.
pub(crate) fn print_error(text: &str) {
    for part in [text, "\n"] {
        // SAFETY: the bytes are valid for their length.
        unsafe { raw::syscall6(libc::SYS_write, 2, part.as_ptr() as usize, part.len(), 0, 0, 0) };
    }
}

/// A file in memory, for captured output.
pub(crate) fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a valid C string; a returned descriptor is new and owned by nobody else.
    unsafe {
        let fd = libc::memfd_create(c"sim-output".as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(File::from(OwnedFd::from_raw_fd(fd)))
    }
}

/// Has `command` start with `inherited` as descriptor `number`, and with the same addresses every time.
pub(crate) fn prepare(command: &mut Command, inherited: &OwnedFd, number: RawFd) {
    let own = inherited.as_raw_fd();
    // SAFETY: between fork and exec this makes only system calls that are safe there.
    unsafe {
        command.pre_exec(move || {
            fix_addresses();
            if own == number {
                // `dup2` onto itself would leave the close-on-exec flag.
                if libc::fcntl(own, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            } else if libc::dup2(own, number) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Takes over descriptor `number`, which whoever started the process left open for it.
pub(crate) fn adopt(number: RawFd) -> OwnedFd {
    // SAFETY: the parent made this descriptor for this process, and this is called once.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Whether the process's addresses are the same in every run.
pub(crate) fn addresses_are_fixed() -> bool {
    // SAFETY: this argument only asks.
    let persona = unsafe { libc::personality(0xffff_ffff) };
    persona >= 0 && persona & libc::ADDR_NO_RANDOMIZE != 0
}

fn fix_addresses() -> bool {
    // SAFETY: `personality` takes effect at the next exec and touches no memory.
    unsafe {
        let persona = libc::personality(0xffff_ffff);
        persona >= 0 && libc::personality((persona | libc::ADDR_NO_RANDOMIZE) as libc::c_ulong) >= 0
    }
}

/// aws-lc, BoringSSL and OpenSSL ask this variable which instructions they may use. They look before any run begins.
const CAPABILITIES: &str = "OPENSSL_ia32cap";
/// All that the processor has but RDRAND, which no seed rules.
const NO_RDRAND: &str = "~0x4000000000000000";

/// Runs before `main`: hash maps seed themselves from addresses (foldhash, ahash), so a binary that was
/// loaded at random addresses starts itself once more without. So does one whose cryptography would ask the processor for
/// random numbers.
extern "C" fn before_main() {
    if !is_main_program() || std::env::var_os("SIM_KEEP_ASLR").is_some() {
        return;
    }
    let hides_rdrand = cfg!(target_arch = "x86_64") && std::env::var_os(CAPABILITIES).is_none();
    let fixes_addresses = !addresses_are_fixed() && fix_addresses() && addresses_are_fixed();
    if !hides_rdrand && !fixes_addresses {
        return;
    }
    if hides_rdrand {
        // SAFETY: nothing of this program has run, so that only a constructor of a shared library could have started a
        // thread; the process replaces itself at once.
        unsafe { std::env::set_var(CAPABILITIES, NO_RDRAND) };
    }
    let Ok(path) = std::fs::read_link("/proc/self/exe") else { return };
    let to_c = |text: OsString| CString::new(text.into_vec()).ok();
    let arguments: Option<Vec<CString>> = own_arguments().into_iter().map(to_c).collect();
    let Some(arguments) = arguments.filter(|arguments| !arguments.is_empty()) else { return };
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return };
    let mut pointers: Vec<*const libc::c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: the strings live until the call, which either replaces the process or changes nothing.
    unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) };
}

#[used]
#[unsafe(link_section = ".init_array.00099")]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// The process's arguments, which std has not seen yet.
fn own_arguments() -> Vec<OsString> {
    let Ok(text) = std::fs::read("/proc/self/cmdline") else { return Vec::new() };
    let mut arguments: Vec<OsString> =
        text.split(|byte| *byte == 0).map(|part| OsString::from_vec(part.to_vec())).collect();
    arguments.pop();
    arguments
}

/// Whether this code is part of the program itself, and not of a library that was loaded into another (a
/// procedural macro in the compiler).
fn is_main_program() -> bool {
    let own = is_main_program as fn() -> bool as usize;
    // SAFETY: the auxiliary vector's program headers are mapped for the life of the process.
    unsafe {
        let headers = libc::getauxval(libc::AT_PHDR) as *const libc::Elf64_Phdr;
        let count = libc::getauxval(libc::AT_PHNUM) as usize;
        if headers.is_null() {
            return false;
        }
        let headers = std::slice::from_raw_parts(headers, count);
        let own_header = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
        let base =
            own_header.map_or(0, |header| (headers.as_ptr() as usize).wrapping_sub(header.p_vaddr as usize));
        headers.iter().any(|header| {
            let start = base.wrapping_add(header.p_vaddr as usize);
            header.p_type == libc::PT_LOAD
                && (start..start.wrapping_add(header.p_memsz as usize)).contains(&own)
        })
    }
}

/// Waits until the process's first thread sleeps, if this is another: the harness's thread must not be in the
/// middle of an allocation when this one forks, or the heap that the child inherits would differ.
///
/// Allocates nothing itself.
pub(crate) fn wait_for_main_thread() {
    // SAFETY: these calls have no arguments.
    let (process, thread) = unsafe {
        (raw::syscall6(libc::SYS_getpid, 0, 0, 0, 0, 0, 0), raw::syscall6(libc::SYS_gettid, 0, 0, 0, 0, 0, 0))
    };
    if process == thread {
        return;
    }
    let mut quiet = 0;
    for _ in 0..20_000 {
        quiet = if main_thread_state() == Some(b'S') { quiet + 1 } else { 0 };
        if quiet == 5 {
            return;
        }
        super::real_sleep(Duration::from_micros(200));
    }
}

/// The state of the process's first thread, as one letter of `proc(5)`.
fn main_thread_state() -> Option<u8> {
    let mut bytes = [0u8; 512];
    // SAFETY: the path is a C string, and the buffer is valid for its length.
    let length = unsafe {
        let fd = raw::syscall6(
            libc::SYS_openat,
            libc::AT_FDCWD as usize,
            c"/proc/self/stat".as_ptr() as usize,
            libc::O_RDONLY as usize,
            0,
            0,
            0,
        );
        if fd < 0 {
            return None;
        }
        let length =
            raw::syscall6(libc::SYS_read, fd as usize, bytes.as_mut_ptr() as usize, bytes.len(), 0, 0, 0);
        raw::syscall6(libc::SYS_close, fd as usize, 0, 0, 0, 0, 0);
        length
    };
    let bytes = bytes.get(..usize::try_from(length).ok()?)?;
    let name_end = bytes.iter().rposition(|byte| *byte == b')')?;
    bytes.get(name_end + 2).copied()
}
