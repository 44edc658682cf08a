//! Time: the round-trip estimate, and what happens when a timer is due.
//!
//! Owns [`RoundTrip`] (RFC 6298 with Linux' bounds) and `Conn`'s reaction to its timers. Must not know
//! how a segment is made. Invariant: a connection that waits for its peer always has a timer set.

use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::Conn;
use super::recovery::Pending;
use super::tcb::{State, Timer};
use crate::error::Errno;

/// The estimate of the time to the peer and back, in nanoseconds: it changes with each acknowledgement.
#[derive(Debug)]
pub(crate) struct RoundTrip {
    smoothed_ns: Option<u64>,
    variation_ns: u64,
    timeout_ns: u64,
    /// The end of the SYN, and when it went out. None once it is sent again, because its acknowledgement would not say
    /// which sending it is about (Karn).
    pub(crate) timed: Option<(u64, SimTime)>,
}

const SECOND_NS: u64 = 1_000_000_000;
const LEAST_NS: u64 = SECOND_NS / 5;
const MOST_NS: u64 = 120 * SECOND_NS;

impl Default for RoundTrip {
    fn default() -> RoundTrip {
        RoundTrip { smoothed_ns: None, variation_ns: 0, timeout_ns: SECOND_NS, timed: None }
    }
}

impl RoundTrip {
    /// One more measurement.
    pub(crate) fn sample(&mut self, round_trip: Duration) {
        // A packet may be held for years, and the sums must not overflow.
        let sample = round_trip.as_nanos().min(u128::from(u64::MAX / 16)) as u64;
        let smoothed = match self.smoothed_ns {
            None => {
                self.variation_ns = sample / 2;
                sample
            }
            Some(smoothed) => {
                self.variation_ns = (self.variation_ns * 3 + smoothed.abs_diff(sample)) / 4;
                (smoothed * 7 + sample) / 8
            }
        };
        self.smoothed_ns = Some(smoothed);
        self.timeout_ns = (smoothed + (self.variation_ns * 4).max(LEAST_NS)).min(MOST_NS);
    }

    /// The smoothed time to the peer and back; of the first time-out where there is none.
    pub(crate) fn smoothed(&self) -> Duration {
        Duration::from_nanos(self.smoothed_ns.unwrap_or(SECOND_NS))
    }

    /// The variation of that time.
    pub(crate) fn variation(&self) -> Duration {
        Duration::from_nanos(self.variation_ns)
    }

    /// How long to wait before the `retries`-th repetition.
    pub(crate) fn timeout(&self, retries: u32) -> Duration {
        Duration::from_nanos((self.timeout_ns << retries.min(16)).min(MOST_NS))
    }
}

/// As Linux' `tcp_retries2`.
const DATA_RETRIES: u32 = 15;
/// As Linux' `tcp_orphan_retries`: for a connection whose socket is closed.
const ORPHAN_RETRIES: u32 = 8;
/// As Linux' `tcp_synack_retries`.
const SYN_ACK_RETRIES: u32 = 5;

