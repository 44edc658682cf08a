//! CUBIC (RFC 9438) with HyStart, in Linux' numbers.
//!
//! Owns [`Cubic`]: how fast the window grows past the threshold, where the threshold goes at a loss, and when slow start
//! has seen enough. Must not know bytes: windows are in segments. Invariant: nothing here is a fraction, so that it is
//! the same on every machine.

use std::time::Duration;

use shim_runtime::clock::SimTime;

/// 0.7 of 1024: what is left of a window after a loss.
const BETA: u64 = 717;
/// 0.4 of 1024: segments for each cubic second.
const SCALE: u64 = 410;
/// By how much more slowly the window of Reno's kind is followed: eight times 3 (1 - β) / (1 + β).
const RENO_SHARE: u64 = 8 * (1024 + BETA) / 3 / (1024 - BETA);
/// Time is counted in parts of a second of this many bits.
const TIME_BITS: u32 = 10;

/// The state of the cubic function.
#[derive(Debug, Default)]
pub(crate) struct Cubic {
    /// The window before the last loss.
    last_most: u64,
    /// When the present growth began.
    epoch: Option<SimTime>,
    /// Where the function is flat, and when.
    origin: u64,
    flat_at: u64,
    /// What Reno would have, and what was acknowledged since that grew.
    reno: u64,
    acked: u64,
    /// When the pace was computed, for which window, and the pace: segments acknowledged for one more.
    computed: Option<(SimTime, u64)>,
    pace: u64,
    least_delay: Option<Duration>,
    slow_start: HyStart,
}

/// What is known of the present round of slow start.
#[derive(Debug, Default)]
struct HyStart {
    found: bool,
    round_began: SimTime,
    last_ack: SimTime,
    /// The round ends when this number is acknowledged.
    round_end: u64,
    least: Option<Duration>,
    samples: u32,
}

/// Below this window nothing is concluded from times.
pub(super) const HYSTART_SEGMENTS: u64 = 16;
/// Acknowledgements that are no further apart belong to one train.
const TRAIN_GAP: Duration = Duration::from_millis(2);
const SAMPLES: u32 = 8;

impl Cubic {
    /// How many acknowledged segments make a window of `cwnd` segments grow by one, after `acked` more.
    pub(crate) fn pace(&mut self, cwnd: u64, acked: u64, now: SimTime) -> u64 {
        self.acked += acked;
        let fresh = |(at, window): (SimTime, u64)| window == cwnd && now - at <= Duration::from_millis(31);
        if self.computed.is_some_and(fresh) {
            return self.pace;
        }
        self.computed = Some((now, cwnd));
        let began = *self.epoch.get_or_insert_with(|| {
            self.acked = acked;
            self.reno = cwnd;
            (self.origin, self.flat_at) = if self.last_most <= cwnd {
                (cwnd, 0)
            } else {
                (self.last_most, cube_root((u128::from(self.last_most - cwnd) << 40) / u128::from(SCALE)))
            };
            now
        });
        let time = ticks((now - began) + self.least_delay.unwrap_or_default());
        let offset = u128::from(time.abs_diff(self.flat_at));
        let change = ((u128::from(SCALE) * offset * offset * offset) >> (TIME_BITS * 4)) as u64;
        let target =
            if time < self.flat_at { self.origin.saturating_sub(change) } else { self.origin + change };
        let mut pace = if target > cwnd { cwnd / (target - cwnd) } else { 100 * cwnd };
        if self.last_most == 0 {
            // Nothing is known of the path: at least 5 % for each round trip.
            pace = pace.min(20);
        }
        self.pace = self.friendly(pace, cwnd).max(2);
        self.pace
    }

    /// No slower than Reno with the same losses.
    fn friendly(&mut self, pace: u64, cwnd: u64) -> u64 {
        let share = ((cwnd * RENO_SHARE) >> 3).max(1);
        let grown = self.acked.saturating_sub(1) / share;
        self.acked -= grown * share;
        self.reno += grown;
        if self.reno > cwnd { pace.min(cwnd / (self.reno - cwnd)) } else { pace }
    }

    /// The threshold after a loss at a window of `cwnd` segments.
    pub(crate) fn after_loss(&mut self, cwnd: u64) -> u64 {
        self.epoch = None;
        // Another one is coming up to share the path: more room for it.
        self.last_most = if cwnd < self.last_most { cwnd * (1024 + BETA) / 2048 } else { cwnd };
        (cwnd * BETA / 1024).max(2)
    }

