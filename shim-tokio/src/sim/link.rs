//! Links: what happens to packets between two nodes.
//!
//! Must not hold state: the network does. Invariant: each call takes effect at once, for packets sent from
//! then on.

use std::ops::RangeInclusive;
use std::time::Duration;

use shim_net::control::{
    self, BurstLoss, Framing, Latency, LinkConfig, LossPattern, Outages, Preset, Queue, Schedule,
};
use shim_runtime::NodeId;

use super::topology::element;

/// A handle on the link between two nodes, or on the rules of links that have none of their own.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    between: Option<(NodeId, NodeId)>,
    oneway: bool,
}

/// The link between `a` and `b`, in both directions. Either may also be a router or a switch: the rules of the way to a
/// switch hold for everything on that way.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn link(a: &str, b: &str) -> Link {
    Link { between: Some((element(a), element(b))), oneway: false }
}

/// The link from `from` to `to`.
///
/// # Panics
/// Where there is no such node.
#[track_caller]
pub fn link_oneway(from: &str, to: &str) -> Link {
    Link { between: Some((element(from), element(to))), oneway: true }
}

/// The rules of links that have none of their own.
pub fn default_link() -> Link {
    Link::default_of_world()
}

impl Link {
    pub(crate) fn default_of_world() -> Link {
        Link { between: None, oneway: false }
    }

    /// Changes the rules in any way that the network knows.
    pub fn update(self, change: impl FnOnce(&mut LinkConfig)) -> Link {
        match self.between {
            None => {
                let mut config = control::default_link();
                change(&mut config);
                control::set_default_link(config);
            }
            Some((from, to)) if self.oneway => {
                let mut config = control::link(from, to);
                change(&mut config);
                control::set_link_oneway(from, to, config);
            }
            Some((a, b)) => control::update_link(a, b, change),
        }
        self
    }

    /// Each packet takes between the two bounds, in milliseconds.
    pub fn latency_ms(self, range: RangeInclusive<u64>) -> Link {
        let (min, max) = (Duration::from_millis(*range.start()), Duration::from_millis(*range.end()));
        self.latency(min, max)
    }

    /// Each packet takes between the two bounds.
    pub fn latency(self, min: Duration, max: Duration) -> Link {
        let latency = if min == max { Latency::Fixed(min) } else { Latency::Uniform { min, max } };
        self.update(|config| config.latency = latency)
    }

    /// How long packets take, as any distribution; see [`Latency`].
    pub fn latency_distribution(self, latency: Latency) -> Link {
        self.update(|config| config.latency = latency)
    }

    /// The correlation (0 to 1) of a packet's latency with that of the one before.
    pub fn latency_correlation(self, correlation: f64) -> Link {
        self.update(|config| config.latency_correlation = correlation)
    }

    /// Whether packets that drew a shorter latency overtake others, as with netem.
    pub fn overtaking(self, allowed: bool) -> Link {
        self.update(|config| config.overtaking = allowed)
    }

    /// The probability (0 to 1) that a packet is lost.
    pub fn loss(self, probability: f64) -> Link {
        self.update(|config| config.loss = probability)
    }

    /// Loses a share (0 to 1) of all packets, in bursts of `burst_packets` on average.
    ///
    /// # Panics
    /// As [`BurstLoss::with_mean`].
    pub fn loss_bursts(self, share: f64, burst_packets: f64) -> Link {
        self.loss_model(BurstLoss::with_mean(share, burst_packets))
    }

    /// Loses packets in bursts, by the model of Gilbert and Elliott.
    pub fn loss_model(self, model: BurstLoss) -> Link {
        self.update(|config| config.loss_bursts = Some(model))
    }

    /// Loses certain packets, by their number: the first that is ever sent over the link has number 1.
    pub fn loss_pattern(self, pattern: LossPattern) -> Link {
        self.update(|config| config.loss_pattern = pattern)
    }

    /// The probability (0 to 1) that a packet arrives twice.
    pub fn duplicate(self, probability: f64) -> Link {
        self.update(|config| config.duplicate = probability)
    }

