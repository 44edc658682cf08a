//! All volumes of a world, and what is open: the device that the engine knows.
//!
//! Owns descriptions and descriptors. Must not know libc's structures. Invariants: a descriptor is marked
//! exactly while this has it; a description of a process that is dead can do nothing but be closed.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;

use shim_runtime::device::{Device, DeviceContext, NodeChange};
use shim_runtime::node::NodeId;
use shim_runtime::trace::Kind as Traced;

use crate::error::{Errno, Result, refuse};
use crate::faults::{DiskOp, Switches, Verdict};
use crate::host::machine;
use crate::host::marks;
use crate::standard::Standard;
use crate::tree::{Ino, Volume};

/// How many files of memory stay although nobody has them open.
const KEPT_FILES: usize = 32;

/// The number of a description: what `open(2)` makes, and `dup(2)` shares.
pub(crate) type DescriptionId = u64;

/// An open file.
pub(crate) struct Description {
    pub(crate) node: u32,
    /// Which start of the node it belongs to.
    starts: u32,
    pub(crate) ino: Ino,
    /// The flags of `open(2)`.
    pub(crate) flags: i32,
    descriptors: u32,
}

/// A lock of a whole file (`flock`) or a range (`F_OFD_SETLK`), which a description has.
pub(crate) struct Lock {
    pub(crate) owner: DescriptionId,
    pub(crate) exclusive: bool,
    pub(crate) whole: bool,
    pub(crate) range: (u64, u64),
}

/// One node's disk.
pub(crate) struct Disk {
    pub(crate) volume: Volume,
    is_alive: bool,
    /// How often the node was started.
    pub(crate) starts: u32,
    pub(crate) locks: BTreeMap<Ino, Vec<Lock>>,
    pub(crate) standard: Standard,
}

/// The disks of a run.
pub(crate) struct Disks {
    disks: BTreeMap<u32, Disk>,
    lives: BTreeMap<u32, (bool, u32)>,
    pub(crate) defaults: Switches,
    descriptors: BTreeMap<RawFd, DescriptionId>,
    descriptions: BTreeMap<DescriptionId, Description>,
    next: DescriptionId,
    kept: VecDeque<(u32, Ino)>,
    /// Shared mappings that can be written: where, how long, and of what.
    pub(crate) mappings: BTreeMap<usize, (usize, u32, Ino)>,
    /// The kernel's lock waits: everybody who waits for one, to be woken when one is released.
    pub(crate) lock_waiters: Vec<std::task::Waker>,
}

impl Default for Disks {
    fn default() -> Self {
        let mut defaults = Switches::default();
        defaults.pass_through.extend(machine::passed_through_by_environment());
        Disks {
            disks: BTreeMap::new(),
            lives: BTreeMap::new(),
            defaults,
            descriptors: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            next: 1,
            kept: VecDeque::new(),
            mappings: BTreeMap::new(),
            lock_waiters: Vec::new(),
        }
    }
}

impl Disks {
    /// The disk of `node`, made at its first use.
    pub(crate) fn disk(&mut self, node: u32, cx: &DeviceContext<'_>) -> &mut Disk {
        let (is_alive, starts) = self.lives.get(&node).copied().unwrap_or((true, 0));
        let defaults = &self.defaults;
        self.disks.entry(node).or_insert_with(|| Disk {
            volume: Volume::new(defaults.clone(), cx.wall_ns() as i64),
            is_alive,
            starts,
            locks: BTreeMap::new(),
            standard: Standard::default(),
        })
    }

    /// Whether the disk of `node` has been used.
    pub(crate) fn has_disk(&self, node: u32) -> bool {
        self.disks.contains_key(&node)
    }

    /// The volume of `node`, for one of its calls.
    ///
    /// # Errors
    /// `EIO` where its process is dead.
    pub(crate) fn volume(&mut self, node: u32, cx: &DeviceContext<'_>) -> Result<&mut Volume> {
        let disk = self.disk(node, cx);
        if disk.is_alive { Ok(&mut disk.volume) } else { refuse(libc::EIO) }
    }

