//! Random early detection: the longer the queue has been on average, the more arrivals are dropped or marked.
//!
//! Owns [`Red`] and the average. Must not know what waits. Invariant: below the lower threshold nothing is drawn.
//!
//! Floyd and Jacobson, "Random Early Detection Gateways for Congestion Avoidance", IEEE/ACM Transactions on Networking
//! 1(4), 1993; Floyd, "Recommendation on using the gentle variant of RED", 2000. The probability does not depend on a
//! packet's size (RFC 7141).

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::queue::Waiting;

/// The rules of random early detection.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Red {
    /// Below this average length, in bytes, nothing happens.
    pub min_bytes: u64,
    /// At this average length the probability is `max_probability`.
    pub max_bytes: u64,
    /// The probability (0 to 1) at `max_bytes`.
    pub max_probability: f64,
    /// The weight (0 to 1) of the newest length in the average.
    pub weight: f64,
    /// Whether the probability grows to 1 between `max_bytes` and twice that, or is 1 at once.
    pub gentle: bool,
    /// Whether packets are marked that can be. Above `max_bytes` (`gentle`: twice that) they are dropped all the same.
    pub ecn: bool,
}

impl Default for Red {
    /// Between 30,000 and 90,000 bytes, at most 10 %, weight 0.002, gentle, without ECN.
    fn default() -> Red {
        Red {
            min_bytes: 30_000,
            max_bytes: 90_000,
            max_probability: 0.1,
            weight: 0.002,
            gentle: true,
            ecn: false,
        }
    }
}

impl Red {
    /// The probability at an average of `average` bytes, before the distance to the last drop counts; `None` where every
    /// packet is dropped.
    pub(crate) fn probability(&self, average: f64) -> Option<f64> {
        let (min, max) = (self.min_bytes as f64, self.max_bytes.max(self.min_bytes.saturating_add(1)) as f64);
        if average < min {
            Some(0.0)
        } else if average < max {
            Some(self.max_probability * (average - min) / (max - min))
        } else if self.gentle && average < 2.0 * max {
            Some(self.max_probability + (1.0 - self.max_probability) * (average - max) / max)
        } else {
            None
        }
    }
}

/// What a packet is taken to be on average, while a queue is empty.
const TYPICAL_BYTES: f64 = 1000.0;

/// The average length of a queue.
#[derive(Debug)]
pub(crate) struct Average {
    bytes: f64,
    /// How many packets went by since the last drop or mark; -1 below the threshold.
    count: i64,
    idle: Option<SimTime>,
}

impl Default for Average {
    fn default() -> Average {
        Average { bytes: 0.0, count: -1, idle: Some(SimTime::ZERO) }
    }
}

impl Average {
    /// The queue is empty from `now` on.
    pub(crate) fn idle_since(&mut self, now: SimTime) {
        self.idle = Some(now);
    }

    /// One more arrives at a queue of `queued` bytes; false where it is dropped.
    pub(crate) fn arrival<T>(
        &mut self,
        rules: &Red,
        queued: u64,
        rate_bps: u64,
        now: SimTime,
        rng: &mut Stream,
        waiting: &mut Waiting<T>,
    ) -> bool {
        match self.idle.take().filter(|_| queued == 0) {
            Some(since) => {
                // As if so many small packets had found it empty.
                let could = now.saturating_since(since).as_secs_f64() * rate_bps as f64 / 8.0 / TYPICAL_BYTES;
                self.bytes *= (1.0 - rules.weight).powf(could);
            }
            None => self.bytes += rules.weight * (queued as f64 - self.bytes),
        }
        match rules.probability(self.bytes) {
            Some(0.0) => self.count = -1,
            Some(probability) => {
                self.count += 1;
                let spread = 1.0 - self.count as f64 * probability;
                let picked = rng.chance(if spread <= 0.0 { 1.0 } else { probability / spread });
                if picked {
                    self.count = 0;
                    return waiting.mark(rules.ecn);
                }
            }
            None => {
                self.count = 0;
                return false;
            }
        }
        true
    }
}
