//! Congestion control: how much may be on its way.
//!
//! Owns the congestion window: slow start, growth by CUBIC or Reno, proportional rate reduction (RFC 6937), and what
//! happens at losses, marks and time-outs, as Linux has it. Must not know buffers, timers, or which segments are lost.
//! Invariant: the window is never below one segment.

use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::cubic::{Cubic, HYSTART_SEGMENTS};

/// How the window grows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Algorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
}

impl Algorithm {
    const ALL: [Algorithm; 2] = [Algorithm::Cubic, Algorithm::Reno];

    /// As `TCP_CONGESTION` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Algorithm::Cubic => "cubic",
            Algorithm::Reno => "reno",
        }
    }

    /// The algorithm that `TCP_CONGESTION` calls `name`.
    pub(crate) fn from_name(name: &[u8]) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }
}

/// What the sender is busy with; Linux' states, and their numbers in `TCP_INFO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing is wrong.
    Open = 0,
    /// The window shrinks because of a mark, or of a loss that a probe has mended.
    Reduced = 2,
    /// Losses are repaired.
    Recovery = 3,
    /// The timer has fired: everything is sent again.
    Loss = 4,
}

/// The congestion window and what moves it. All is in bytes, but for what CUBIC counts in segments.
#[derive(Debug)]
pub(crate) struct Congestion {
    algorithm: Algorithm,
    cubic: Cubic,
    mss: u64,
    window: u64,
    threshold: u64,
    pub(crate) phase: Phase,
    /// The phase ends when this number is acknowledged.
    until: u64,
    /// Proportional rate reduction: the window before, what arrived and what was sent since.
    before: u64,
    arrived: u64,
    sent: u64,
    /// Acknowledged bytes that did not make a segment, and segments that did not make the window grow.
    rest: u64,
    counted: u64,
    /// Whether the window was what held the sender, up to which number that is known, and the most that was on its way.
    limited: bool,
    limited_until: u64,
    most_flight: u64,
}

/// RFC 6928.
const INITIAL_SEGMENTS: u64 = 10;

impl Congestion {
    pub(crate) fn new(mss: u16, algorithm: Algorithm) -> Congestion {
        let mss = u64::from(mss);
        Congestion {
            algorithm,
            cubic: Cubic::default(),
            mss,
            window: INITIAL_SEGMENTS * mss,
            threshold: u64::MAX,
            phase: Phase::Open,
            until: 0,
            before: 0,
            arrived: 0,
            sent: 0,
            rest: 0,
            counted: 0,
            limited: false,
            limited_until: 0,
            most_flight: 0,
        }
    }

    /// How many bytes may be on their way.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// The threshold of slow start in bytes; `u64::MAX` before the first loss.
    pub(crate) fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Whether losses are being repaired.
    pub(crate) fn recovering(&self) -> bool {
        matches!(self.phase, Phase::Recovery | Phase::Loss)
    }

    /// Segments are smaller from now on. The window has as many bytes as before, if that is a segment.
    pub(crate) fn set_mss(&mut self, mss: u16) {
        self.mss = mss.into();
        self.window = self.window.max(self.mss);
    }

    /// Goes on with another algorithm.
    pub(crate) fn set_algorithm(&mut self, algorithm: Algorithm) {
        if algorithm != self.algorithm {
            (self.algorithm, self.cubic) = (algorithm, Cubic::default());
        }
    }

    fn slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// `delivered` new bytes have arrived; `una` is what is acknowledged and `flight` what is still on its way. `lost` of
    /// them were found just now; `progress` where `una` has moved.
    pub(crate) fn on_ack(
        &mut self,
        delivered: u64,
        (una, flight): (u64, u64),
        lost: bool,
        progress: bool,
        now: SimTime,
    ) {
        match self.phase {
            Phase::Reduced | Phase::Recovery => self.reduce(delivered, flight, lost, progress),
            Phase::Open | Phase::Loss if progress => self.grow(delivered, now),
            Phase::Open | Phase::Loss => {}
        }
        debug_assert!(self.window >= self.mss.min(1), "invariant: the window is never empty at {una}");
    }

