//! The event queue: everything that will happen, ordered by `(at, seq)`.
//!
//! Owns the pending events and their order. Must not know what an event means. Invariant: two events due
//! at one time come out in the order in which they were put in, and a cancelled event is gone at once.
//!
//! An indexed 4-ary heap: the heap holds `(at, seq, slot)`, each slot knows its place in the heap, so
//! that cancelling is `O(log n)` and leaves nothing behind.

use crate::clock::SimTime;

/// Names a pending event. Stale names (of events fired or cancelled) are recognised, never reused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct EventId {
    slot: u32,
    generation: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    at: SimTime,
    seq: u64,
    slot: u32,
}

impl Entry {
    fn key(&self) -> (SimTime, u64) {
        (self.at, self.seq)
    }
}

struct Slot<E> {
    generation: u32,
    place: u32,
    event: Option<E>,
}

/// A priority queue of events of type `E`.
pub struct Queue<E> {
    heap: Vec<Entry>,
    slots: Vec<Slot<E>>,
    free: Vec<u32>,
    seq: u64,
}

const ARITY: usize = 4;

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { heap: Vec::new(), slots: Vec::new(), free: Vec::new(), seq: 0 }
    }
}

impl<E> Queue<E> {
    /// Puts in `event`, due at `at`.
    pub fn push(&mut self, at: SimTime, event: E) -> EventId {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(Slot { generation: 0, place: 0, event: None });
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[slot as usize].event = Some(event);
        let entry = Entry { at, seq: self.seq, slot };
        self.seq += 1;
        self.heap.push(entry);
        self.sift_up(self.heap.len() - 1);
        EventId { slot, generation: self.slots[slot as usize].generation }
    }

    /// Takes out the event named `id`; `None` where it has fired or was cancelled.
    pub fn cancel(&mut self, id: EventId) -> Option<E> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation != id.generation || slot.event.is_none() {
            return None;
        }
        let place = slot.place as usize;
        self.remove_at(place).map(|(_, _, event)| event)
    }

    /// The event named `id`, while it is pending.
    pub fn event_mut(&mut self, id: EventId) -> Option<&mut E> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation { slot.event.as_mut() } else { None }
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<SimTime> {
        self.heap.first().map(|entry| entry.at)
    }

    /// Takes out the next event if it is due at `now` or before; with its time and its number.
    pub fn pop_due(&mut self, now: SimTime) -> Option<(SimTime, u64, E)> {
        if self.heap.first()?.at > now {
            return None;
        }
        self.remove_at(0)
    }

    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The pending events in no particular order, with their times.
    pub fn iter(&self) -> impl Iterator<Item = (SimTime, &E)> {
        self.heap
            .iter()
            .filter_map(|entry| self.slots[entry.slot as usize].event.as_ref().map(|event| (entry.at, event)))
    }

    fn remove_at(&mut self, place: usize) -> Option<(SimTime, u64, E)> {
        let entry = self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.slots[self.heap[place].slot as usize].place = place as u32;
            self.sift_down(place);
            self.sift_up(place);
        }
        let slot = &mut self.slots[entry.slot as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(entry.slot);
        slot.event.take().map(|event| (entry.at, entry.seq, event))
    }

    fn sift_up(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent].key() <= entry.key() {
                break;
            }
            self.settle(place, self.heap[parent]);
            place = parent;
        }
        self.settle(place, entry);
    }

    fn sift_down(&mut self, mut place: usize) {
        let entry = self.heap[place];
        loop {
            let first = place * ARITY + 1;
            let last = (first + ARITY).min(self.heap.len());
            let Some(least) = (first..last).min_by_key(|&child| self.heap[child].key()) else { break };
            if entry.key() <= self.heap[least].key() {
                break;
            }
            self.settle(place, self.heap[least]);
            place = least;
        }
        self.settle(place, entry);
    }

    fn settle(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.slots[entry.slot as usize].place = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn equal_times_come_out_in_order_of_arrival() {
        let mut queue = Queue::default();
        for name in 0..100 {
            queue.push(SimTime(7), name);
        }
        let order: Vec<i32> =
            std::iter::from_fn(|| queue.pop_due(SimTime(7))).map(|(_, _, name)| name).collect();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_comes_out_before_its_time() {
        let mut queue = Queue::default();
        queue.push(SimTime(5), ());
        assert!(queue.pop_due(SimTime(4)).is_none());
        assert!(queue.pop_due(SimTime(5)).is_some());
    }

    /// Random pushes, cancels and pops agree with an ordered map.
    #[test]
    fn agrees_with_a_model() {
        let mut state = 1u64;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut queue = Queue::default();
        let mut model = BTreeMap::new();
        let mut ids = Vec::new();
        for seq in 0..20_000u64 {
            match draw(4) {
                0 | 1 => {
                    let at = SimTime(draw(500));
                    let id = queue.push(at, seq);
                    model.insert((at, queue.seq - 1), (id, seq));
                    ids.push((id, (at, queue.seq - 1)));
                }
                2 if !ids.is_empty() => {
                    let (id, key) = ids.swap_remove(draw(ids.len() as u64) as usize);
                    assert_eq!(queue.cancel(id), model.remove(&key).map(|(_, seq)| seq));
                    assert_eq!(queue.cancel(id), None);
                }
                _ => {
                    let expected = model.pop_first();
                    let got = queue.pop_due(SimTime::MAX);
                    assert_eq!(
                        got.map(|(at, _, seq)| (at, seq)),
                        expected.map(|((at, _), (_, seq))| (at, seq))
                    );
                }
            }
            assert_eq!(queue.len(), model.len());
            assert_eq!(queue.next_at(), model.keys().next().map(|(at, _)| *at));
        }
    }
}
