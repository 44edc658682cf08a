//! One day of the service, in simulation, told to a reader: `cargo sim run -p inventory --example story`.
//!
//! The seed decides what goes wrong, when, and for how long: `SIM_SEED=8 cargo sim run -p inventory --example story`.

#[cfg(sim)]
#[path = "../tests/scenario/mod.rs"]
mod scenario;

#[cfg(sim)]
const SEED: u64 = 7;

#[cfg(sim)]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;
    use tokio::sim;

    let seed = match std::env::var("SIM_SEED").map(|text| text.parse()) {
        Ok(Ok(seed)) => seed,
        Ok(Err(error)) => {
            eprintln!("SIM_SEED: {error}");
            return ExitCode::from(2);
        }
        Err(_) => SEED,
    };
    let run = sim::Builder::new().seed(seed).run(|| async { (scenario::run().await, sim::network_stats()) });
    match run {
        Ok(report) => {
            let (outcome, packets) = &report.output;
            tell(outcome);
            println!("\npackets: {packets:?}");
            println!(
                "seed {seed} · {} steps · {:.3} s of virtual time · trace {:016x}",
                report.steps,
                report.elapsed.as_secs_f64(),
                report.trace_hash
            );
            for reason in &report.not_deterministic {
                println!("not deterministic: {reason}");
            }
            println!("\nRun it again: the same day, to the last step. Another day:");
            println!("    SIM_SEED={} cargo sim run -p inventory --example story", seed.wrapping_add(1));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{}", failure.report);
            ExitCode::FAILURE
        }
    }
}

#[cfg(sim)]
fn tell(outcome: &scenario::Outcome) {
    println!("Three customers (on the machine `test`), the front, and its store:\n");
    println!("     time     where    what");
    for scenario::Event { at, place, what } in &outcome.account {
        println!("{:>9.3} s  {place:<8} {what}", at.as_secs_f64());
    }
    println!("\nmisfortune: {:?}, for {:?}", outcome.misfortune, outcome.lasted);
    println!(
        "orders: {} placed, {} reserved, {} refused; {} attempts failed; the slowest took {:?}",
        outcome.placed,
        outcome.acknowledged.len(),
        outcome.refused,
        outcome.failed_attempts,
        outcome.slowest
    );
    for (item, (delivered, shown)) in &outcome.items {
        let reserved: u32 = shown.reserved.values().sum();
        let verdict =
            if shown.left + reserved == *delivered { "the books are right" } else { "the books are WRONG" };
        println!("{item}: {delivered} delivered = {} left + {reserved} reserved: {verdict}", shown.left);
    }
}

#[cfg(not(sim))]
fn main() -> std::process::ExitCode {
    eprintln!("this is a simulation: cargo sim run -p inventory --example story");
    std::process::ExitCode::from(2)
}
