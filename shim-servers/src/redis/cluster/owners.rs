//! The owner of each slot, and the slots of each owner.
//!
//! Owns both views of the same facts. Must not know nodes beyond their names. Invariant: the two views agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::NodeId;
use crate::redis::keyspace::SLOTS;

/// Who has which slots.
#[derive(Debug)]
pub(super) struct Owners {
    by_slot: Vec<Option<NodeId>>,
    /// Ranges that include both ends, of owners that have some.
    ranges: BTreeMap<NodeId, Vec<(u16, u16)>>,
}

impl Default for Owners {
    fn default() -> Owners {
        Owners { by_slot: vec![None; usize::from(SLOTS)], ranges: BTreeMap::new() }
    }
}

impl Owners {
    pub(super) fn of(&self, slot: u16) -> Option<&NodeId> {
        self.by_slot.get(usize::from(slot))?.as_ref()
    }

    /// Gives slots to an owner, or to nobody.
    pub(super) fn assign(&mut self, slots: impl IntoIterator<Item = u16>, owner: Option<&NodeId>) {
        for slot in slots {
            if let Some(place) = self.by_slot.get_mut(usize::from(slot)) {
                *place = owner.cloned();
            }
        }
        self.collect();
    }

    /// Gives all that one has to another one, or to nobody.
    pub(super) fn hand_over(&mut self, from: &NodeId, to: Option<&NodeId>) {
        let slots: Vec<u16> = self.slots(from).collect();
        if !slots.is_empty() {
            self.assign(slots, to);
        }
    }

    pub(super) fn ranges(&self, owner: &NodeId) -> &[(u16, u16)] {
        self.ranges.get(owner).map_or(&[], Vec::as_slice)
    }

    /// The slots of an owner, one by one.
    pub(super) fn slots(&self, owner: &NodeId) -> impl Iterator<Item = u16> + '_ {
        self.ranges(owner).iter().flat_map(|(first, last)| *first..=*last)
    }

    pub(super) fn count(&self, owner: &NodeId) -> usize {
        self.ranges(owner).iter().map(|(first, last)| usize::from(last - first) + 1).sum()
    }

    /// Those that have slots, with them.
    pub(super) fn all(&self) -> impl Iterator<Item = (&NodeId, &[(u16, u16)])> {
        self.ranges.iter().map(|(owner, ranges)| (owner, ranges.as_slice()))
    }

    fn collect(&mut self) {
        self.ranges.clear();
        let mut slot = 0;
        while slot < SLOTS {
            let first = slot;
            let owner = self.by_slot[usize::from(slot)].clone();
            while slot < SLOTS && is_same(&self.by_slot[usize::from(slot)], &owner) {
                slot += 1;
            }
            if let Some(owner) = owner {
                self.ranges.entry(owner).or_default().push((first, slot - 1));
            }
        }
    }
}

fn is_same(first: &Option<NodeId>, second: &Option<NodeId>) -> bool {
    match (first, second) {
        (Some(first), Some(second)) => Arc::ptr_eq(first, second) || first == second,
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_agree() {
        let (first, second): (NodeId, NodeId) = ("a".into(), "b".into());
        let mut owners = Owners::default();
        owners.assign(0..100, Some(&first));
        owners.assign(10..20, Some(&second));
        assert_eq!(owners.ranges(&first), [(0, 9), (20, 99)]);
        assert_eq!((owners.count(&first), owners.count(&second)), (90, 10));
        owners.hand_over(&second, None);
        assert_eq!((owners.of(10), owners.of(9)), (None, Some(&first)));
        assert_eq!(owners.all().count(), 1);
    }
}
