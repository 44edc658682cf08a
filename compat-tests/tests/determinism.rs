//! Everything by which two runs of a program differ, printed: the same text for a seed in every process, and
//! another for another seed.
//!
//! Owns the list of sources. Must not compare anything by itself: `same_text_in_every_process` starts this
//! binary again. Invariant: a source that leaks is named by the line that differs.
#![cfg(sim)]

use std::fmt::{Debug, Write as _};
use std::io::Read as _;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rand_08::RngCore as _;
use rand_09::RngCore as _;
use rand_010::Rng as _;
use ring::rand::SecureRandom as _;

fn line(out: &mut String, name: &str, value: impl Debug) {
    writeln!(out, "{name}: {value:?}").expect("writing to a string");
}

fn hash_maps(out: &mut String) {
    let words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"];
    #[expect(clippy::disallowed_types, reason = "its order is what is tested")]
    {
        let std_map: std::collections::HashMap<_, _> = words.iter().zip(0..).collect();
        line(out, "std map", std_map.keys().collect::<Vec<_>>());
        let std_set: std::collections::HashSet<_> = words.iter().collect();
        line(out, "std set", std_set.iter().collect::<Vec<_>>());
    }
    let ahash_map: ahash::AHashMap<_, _> = words.iter().zip(0..).collect();
    line(out, "ahash map", ahash_map.keys().collect::<Vec<_>>());
    let hashbrown_map: hashbrown::HashMap<_, _> = words.iter().zip(0..).collect();
    line(out, "hashbrown map", hashbrown_map.keys().collect::<Vec<_>>());
}

fn random_numbers(out: &mut String) {
    line(out, "rand 0.8", rand_08::thread_rng().next_u64());
    line(out, "rand 0.9", rand_09::rng().next_u64());
    line(out, "rand 0.10", rand_010::rng().next_u64());
    line(out, "fastrand", fastrand::u64(..));
    line(out, "uuid v4", uuid::Uuid::new_v4());
    line(out, "uuid v7", uuid::Uuid::now_v7());
    let mut bytes = [0u8; 16];
    getrandom_02::getrandom(&mut bytes).expect("getrandom 0.2");
    line(out, "getrandom 0.2", bytes);
    getrandom_03::fill(&mut bytes).expect("getrandom 0.3");
    line(out, "getrandom 0.3", bytes);
    getrandom_04::fill(&mut bytes).expect("getrandom 0.4");
    line(out, "getrandom 0.4", bytes);
    // SAFETY: the buffer is valid for its length.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), 0) };
    assert_eq!(got, 16, "the raw system call fills the buffer");
    line(out, "getrandom system call", bytes);
    let mut file = std::fs::File::open("/dev/urandom").expect("/dev/urandom");
    file.read_exact(&mut bytes).expect("bytes of /dev/urandom");
    line(out, "/dev/urandom", bytes);
    ring::rand::SystemRandom::new().fill(&mut bytes).expect("ring");
    line(out, "ring", bytes);
    aws_lc_rs::rand::fill(&mut bytes).expect("aws-lc");
    line(out, "aws-lc", bytes);
}

#[expect(clippy::disallowed_methods, reason = "the clocks are what is tested")]
fn clocks(out: &mut String) {
    line(out, "Instant", Instant::now());
    line(out, "SystemTime", SystemTime::now());
    line(out, "chrono", chrono::Utc::now());
    let quanta = quanta::Clock::new();
    line(out, "quanta", quanta.now());
    line(out, "quanta raw", quanta.raw());
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid to write.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut time) };
    line(out, "clock system call", (time.tv_sec, time.tv_nsec));
}

fn identity(out: &mut String) {
    line(out, "pid", std::process::id());
    line(out, "thread", std::thread::current().id());
    // SAFETY: the call has no arguments.
    line(out, "thread system call", unsafe { libc::syscall(libc::SYS_gettid) });
    let mut name = [0u8; 64];
    // SAFETY: the buffer is valid for its length.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len()) };
    assert_eq!(result, 0, "the host has a name");
    line(out, "host name", String::from_utf8_lossy(&name).trim_end_matches('\0'));
    line(out, "processors", std::thread::available_parallelism().map(usize::from).ok());
    line(out, "heap address", std::ptr::from_ref(Box::leak(Box::new(0u64))));
}

async fn racing_tasks(out: &mut String) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..100 {
        let sender = sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(number % 3)).await;
            sender.send(number).expect("the test receives");
        });
    }
    drop(sender);
    let mut order = Vec::new();
    while let Some(number) = receiver.recv().await {
        order.push(number);
    }
    assert_eq!(order.len(), 100, "every task ran");
    line(out, "racing tasks", order);
}

#[tokio::test]
async fn everything_that_may_differ() {
    let mut out = String::new();
    hash_maps(&mut out);
    random_numbers(&mut out);
    clocks(&mut out);
    identity(&mut out);
    racing_tasks(&mut out).await;
    line(&mut out, "trace", tokio::sim::trace_hash());
    print_text(&out);
}

#[expect(clippy::disallowed_macros, reason = "the text is read by the other test")]
fn print_text(text: &str) {
    println!("BEGIN\n{text}END");
}

fn text_of(seed: u64) -> String {
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["everything_that_may_differ", "--exact", "--nocapture"])
        .env("SIM_SEED", seed.to_string())
        .env_remove("SIM_SEEDS")
        .env_remove("SIM_REPORT_DIR")
        .output()
        .expect("this binary starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "seed {seed}: {text}");
    let (_, text) = text.split_once("BEGIN\n").expect("the text begins");
    text.split_once("END").expect("the text ends").0.to_owned()
}

#[test]
fn same_text_in_every_process() {
    let first = text_of(1);
    for again in 0..3 {
        for (one, other) in first.lines().zip(text_of(1).lines()) {
            assert_eq!(one, other, "run {again} of the same seed differs");
        }
    }
    let other = text_of(2);
    let same: Vec<&str> = first.lines().filter(|line| other.lines().any(|other| other == *line)).collect();
    // What is fixed for every seed: the names, the number of processors, the clocks before anything ran.
    for line in [
        "std map",
        "rand 0.8",
        "rand 0.9",
        "rand 0.10",
        "fastrand",
        "uuid",
        "getrandom",
        "/dev/urandom",
        "ring",
        "aws-lc",
        "racing",
    ] {
        assert!(!same.iter().any(|same| same.starts_with(line)), "{line} does not depend on the seed");
    }
}
