//! What threads, waits in the middle of polls, crashes and panics do to each other: each test here once hung, lost a
//! wake, or let a dead node act.
//!
//! Owns the bad timings. Invariant: whatever waits is woken or ended, and a node that is dead does nothing.
#![cfg(sim)]
#![expect(clippy::disallowed_methods, reason = "threads that sleep and block are what is tested")]

use std::future::Future;
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sim::{self, Builder};
use tokio::sync::oneshot;
use tokio::task::{LocalSet, block_in_place, spawn_blocking, spawn_local};
use tokio::time::sleep;

const fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

const fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Crashes a node again and again while its task sleeps in the middle of a poll, on the thread of the loop.
async fn crash_a_sleeping_poll() {
    sim::host("app", || async {
        thread::sleep(secs(10));
        Ok(())
    });
    let crashes = tokio::spawn(async {
        for _ in 0..3 {
            sleep(secs(5)).await;
            sim::crash("app");
            sleep(secs(2)).await;
            sim::start("app");
            sleep(secs(5)).await;
            sim::pause("app");
            sleep(secs(20)).await;
            sim::power_off("app");
            sim::start("app");
        }
    });
    crashes.await.expect("it ends");
    sleep(secs(60)).await;
    assert!(!sim::is_running("app"), "the last of them sleeps to its end");
}

