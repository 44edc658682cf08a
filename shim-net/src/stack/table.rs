//! The tables of a stack: sockets by number, owners of ports, connections by their four numbers.
//!
//! Owns [`Table`], [`Ports`] and `FixedMap`. Must not know what a socket does. Invariants: a socket's
//! number is never used again; a hash map is only looked into, never walked.

use std::collections::BTreeSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, SocketAddr};

use super::socket::{Core, Domain, Inner, Kind, Socket, SocketId};
use crate::error::{Errno, Result};
use crate::packet::ip_bits;

/// A hash map with a fixed, fast hash.
#[expect(clippy::disallowed_types, reason = "its hash is fixed, and it is never walked")]
pub(crate) type FixedMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<FixedHasher>>;

/// Multiply and rotate, as rustc's own tables.
#[derive(Default)]
pub(crate) struct FixedHasher(u64);

impl FixedHasher {
    fn mix(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.mix(u64::from(*byte)));
    }

    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }

    fn write_u128(&mut self, value: u128) {
        self.mix(value as u64);
        self.mix((value >> 64) as u64);
    }
}

/// The four numbers of a connection, seen from one end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Flow {
    local: u128,
    remote: u128,
    ports: u32,
}

impl Flow {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow {
            local: ip_bits(local.ip()),
            remote: ip_bits(remote.ip()),
            ports: u32::from(local.port()) << 16 | u32::from(remote.port()),
        }
    }

    /// A number that spreads flows over the members of a `SO_REUSEPORT` group.
    pub(crate) fn spread(self) -> u64 {
        let mut hasher = FixedHasher::default();
        std::hash::Hash::hash(&self, &mut hasher);
        hasher.finish() >> 7
    }
}

struct Slot {
    generation: u32,
    socket: Option<Box<Socket>>,
}

/// The sockets of a node.
pub(crate) struct Table {
    node: u32,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Table {
    pub(crate) fn new(node: u32) -> Table {
        Table { node, slots: Vec::new(), free: Vec::new() }
    }

    /// The number of the node.
    pub(crate) fn node(&self) -> u32 {
        self.node
    }

    /// Makes a socket.
    pub(crate) fn insert(&mut self, domain: Domain, kind: Kind, inner: Inner) -> SocketId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, socket: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        let id = SocketId::new(self.node, index, slot.generation);
        slot.socket = Some(Box::new(Socket { core: Core::new(id, domain, kind), inner }));
        id
    }

    /// Takes a socket out; its number is thereby used up.
    pub(crate) fn remove(&mut self, index: u32) -> Option<Box<Socket>> {
        let slot = self.slots.get_mut(index as usize)?;
        let socket = slot.socket.take()?;
        slot.generation += 1;
        self.free.push(index);
        Some(socket)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Socket> {
        self.slots.get(index as usize)?.socket.as_deref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Socket> {
        self.slots.get_mut(index as usize)?.socket.as_deref_mut()
    }

    /// The socket that an application calls `id`.
    pub(crate) fn find(&self, id: SocketId) -> Result<&Socket> {
        match self.get(id.index()) {
            Some(socket) if socket.core.id == id && !socket.core.detached => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    pub(crate) fn find_mut(&mut self, id: SocketId) -> Result<&mut Socket> {
        match self.get_mut(id.index()) {
            Some(socket) if socket.core.id == id && !socket.core.detached => Ok(socket),
            _ => Err(Errno::EBADF),
        }
    }

    /// All sockets in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.slots.iter().filter_map(|slot| slot.socket.as_deref())
    }

    /// All open sockets.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket> {
        self.slots.iter_mut().filter_map(|slot| slot.socket.as_deref_mut())
    }

    /// Takes all sockets out without a word.
    pub(crate) fn drain(&mut self) -> Vec<Socket> {
        let indices = 0..self.slots.len() as u32;
        indices.filter_map(|index| self.remove(index)).map(|socket| *socket).collect()
    }
}

/// The first of the ports from which the kernel chooses.
pub(crate) const EPHEMERAL_FIRST: u16 = 32_768;
const EPHEMERAL_COUNT: u32 = 28_232;

/// Who owns a port.
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) owners: BTreeSet<u32>,
    /// Whether `connect` chose the port for each owner: then others may share it for other peers.
    pub(crate) shared: bool,
}