    /// The probability (0 to 1) that a packet leaves the order, coming at most `by` later.
    pub fn reorder(self, probability: f64, by: Duration) -> Link {
        self.update(|config| (config.reorder, config.reorder_by) = (probability, by))
    }

    /// The probability (0 to 1) that a bit of a UDP datagram is changed, and that only the application can notice.
    pub fn corrupt(self, probability: f64) -> Link {
        self.update(|config| config.corrupt = probability)
    }

    /// The probability (0 to 1) that a bit of a TCP segment's data is changed, and that only the application can notice.
    pub fn corrupt_segments(self, probability: f64) -> Link {
        self.update(|config| config.corrupt_segments = probability)
    }

    /// The probability (0 to 1) that a packet is changed and that its receiver drops it for its wrong checksum.
    pub fn damage(self, probability: f64) -> Link {
        self.update(|config| config.damage = probability)
    }

    /// Bits per second.
    pub fn bandwidth_bits_per_sec(self, bits_per_sec: u64) -> Link {
        self.update(|config| config.bandwidth_bps = Some(bits_per_sec))
    }

    /// Who of the packets that wait for a limited rate is dropped or marked.
    pub fn queue(self, queue: Queue) -> Link {
        self.update(|config| config.queue = queue)
    }

    /// How many bytes may wait for a limited rate.
    pub fn queue_limit_bytes(self, bytes: u64) -> Link {
        self.update(|config| config.queue_limit_bytes = bytes)
    }

    /// How many packets may wait for a limited rate.
    pub fn queue_limit_packets(self, packets: u32) -> Link {
        self.update(|config| config.queue_limit_packets = Some(packets))
    }

    /// What packets grow to on the wire.
    pub fn framing(self, framing: Framing) -> Link {
        self.update(|config| config.framing = framing)
    }

    /// Packets leave only at multiples of this time.
    pub fn slot(self, slot: Duration) -> Link {
        self.update(|config| config.slot = slot)
    }

    /// The largest packet.
    pub fn mtu_bytes(self, bytes: usize) -> Link {
        self.update(|config| config.mtu_bytes = Some(bytes))
    }

    /// Whether senders of packets that are too big are told by ICMP.
    pub fn icmp_too_big(self, told: bool) -> Link {
        self.update(|config| config.icmp_too_big = told)
    }

    /// Whether TCP handshakes are made to announce segments that fit.
    pub fn clamp_mss(self, clamped: bool) -> Link {
        self.update(|config| config.clamp_mss = clamped)
    }

    /// Rules that change by the clock.
    pub fn schedule(self, schedule: Schedule) -> Link {
        self.update(|config| config.schedule = schedule)
    }

    /// From the beginning of the run on, the link is up and down in turn.
    pub fn flap(self, up: Duration, down: Duration) -> Link {
        self.outages(Outages::Flaps { up, down })
    }

    /// When the link is down.
    pub fn outages(self, outages: Outages) -> Link {
        self.update(|config| config.outages = outages)
    }

    /// Takes all rules from a network that was measured. Of a link between two nodes, the first is the subscriber: its
    /// packets go up. Of a single direction, and of the default, it is the way down.
    pub fn preset(self, preset: Preset) -> Link {
        match self.between {
            Some((a, b)) if !self.oneway => {
                control::set_link_oneway(a, b, preset.up);
                control::set_link_oneway(b, a, preset.down);
                self
            }
            _ => self.update(|config| *config = preset.down),
        }
    }
}

/// What a [`super::Builder`] says of links.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkSettings {
    pub(crate) min_latency: Option<Duration>,
    pub(crate) max_latency: Option<Duration>,
    pub(crate) loss: Option<f64>,
}

impl LinkSettings {
    pub(crate) fn apply(&self, link: &mut Link) {
        match (self.min_latency, self.max_latency) {
            (None, None) => {}
            (min, max) => {
                let least = min.or(max.map(|max| max.min(Duration::from_micros(500)))).unwrap_or_default();
                link.latency(least, max.unwrap_or(least).max(least));
            }
        }
        if let Some(loss) = self.loss {
            link.loss(loss);
        }
    }
}