#[tokio::test]
async fn a_poll_that_sleeps_dies_with_its_node() {
    crash_a_sleeping_poll().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_sleeps_dies_with_its_node_beside_the_test() {
    crash_a_sleeping_poll().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_polled_for_a_dead_node_polls_for_others() {
    let wait = || block_in_place(|| Handle::current().block_on(sleep(secs(10))));
    sim::host("dies", move || async move {
        wait();
        Ok(())
    });
    sleep(secs(5)).await;
    sim::crash("dies");
    sim::host("lives", move || async move {
        wait();
        wait();
        Ok(())
    });
    sleep(secs(60)).await;
    assert!(!sim::is_running("lives"), "nobody killed it");
}

/// Is told something while it sleeps in another branch of the same future.
async fn hear_in_your_sleep() {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        sleep(secs(1)).await;
        sender.send(()).expect("somebody listens");
    });
    let (heard, ()) = tokio::join!(receiver, async { thread::sleep(secs(2)) });
    heard.expect("it was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_during_a_wait_inside_a_poll_counts() {
    hear_in_your_sleep().await;
    let blocking = spawn_blocking(|| Handle::current().block_on(hear_in_your_sleep()));
    blocking.await.expect("it ends");
    static ENDED: AtomicU32 = AtomicU32::new(0);
    ENDED.store(0, Ordering::SeqCst);
    #[tokio::main]
    async fn application() {
        hear_in_your_sleep().await;
        block_in_place(|| Handle::current().block_on(hear_in_your_sleep()));
        ENDED.fetch_add(1, Ordering::SeqCst);
    }
    sim::node("app").main(application);
    sleep(secs(10)).await;
    assert_eq!(ENDED.load(Ordering::SeqCst), 1);
}

/// Tells the node `ear` when it is dropped, at once and by a task.
struct Tells(&'static [u8]);

impl Drop for Tells {
    fn drop(&mut self) {
        let to = (sim::lookup("ear"), 9);
        let _ = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(self.0, to));
        drop(tokio::spawn(async move {
            let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
            socket.send_to(b"a task", to).await
        }));
    }
}

#[tokio::main]
async fn telling() {
    let _tells = Tells(b"main");
    drop(spawn_blocking(|| {
        let _tells = Tells(b"closure");
        Handle::current().block_on(async {
            let _tells = Tells(b"future of a closure");
            sleep(secs(1000)).await;
        });
    }));
    drop(tokio::spawn(async {
        let _tells = Tells(b"task");
        sleep(secs(1000)).await;
    }));
    block_in_place(|| {
        Handle::current().block_on(async {
            let _tells = Tells(b"future in place");
            sleep(secs(1000)).await;
        });
    });
}

#[tokio::test]
async fn what_threads_drop_as_they_die_is_heard_by_nobody() {
    sim::host("ear", || async {
        let socket = tokio::net::UdpSocket::bind("0.0.0.0:9").await?;
        let mut heard = [0; 64];
        let (length, from) = socket.recv_from(&mut heard).await?;
        panic!("heard {:?} from {from}", String::from_utf8_lossy(&heard[..length]));
    });
    sim::node("app").main(telling);
    sleep(secs(5)).await;
    sim::crash("app");
    sleep(secs(5)).await;
    sim::start("app");
    sleep(secs(5)).await;
    sim::bounce("app");
    sleep(secs(5)).await;
}

/// Joins a thread when it is dropped.
struct Joins(Option<thread::JoinHandle<()>>);

impl Drop for Joins {
    fn drop(&mut self) {
        drop(self.0.take().map(thread::JoinHandle::join));
    }
}

#[tokio::main]
async fn joining() {
    let sleeper = || thread::spawn(|| thread::sleep(secs(1000)));
    let earlier = sleeper();
    drop(spawn_blocking(|| {
        let _joins = Joins(Some(earlier));
        Handle::current().block_on(sleep(secs(1000)));
    }));
    let _joins = Joins(Some(sleeper()));
    sleep(secs(1000)).await;
}

#[tokio::test]
async fn nobody_waits_for_a_thread_that_died_with_him() {
    sim::node("app").main(joining);
    for _ in 0..3 {
        sleep(secs(5)).await;
        sim::bounce("app");
    }
}

#[tokio::test]
async fn a_dead_waiter_takes_no_wake_from_a_live_one() {
    static SHARED: Mutex<()> = Mutex::new(());
    static GOT: AtomicU32 = AtomicU32::new(0);
    GOT.store(0, Ordering::SeqCst);
    let holder = spawn_blocking(|| {
        let _guard = SHARED.lock();
        thread::sleep(secs(10));
    });
    for name in ["dies", "one", "two"] {
        sleep(secs(1)).await;
        sim::node(name).main(|| {
            drop(SHARED.lock());
            GOT.fetch_add(1, Ordering::SeqCst);
        });
    }
    sleep(secs(1)).await;
    sim::crash("dies");
    holder.await.expect("it ends");
    sleep(secs(1)).await;
    assert_eq!(GOT.load(Ordering::SeqCst), 2);
}

#[test]
fn a_run_whose_test_slept_and_panicked_leaves_no_thread() {
    let threads = || std::fs::read_dir("/proc/self/task").expect("a folder of the process").count();
    let run = || {
        let failed = Builder::new().run(|| async {
            thread::sleep(secs(1));
            panic!("enough");
        });
        failed.map(drop::<sim::Report<()>>).expect_err("it panicked");
    };
    (0..3).for_each(|_| run());
    let before = threads();
    (0..30).for_each(|_| run());
    assert!(threads() < before + 10);
}

async fn panics() {
    sleep(millis(5)).await;
    panic!("on purpose");
}

fn is_refused(f: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn panics_give_back_what_waits_took() {
    let block = || Handle::current().block_on(async {});
    let task = tokio::spawn(async move {
        assert!(is_refused(|| block_in_place(|| Handle::current().block_on(panics()))));
        assert!(is_refused(block), "it is in a task again");
        block_in_place(|| {
            Handle::current().block_on(async {
                assert!(is_refused(block));
                let local = LocalSet::new();
                let seven = local.run_until(async {
                    assert!(is_refused(|| block_in_place(|| ())));
                    let seven = spawn_local(async { spawn_blocking(|| 7).await.expect("it ends") });
                    seven.await.expect("it ends")
                });
                assert_eq!(seven.await, 7);
                block_in_place(|| thread::sleep(millis(3)));
            });
            Handle::current().block_on(sleep(millis(1)));
        });
        assert!(is_refused(block));
    });
    task.await.expect("it ends");
    for _ in 0..3 {
        let slept = tokio::spawn(async {
            thread::sleep(millis(5));
            panics().await;
        });
        assert!(slept.await.expect_err("it panics").is_panic());
    }
    // The one worker is free.
    tokio::spawn(sleep(millis(1))).await.expect("it ends");
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits in every way that there is, inside each other.
fn work(depth: u32) -> Work {
    Box::pin(async move {
        for _ in 0..3 {
            let time = millis(sim::random_in(1..50));
            match sim::random_in(0..9) {
                0 => sleep(time).await,
                1 => block_in_place(|| thread::sleep(time)),
                2 => thread::sleep(time),
                3 => {
                    let slept = thread::spawn(move || thread::sleep(time));
                    block_in_place(|| slept.join().expect("it ends"));
                }
                4 => hear_in_your_sleep().await,
                _ if depth == 0 => tokio::task::yield_now().await,
                5 => block_in_place(|| Handle::current().block_on(work(depth - 1))),
                6 => {
                    let blocks = spawn_blocking(move || Handle::current().block_on(work(depth - 1)));
                    blocks.await.expect("it ends");
                }
                7 => tokio::spawn(work(depth - 1)).await.expect("it ends"),
                _ => drop(tokio::join!(work(depth - 1), work(depth - 1))),
            }
        }
    })
}

#[tokio::main(worker_threads = 2)]
async fn busy() {
    let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(work(2))).collect();
    work(2).await;
    for task in tasks {
        task.await.expect("it ends");
    }
}

/// Crashes, pauses and starts nodes whose threads wait in every way.
async fn chaos() {
    let nodes = ["one", "two", "three"];
    sim::node("one").main(busy);
    sim::node("two").main(busy);
    sim::host("three", || async {
        work(2).await;
        Ok(())
    });
    let nap = || sleep(millis(sim::random_in(0..200)));
    for _ in 0..20 {
        nap().await;
        let node = nodes[sim::random_in(0..3) as usize];
        match sim::random_in(0..5) {
            0 => sim::crash(node),
            1 => sim::power_off(node),
            2 => sim::bounce(node),
            3 => {
                sim::pause(node);
                nap().await;
                sim::resume(node);
            }
            _ => {
                sim::pause(node);
                nap().await;
                sim::bounce(node);
            }
        }
    }
    nodes.into_iter().for_each(sim::start);
    sleep(secs(600)).await;
    assert!(nodes.into_iter().all(|node| !sim::is_running(node)), "somebody waits for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_nodes_survive_chaos() {
    chaos().await;
}

#[tokio::test]
async fn busy_nodes_survive_chaos_of_a_single_threaded_test() {
    chaos().await;
}
