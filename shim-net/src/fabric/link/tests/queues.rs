//! Queue disciplines: against the pseudo-code of their documents, and under sources that give way or do not.
//!
//! Owns a CoDel that keeps real lists and clocks, written from RFC 8289, as the model. Must not share code with what it
//! tests. Invariant: model and link agree on every packet.

use std::collections::VecDeque;
use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::super::queue::{Backlog, Drop, Limit, Waiting};
use super::super::{Above, CoDel, Fate, FqCoDel, LinkConfig, Queue, Red};
use super::{Bench, datagram, limited};

const MICRO: u64 = 1000;
const MILLI: u64 = 1_000_000;

/// The algorithm of RFC 8289, section 5, with the RFC's names; times in nanoseconds.
#[derive(Default)]
struct Model {
    queue: VecDeque<(usize, u64, u64)>,
    first_above_time: u64,
    dropping: bool,
    drop_next: u64,
    count: u32,
    lastcount: u32,
    dropped: Vec<usize>,
}

impl Model {
    const TARGET: u64 = 5 * MILLI;
    const INTERVAL: u64 = 100 * MILLI;

    fn control_law(t: u64, count: u32) -> u64 {
        t + (Self::INTERVAL as f64 / f64::from(count).sqrt()) as u64
    }

    fn dodequeue(&mut self, now: u64) -> (Option<(usize, u64, u64)>, bool) {
        let Some(packet) = self.queue.pop_front() else {
            self.first_above_time = 0;
            return (None, false);
        };
        let bytes: u64 = self.queue.iter().map(|packet| packet.1).sum();
        let mut ok_to_drop = false;
        if now - packet.2 < Self::TARGET || bytes <= 1514 {
            self.first_above_time = 0;
        } else if self.first_above_time == 0 {
            self.first_above_time = now + Self::INTERVAL;
        } else if now >= self.first_above_time {
            ok_to_drop = true;
        }
        (Some(packet), ok_to_drop)
    }

    fn dequeue(&mut self, now: u64) -> Option<(usize, u64, u64)> {
        let (mut packet, mut ok_to_drop) = self.dodequeue(now);
        if self.dropping {
            if !ok_to_drop {
                self.dropping = false;
            }
            while now >= self.drop_next && self.dropping {
                self.dropped.extend(packet.map(|packet| packet.0));
                self.count += 1;
                (packet, ok_to_drop) = self.dodequeue(now);
                if !ok_to_drop {
                    self.dropping = false;
                } else {
                    self.drop_next = Self::control_law(self.drop_next, self.count);
                }
            }
        } else if ok_to_drop {
            self.dropped.extend(packet.map(|packet| packet.0));
            (packet, _) = self.dodequeue(now);
            self.dropping = true;
            let delta = self.count - self.lastcount;
            let recent = (now as i64 - self.drop_next as i64) < 16 * Self::INTERVAL as i64;
            self.count = if delta > 1 && recent { delta } else { 1 };
            self.drop_next = Self::control_law(now, self.count);
            self.lastcount = self.count;
        }
        packet
    }
}

/// Runs the model over packets that come at given times, at 8 Mbit/s: what was dropped, and when the others were sent.
fn run_model(arrivals: &[(u64, u64)]) -> (Vec<usize>, Vec<(usize, u64)>) {
    let mut model = Model::default();
    let mut sent = Vec::new();
    let (mut next, mut free) = (0, 0);
    loop {
        // What comes at the very time at which the link is free comes first.
        let comes = arrivals.get(next).map(|arrival| arrival.0);
        let serves = (!model.queue.is_empty()).then_some(free);
        match (comes, serves) {
            (None, None) => return (model.dropped, sent),
            (Some(at), serves) if serves.is_none_or(|serves| at < serves) => {
                model.queue.push_back((next, arrivals[next].1, at));
                next += 1;
                free = free.max(at);
            }
            _ => {
                if let Some((number, bytes, _)) = model.dequeue(free) {
                    free += bytes * MICRO;
                    sent.push((number, free));
                }
            }
        }
    }
}

