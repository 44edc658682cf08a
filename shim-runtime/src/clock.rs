//! Virtual time: an integer of nanoseconds since the world began.
//!
//! Owns [`SimTime`] and the conversion of virtual time to what the host's clocks show. Must not know of
//! events, tasks or the real clock. Invariant: the clock of a world never goes back.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A point in virtual time: nanoseconds since the world began.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SimTime(pub u64);

/// What `CLOCK_MONOTONIC` shows when the world begins, in nanoseconds: about eleven and a half days of
/// uptime, so that a program may subtract an hour from its first `Instant`.
pub const MONOTONIC_BASE_NS: u64 = 1_000_000 * 1_000_000_000;

/// What `CLOCK_REALTIME` shows when the world begins: 2026-01-01T00:00:00Z, in nanoseconds since 1970.
pub const WALL_BASE_NS: u64 = 1_767_225_600 * 1_000_000_000;

impl SimTime {
    /// The beginning of the world.
    pub const ZERO: SimTime = SimTime(0);
    /// Later than anything that happens.
    pub const MAX: SimTime = SimTime(u64::MAX);

    /// Nanoseconds since the world began.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The time since the world began.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// This time plus `duration`, or [`SimTime::MAX`] where that is out of range.
    pub fn saturating_add(self, duration: Duration) -> SimTime {
        match u64::try_from(duration.as_nanos()) {
            Ok(nanos) => SimTime(self.0.saturating_add(nanos)),
            Err(_) => SimTime::MAX,
        }
    }

    /// The time from `earlier` to this, or zero where `earlier` is later.
    pub const fn saturating_since(self, earlier: SimTime) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The first whole millisecond that is not before this time: the granularity of tokio's timers.
    pub const fn ceil_millis(self) -> SimTime {
        const MILLI: u64 = 1_000_000;
        match self.0.checked_next_multiple_of(MILLI) {
            Some(nanos) => SimTime(nanos),
            None => SimTime::MAX,
        }
    }
}

impl Add<Duration> for SimTime {
    type Output = SimTime;

    fn add(self, duration: Duration) -> SimTime {
        self.saturating_add(duration)
    }
}

impl AddAssign<Duration> for SimTime {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<SimTime> for SimTime {
    type Output = Duration;

    fn sub(self, earlier: SimTime) -> Duration {
        self.saturating_since(earlier)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

impl fmt::Debug for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_up_to_whole_milliseconds() {
        assert_eq!(SimTime(0).ceil_millis(), SimTime(0));
        assert_eq!(SimTime(1).ceil_millis(), SimTime(1_000_000));
        assert_eq!(SimTime(1_000_000).ceil_millis(), SimTime(1_000_000));
        assert_eq!(SimTime::MAX.ceil_millis(), SimTime::MAX);
    }

    #[test]
    fn saturates_at_the_ends() {
        assert_eq!(SimTime(5) + Duration::MAX, SimTime::MAX);
        assert_eq!(SimTime(5) - SimTime(9), Duration::ZERO);
    }
}
