//! Simulated children: programs that the test registers, started by unmodified code through `tokio::process`.
//!
//! Owns the life of a child as its parent sees it. Invariant: what holds on one seed holds on all, in every run of it.
#![cfg(all(sim, feature = "full"))]

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sim::{self, Process};
use tokio::time::{sleep, timeout};

/// Shouts each line that it reads; its exit code is how many there were.
async fn shout(mut child: Process) -> i32 {
    let mut lines = BufReader::new(child.stdin).lines();
    let mut count = 0;
    while let Ok(Some(line)) = lines.next_line().await {
        if child.stdout.write_all(format!("{}!\n", line.to_uppercase()).as_bytes()).await.is_err() {
            return 100;
        }
        count += 1;
    }
    count
}

async fn sleeper(child: Process) -> i32 {
    let seconds = child.args().first().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(1000);
    sleep(Duration::from_secs(seconds)).await;
    0
}

#[tokio::test]
async fn a_child_reads_writes_and_ends() {
    sim::program("/usr/bin/shout", shout);
    let mut child =
        Command::new("shout").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is registered");
    assert!(child.id().is_some_and(|id| id != std::process::id()));
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    for word in ["one", "two", "three"] {
        stdin.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        assert_eq!(stdout.next_line().await.unwrap().unwrap(), format!("{}!", word.to_uppercase()));
    }
    assert!(child.try_wait().unwrap().is_none());
    drop(stdin);
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
    assert_eq!(child.id(), None);
    assert_eq!(stdout.next_line().await.unwrap(), None);
    child.start_kill().expect("killing what is gone is nothing");
}

#[tokio::test]
async fn output_collects_both_streams_and_variables_reach_the_child() {
    sim::program("/opt/report", |mut child: Process| async move {
        let text = format!("{:?} {:?} {:?}", child.args(), child.env("NAME"), child.current_dir());
        child.stdout.write_all(text.as_bytes()).await.unwrap();
        child.stderr.write_all(b"careful").await.unwrap();
        i32::from(child.env("PATH").is_some())
    });
    let mut command = Command::new("/opt/report");
    command.args(["-v", "x y"]).env_clear().env("NAME", "value").current_dir("/var");
    let output = command.output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), r#"["-v", "x y"] Some("value") Some("/var")"#);
    assert_eq!(output.stderr, b"careful");
    assert!(output.status.success(), "the variables were cleared");
}

#[tokio::test]
async fn unknown_programs_are_not_found_and_real_ones_refused() {
    let error = Command::new("/bin/true").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("SIM_REAL_PROCESSES=1"), "{error}");
    let error = std::process::Command::new("/bin/true").status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    sim::program("/bin/known", sleeper);
    assert_eq!(Command::new("/bin/true").spawn().unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn kill_stop_and_go_on() {
    sim::program("sleeper", sleeper);
    let mut child = Command::new("sleeper").arg("10").spawn().unwrap();
    let pid = Pid::from_raw(child.id().unwrap().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    assert!(timeout(Duration::from_secs(60), child.wait()).await.is_err(), "a stopped process does not end");
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(child.wait().await.unwrap().success());

    let mut child = Command::new("sleeper").spawn().unwrap();
    child.kill().await.unwrap();
    assert_eq!(child.wait().await.unwrap().signal(), Some(9));

    let mut child = Command::new("sleeper").spawn().unwrap();
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().await.unwrap().signal(), Some(15));
    assert!(kill(Pid::from_raw(1), Signal::SIGTERM).is_err(), "nobody of the machine is reached");
}

#[tokio::test]
async fn a_child_that_is_dropped_is_killed_only_where_that_was_asked() {
    sim::program("beat", |mut child: Process| async move {
        loop {
            if child.stdout.write_all(b".").await.is_err() {
                return 1;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    for kill_on_drop in [true, false] {
        let mut child =
            Command::new("beat").stdout(Stdio::piped()).kill_on_drop(kill_on_drop).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        sleep(Duration::from_millis(2500)).await;
        drop(child);
        sleep(Duration::from_secs(10)).await;
        let mut beats = vec![0; 100];
        let count = stdout.read(&mut beats).await.unwrap();
        assert_eq!(count > 3, !kill_on_drop, "{count} beats");
    }
}

#[tokio::test]
async fn a_full_pipe_holds_the_writer_and_a_broken_one_tells() {
    sim::program("flood", |mut child: Process| async move {
        let block = vec![7; 50_000];
        let mut written = 0;
        while child.stdout.write_all(&block).await.is_ok() {
            written += 1;
        }
        written
    });
    let mut child = Command::new("flood").stdout(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_secs(5)).await;
    assert!(child.try_wait().unwrap().is_none(), "64 KiB are not 100,000 bytes");
    drop(child.stdout.take());
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}

#[tokio::test]
async fn a_panic_is_code_101_and_a_signal_to_oneself_is_told() {
    sim::program("panics", |_| async { panic!("as a test would") });
    assert_eq!(Command::new("panics").status().await.unwrap().code(), Some(101));
    sim::program("raises", |_| async {
        nix::sys::signal::raise(Signal::SIGUSR1).unwrap();
        sleep(Duration::from_secs(1)).await;
        0
    });
    let mut children = signal(SignalKind::child()).unwrap();
    assert_eq!(Command::new("raises").status().await.unwrap().signal(), Some(10));
    children.recv().await.expect("the parent is told of the end");
}

/// As `shout < … | shout`, by descriptors that commands own.
#[tokio::test]
async fn children_in_a_row() {
    sim::program("/usr/bin/shout", shout);
    let mut first =
        Command::new("shout").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is registered");
    let between: Stdio = first.stdout.take().unwrap().try_into().unwrap();
    let second = Command::new("shout").stdin(between).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = first.stdin.take().unwrap();
    stdin.write_all(b"a\nb\n").await.unwrap();
    drop(stdin);
    let output = second.wait_with_output().await.unwrap();
    assert_eq!(output.stdout, b"A!!\nB!!\n");
    assert_eq!(first.wait().await.unwrap().code(), Some(2));
}

/// A child listens on its machine's address, and goes down with its machine.
#[tokio::test]
async fn a_child_lives_on_its_parents_machine() {
    sim::program("/bin/helper", |_| async {
        let listener = TcpListener::bind("0.0.0.0:99").await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
        }
    });
    sim::host("server", || async {
        let mut child = Command::new("helper").spawn()?;
        child.wait().await?;
        Ok(())
    });
    sleep(Duration::from_secs(1)).await;
    let mut text = String::new();
    TcpStream::connect("server:99").await.unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "hello");
    sim::crash("server");
    sleep(Duration::from_secs(1)).await;
    let refused = TcpStream::connect("server:99").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    sim::start("server");
    sleep(Duration::from_secs(1)).await;
    TcpStream::connect("server:99").await.expect("started again, by its parent");
}

#[test]
fn a_run_with_a_real_child_is_marked() {
    let run = sim::Builder::new().real_processes(true).run(|| async {
        let output = Command::new("echo").arg("hello").output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    });
    let report = run.expect("it is allowed");
    assert_eq!(report.output, "hello\n");
    assert_eq!(report.not_deterministic.len(), 1, "{:?}", report.not_deterministic);
}
