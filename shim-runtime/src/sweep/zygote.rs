//! The pristine parent: a process that does nothing but fork a child for each seed it is asked for.
//!
//! Owns the order of its messages. Must not allocate between two seeds: the heap that a child inherits
//! must be the same for the first seed and for the five-hundredth. Invariant: each request is answered,
//! also where the child dies.

use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

use super::outcome::Outcome;
use crate::host::clock::real_monotonic;
use crate::host::process::{self, Fork};

/// The descriptor that the zygote is asked through.
pub(crate) const CONTROL_FD: i32 = 3;
/// Set in the environment of a zygote.
pub(crate) const VARIABLE: &str = "SIM_ZYGOTE";

/// The first byte: the zygote is ready, and what it printed so far is the harness's.
pub(crate) const TAG_READY: u8 = b'R';
/// What comes before an answer: the child told how it ended.
pub(crate) const TAG_OUTCOME: u8 = b'O';
/// What comes last for each seed: the child's wait status follows.
pub(crate) const TAG_EXIT: u8 = b'X';

/// Serves requests until there are no more; in the child that runs a seed, returns it.
///
/// The zygote itself never returns.
pub(crate) fn serve() -> Seeded {
    let mut control = File::from(process::adopt(CONTROL_FD));
    let _ = std::io::stdout().flush();
    process::wait_for_main_thread();
    if control.write_all(&[TAG_READY]).is_err() {
        process::exit_now(0);
    }
    loop {
        let mut request = [0u8; 8];
        if control.read_exact(&mut request).is_err() {
            process::exit_now(0);
        }
        match process::fork() {
            Ok(Fork::Child) => {
                return Seeded { seed: u64::from_le_bytes(request), control, started: real_monotonic() };
            }
            Ok(Fork::Parent(child)) => {
                let status = process::wait(child).unwrap_or(-1);
                let mut answer = [TAG_EXIT, 0, 0, 0, 0];
                answer[1..].copy_from_slice(&status.to_le_bytes());
                if control.write_all(&answer).is_err() {
                    process::exit_now(0);
                }
            }
            Err(_) => process::exit_now(1),
        }
    }
}

/// A child that runs one seed.
pub(crate) struct Seeded {
    pub(crate) seed: u64,
    control: File,
    started: Duration,
}

impl Seeded {
    /// Tells how the seed ended, and ends the process.
    pub(crate) fn finish(mut self, mut outcome: Outcome) -> ! {
        outcome.real = real_monotonic().saturating_sub(self.started);
        let _ = std::io::stdout().flush();
        let _ = self.control.write_all(&[TAG_OUTCOME]);
        let _ = outcome.write_to(&mut self.control);
        process::exit_now(0)
    }
}
