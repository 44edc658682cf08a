//! Rates, queues with a limit, slots, schedules: what is exact.
//!
//! Owns no chance. Invariant: every number here is derived from the rules by hand.

use std::time::Duration;

use shim_runtime::clock::SimTime;

use super::super::{
    BurstLoss, Fate, Framing, Latency, LinkConfig, LossPattern, Outages, Queue, Red, Schedule, Step,
};
use super::{Bench, limited};

const MILLI: u64 = 1_000_000;

#[test]
fn a_rate_delays_and_drops_at_the_tail() {
    let rules = LinkConfig { queue_limit_bytes: 2500, ..limited(8_000_000) };
    let mut bench = Bench::new(rules, 1);
    (1..=4).for_each(|port| bench.send(port, 1000));
    assert_eq!(bench.count(|fate| fate == Fate::QueueFull), 1, "one is sent, two wait, one finds no place");
    bench.finish();
    let expected = [(1, SimTime(MILLI)), (2, SimTime(2 * MILLI)), (3, SimTime(3 * MILLI))];
    assert_eq!(bench.arrivals(), expected);
}

#[test]
fn a_queue_may_be_limited_in_packets() {
    let rules = LinkConfig { queue_limit_packets: Some(3), ..limited(8_000_000) };
    let mut bench = Bench::new(rules, 1);
    (1..=9).for_each(|port| bench.send(port, 100));
    bench.finish();
    assert_eq!(bench.arrivals().iter().map(|(port, _)| *port).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn a_packet_that_finds_nobody_waiting_is_sent_whatever_the_limit() {
    let mut bench = Bench::new(LinkConfig { queue_limit_bytes: 10, ..limited(8_000_000) }, 1);
    bench.send(1, 1000);
    bench.pass(Duration::from_millis(1));
    bench.send(2, 1000);
    assert_eq!(bench.arrivals(), [(1, SimTime(MILLI)), (2, SimTime(2 * MILLI))]);
}

#[test]
fn who_sends_too_much_is_told_after_the_latency_of_the_hour() {
    let milli = Duration::from_millis;
    let later = Step { at: milli(100), latency: Some(Latency::Fixed(milli(50))), ..Step::default() };
    let schedule = Schedule { steps: vec![later], period: None };
    let latency = Latency::Fixed(milli(5));
    let mut bench =
        Bench::new(LinkConfig { latency, schedule, mtu_bytes: Some(1000), ..LinkConfig::default() }, 1);
    bench.send(1, 1001);
    bench.pass(milli(100));
    bench.send(2, 1001);
    let told = |at| Fate::TooBig(Some((1000, SimTime(at * MILLI))));
    assert_eq!(bench.met.iter().map(|met| met.fate).collect::<Vec<_>>(), [told(5), told(150)]);
}

#[test]
fn a_rate_is_kept_over_ten_seconds() {
    for (rate, bytes) in [(1_000_000, 1500), (100_000_000, 1500), (1_000_000_000, 9000), (56_000, 40)] {
        // RED with an average that follows: a slow one would empty the queue before it lets anything in again.
        let red =
            Queue::Red(Red { min_bytes: rate / 80, max_bytes: rate / 40, weight: 0.5, ..Red::default() });
        for queue in [Queue::TailDrop, Queue::codel(), Queue::fq_codel(), red] {
            let rules = LinkConfig { queue: queue.clone(), queue_limit_bytes: rate / 8, ..limited(rate) };
            let mut bench = Bench::new(rules, 1);
            // Twice as much as fits, every 10 ms.
            let each = (rate / 8 / 100 * 2).div_ceil(bytes) + 2;
            for _ in 0..1000 {
                (0..each).for_each(|_| bench.send(1, bytes as usize));
                bench.pass(Duration::from_millis(10));
            }
            let end = SimTime(10_000 * MILLI);
            let arrived = bench.arrivals().iter().filter(|(_, at)| *at <= end).count() as u64 * bytes * 8;
            let expected = rate * 10;
            let wrong = arrived as f64 / expected as f64 - 1.0;
            assert!(wrong.abs() < 0.002, "{queue:?} at {rate}: {arrived} of {expected} bits");
        }
    }
}

#[test]
fn framing_and_slots_count() {
    let rules = LinkConfig { framing: Framing::ETHERNET, ..limited(8_000_000) };
    let mut bench = Bench::new(rules.clone(), 1);
    bench.send(1, 962);
    assert_eq!(bench.arrivals(), [(1, SimTime(MILLI))]);
    let mut bench = Bench::new(LinkConfig { slot: Duration::from_millis(4), ..rules }, 1);
    (1..=6).for_each(|port| bench.send(port, 962));
    bench.finish();
    let times: Vec<u64> = bench.arrivals().iter().map(|(_, at)| at.nanos() / MILLI).collect();
    assert_eq!(times, [4, 4, 4, 4, 8, 8]);
}

#[test]
fn a_trace_of_rates_is_followed_and_changes_of_rules_take_effect() {
    let second = Duration::from_secs(1);
    let schedule = Schedule::rates([(Duration::ZERO, 8_000_000), (second, 800_000), (2 * second, 0)]);
    let rules = LinkConfig { schedule, queue_limit_bytes: 2 << 20, ..LinkConfig::default() };
    let mut bench =
        Bench::new(LinkConfig { latency: super::super::Latency::Fixed(Duration::ZERO), ..rules }, 1);
    (0..1200).for_each(|_| bench.send(1, 1000));
    bench.pass(second * 10);
    let until = |at: u64| bench.arrivals().iter().filter(|(_, t)| t.nanos() <= at * 1000 * MILLI).count();
    assert_eq!((until(1), until(2), until(10)), (1000, 1100, 1100));
    // The link is stuck for good: what waits will never be sent.
    assert_eq!(bench.count(|fate| fate == Fate::Down), 100);
}

#[test]
fn at_a_rate_of_zero_nothing_passes() {
    let mut bench = Bench::new(limited(0), 1);
    (1..=5).for_each(|port| bench.send(port, 1000));
    bench.finish();
    assert_eq!((bench.arrivals().len(), bench.count(|fate| fate == Fate::Down)), (0, 5));
    bench.rules.bandwidth_bps = Some(8_000_000);
    bench.send(6, 1000);
    bench.finish();
    assert_eq!(bench.arrivals().len(), 1);
}

#[test]
fn a_limit_that_is_lifted_lets_everything_go() {
    let mut bench = Bench::new(limited(8_000), 1);
    (1..=5).for_each(|port| bench.send(port, 1000));
    bench.rules.bandwidth_bps = None;
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.arrivals().len(), 5);
    assert!(bench.arrivals().iter().all(|(_, at)| at.nanos() <= 1000 * MILLI));
}

#[test]
fn losses_by_number_and_by_the_clock_are_certain() {
    let pattern = LossPattern::Packets(vec![2, 3]);
    let mut bench = Bench::new(LinkConfig { loss_pattern: pattern, ..LinkConfig::default() }, 1);
    (1..=5).for_each(|port| bench.send(port, 100));
    assert_eq!(bench.arrivals().iter().map(|(port, _)| *port).collect::<Vec<_>>(), [1, 4, 5]);
    let second = Duration::from_secs(1);
    let outages = Outages::Flaps { up: second, down: second };
    let mut bench = Bench::new(LinkConfig { outages, ..LinkConfig::default() }, 1);
    for port in 0..10 {
        bench.send(port, 100);
        bench.pass(second);
    }
    assert_eq!(bench.count(|fate| fate == Fate::Down), 5);
}

#[test]
fn what_is_certain_draws_nothing() {
    let rules = LinkConfig {
        latency: super::super::Latency::Fixed(Duration::from_millis(1)),
        latency_correlation: 0.5,
        loss_pattern: LossPattern::EveryNth(3),
        loss_bursts: Some(BurstLoss { to_bad: 1.0, to_good: 1.0, loss_good: 0.0, loss_bad: 1.0 }),
        duplicate: 1.0,
        bandwidth_bps: Some(1_000_000),
        queue: Queue::red(100_000, 200_000),
        ..LinkConfig::default()
    };
    let mut bench = Bench::new(rules, 7);
    (0..20).for_each(|port| bench.send(port, 100));
    bench.finish();
    assert_eq!(bench.rng.next_u64(), shim_runtime::rng::Stream::new(7, "link", 0).next_u64());
    assert!(bench.count(|fate| matches!(fate, Fate::ArrivesTwice(..))) > 0);
    assert_eq!(bench.count(|fate| fate == Fate::Lost), 10 + 3, "every other, and of the rest every third");
}

#[test]
fn a_packet_that_is_too_big_goes_nowhere() {
    let mut bench = Bench::new(LinkConfig { mtu_bytes: Some(1000), ..LinkConfig::default() }, 1);
    bench.send(1, 1001);
    bench.send(2, 1000);
    assert_eq!(bench.met[0].fate, Fate::TooBig(Some((1000, SimTime(MILLI)))));
    assert_eq!(bench.arrivals().len(), 1);
}
