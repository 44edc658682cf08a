//! An axum service and a reqwest client: what most services are made of.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use compat_tests::proxy::Proxy;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Order {
    item: String,
    count: u32,
}

#[derive(Deserialize)]
struct Ticks {
    count: u32,
    every_ms: u64,
}

async fn double(State(factor): State<u32>, Json(order): Json<Order>) -> Json<Order> {
    Json(Order { count: order.count * factor, ..order })
}

async fn ticks(Query(ticks): Query<Ticks>) -> Body {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    tokio::spawn(async move {
        for tick in 0..ticks.count {
            sleep(Duration::from_millis(ticks.every_ms)).await;
            if sender.send(Ok(format!("tick {tick}\n").into())).await.is_err() {
                return; // the client has gone
            }
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// Reads the body as it comes and answers with its length.
async fn measure(body: Body) -> Result<String, StatusCode> {
    let mut chunks = body.into_data_stream();
    let mut length = 0;
    while let Some(chunk) = chunks.next().await {
        length += chunk.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    Ok(length.to_string())
}

async fn slow(Path(delay_ms): Path<u64>) -> String {
    sleep(Duration::from_millis(delay_ms)).await;
    format!("after {delay_ms} ms")
}

async fn agent(headers: HeaderMap) -> String {
    headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned()
}

fn router() -> Router {
    Router::new()
        .route("/double", post(double))
        .route("/ticks", get(ticks))
        .route("/measure", post(measure))
        .route("/slow/{delay_ms}", get(slow))
        .route("/agent", get(agent))
        .route("/old", get(|| async { Redirect::permanent("/older") }))
        .route("/older", get(|| async { Redirect::temporary("/agent") }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .with_state(2)
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    stopped: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = oneshot::channel::<()>();
        let stopped = tokio::spawn(async move {
            axum::serve(listener, router())
                .with_graceful_shutdown(async {
                    let _ = stopping.await;
                })
                .await
        });
        Self { address, stop, stopped }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .user_agent("compat")
        .timeout(PATIENCE)
        .build()
        .expect("a client without TLS")
}

#[tokio::test]
async fn json_in_both_directions() -> reqwest::Result<()> {
    let server = Server::start().await;
    let order = Order { item: "nails".into(), count: 21 };
    let response = client().post(server.url("/double")).json(&order).send().await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.json::<Order>().await?, Order { count: 42, ..order });

    let response = client().post(server.url("/double")).json(&"not an order").send().await?;
    assert_eq!(response.status(), 422);
    let response = client().post(server.url("/double")).body("{").send().await?;
    assert_eq!(response.status(), 415);
    let response = client().get(server.url("/double")).send().await?;
    assert_eq!(response.status(), 405);
    Ok(())
}

#[tokio::test]
async fn a_streamed_answer_comes_piece_by_piece() -> reqwest::Result<()> {
    let server = Server::start().await;
    let started = Instant::now();
    let response = client().get(server.url("/ticks?count=5&every_ms=60")).send().await?;
    let mut pieces = response.bytes_stream();
    let first = pieces.next().await.expect("not at the end")?;
    assert_eq!(first, "tick 0\n");
    let first_after = started.elapsed();
    let mut text = String::from_utf8_lossy(&first).into_owned();
    while let Some(piece) = pieces.next().await {
        text.push_str(&String::from_utf8_lossy(&piece?));
    }
    assert_eq!(text, "tick 0\ntick 1\ntick 2\ntick 3\ntick 4\n");
    let spread = started.elapsed() - first_after;
    assert!(spread >= Duration::from_millis(200), "all pieces came within {spread:?}");
    Ok(())
}

#[tokio::test]
async fn a_streamed_question_arrives_whole() -> reqwest::Result<()> {
    let server = Server::start().await;
    let pieces = futures_util::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 10_000])));
    let body = reqwest::Body::wrap_stream(pieces);
    let answer = client().post(server.url("/measure")).body(body).send().await?.text().await?;
    assert_eq!(answer, "1000000");
    Ok(())
}

#[tokio::test]
async fn a_question_that_breaks_off_is_an_error() {
    let server = Server::start().await;
    let pieces = futures_util::stream::iter([Ok(vec![b'x'; 10]), Err(std::io::Error::other("out of paper"))]);
    let body = reqwest::Body::wrap_stream(pieces);
    let error = client().post(server.url("/measure")).body(body).send().await.expect_err("the body fails");
    assert!(error.is_request() || error.is_body(), "{error:?}");
}

#[tokio::test]
async fn a_slow_answer_runs_into_the_time_out() -> reqwest::Result<()> {
    let server = Server::start().await;
    let limit = Duration::from_millis(150);
    let started = Instant::now();
    let error = client().get(server.url("/slow/5000")).timeout(limit).send().await.expect_err("too slow");
    assert!(error.is_timeout() && !error.is_connect(), "{error:?}");
    let elapsed = started.elapsed();
    assert!(elapsed >= limit && elapsed < Duration::from_secs(4), "gave up after {elapsed:?}");

    // The limit is for the body as well.
    let response = client().get(server.url("/ticks?count=100&every_ms=50")).timeout(limit).send().await?;
    let error = response.text().await.expect_err("too slow");
    assert!(error.is_timeout(), "{error:?}");
    let answer = client().get(server.url("/slow/10")).timeout(PATIENCE).send().await?.text().await?;
    assert_eq!(answer, "after 10 ms");
    Ok(())
}

#[tokio::test]
async fn redirects_are_followed_to_their_end() -> reqwest::Result<()> {
    let server = Server::start().await;
    let response = client().get(server.url("/old")).send().await?;
    assert_eq!(response.url().path(), "/agent");
    assert_eq!(response.text().await?, "compat");

    let error = client().get(server.url("/loop")).send().await.expect_err("there is no end");
    assert!(error.is_redirect(), "{error:?}");

    let stays = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let response = stays.get(server.url("/old")).send().await?;
    assert_eq!(response.status(), 308);
    assert_eq!(response.headers()["location"], "/older");
    Ok(())
}

#[tokio::test]
async fn one_connection_is_enough_for_one_request_at_a_time() -> reqwest::Result<()> {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let client = client();
    let url = format!("http://{}/agent", proxy.address());
    for _ in 0..10 {
        assert_eq!(client.get(&url).send().await?.text().await?, "compat");
    }
    assert_eq!(proxy.accepted_count(), 1);

    // A cut connection is replaced without the caller noticing.
    proxy.cut();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(client.get(&url).send().await?.text().await?, "compat");
    assert_eq!(proxy.accepted_count(), 2);
    Ok(())
}

#[tokio::test]
async fn names_are_resolved() -> reqwest::Result<()> {
    let server = Server::start().await;
    let url = format!("http://localhost:{}/agent", server.address.port());
    assert_eq!(client().get(url).send().await?.text().await?, "compat");
    let error = client().get("http://no-such-host.invalid/").send().await.expect_err("no such name");
    assert!(error.is_connect(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn http2_without_negotiation() -> reqwest::Result<()> {
    let server = Server::start().await;
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().timeout(PATIENCE).build()?;
    let requests = (0..20).map(|_| client.get(server.url("/slow/100")).send());
    for response in futures_util::future::join_all(requests).await {
        let response = response?;
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert_eq!(response.text().await?, "after 100 ms");
    }
    Ok(())
}

#[tokio::test]
async fn shutting_down_finishes_what_was_begun() -> reqwest::Result<()> {
    let server = Server::start().await;
    let client = client();
    let last = tokio::spawn(client.get(server.url("/slow/300")).send());
    sleep(Duration::from_millis(100)).await;
    let url = server.url("/agent");
    server.stop.send(()).expect("the server runs");
    assert_eq!(last.await.expect("no panic")?.text().await?, "after 300 ms");
    drop(client); // its idle connection would keep the server waiting
    tokio::time::timeout(PATIENCE, server.stopped)
        .await
        .expect("the server ends")
        .expect("no panic")
        .expect("no error");

    let error = self::client().get(url).send().await.expect_err("nobody listens");
    assert!(error.is_connect(), "{error:?}");
    Ok(())
}
