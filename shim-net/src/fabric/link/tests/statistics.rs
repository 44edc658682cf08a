//! Chance: what many draws look like, against bounds that a true distribution leaves once in a thousand runs or less.
//!
//! Owns the bounds. Must not tune them: each is derived from the size of the sample. Invariant: every test goes over
//! several seeds, and all of them are fixed.

use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::super::latency::{Drawn, normal_share};
use super::super::{BurstLoss, Fate, Latency, LinkConfig};
use super::Bench;

const SEEDS: std::ops::Range<u64> = 0..20;
const DRAWS: usize = 5_000;
/// The largest distance between the empirical and the true distribution, times the root of the sample's size, that is
/// left with a probability of 1e-5 (Kolmogorov's limit: sqrt(-ln(p/2)/2)).
const KOLMOGOROV: f64 = 2.47;
/// Standard deviations that a normal number leaves with a probability of 1e-5.
const SIGMAS: f64 = 4.42;

fn millis(count: f64) -> Duration {
    Duration::from_secs_f64(count / 1000.0)
}

/// The share of latencies that is at most `ms`, as textbooks have it.
type Share = fn(f64) -> f64;

fn distributions() -> Vec<(Latency, Share)> {
    let quartiles = [0.0, 2.0, 3.0, 10.0, 50.0].map(millis).to_vec();
    vec![
        (Latency::Uniform { min: millis(1.0), max: millis(3.0) }, |ms| ((ms - 1.0) / 2.0).clamp(0.0, 1.0)),
        (Latency::Normal { mean: millis(50.0), deviation: millis(5.0) }, |ms| {
            normal_share((ms - 50.0) / 5.0)
        }),
        (
            Latency::TruncatedNormal {
                mean: millis(10.0),
                deviation: millis(5.0),
                min: millis(8.0),
                max: millis(30.0),
            },
            |ms| {
                let share = |ms: f64| normal_share((ms - 10.0) / 5.0);
                ((share(ms) - share(8.0)) / (share(30.0) - share(8.0))).clamp(0.0, 1.0)
            },
        ),
        (Latency::Exponential { min: millis(2.0), tail: millis(3.0) }, |ms| {
            if ms < 2.0 { 0.0 } else { 1.0 - (-(ms - 2.0) / 3.0).exp() }
        }),
        (Latency::LogNormal { min: millis(4.0), median: millis(6.0), sigma: 0.7 }, |ms| {
            if ms <= 4.0 { 0.0 } else { normal_share(((ms - 4.0) / 6.0).ln() / 0.7) }
        }),
        (Latency::Pareto { min: millis(5.0), shape: 2.5 }, |ms| {
            if ms < 5.0 { 0.0 } else { 1.0 - (5.0 / ms).powf(2.5) }
        }),
        (Latency::Quantiles(quartiles), |ms| match ms {
            ..2.0 => ms / 8.0,
            2.0..3.0 => 0.25 + (ms - 2.0) / 4.0,
            3.0..10.0 => 0.5 + (ms - 3.0) / 28.0,
            _ => (0.75 + (ms - 10.0) / 160.0).min(1.0),
        }),
    ]
}

/// The largest distance between what was drawn and what `share` says.
fn distance(mut drawn: Vec<f64>, share: Share) -> f64 {
    drawn.sort_by(f64::total_cmp);
    let size = drawn.len() as f64;
    let gaps = drawn.iter().enumerate().map(|(place, ms)| {
        let share = share(*ms);
        (share - place as f64 / size).abs().max(((place + 1) as f64 / size - share).abs())
    });
    gaps.fold(0.0, f64::max)
}

fn draws(latency: &Latency, correlation: f64, seed: u64, count: usize) -> Vec<f64> {
    let (mut rng, mut drawn) = (Stream::new(seed, "link", 0), Drawn::default());
    (0..count).map(|_| drawn.draw(latency, correlation, &mut rng).as_secs_f64() * 1000.0).collect()
}

#[test]
fn latencies_have_their_distributions() {
    for (latency, share) in distributions() {
        for seed in SEEDS {
            let found = distance(draws(&latency, 0.0, seed, DRAWS), share);
            let bound = KOLMOGOROV / (DRAWS as f64).sqrt();
            assert!(found < bound, "{latency:?}, seed {seed}: {found} of {bound}");
        }
    }
}

#[test]
fn a_wrong_distribution_would_be_noticed() {
    let (latency, _) = &distributions()[1];
    let shifted: Share = |ms| normal_share((ms - 50.5) / 5.0);
    assert!(distance(draws(latency, 0.0, 1, DRAWS), shifted) > KOLMOGOROV / (DRAWS as f64).sqrt());
}

