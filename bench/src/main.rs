//! Measures the simulation: `cargo sim run --release -p shim-bench -- WORKLOAD [n]`.
//!
//! Owns the workloads, each over simulated machines, not loopback. Must not print anything but one line of
//! numbers. Invariant: processor time is read by the real clock, which the simulation does not answer.

#[cfg(sim)]
mod host;
#[cfg(sim)]
mod workloads;

#[cfg(not(sim))]
#[expect(clippy::disallowed_macros, reason = "a program's own output")]
fn main() {
    eprintln!("the benchmarks are of the simulation: cargo sim run --release -p shim-bench -- echo");
    std::process::exit(2);
}

#[cfg(sim)]
#[expect(clippy::disallowed_macros, reason = "a program's own output")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let workload = arguments.next().unwrap_or_else(|| "echo".to_owned());
    let count = arguments.next().map(|text| text.parse().expect("a number of operations"));
    let before = host::processor_seconds();
    let (operations, virtual_time, trace) = workloads::run(&workload, count);
    let spent = host::processor_seconds() - before;
    println!(
        "{workload}: {operations} operations, {spent:.3} s of processor time, {:.3} µs each, {:.3} s of virtual time, trace {trace:016x}",
        spent / operations as f64 * 1e6,
        virtual_time.as_secs_f64(),
    );
}
