//! What waits for a limited rate, and who of it is dropped or marked.
//!
//! Owns [`Queue`] (the discipline that a link is given) and `Backlog` (what waits). Must not know packets: it is told
//! their size, flow and ECN. Invariants: the backlog's bytes are the sum of what waits; what goes in comes out or is
//! dropped; within one flow the order is kept.

use std::collections::VecDeque;
use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::codel::{CoDel, Control};
use super::fq_codel::{Flows, FqCoDel};
use super::red::{Average, Red};

/// What becomes of packets that wait for a limited rate. Each discipline also drops at the tail when the limit of the
/// link is reached (FQ-CoDel: at the head of its longest flow).
///
/// ECN: a packet whose ECN field says that its ends understand marks is marked where it else would be dropped.
#[derive(Clone, PartialEq, Default, Debug)]
pub enum Queue {
    /// First in, first out.
    #[default]
    TailDrop,
    /// Random early detection.
    Red(Red),
    /// Controlled delay.
    CoDel(CoDel),
    /// A queue with controlled delay for each flow, served in turn.
    FqCoDel(FqCoDel),
    /// First in, first out, with a mark on every packet that meets a longer queue: DCTCP, L4S.
    Step(Above),
}

/// Where [`Queue::Step`] begins to mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Above {
    /// Packets that find more than this many bytes waiting (DCTCP's K, RFC 8257).
    Bytes(u64),
    /// Packets that have waited longer than this (the L4S queue of RFC 9332, which begins at 1 ms).
    Delay(Duration),
}

impl Queue {
    /// CoDel as RFC 8289 sets it: 5 ms in 100 ms, with ECN.
    pub fn codel() -> Queue {
        Queue::CoDel(CoDel::default())
    }

    /// FQ-CoDel as RFC 8290 sets it, with ECN.
    pub fn fq_codel() -> Queue {
        Queue::FqCoDel(FqCoDel::default())
    }

    /// RED between two lengths in bytes, as Floyd recommends it: at most 10 %, weight 0.002, gentle; without ECN.
    pub fn red(min_bytes: u64, max_bytes: u64) -> Queue {
        Queue::Red(Red { min_bytes, max_bytes, ..Red::default() })
    }
}

/// Something that waits.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) item: T,
    /// How much of the rate it takes.
    pub(crate) wire_bytes: u64,
    /// Since when.
    pub(crate) since: SimTime,
    /// Which flow it belongs to, as a number that is spread well.
    pub(crate) flow: u64,
    /// Whether its ends understand marks.
    pub(crate) ecn_capable: bool,
    /// Whether it was marked here.
    pub(crate) marked: bool,
}

impl<T> Waiting<T> {
    /// Marks it; false where its ends would not understand, or `ecn` is off.
    pub(crate) fn mark(&mut self, ecn: bool) -> bool {
        self.marked |= ecn && self.ecn_capable;
        ecn && self.ecn_capable
    }
}

/// First in, first out.
#[derive(Debug)]
pub(crate) struct Fifo<T> {
    items: VecDeque<Waiting<T>>,
    bytes: u64,
}

impl<T> Fifo<T> {
    pub(crate) fn new() -> Fifo<T> {
        Fifo { items: VecDeque::new(), bytes: 0 }
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn push(&mut self, waiting: Waiting<T>) {
        self.bytes += waiting.wire_bytes;
        self.items.push_back(waiting);
    }

    pub(crate) fn pop(&mut self) -> Option<Waiting<T>> {
        let waiting = self.items.pop_front()?;
        self.bytes -= waiting.wire_bytes;
        Some(waiting)
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) bytes: u64,
    pub(crate) packets: usize,
}

/// What a discipline remembers, and what waits in it.
#[derive(Debug)]
enum State<T> {
    Fifo(Fifo<T>),
    Red(Fifo<T>, Average),
    CoDel(Fifo<T>, Control),
    FqCoDel(Flows<T>),
}

/// What waits for one link.
#[derive(Debug)]
pub(crate) struct Backlog<T> {
    state: State<T>,
}

/// Why something does not wait any longer, and is not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Drop {
    /// There was no room.
    Full,
    /// The discipline wanted its sender to slow down.
    Early,
}

impl<T> Backlog<T> {
    pub(crate) fn new() -> Backlog<T> {
        Backlog { state: State::Fifo(Fifo::new()) }
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.state {
            State::Fifo(fifo) | State::Red(fifo, _) | State::CoDel(fifo, _) => fifo.bytes(),
            State::FqCoDel(flows) => flows.bytes(),
        }
    }

