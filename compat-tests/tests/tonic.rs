//! tonic: every kind of call, and what a `Channel` does when its server is slow, gone or silent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use compat_tests::echo::echo_client::EchoClient;
use compat_tests::echo::{EchoReply, EchoRequest, EchoService};
use compat_tests::proxy::Proxy;
use compat_tests::redis_server::listen_again;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{StreamExt, iter};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Server as TonicServer};
use tonic::{Code, Request, Status};

const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    stopped: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    async fn start(name: &str) -> Self {
        Self::serve(name, TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    async fn start_at(name: &str, address: SocketAddr) -> Self {
        Self::serve(name, listen_again(address).await.expect("the port is free again"))
    }

    fn serve(name: &str, listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = oneshot::channel::<()>();
        let stopped = tokio::spawn(
            TonicServer::builder()
                .http2_keepalive_interval(Some(Duration::from_secs(5)))
                .http2_keepalive_timeout(Some(Duration::from_secs(5)))
                .add_service(EchoService::named(name))
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                    let _ = stopping.await;
                }),
        );
        Self { address, stop, stopped }
    }

    /// Stops after the calls that are under way.
    async fn stop(self) {
        drop(self.stop);
        let ended = timeout(PATIENCE, self.stopped).await.expect("the server ends");
        ended.expect("no panic").expect("no error");
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("a well-formed url").connect_timeout(PATIENCE)
}

async fn connect(address: SocketAddr) -> EchoClient<Channel> {
    EchoClient::new(endpoint(address).connect().await.expect("connects"))
}

fn say(text: &str) -> EchoRequest {
    EchoRequest { text: text.into(), count: 0, delay_ms: 0 }
}

#[tokio::test]
async fn a_unary_call() -> Result<(), Status> {
    let server = Server::start("one").await;
    let mut client = connect(server.address).await;
    let reply = client.unary(say("hello")).await?.into_inner();
    assert_eq!(reply, EchoReply { text: "hello".into(), index: 0, server: "one".into() });

    let status = client.unary(say("")).await.expect_err("an empty text is refused");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "the text is empty"));
    Ok(())
}

#[tokio::test]
async fn metadata_goes_both_ways() -> Result<(), Status> {
    let server = Server::start("one").await;
    let mut client = connect(server.address).await;
    let mut request = Request::new(say("hello"));
    request.metadata_mut().insert("x-token", MetadataValue::from_static("secret"));
    let response = client.unary(request).await?;
    assert_eq!(response.metadata().get("x-token").expect("sent back"), "secret");
    assert!(client.unary(say("hello")).await?.metadata().get("x-token").is_none());
    Ok(())
}

