//! Several runtimes, and several threads that use them, in plain `#[test]`s: the same in both worlds.
//!
//! Owns what a program sees of workers, hooks, numbers and shutdown. Must not ask for the simulation. Invariant: no
//! assertion holds by the order of two threads that nothing orders.
#![allow(clippy::disallowed_methods, reason = "threads that wait are what is tested")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{self, Builder, Handle, Runtime};
use tokio::sync::{Notify, oneshot};

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn threaded(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

#[test]
fn tasks_of_a_threaded_runtime_run_while_its_caller_waits_for_a_thread() {
    let runtime = threaded(2);
    let (sender, receiver) = mpsc::channel();
    for number in 0..10 {
        let sender = sender.clone();
        runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(number)).await;
            sender.send(number).expect("the test waits");
        });
    }
    let mut numbers: Vec<u64> = (0..10).map(|_| receiver.recv().expect("ten are sent")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[test]
fn tasks_of_a_single_threaded_runtime_run_only_in_block_on() {
    let runtime = single();
    let ran = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ran);
    let task = runtime.spawn(async move { flag.store(true, Ordering::SeqCst) });
    thread::sleep(Duration::from_millis(20));
    assert!(!ran.load(Ordering::SeqCst));
    runtime.block_on(task).expect("it ends");
    assert!(ran.load(Ordering::SeqCst));
}

#[test]
fn handles_work_on_threads_of_the_program() {
    let runtime = single();
    let handle = runtime.handle().clone();
    let (sender, receiver) = oneshot::channel();
    let other = thread::spawn(move || {
        let task = handle.spawn(async { 4 });
        sender.send(task).expect("the test waits");
        handle.block_on(async { 5 })
    });
    let (four, task) = runtime.block_on(async {
        let task = receiver.await.expect("it is sent");
        (task.await.expect("it ends"), 6)
    });
    assert_eq!((four, task, other.join().expect("no panic")), (4, 6, 5));
}

#[test]
fn a_thread_that_was_there_before_the_runtime_wakes_its_tasks() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let other = thread::spawn(move || {
        for number in 0..5 {
            thread::sleep(Duration::from_millis(2));
            sender.blocking_send(number).expect("the test waits");
        }
    });
    let sum = single().block_on(async {
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    other.join().expect("no panic");
    assert_eq!(sum, 10);
}

static SHARED: LazyLock<Runtime> = LazyLock::new(|| threaded(2));

fn use_the_shared_runtime(number: u64) {
    let task = SHARED.spawn(async move {
        tokio::time::sleep(Duration::from_millis(number)).await;
        number
    });
    assert_eq!(SHARED.block_on(task).expect("it ends"), number);
}

#[test]
fn a_runtime_in_a_static_serves_this_test() {
    use_the_shared_runtime(3);
}

#[test]
fn a_runtime_in_a_static_serves_that_test() {
    use_the_shared_runtime(4);
}

#[test]
fn a_runtime_in_a_static_outlives_the_thread_that_made_it() {
    static OWN: LazyLock<Runtime> = LazyLock::new(|| threaded(1));
    for number in 0..3 {
        let used = thread::spawn(move || OWN.block_on(async move { number }));
        assert_eq!(used.join().expect("no panic"), number);
    }
}

#[test]
fn a_guard_of_a_runtime_in_a_static_holds_nobody_up() {
    static OWN: LazyLock<Runtime> = LazyLock::new(|| threaded(1));
    thread::spawn(|| OWN.block_on(async {})).join().expect("no panic");
    let _guard = OWN.enter();
    let used = thread::spawn(|| OWN.block_on(async { 1 }));
    assert_eq!(used.join().expect("no panic"), 1);
    let (sender, receiver) = mpsc::channel();
    OWN.spawn(async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        sender.send(2)
    });
    assert_eq!(receiver.recv(), Ok(2));
}

#[test]
fn the_end_of_a_runtime_waits_for_polls_that_wait() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    let runtime = threaded(2);
    let (sender, begun) = mpsc::channel();
    let wait = move || {
        sender.send(()).expect("somebody listens");
        thread::sleep(Duration::from_millis(100));
        ENDED.fetch_add(1, Ordering::SeqCst);
    };
    let in_place = wait.clone();
    runtime.spawn(async move { wait() });
    runtime.spawn(async move { tokio::task::block_in_place(in_place) });
    begun.iter().take(2).for_each(drop);
    drop(runtime);
    assert_eq!(ENDED.load(Ordering::SeqCst), 2);
}

#[test]
fn a_runtime_is_ended_by_one_of_its_own_threads() {
    let runtime = threaded(1);
    let (sender, receiver) = mpsc::channel();
    runtime.handle().clone().spawn_blocking(move || {
        runtime.shutdown_timeout(Duration::from_millis(20));
        sender.send(()).expect("somebody waits");
    });
    assert_eq!(receiver.recv(), Ok(()));
}