impl Conn<'_> {
    /// Does what is due.
    pub(crate) fn on_timers(&mut self) {
        let now = self.now;
        if self.t.timers.take_due(Timer::Close, now) {
            return self.finish();
        }
        if self.t.timers.take_due(Timer::DelayedAck, now) {
            // The application did not answer in time: it is no dialogue.
            self.t.interactive = false;
            self.t.ack_now = true;
            self.output(false);
        }
        if self.t.timers.take_due(Timer::Retransmit, now) {
            self.on_retransmit();
        }
        if self.t.state != State::Closed && self.t.timers.take_due(Timer::Persist, now) {
            self.on_persist();
        }
        if self.t.state != State::Closed && self.t.timers.take_due(Timer::KeepAlive, now) {
            self.on_keep_alive();
        }
    }

    /// Sets the retransmission timer for what is on its way, or stops it.
    pub(crate) fn rearm_retransmit(&mut self) {
        if self.t.snd_nxt > self.t.snd_una {
            if let Some(delay) = self.probe_delay() {
                self.t.pending = Pending::Probe;
                return self.t.timers.set(Timer::Retransmit, self.now + delay);
            }
            self.t.pending = Pending::TimeOut;
            let mut at = self.now + self.t.round_trip.timeout(self.t.retries);
            if let Some(limit) = self.user_timeout().filter(|_| self.t.retries > 0) {
                at = at.min((self.t.stuck_since + limit).max(self.now));
            }
            self.t.timers.set(Timer::Retransmit, at);
        } else {
            self.t.timers.stop(Timer::Retransmit);
        }
    }

    fn on_retransmit(&mut self) {
        match self.t.pending {
            Pending::Probe => return self.send_tail_probe(),
            Pending::Reordering => return self.on_reordering_over(),
            Pending::TimeOut => {}
        }
        let first = self.t.retries == 0;
        // An attempt to connect is counted from its first SYN on.
        if first && self.t.state != State::SynSent {
            self.t.stuck_since = self.now;
        }
        if self.gives_up(self.t.retries) {
            return self.time_out();
        }
        self.t.retries += 1;
        self.t.round_trip.timed = None;
        self.t.probe = None;
        match self.t.state {
            State::SynSent | State::SynReceived => self.send_syn(),
            _ => {
                self.t.congestion.on_timeout(first, self.t.snd_una, self.t.snd_nxt);
                self.t.board.lose_all();
                self.resend_lost();
            }
        }
        self.rearm_retransmit();
    }

    /// `TCP_USER_TIMEOUT` (tcp(7)), where it rules: the answer to a SYN has its own limit.
    fn user_timeout(&self) -> Option<Duration> {
        self.core.options.user_timeout.filter(|_| self.t.state != State::SynReceived)
    }

    /// Whether after `retries` fruitless attempts there is no other.
    fn gives_up(&self, retries: u32) -> bool {
        let limit = self.user_timeout();
        let most = match self.t.state {
            State::SynSent => self.core.options.syn_count,
            State::SynReceived => SYN_ACK_RETRIES,
            _ if limit.is_some() => u32::MAX,
            _ if self.core.detached => ORPHAN_RETRIES,
            _ => DATA_RETRIES,
        };
        let over = limit.is_some_and(|limit| retries > 0 && self.now - self.t.stuck_since >= limit);
        over || retries >= most
    }

    /// The peer does not answer.
    fn time_out(&mut self) {
        self.abort(Some(Errno::ETIMEDOUT));
    }

    fn on_persist(&mut self) {
        let held = self.t.send.end().saturating_sub(self.t.snd_nxt);
        if held == 0 || self.t.snd_nxt > self.t.snd_una {
            return;
        }
        self.output(true);
        if self.t.snd_nxt > self.t.snd_una {
            return;
        }
        if self.t.retries == 0 {
            self.t.stuck_since = self.now;
        }
        if self.gives_up(self.t.retries) {
            return self.time_out();
        }
        self.t.retries += 1;
        self.t.probes += 1;
        self.send_probe();
        let at = self.now + self.t.round_trip.timeout(self.t.probes);
        self.t.timers.set(Timer::Persist, at);
    }

    /// Sets the keep-alive timer anew, if the option is on: something was heard, or the option changed.
    pub(crate) fn rearm_keep_alive(&mut self) {
        if self.core.options.keep_alive && self.t.state.synchronized() && self.t.state != State::TimeWait {
            let at = self.t.last_received + self.core.options.keep_idle;
            self.t.timers.set(Timer::KeepAlive, at.max(self.now));
        } else {
            self.t.timers.stop(Timer::KeepAlive);
        }
    }

    fn on_keep_alive(&mut self) {
        let options = &self.core.options;
        let idle = self.now - self.t.last_received;
        if idle < options.keep_idle {
            return self.rearm_keep_alive();
        }
        let interval = options.keep_interval;
        // Data on its way has its own timer, which finds out as well.
        if self.t.snd_nxt > self.t.snd_una || self.t.send.len() > 0 {
            return self.t.timers.set(Timer::KeepAlive, self.now + interval);
        }
        let over = match options.user_timeout {
            Some(limit) => idle >= limit && self.t.retries > 0,
            None => self.t.retries >= options.keep_count,
        };
        if over {
            self.send_reset();
            return self.time_out();
        }
        self.t.retries += 1;
        self.send_probe();
        self.t.timers.set(Timer::KeepAlive, self.now + interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_out_follows_the_path_and_backs_off() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(0), Duration::from_secs(1));
        assert_eq!(round_trip.timeout(3), Duration::from_secs(8));
        round_trip.sample(Duration::from_millis(10));
        assert_eq!(round_trip.timeout(0), Duration::from_millis(210));
        for _ in 0..50 {
            round_trip.sample(Duration::from_secs(2));
        }
        assert!(round_trip.timeout(0) >= Duration::from_secs(2));
        assert_eq!(round_trip.timeout(30), Duration::from_secs(120));
        round_trip.sample(Duration::MAX);
        round_trip.sample(Duration::MAX);
        assert_eq!(round_trip.timeout(0), Duration::from_secs(120));
    }
}