    /// Ends the phase if `una` is at its end. Comes before anything else that an acknowledgement does.
    pub(crate) fn finish_phase(&mut self, una: u64) {
        // After a mark something more must arrive, which tells the peer that the window is reduced.
        let more = u64::from(self.phase == Phase::Reduced);
        if self.phase == Phase::Open || una < self.until + more {
            return;
        }
        if self.phase != Phase::Loss && self.threshold != u64::MAX {
            self.window = self.threshold.max(2 * self.mss);
        }
        self.phase = Phase::Open;
    }

    /// An acknowledgement took `delay`: slow start may have seen enough. `sent` is the highest number that was sent.
    pub(crate) fn on_delay(&mut self, delay: Duration, una: u64, sent: u64, now: SimTime) {
        if self.algorithm != Algorithm::Cubic {
            return;
        }
        // Small windows need no numbers.
        let large = self.slow_start() && self.window >= HYSTART_SEGMENTS * self.mss;
        if self.cubic.has_seen_enough(delay, large, (una, sent), now) {
            self.threshold = self.window;
        }
    }

    /// Whether the window is what holds the sender: one that is not used says nothing about the path.
    fn is_limited(&self) -> bool {
        self.limited || (self.slow_start() && self.window < 2 * self.most_flight)
    }

    fn grow(&mut self, delivered: u64, now: SimTime) {
        if !self.is_limited() {
            return;
        }
        self.rest += delivered;
        let mut segments = self.rest / self.mss;
        self.rest %= self.mss;
        if self.slow_start() {
            let grown = (self.window + segments * self.mss).min(self.threshold.max(self.window));
            segments -= (grown - self.window) / self.mss;
            self.window = grown;
            if self.slow_start() {
                return;
            }
        }
        if segments == 0 {
            return;
        }
        let cwnd = (self.window / self.mss).max(1);
        let pace = match self.algorithm {
            Algorithm::Cubic => self.cubic.pace(cwnd, segments, now),
            Algorithm::Reno => cwnd,
        };
        if self.counted >= pace {
            self.counted = 0;
            self.window += self.mss;
        }
        self.counted += segments;
        self.window += self.counted / pace * self.mss;
        self.counted %= pace;
    }

    /// Where the threshold goes after a loss or a mark.
    fn lower_threshold(&mut self) {
        let cwnd = self.window / self.mss;
        let segments = match self.algorithm {
            Algorithm::Cubic => self.cubic.after_loss(cwnd),
            Algorithm::Reno => (cwnd / 2).max(2),
        };
        self.threshold = segments * self.mss;
    }

    /// Begins to shrink the window: by losses, or by a mark. `sent` is the highest number that was sent.
    pub(crate) fn shrink(&mut self, phase: Phase, sent: u64) {
        if self.phase == Phase::Open {
            (self.before, self.arrived, self.sent, self.counted) = (self.window, 0, 0, 0);
            self.lower_threshold();
        }
        (self.phase, self.until) = (phase, sent);
    }

    /// A probe has mended a loss: what recovery would have done, at once.
    pub(crate) fn on_mended_tail(&mut self) {
        if self.phase == Phase::Open {
            self.lower_threshold();
            self.window = self.threshold;
        }
    }

    /// Something was sent while the window shrinks.
    pub(crate) fn on_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// Proportional rate reduction.
    fn reduce(&mut self, delivered: u64, flight: u64, lost: bool, progress: bool) {
        if delivered == 0 || self.before == 0 {
            return;
        }
        self.arrived += delivered;
        let allowed = if flight > self.threshold {
            let share = u128::from(self.threshold) * u128::from(self.arrived);
            (share.div_ceil(u128::from(self.before)) as u64).saturating_sub(self.sent)
        } else {
            let extra = if progress && !lost { self.mss } else { 0 };
            let most = (self.arrived.saturating_sub(self.sent)).max(delivered) + extra;
            most.min(self.threshold - flight)
        };
        // The first thing that is lost is sent again at once.
        let least = if self.sent == 0 { self.mss } else { 0 };
        self.window = (flight + allowed.max(least)).max(self.mss);
    }