#[test]
fn correlated_latencies_keep_their_distribution_and_have_the_correlation() {
    let rho = 0.6;
    for (latency, share) in distributions() {
        let all = draws(&latency, rho, 11, 8 * DRAWS);
        // One of eight is nearly independent of the next (0.6^8 is 0.017), so that Kolmogorov's limit holds.
        let thin: Vec<f64> = all.iter().copied().step_by(8).collect();
        let found = distance(thin, share);
        assert!(found < 1.1 * KOLMOGOROV / (DRAWS as f64).sqrt(), "{latency:?}: {found}");
    }
    let bell = &distributions()[1].0;
    let all: Vec<f64> = draws(bell, rho, 12, 8 * DRAWS).iter().map(|ms| (ms - 50.0) / 5.0).collect();
    let products = all.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / (all.len() - 1) as f64;
    // Bartlett: the deviation of the first autocorrelation of such a process is sqrt((1 - rho^2) / n), and a little
    // more of the plain mean of products.
    let bound = 2.0 * SIGMAS * ((1.0 - rho * rho) / all.len() as f64).sqrt();
    assert!((products - rho).abs() < bound, "{products}");
}

#[test]
fn netems_paretonormal_has_its_mean_and_its_tail() {
    let latency = Latency::ParetoNormal { mean: millis(100.0), deviation: millis(10.0) };
    let mean =
        (0..100_000).map(|i| latency.quantile((f64::from(i) + 0.5) / 1e5).as_secs_f64()).sum::<f64>() / 1e5;
    // What is cut off beyond four deviations takes a fiftieth of one from the mean.
    assert!((mean * 1000.0 - 99.8).abs() < 0.05, "{mean}");
    // As netem's table: the median is below the mean, the most is four deviations above it.
    assert!(latency.quantile(0.5) < millis(98.0));
    assert_eq!(latency.quantile(0.999_999), millis(140.0));
}

/// Sends `count` packets, and gives what became of each, in the order of their numbers.
fn fates(rules: &LinkConfig, seed: u64, count: u16) -> Vec<Fate> {
    let mut bench = Bench::new(rules.clone(), seed);
    for port in 0..count {
        bench.send(port, 100);
        bench.pass(Duration::from_millis(1));
    }
    bench.met.iter().map(|met| met.fate).collect()
}

/// Whether `found` of `count` is what a probability gives.
fn assert_share(found: usize, count: usize, probability: f64, what: &str) {
    let deviation = (probability * (1.0 - probability) / count as f64).sqrt();
    let share = found as f64 / count as f64;
    assert!((share - probability).abs() < SIGMAS * deviation, "{what}: {share}, not {probability}");
}

const PACKETS: u16 = 20_000;

#[test]
fn independent_events_have_their_probabilities() {
    let p = 0.03;
    let rules = |change: fn(&mut LinkConfig, f64)| {
        let mut rules = LinkConfig::default();
        change(&mut rules, p);
        rules
    };
    for seed in SEEDS {
        let count = |rules: &LinkConfig, is: fn(&Fate) -> bool| {
            fates(rules, seed, PACKETS).iter().filter(|fate| is(fate)).count()
        };
        let lost = count(&rules(|rules, p| rules.loss = p), |fate| *fate == Fate::Lost);
        assert_share(lost, PACKETS.into(), p, "loss");
        let twice =
            count(&rules(|rules, p| rules.duplicate = p), |fate| matches!(fate, Fate::ArrivesTwice(..)));
        assert_share(twice, PACKETS.into(), p, "duplication");
        let damaged = count(&rules(|rules, p| rules.damage = p), |fate| matches!(fate, Fate::Damaged(_)));
        assert_share(damaged, PACKETS.into(), p, "damage");
        let mut bench = Bench::new(rules(|rules, p| rules.corrupt = p), seed);
        (0..PACKETS).for_each(|port| bench.send(port, 100));
        let bits = |data: &[u8]| data.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert!(bench.met.iter().all(|met| bits(&met.data) <= 1));
        let corrupted = bench.met.iter().filter(|met| bits(&met.data) == 1).count();
        assert_share(corrupted, PACKETS.into(), p, "corruption");
    }
}

#[test]
fn losses_in_bursts_have_their_share_and_their_lengths() {
    let (loss, burst) = (0.05, 5.0);
    let model = BurstLoss::with_mean(loss, burst);
    let rules = LinkConfig { loss_bursts: Some(model), ..LinkConfig::default() };
    let mut lengths = Vec::new();
    let (mut lost, mut total) = (0, 0);
    for seed in SEEDS {
        let fates = fates(&rules, seed, PACKETS);
        total += fates.len();
        let runs = fates.chunk_by(|a, b| a == b || (*a != Fate::Lost && *b != Fate::Lost));
        for run in runs.filter(|run| run[0] == Fate::Lost) {
            lost += run.len();
            lengths.push(run.len());
        }
    }
    // The share's variance is that of independent losses times (1 + c) / (1 - c), c = 1 - p - r.
    let inflation = (2.0 - model.to_bad - model.to_good) / (model.to_bad + model.to_good);
    let deviation = (loss * (1.0 - loss) / total as f64 * inflation).sqrt();
    let share = lost as f64 / total as f64;
    assert!((share - loss).abs() < SIGMAS * deviation, "{share}");
    // Lengths are geometric: chi-square over 1 to 12 and the rest, 12 degrees of freedom, 1e-5: 44.2.
    let runs = lengths.len() as f64;
    let mut chi = 0.0;
    let stay = 1.0 - 1.0 / burst;
    for length in 1..=13 {
        let below = stay.powi(length - 1);
        let probability = if length == 13 { below } else { below / burst };
        let found =
            lengths.iter().filter(|found| **found == length as usize || (length == 13 && **found > 13));
        chi += (found.count() as f64 - runs * probability).powi(2) / (runs * probability);
    }
    assert!(chi < 44.2, "{chi}");
    let mean = lengths.iter().sum::<usize>() as f64 / runs;
    assert!((mean - burst).abs() < SIGMAS * (burst * (burst - 1.0) / runs).sqrt(), "{mean}");
}

