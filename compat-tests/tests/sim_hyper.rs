//! hyper between two machines of a simulation: requests over a network that is not always there.
#![cfg(sim)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use compat_tests::sockets::connect_when_up;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sim;
use tokio::time::timeout;

/// Starts the server's machine. It counts the requests that reached it, over all its lives.
fn start_server() -> Arc<AtomicUsize> {
    let served = Arc::new(AtomicUsize::new(0));
    let counter = served.clone();
    sim::host("server", move || {
        let counter = counter.clone();
        async move {
            let listener = TcpListener::bind("0.0.0.0:80").await?;
            loop {
                let (stream, _) = listener.accept().await?;
                let counter = counter.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
                    async move {
                        let answer = format!("{} {count}", request.uri().path());
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(answer)))
                    }
                });
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    });
    served
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://server{path}"))
        .header("host", "server")
        .body(Full::default())
        .expect("valid")
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.into()).expect("text")
}

async fn connect_http1() -> http1::SendRequest<Full<Bytes>> {
    let stream = connect_when_up("server:80").await;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn an_answer_waits_behind_a_partition() {
    let served = start_server();
    let mut client = connect_http1().await;
    assert_eq!(text(client.send_request(get("/one")).await.expect("an answer")).await, "/one 1");

    sim::partition("test", "server");
    client.ready().await.expect("nobody has noticed yet");
    let mut asking = Box::pin(client.send_request(get("/two")));
    assert!(
        timeout(Duration::from_secs(2), &mut asking).await.is_err(),
        "an answer came through a partition"
    );
    assert_eq!(served.load(Ordering::Relaxed), 1);

    sim::repair("test", "server");
    let answer = timeout(Duration::from_secs(10), asking).await.expect("retransmitted").expect("an answer");
    assert_eq!(text(answer).await, "/two 2");
}

#[tokio::test]
async fn a_one_way_partition_loses_the_answer_and_not_the_question() {
    let served = start_server();
    let mut client = connect_http1().await;
    text(client.send_request(get("/one")).await.expect("an answer")).await;

    sim::partition_oneway("server", "test");
    client.ready().await.expect("nobody has noticed yet");
    let mut asking = Box::pin(client.send_request(get("/two")));
    assert!(
        timeout(Duration::from_secs(2), &mut asking).await.is_err(),
        "an answer came through a partition"
    );
    assert_eq!(served.load(Ordering::Relaxed), 2, "the question did not arrive, or more than once");

    sim::repair_oneway("server", "test");
    let answer = timeout(Duration::from_secs(10), asking).await.expect("retransmitted").expect("an answer");
    assert_eq!(text(answer).await, "/two 2");
    assert_eq!(served.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_crash_ends_connections_and_refuses_new_ones() {
    let served = start_server();
    let mut client = connect_http1().await;
    text(client.send_request(get("/one")).await.expect("an answer")).await;

    sim::crash("server");
    let error = TcpStream::connect("server:80").await.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(error.raw_os_error(), Some(111));
    assert!(client.ready().await.is_err(), "the old connection outlived its server");

    sim::start("server");
    let mut client = connect_http1().await;
    assert_eq!(text(client.send_request(get("/two")).await.expect("an answer")).await, "/two 2");
    assert_eq!(served.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn keep_alive_pings_find_a_machine_without_power() {
    start_server();
    let stream = connect_when_up("server:80").await;
    let (mut client, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(2))
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    text(client.send_request(get("/one")).await.expect("an answer")).await;

    sim::power_off("server");
    let started = sim::elapsed();
    let asking = timeout(Duration::from_secs(60), client.send_request(get("/two")));
    asking.await.expect("the pings notice").expect_err("nobody answers");
    let waited = sim::elapsed() - started;
    assert!(waited >= Duration::from_secs(2) && waited <= Duration::from_millis(3500), "{waited:?}");
}
