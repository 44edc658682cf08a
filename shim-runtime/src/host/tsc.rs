//! The time-stamp counter: `rdtsc` and `rdtscp` are answered from the virtual clock.
//!
//! Owns the switch that makes the instruction trap on a run's threads, and the handler that answers it. Must
//! not answer for any other fault: those go where they went before. Invariant: one tick is one nanosecond
//! of virtual time.
//!
//! quanta (governor, moka, metrics) calibrates itself against the counter, and never returns from that on a
//! clock that stands still between two reads.

#[cfg(target_arch = "x86_64")]
mod trap {
    use std::mem::MaybeUninit;
    use std::sync::OnceLock;

    use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

    use crate::context;
    use crate::host::clock;

    const SI_KERNEL: c_int = 0x80;
    const PR_SET_TSC: c_int = 26;
    const PR_TSC_ENABLE: c_int = 1;
    const PR_TSC_SIGSEGV: c_int = 2;

    /// What a fault did before this handler was installed.
    static BEFORE: OnceLock<sigaction> = OnceLock::new();

    pub(super) fn set(trapped: bool) {
        if trapped {
            install();
        }
        let mode = if trapped { PR_TSC_SIGSEGV } else { PR_TSC_ENABLE };
        // SAFETY: this changes nothing but the calling thread's counter; where the kernel refuses, the counter
        // stays real, which the test of determinism shows.
        unsafe { libc::prctl(PR_SET_TSC, mode, 0, 0, 0) };
    }

    fn install() {
        BEFORE.get_or_init(|| {
            // SAFETY: all-zero is a valid action; the handler has the type that SA_SIGINFO asks for.
            unsafe {
                let mut action: sigaction = std::mem::zeroed();
                action.sa_sigaction = answer as extern "C" fn(c_int, *mut siginfo_t, *mut c_void) as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                let mut before = MaybeUninit::<sigaction>::zeroed();
                libc::sigaction(libc::SIGSEGV, &action, before.as_mut_ptr());
                before.assume_init()
            }
        });
    }

    extern "C" fn answer(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // The counter's trap is a general protection fault, which the kernel tells as its own; an access to memory
        // that is not there has another code, and its instruction may not be there either.
        // SAFETY: the kernel gives a handler with SA_SIGINFO valid information.
        if unsafe { (*info).si_code } != SI_KERNEL {
            return give_back();
        }
        // SAFETY: the kernel gives a handler with SA_SIGINFO a valid context.
        let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
        let at = registers[libc::REG_RIP as usize] as *const u8;
        // SAFETY: the processor had read this instruction when it refused it, so its bytes are there.
        let length = match unsafe { [at.read(), at.add(1).read()] } {
            [0x0f, 0x31] => 2,
            // SAFETY: as above; a two-byte opcode of this group has a third byte.
            [0x0f, 0x01] if unsafe { at.add(2).read() } == 0xf9 => 3,
            _ => return give_back(),
        };
        let ticks = context::try_with_run(|shared| shared.monotonic_base_ns + clock::read(shared).nanos());
        let ticks = ticks.unwrap_or(0);
        registers[libc::REG_RAX as usize] = (ticks & 0xffff_ffff) as i64;
        registers[libc::REG_RDX as usize] = (ticks >> 32) as i64;
        if length == 3 {
            registers[libc::REG_RCX as usize] = 0;
        }
        registers[libc::REG_RIP as usize] += length;
    }

    /// Not the counter: the fault happens again, with the action that was there before.
    fn give_back() {
        if let Some(before) = BEFORE.get() {
            // SAFETY: the action is one that the kernel gave.
            unsafe { libc::sigaction(libc::SIGSEGV, before, std::ptr::null_mut()) };
        }
    }
}

/// From now on the calling thread's counter is the run's.
pub(crate) fn begin() {
    #[cfg(target_arch = "x86_64")]
    trap::set(true);
}

/// From now on the calling thread's counter is the processor's.
pub(crate) fn end() {
    #[cfg(target_arch = "x86_64")]
    trap::set(false);
}
