//! hyper and hyper-util: both versions of HTTP, from the raw connection to the pooled client.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use compat_tests::proxy::Proxy;
use futures_util::future::join_all;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, TRANSFER_ENCODING, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

type Body = http_body_util::combinators::BoxBody<Bytes, hyper::Error>;

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed()
}

fn get(address: SocketAddr, path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{address}{path}"))
        .header("host", "test")
        .body(Full::default())
        .expect("valid")
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    String::from_utf8(body.into()).expect("text")
}

/// `/hello` greets, `/echo` streams the body back, `/slow` takes 300 ms, `/upgrade` becomes an upper-casing pipe.
async fn handle(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        "/hello" => Response::new(full(format!("hello over {:?}", request.version()))),
        "/echo" => Response::new(request.into_body().boxed()),
        "/slow" => {
            sleep(Duration::from_millis(300)).await;
            Response::new(full("done at last"))
        }
        "/upgrade" => {
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(&mut request).await.expect("the client upgrades");
                let mut stream = TokioIo::new(upgraded);
                let mut buffer = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    buffer[..length].make_ascii_uppercase();
                    stream.write_all(&buffer[..length]).await.expect("the client reads");
                }
            });
            Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(CONNECTION, "upgrade")
                .header(UPGRADE, "shout")
                .body(full(""))
                .expect("valid")
        }
        _ => Response::builder().status(StatusCode::NOT_FOUND).body(full("no such path")).expect("valid"),
    })
}

struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    /// Whether all connections ended in order.
    stopped: tokio::task::JoinHandle<bool>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = accepted.clone();
        let (stop, mut stopping) = oneshot::channel();
        let stopped = tokio::spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_millis(400));
            builder.http2().timer(TokioTimer::new());
            let graceful = GracefulShutdown::new();
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.expect("accepts").0,
                    _ = &mut stopping => break,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(handle));
                let connection = graceful.watch(connection.into_owned());
                tokio::spawn(async move {
                    let _ = connection.await; // the peer may leave as it likes
                });
            }
            drop(listener);
            timeout(PATIENCE, graceful.shutdown()).await.is_ok()
        });
        Self { address, accepted, stop, stopped }
    }

    fn accepted_count(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    async fn connect_http1(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection.with_upgrades());
        sender
    }
}

async fn connect_http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("connects");
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(100))
        .keep_alive_timeout(Duration::from_millis(300))
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let server = Server::start().await;
    let mut client = server.connect_http1().await;
    for _ in 0..10 {
        client.ready().await.expect("kept alive");
        let response = client.send_request(get(server.address, "/hello")).await.expect("an answer");
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_11));
        assert_eq!(text(response).await, "hello over HTTP/1.1");
    }
    client.ready().await.expect("kept alive");
    let response = client.send_request(get(server.address, "/nowhere")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(server.accepted_count(), 1);
}

#[tokio::test]
async fn chunks_travel_while_the_body_is_still_being_made() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.expect("connects");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);

    let (mut chunks, body) = Channel::<Bytes, Infallible>::new(1);
    let request = Request::post("/echo").header("host", "test").body(body).expect("valid");
    let (response, ()) = tokio::join!(client.send_request(request), async {
        chunks.send_data("first".into()).await.expect("the body is wanted");
    });
    let response = response.expect("an answer before the question ended");
    assert_eq!(response.headers()[TRANSFER_ENCODING], "chunked");

    let mut answer = response.into_body();
    for sent in ["first", "second", "third"] {
        if sent != "first" {
            chunks.send_data(sent.into()).await.expect("the body is wanted");
        }
        let frame = answer.frame().await.expect("not at the end").expect("a good frame");
        assert_eq!(frame.into_data().expect("data"), sent);
    }
    drop(chunks);
    assert!(answer.frame().await.is_none());
}

