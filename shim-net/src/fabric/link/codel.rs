//! Controlled delay: drops when packets have waited too long for too long (RFC 8289).
//!
//! Owns [`CoDel`] and the control loop. Must not know flows. Invariants: it decides when a packet leaves, never when it
//! comes; the last packet is never dropped.

use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::queue::{Drop, Fifo, Waiting};

/// The rules of controlled delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CoDel {
    /// How long packets may wait in the long run.
    pub target: Duration,
    /// For how long they must have waited longer before the first one is dropped: about the longest round trip.
    pub interval: Duration,
    /// Whether packets are marked that can be.
    pub ecn: bool,
}

impl Default for CoDel {
    /// 5 ms in 100 ms, with ECN.
    fn default() -> CoDel {
        CoDel { target: Duration::from_millis(5), interval: Duration::from_millis(100), ecn: true }
    }
}

/// A queue this short is no standing queue, however slow the link is: one full packet.
const SHORT_BYTES: u64 = 1514;

/// The state of the control loop of RFC 8289, section 5.
#[derive(Default, Debug)]
pub(crate) struct Control {
    /// When packets will have waited too long for an interval; `None` where the last one had not.
    first_above: Option<SimTime>,
    dropping: bool,
    drop_next: SimTime,
    count: u32,
    /// `count` at the beginning of the time of dropping before.
    last_count: u32,
}

impl Control {
    /// Takes the next packet that is sent out of `fifo`.
    pub(crate) fn pop<T>(
        &mut self,
        rules: &CoDel,
        fifo: &mut Fifo<T>,
        now: SimTime,
        dropped: &mut Vec<(Waiting<T>, Drop)>,
    ) -> Option<Waiting<T>> {
        let Some((mut next, mut late)) = self.take(rules, fifo, now) else {
            self.dropping = false;
            return None;
        };
        if self.dropping {
            if !late {
                self.dropping = false;
            }
            while self.dropping && now >= self.drop_next {
                self.count = self.count.saturating_add(1);
                if next.mark(rules.ecn) {
                    self.drop_next = self.law(rules, self.drop_next);
                    break;
                }
                dropped.push((next, Drop::Early));
                match self.take(rules, fifo, now) {
                    Some(taken) => (next, late) = taken,
                    None => {
                        self.dropping = false;
                        return None;
                    }
                }
                if late {
                    self.drop_next = self.law(rules, self.drop_next);
                } else {
                    self.dropping = false;
                }
            }
        } else if late {
            let marked = next.mark(rules.ecn);
            if !marked {
                dropped.push((next, Drop::Early));
                let Some((taken, _)) = self.take(rules, fifo, now) else {
                    self.begin(rules, now);
                    return None;
                };
                next = taken;
            }
            self.begin(rules, now);
        }
        Some(next)
    }

    /// Begins to drop: where it has just stopped, with nearly the frequency that had been enough.
    fn begin(&mut self, rules: &CoDel, now: SimTime) {
        self.dropping = true;
        let since = self.count.saturating_sub(self.last_count);
        let recently = now.saturating_since(self.drop_next) < rules.interval.saturating_mul(16);
        self.count = if since > 1 && recently { since } else { 1 };
        self.drop_next = self.law(rules, now);
        self.last_count = self.count;
    }

    /// When the next one is dropped: the more were, the sooner.
    fn law(&self, rules: &CoDel, from: SimTime) -> SimTime {
        let nanos = rules.interval.as_nanos() as f64 / f64::from(self.count.max(1)).sqrt();
        from + Duration::from_nanos(nanos as u64)
    }

    /// Takes one out, and says whether it may be dropped: those before it, and it, have waited too long.
    fn take<T>(&mut self, rules: &CoDel, fifo: &mut Fifo<T>, now: SimTime) -> Option<(Waiting<T>, bool)> {
        let Some(next) = fifo.pop() else {
            self.first_above = None;
            return None;
        };
        if now.saturating_since(next.since) < rules.target || fifo.bytes() <= SHORT_BYTES {
            self.first_above = None;
            return Some((next, false));
        }
        match self.first_above {
            None => {
                self.first_above = Some(now + rules.interval);
                Some((next, false))
            }
            Some(at) => Some((next, now >= at)),
        }
    }
}