#[test]
fn a_runtime_may_end_with_its_thread() {
    thread_local! {
        static OWN: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    let dropped = Arc::new(AtomicBool::new(false));
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let guard = OnDrop(Arc::clone(&dropped));
    let other = thread::spawn(move || {
        let runtime = threaded(1);
        runtime.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        OWN.with(|own| *own.borrow_mut() = Some(runtime));
    });
    other.join().expect("no panic");
    assert!(dropped.load(Ordering::SeqCst));
}

#[test]
fn block_in_place_does_not_hold_up_block_on() {
    let runtime = threaded(2);
    let answer = runtime.block_on(async {
        let (sender, receiver) = mpsc::channel();
        let task =
            tokio::spawn(async move { tokio::task::block_in_place(|| receiver.recv().expect("it is sent")) });
        tokio::time::sleep(Duration::from_millis(5)).await;
        sender.send(8).expect("the task waits");
        task.await.expect("it ends")
    });
    assert_eq!(answer, 8);
}

#[test]
fn real_primitives_may_block_in_place() {
    let runtime = threaded(2);
    let answer = runtime.block_on(async {
        let (sender, receiver) = oneshot::channel();
        let task = tokio::spawn(async {
            tokio::task::block_in_place(|| receiver.blocking_recv().expect("it is sent"))
        });
        tokio::time::sleep(Duration::from_millis(5)).await;
        sender.send(9).expect("the task waits");
        task.await.expect("it ends")
    });
    assert_eq!(answer, 9);
}

#[test]
fn parking_is_told_and_counted() {
    let parked = Arc::new(AtomicUsize::new(0));
    let unparked = Arc::new(AtomicUsize::new(0));
    let count = |counter: &Arc<AtomicUsize>| {
        let counter = Arc::clone(counter);
        move || {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    };
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(count(&parked))
        .on_thread_unpark(count(&unparked))
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let metrics = runtime.metrics();
    drop(runtime);
    assert!(parked.load(Ordering::SeqCst) >= 3);
    assert!(unparked.load(Ordering::SeqCst) >= 3);
    assert!(metrics.worker_park_count(0) >= 3);
    assert_eq!(metrics.worker_park_unpark_count(0) % 2, 0, "a worker ends unparked");
    assert!(metrics.worker_total_busy_duration(0) > Duration::ZERO);
}

#[test]
fn a_hook_of_a_parking_worker_may_wake_what_it_waits_for() {
    let (notify, once) = (Arc::new(Notify::new()), AtomicBool::new(false));
    let from_hook = Arc::clone(&notify);
    let runtime = Builder::new_current_thread()
        .on_thread_park(move || {
            if !once.swap(true, Ordering::SeqCst) {
                from_hook.notify_one();
            }
        })
        .build()
        .expect("a runtime");
    runtime.block_on(notify.notified());
}

#[test]
fn workers_have_indices_and_others_have_none() {
    assert_eq!(runtime::worker_index(), None);
    assert_eq!(single().block_on(async { runtime::worker_index() }), Some(0));
    let threaded = threaded(3);
    assert_eq!(threaded.block_on(async { runtime::worker_index() }), None);
    let (inside, blocking) = threaded.block_on(async {
        let inside = tokio::spawn(async { runtime::worker_index() }).await.expect("it ends");
        let blocking = tokio::task::spawn_blocking(runtime::worker_index).await.expect("it ends");
        (inside, blocking)
    });
    assert!(inside.is_some_and(|index| index < 3), "{inside:?}");
    assert_eq!(blocking, None);
}

#[test]
fn threads_have_the_runtimes_name() {
    let name = || thread::current().name().map(str::to_owned);
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("kitchen").build().expect("one");
    let (task, blocking) = runtime.block_on(async move {
        let task = tokio::spawn(async move { name() }).await.expect("it ends");
        let blocking = tokio::task::spawn_blocking(name).await.expect("it ends");
        (task, blocking)
    });
    assert_eq!((task.as_deref(), blocking.as_deref()), (Some("kitchen"), Some("kitchen")));
    assert_ne!(thread::current().name(), Some("kitchen"));
}

#[test]
fn blocking_closures_that_were_queued_run_to_their_end() {
    let runtime = Builder::new_current_thread().max_blocking_threads(1).enable_all().build().expect("one");
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let done = Arc::clone(&done);
        runtime.spawn_blocking(move || {
            thread::sleep(Duration::from_millis(5));
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    runtime.shutdown_timeout(Duration::from_secs(10));
    assert_eq!(done.load(Ordering::SeqCst), 4);
}

#[test]
fn a_socket_says_that_its_runtime_is_gone() {
    let (one, other) = (single(), single());
    let listener = one.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
    drop(one);
    let error = other.block_on(listener.accept()).expect_err("its runtime is gone");
    assert!(runtime::is_rt_shutdown_err(&error), "{error:?}");
}

#[test]
#[should_panic(expected = "dropped out of order")]
fn guards_are_dropped_in_order() {
    let (one, other) = (single(), single());
    let first = one.enter();
    let _second = other.enter();
    drop(first);
}

#[test]
#[should_panic(expected = "Cannot drop a runtime in a context where blocking is not allowed")]
fn a_runtime_is_not_dropped_in_a_task() {
    let inner = single();
    single().block_on(async move { drop(inner) });
}

#[test]
fn a_future_that_panics_is_dropped_while_the_task_unwinds() {
    struct Asks(Arc<AtomicBool>);
    impl Drop for Asks {
        fn drop(&mut self) {
            self.0.store(thread::panicking(), Ordering::SeqCst);
        }
    }
    let unwinding = Arc::new(AtomicBool::new(false));
    let asks = Asks(Arc::clone(&unwinding));
    let runtime = single();
    let task = runtime.spawn(async move {
        let _asks = asks;
        panic!("on purpose");
    });
    assert!(runtime.block_on(task).expect_err("it panics").is_panic());
    assert!(unwinding.load(Ordering::SeqCst));
    assert!(Handle::try_current().is_err());
}

#[test]
fn a_paused_clock_ends_with_its_runtime() {
    for pauses_later in [false, true] {
        let paused =
            Builder::new_current_thread().enable_all().start_paused(!pauses_later).build().expect("one");
        paused.block_on(async {
            if pauses_later {
                tokio::time::pause();
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        });
        drop(paused);
        single().block_on(async {
            // Only a clock that runs can be stopped, and only one that was stopped moved by hand.
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::time::resume();
        });
    }
}