#[test]
fn codel_is_the_rfcs() {
    let mut all = 0;
    for seed in 0..20 {
        let mut rng = Stream::new(seed, "test", 0);
        // Load between half and twice of what fits, in phases of some hundred milliseconds.
        let (mut now, mut gap) = (0, 0);
        let mut arrivals = Vec::new();
        for number in 0..6000 {
            if number % 300 == 0 {
                gap = rng.between(400, 1600);
            }
            now += rng.between(1, 2 * gap * MICRO);
            arrivals.push((now, rng.between(100, 1500)));
        }
        let (dropped, sent) = run_model(&arrivals);
        let codel = CoDel { ecn: false, ..CoDel::default() };
        let rules =
            LinkConfig { queue: Queue::CoDel(codel), queue_limit_bytes: u64::MAX, ..limited(8_000_000) };
        let mut bench = Bench::new(rules, 1);
        for (number, (at, bytes)) in arrivals.iter().enumerate() {
            bench.run_until(SimTime(*at));
            bench.send(number as u16, *bytes as usize);
        }
        bench.finish();
        let early = |met: &&super::Met| met.fate == Fate::QueueEarly;
        let found: Vec<usize> = bench.met.iter().filter(early).map(|met| met.port.into()).collect();
        assert_eq!(found, dropped, "seed {seed}");
        all += dropped.len();
        let arrived: Vec<_> =
            bench.arrivals().iter().map(|(port, at)| (usize::from(*port), at.nanos())).collect();
        assert_eq!(arrived, sent, "seed {seed}");
    }
    assert!(all > 300, "{all}");
}

/// A source with a window that grows by a packet each round trip, and is halved by a drop or a mark once in a round
/// trip: TCP as textbooks have it. Gives the delays of packets in the queue after the first seconds, in milliseconds.
fn responsive(queue: Queue, ecn: u8, seconds: u64) -> (Vec<f64>, usize, usize) {
    let mut bench = Bench::new(LinkConfig { queue, queue_limit_bytes: 1 << 20, ..limited(10_000_000) }, 3);
    let round_trip = Duration::from_millis(50);
    let (mut window, mut in_flight, mut seen) = (10.0f64, 0usize, 0);
    let mut halved = SimTime::ZERO;
    let mut sent: Vec<SimTime> = Vec::new();
    let mut back: VecDeque<(SimTime, bool)> = VecDeque::new();
    let mut delays = Vec::new();
    while bench.now < SimTime(seconds * 1000 * MILLI) {
        while (in_flight as f64) < window {
            bench.send_packet(datagram(sent.len() as u16, 1500, ecn));
            sent.push(bench.now);
            in_flight += 1;
        }
        bench.pass(Duration::from_millis(1));
        for met in &bench.met[seen..] {
            let bad = met.marked || !matches!(met.fate, Fate::Arrives(_));
            let at = match met.fate {
                Fate::Arrives(at) => at,
                _ => bench.now,
            };
            back.push_back((at + round_trip, bad));
            // Numbers wrap: the packet is the last one with this port.
            let number = (sent.len() - 1) - ((sent.len() - 1).wrapping_sub(met.port.into()) & 0xffff);
            if matches!(met.fate, Fate::Arrives(_)) && bench.now > SimTime(5000 * MILLI) {
                delays.push((at - sent[number]).as_secs_f64() * 1000.0 - 1.2);
            }
        }
        seen = bench.met.len();
        while back.front().is_some_and(|(at, _)| *at <= bench.now) {
            let Some((at, bad)) = back.pop_front() else { break };
            in_flight -= 1;
            window += 1.0 / window;
            if bad && at.saturating_since(halved) > round_trip {
                window = (window / 2.0).max(2.0);
                halved = at;
            }
        }
    }
    let dropped = bench.count(|fate| matches!(fate, Fate::QueueEarly | Fate::QueueFull));
    let marked = bench.met.iter().filter(|met| met.marked).count();
    delays.sort_by(f64::total_cmp);
    (delays, dropped, marked)
}