/// The ports of one protocol.
pub(crate) struct Ports {
    buckets: FixedMap<u16, Bucket>,
    next: u32,
}

impl Ports {
    /// No port has an owner; the search for free ones begins at a place that differs between nodes
    /// and protocols, so that nothing is met by its number alone.
    pub(crate) fn new(node: u32, salt: u32) -> Ports {
        let next = node.wrapping_mul(977).wrapping_add(salt) % EPHEMERAL_COUNT;
        Ports { buckets: FixedMap::default(), next }
    }

    pub(crate) fn bucket(&self, port: u16) -> Option<&Bucket> {
        self.buckets.get(&port)
    }

    /// Makes `index` an owner of `port`.
    pub(crate) fn add(&mut self, port: u16, index: u32, shared: bool) {
        let bucket = self.buckets.entry(port).or_insert_with(|| Bucket { shared, ..Bucket::default() });
        bucket.shared &= shared;
        bucket.owners.insert(index);
    }

    pub(crate) fn remove(&mut self, port: u16, index: u32) {
        if let Some(bucket) = self.buckets.get_mut(&port) {
            bucket.owners.remove(&index);
            if bucket.owners.is_empty() {
                self.buckets.remove(&port);
            }
        }
    }

    /// The next ephemeral port that `free` agrees to. One walk over the range at most; the next search
    /// goes on where this one ended, so that it is short.
    pub(crate) fn choose(&mut self, mut free: impl FnMut(u16, Option<&Bucket>) -> bool) -> Option<u16> {
        for _ in 0..EPHEMERAL_COUNT {
            let port = EPHEMERAL_FIRST + self.next as u16;
            self.next = (self.next + 1) % EPHEMERAL_COUNT;
            if free(port, self.buckets.get(&port)) {
                return Some(port);
            }
        }
        None
    }

    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
    }
}

/// Whether two local addresses of one port would both get some packet.
pub(crate) fn overlap(a: (IpAddr, bool), b: (IpAddr, bool)) -> bool {
    let covers = |(wild, only_v6): (IpAddr, bool), other: IpAddr| match wild {
        IpAddr::V4(_) => other.is_ipv4(),
        IpAddr::V6(_) => other.is_ipv6() || !only_v6,
    };
    a.0 == b.0 || (a.0.is_unspecified() && covers(a, b.0)) || (b.0.is_unspecified() && covers(b, a.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn wildcards_overlap_what_they_cover() {
        assert!(overlap((ip("0.0.0.0"), false), (ip("10.0.0.1"), false)));
        assert!(overlap((ip("::"), false), (ip("10.0.0.1"), false)));
        assert!(!overlap((ip("::"), true), (ip("10.0.0.1"), false)));
        assert!(overlap((ip("0.0.0.0"), false), (ip("::"), false)));
        assert!(!overlap((ip("0.0.0.0"), false), (ip("::"), true)));
        assert!(!overlap((ip("10.0.0.2"), false), (ip("10.0.0.1"), false)));
    }

    #[test]
    fn ports_run_out() {
        let mut ports = Ports::new(3, 2_048);
        for index in 0..EPHEMERAL_COUNT {
            let port = ports.choose(|_, bucket| bucket.is_none()).unwrap();
            ports.add(port, index, false);
        }
        assert_eq!(ports.choose(|_, bucket| bucket.is_none()), None);
        ports.remove(40_000, ports.bucket(40_000).unwrap().owners.first().copied().unwrap());
        assert_eq!(ports.choose(|_, bucket| bucket.is_none()), Some(40_000));
    }

    #[test]
    fn numbers_of_sockets_are_not_used_again() {
        let mut table = Table::new(5);
        let first = table.insert(Domain::Inet, Kind::Datagram, Inner::Udp(Default::default()));
        table.remove(first.index());
        let second = table.insert(Domain::Inet, Kind::Datagram, Inner::Udp(Default::default()));
        assert_eq!((first.index(), first.node()), (second.index(), 5));
        assert_ne!(first, second);
        assert!(table.find(first).is_err());
        assert!(table.find(second).is_ok());
    }
}
