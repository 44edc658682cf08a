//! Ten thousand runs in one process leave nothing behind: no memory, no descriptor, no thread.
//!
//! Owns the measurement. Must not depend on the allocator's habits: memory is compared after it has settled.
#![cfg(sim)]
#![expect(
    clippy::disallowed_methods,
    reason = "a thread that sleeps is one of the things that must not be left"
)]

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sim::{self, Builder};

/// Two machines, a connection, a timer, a thread, a crash, and tasks that never end.
fn run(seed: u64) -> u64 {
    let report = Builder::new().seed(seed).run(|| async {
        sim::host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:1").await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut stream = TcpStream::connect((sim::lookup("server"), 1)).await.expect("it listens");
        // A descriptor is made, and must go with the socket.
        socket2::SockRef::from(&stream).set_tcp_nodelay(true).expect("an option");
        stream.write_all(b"hello").await.expect("connected");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.expect("an echo");
        assert_eq!(&answer, b"hello");
        let slept = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(1)));
        slept.await.expect("it ends");
        tokio::spawn(std::future::pending::<()>());
        sim::crash("server");
    });
    report.expect("the run ends well").steps
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("a folder of the process").count()
}

#[test]
fn ten_thousand_runs_leave_nothing() {
    (0..1_000).for_each(|seed| assert!(run(seed) > 0));
    let (memory, descriptors, threads) =
        (resident_kib(), entries("/proc/self/fd"), entries("/proc/self/task"));
    (1_000..10_000).for_each(|seed| assert!(run(seed) > 0));
    let grown = resident_kib().saturating_sub(memory);
    assert!(grown < 4 * 1024, "{grown} KiB more after nine thousand runs");
    assert_eq!(entries("/proc/self/fd"), descriptors, "descriptors were left open");
    assert!(entries("/proc/self/task") <= threads + 2, "threads were left");
}
