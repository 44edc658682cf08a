//! The byte queues of a stream socket, and sets of sequence ranges.
//!
//! Owns [`SendBuffer`], [`ReceiveBuffer`] and [`Ranges`]. Must not know connections or time. Invariant:
//! data is copied once when it comes in from the application and once when it goes out to one; between,
//! everything shares the same `Bytes`.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};

/// A chunk at least this long is sent as it is; shorter ones are gathered into one segment.
const WHOLE_CHUNK: usize = 4096;

/// What the application has written and the peer has not acknowledged.
#[derive(Default)]
pub(crate) struct SendBuffer {
    chunks: VecDeque<Bytes>,
    base: u64,
    len: usize,
    /// Index and sequence number of the chunk read last: segments are mostly read in order.
    cursor: (usize, u64),
}

impl SendBuffer {
    /// An empty buffer whose first byte will have the number `base`.
    pub(crate) fn new(base: u64) -> SendBuffer {
        SendBuffer { base, cursor: (0, base), ..SendBuffer::default() }
    }

    /// The number after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.len as u64
    }

    /// How many bytes are held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies in up to `limit` bytes of `data`; returns how many.
    pub(crate) fn write(&mut self, data: &[IoSlice<'_>], limit: usize) -> usize {
        let chunk = gather(data, limit);
        let len = chunk.len();
        if len > 0 {
            self.chunks.push_back(chunk);
            self.len += len;
        }
        len
    }

    /// Bytes from number `seq` on, at most `limit` and at least one.
    pub(crate) fn read(&mut self, seq: u64, limit: usize) -> Bytes {
        debug_assert!(seq >= self.base && seq < self.end() && limit > 0, "invariant: a read of what is held");
        if seq < self.cursor.1 || self.cursor.0 >= self.chunks.len() {
            self.cursor = (0, self.base);
        }
        loop {
            let len = self.chunks[self.cursor.0].len() as u64;
            if seq < self.cursor.1 + len {
                break;
            }
            self.cursor = (self.cursor.0 + 1, self.cursor.1 + len);
        }
        let (index, start) = self.cursor;
        let chunk = &self.chunks[index];
        let offset = (seq - start) as usize;
        let rest = chunk.len() - offset;
        if rest >= limit || rest >= WHOLE_CHUNK || index + 1 == self.chunks.len() {
            return chunk.slice(offset..offset + rest.min(limit));
        }
        let limit = limit.min((self.end() - seq) as usize);
        let mut gathered = BytesMut::with_capacity(limit);
        gathered.extend_from_slice(&chunk[offset..]);
        for chunk in self.chunks.range(index + 1..) {
            let want = (limit - gathered.len()).min(chunk.len());
            gathered.extend_from_slice(&chunk[..want]);
            if gathered.len() == limit {
                break;
            }
        }
        gathered.freeze()
    }

    /// Lets go of everything before number `seq`.
    pub(crate) fn release(&mut self, seq: u64) {
        let mut gone = seq.min(self.end()).saturating_sub(self.base) as usize;
        self.len -= gone;
        self.base += gone as u64;
        while gone > 0 {
            let first = &mut self.chunks[0];
            if gone < first.len() {
                let _ = first.split_to(gone);
                break;
            }
            gone -= first.len();
            self.chunks.pop_front();
            self.cursor.0 = self.cursor.0.saturating_sub(1);
        }
        if self.cursor.0 == 0 || self.cursor.1 < self.base {
            self.cursor = (0, self.base);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = SendBuffer::new(self.end());
    }
}

/// Copies up to `limit` bytes of `data` into one piece.
pub(crate) fn gather(data: &[IoSlice<'_>], limit: usize) -> Bytes {
    if let [only] = data {
        return Bytes::copy_from_slice(&only[..only.len().min(limit)]);
    }
    let total = data.iter().map(|slice| slice.len()).sum::<usize>().min(limit);
    let mut gathered = BytesMut::with_capacity(total);
    for slice in data {
        let want = (total - gathered.len()).min(slice.len());
        gathered.extend_from_slice(&slice[..want]);
    }
    gathered.freeze()
}

/// What has arrived in order and the application has not read.
#[derive(Default)]
pub(crate) struct ReceiveBuffer {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl ReceiveBuffer {
    /// How many bytes are held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds `data` at the end.
    pub(crate) fn push(&mut self, data: Bytes) {
        self.len += data.len();
        self.chunks.push_back(data);
    }

    /// Copies out as much as `sink` takes, from the front; with `peek` the bytes stay.
    pub(crate) fn read(&mut self, sink: &mut impl Sink, peek: bool) -> usize {
        let mut total = 0;
        if peek {
            for chunk in &self.chunks {
                let taken = sink.take(chunk);
                total += taken;
                if taken < chunk.len() {
                    break;
                }
            }
            return total;
        }
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = sink.take(chunk);
            total += taken;
            if taken < chunk.len() {
                let _ = chunk.split_to(taken);
                break;
            }
            self.chunks.pop_front();
        }
        self.len -= total;
        total
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = ReceiveBuffer::default();
    }
}

/// Where received bytes are copied to.
pub(crate) trait Sink {
    /// Copies from the front of `data` what there is room for; returns how much.
    fn take(&mut self, data: &[u8]) -> usize;

    /// Whether there is no room at all.
    fn is_full(&self) -> bool;
}

impl Sink for &mut [u8] {
    fn take(&mut self, data: &[u8]) -> usize {
        let len = self.len().min(data.len());
        let (head, tail) = std::mem::take(self).split_at_mut(len);
        head.copy_from_slice(&data[..len]);
        *self = tail;
        len
    }

    fn is_full(&self) -> bool {
        self.is_empty()
    }
}

impl<S: Sink> Sink for &mut S {
    fn take(&mut self, data: &[u8]) -> usize {
        S::take(self, data)
    }

    fn is_full(&self) -> bool {
        S::is_full(self)
    }
}

impl Sink for real::io::ReadBuf<'_> {
    fn take(&mut self, data: &[u8]) -> usize {
        let len = self.remaining().min(data.len());
        self.put_slice(&data[..len]);
        len
    }

    fn is_full(&self) -> bool {
        self.remaining() == 0
    }
}

/// Several buffers, filled one after the other.
pub(crate) struct Scatter<'a, 'b> {
    buffers: &'a mut [std::io::IoSliceMut<'b>],
    index: usize,
    offset: usize,
}

