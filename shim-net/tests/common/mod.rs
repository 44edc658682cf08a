//! What the tests of the mirror share: seeds, nodes, and two futures at once.
//!
//! Owns no test. Must not know sockets but for `connect`. Invariant: a run that differs from the one before
//! with the same seed fails.
#![allow(dead_code, reason = "each test file uses a part")]

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use shim_net::mirror::{TcpListener, TcpStream};
use shim_runtime::config::Config;
use shim_runtime::node::{NodeId, NodeMain, spawn_node};
use shim_runtime::run::{FailureKind, MainRuntime, run};
use shim_runtime::{EventId, time};

const SEEDS: u64 = 6;

/// Runs `body`, which does not wait for anything, as the program of the test's node.
pub(crate) fn simulate<T>(body: impl FnOnce() -> T) -> T {
    let (result, report, _) = run(Config::default(), MainRuntime::default(), || async move { body() });
    match result {
        Ok(value) => value,
        Err(_) => panic!("{report}"),
    }
}

/// Runs `body` twice for each of several seeds, each time on a fresh thread: a thread keeps the keys that
/// std has drawn for its hash maps.
pub(crate) fn each_seed<F: Future<Output = ()>>(body: impl Fn() -> F + Sync) {
    let on_thread = |seed| std::thread::scope(|scope| scope.spawn(|| once(seed, &body)).join());
    for seed in 1..=SEEDS {
        let hash = || on_thread(seed).unwrap_or_else(|payload| std::panic::resume_unwind(payload));
        assert_eq!(hash(), hash(), "seed {seed}: two runs differ");
    }
}

fn once<F: Future<Output = ()>>(seed: u64, body: impl Fn() -> F) -> u64 {
    let (result, report, summary) = run(
        Config { seed, log: std::env::var_os("LOG").is_some(), ..Config::default() },
        MainRuntime::default(),
        body,
    );
    match result {
        Ok(()) => summary.trace_hash,
        Err(FailureKind::Stalled(_)) => panic!("seed {seed}: {report}"),
        Err(FailureKind::Panicked(payload)) => std::panic::resume_unwind(payload),
    }
}

/// Starts a node that runs `main`.
pub(crate) fn node<F>(name: &str, mut main: impl FnMut() -> F + 'static) -> NodeId
where
    F: Future<Output = Result<(), Box<dyn Error>>> + 'static,
{
    spawn_node(name, NodeMain::Future(Box::new(move || Box::pin(main()))))
}

/// Waits for both.
pub(crate) async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.unwrap(), second.unwrap())
}

/// Lets virtual time pass.
pub(crate) async fn sleep(length: Duration) {
    let at = time::now().saturating_add(length);
    let mut timer = Timer(None);
    poll_fn(|cx| {
        if time::now() >= at {
            return Poll::Ready(());
        }
        timer.cancel();
        timer.0 = Some(time::register(at, cx.waker()));
        Poll::Pending
    })
    .await;
}

/// A timer that is gone when this is dropped.
struct Timer(Option<EventId>);

impl Timer {
    fn cancel(&mut self) {
        if let Some(timer) = self.0.take() {
            time::cancel(timer);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// `None` where `future` takes longer than `length`.
pub(crate) async fn within<F: Future>(length: Duration, future: F) -> Option<F::Output> {
    let (mut future, mut limit) = (pin!(future), pin!(sleep(length)));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => limit.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A stream to this node and the accepted end of it.
pub(crate) async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) = both(TcpStream::connect(address), listener.accept()).await;
    (connected.unwrap(), accepted.unwrap().0)
}

/// Connects to a server that may still be on its way up.
pub(crate) async fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
