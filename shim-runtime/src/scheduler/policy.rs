//! Which ready task goes next.
//!
//! Owns the ready tasks. Must not know what a task is. Invariant: a task that was ready when a round began
//! is polled in that round, so that none starves.
//!
//! Ready tasks stand in two groups: this round and the next. A task that another woke joins either, by the
//! toss of a coin; one that woke itself (it yielded, or its budget was spent) joins the next, and what it woke
//! before it yielded joins this one. So chains of wakes may run ahead of a slow task, a yield really gives way,
//! and no task waits for ever.

use std::collections::VecDeque;

use crate::config::Policy;
use crate::rng::Stream;
use crate::task::TaskRef;

/// Where a task that becomes ready may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this round or the next, by the toss of a coin.
    Any,
    /// Before the task that woke it and then yielded: in this round.
    Before,
    /// Behind: it woke itself.
    Behind,
}

/// The ready tasks.
pub(crate) struct Ready {
    policy: Policy,
    round: Vec<TaskRef>,
    next: Vec<TaskRef>,
    fifo: VecDeque<TaskRef>,
}

impl Ready {
    pub(crate) fn new(policy: Policy) -> Ready {
        Ready { policy, round: Vec::new(), next: Vec::new(), fifo: VecDeque::new() }
    }

    /// Enters what was woken since `last` was polled.
    pub(crate) fn push_woken(
        &mut self,
        woken: &mut Vec<TaskRef>,
        last: Option<TaskRef>,
        stream: &mut Stream,
    ) {
        if let [task] = woken[..] {
            let place = if last == Some(task) { Place::Behind } else { Place::Any };
            self.push(task, place, stream);
            return woken.clear();
        }
        let yielded = last.filter(|last| woken.contains(last));
        let place = if yielded.is_some() { Place::Before } else { Place::Any };
        for task in woken.drain(..).filter(|task| Some(*task) != yielded) {
            self.push(task, place, stream);
        }
        if let Some(task) = yielded {
            self.push(task, Place::Behind, stream);
        }
    }

    fn push(&mut self, task: TaskRef, place: Place, stream: &mut Stream) {
        match self.policy {
            Policy::Fifo => self.fifo.push_back(task),
            Policy::Random if place == Place::Behind => self.next.push(task),
            Policy::Random if place == Place::Before => self.round.push(task),
            Policy::Random if self.round.is_empty() => self.next.push(task),
            Policy::Random if stream.next_u32() & 1 == 0 => self.round.push(task),
            Policy::Random => self.next.push(task),
        }
    }

    pub(crate) fn pick(&mut self, stream: &mut Stream) -> Option<TaskRef> {
        if self.policy == Policy::Fifo {
            return self.fifo.pop_front();
        }
        if self.round.is_empty() {
            std::mem::swap(&mut self.round, &mut self.next);
        }
        match self.round.len() {
            0 => None,
            1 => self.round.pop(),
            many => Some(self.round.swap_remove(stream.below(many as u32) as usize)),
        }
    }

    /// All that are ready, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = TaskRef> {
        self.round.iter().chain(&self.next).chain(&self.fifo).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64) -> TaskRef {
        TaskRef { slot: id as u32, id }
    }

    #[test]
    fn a_task_that_yields_lets_the_others_go_first() {
        for seed in 0..50 {
            let mut stream = Stream::new(seed, "schedule", 0);
            let mut ready = Ready::new(Policy::Random);
            ready.push(task(1), Place::Any, &mut stream);
            ready.push(task(2), Place::Any, &mut stream);
            for _ in 0..10 {
                let first = ready.pick(&mut stream).unwrap();
                ready.push(first, Place::Behind, &mut stream);
                let second = ready.pick(&mut stream).unwrap();
                assert_ne!(first, second, "seed {seed}");
                ready.push(second, Place::Behind, &mut stream);
            }
        }
    }

    #[test]
    fn what_a_task_woke_before_it_yielded_goes_first() {
        for seed in 0..50 {
            let mut stream = Stream::new(seed, "schedule", 0);
            let mut ready = Ready::new(Policy::Random);
            ready.push(task(2), Place::Before, &mut stream);
            ready.push(task(1), Place::Behind, &mut stream);
            assert_eq!(ready.pick(&mut stream), Some(task(2)), "seed {seed}");
        }
    }

    #[test]
    fn every_order_of_three_occurs() {
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut stream = Stream::new(seed, "schedule", 0);
            let mut ready = Ready::new(Policy::Random);
            (1..=3).for_each(|id| ready.push(task(id), Place::Any, &mut stream));
            let order: Vec<u64> = std::iter::from_fn(|| ready.pick(&mut stream)).map(|t| t.id).collect();
            orders.insert(order);
        }
        assert_eq!(orders.len(), 6);
    }
}