#[test]
fn a_good_state_may_lose_as_well() {
    let model = BurstLoss { to_bad: 0.02, to_good: 0.1, loss_good: 0.01, loss_bad: 0.5 };
    let rules = LinkConfig { loss_bursts: Some(model), ..LinkConfig::default() };
    let total = f64::from(PACKETS) * SEEDS.count() as f64;
    let lost = SEEDS.flat_map(|seed| fates(&rules, seed, PACKETS)).filter(|fate| *fate == Fate::Lost).count();
    // At most as uncertain as if a state lasted 1 / 0.12 packets and lost all or none.
    let deviation = (0.25 / total * 2.0 / 0.12).sqrt();
    let expected = model.mean_loss();
    assert!((lost as f64 / total - expected).abs() < SIGMAS * deviation, "{lost} of {total}, not {expected}");
}

/// Which packets arrive after a later one.
fn late(rules: &LinkConfig, seed: u64) -> Vec<bool> {
    let mut bench = Bench::new(rules.clone(), seed);
    for port in 0..PACKETS {
        bench.send(port, 100);
        bench.pass(Duration::from_micros(100));
    }
    let arrivals = bench.arrivals();
    let mut earliest = SimTime::MAX;
    let mut late: Vec<bool> = Vec::new();
    for (_, at) in arrivals.iter().rev() {
        late.push(*at > earliest);
        earliest = earliest.min(*at);
    }
    late.reverse();
    late
}

#[test]
fn reordering_has_its_probability_and_its_correlation() {
    let (p, correlation) = (0.05, 0.4);
    let rules = LinkConfig {
        latency: Latency::Fixed(Duration::from_millis(1)),
        reorder: p,
        reorder_by: Duration::from_millis(100),
        reorder_correlation: correlation,
        ..LinkConfig::default()
    };
    let (mut both, mut first, mut all) = (0, 0, 0);
    for seed in SEEDS {
        // A packet that is picked comes up to 100 ms late, and a thousand times of a thousand and one after the next.
        let picked = late(&rules, seed);
        all += picked.len();
        first += picked.iter().filter(|picked| **picked).count();
        both += picked.windows(2).filter(|pair| pair[0] && pair[1]).count();
    }
    let inflation = ((1.0 + correlation) / (1.0 - correlation)).sqrt();
    let deviation = (p * (1.0 - p) / all as f64).sqrt() * inflation;
    // One in 500 of those picked, nearly, is late by less than to the next packet.
    let share = first as f64 / all as f64;
    assert!((share - p * 0.998).abs() < SIGMAS * deviation, "{share}");
    let again = both as f64 / first as f64;
    let expected = p + correlation * (1.0 - p);
    let deviation = (expected * (1.0 - expected) / first as f64).sqrt();
    assert!((again - expected * 0.998).abs() < SIGMAS * deviation, "{again}, not {expected}");
    let none = LinkConfig { reorder: 0.0, ..rules };
    assert!(late(&none, 1).iter().all(|late| !late));
}

#[test]
fn only_one_in_a_gap_leaves_the_order_and_overtaking_must_be_asked_for() {
    let rules = LinkConfig {
        latency: Latency::Fixed(Duration::from_millis(1)),
        reorder: 1.0,
        reorder_by: Duration::from_millis(100),
        reorder_gap: 10,
        ..LinkConfig::default()
    };
    let late_ones = late(&rules, 3).iter().filter(|late| **late).count();
    assert!(
        (1950..=2000).contains(&late_ones),
        "every tenth, but for those that are late by too little: {late_ones}"
    );
    let jitter = LinkConfig {
        latency: Latency::Uniform { min: Duration::ZERO, max: Duration::from_millis(1) },
        ..LinkConfig::default()
    };
    assert!(late(&jitter, 1).iter().all(|late| !late));
    let overtaking = late(&LinkConfig { overtaking: true, ..jitter }, 1).iter().filter(|late| **late).count();
    // Ten packets per millisecond, uniformly late: most are overtaken by one of the nine that follow.
    assert!(overtaking > usize::from(PACKETS) / 2, "{overtaking}");
}
