//! The trace: a running 64-bit hash over every decision, and the last few of them in full.
//!
//! Owns the hash, the step counter and the ring of recent records. Must not know what the numbers mean.
//! Invariant: nothing that differs between two runs of a seed (an address, a real time) is ever recorded.

use crate::clock::SimTime;

/// What a record is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A task was picked: task id, node.
    Poll = 1,
    /// A task ended: task id, outcome.
    Done,
    /// A task was spawned: task id, parent's id.
    Spawn,
    /// A timer fired: event number, 0.
    Timer,
    /// A device's event fired: event number, token.
    Device,
    /// A packet's fate on a link: source and destination, what became of it.
    Packet,
    /// A fault was injected or healed.
    Fault,
    /// A node changed its state: node, state.
    Node,
    /// A thread got the baton: thread, node.
    Thread,
    /// Random bytes were handed out: node, how many.
    Entropy,
    /// A number that a test added.
    Mark,
    /// A signal was sent: node, its number.
    Signal,
}

/// One decision.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// How many tasks had been polled.
    pub step: u64,
    /// When it was.
    pub at: SimTime,
    /// What it is about.
    pub kind: Kind,
    /// First number; its meaning is the kind's.
    pub a: u64,
    /// Second number; its meaning is the kind's.
    pub b: u64,
}

const RING: usize = 64;

/// The running hash and the ring of recent records.
pub struct Trace {
    hash: u64,
    records: u64,
    ring: Vec<Record>,
    /// How many tasks have been polled.
    pub step: u64,
    log: bool,
}

impl Trace {
    /// An empty trace; with `log`, each record is also printed to standard error.
    pub fn new(seed: u64, log: bool) -> Trace {
        let mut trace = Trace { hash: 0x9e37_79b9_7f4a_7c15, records: 0, ring: Vec::new(), step: 0, log };
        trace.mix(seed);
        trace
    }

    fn mix(&mut self, value: u64) {
        let mixed = (self.hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
        self.hash = mixed ^ (mixed >> 29);
    }

    /// Adds a decision to the hash and the ring.
    pub fn record(&mut self, at: SimTime, kind: Kind, a: u64, b: u64) {
        self.mix(at.0 ^ ((kind as u64) << 56));
        self.mix(a);
        self.mix(b);
        let record = Record { step: self.step, at, kind, a, b };
        let place = (self.records as usize) % RING;
        if self.ring.len() < RING {
            self.ring.push(record);
        } else {
            self.ring[place] = record;
        }
        self.records += 1;
        if self.log {
            self.print(&record);
        }
    }

    #[cold]
    #[expect(clippy::disallowed_macros, reason = "the log is this function's purpose")]
    fn print(&self, record: &Record) {
        let Record { step, at, kind, a, b } = record;
        eprintln!("[sim {at} step {step}] {kind:?} {a:#x} {b:#x} -> {:016x}", self.hash);
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many decisions were recorded.
    pub fn len(&self) -> u64 {
        self.records
    }

    /// Whether no decision was recorded.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The most recent records, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Record> {
        let split = if self.ring.len() < RING { 0 } else { (self.records as usize) % RING };
        self.ring[split..].iter().chain(&self.ring[..split])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_content_change_the_hash() {
        let run = |records: &[(u64, u64)]| {
            let mut trace = Trace::new(1, false);
            for (a, b) in records {
                trace.record(SimTime(0), Kind::Mark, *a, *b);
            }
            trace.hash()
        };
        assert_eq!(run(&[(1, 2), (3, 4)]), run(&[(1, 2), (3, 4)]));
        assert_ne!(run(&[(1, 2), (3, 4)]), run(&[(3, 4), (1, 2)]));
        assert_ne!(run(&[(1, 2)]), run(&[(2, 1)]));
    }

    #[test]
    fn the_ring_keeps_the_newest_in_order() {
        let mut trace = Trace::new(1, false);
        for a in 0..200 {
            trace.record(SimTime(a), Kind::Mark, a, 0);
        }
        let kept: Vec<u64> = trace.recent().map(|record| record.a).collect();
        assert_eq!(kept, (136..200).collect::<Vec<_>>());
    }
}