#[test]
fn codel_keeps_the_standing_delay_near_its_target() {
    let share = |delays: &[f64], of: f64| delays[(delays.len() as f64 * of) as usize];
    let (tail, _, _) = responsive(Queue::TailDrop, 0, 30);
    let (delays, dropped, marked) = responsive(Queue::codel(), 0, 30);
    assert!(share(&tail, 0.5) > 100.0, "a full queue of a mebibyte: {}", share(&tail, 0.5));
    assert!(
        share(&delays, 0.5) < 10.0 && share(&delays, 0.9) < 30.0,
        "{} {}",
        share(&delays, 0.5),
        share(&delays, 0.9)
    );
    assert!(dropped > 0 && marked == 0);
    // A window that is halved uses three quarters of a link at least; 25 seconds are 20,833 packets.
    assert!(delays.len() > 15_625, "{}", delays.len());
    let (delays, dropped, marked) = responsive(Queue::codel(), 2, 30);
    assert!(share(&delays, 0.5) < 10.0 && dropped == 0 && marked > 5, "{dropped} dropped, {marked} marked");
}

#[test]
fn codel_drops_more_and_more_of_what_does_not_give_way() {
    let rules = LinkConfig { queue: Queue::codel(), queue_limit_bytes: 1 << 24, ..limited(8_000_000) };
    let mut bench = Bench::new(rules, 1);
    let mut drops = Vec::new();
    for _ in 0..8 {
        for _ in 0..1250 {
            bench.send(1, 1000);
            bench.pass(Duration::from_micros(800));
        }
        drops.push(bench.count(|fate| fate == Fate::QueueEarly));
    }
    let each: Vec<usize> = drops.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(each.is_sorted() && each[0] > 5 && each[6] > 3 * each[0], "{each:?}");
}

#[test]
fn red_drops_with_its_probability_and_marks_what_it_can() {
    // A queue that is held so that each arrival finds 60,000 bytes, halfway between the thresholds: 5 %.
    let red = Red { min_bytes: 40_000, max_bytes: 80_000, weight: 0.02, ecn: true, ..Red::default() };
    let rules = LinkConfig { queue: Queue::Red(red), queue_limit_bytes: 1 << 20, ..limited(8_000_000) };
    for (ecn, seed) in (0..10).flat_map(|seed| [(0, seed), (2, seed)]) {
        let mut bench = Bench::new(rules.clone(), seed);
        let picked = |bench: &Bench| {
            let dropped = bench.count(|fate| fate == Fate::QueueEarly);
            (dropped, bench.met.iter().filter(|met| met.marked).count())
        };
        let (mut tried, mut before) = (0, (0, 0));
        while bench.now < SimTime(20_000 * MILLI) {
            while bench.waiting_bytes() < 61_000 {
                bench.send_packet(datagram(1, 1000, ecn));
                tried += 1;
            }
            bench.pass(Duration::from_millis(1));
            if bench.now == SimTime(2000 * MILLI) {
                (tried, before) = (0, picked(&bench));
            }
        }
        let (dropped, marked) = picked(&bench);
        let (dropped, marked) = (dropped - before.0, marked - before.1);
        let (found, other) = if ecn == 0 { (dropped, marked) } else { (marked, dropped) };
        // With p / (1 - count * p), and a count that begins at 1, gaps are uniform over 1 to 1/p - 1: of mean 10 and
        // variance 30.
        let expected = f64::from(tried) / 10.0;
        let deviation = (f64::from(tried) * 30.0 / 10.0f64.powi(3)).sqrt();
        // A mark is seen when the packet leaves, a queue later: 61 packets, 6 marks.
        let bound = 4.42 * deviation + 6.0;
        assert!(
            (found as f64 - expected).abs() < bound,
            "ecn {ecn}, seed {seed}: {found} of {tried}, not {expected}"
        );
        assert_eq!(other, 0);
    }
}

#[test]
fn red_grows_gently_or_at_once() {
    let red = Red { min_bytes: 1000, max_bytes: 3000, max_probability: 0.2, ..Red::default() };
    assert_eq!(red.probability(999.0), Some(0.0));
    assert!((red.probability(2000.0).unwrap() - 0.1).abs() < 1e-12);
    assert!((red.probability(4500.0).unwrap() - 0.6).abs() < 1e-12);
    assert_eq!(red.probability(6000.0), None);
    assert_eq!(Red { gentle: false, ..red }.probability(3000.0), None);
}

