//! The link between two real network devices: rate with a finite queue, delay, loss, as `shim-net`'s link has them.
//!
//! Owns the rules and the carrying. Must not know what is sent. Invariant: packets keep their order, and leave at times
//! that were decided when they came; how late they really left is counted.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::Link;
use crate::host::{Device, wait_until};

/// One direction.
struct Direction {
    link: Link,
    numbers: u64,
    busy_until: Instant,
    flying: VecDeque<(Instant, Vec<u8>)>,
}

/// How well the emulator kept its times, and what it did.
#[derive(Default, Debug)]
pub(crate) struct Counts {
    pub(crate) carried: u64,
    pub(crate) lost: u64,
    pub(crate) queue_full: u64,
    late: Vec<Duration>,
}

impl Counts {
    /// In words.
    pub(crate) fn summary(mut self) -> String {
        self.late.sort_unstable();
        let at = |part: f64| {
            let place = (self.late.len().saturating_sub(1) as f64 * part) as usize;
            self.late.get(place).map_or(0.0, |late| late.as_secs_f64() * 1e3)
        };
        format!(
            "{} carried, {} lost, {} dropped, late by {:.3} ms (half), {:.3} ms (99.9 %), {:.3} ms (most)",
            self.carried,
            self.lost,
            self.queue_full,
            at(0.5),
            at(0.999),
            at(1.0)
        )
    }
}

impl Direction {
    fn new(link: Link, seed: u64) -> Direction {
        Direction { link, numbers: seed, busy_until: now(), flying: VecDeque::new() }
    }

    /// Decides about a packet that came at `now`.
    fn judge(&mut self, packet: &[u8], now: Instant, counts: &mut Counts) {
        if self.draw() < self.link.loss {
            counts.lost += 1;
            return;
        }
        let takes = |bytes: u64| Duration::from_nanos(bytes * 8_000_000_000 / self.link.rate_bps);
        let bytes = packet.len() as u64;
        let waiting = self.busy_until.saturating_duration_since(now);
        if waiting + takes(bytes) > takes(self.link.queue_bytes) {
            counts.queue_full += 1;
            return;
        }
        self.busy_until = self.busy_until.max(now) + takes(bytes);
        let arrives = self.busy_until + Duration::from_millis(self.link.delay_ms);
        self.flying.push_back((arrives, packet.to_vec()));
    }

    /// Between 0 and 1 (splitmix64).
    fn draw(&mut self) -> f64 {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.numbers;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[expect(clippy::disallowed_methods, reason = "the emulator is of the real world")]
fn now() -> Instant {
    Instant::now()
}

/// Carries packets between the two devices until `stop` is set.
///
/// # Errors
/// What the devices say.
pub(crate) fn carry(devices: [&Device; 2], link: Link, seed: u64, stop: &AtomicBool) -> io::Result<Counts> {
    let mut ways = [Direction::new(link, seed), Direction::new(link, !seed)];
    let mut counts = Counts::default();
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        for (from, way) in ways.iter_mut().enumerate() {
            while let Some(count) = devices[from].receive(&mut buffer)? {
                way.judge(&buffer[..count], now(), &mut counts);
            }
            while let Some((due, packet)) = way.flying.front() {
                let now = now();
                if *due > now {
                    break;
                }
                counts.late.push(now - *due);
                devices[1 - from].send(packet)?;
                counts.carried += 1;
                way.flying.pop_front();
            }
        }
        let next = ways.iter().filter_map(|way| way.flying.front().map(|(due, _)| *due)).min();
        let most = Duration::from_millis(20);
        wait_until(devices, next.map_or(most, |due| due.saturating_duration_since(now()).min(most)));
    }
    Ok(counts)
}
