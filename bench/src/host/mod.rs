//! What the benchmark asks of the operating system: the processor time that it used.
//!
//! Must not be answered by the simulation. Invariant: the number only grows.

/// Processor time of this process, in seconds.
pub(crate) fn processor_seconds() -> f64 {
    // SAFETY: all-zero is a valid rusage, and it is valid to write.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
