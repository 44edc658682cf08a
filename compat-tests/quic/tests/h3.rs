//! HTTP/3 by h3 over h3-quinn: requests, bodies in both directions, many at once, errors, the end of a connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use compat_quic::endpoints::{client, server};
use compat_quic::identity::{Identity, NAME};
use h3::client::SendRequest;
use h3::server::RequestStream;
use h3_quinn::{BidiStream, OpenStreams};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use quinn::{Endpoint, VarInt};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers requests: `/echo` gives the body back, with its length as a trailer; `/slow` waits first.
async fn respond(request: Request<()>, mut stream: RequestStream<BidiStream<Bytes>, Bytes>) {
    let status = match request.uri().path() {
        "/echo" => StatusCode::OK,
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            StatusCode::OK
        }
        "/abort" => return stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED),
        _ => StatusCode::NOT_FOUND,
    };
    let response = Response::builder().status(status).header("x-method", request.method().as_str());
    stream.send_response(response.body(()).expect("a response")).await.expect("room");
    let mut total = 0;
    while let Some(mut part) = stream.recv_data().await.expect("a body") {
        let part = part.copy_to_bytes(part.remaining());
        total += part.len();
        if status == StatusCode::OK {
            stream.send_data(part).await.expect("room");
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-length", total.into());
    stream.send_trailers(trailers).await.expect("room");
    stream.finish().await.expect("room");
}

async fn serve(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = h3_quinn::Connection::new(incoming.await.expect("a handshake"));
            let mut connection: h3::server::Connection<_, Bytes> =
                h3::server::Connection::new(connection).await.expect("settings");
            while let Ok(Some(resolver)) = connection.accept().await {
                tokio::spawn(async move {
                    if let Ok((request, stream)) = resolver.resolve_request().await {
                        respond(request, stream).await;
                    }
                });
            }
        });
    }
}

/// A client of a fresh server, its QUIC connection, and its endpoint.
async fn connect() -> (SendRequest<OpenStreams, Bytes>, quinn::Connection, Endpoint) {
    let identity = Identity::new();
    let address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let endpoint = server(identity.server(&["h3"]), address).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    tokio::spawn(serve(endpoint));
    let endpoint = client(identity.client(&["h3"]), address).expect("a free port");
    let connection = endpoint.connect(address, NAME).expect("a good name").await.expect("connects");
    let (mut driver, sender) =
        h3::client::new(h3_quinn::Connection::new(connection.clone())).await.expect("settings");
    tokio::spawn(async move { driver.wait_idle().await });
    (sender, connection, endpoint)
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://{NAME}{path}")).body(()).expect("a request")
}

/// Sends a request with `body`; status, body and trailer of what comes back.
async fn exchange(
    sender: &mut SendRequest<OpenStreams, Bytes>,
    path: &str,
    body: Bytes,
) -> (StatusCode, Vec<u8>, Option<String>) {
    let stream = sender.send_request(request(Method::POST, path)).await.expect("a stream");
    let (mut sending, mut receiving) = stream.split();
    let upload = async {
        for part in body.chunks(16 * 1024) {
            sending.send_data(Bytes::copy_from_slice(part)).await.expect("room");
        }
        sending.finish().await.expect("room");
    };
    let download = async {
        let response = receiving.recv_response().await.expect("a response");
        let mut answer = Vec::new();
        while let Some(mut part) = receiving.recv_data().await.expect("a body") {
            answer.extend_from_slice(&part.copy_to_bytes(part.remaining()));
        }
        let trailers = receiving.recv_trailers().await.expect("trailers");
        let length = trailers.and_then(|trailers| trailers.get("x-length")?.to_str().ok().map(str::to_owned));
        (response.status(), answer, length)
    };
    tokio::join!(upload, download).1
}

#[tokio::test]
async fn bodies_go_both_ways() {
    let (mut sender, connection, _endpoint) = connect().await;
    let body: Bytes = (0..700_000u32).map(|index| (index % 247) as u8).collect();
    let exchanged = exchange(&mut sender, "/echo", body.clone());
    let (status, answer, length) = timeout(PATIENCE, exchanged).await.expect("in time");
    assert_eq!((status, length.as_deref()), (StatusCode::OK, Some("700000")));
    assert!(answer == body);
    // Control, and both streams of QPACK.
    assert!(connection.stats().frame_tx.stream > 4);
}

#[tokio::test]
async fn many_requests_on_one_connection() {
    let (sender, _connection, _endpoint) = connect().await;
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..60u32 {
        let mut sender = sender.clone();
        requests.spawn(async move {
            let path = if number % 3 == 0 { "/slow" } else { "/echo" };
            let body = Bytes::from(format!("request {number}").repeat(number as usize));
            let (status, answer, length) = exchange(&mut sender, path, body.clone()).await;
            assert_eq!((status, length), (StatusCode::OK, Some(body.len().to_string())));
            assert!(answer == body, "request {number}");
        });
    }
    while let Some(done) = timeout(PATIENCE, requests.join_next()).await.expect("in time") {
        done.expect("no panic");
    }
}

#[tokio::test]
async fn what_is_not_there_and_what_is_aborted() {
    let (mut sender, _connection, _endpoint) = connect().await;
    let (status, answer, _) = exchange(&mut sender, "/nothing", Bytes::from_static(b"body")).await;
    assert_eq!((status, answer.len()), (StatusCode::NOT_FOUND, 0));
    let mut stream = sender.send_request(request(Method::GET, "/abort")).await.expect("a stream");
    stream.finish().await.expect("room");
    let error = timeout(PATIENCE, stream.recv_response()).await.expect("in time").expect_err("aborted");
    assert!(error.to_string().contains("H3_REQUEST_CANCELLED"), "{error}");
    // The connection is as before.
    let (status, answer, _) = exchange(&mut sender, "/echo", Bytes::from_static(b"again")).await;
    assert_eq!((status, &answer[..]), (StatusCode::OK, &b"again"[..]));
}

#[tokio::test]
async fn a_connection_that_is_closed_fails_its_requests() {
    let (mut sender, connection, endpoint) = connect().await;
    let mut stream = sender.send_request(request(Method::GET, "/slow")).await.expect("a stream");
    stream.finish().await.expect("room");
    connection.close(VarInt::from_u32(h3::error::Code::H3_NO_ERROR.value() as u32), b"");
    let outcome = timeout(PATIENCE, stream.recv_response()).await.expect("in time");
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(sender.send_request(request(Method::GET, "/echo")).await.is_err());
    timeout(PATIENCE, endpoint.wait_idle()).await.expect("in time");
}