    /// How many packets wait.
    pub(crate) fn len(&self) -> usize {
        match &self.state {
            State::Fifo(fifo) | State::Red(fifo, _) | State::CoDel(fifo, _) => fifo.len(),
            State::FqCoDel(flows) => flows.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets the backlog be `rules`': what waits moves along where the discipline has changed.
    fn follow(&mut self, rules: &Queue) {
        let fits = matches!(
            (&self.state, rules),
            (State::Fifo(_), Queue::TailDrop | Queue::Step(_))
                | (State::Red(..), Queue::Red(_))
                | (State::CoDel(..), Queue::CoDel(_))
                | (State::FqCoDel(_), Queue::FqCoDel(_))
        );
        if fits {
            return;
        }
        let mut all = Vec::new();
        match &mut self.state {
            State::Fifo(fifo) | State::Red(fifo, _) | State::CoDel(fifo, _) => {
                all.extend(std::iter::from_fn(|| fifo.pop()));
            }
            State::FqCoDel(flows) => all.extend(flows.drain()),
        }
        all.sort_by_key(|waiting| waiting.since);
        self.state = match rules {
            Queue::TailDrop | Queue::Step(_) => State::Fifo(Fifo::new()),
            Queue::Red(_) => State::Red(Fifo::new(), Average::default()),
            Queue::CoDel(_) => State::CoDel(Fifo::new(), Control::default()),
            Queue::FqCoDel(_) => State::FqCoDel(Flows::new()),
        };
        for waiting in all {
            match (&mut self.state, rules) {
                (State::FqCoDel(flows), Queue::FqCoDel(rules)) => flows.push(rules, waiting),
                (State::Fifo(fifo) | State::Red(fifo, _) | State::CoDel(fifo, _), _) => fifo.push(waiting),
                _ => unreachable!("invariant: the state was just made for these rules"),
            }
        }
    }

    /// Puts one more in, at time `waiting.since`. Who finds no place, or has to make room, goes to `dropped`.
    pub(crate) fn push(
        &mut self,
        rules: &Queue,
        limit: Limit,
        rate_bps: u64,
        mut waiting: Waiting<T>,
        rng: &mut Stream,
        dropped: &mut Vec<(Waiting<T>, Drop)>,
    ) {
        self.follow(rules);
        let now = waiting.since;
        let (bytes, len) = (self.bytes(), self.len());
        if let (State::FqCoDel(flows), Queue::FqCoDel(rules)) = (&mut self.state, rules) {
            flows.push(rules, waiting);
            while flows.bytes() > limit.bytes || flows.len() > limit.packets {
                let Some(gone) = flows.drop_from_longest() else { return };
                dropped.push((gone, Drop::Full));
            }
            return;
        }
        if bytes + waiting.wire_bytes > limit.bytes || len >= limit.packets {
            return dropped.push((waiting, Drop::Full));
        }
        match (&mut self.state, rules) {
            (State::Red(fifo, average), Queue::Red(rules)) => {
                if average.arrival(rules, fifo.bytes(), rate_bps, now, rng, &mut waiting) {
                    fifo.push(waiting);
                } else {
                    dropped.push((waiting, Drop::Early));
                }
            }
            (State::Fifo(fifo), rules) => {
                if let Queue::Step(Above::Bytes(most)) = rules
                    && fifo.bytes() > *most
                {
                    waiting.mark(true);
                }
                fifo.push(waiting);
            }
            (State::CoDel(fifo, _), _) => fifo.push(waiting),
            _ => unreachable!("invariant: the state follows the rules"),
        }
    }

    /// Takes the next one out, to be sent at `now`.
    pub(crate) fn pop(
        &mut self,
        rules: &Queue,
        now: SimTime,
        dropped: &mut Vec<(Waiting<T>, Drop)>,
    ) -> Option<Waiting<T>> {
        self.follow(rules);
        match (&mut self.state, rules) {
            (State::Fifo(fifo), rules) => {
                let mut waiting = fifo.pop()?;
                if let Queue::Step(Above::Delay(most)) = rules
                    && now - waiting.since > *most
                {
                    waiting.mark(true);
                }
                Some(waiting)
            }
            (State::Red(fifo, average), _) => {
                let waiting = fifo.pop();
                if fifo.len() == 0 {
                    average.idle_since(now);
                }
                waiting
            }
            (State::CoDel(fifo, control), Queue::CoDel(rules)) => control.pop(rules, fifo, now, dropped),
            (State::FqCoDel(flows), Queue::FqCoDel(rules)) => flows.pop(rules, now, dropped),
            _ => unreachable!("invariant: the state follows the rules"),
        }
    }
}