#[test]
fn flow_queues_share_the_rate_and_spare_the_modest() {
    let rules = LinkConfig { queue: Queue::fq_codel(), ..limited(8_000_000) };
    let mut bench = Bench::new(rules, 1);
    // Two greedy flows, one with small packets, and one that sends a packet every 10 ms.
    for step in 0..10_000u64 {
        bench.send(1, 1500);
        (0..4).for_each(|_| bench.send(2, 300));
        if step % 10 == 0 {
            bench.send(3, 200);
        }
        bench.pass(Duration::from_millis(1));
    }
    let bytes = |port: u16, each: usize| bench.arrivals().iter().filter(|(p, _)| *p == port).count() * each;
    let (first, second) = (bytes(1, 1500), bytes(2, 300));
    assert!(first.abs_diff(second) < first / 20, "{first} and {second}");
    assert!(bytes(3, 200) == 200 * 1000, "all of the modest flow arrive: {}", bytes(3, 200));
    assert!(bench.met.iter().filter(|met| met.port == 3).all(|met| matches!(met.fate, Fate::Arrives(_))));
    assert!(
        bench.count(|fate| fate == Fate::QueueEarly) > 100
            && bench.count(|fate| fate == Fate::QueueFull) > 100
    );
}

#[test]
fn steps_mark_beyond_their_threshold() {
    let queue = Queue::Step(Above::Bytes(5_000));
    let mut bench = Bench::new(LinkConfig { queue, ..limited(8_000_000) }, 1);
    (1..=10).for_each(|port| bench.send_packet(datagram(port, 1000, 1)));
    bench.finish();
    // The first is sent; five find 0 to 4,000 bytes, and one 5,000; three find more.
    assert_eq!(bench.met.iter().filter(|met| met.marked).map(|met| met.port).collect::<Vec<_>>(), [8, 9, 10]);
    let queue = Queue::Step(Above::Delay(Duration::from_millis(5)));
    let mut bench = Bench::new(LinkConfig { queue, ..limited(8_000_000) }, 1);
    (1..=10).for_each(|port| bench.send_packet(datagram(port, 1000, (port % 2) as u8)));
    bench.finish();
    // The n-th waits n - 1 ms; those with an even number do not know marks.
    assert_eq!(bench.met.iter().filter(|met| met.marked).map(|met| met.port).collect::<Vec<_>>(), [7, 9]);
}

#[test]
fn what_waits_survives_a_change_of_discipline() {
    let all = [
        Queue::TailDrop,
        Queue::codel(),
        Queue::fq_codel(),
        Queue::red(1 << 20, 1 << 21),
        Queue::Step(Above::Bytes(1)),
        Queue::FqCoDel(FqCoDel { flows: 1, ..FqCoDel::default() }),
    ];
    let mut backlog = Backlog::new();
    let (mut rng, mut dropped) = (Stream::new(1, "link", 0), Vec::new());
    let limit = Limit { bytes: 1 << 20, packets: 1000 };
    for (number, rules) in (0..).zip(&all) {
        let waiting = Waiting {
            item: number,
            wire_bytes: 100,
            since: SimTime(number),
            flow: number * 7,
            ecn_capable: false,
            marked: false,
        };
        backlog.push(rules, limit, 1_000_000, waiting, &mut rng, &mut dropped);
    }
    assert_eq!((backlog.len(), backlog.bytes()), (6, 600));
    let pop = |backlog: &mut Backlog<u64>, dropped: &mut Vec<(Waiting<u64>, Drop)>| {
        backlog.pop(&Queue::TailDrop, SimTime(9), dropped).map(|waiting| waiting.item)
    };
    let order: Vec<u64> = std::iter::from_fn(|| pop(&mut backlog, &mut dropped)).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
    assert!(backlog.is_empty() && dropped.is_empty());
}
