//! Raw system calls, by inline assembly.
//!
//! Owns the one way to the kernel that the interposed symbols cannot catch. Must not know what a call
//! means. Invariant: results are the kernel's own: a negative number is an error.

use std::arch::asm;

/// Makes system call `number` and returns what the kernel returns (a negated errno on failure).
///
/// # Safety
/// As the system call itself.
#[cfg(target_arch = "x86_64")]
pub unsafe fn syscall6(
    number: libc::c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the call; the clobbers are those of the kernel's calling convention.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Makes system call `number` and returns what the kernel returns (a negated errno on failure).
///
/// # Safety
/// As the system call itself.
#[cfg(target_arch = "aarch64")]
pub unsafe fn syscall6(
    number: libc::c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the call; the clobbers are those of the kernel's calling convention.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            in("x5") f,
            options(nostack),
        );
    }
    result
}

/// Turns the kernel's result into libc's: -1 and `errno` on failure.
pub fn to_libc(result: isize) -> isize {
    if result < 0 {
        set_errno(-result as i32);
        return -1;
    }
    result
}

/// Sets the calling thread's `errno`.
pub fn set_errno(errno: i32) {
    // SAFETY: glibc's location of the calling thread's errno is always valid to write.
    unsafe { *libc::__errno_location() = errno };
}
