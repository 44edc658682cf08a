//! Changes of names that are not durable yet.
//!
//! Owns their order and what takes them back. Must not know contents. Invariants: undoing every change, the
//! last first, gives the names of the last sync; an inode that a change took a name from lives until then.

use shim_runtime::rng::Stream;

use super::{Ino, Kind, Volume};
use crate::error::Result;
use crate::faults::{Journal, PowerLoss};

/// What a folder's map has under a name: nothing (the image decides), a whiteout, or an inode.
pub(super) type Slot = Option<Option<Ino>>;

/// A name before and after.
pub(super) struct Change {
    pub(super) folder: Ino,
    pub(super) name: Vec<u8>,
    pub(super) old: Slot,
    pub(super) new: Slot,
}

/// Changes that happen together or not at all.
pub(super) type Group = Vec<Change>;

/// From this many groups on the oldest half counts as written back.
const GROUPS_MAX: usize = 200_000;

impl Volume {
    /// Notes what was done; the inodes that lost a name are kept until it is durable.
    pub(super) fn note(&mut self, group: Group) {
        for change in &group {
            self.pin(change.old, 1);
        }
        self.journal.push(group);
        if self.journal.len() > GROUPS_MAX {
            let old: Vec<Group> = self.journal.drain(..GROUPS_MAX / 2).collect();
            self.forget(old);
        }
    }

    fn pin(&mut self, slot: Slot, by: i32) {
        if let Some(Some(ino)) = slot
            && let Some(inode) = self.inodes.get_mut(&ino)
        {
            inode.pins = inode.pins.saturating_add_signed(by);
        }
    }

    /// `groups` are durable.
    fn forget(&mut self, groups: Vec<Group>) {
        for change in groups.into_iter().flatten() {
            self.pin(change.old, -1);
            if let Some(Some(ino)) = change.old {
                self.collect(ino);
            }
        }
    }

    /// `ino` was synced: the names that are durable by that.
    pub(crate) fn commit_names(&mut self, ino: Ino) {
        let groups = match self.switches.journal {
            Journal::Ordered => std::mem::take(&mut self.journal),
            Journal::PerFolder => self.take_groups_of(ino),
        };
        self.forget(groups);
    }

    /// The changes in `folder`, and the earlier ones of the same names elsewhere.
    fn take_groups_of(&mut self, folder: Ino) -> Vec<Group> {
        let mut names: Vec<(Ino, Vec<u8>)> = Vec::new();
        let (mut taken, mut kept) = (Vec::new(), Vec::new());
        for group in std::mem::take(&mut self.journal).into_iter().rev() {
            let touches = |change: &Change| {
                change.folder == folder
                    || names.iter().any(|(of, name)| *of == change.folder && *name == change.name)
            };
            if group.iter().any(touches) {
                names.extend(group.iter().map(|change| (change.folder, change.name.clone())));
                taken.push(group);
            } else {
                kept.push(group);
            }
        }
        kept.reverse();
        self.journal = kept;
        taken
    }

    /// Everything is durable.
    pub(crate) fn sync_all(&mut self) -> Result<()> {
        for inode in self.inodes.values_mut() {
            if let Kind::File(content) = &mut inode.kind
                && content.is_dirty()
            {
                content.sync()?;
            }
        }
        let groups = std::mem::take(&mut self.journal);
        self.forget(groups);
        Ok(())
    }

    /// The machine lost power: takes back what was not durable; how many changes are gone.
    pub(super) fn lose_names(&mut self, how: PowerLoss, draw: &mut Stream) -> u64 {
        let mut groups = std::mem::take(&mut self.journal);
        let kept = match how {
            PowerLoss::Nothing => groups.len(),
            PowerLoss::Unsynced => 0,
            PowerLoss::Torn => draw.between(0, groups.len() as u64) as usize,
        };
        let undone = groups.split_off(kept);
        let count = undone.len() as u64;
        for change in undone.into_iter().rev().flat_map(|group| group.into_iter().rev()) {
            self.undo(change);
        }
        self.forget(groups);
        count
    }

    fn undo(&mut self, change: Change) {
        let Change { folder, name, old, new } = change;
        self.pin(old, -1);
        let Some(Kind::Folder(entries)) = self.inodes.get_mut(&folder).map(|inode| &mut inode.kind) else {
            return;
        };
        match old {
            Some(slot) => entries.names.insert(name.clone(), slot),
            None => entries.names.remove(&name),
        };
        if let Some(Some(ino)) = new {
            self.unlinked(ino);
        }
        if let Some(Some(ino)) = old {
            self.linked(ino, folder, &name);
        }
    }
}
