//! The `redis` crate, and mini-redis's own client, against an unmodified mini-redis server.

use std::time::Duration;

use compat_tests::proxy::Proxy;
use compat_tests::redis_server::RedisServer;
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Longer than anything here takes, on a slow machine as well.
const PATIENCE: Duration = Duration::from_secs(20);

fn patient() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE))
}

async fn manager(url: &str) -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_min_delay(Duration::from_millis(10))
        .set_max_delay(Duration::from_millis(50))
        .set_number_of_retries(100)
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = Client::open(url).expect("a well-formed url");
    client.get_connection_manager_with_config(config).await.expect("the manager connects")
}

#[tokio::test]
async fn sets_and_gets() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;

    let missing: Option<String> = connection.get("greeting").await?;
    assert_eq!(missing, None);
    let () = connection.set("greeting", "hello").await?;
    let found: Option<String> = connection.get("greeting").await?;
    assert_eq!(found.as_deref(), Some("hello"));

    // A value that does not fit in one segment or one read, and holds every byte.
    let large: Vec<u8> = (0..300_000).map(|index| (index % 256) as u8).collect();
    let () = connection.set("large", &large).await?;
    let read_back: Vec<u8> = connection.get("large").await?;
    assert_eq!(read_back, large);
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_key_expires() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;

    let started = Instant::now();
    let () =
        redis::cmd("SET").arg("short").arg("lived").arg("PX").arg(150).query_async(&mut connection).await?;
    loop {
        let found: Option<String> = connection.get("short").await?;
        match found {
            Some(value) => assert_eq!(value, "lived"),
            None => break,
        }
        assert!(started.elapsed() < PATIENCE, "the key never expired");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() >= Duration::from_millis(150), "expired after {:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn an_unknown_command_is_an_error_of_the_server() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;

    let answer: RedisResult<String> = redis::cmd("FLUSHALL").query_async(&mut connection).await;
    let error = answer.expect_err("mini-redis does not know FLUSHALL");
    assert_eq!(error.code(), Some("ERR"), "{error}");
    assert!(!error.is_io_error() && !error.is_connection_dropped(), "{error}");

    // The connection is still good.
    let () = connection.set("after", 1).await?;
    assert_eq!(connection.get::<_, i64>("after").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;

    let mut pipeline = redis::pipe();
    for index in 0..500 {
        pipeline.set(format!("key {index}"), index).ignore();
    }
    for index in (0..500).rev() {
        pipeline.get(format!("key {index}"));
    }
    let values: Vec<i64> = pipeline.query_async(&mut connection).await?;
    assert_eq!(values, (0..500).rev().collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn many_tasks_share_one_multiplexed_connection() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let proxy = Proxy::start(server.address()).await.expect("the proxy starts");
    let client = Client::open(format!("redis://{}", proxy.address()))?;
    let connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;

    let mut tasks = JoinSet::new();
    for task in 0..20_i64 {
        let mut connection = connection.clone();
        tasks.spawn(async move {
            for round in 0..20_i64 {
                let () = connection.set(format!("task {task}"), task * 1000 + round).await?;
                let value: i64 = connection.get(format!("task {task}")).await?;
                assert_eq!(value, task * 1000 + round);
            }
            RedisResult::Ok(())
        });
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.expect("no task panics")?;
    }
    assert_eq!(proxy.accepted_count(), 1);
    Ok(())
}

#[tokio::test]
async fn subscribers_hear_what_is_published() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let mut publisher = client.get_multiplexed_async_connection_with_config(&patient()).await?;

    let nobody: i64 = publisher.publish("news", "unheard").await?;
    assert_eq!(nobody, 0);

    let mut first = client.get_async_pubsub().await?;
    first.subscribe("news").await?;
    first.subscribe("weather").await?;
    let mut second = client.get_async_pubsub().await?;
    second.subscribe("news").await?;

    assert_eq!(publisher.publish::<_, _, i64>("news", "one").await?, 2);
    assert_eq!(publisher.publish::<_, _, i64>("weather", "rain").await?, 1);

    let mut heard = Vec::new();
    for _ in 0..2 {
        let message =
            timeout(PATIENCE, first.on_message().next()).await.expect("in time").expect("a message");
        heard.push((message.get_channel_name().to_owned(), message.get_payload::<String>()?));
    }
    heard.sort(); // mini-redis merges the channels in no fixed order
    assert_eq!(heard, [("news".into(), "one".into()), ("weather".into(), "rain".into())]);
    let message = timeout(PATIENCE, second.on_message().next()).await.expect("in time").expect("a message");
    assert_eq!(message.get_payload::<String>()?, "one");

    second.unsubscribe("news").await?;
    assert_eq!(publisher.publish::<_, _, i64>("news", "two").await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_silent_server_is_a_response_timeout() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let proxy = Proxy::start(server.address()).await.expect("the proxy starts");
    let client = Client::open(format!("redis://{}", proxy.address()))?;
    let limit = Duration::from_millis(200);
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;
    let () = connection.set("before", "silence").await?;

    connection.set_response_timeout(limit);
    proxy.set_silent(true);
    let started = Instant::now();
    let error = connection.get::<_, String>("before").await.expect_err("nobody answers");
    assert!(error.is_timeout(), "{error}");
    assert!(started.elapsed() >= limit, "gave up after {:?}", started.elapsed());

    // The late answer must not be taken for the answer to the next question.
    proxy.set_silent(false);
    connection.set_response_timeout(PATIENCE);
    let () = connection.set("after", "noise").await?;
    assert_eq!(connection.get::<_, String>("after").await?, "noise");
    assert_eq!(proxy.accepted_count(), 1);
    Ok(())
}

#[tokio::test]
async fn nobody_listening_is_a_refusal() {
    let server = RedisServer::start().await.expect("the server starts");
    let url = server.url();
    server.stop().await;
    let client = Client::open(url).expect("a well-formed url");
    let error = client
        .get_multiplexed_async_connection_with_config(&patient())
        .await
        .expect_err("nobody listens there any more");
    assert!(error.is_connection_refusal(), "{error}");
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_server() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient()).await?;
    let () = connection.set("key", "value").await?;
    server.stop().await;
    let error = connection.get::<_, String>("key").await.expect_err("the server has gone");
    assert!(error.is_io_error() && !error.is_timeout(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn the_manager_reconnects_when_the_server_is_back() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let address = server.address();
    let mut connection = manager(&server.url()).await;
    let () = connection.set("life", 1).await?;

    server.stop().await;
    let server = RedisServer::start_at(address).await.expect("the port is free again");
    // The first command may find the connection dead; it is the sign to connect again.
    let started = Instant::now();
    let mut failures = 0;
    while let Err(error) = connection.set::<_, _, ()>("life", 2).await {
        assert!(error.is_io_error(), "{error}");
        assert!(started.elapsed() < PATIENCE, "did not reconnect: {error}");
        failures += 1;
    }
    assert!(failures <= 2, "{failures} failures for one lost connection");
    assert_eq!(connection.get::<_, i64>("life").await?, 2);
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_manager_survives_repeated_cuts() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let proxy = Proxy::start(server.address()).await.expect("the proxy starts");
    let mut connection = manager(&format!("redis://{}", proxy.address())).await;

    for round in 0..5_i64 {
        let () = connection.set("round", round).await?;
        proxy.cut();
        let started = Instant::now();
        // The data is the server's, which never went away.
        loop {
            match connection.get::<_, i64>("round").await {
                Ok(value) => break assert_eq!(value, round),
                Err(error) => assert!(started.elapsed() < PATIENCE, "did not reconnect: {error}"),
            }
        }
    }
    assert!(proxy.accepted_count() >= 5, "only {} connections were made", proxy.accepted_count());
    Ok(())
}

#[tokio::test]
async fn the_client_of_mini_redis() -> mini_redis::Result<()> {
    let server = RedisServer::start().await?;
    let mut client = mini_redis::client::connect(server.address()).await?;
    assert_eq!(client.get("greeting").await?, None);
    client.set("greeting", "hello".into()).await?;
    assert_eq!(client.get("greeting").await?.as_deref(), Some(&b"hello"[..]));

    let listener = mini_redis::client::connect(server.address()).await?;
    let mut listener = listener.subscribe(vec!["news".into()]).await?;
    assert_eq!(client.publish("news", "one".into()).await?, 1);
    let message = timeout(PATIENCE, listener.next_message()).await??.expect("the subscription is open");
    assert_eq!((message.channel.as_str(), &message.content[..]), ("news", &b"one"[..]));

    server.stop().await;
    assert!(listener.next_message().await?.is_none(), "the server closed the subscription in order");
    Ok(())
}
