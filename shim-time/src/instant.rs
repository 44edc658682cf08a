//! Mirror of `tokio::time::Instant`: a `std::time::Instant`, read from the virtual clock.
//!
//! Must not know when a timer fires. Invariant: conversion to and from `std::time::Instant` loses nothing,
//! because the host layer gives std the same clock.

use std::fmt;
use std::ops;

use shim_runtime::SimTime;

use crate::Duration;

/// A point on the virtual monotonic clock.
#[derive(Clone, Copy, Eq, PartialEq, PartialOrd, Ord, Hash)]
pub struct Instant {
    std: std::time::Instant,
}

impl Instant {
    /// The time now.
    ///
    /// # Determinism
    /// The same in every run of a seed. A program that reads the clock without end sees it move.
    #[expect(clippy::disallowed_methods, reason = "the host layer answers std's clock from the virtual one")]
    pub fn now() -> Instant {
        Instant { std: std::time::Instant::now() }
    }

    /// From std's type.
    pub fn from_std(std: std::time::Instant) -> Instant {
        Instant { std }
    }

    /// Into std's type.
    pub fn into_std(self) -> std::time::Instant {
        self.std
    }

    /// The time since `earlier`, or zero where that is later.
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.std.saturating_duration_since(earlier.std)
    }

    /// The time since `earlier`, or `None` where that is later.
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.std.checked_duration_since(earlier.std)
    }

    /// The time since `earlier`, or zero where that is later.
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.std.saturating_duration_since(earlier.std)
    }

    /// The time from this until now.
    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(*self)
    }

    /// This plus `duration`, where that can be told.
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.std.checked_add(duration).map(Instant::from_std)
    }

    /// This less `duration`, where that can be told.
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.std.checked_sub(duration).map(Instant::from_std)
    }

    /// About thirty years from now: what tokio takes for "never".
    pub(crate) fn far_future() -> Instant {
        Instant::now() + Duration::from_secs(86_400 * 365 * 30)
    }

    /// This point in the world's own time.
    pub(crate) fn sim_time(self) -> SimTime {
        // Both read the same clock; the difference of two instants is exact.
        let (now, sim_now) = (Instant::now(), shim_runtime::time::now());
        match self.std.checked_duration_since(now.std) {
            Some(later) => sim_now + later,
            None => {
                let earlier = now.std.saturating_duration_since(self.std);
                SimTime(sim_now.nanos().saturating_sub(u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX)))
            }
        }
    }
}

impl From<std::time::Instant> for Instant {
    fn from(std: std::time::Instant) -> Instant {
        Instant { std }
    }
}

impl From<Instant> for std::time::Instant {
    fn from(instant: Instant) -> std::time::Instant {
        instant.std
    }
}

impl ops::Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, other: Duration) -> Instant {
        Instant { std: self.std + other }
    }
}

impl ops::AddAssign<Duration> for Instant {
    fn add_assign(&mut self, other: Duration) {
        *self = *self + other;
    }
}

impl ops::Sub for Instant {
    type Output = Duration;

    fn sub(self, other: Instant) -> Duration {
        self.std.saturating_duration_since(other.std)
    }
}

impl ops::Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, other: Duration) -> Instant {
        Instant { std: self.std - other }
    }
}

impl ops::SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, other: Duration) {
        *self = *self - other;
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std.fmt(f)
    }
}