#[tokio::test]
async fn a_stream_from_the_server() -> Result<(), Status> {
    let server = Server::start("one").await;
    let mut client = connect(server.address).await;
    let request = EchoRequest { text: "again".into(), count: 100, delay_ms: 0 };
    let replies = client.server_stream(request).await?.into_inner();
    let replies = replies.collect::<Result<Vec<_>, _>>().await?;
    let indexes: Vec<u32> = replies.iter().map(|reply| reply.index).collect();
    assert_eq!(indexes, (0..100).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_stream_from_the_client() -> Result<(), Status> {
    let server = Server::start("one").await;
    let mut client = connect(server.address).await;
    let reply = client.client_stream(iter(["a", "b", "c"].map(say))).await?.into_inner();
    assert_eq!((reply.text.as_str(), reply.index), ("a,b,c", 3));
    Ok(())
}

#[tokio::test]
async fn streams_both_ways_take_turns() -> Result<(), Status> {
    let server = Server::start("one").await;
    let mut client = connect(server.address).await;
    let (questions, outgoing) = mpsc::channel(1);
    let mut answers = client.bidirectional(ReceiverStream::new(outgoing)).await?.into_inner();
    for index in 0..20 {
        let text = format!("question {index}");
        questions.send(say(&text)).await.expect("the call is open");
        let answer = answers.next().await.expect("the call is open")?;
        assert_eq!((answer.text, answer.index), (text, index));
    }
    drop(questions);
    assert!(answers.next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn many_calls_share_one_connection() -> Result<(), Status> {
    let server = Server::start("one").await;
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let client = connect(proxy.address()).await;
    let calls = (0..50).map(|index| {
        let mut client = client.clone();
        async move { client.unary(say(&format!("call {index}"))).await.map(|reply| reply.into_inner()) }
    });
    for (index, reply) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(reply?.text, format!("call {index}"));
    }
    assert_eq!(proxy.accepted_count(), 1);
    Ok(())
}

#[tokio::test]
async fn a_deadline_passes() {
    let server = Server::start("one").await;
    let slow = EchoRequest { text: "late".into(), count: 0, delay_ms: 5000 };
    let limit = Duration::from_millis(200);
    let limited = |message| {
        let mut request = Request::new(message);
        request.set_timeout(limit);
        request
    };
    let assert_late = |status: Status| {
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    };

    // Sent along as `grpc-timeout`, and kept by the server as well as the client.
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let mut client = connect(proxy.address()).await;
    let started = Instant::now();
    assert_late(client.unary(limited(slow.clone())).await.expect_err("too slow"));
    assert!(started.elapsed() >= limit && started.elapsed() < Duration::from_secs(4));

    // By the client alone, when the server says nothing at all.
    proxy.set_silent(true);
    let call = timeout(PATIENCE, client.unary(limited(say("anybody?"))));
    assert_late(call.await.expect("the deadline").expect_err("nobody answers"));

    // Kept by the channel, for every call.
    let channel = endpoint(server.address).timeout(limit).connect().await.expect("connects");
    let mut client = EchoClient::new(channel);
    assert_late(client.unary(slow).await.expect_err("too slow"));
    client.unary(say("quick")).await.expect("in time");
}

#[tokio::test]
async fn a_channel_reconnects_when_its_server_is_back() -> Result<(), Status> {
    let server = Server::start("first").await;
    let address = server.address;
    let mut client = connect(address).await;
    assert_eq!(client.unary(say("hello")).await?.into_inner().server, "first");
    server.stop().await;

    // Refused, or given to the old connection as it ends.
    let status = client.unary(say("anybody?")).await.expect_err("the server has gone");
    assert!(matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unknown), "{status}");

    let server = Server::start_at("second", address).await;
    let started = Instant::now();
    let reply = loop {
        match client.unary(say("hello")).await {
            Ok(reply) => break reply.into_inner(),
            Err(status) => assert!(started.elapsed() < PATIENCE, "did not reconnect: {status}"),
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(reply.server, "second");
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_lazy_channel_waits_for_its_first_call() -> Result<(), Status> {
    let server = Server::start("first").await;
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let mut client = EchoClient::new(endpoint(proxy.address()).connect_lazy());
    sleep(Duration::from_millis(50)).await;
    assert_eq!(proxy.accepted_count(), 0);
    client.unary(say("now")).await?;
    assert_eq!(proxy.accepted_count(), 1);
    Ok(())
}

#[tokio::test]
async fn keep_alive_pings_find_a_silent_server() -> Result<(), Status> {
    let server = Server::start("one").await;
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let channel = endpoint(proxy.address())
        .http2_keep_alive_interval(Duration::from_millis(100))
        .keep_alive_timeout(Duration::from_millis(300))
        .keep_alive_while_idle(true)
        .connect()
        .await
        .expect("connects");
    let mut client = EchoClient::new(channel);
    client.unary(say("hello")).await?;

    proxy.set_silent(true);
    let call = client.unary(say("anybody?"));
    let status = timeout(PATIENCE, call).await.expect("the pings notice").expect_err("nobody answers");
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status}");

    // The next connection is a new one, and good; one call may still be given to the old one as it ends.
    proxy.set_silent(false);
    if client.unary(say("hello again")).await.is_err() {
        client.unary(say("hello again")).await?;
    }
    assert_eq!(proxy.accepted_count(), 2);
    Ok(())
}

#[tokio::test]
async fn a_stream_breaks_off_with_its_connection() -> Result<(), Status> {
    let server = Server::start("one").await;
    let proxy = Proxy::start(server.address).await.expect("the proxy starts");
    let mut client = connect(proxy.address()).await;
    let request = EchoRequest { text: "again".into(), count: 1000, delay_ms: 20 };
    let mut replies = client.server_stream(request).await?.into_inner();
    for index in 0..3 {
        assert_eq!(replies.next().await.expect("more to come")?.index, index);
    }
    proxy.cut();
    let status = loop {
        match timeout(PATIENCE, replies.next()).await.expect("noticed") {
            Some(Ok(_)) => {}
            Some(Err(status)) => break status,
            None => panic!("a broken stream looks complete"),
        }
    };
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal), "{status}");
    Ok(())
}

#[tokio::test]
async fn a_balanced_channel_uses_every_server() -> Result<(), Status> {
    let servers = [Server::start("a").await, Server::start("b").await, Server::start("c").await];
    let channel = Channel::balance_list(servers.iter().map(|server| endpoint(server.address)));
    let client = EchoClient::new(channel);
    let calls = (0..60).map(|_| {
        let mut client = client.clone();
        let request = EchoRequest { text: "who?".into(), count: 0, delay_ms: 20 };
        async move { client.unary(request).await.map(|reply| reply.into_inner().server) }
    });
    let mut counts = BTreeMap::new();
    for server in futures_util::future::join_all(calls).await {
        *counts.entry(server?).or_insert(0) += 1;
    }
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["a", "b", "c"], "{counts:?}");

    // With one of them gone the others answer.
    let [gone, rest @ ..] = servers;
    gone.stop().await;
    let mut answered = 0;
    for _ in 0..60 {
        if let Ok(reply) = client.clone().unary(say("who?")).await {
            assert_ne!(reply.into_inner().server, "a");
            answered += 1;
        }
    }
    // Which server a call goes to is drawn; the dead one's share fails at once, without waiting.
    assert!(answered >= 15, "only {answered} of 60 calls were answered");
    for server in rest {
        server.stop().await;
    }
    Ok(())
}
