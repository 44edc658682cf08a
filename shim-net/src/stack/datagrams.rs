//! Datagrams that wait to be read, and which of them are read as one (`UDP_GRO`).
//!
//! Owns [`Datagrams`]. Must not know sockets or links. Invariant: what is joined came from one sender with the same
//! bits of ECN, and all of its parts but the last are equally long, so that the reader can take it apart again.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use shim_runtime::clock::SimTime;

use super::buffer::Sink;

/// A datagram, or a batch of them.
#[derive(Clone)]
pub(crate) struct Datagram {
    first: Bytes,
    /// What was joined to it.
    more: Vec<Bytes>,
    /// Whether nothing can be joined any more, because the last part is a short one.
    ended: bool,
    len: usize,
    at: SimTime,
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
    pub(crate) ecn: u8,
}

/// How a datagram came, as far as it decides what it is joined to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Joining {
    /// It stands alone: the socket did not ask, or loopback brought it by itself.
    Never,
    /// By a network card, which joins what it finds at one moment.
    SameMoment,
    /// On loopback, as a part of what one call sent.
    Always,
}

/// As Linux' `UDP_GRO_CNT_MAX`.
const PARTS_MAX: usize = 64;
/// What is joined stays below this, headers included, as Linux' `gso_max_size`.
const BATCH_BYTES_MAX: usize = 65_536;
/// Link, IPv4 and UDP.
const HEADER_BYTES: usize = 42;
/// What a datagram costs in the receive buffer beside its data.
const OVERHEAD: usize = 256;

/// Whether a batch of `bytes` stays one: of a longer one each part goes by itself.
pub(crate) fn fits_a_batch(bytes: usize) -> bool {
    bytes + HEADER_BYTES < BATCH_BYTES_MAX
}

impl Datagram {
    /// A datagram that came at `at`.
    pub(crate) fn new(data: Bytes, from: SocketAddr, to: IpAddr, ecn: u8, at: SimTime) -> Datagram {
        Datagram { len: data.len(), first: data, more: Vec::new(), ended: false, at, from, to, ecn }
    }

    /// How many bytes there are in all.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How long each part is but the last, where there are several.
    pub(crate) fn segment_size(&self) -> Option<u16> {
        (!self.more.is_empty()).then_some(self.first.len() as u16)
    }

    /// Copies out what there is room for; returns how much.
    pub(crate) fn copy(&self, sink: &mut impl Sink) -> usize {
        let mut copied = sink.take(&self.first);
        for part in &self.more {
            copied += sink.take(part);
        }
        copied
    }

    fn cost(&self) -> usize {
        self.len + OVERHEAD * (1 + self.more.len())
    }

    /// Whether `next` is read together with this.
    fn takes(&self, next: &Datagram, joining: Joining) -> bool {
        let same = (self.from, self.to, self.ecn) == (next.from, next.to, next.ecn);
        let moment = joining == Joining::Always || (joining == Joining::SameMoment && self.at == next.at);
        same && moment
            && !self.ended
            && (1..=self.first.len()).contains(&next.len)
            && (joining == Joining::Always || self.more.len() + 1 < PARTS_MAX)
            && fits_a_batch(self.len + next.len)
    }
}

/// The queue of a socket.
#[derive(Default)]
pub(crate) struct Datagrams {
    queue: VecDeque<Datagram>,
    bytes: usize,
}

impl Datagrams {
    /// How much of the receive buffer is taken, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is read next.
    pub(crate) fn front(&self) -> Option<&Datagram> {
        self.queue.front()
    }

    /// Takes what is read next.
    pub(crate) fn pop(&mut self) {
        if let Some(datagram) = self.queue.pop_front() {
            self.bytes -= datagram.cost();
        }
    }

    /// Adds one, within `limit` bytes; false where it is dropped. One is always taken, as Linux does, however small
    /// the buffer is.
    pub(crate) fn push(&mut self, datagram: Datagram, joining: Joining, limit: usize) -> bool {
        if self.bytes > 0 && self.bytes + datagram.cost() > limit {
            return false;
        }
        self.bytes += datagram.cost();
        match self.queue.back_mut().filter(|last| last.takes(&datagram, joining)) {
            Some(last) => {
                last.ended = datagram.len < last.first.len();
                last.len += datagram.len;
                last.more.push(datagram.first);
            }
            None => self.queue.push_back(datagram),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(len: usize, ecn: u8, millis: u64) -> Datagram {
        let from = SocketAddr::from(([10, 0, 0, 1], 9));
        Datagram::new(vec![1; len].into(), from, from.ip(), ecn, SimTime(millis * 1_000_000))
    }

    fn batches(datagrams: Vec<(Datagram, Joining)>) -> Vec<(usize, Option<u16>)> {
        let mut queue = Datagrams::default();
        for (datagram, joining) in datagrams {
            assert!(queue.push(datagram, joining, 1 << 20));
        }
        let mut found = Vec::new();
        while let Some(front) = queue.front() {
            found.push((front.len(), front.segment_size()));
            queue.pop();
        }
        assert_eq!(queue.bytes(), 0);
        found
    }

    #[test]
    fn equal_ones_are_joined_and_a_short_one_ends_it() {
        let sizes = [100, 100, 60, 60, 100];
        let all = sizes.map(|len| (datagram(len, 0, 1), Joining::SameMoment)).into();
        assert_eq!(batches(all), [(260, Some(100)), (60, None), (100, None)]);
    }

    #[test]
    fn what_differs_stands_alone() {
        let all = vec![
            (datagram(100, 0, 1), Joining::SameMoment),
            (datagram(100, 3, 1), Joining::SameMoment),
            (datagram(100, 3, 2), Joining::SameMoment),
            (datagram(100, 3, 2), Joining::Never),
            (datagram(0, 3, 2), Joining::SameMoment),
        ];
        assert_eq!(batches(all), [(100, None), (100, None), (100, None), (100, None), (0, None)]);
    }

    #[test]
    fn batches_are_bounded() {
        let all = (0..65).map(|_| (datagram(10, 0, 1), Joining::SameMoment)).collect();
        assert_eq!(batches(all), [(640, Some(10)), (10, None)]);
    }

    #[test]
    fn a_full_buffer_drops() {
        let mut queue = Datagrams::default();
        assert!(queue.push(datagram(5000, 0, 1), Joining::Never, 1000));
        assert!(!queue.push(datagram(1, 0, 1), Joining::Never, 1000));
    }
}
