//! Throughput over one link, simulated and real: what docs/measurements.md has.
//!
//! ```sh
//! cargo sim run --release -p compat-quic --bin compare-links -- [case …]     simulated: one run for each seed
//! cargo run --release -p compat-quic --bin compare-links -- [case …]         real: kernel, namespaces, an emulated link
//! ```
//!
//! Owns the command line and the arithmetic. `RUNS` and `MEGABYTES` say how many runs and how long each, `JOBS` how many at
//! a time; a case is `quinn-cubic`, `quinn-bbr`, `tcp-cubic` or `tcp-reno`, with `+loss` or `+clean` behind it. Must not know how a link is made. Invariant: both worlds run the same
//! transfers over the same [`Link`].

#[cfg(not(sim))]
mod emulator;
#[cfg(not(sim))]
mod host;
#[cfg(not(sim))]
mod real;
#[cfg(sim)]
mod simulated;
mod workload;

#[cfg(not(sim))]
use real::measure;
#[cfg(sim)]
use simulated::measure;
use workload::Case;

/// A link between two machines, the same in both directions.
#[derive(Clone, Copy, Debug)]
struct Link {
    /// Bits per second, headers of IP included.
    rate_bps: u64,
    /// From one end to the other, beside the time that the rate takes.
    delay_ms: u64,
    /// How much may wait for the rate, what is being sent included; what comes then is dropped.
    queue_bytes: u64,
    /// The probability that a packet is lost.
    loss: f64,
    /// The largest packet.
    mtu_bytes: usize,
}

/// 100 Mbit/s, 50 ms there and back, room for one product of both.
const LINK: Link =
    Link { rate_bps: 100_000_000, delay_ms: 25, queue_bytes: 625_000, loss: 0.0, mtu_bytes: 1500 };
const LOSS: f64 = 0.001;

/// What came of a run.
struct Outcome {
    seconds: f64,
    /// What the measurement says of itself.
    remark: String,
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default| {
        std::env::var(name).ok().map_or(default, |text| text.parse::<u64>().expect("a number"))
    };
    let bytes = number("MEGABYTES", 30) * 1_000_000;
    let runs = number("RUNS", if cfg!(sim) { 100 } else { 20 });
    let jobs = number("JOBS", 1).max(1);
    for case in Case::ALL {
        for loss in [0.0, LOSS] {
            let name = format!("{}{}", case.name(), if loss > 0.0 { "+loss" } else { "+clean" });
            if wanted.is_empty() || wanted.iter().any(|wanted| name.contains(wanted.as_str())) {
                report(&name, case, Link { loss, ..LINK }, bytes, runs, jobs);
            }
        }
    }
}

/// Runs one case and prints its line: the mean of the runs' throughput, and half of its 95 % interval.
#[expect(clippy::disallowed_macros, reason = "a program's own output")]
fn report(name: &str, case: Case, link: Link, bytes: u64, runs: u64, jobs: u64) {
    let mut rates = Vec::new();
    let mut remark = String::new();
    let all: Vec<u64> = (0..runs).collect();
    for part in all.chunks(jobs as usize) {
        for (run, outcome) in part.iter().zip(at_once(part, |run| measure(case, link, bytes, run))) {
            let rate = bytes as f64 * 8.0 / outcome.seconds / 1e6;
            if std::env::var_os("VERBOSE").is_some() {
                println!("{name} run {run}: {rate:.2} Mbit/s, {}", outcome.remark);
            }
            rates.push(rate);
            remark = outcome.remark;
        }
    }
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    // Student's factor for 20 runs and more is about 2.
    let interval = 2.0 * (variance / count).sqrt();
    let (least, most) = rates.iter().fold((f64::MAX, 0.0f64), |(low, high), r| (low.min(*r), high.max(*r)));
    println!(
        "{name:<20} {mean:6.2} ± {interval:4.2} Mbit/s, {least:.2} to {most:.2}, {runs} runs; last: {remark}"
    );
}

/// Measures several runs at the same time.
fn at_once(runs: &[u64], one: impl Fn(u64) -> Outcome + Sync) -> Vec<Outcome> {
    if let [run] = runs {
        return vec![one(*run)];
    }
    let one = &one;
    std::thread::scope(|scope| {
        let begun: Vec<_> = runs.iter().map(|run| scope.spawn(move || one(*run))).collect();
        begun.into_iter().map(|run| run.join().expect("no panic")).collect()
    })
}
