//! Networks as they were measured: rules with their sources.
//!
//! Owns the figures. Must not know what a rule does. Invariant: each figure has its source beside it, and what no source
//! says is said to be a choice.

use super::LinkConfig;

/// A way to the network: what a subscriber sends, and what it is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Preset {
    /// From the subscriber.
    pub up: LinkConfig,
    /// To the subscriber.
    pub down: LinkConfig,
}

impl Preset {
    /// The same in both directions.
    pub fn symmetric(config: LinkConfig) -> Preset {
        Preset { up: config.clone(), down: config }
    }
}
