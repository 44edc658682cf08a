//! One direction between two nodes: delay, loss, rate, queue.
//!
//! Owns [`LinkConfig`] and what a link remembers. Must not know nodes or the event queue. Invariant:
//! packets keep their order unless reordering is asked for.

use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::path::Trip;
use crate::packet::Packet;

/// How long a packet is on its way, beside the time that the rate takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Anything between two bounds, equally likely.
    Uniform {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// A bell curve, cut off at zero.
    Normal {
        /// The middle.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// A least time and an exponential tail.
    Exponential {
        /// The least.
        min: Duration,
        /// What the tail adds on average.
        tail: Duration,
    },
}

impl Latency {
    /// Draws one.
    pub(crate) fn draw(self, rng: &mut Stream) -> Duration {
        match self {
            Latency::Fixed(latency) => latency,
            Latency::Uniform { min, max } => {
                let (min, max) = (min.as_nanos() as u64, max.as_nanos() as u64);
                Duration::from_nanos(rng.between(min.min(max), max.max(min)))
            }
            Latency::Normal { mean, deviation } => {
                // The sum of twelve uniform numbers: near enough, and the same on every platform.
                let bell = (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
                let nanos = mean.as_nanos() as f64 + bell * deviation.as_nanos() as f64;
                Duration::from_nanos(nanos.max(0.0) as u64)
            }
            Latency::Exponential { min, tail } => {
                let factor = -(1.0 - rng.unit()).ln();
                min + Duration::from_nanos((tail.as_nanos() as f64 * factor) as u64)
            }
        }
    }
}

/// What one direction of a link does to packets.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkConfig {
    /// How long packets are on their way.
    pub latency: Latency,
    /// The probability that a packet is lost.
    pub loss: f64,
    /// The probability that a packet arrives twice.
    pub duplicate: f64,
    /// The probability that a packet leaves the order, and by how much it then comes later at most.
    pub reorder: f64,
    /// See `reorder`.
    pub reorder_by: Duration,
    /// The probability that a byte of a UDP datagram is changed.
    pub corrupt: f64,
    /// Bits per second; `None` where nothing limits them.
    pub bandwidth_bps: Option<u64>,
    /// How many bytes may wait for a limited rate before packets are dropped.
    pub queue_limit_bytes: u64,
    /// The largest packet; longer UDP datagrams are fragmented, or dropped where they forbid it.
    pub mtu_bytes: Option<usize>,
}

impl Default for LinkConfig {
    /// A good local network: 0.5 to 1.5 ms, nothing lost.
    fn default() -> LinkConfig {
        LinkConfig {
            latency: Latency::Uniform { min: Duration::from_micros(500), max: Duration::from_micros(1500) },
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(5),
            corrupt: 0.0,
            bandwidth_bps: None,
            queue_limit_bytes: 256 << 10,
            mtu_bytes: None,
        }
    }
}

impl LinkConfig {
    /// Whether a train of segments must be taken apart, because each packet has its own fate.
    pub(crate) fn needs_single_packets(&self) -> bool {
        self.loss > 0.0
            || self.duplicate > 0.0
            || self.reorder > 0.0
            || self.bandwidth_bps.is_some()
            || self.mtu_bytes.is_some()
    }
}

/// Whether packets pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Gate {
    #[default]
    Open,
    /// Packets are lost.
    Cut,
    /// Packets are kept.
    Held,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Arrives(SimTime),
    ArrivesTwice(SimTime, SimTime),
    Lost,
    QueueFull,
    TooBig,
}

/// One direction between two nodes.
pub(crate) struct Link {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Its own rules; else the default's.
    pub(crate) config: Option<LinkConfig>,
    pub(crate) gate: Gate,
    pub(crate) held: Vec<(Trip, Packet)>,
    /// When the last packet arrives: the next one does not overtake it.
    last_arrival: SimTime,
    /// When a limited rate has sent everything that waits.
    busy_until: SimTime,
}

impl Link {
    pub(crate) fn new(from: u32, to: u32) -> Link {
        Link {
            from,
            to,
            config: None,
            gate: Gate::Open,
            held: Vec::new(),
            last_arrival: SimTime::ZERO,
            busy_until: SimTime::ZERO,
        }
    }