    /// A time-out: nothing that was known of the path is true.
    pub(crate) fn forget(&mut self) {
        *self = Cubic::default();
    }

    /// Nothing was sent for `idle`: the function stood still.
    pub(crate) fn stood_still(&mut self, idle: Duration, now: SimTime) {
        self.epoch = self.epoch.map(|began| (began + idle).min(now));
    }

    /// An acknowledgement took `delay`; whether slow start ends, which has come to a `large` window. `una` is what is
    /// acknowledged, `sent` what was sent.
    pub(crate) fn has_seen_enough(
        &mut self,
        delay: Duration,
        large: bool,
        (una, sent): (u64, u64),
        now: SimTime,
    ) -> bool {
        // Right after a repair, times say nothing.
        if self.epoch.is_some_and(|began| now - began < Duration::from_secs(1)) {
            return false;
        }
        let least = self.least_delay.map_or(delay, |least| least.min(delay));
        self.least_delay = Some(least);
        let round = &mut self.slow_start;
        if round.found || !large {
            return false;
        }
        if una > round.round_end || round.round_end == 0 {
            *round = HyStart { round_began: now, last_ack: now, round_end: sent, ..HyStart::default() };
        }
        if now - round.last_ack <= TRAIN_GAP {
            round.last_ack = now;
            round.found = now - round.round_began > least / 2;
        }
        if round.samples < SAMPLES {
            round.least = Some(round.least.map_or(delay, |shortest| shortest.min(delay)));
            round.samples += 1;
        } else {
            let shortest = round.least.map_or(delay, |shortest| shortest.min(delay));
            round.least = Some(shortest);
            let bound = (least / 8).clamp(Duration::from_millis(4), Duration::from_millis(16));
            round.found |= shortest > least + bound;
        }
        round.found
    }
}

fn ticks(time: Duration) -> u64 {
    ((time.as_nanos() << TIME_BITS) / 1_000_000_000) as u64
}

/// The largest number whose cube is not above `cube`.
fn cube_root(cube: u128) -> u64 {
    let (mut low, mut high) = (0u64, 1 << 40);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if u128::from(middle).pow(3) <= cube {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_exact() {
        assert_eq!([0, 1, 26, 27, 1 << 60].map(cube_root), [0, 1, 2, 3, 1 << 20]);
    }

    #[test]
    fn the_window_comes_back_to_where_it_was_when_the_rfc_says() {
        // W(t) = 0.4 (t - K)³ + W_most, with K the cubic root of 0.3 W_most / 0.4.
        let mut cubic = Cubic::default();
        let mut cwnd = cubic.after_loss(1000);
        assert_eq!(cwnd, 700);
        let (round_trip, mut counted) = (Duration::from_millis(100), 0);
        let mut reached = None;
        for round in 1..200u64 {
            let now = SimTime::ZERO + round_trip * round as u32;
            let acknowledged = cwnd;
            for _ in 0..acknowledged {
                counted += 1;
                if counted >= cubic.pace(cwnd, 1, now) {
                    (cwnd, counted) = (cwnd + 1, 0);
                }
            }
            if cwnd >= 1000 && reached.is_none() {
                reached = Some(round_trip * round as u32);
            }
        }
        let reached = reached.expect("it grows").as_secs_f64();
        let expected = (0.3f64 * 1000.0 / 0.4).cbrt();
        assert!((reached - expected).abs() < 1.2, "{reached} s, where {expected} s is expected");
        assert!(cwnd > 1400, "{cwnd}");
    }

    #[test]
    fn a_longer_round_trip_ends_slow_start() {
        let mut cubic = Cubic::default();
        let mut now = SimTime::ZERO;
        let mut ends = |delay_ms, una, sent| {
            now += Duration::from_millis(5);
            cubic.has_seen_enough(Duration::from_millis(delay_ms), true, (una, sent), now)
        };
        assert!((0..9).all(|_| !ends(50, 10, 100)));
        assert!((0..8).all(|_| !ends(60, 101, 200)));
        assert!(ends(60, 150, 200), "ten is more than an eighth of fifty");
    }
}
