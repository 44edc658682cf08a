//! tonic between the machines of a simulation: deadlines, keep-alive, reconnecting, balancing.
#![cfg(sim)]

use std::collections::BTreeSet;
use std::time::Duration;

use compat_tests::echo::echo_client::EchoClient;
use compat_tests::echo::{EchoRequest, EchoService};
use compat_tests::sockets::connect_when_up;
use tokio::sim;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Status};

/// Starts a machine called `name` and waits until its service listens.
async fn start_server(name: &'static str) {
    sim::host(name, move || async move {
        let address = "0.0.0.0:50051".parse()?;
        Server::builder().add_service(EchoService::named(name)).serve(address).await?;
        Ok(())
    });
    connect_when_up(&format!("{name}:50051")).await;
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::from_shared(format!("http://{name}:50051"))
        .expect("a well-formed url")
        .connect_timeout(Duration::from_secs(2))
}

async fn connect(endpoint: Endpoint) -> EchoClient<Channel> {
    EchoClient::new(endpoint.connect().await.expect("connects"))
}

fn say(text: &str) -> EchoRequest {
    EchoRequest { text: text.into(), count: 0, delay_ms: 0 }
}

#[tokio::test]
async fn a_channel_reconnects_after_a_crash() -> Result<(), Status> {
    start_server("server").await;
    let mut client = connect(endpoint("server")).await;
    client.unary(say("hello")).await?;

    sim::crash("server");
    let status = client.unary(say("anybody?")).await.expect_err("the server is dead");
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{status}");

    sim::start("server");
    let started = Instant::now();
    while let Err(status) = client.unary(say("hello")).await {
        assert!(started.elapsed() < Duration::from_secs(30), "did not reconnect: {status}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_deadline_holds_behind_a_partition() -> Result<(), Status> {
    start_server("server").await;
    let mut client = connect(endpoint("server")).await;
    client.unary(say("hello")).await?;

    sim::partition("test", "server");
    let limit = Duration::from_millis(500);
    let mut request = Request::new(say("anybody?"));
    request.set_timeout(limit);
    let started = sim::elapsed();
    let status = client.unary(request).await.expect_err("nobody can answer");
    let waited = sim::elapsed() - started;
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    assert!(waited >= limit && waited < limit + Duration::from_millis(50), "{waited:?}");

    // The connection was never lost.
    sim::repair("test", "server");
    client.unary(say("hello again")).await?;
    Ok(())
}

#[tokio::test]
async fn keep_alive_pings_find_a_partition() -> Result<(), Status> {
    start_server("server").await;
    let endpoint = endpoint("server")
        .http2_keep_alive_interval(Duration::from_secs(1))
        .keep_alive_timeout(Duration::from_secs(2));
    let mut client = connect(endpoint).await;
    client.unary(say("hello")).await?;

    sim::partition("test", "server");
    let started = sim::elapsed();
    let call = timeout(Duration::from_secs(60), client.unary(say("anybody?")));
    let status = call.await.expect("the pings notice").expect_err("nobody can answer");
    let waited = sim::elapsed() - started;
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status}");
    assert!(waited >= Duration::from_secs(2) && waited <= Duration::from_millis(3500), "{waited:?}");

    // One call may still be given to the old connection as it ends.
    sim::repair("test", "server");
    if client.unary(say("hello again")).await.is_err() {
        client.unary(say("hello again")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_pings_a_partition_goes_unnoticed() -> Result<(), Status> {
    start_server("server").await;
    let mut client = connect(endpoint("server")).await;
    client.unary(say("hello")).await?;
    sim::partition("test", "server");
    let call = timeout(Duration::from_secs(60), client.unary(say("anybody?")));
    assert!(call.await.is_err(), "something noticed within a minute");
    Ok(())
}

#[tokio::test]
async fn a_stream_breaks_off_with_its_server() -> Result<(), Status> {
    start_server("server").await;
    let mut client = connect(endpoint("server")).await;
    let request = EchoRequest { text: "again".into(), count: 1000, delay_ms: 100 };
    let mut replies = client.server_stream(request).await?.into_inner();
    for index in 0..5 {
        assert_eq!(replies.next().await.expect("more to come")?.index, index);
    }
    sim::crash("server");
    let mut received = 5;
    let status = loop {
        match timeout(Duration::from_secs(60), replies.next()).await.expect("noticed") {
            Some(Ok(reply)) => {
                assert_eq!(reply.index, received);
                received += 1;
            }
            Some(Err(status)) => break status,
            None => panic!("a broken stream looks complete after {received}"),
        }
    };
    assert!(received < 10, "{received} replies after the crash");
    assert_ne!(status.code(), Code::Ok);
    Ok(())
}

#[tokio::test]
async fn a_balanced_channel_goes_around_a_dead_server() -> Result<(), Status> {
    let names = ["first", "second", "third"];
    for name in names {
        start_server(name).await;
    }
    let endpoints = names.map(|name| endpoint(name).timeout(Duration::from_secs(2)));
    let client = EchoClient::new(Channel::balance_list(endpoints.into_iter()));
    let ask = |count: usize| {
        let client = client.clone();
        async move {
            let calls = (0..count).map(|_| {
                let mut client = client.clone();
                let request = EchoRequest { text: "who?".into(), count: 0, delay_ms: 20 };
                async move { client.unary(request).await.map(|reply| reply.into_inner().server) }
            });
            futures_util::future::join_all(calls).await
        }
    };
    // The first call makes the channel connect; calls go only to servers that are connected already.
    ask(1).await;
    sleep(Duration::from_secs(1)).await;
    let answered: BTreeSet<String> = ask(60).await.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(answered.len(), 3, "{answered:?}");

    sim::crash("second");
    sleep(Duration::from_secs(1)).await;
    let answered: BTreeSet<String> = ask(60).await.into_iter().flatten().collect();
    assert_eq!(answered.iter().collect::<Vec<_>>(), ["first", "third"]);
    Ok(())
}
