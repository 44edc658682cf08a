//! Which packets are picked: by chance, in bursts, by number, in correlated runs.
//!
//! Owns [`BurstLoss`], [`LossPattern`], [`Outages`] and what a link remembers of them. Must not know what becomes of
//! those that are picked. Invariant: a certain answer draws nothing.

use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

/// Loss in bursts: the model of Gilbert (1960) and Elliott (1963). The link is in a good or a bad state, and may change
/// it after each packet.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BurstLoss {
    /// The probability (0 to 1) that the state turns bad after a packet in the good one: `p`.
    pub to_bad: f64,
    /// The probability (0 to 1) that it turns good after a packet in the bad one: `r`.
    pub to_good: f64,
    /// The probability (0 to 1) that a packet is lost in the good state.
    pub loss_good: f64,
    /// The probability (0 to 1) that a packet is lost in the bad state.
    pub loss_bad: f64,
}

impl BurstLoss {
    /// The model that loses a share `loss` (0 to 1) of all packets, in runs of `burst_packets` on average: all in the bad
    /// state and none in the good one (Gilbert's simple model).
    ///
    /// # Panics
    /// Where there is no such model: a burst shorter than one packet, a share outside of `0..1`, or so large a share of
    /// such short bursts that the gaps between them would be shorter than a packet.
    pub fn with_mean(loss: f64, burst_packets: f64) -> BurstLoss {
        assert!((0.0..1.0).contains(&loss), "simulation: a share of {loss} cannot be lost in bursts");
        assert!(burst_packets >= 1.0, "simulation: a burst of {burst_packets} packets is none");
        let to_good = 1.0 / burst_packets;
        let to_bad = to_good * loss / (1.0 - loss);
        assert!(
            to_bad <= 1.0,
            "simulation: bursts of {burst_packets} packets on average cannot make up a share of {loss}"
        );
        BurstLoss { to_bad, to_good, loss_good: 0.0, loss_bad: 1.0 }
    }

    /// The share of all packets that is lost in the long run.
    pub fn mean_loss(&self) -> f64 {
        let changes = self.to_bad + self.to_good;
        let bad = if changes > 0.0 { self.to_bad / changes } else { 0.0 };
        bad * self.loss_bad + (1.0 - bad) * self.loss_good
    }
}

/// Packets that are lost whatever chance says, by their number on the link: the first has number 1. Numbers go on when
/// the rules change.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum LossPattern {
    /// None.
    #[default]
    None,
    /// Each whose number is a multiple of this; zero means none.
    EveryNth(u64),
    /// Those with these numbers.
    Packets(Vec<u64>),
}

impl LossPattern {
    /// Whether the packet with `number` is lost.
    pub(crate) fn picks(&self, number: u64) -> bool {
        match self {
            LossPattern::None => false,
            LossPattern::EveryNth(nth) => number.is_multiple_of(*nth),
            LossPattern::Packets(numbers) => numbers.contains(&number),
        }
    }
}

/// When a link is down: what is sent then is lost; what is in its queue or on its way arrives.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Outages {
    /// Never.
    #[default]
    None,
    /// It flaps: up, down, up … from the beginning of the run on.
    Flaps {
        /// For how long it is up.
        up: Duration,
        /// For how long it is down.
        down: Duration,
    },
    /// From the first until the second, each since the beginning of the run.
    During(Vec<(Duration, Duration)>),
}

impl Outages {
    /// Whether the link is down.
    pub(crate) fn at(&self, now: SimTime) -> bool {
        if *self == Outages::None {
            return false;
        }
        let since_start = now.since_start();
        match self {
            Outages::None => false,
            Outages::Flaps { up, down } => {
                let period = up.saturating_add(*down).as_nanos();
                period > 0 && since_start.as_nanos() % period >= up.as_nanos()
            }
            Outages::During(all) => all.iter().any(|(from, until)| (*from..*until).contains(&since_start)),
        }
    }
}

/// What a link remembers of its losses.
#[derive(Default, Debug)]
pub(crate) struct Losses {
    bad: bool,
}

impl Losses {
    /// Whether the next packet is lost.
    pub(crate) fn pick(&mut self, model: &BurstLoss, rng: &mut Stream) -> bool {
        let (loss, change) =
            if self.bad { (model.loss_bad, model.to_good) } else { (model.loss_good, model.to_bad) };
        let lost = rng.chance(loss);
        self.bad ^= rng.chance(change);
        lost
    }
}

/// Picks each with a probability, and with a correlation to the one before.
#[derive(Default, Debug)]
pub(crate) struct Picks {
    last: Option<bool>,
}

impl Picks {
    /// Whether the next is picked: in the long run a share `probability` is, and the correlation of each answer with the
    /// one before is `correlation` (0 to 1).
    pub(crate) fn pick(&mut self, probability: f64, correlation: f64, rng: &mut Stream) -> bool {
        let chance = match self.last {
            None => probability,
            Some(true) => probability + correlation * (1.0 - probability),
            Some(false) => probability * (1.0 - correlation),
        };
        let picked = rng.chance(chance);
        if correlation > 0.0 {
            self.last = Some(picked);
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_and_a_burst_give_the_model() {
        let model = BurstLoss::with_mean(0.02, 4.0);
        assert!((model.mean_loss() - 0.02).abs() < 1e-12);
        assert_eq!(model.to_good, 0.25);
    }

    #[test]
    #[should_panic(expected = "cannot make up a share of 0.9")]
    fn bursts_too_short_for_the_share_are_refused() {
        BurstLoss::with_mean(0.9, 1.0);
    }

    #[test]
    fn patterns_and_outages_are_exact() {
        let picked = |pattern: LossPattern| (1..=10).filter(|n| pattern.picks(*n)).collect::<Vec<_>>();
        assert_eq!(picked(LossPattern::EveryNth(4)), [4, 8]);
        assert_eq!(picked(LossPattern::EveryNth(0)), []);
        assert_eq!(picked(LossPattern::Packets(vec![9, 2])), [2, 9]);
        let second = Duration::from_secs(1);
        let flaps = Outages::Flaps { up: 3 * second, down: second };
        let down: Vec<u64> = (0..9).filter(|s| flaps.at(SimTime(s * 1_000_000_000))).collect();
        assert_eq!(down, [3, 7]);
        assert!(!Outages::Flaps { up: Duration::MAX, down: second }.at(SimTime(u64::MAX)));
        let during = Outages::During(vec![(second, 2 * second)]);
        assert!(during.at(SimTime(1_000_000_000)) && !during.at(SimTime(2_000_000_000)));
    }
}
