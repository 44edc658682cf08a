//! Signals: from the test to nodes, and from programs to themselves.
//!
//! Owns default actions and delivery. Invariant: what holds on one seed holds on all, in every run of it.
#![cfg(all(sim, feature = "full"))]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sim;
use tokio::time::sleep;

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const SIGWINCH: i32 = 28;

async fn forever() -> Result<(), Box<dyn std::error::Error>> {
    sleep(Duration::from_secs(1_000_000)).await;
    Ok(())
}

#[tokio::test]
async fn default_actions_are_those_of_linux() {
    for (number, survives) in
        [(SIGTERM, false), (SIGHUP, false), (SIGKILL, false), (SIGWINCH, true), (SIGCONT, true), (40, false)]
    {
        let name = format!("node{number}");
        sim::host(name.as_str(), forever);
        sleep(Duration::from_secs(1)).await;
        sim::kill(&name, number);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(sim::is_running(&name), survives, "signal {number}");
    }
}

#[tokio::test]
async fn a_stopped_process_goes_on() {
    let ticks = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ticks);
    sim::host("ticker", move || {
        let ticks = Arc::clone(&counted);
        async move {
            loop {
                ticks.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_secs(1)).await;
            }
        }
    });
    sleep(Duration::from_secs(5)).await;
    sim::kill("ticker", SIGSTOP);
    let before = ticks.load(Ordering::SeqCst);
    sleep(Duration::from_secs(5)).await;
    assert!(ticks.load(Ordering::SeqCst) <= before + 1);
    sim::kill("ticker", SIGCONT);
    sleep(Duration::from_secs(5)).await;
    assert!(ticks.load(Ordering::SeqCst) >= before + 4);
    sim::kill("ticker", SIGSTOP);
    sim::kill("ticker", SIGKILL);
    sleep(Duration::from_secs(1)).await;
    assert!(!sim::is_running("ticker"), "a stopped process can be killed");
}

#[tokio::test]
async fn a_process_shuts_down_in_order_and_listens_anew_after_its_next_start() {
    let ended = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ended);
    sim::host("server", move || {
        let ended = Arc::clone(&counted);
        async move {
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            ended.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    for round in 1..=3 {
        sleep(Duration::from_secs(1)).await;
        sim::kill("server", if round == 2 { 2 } else { SIGTERM });
        sleep(Duration::from_secs(1)).await;
        assert!(!sim::is_running("server"));
        assert_eq!(ended.load(Ordering::SeqCst), round);
        sim::start("server");
    }
    // It has not been polled since it started: nobody listens yet.
    sim::kill("server", SIGTERM);
    assert!(!sim::is_running("server"));
}

#[tokio::test]
async fn a_process_that_kills_itself_does_nothing_more() {
    let went_on = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&went_on);
    sim::host("suicidal", move || {
        let flag = Arc::clone(&flag);
        async move {
            let thread = Arc::clone(&flag);
            tokio::task::spawn_blocking(move || {
                kill(Pid::this(), Signal::SIGTERM).expect("the process is its own");
                thread.store(true, Ordering::SeqCst);
            })
            .await?;
            flag.store(true, Ordering::SeqCst);
            Ok(())
        }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!sim::is_running("suicidal"));
    assert!(!went_on.load(Ordering::SeqCst), "a thread does not come back from the call");
}

#[tokio::test]
async fn several_of_one_signal_count_as_one_and_each_listener_hears_it() {
    let mut first = signal(SignalKind::user_defined1()).unwrap();
    let mut second = signal(SignalKind::user_defined1()).unwrap();
    for _ in 0..3 {
        raise(Signal::SIGUSR1).unwrap();
    }
    // Sent, but told to nobody before the next turn: who listens now hears it, too.
    let mut late = signal(SignalKind::user_defined1()).unwrap();
    for listener in [&mut first, &mut second, &mut late] {
        listener.recv().await.unwrap();
        let again = tokio::time::timeout(Duration::from_secs(1), listener.recv()).await;
        assert!(again.is_err());
    }
}

#[tokio::test]
#[should_panic(expected = "died of signal 15 (SIGTERM)")]
async fn the_tests_own_process_dies_loudly() {
    raise(Signal::SIGTERM).unwrap();
    sleep(Duration::from_secs(1)).await;
}

/// What signal-hook does: the handler is the kernel's, and runs within the call.
#[tokio::test]
async fn a_handler_of_the_programs_own_is_called() {
    let called = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(Signal::SIGUSR2 as i32, Arc::clone(&called)).unwrap();
    assert!(!called.load(Ordering::SeqCst));
    raise(Signal::SIGUSR2).unwrap();
    assert!(called.load(Ordering::SeqCst));
}
