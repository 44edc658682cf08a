//! Sweeps, with a test that keeps the contract by hand: variables in, records out.

mod common;

use common::{Fixture, Outcome};

const TEST: &str = r##"//! Plays the library's part.
use std::io::Write;

#[test]
fn keeps_its_promise() {
    let folder = std::env::var("SIM_REPORT_DIR").expect("the folder is named");
    let seeds = match std::env::var("SIM_SEEDS") {
        Ok(range) => {
            let (start, end) = range.split_once("..").expect("half open");
            start.parse::<u64>().unwrap()..end.parse::<u64>().unwrap()
        }
        Err(_) => {
            let seed: u64 = std::env::var("SIM_SEED").unwrap().parse().unwrap();
            seed..seed + 1
        }
    };
    assert_eq!(std::env::var("RUST_TEST_THREADS").as_deref(), Ok("1"));
    let path = std::path::Path::new(&folder).join(format!("{}.jsonl", std::process::id()));
    let mut file = std::fs::File::create(path).unwrap();
    let binary = std::env::current_exe().unwrap();
    let count = seeds.end - seeds.start;
    writeln!(file, r#"{{"kind":"plan","test":"keeps_its_promise","binary":{binary:?},"seeds":{count}}}"#).unwrap();
    let mut failed = false;
    for seed in seeds {
        let ok = seed % 10 != 7;
        failed |= !ok;
        let message = if ok { "null".into() } else { format!("\"lost {seed} writes\"") };
        writeln!(
            file,
            r#"{{"kind":"seed","test":"keeps_its_promise","binary":{binary:?},"seed":{seed},"ok":{ok},"trace_hash":"00000000000000ab","steps":10,"virtual_ns":5,"real_us":1,"message":{message},"report":null}}"#
        ).unwrap();
    }
    if std::env::var("HANG").is_ok() {
        std::fs::write(std::env::var("HANG").unwrap(), "").unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
    assert!(!failed, "some seed failed");
}
"##;

fn project() -> Fixture {
    let project = Fixture::plain();
    project.write("tests/promise.rs", TEST);
    project.commit();
    project
}

fn sim(project: &Fixture, words: &[&str]) -> Outcome {
    let mut command = project.command(words);
    command.env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/sweep"));
    Outcome::of(&command.output().expect("runs"))
}

#[test]
fn failures_are_grouped_and_can_be_pasted() {
    let project = project();
    let words = ["test", "-q", "--seeds", "0..40", "--jobs", "2", "--keep-going", "--test", "promise"];
    let outcome = sim(&project, &words).expect(101, "1 test, 40 seeds run, 36 passed, 4 failed");
    assert!(
        outcome.stderr.contains("FAIL keeps_its_promise · 4 seeds · first seed 7 · trace 00000000000000ab")
    );
    assert!(
        outcome.stderr.contains("cargo sim test --seed 7 -q --test promise --no-fail-fast")
            || outcome
                .stderr
                .contains("cargo sim test --seed 7 -q --test promise -- --exact keeps_its_promise")
    );

    let outcome = sim(&project, &["test", "--seed", "17", "--format", "json", "promise"]);
    let summary: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("only the summary");
    assert_eq!(summary["failures"][0]["count"], 1);
    assert_eq!(summary["exit_code"], 101);
    assert_eq!(
        summary["failures"][0]["replay"],
        "cargo sim test --seed 17 -p app --test promise -- --exact keeps_its_promise"
    );

    sim(&project, &["replay", "8", "keeps_its_promise"]).expect(0, "1 passed, 0 failed");
    sim(&project, &["test", "--seeds", "0..3", "--", "no_such_test"])
        .expect(0, "no test ran in the simulation");
    project.assert_untouched(common::LOCK);
}

#[test]
fn an_interrupted_sweep_still_reports() {
    let project = project();
    let flag = project.path().join(".git/started");
    let mut command = project.command(&["test", "-q", "--seeds", "0..5", "--test", "promise"]);
    command
        .env("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/sweep-interrupted"))
        .env("HANG", &flag);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("runs");
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !flag.exists() && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    let outcome = Outcome::of(&child.wait_with_output().expect("ends"));
    outcome.expect(130, "5 seeds run, 5 passed, 0 failed (0.0s simulated, interrupted)");
    project.assert_untouched(common::LOCK);
}