    /// What an open descriptor is.
    pub(crate) fn find(&self, fd: RawFd) -> Option<(DescriptionId, &Description)> {
        let id = *self.descriptors.get(&fd)?;
        Some((id, self.descriptions.get(&id)?))
    }

    /// What an open descriptor is, for one of its calls: node and inode.
    ///
    /// # Errors
    /// `EBADF`; `EIO` where the process that opened it is dead.
    pub(crate) fn open_file(&self, fd: RawFd) -> Result<(u32, Ino, i32)> {
        let (_, description) = self.find(fd).ok_or(Errno(libc::EBADF))?;
        let disk = self.disks.get(&description.node).ok_or(Errno(libc::EBADF))?;
        if !disk.is_alive || disk.starts != description.starts {
            return refuse(libc::EIO);
        }
        Ok((description.node, description.ino, description.flags))
    }

    /// Enters `fd`, which is new, as a description of `ino`.
    pub(crate) fn enter(&mut self, fd: RawFd, node: u32, ino: Ino, flags: i32) -> Result<()> {
        if !marks::set(fd, true) {
            machine::close(fd);
            return refuse(libc::EMFILE);
        }
        let id = self.next;
        self.next += 1;
        let disk = self.disks.get_mut(&node).expect("invariant: a disk with open files exists");
        disk.volume.opened(ino);
        let starts = disk.starts;
        self.descriptions.insert(id, Description { node, starts, ino, flags, descriptors: 1 });
        self.descriptors.insert(fd, id);
        Ok(())
    }

    /// `copy` is another descriptor of `fd`'s description.
    pub(crate) fn copied(&mut self, fd: RawFd, copy: RawFd) {
        let Some(id) = self.descriptors.get(&fd).copied() else { return };
        if marks::set(copy, true) {
            self.descriptors.insert(copy, id);
            self.descriptions.get_mut(&id).expect("invariant: it has a descriptor").descriptors += 1;
        }
    }

    /// `fd` is closed; the wakers of those who waited for its locks.
    pub(crate) fn closed(&mut self, fd: RawFd, wakes: &mut Vec<std::task::Waker>) {
        let Some(id) = self.descriptors.remove(&fd) else { return };
        marks::set(fd, false);
        let description = self.descriptions.get_mut(&id).expect("invariant: it has a descriptor");
        description.descriptors -= 1;
        if description.descriptors > 0 {
            return;
        }
        let Some(Description { node, ino, starts, .. }) = self.descriptions.remove(&id) else { return };
        let Some(disk) = self.disks.get_mut(&node) else { return };
        if let Some(locks) = disk.locks.get_mut(&ino) {
            locks.retain(|lock| lock.owner != id);
            if locks.is_empty() {
                disk.locks.remove(&ino);
            }
            wakes.append(&mut self.lock_waiters);
        }
        // What a dead process had open was closed when it died.
        if starts == disk.starts && disk.is_alive && disk.volume.closed(ino) {
            self.keep(node, ino);
        }
    }

    /// Keeps the file of memory of what was closed just now, and gives up that of another.
    fn keep(&mut self, node: u32, ino: Ino) {
        self.kept.retain(|kept| *kept != (node, ino));
        self.kept.push_back((node, ino));
        if self.kept.len() <= KEPT_FILES {
            return;
        }
        let Some((node, ino)) = self.kept.pop_front() else { return };
        let Some(disk) = self.disks.get_mut(&node) else { return };
        let volume = &mut disk.volume;
        if volume.inodes.contains_key(&ino)
            && !volume.is_open(ino)
            && let Ok(content) = volume.content(ino)
        {
            // One that cannot be read stays as it is.
            let _ = content.release();
        }
    }

    /// Whether a call of `node` could be slow or fail on purpose.
    pub(crate) fn concerns(&mut self, node: u32, op: DiskOp, cx: &DeviceContext<'_>) -> bool {
        self.disk(node, cx).volume.switches.concern(op)
    }

