//! Threads of nodes: an application's own `main`, blocking closures, `block_in_place`; and what becomes of them
//! when their node crashes or the run ends around them.
//!
//! Owns the life of threads. Invariant: whatever a thread waits in, its node can crash and start again.
#![cfg(sim)]
#![expect(clippy::disallowed_methods, reason = "threads that sleep are what is tested")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sim::{self, Builder};
use tokio::time::sleep;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// Blocks in a socket, a timer, a lock and a sleeping thread at once.
#[tokio::main]
async fn application() {
    STARTED.fetch_add(1, Ordering::SeqCst);
    let asleep = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_secs(2000)));
    let locked = tokio::task::spawn_blocking(|| {
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        receiver.recv_timeout(Duration::from_secs(1500)).expect_err("nobody sends");
    });
    let listener = tokio::net::TcpListener::bind("0.0.0.0:80").await.expect("the port is free");
    let accepts = tokio::spawn(async move { listener.accept().await.map(drop) });
    sleep(Duration::from_secs(1000)).await;
    asleep.await.expect("it sleeps to its end");
    locked.await.expect("it waits to its end");
    accepts.abort();
}

#[tokio::test]
async fn an_application_that_ends_is_not_running() {
    sim::node("app").main(application);
    sleep(Duration::from_secs(999)).await;
    assert!(sim::is_running("app"));
    sleep(Duration::from_secs(1100)).await;
    assert!(!sim::is_running("app"), "its threads sleep in virtual time");
}

#[tokio::test]
async fn an_application_crashes_in_the_middle_and_starts_again() {
    STARTED.store(0, Ordering::SeqCst);
    sim::node("app").main(application);
    for round in 1..=5 {
        sleep(Duration::from_secs(round * 100)).await;
        assert!(sim::is_running("app"));
        if round % 2 == 0 {
            sim::crash("app");
        } else {
            sim::power_off("app");
        }
        assert!(!sim::is_running("app"));
        sleep(Duration::from_secs(10)).await;
        // The port is free again: the process that had it is gone.
        sim::start("app");
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(STARTED.load(Ordering::SeqCst), 6);
}

#[test]
fn a_run_that_fails_leaves_its_threads() {
    let failed = Builder::new().run(|| async {
        sim::node("one").main(application);
        sim::node("two").main(application);
        sleep(Duration::from_secs(1)).await;
        panic!("enough");
    });
    assert_eq!(failed.map(|report| report.output).expect_err("it panicked").report, "enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocking_in_place_lets_others_go_on() {
    let other = tokio::spawn(async {
        sleep(Duration::from_secs(1)).await;
        3
    });
    let three = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(async {
            sleep(Duration::from_secs(2)).await;
            other.await.expect("it ends")
        })
    });
    assert_eq!(three, 3);
    assert!(sim::elapsed() >= Duration::from_secs(2));
}

#[tokio::test]
async fn threads_meet_in_channels_and_locks() {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let counter = std::sync::Arc::new(std::sync::Mutex::new(0));
    let senders: Vec<_> = (0..4)
        .map(|number| {
            let (sender, counter) = (sender.clone(), counter.clone());
            tokio::task::spawn_blocking(move || {
                for _ in 0..10 {
                    std::thread::sleep(Duration::from_millis(number));
                    *counter.lock().expect("nobody panics") += 1;
                    sender.send(number).expect("somebody receives");
                }
            })
        })
        .collect();
    drop(sender);
    let received = tokio::task::spawn_blocking(move || receiver.iter().count()).await.expect("it ends");
    for sender in senders {
        sender.await.expect("it ends");
    }
    assert_eq!((received, *counter.lock().expect("nobody panics")), (40, 40));
}

#[tokio::test]
async fn a_signal_reaches_who_listens_and_kills_who_does_not() {
    sim::host("listens", || async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        terminate.recv().await;
        sleep(Duration::from_secs(5)).await;
        Ok(())
    });
    sim::host("does not", || async {
        std::future::pending::<()>().await;
        Ok(())
    });
    sleep(Duration::from_secs(1)).await;
    sim::kill("listens", 15);
    sim::kill("does not", 15);
    assert!(!sim::is_running("does not"));
    sleep(Duration::from_secs(4)).await;
    assert!(sim::is_running("listens"), "it takes its time");
    sleep(Duration::from_secs(2)).await;
    assert!(!sim::is_running("listens"));
}

/// A thread's own runtime, blocking sockets, locks and joins: all in virtual time.
#[tokio::test]
async fn threads_of_std_take_part() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        std::thread::sleep(Duration::from_secs(5));
        std::io::Write::write_all(&mut stream, b"late").expect("connected");
    });
    let client = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.expect("somebody listens");
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.expect("it is sent");
            answer
        })
    });
    let answer = tokio::task::spawn_blocking(move || {
        server.join().expect("it ends");
        client.join().expect("it ends")
    });
    assert_eq!(answer.await.expect("it ends"), "late");
    assert!(sim::elapsed() >= Duration::from_secs(5));
    let sum: u64 = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(10 - number));
                    number
                })
            })
            .collect();
        parts.into_iter().map(|part| part.join().expect("it ends")).sum()
    });
    assert_eq!(sum, 6);
}

#[tokio::test]
async fn a_thread_dies_with_its_node() {
    static TICKS: AtomicU32 = AtomicU32::new(0);
    sim::host("ticks", || async {
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                TICKS.fetch_add(1, Ordering::SeqCst);
            }
        });
        std::future::pending::<()>().await;
        Ok(())
    });
    sleep(Duration::from_millis(3500)).await;
    assert_eq!(TICKS.load(Ordering::SeqCst), 3);
    sim::crash("ticks");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(TICKS.load(Ordering::SeqCst), 3);
}