    /// Decides about a packet of `bytes`, headers included.
    pub(crate) fn judge(
        &mut self,
        rules: &LinkConfig,
        now: SimTime,
        bytes: usize,
        dont_fragment: bool,
        rng: &mut Stream,
    ) -> Fate {
        if dont_fragment && rules.mtu_bytes.is_some_and(|mtu| bytes > mtu) {
            return Fate::TooBig;
        }
        if rng.chance(rules.loss) {
            return Fate::Lost;
        }
        let mut leaves = now;
        if let Some(rate) = rules.bandwidth_bps.map(|rate| rate.max(1)) {
            let waiting = self.busy_until.saturating_since(now).as_nanos() * u128::from(rate) / 8_000_000_000;
            if waiting + bytes as u128 > u128::from(rules.queue_limit_bytes) {
                return Fate::QueueFull;
            }
            let takes = (bytes as u128 * 8_000_000_000 / u128::from(rate)) as u64;
            self.busy_until = self.busy_until.max(now) + Duration::from_nanos(takes);
            leaves = self.busy_until;
        }
        let arrives = leaves + rules.latency.draw(rng);
        if rng.chance(rules.reorder) {
            let late = rng.between(0, rules.reorder_by.as_nanos() as u64);
            return Fate::Arrives(arrives + Duration::from_nanos(late));
        }
        let arrives = arrives.max(self.last_arrival);
        self.last_arrival = arrives;
        if rng.chance(rules.duplicate) {
            return Fate::ArrivesTwice(arrives, arrives + rules.latency.draw(rng));
        }
        Fate::Arrives(arrives)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(rules: &LinkConfig, sizes: &[usize]) -> Vec<Fate> {
        let mut link = Link::new(0, 1);
        let mut rng = Stream::new(1, "link", 0);
        sizes.iter().map(|bytes| link.judge(rules, SimTime(0), *bytes, true, &mut rng)).collect()
    }

    #[test]
    fn packets_do_not_overtake() {
        let fates = judge(&LinkConfig::default(), &[100; 200]);
        let mut last = SimTime::ZERO;
        for fate in fates {
            let Fate::Arrives(at) = fate else { panic!("{fate:?}") };
            assert!(at >= last);
            last = at;
        }
        assert!((500_000..=1_500_000).contains(&last.nanos()));
    }

    #[test]
    fn a_rate_delays_and_drops_at_the_tail() {
        let rules = LinkConfig {
            latency: Latency::Fixed(Duration::ZERO),
            bandwidth_bps: Some(8_000_000),
            queue_limit_bytes: 2500,
            ..LinkConfig::default()
        };
        let fates = judge(&rules, &[1000, 1000, 1000]);
        assert_eq!(
            fates,
            [Fate::Arrives(SimTime(1_000_000)), Fate::Arrives(SimTime(2_000_000)), Fate::QueueFull]
        );
    }

    #[test]
    fn loss_and_size_are_judged() {
        let rules = LinkConfig { loss: 0.3, ..LinkConfig::default() };
        let lost = judge(&rules, &[1; 1000]).into_iter().filter(|fate| *fate == Fate::Lost).count();
        assert!((230..370).contains(&lost), "{lost}");
        let rules = LinkConfig { mtu_bytes: Some(1000), ..LinkConfig::default() };
        assert_eq!(judge(&rules, &[1001]), [Fate::TooBig]);
    }

    #[test]
    fn distributions_have_their_means() {
        let mut rng = Stream::new(7, "link", 0);
        let milli = Duration::from_millis;
        let cases = [
            (Latency::Normal { mean: milli(10), deviation: milli(1) }, 10.0),
            (Latency::Exponential { min: milli(2), tail: milli(3) }, 5.0),
            (Latency::Uniform { min: milli(1), max: milli(3) }, 2.0),
        ];
        for (latency, expected) in cases {
            let total: Duration = (0..4000).map(|_| latency.draw(&mut rng)).sum();
            let mean = total.as_secs_f64() * 1000.0 / 4000.0;
            assert!((mean - expected).abs() < 0.2, "{latency:?}: {mean}");
        }
    }
}
