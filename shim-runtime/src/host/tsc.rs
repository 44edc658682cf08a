//! The time-stamp counter: `rdtsc` and `rdtscp` are answered from the virtual clock.
//!
//! Owns the switch that makes the instruction trap on a run's threads, the handler that answers it, and what it
//! answers. Must not answer for any other fault: those go where they went before. Invariant: one tick is one
//! nanosecond of virtual time, give or take the noise, and no two reads are equal.
//!
//! quanta (governor, moka, metrics) calibrates itself against the counter, and never returns from that on a
//! clock that stands still between two reads. jitterentropy (aws-lc) looks for differences in how long its own
//! work takes, and ends the process where there are none: so the counter has a little noise, which the seed chooses.

/// A read is up to this many nanoseconds late.
const MOST_NOISE_NS: u64 = 15;

/// What the counter showed, and what it will show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    last: u64,
    noise: u64,
}

impl Counter {
    pub(crate) fn new(seed: u64) -> Counter {
        // A generator of this kind must not begin with zero.
        Counter { last: 0, noise: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// The counter at a time in nanoseconds.
    pub(crate) fn read(&mut self, now_ns: u64) -> u64 {
        // Marsaglia's xorshift: what matters is that the differences differ, not that nobody can foretell them.
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        self.last =
            now_ns.saturating_add((self.noise >> 32) & MOST_NOISE_NS).max(self.last.saturating_add(1));
        self.last
    }
}

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
        let ticks = context::try_with_run(|shared| {
            let now_ns = shared.monotonic_base_ns + clock::read(shared).nanos();
            let mut counter = shared.counter.get();
            let ticks = counter.read(now_ns);
            shared.counter.set(counter);
            ticks
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_rises_with_noise_and_never_runs_away() {
        for seed in [0, 1, 7, u64::MAX] {
            let (mut counter, mut again) = (Counter::new(seed), Counter::new(seed));
            let (mut last, mut differences) = (0, std::collections::BTreeSet::new());
            for read in 1..=1000_u64 {
                let now_ns = 1_000_000 + read * 1000;
                let ticks = counter.read(now_ns);
                assert!((now_ns..=now_ns + MOST_NOISE_NS).contains(&ticks), "seed {seed}");
                assert_eq!(ticks, again.read(now_ns));
                differences.insert(ticks - last);
                last = ticks;
            }
            assert!(differences.len() > 16, "seed {seed}: {differences:?}");
            // A clock that stands still.
            let standing: Vec<u64> = (0..64).map(|_| counter.read(1_000_000_000)).collect();
            assert!(standing.windows(2).all(|two| two[0] < two[1]));
            assert!(standing[63] < 1_000_000_000 + 64 + MOST_NOISE_NS);
        }
    }
}
