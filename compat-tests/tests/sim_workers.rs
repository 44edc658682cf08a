//! Simulated workers under many seeds: a runtime is as parallel as it says, and no more.
//!
//! Owns what only a simulation can show: that a runtime whose workers all wait stands still, and that its numbers are
//! the seed's. Invariant: every run is made twice, and its traces are equal.
#![cfg(sim)]
#![allow(clippy::disallowed_methods, reason = "threads that wait are what is tested")]

use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sim::Builder;

const SEEDS: std::ops::Range<u64> = 0..40;

fn twice<F, Fut>(builder: &Builder, seed: u64, main: F) -> Fut::Output
where
    F: Fn() -> Fut + Send + Copy,
    Fut: Future,
    Fut::Output: PartialEq + std::fmt::Debug + Send,
{
    let run = || builder.clone().seed(seed).run(main).expect("the run ends well");
    let (one, other) = (run(), run());
    assert_eq!(one.trace_hash, other.trace_hash, "seed {seed}");
    assert_eq!(one.output, other.output, "seed {seed}");
    one.output
}

fn threaded(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("one")
}

/// Two tasks that wait for a third hold both workers of a runtime that has two, and none is left.
async fn third_task_of(workers: usize) -> Result<(), mpsc::RecvTimeoutError> {
    tokio::task::spawn_blocking(move || {
        let runtime = threaded(workers);
        let (done, ended) = mpsc::channel();
        let senders: Vec<mpsc::Sender<()>> = (0..2)
            .map(|_| {
                let (sender, receiver) = mpsc::channel();
                let done = done.clone();
                runtime.spawn(async move {
                    let _ = receiver.recv();
                    let _ = done.send(());
                });
                sender
            })
            .collect();
        std::thread::sleep(Duration::from_millis(10));
        runtime.spawn(async move { drop(senders) });
        let ended = ended.recv_timeout(Duration::from_secs(10));
        runtime.shutdown_background();
        ended
    })
    .await
    .expect("it ends")
}

#[test]
fn a_runtime_polls_no_more_tasks_at_a_time_than_it_has_workers() {
    for seed in SEEDS {
        let two = twice(&Builder::new(), seed, || third_task_of(2));
        assert_eq!(two, Err(mpsc::RecvTimeoutError::Timeout), "seed {seed}");
        let three = twice(&Builder::new(), seed, || third_task_of(3));
        assert_eq!(three, Ok(()), "seed {seed}");
    }
}

#[test]
fn the_numbers_of_workers_are_the_seeds() {
    let numbers = |seed| {
        twice(&Builder::new(), seed, || async {
            tokio::task::spawn_blocking(|| {
                let runtime = threaded(3);
                runtime.block_on(async {
                    for number in 0..10 {
                        tokio::spawn(async move { tokio::time::sleep(Duration::from_millis(number)).await });
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    tokio::task::block_in_place(|| std::thread::sleep(Duration::from_millis(1)));
                });
                let metrics = runtime.metrics();
                (0..3)
                    .map(|worker| {
                        (metrics.worker_park_count(worker), metrics.worker_total_busy_duration(worker))
                    })
                    .collect::<Vec<_>>()
            })
            .await
            .expect("it ends")
        })
    };
    let all: Vec<_> = SEEDS.map(numbers).collect();
    assert!(all.iter().any(|numbers| *numbers != all[0]), "seeds differ");
    assert!(all.iter().all(|numbers| numbers.iter().all(|(parks, busy)| *parks > 0 && !busy.is_zero())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_of_a_threaded_runtime_goes_on_while_a_task_blocks_in_place() {
    let (sender, receiver) = mpsc::channel();
    let task = tokio::spawn(async move { tokio::task::block_in_place(|| receiver.recv()) });
    let other = tokio::spawn(async { Handle::current().metrics().num_workers() });
    tokio::time::sleep(Duration::from_millis(3)).await;
    sender.send(5).expect("the task waits");
    assert_eq!(task.await.expect("it ends"), Ok(5));
    assert_eq!(other.await.expect("it ends"), 2);
}

/// The hooks of a runtime run in the process that the runtime is in.
#[test]
fn hooks_run_on_their_runtimes_node() {
    for seed in SEEDS {
        let pids = twice(&Builder::new(), seed, || async {
            let (own, hooked) = tokio::sim::client("other", async {
                let own = std::process::id();
                let (sender, receiver) = mpsc::channel();
                let ended = tokio::task::spawn_blocking(move || {
                    let mut builder = tokio::runtime::Builder::new_multi_thread();
                    let park = sender.clone();
                    builder.on_thread_park(move || _ = park.send(std::process::id()));
                    builder.on_thread_unpark(move || _ = sender.send(std::process::id()));
                    let runtime = builder.worker_threads(1).enable_all().build().expect("one");
                    runtime.block_on(async {
                        tokio::spawn(tokio::time::sleep(Duration::from_millis(1))).await.expect("it ends");
                    });
                });
                ended.await.expect("it ends");
                (own, receiver.try_iter().collect::<Vec<_>>())
            })
            .await
            .expect("it ends");
            assert!(hooked.len() > 1, "no hook ran");
            (own, hooked)
        });
        let (own, hooked) = pids;
        assert!(hooked.iter().all(|pid| *pid == own), "{own}: {hooked:?}");
    }
}