impl<'a, 'b> Scatter<'a, 'b> {
    /// A sink that begins with the first of `buffers`.
    pub(crate) fn new(buffers: &'a mut [std::io::IoSliceMut<'b>]) -> Scatter<'a, 'b> {
        Scatter { buffers, index: 0, offset: 0 }
    }
}

impl Sink for Scatter<'_, '_> {
    fn take(&mut self, data: &[u8]) -> usize {
        let mut taken = 0;
        while taken < data.len() && self.index < self.buffers.len() {
            let room = &mut self.buffers[self.index][self.offset..];
            let len = room.len().min(data.len() - taken);
            room[..len].copy_from_slice(&data[taken..taken + len]);
            taken += len;
            self.offset += len;
            if self.offset == self.buffers[self.index].len() {
                self.index += 1;
                self.offset = 0;
            }
        }
        taken
    }

    fn is_full(&self) -> bool {
        self.buffers[self.index..].iter().map(|buffer| buffer.len()).sum::<usize>() == self.offset
    }
}

/// Disjoint ranges of sequence numbers in ascending order.
#[derive(Default, Debug)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `start..end`; returns how many numbers are new.
    pub(crate) fn insert(&mut self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let before = self.total();
        let first = self.0.partition_point(|range| range.1 < start);
        let last = self.0.partition_point(|range| range.0 <= end);
        let merged = self.0[first..last].iter().fold((start, end), |a, b| (a.0.min(b.0), a.1.max(b.1)));
        self.0.splice(first..last, [merged]);
        self.total() - before
    }

    /// Removes everything below `seq`.
    pub(crate) fn remove_below(&mut self, seq: u64) {
        if self.0.first().is_none_or(|range| range.0 >= seq) {
            return;
        }
        self.0.retain(|range| range.1 > seq);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(seq);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many numbers are in the ranges.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|range| range.1 - range.0).sum()
    }

    /// The ranges in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// The number after the last range.
    pub(crate) fn end(&self) -> Option<u64> {
        self.0.last().map(|range| range.1)
    }

    /// The range that holds `seq`.
    pub(crate) fn around(&self, seq: u64) -> Option<(u64, u64)> {
        let next = self.0.partition_point(|range| range.1 <= seq);
        self.0.get(next).copied().filter(|range| range.0 <= seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(data: &[u8]) -> [IoSlice<'_>; 1] {
        [IoSlice::new(data)]
    }

    #[test]
    fn a_send_buffer_gathers_short_chunks_and_shares_long_ones() {
        let mut buffer = SendBuffer::new(100);
        buffer.write(&slices(b"ab"), 10);
        buffer.write(&slices(b"cdef"), 10);
        buffer.write(&slices(&[7; 5000]), 5000);
        assert_eq!(&buffer.read(100, 3)[..], b"abc");
        assert_eq!(&buffer.read(103, 3)[..], b"def");
        assert_eq!(buffer.read(106, 4000).len(), 4000);
        assert_eq!(&buffer.read(101, 5)[..], b"bcdef");
        buffer.release(103);
        assert_eq!(&buffer.read(103, 2)[..], b"de");
        assert_eq!(buffer.len(), 5003);
        buffer.release(buffer.end());
        assert_eq!((buffer.len(), buffer.end()), (0, 5106));
        buffer.write(&slices(b"xyz"), 2);
        assert_eq!(&buffer.read(5106, 9)[..], b"xy");
    }

    #[test]
    fn reading_peeks_and_splits() {
        let mut buffer = ReceiveBuffer::default();
        buffer.push(Bytes::from_static(b"hello "));
        buffer.push(Bytes::from_static(b"world"));
        let mut out = [0; 8];
        assert_eq!(buffer.read(&mut &mut out[..], true), 8);
        assert_eq!(buffer.read(&mut &mut out[..], false), 8);
        assert_eq!(&out, b"hello wo");
        assert_eq!(buffer.read(&mut &mut out[..], false), 3);
        assert_eq!(buffer.len(), 0);
    }

    #[test]
    fn scatters_over_buffers() {
        let (mut a, mut b) = ([0; 2], [0; 4]);
        let mut buffers = [std::io::IoSliceMut::new(&mut a), std::io::IoSliceMut::new(&mut b)];
        let mut sink = Scatter::new(&mut buffers);
        assert_eq!(sink.take(b"abc"), 3);
        assert!(!sink.is_full());
        assert_eq!(sink.take(b"defgh"), 3);
        assert!(sink.is_full());
        assert_eq!((&a, &b), (b"ab", b"cdef"));
    }

    #[test]
    fn ranges_merge_and_are_cut() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.insert(10, 20), 10);
        assert_eq!(ranges.insert(30, 40), 10);
        assert_eq!((ranges.around(12), ranges.around(25)), (Some((10, 20)), None));
        assert_eq!(ranges.insert(20, 30), 10);
        assert_eq!((ranges.total(), ranges.iter().collect::<Vec<_>>()), (30, vec![(10, 40)]));
        ranges.remove_below(15);
        assert_eq!(ranges.total(), 25);
    }
}
