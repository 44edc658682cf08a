//! Random streams: one seed, one independent generator for each purpose.
//!
//! Owns all randomness of a run. Must not know what it is used for. Invariant: a draw from one stream
//! never moves another, so that a new fault draw does not change the schedule.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One named stream of random numbers.
pub struct Stream {
    rng: ChaCha8Rng,
}

impl Stream {
    /// The stream called `name` of the run with `seed`; `index` tells apart streams of one name.
    pub fn new(seed: u64, name: &str, index: u64) -> Stream {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        key[16..24].copy_from_slice(&hash.to_le_bytes());
        Stream { rng: ChaCha8Rng::from_seed(key) }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.rng.next_u32()
    }

    /// A number in `0..bound`, each as likely as the others to within 2⁻³².
    ///
    /// # Panics
    /// Where `bound` is zero.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "invariant: a draw from nothing");
        ((u64::from(self.rng.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high, "invariant: an empty range");
        let span = (high - low).wrapping_add(1);
        if span == 0 {
            return self.next_u64();
        }
        low + ((u128::from(self.next_u64()) * u128::from(span)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with the given `probability` (0 to 1). Draws nothing where the answer is certain.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (probability >= 1.0 || self.unit() < probability)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }
}

/// The streams of a run that are not a node's own.
pub struct Streams {
    /// What all of them begin from.
    pub seed: u64,
    /// Which ready task goes next, and how long its poll takes.
    pub schedule: Stream,
    /// Latency, jitter and loss of links.
    pub link: Stream,
    /// Faults chosen by the run itself.
    pub fault: Stream,
    /// The first branch of each `select!`.
    pub select: Stream,
    /// Numbers that a test draws for itself.
    pub test: Stream,
}

impl Streams {
    /// The streams of the run with `seed`.
    pub fn new(seed: u64) -> Streams {
        Streams {
            seed,
            schedule: Stream::new(seed, "schedule", 0),
            link: Stream::new(seed, "link", 0),
            fault: Stream::new(seed, "fault", 0),
            select: Stream::new(seed, "select", 0),
            test: Stream::new(seed, "test", 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_indices_and_seeds_all_matter() {
        let first = |seed, name, index| Stream::new(seed, name, index).next_u64();
        let base = first(1, "link", 0);
        assert_eq!(base, first(1, "link", 0));
        assert_ne!(base, first(2, "link", 0));
        assert_ne!(base, first(1, "fault", 0));
        assert_ne!(base, first(1, "link", 1));
    }

    #[test]
    fn bounds_hold_and_are_reached() {
        let mut stream = Stream::new(3, "t", 0);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[stream.below(5) as usize] = true;
            assert!((7..=9).contains(&stream.between(7, 9)));
            assert!((0.0..1.0).contains(&stream.unit()));
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(stream.between(4, 4), 4);
    }
}
