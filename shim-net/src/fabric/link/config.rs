//! The rules of one direction of a link, as data.
//!
//! Owns [`LinkConfig`]. Must not know what a link remembers. Invariant: the default draws only latencies.

use std::ops::Deref;
use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::{BurstLoss, Framing, Latency, LossPattern, Outages, Queue, Schedule};

/// What one direction of a link does to packets.
///
/// A packet meets the rules in this order: its size (`mtu_bytes`), outages, losses, the queue and the rate, the
/// latency, reordering, duplication, changes of its data.
///
/// # Determinism
/// All draws are from the stream `link`, and a certain answer draws nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct LinkConfig {
    /// How long packets are on their way.
    pub latency: Latency,
    /// The correlation (0 to 1) of a packet's latency with that of the one before; the distribution stays.
    pub latency_correlation: f64,
    /// Whether a packet that drew a shorter latency overtakes those before it, as with netem. Else it arrives with them.
    pub overtaking: bool,
    /// The probability (0 to 1) that a packet is lost, each for itself.
    pub loss: f64,
    /// Losses in bursts, beside `loss`.
    pub loss_bursts: Option<BurstLoss>,
    /// Losses by number, beside both.
    pub loss_pattern: LossPattern,
    /// The probability (0 to 1) that a packet arrives twice.
    pub duplicate: f64,
    /// The probability (0 to 1) that a packet leaves the order.
    pub reorder: f64,
    /// By how much a packet that leaves the order comes later at most.
    pub reorder_by: Duration,
    /// Only one of so many packets in a row may leave the order; 0 and 1 mean all.
    pub reorder_gap: u32,
    /// The correlation (0 to 1) of leaving the order with that of the packet before.
    pub reorder_correlation: f64,
    /// The probability (0 to 1) that one bit of a UDP datagram's data is changed, and that nobody notices but the
    /// application: no checksum is looked at. Fragments are left alone.
    pub corrupt: f64,
    /// The same of a TCP segment's data.
    pub corrupt_segments: f64,
    /// The probability (0 to 1) that a packet is changed on its way and that the receiver's checksum shows it: it is
    /// dropped there. This is what happens on real networks; netem's `corrupt` ends so, too.
    pub damage: f64,
    /// Bits per second (of what `framing` makes of packets); `None` where nothing limits them, zero where nothing passes.
    pub bandwidth_bps: Option<u64>,
    /// Who of those that wait for a limited rate is dropped or marked.
    pub queue: Queue,
    /// How many bytes may wait for a limited rate, beside the packet that is being sent.
    pub queue_limit_bytes: u64,
    /// How many packets may wait; `None` where only bytes count.
    pub queue_limit_packets: Option<u32>,
    /// What packets grow to on the wire.
    pub framing: Framing,
    /// Packets leave only at multiples of this time since the beginning of the run, as on media with slots (LTE, DOCSIS).
    /// Zero means at any time.
    pub slot: Duration,
    /// The largest packet. What forbids fragments is dropped if it is larger, and its sender is told; other packets are
    /// cut into fragments, each with its own fate.
    pub mtu_bytes: Option<usize>,
    /// Whether the sender of a packet that is too big is told (ICMP "fragmentation needed", ICMPv6 "packet too big"). Without, the
    /// link is a black hole for large packets.
    pub icmp_too_big: bool,
    /// Whether TCP handshakes are changed on their way to announce segments that fit `mtu_bytes`, as most access routers
    /// do (MSS clamping). Without, TCP has to find the size out.
    pub clamp_mss: bool,
    /// Rules that change by the clock.
    pub schedule: Schedule,
    /// When the link is down.
    pub outages: Outages,
}

impl Default for LinkConfig {
    /// A good local network: 0.5 to 1.5 ms, nothing lost.
    fn default() -> LinkConfig {
        LinkConfig {
            latency: Latency::Uniform { min: Duration::from_micros(500), max: Duration::from_micros(1500) },
            latency_correlation: 0.0,
            overtaking: false,
            loss: 0.0,
            loss_bursts: None,
            loss_pattern: LossPattern::None,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(5),
            reorder_gap: 1,
            reorder_correlation: 0.0,
            corrupt: 0.0,
            corrupt_segments: 0.0,
            damage: 0.0,
            bandwidth_bps: None,
            queue: Queue::TailDrop,
            queue_limit_bytes: 256 << 10,
            queue_limit_packets: None,
            framing: Framing::default(),
            slot: Duration::ZERO,
            mtu_bytes: None,
            icmp_too_big: true,
            clamp_mss: true,
            schedule: Schedule::default(),
            outages: Outages::None,
        }
    }
}

/// A [`LinkConfig`], and what follows from it for every packet, found out once.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: LinkConfig,
    /// Whether a train of segments must be taken apart, because each packet has its own fate.
    pub(crate) needs_single_packets: bool,
    /// Whether each packet arrives as it is, once, and in order: nothing is drawn but its latency.
    pub(crate) only_delays: bool,
}

impl From<LinkConfig> for Rules {
    fn from(config: LinkConfig) -> Rules {
        let needs_single_packets = config.needs_single_packets();
        let only_delays = !needs_single_packets && config.only_delays();
        Rules { config, needs_single_packets, only_delays }
    }
}

impl Deref for Rules {
    type Target = LinkConfig;

    fn deref(&self) -> &LinkConfig {
        &self.config
    }
}

impl LinkConfig {
    fn needs_single_packets(&self) -> bool {
        self.loss > 0.0
            || self.loss_bursts.is_some()
            || self.loss_pattern != LossPattern::None
            || self.duplicate > 0.0
            || self.reorder > 0.0
            || self.overtaking
            || self.corrupt_segments > 0.0
            || self.damage > 0.0
            || self.is_limited()
            || self.mtu_bytes.is_some()
            || self.schedule.has_loss()
    }

    /// Whether packets that need not be single are only delayed.
    fn only_delays(&self) -> bool {
        self.reorder_correlation <= 0.0
            && self.corrupt <= 0.0
            && self.slot.is_zero()
            && self.schedule.steps.is_empty()
            && self.outages == Outages::None
    }

    /// How long packets are on their way that are sent at `now`.
    pub(crate) fn latency_at(&self, now: SimTime) -> &Latency {
        self.schedule.step(now).and_then(|step| step.latency.as_ref()).unwrap_or(&self.latency)
    }

    /// Whether a rate limits what is sent.
    pub(crate) fn is_limited(&self) -> bool {
        self.bandwidth_bps.is_some() || self.schedule.has_rates()
    }
}
