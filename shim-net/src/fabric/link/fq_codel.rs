//! Flow queues with controlled delay (RFC 8290): a queue for each flow, served in turn, new flows first.
//!
//! Owns [`FqCoDel`] and the flows. Must not know what a flow is: it is told a number. Invariant: a flow that waits is in
//! exactly one of the two lists.

use std::collections::{BTreeMap, VecDeque};

use shim_runtime::clock::SimTime;

use super::codel::{CoDel, Control};
use super::queue::{Drop, Fifo, Waiting};

/// The rules of flow queues with controlled delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FqCoDel {
    /// The rules of each flow's queue.
    pub codel: CoDel,
    /// Into how many queues flows are spread.
    pub flows: u32,
    /// How many bytes a flow may send in its turn.
    pub quantum_bytes: u32,
}

impl Default for FqCoDel {
    /// 1024 queues, 1514 bytes.
    fn default() -> FqCoDel {
        FqCoDel { codel: CoDel::default(), flows: 1024, quantum_bytes: 1514 }
    }
}

#[derive(Debug)]
struct Flow<T> {
    fifo: Fifo<T>,
    control: Control,
    /// How many bytes it may still send in this turn.
    credit: i64,
    listed: bool,
}

/// All flows of a link.
#[derive(Debug)]
pub(crate) struct Flows<T> {
    all: BTreeMap<u32, Flow<T>>,
    new: VecDeque<u32>,
    old: VecDeque<u32>,
    bytes: u64,
    len: usize,
}

impl<T> Flows<T> {
    pub(crate) fn new() -> Flows<T> {
        Flows { all: BTreeMap::new(), new: VecDeque::new(), old: VecDeque::new(), bytes: 0, len: 0 }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, rules: &FqCoDel, waiting: Waiting<T>) {
        let number = (waiting.flow % u64::from(rules.flows.max(1))) as u32;
        self.bytes += waiting.wire_bytes;
        self.len += 1;
        let flow = self.all.entry(number).or_insert_with(|| Flow {
            fifo: Fifo::new(),
            control: Control::default(),
            credit: 0,
            listed: false,
        });
        flow.fifo.push(waiting);
        if !flow.listed {
            flow.listed = true;
            flow.credit = rules.quantum_bytes.into();
            self.new.push_back(number);
        }
    }

    /// Drops the oldest packet of the flow that has the most bytes waiting.
    pub(crate) fn drop_from_longest(&mut self) -> Option<Waiting<T>> {
        // Of equals the first: the order of numbers is as good as any, and always the same.
        let most = self.all.values().map(|flow| flow.fifo.bytes()).max()?;
        let longest = self.all.values_mut().find(|flow| flow.fifo.bytes() == most)?;
        let gone = longest.fifo.pop()?;
        self.bytes -= gone.wire_bytes;
        self.len -= 1;
        Some(gone)
    }

    pub(crate) fn pop(
        &mut self,
        rules: &FqCoDel,
        now: SimTime,
        dropped: &mut Vec<(Waiting<T>, Drop)>,
    ) -> Option<Waiting<T>> {
        loop {
            let from_new = !self.new.is_empty();
            let list = if from_new { &mut self.new } else { &mut self.old };
            let number = *list.front()?;
            let flow = self.all.get_mut(&number).expect("invariant: a listed flow exists");
            if flow.credit <= 0 {
                flow.credit += i64::from(rules.quantum_bytes.max(1));
                list.pop_front();
                self.old.push_back(number);
                continue;
            }
            let gone = dropped.len();
            let next = flow.control.pop(&rules.codel, &mut flow.fifo, now, dropped);
            for (dropped, _) in &dropped[gone..] {
                self.bytes -= dropped.wire_bytes;
                self.len -= 1;
            }
            if let Some(next) = next {
                flow.credit -= next.wire_bytes as i64;
                self.bytes -= next.wire_bytes;
                self.len -= 1;
                return Some(next);
            }
            list.pop_front();
            if from_new && !self.old.is_empty() {
                // It must not come again and again as a new flow.
                self.old.push_back(number);
            } else {
                flow.listed = false;
            }
        }
    }

    /// Takes everything out, flow by flow.
    pub(crate) fn drain(&mut self) -> Vec<Waiting<T>> {
        let mut all = Vec::with_capacity(self.len);
        for flow in self.all.values_mut() {
            all.extend(std::iter::from_fn(|| flow.fifo.pop()));
        }
        *self = Flows::new();
        all
    }
}
