//! A run that cannot go on ends with a report that names the task, where it was spawned, and what it waits for.
//!
//! Owns one test for each way to stall. Invariant: each ends in bounded real time.
#![cfg(sim)]

use std::process::Command;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::sim::{self, Builder};

fn report_of<F, Fut>(builder: &Builder, main: F) -> String
where
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = ()>,
{
    match builder.run(main) {
        Ok(report) => panic!("the run ended well: {report:?}"),
        Err(failure) => failure.to_string(),
    }
}

fn assert_names(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "the report lacks {part:?}:\n{report}");
    }
}

#[test]
fn a_deadlock_names_who_waits_for_what() {
    let line = line!() + 3;
    let report = report_of(Builder::new().seed(5), || async {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let waits = sim::client("far", async move {
            let own = tokio::net::UdpSocket::bind("0.0.0.0:9").await.expect("a free port");
            let reader = tokio::spawn(async move { own.recv(&mut [0; 8]).await });
            receiver.await.expect("never sent");
            reader.await
        });
        waits.await.expect("never").expect("never").expect("never");
        drop(sender);
    });
    assert_names(
        &report,
        &[
            "deadlock",
            "seed 5",
            "node 1 \"far\"",
            &format!("sim_stalls.rs:{line}"),
            &format!("sim_stalls.rs:{}", line + 2),
            "waits for a waker",
            "waits for socket",
            "0.0.0.0:9",
        ],
    );
}

#[test]
fn a_livelock_names_its_tasks() {
    let mut builder = Builder::new();
    builder.max_steps_without_event(10_000);
    let report = report_of(&builder, || async {
        let spinner = tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        spinner.await.expect("never ends");
    });
    assert_names(&report, &["livelock", "sim_stalls.rs", "is ready"]);
}

#[test]
fn a_run_without_end_meets_its_limits() {
    let mut builder = Builder::new();
    builder.simulation_duration(Duration::from_secs(60));
    let forever = || async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    assert_names(&report_of(&builder, forever), &["the limit on virtual time", "waits for a timer"]);
    let mut builder = Builder::new();
    builder.max_steps(100);
    assert_names(&report_of(&builder, forever), &["the limit on polls"]);
}

/// Keep-alive probes never end; a run in which nothing else happens is still a deadlock.
#[test]
fn probes_of_the_kernel_do_not_hide_a_deadlock() {
    let report = report_of(&Builder::new(), || async {
        sim::host("server", || async {
            let listener = tokio::net::TcpListener::bind("0.0.0.0:1").await?;
            let (mut stream, _) = listener.accept().await?;
            stream.read_u8().await?;
            Ok(())
        });
        let server = sim::lookup("server");
        let stream = loop {
            match tokio::net::TcpStream::connect((server, 1)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let keep_alive = socket2::SockRef::from(&stream).set_keepalive(true);
        keep_alive.expect("an option");
        stream.readable().await.expect("never");
    });
    assert_names(&report, &["deadlock", "waits for socket"]);
}

const TOLD: &str = "SIM_STALLS_TOLD_TO_SPIN";

/// Runs itself once more, told to spin: the process must end by itself.
#[test]
fn a_poll_that_does_not_return_ends_the_process() {
    if std::env::var_os(TOLD).is_some() {
        let spin = || async {
            let spinner = tokio::spawn(async {
                loop {
                    std::hint::spin_loop();
                }
            });
            spinner.await.expect("never ends");
        };
        panic!("the run ended: {:?}", Builder::new().run(spin).err());
    }
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args(["a_poll_that_does_not_return_ends_the_process", "--exact", "--nocapture"])
        .env(TOLD, "1")
        .env("SIM_POLL_LIMIT_SECS", "1")
        .output()
        .expect("this binary starts");
    assert_eq!(output.status.code(), Some(113), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_names(&text, &["a poll did not return", "sim_stalls.rs"]);
}

#[test]
fn a_failing_node_fails_the_run() {
    let report = report_of(&Builder::new(), || async {
        sim::host("bad", || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err("out of paper".into())
        });
        std::future::pending::<()>().await;
    });
    assert_names(&report, &["node \"bad\"", "out of paper"]);
    fn panics() {
        panic!("out of ink");
    }
    let report = report_of(&Builder::new(), || async {
        sim::node("worse").main(panics);
        std::future::pending::<()>().await;
    });
    assert_names(&report, &["node \"worse\"", "out of ink"]);
}

#[test]
fn an_unknown_node_is_named() {
    let report = report_of(&Builder::new(), || async {
        sim::crash("nobody");
    });
    assert_names(&report, &["there is no node called \"nobody\""]);
}
