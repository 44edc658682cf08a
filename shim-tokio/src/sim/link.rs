//! Links: what happens to packets between two nodes.
//!
//! Must not hold state: the network does. Invariant: each call takes effect at once, for packets sent from
//! then on.

use std::ops::RangeInclusive;
use std::time::Duration;

use shim_net::control::{self, Latency, LinkConfig};
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

    /// The probability (0 to 1) that a packet is lost.
    pub fn loss(self, probability: f64) -> Link {
        self.update(|config| config.loss = probability)
    }

    /// The probability (0 to 1) that a packet arrives twice.
    pub fn duplicate(self, probability: f64) -> Link {
        self.update(|config| config.duplicate = probability)
    }

    /// The probability (0 to 1) that a packet leaves the order, coming at most `by` later.
    pub fn reorder(self, probability: f64, by: Duration) -> Link {
        self.update(|config| (config.reorder, config.reorder_by) = (probability, by))
    }

    /// Bits per second.
    pub fn bandwidth_bits_per_sec(self, bits_per_sec: u64) -> Link {
        self.update(|config| config.bandwidth_bps = Some(bits_per_sec))
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