#[tokio::test]
async fn requests_share_one_http2_connection() {
    let server = Server::start().await;
    let client = connect_http2(server.address).await;
    let started = Instant::now();
    let answers = join_all((0..50).map(|index| {
        let mut client = client.clone();
        let path = if index % 5 == 0 { "/slow" } else { "/hello" };
        let request = get(server.address, path);
        async move { text(client.send_request(request).await.expect("an answer")).await }
    }))
    .await;
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(answer, if index % 5 == 0 { "done at last" } else { "hello over HTTP/2.0" });
    }
    assert_eq!(server.accepted_count(), 1);
    // Ten slow ones took the time of one, not of ten.
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_large_body_is_held_back_by_flow_control_and_comes_whole() {
    let server = Server::start().await;
    let mut client = connect_http2(server.address).await;
    let sent: Bytes = (0..2_000_000_u32).map(|index| (index % 251) as u8).collect::<Vec<_>>().into();
    let request = Request::post(format!("http://{}/echo", server.address))
        .body(Full::new(sent.clone()))
        .expect("valid");
    let response = client.send_request(request).await.expect("an answer");
    sleep(Duration::from_millis(50)).await; // nobody reads: the windows fill
    let received = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert!(received == sent, "{} bytes came back changed", received.len());
}

#[tokio::test]
async fn a_connection_becomes_something_else() {
    let server = Server::start().await;
    let mut client = server.connect_http1().await;
    let mut request = get(server.address, "/upgrade");
    request.headers_mut().insert(CONNECTION, "upgrade".parse().expect("valid"));
    request.headers_mut().insert(UPGRADE, "shout".parse().expect("valid"));
    let response = client.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);

    let upgraded = hyper::upgrade::on(response).await.expect("the server upgrades");
    let mut stream = TokioIo::new(upgraded);
    for word in ["quiet", "words"] {
        stream.write_all(word.as_bytes()).await.expect("the server reads");
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.expect("the server answers");
        assert_eq!(answer, word.to_uppercase().as_bytes());
    }
}

#[tokio::test]
async fn shutting_down_lets_the_last_request_finish() {
    let server = Server::start().await;
    let mut client = server.connect_http1().await;
    let address = server.address;
    let last = tokio::spawn(async move { client.send_request(get(address, "/slow")).await });
    sleep(Duration::from_millis(100)).await;

    server.stop.send(()).expect("the server runs");
    let response = last.await.expect("no panic").expect("the last answer");
    assert_eq!(text(response).await, "done at last");
    assert!(server.stopped.await.expect("no panic"), "the server did not come to its end");
    let error = TcpStream::connect(address).await.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_headers_is_dropped() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.expect("connects");
    let started = Instant::now();
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: te").await.expect("there is room");
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server gives up").expect("in order");
    assert!(started.elapsed() >= Duration::from_millis(400), "gave up after {:?}", started.elapsed());
}

#[tokio::test]
async fn keep_alive_pings_find_a_silent_peer() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let mut client = connect_http2(proxy.address()).await;
    let answer = client.send_request(get(server.address, "/hello")).await.expect("an answer");
    assert_eq!(text(answer).await, "hello over HTTP/2.0");

    proxy.set_silent(true);
    let request = client.send_request(get(server.address, "/hello"));
    let error = timeout(PATIENCE, request).await.expect("noticed").expect_err("nobody answers");
    assert!(error.is_timeout() || format!("{error:?}").contains("KeepAlive"), "{error:?}");
}

#[tokio::test]
async fn the_pool_reuses_an_idle_connection_and_opens_more_under_load() {
    let server = Server::start().await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
    for _ in 0..5 {
        let response = client.request(get(server.address, "/hello")).await.expect("an answer");
        assert_eq!(text(response).await, "hello over HTTP/1.1");
    }
    assert_eq!(server.accepted_count(), 1);

    let answers = join_all((0..4).map(|_| client.request(get(server.address, "/slow")))).await;
    for answer in answers {
        assert_eq!(text(answer.expect("an answer")).await, "done at last");
    }
    assert_eq!(server.accepted_count(), 4);
}