    /// How long a call of `node` takes, or whether it fails; into the trace.
    pub(crate) fn judge(
        &mut self,
        node: u32,
        op: DiskOp,
        cx: &mut DeviceContext<'_>,
        rule: fn(&mut Switches, DiskOp, &mut shim_runtime::rng::Stream) -> Verdict,
    ) -> Verdict {
        let disk = self.disk(node, cx);
        let verdict = rule(&mut disk.volume.switches, op, &mut cx.rng.fault);
        let what = u64::from(node) | (op as u64) << 32;
        match verdict {
            Verdict::Pass => {}
            Verdict::Wait(delay) => cx.record(Traced::Fault, what, delay.as_nanos() as u64),
            Verdict::Fail(errno) => cx.record(Traced::Fault, what, errno as u64),
        }
        verdict
    }

    /// The locks of a file.
    pub(crate) fn locks_of(&mut self, node: u32, ino: Ino) -> Option<&mut Vec<Lock>> {
        Some(self.disks.get_mut(&node)?.locks.entry(ino).or_default())
    }

    /// A sync of `ino` succeeded.
    pub(crate) fn synced(&mut self, node: u32, ino: Ino, cx: &DeviceContext<'_>) -> Result<()> {
        let volume = self.volume(node, cx)?;
        if let Ok(content) = volume.content(ino) {
            content.sync()?;
        }
        volume.commit_names(ino);
        volume.switches.stats.syncs += 1;
        Ok(())
    }

    fn process_died(&mut self, node: u32, wakes: &mut Vec<std::task::Waker>) {
        let Some(disk) = self.disks.get_mut(&node) else { return };
        let starts = disk.starts;
        disk.locks.clear();
        disk.standard.forget_input();
        wakes.append(&mut self.lock_waiters);
        let open = self.descriptions.values().filter(|it| it.node == node && it.starts == starts);
        for ino in open.map(|description| description.ino).collect::<Vec<_>>() {
            disk.volume.closed(ino);
        }
    }

    fn lose_power(&mut self, node: u32, cx: &mut DeviceContext<'_>) {
        let Some(disk) = self.disks.get_mut(&node) else { return };
        let how = disk.volume.switches.power_loss;
        let loss = disk.volume.lose_power(how, &mut cx.rng.fault);
        let stats = &mut disk.volume.switches.stats;
        stats.power_losses += 1;
        stats.names_lost += loss.names;
        stats.bytes_lost += loss.bytes;
        self.mappings.retain(|_, (_, of, _)| *of != node);
        cx.record(Traced::Fault, u64::from(node), loss.names << 40 ^ loss.bytes);
    }
}

impl Device for Disks {
    fn fire(&mut self, _: u64, _: &mut DeviceContext<'_>) {}

    fn node_changed(&mut self, node: NodeId, _: &str, change: NodeChange, cx: &mut DeviceContext<'_>) {
        let node = node.0;
        let (was_alive, mut starts) = self.lives.get(&node).copied().unwrap_or((false, 0));
        let is_alive = match change {
            NodeChange::Started => {
                starts += 1;
                true
            }
            NodeChange::ProcessDied => false,
            NodeChange::PoweredOff => {
                if was_alive {
                    self.process_died(node, cx.wakes);
                }
                self.lose_power(node, cx);
                false
            }
            NodeChange::Paused | NodeChange::Resumed => return,
        };
        if change == NodeChange::ProcessDied {
            self.process_died(node, cx.wakes);
        }
        self.lives.insert(node, (is_alive, starts));
        if let Some(disk) = self.disks.get_mut(&node) {
            (disk.is_alive, disk.starts) = (is_alive, starts);
        }
    }

    fn describe(&self, node: NodeId, out: &mut Vec<String>) {
        for (fd, id) in &self.descriptors {
            let Some(description) = self.descriptions.get(id).filter(|it| it.node == node.0) else {
                continue;
            };
            let waits = self.disks.get(&node.0).and_then(|disk| disk.locks.get(&description.ino));
            if waits.is_some() {
                out.push(format!("descriptor {fd}: inode {}, with locks", description.ino));
            }
        }
    }

    fn describe_event(&self, _: u64) -> String {
        String::new()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Drop for Disks {
    /// The world ended: what the application still has open becomes a plain descriptor of the kernel's.
    fn drop(&mut self) {
        for fd in self.descriptors.keys() {
            marks::set(*fd, false);
        }
    }
}
