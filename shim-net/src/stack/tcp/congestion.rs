//! Congestion control: how much may be on its way.
//!
//! Owns the congestion window: slow start, additive increase, and NewReno's recovery. Must not know
//! buffers or timers. Invariant: the window is never below one segment.

/// The congestion window and what moves it.
#[derive(Debug)]
pub(crate) struct Congestion {
    mss: u64,
    window: u64,
    threshold: u64,
    /// While lost segments are repaired: the number at which the repair is complete.
    recover: Option<u64>,
    /// How often the same acknowledgement came.
    pub(crate) duplicates: u32,
    /// Up to where losses were sent again in this repair.
    pub(crate) repaired: u64,
}

/// RFC 6928.
const INITIAL_SEGMENTS: u64 = 10;
/// How many duplicate acknowledgements mean a loss.
pub(crate) const DUPLICATES: u32 = 3;

impl Congestion {
    pub(crate) fn new(mss: u16) -> Congestion {
        let mss = u64::from(mss);
        let window = INITIAL_SEGMENTS * mss;
        Congestion { mss, window, threshold: u64::MAX, recover: None, duplicates: 0, repaired: 0 }
    }

    /// How many bytes may be on their way.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// Whether losses are being repaired.
    pub(crate) fn recovering(&self) -> bool {
        self.recover.is_some()
    }

    /// `acked` new bytes up to `una` were acknowledged when `flight` had been on their way.
    pub(crate) fn on_ack(&mut self, acked: u64, una: u64, flight: u64) {
        self.duplicates = 0;
        if let Some(recover) = self.recover {
            if una >= recover {
                self.recover = None;
                self.window = self.threshold.max(2 * self.mss);
            }
            return;
        }
        // A window that was not used says nothing about the path.
        if flight * 2 < self.window {
            return;
        }
        if self.window < self.threshold {
            self.window += acked;
        } else {
            self.window += (self.mss * acked / self.window).max(1);
        }
    }

    /// Losses were noticed while `flight` bytes were on their way, up to number `max`.
    pub(crate) fn on_loss(&mut self, flight: u64, una: u64, max: u64) {
        self.threshold = (flight / 2).max(2 * self.mss);
        self.window = self.threshold;
        self.recover = Some(max);
        self.repaired = una;
    }

    /// The retransmission timer fired while `flight` bytes were on their way; `first` time in a row.
    pub(crate) fn on_timeout(&mut self, flight: u64, first: bool) {
        if first {
            self.threshold = (flight / 2).max(2 * self.mss);
        }
        self.window = self.mss;
        self.recover = None;
        self.duplicates = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_start_doubles_and_loss_halves() {
        let mut congestion = Congestion::new(1000);
        assert_eq!(congestion.window(), 10_000);
        congestion.on_ack(10_000, 10_000, 10_000);
        assert_eq!(congestion.window(), 20_000);
        congestion.on_loss(20_000, 10_000, 30_000);
        assert_eq!(congestion.window(), 10_000);
        congestion.on_ack(5_000, 15_000, 20_000);
        assert!(congestion.recovering());
        congestion.on_ack(15_000, 30_000, 20_000);
        assert!(!congestion.recovering());
        congestion.on_ack(10_000, 40_000, 10_000);
        assert_eq!(congestion.window(), 11_000);
        congestion.on_timeout(8_000, true);
        assert_eq!(congestion.window(), 1_000);
    }

    #[test]
    fn an_idle_window_does_not_grow() {
        let mut congestion = Congestion::new(1000);
        congestion.on_ack(100, 100, 100);
        assert_eq!(congestion.window(), 10_000);
    }
}