    /// The retransmission timer fired; `first` where it had not before. `sent` is the highest number that was sent.
    pub(crate) fn on_timeout(&mut self, first: bool, una: u64, sent: u64) {
        if self.phase == Phase::Open || una >= self.until || (first && self.phase == Phase::Loss) {
            self.lower_threshold();
        }
        self.cubic.forget();
        (self.phase, self.until) = (Phase::Loss, sent);
        (self.window, self.counted, self.rest) = (self.mss, 0, 0);
    }

    /// Something was sent, up to number `sent`: whether the window was what held back the rest.
    pub(crate) fn note_use(&mut self, limited: bool, (una, sent): (u64, u64), flight: u64) {
        if una >= self.limited_until || limited || (!self.limited && flight > self.most_flight) {
            (self.limited, self.most_flight, self.limited_until) = (limited, flight, sent);
        }
    }

    /// Sending begins anew after nothing was sent for `idle`, which is more than a `timeout`: what was known of the path
    /// grows old.
    pub(crate) fn on_idle(&mut self, idle: Duration, timeout: Duration, now: SimTime) {
        self.cubic.stood_still(idle, now);
        if idle <= timeout || self.phase != Phase::Open {
            return;
        }
        if self.threshold != u64::MAX {
            self.threshold = self.threshold.max(self.window / 4 * 3);
        }
        let least = self.window.min(INITIAL_SEGMENTS * self.mss);
        let halvings = (idle.as_nanos() / timeout.as_nanos().max(1)).min(63) as u32;
        self.window = (self.window >> halvings).max(least);
        self.limited = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(algorithm: Algorithm) -> Congestion {
        let mut congestion = Congestion::new(1000, algorithm);
        congestion.note_use(true, (0, 10_000), 10_000);
        congestion
    }

    #[test]
    fn slow_start_doubles_and_reno_halves() {
        let mut congestion = open(Algorithm::Reno);
        congestion.on_ack(10_000, (10_000, 0), false, true, SimTime(1));
        assert_eq!(congestion.window(), 20_000);
        congestion.shrink(Phase::Recovery, 30_000);
        assert_eq!(congestion.threshold(), 10_000);
        // One arrived for each two: the window follows what is on its way down to the half.
        let mut flight = 19_000;
        while flight > 10_000 {
            congestion.on_ack(1000, (10_000, flight), false, false, SimTime(2));
            assert!(congestion.window() >= flight && congestion.window() <= flight + 1000, "{congestion:?}");
            let sent = congestion.window() - flight;
            congestion.on_sent(sent);
            flight = flight + sent - 1000;
        }
        congestion.finish_phase(30_000);
        assert_eq!((congestion.phase, congestion.window()), (Phase::Open, 10_000));
        congestion.on_ack(10_000, (40_000, 0), false, true, SimTime(3));
        assert_eq!(congestion.window(), 11_000);
    }

    #[test]
    fn cubic_keeps_seven_tenths() {
        let mut congestion = open(Algorithm::Cubic);
        congestion.on_ack(90_000, (90_000, 0), false, true, SimTime(1));
        assert_eq!(congestion.window(), 100_000);
        congestion.shrink(Phase::Reduced, 100_000);
        congestion.finish_phase(100_001);
        assert_eq!(congestion.window(), 70_000);
    }

    #[test]
    fn a_time_out_begins_anew() {
        let mut congestion = open(Algorithm::Reno);
        congestion.on_timeout(true, 0, 10_000);
        assert_eq!((congestion.window(), congestion.threshold()), (1000, 5000));
        congestion.on_timeout(false, 0, 10_000);
        assert_eq!((congestion.window(), congestion.threshold()), (1000, 5000));
    }

    #[test]
    fn an_unused_window_does_not_grow_and_grows_old() {
        let mut congestion = Congestion::new(1000, Algorithm::Cubic);
        congestion.note_use(false, (0, 100), 100);
        congestion.on_ack(100, (100, 0), false, true, SimTime(1));
        assert_eq!(congestion.window(), 10_000);
        let mut congestion = open(Algorithm::Cubic);
        congestion.on_ack(90_000, (90_000, 0), false, true, SimTime(1));
        congestion.on_idle(Duration::from_secs(1), Duration::from_millis(300), SimTime(2));
        assert_eq!(congestion.window(), 12_500);
    }
}
