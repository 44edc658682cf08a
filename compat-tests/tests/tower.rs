//! tower's middle layers: time-outs, retries, limits, buffers. All of it is timers and semaphores of tokio.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower::buffer::BufferLayer;
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::retry::{Policy, RetryLayer};
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

/// Takes as many milliseconds as it is told, and answers with that number.
async fn take(millis: u64) -> Result<u64, BoxError> {
    sleep(Duration::from_millis(millis)).await;
    Ok(millis)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cuts_off_what_is_slow() {
    let mut service =
        ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_millis(100))).service(service_fn(take));
    let started = Instant::now();
    assert_eq!(service.ready().await.expect("ready").call(50).await.expect("in time"), 50);
    assert_eq!(started.elapsed(), Duration::from_millis(50));

    let error = service.ready().await.expect("ready").call(5000).await.expect_err("too slow");
    assert!(error.is::<Elapsed>(), "{error}");
    assert_eq!(started.elapsed(), Duration::from_millis(150));
}

#[derive(Clone)]
struct Attempts(usize);

impl Policy<u64, u64, BoxError> for Attempts {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u64, outcome: &mut Result<u64, BoxError>) -> Option<Ready<()>> {
        if outcome.is_ok() || self.0 == 0 {
            return None;
        }
        self.0 -= 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

#[tokio::test]
async fn a_retry_asks_again_but_not_for_ever() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let fails_until = move |limit: u64| {
        let call = counter.fetch_add(1, Ordering::Relaxed) as u64;
        async move { if call < limit { Err(BoxError::from("not yet")) } else { Ok(call) } }
    };
    let mut service =
        ServiceBuilder::new().layer(RetryLayer::new(Attempts(5))).service(service_fn(fails_until));
    assert_eq!(service.ready().await.expect("ready").call(3).await.expect("the fourth answers"), 3);
    assert_eq!(calls.load(Ordering::Relaxed), 4);

    let error = service.ready().await.expect("ready").call(u64::MAX).await.expect_err("never");
    assert_eq!(error.to_string(), "not yet");
    assert_eq!(calls.load(Ordering::Relaxed), 4 + 6);
}

#[tokio::test(start_paused = true)]
async fn a_retry_with_a_timeout_pays_for_each_attempt() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let service = service_fn(move |_: u64| {
        // Quicker each time: 400, 200, 100, 50 ms.
        take(400 >> counter.fetch_add(1, Ordering::Relaxed))
    });
    let mut service = ServiceBuilder::new()
        .layer(RetryLayer::new(Attempts(10)))
        .layer(TimeoutLayer::new(Duration::from_millis(80)))
        .service(service);
    let started = Instant::now();
    assert_eq!(service.ready().await.expect("ready").call(0).await.expect("the fourth"), 50);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    assert_eq!(started.elapsed(), Duration::from_millis(3 * 80 + 50));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept() {
    let limit = RateLimitLayer::new(5, Duration::from_secs(1));
    let mut service = ServiceBuilder::new().layer(limit).service(service_fn(take));
    let started = Instant::now();
    let mut done = Vec::new();
    for _ in 0..12 {
        service.ready().await.expect("ready").call(0).await.expect("answers");
        done.push(started.elapsed().as_secs());
    }
    assert_eq!(done, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_calls_run_at_once() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let service = {
        let (running, most) = (running.clone(), most.clone());
        service_fn(move |millis: u64| {
            let running = running.clone();
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            async move {
                let outcome = take(millis).await;
                running.fetch_sub(1, Ordering::Relaxed);
                outcome
            }
        })
    };
    let service = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(3)).service(service);
    let started = Instant::now();
    let answers = join_all((0..9).map(|_| service.clone().oneshot(100))).await;
    assert!(answers.into_iter().all(|answer| answer.expect("answers") == 100));
    assert_eq!(most.load(Ordering::Relaxed), 3);
    assert_eq!(running.load(Ordering::Relaxed), 0);
    assert_eq!(started.elapsed(), Duration::from_millis(300));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_shed() {
    let service = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(2))
        .service(service_fn(take));
    let answers = join_all((0..5).map(|_| service.clone().oneshot(100))).await;
    let (good, shed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.is_ok());
    assert_eq!((good.len(), shed.len()), (2, 3));
    assert!(shed.into_iter().all(|answer| answer.expect_err("shed").is::<Overloaded>()));
    assert_eq!(service.oneshot(10).await.expect("there is room again"), 10);
}

#[tokio::test]
async fn a_buffer_serves_many_handles_through_one_task() {
    let mut calls = 0_u64;
    // Not `Clone`: only the buffer makes it usable by many.
    let counting = service_fn(move |number: u64| {
        calls += 1;
        let seen = calls;
        async move { Ok::<_, BoxError>((number, seen)) }
    });
    let service = ServiceBuilder::new().layer(BufferLayer::new(8)).service(counting);
    let mut answers = join_all((0..50).map(|number| tokio::spawn(service.clone().oneshot(number))))
        .await
        .into_iter()
        .enumerate()
        .map(|(index, answer)| {
            let (number, seen) = answer.expect("no panic").expect("answers");
            assert_eq!(number, index as u64);
            seen
        })
        .collect::<Vec<_>>();
    answers.sort_unstable();
    assert_eq!(answers, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_buffer_whose_service_failed_says_so() {
    #[derive(Debug)]
    struct Broken;
    impl Service<u64> for Broken {
        type Response = u64;
        type Error = BoxError;
        type Future = Ready<Result<u64, BoxError>>;
        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("out of order".into()))
        }
        fn call(&mut self, _: u64) -> Self::Future {
            unreachable!("never ready")
        }
    }
    let service = ServiceBuilder::new().layer(BufferLayer::new(8)).service(Broken);
    let error = service.oneshot(1).await.expect_err("the service is broken");
    assert!(error.to_string().contains("out of order"), "{error}");
}
