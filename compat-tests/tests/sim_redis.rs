//! The `redis` crate between two machines of a simulation: what it does when the server dies, restarts, or cannot be
//! reached.
#![cfg(sim)]

use std::error::Error;
use std::future::pending;
use std::time::Duration;

use compat_tests::sockets::connect_when_up;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult};
use tokio::net::TcpListener;
use tokio::sim;
use tokio::time::Instant;

const URL: &str = "redis://redis:6379";
const LIMIT: Duration = Duration::from_millis(500);

/// Starts the server's machine and waits until it listens.
async fn start_redis() {
    sim::host("redis", || async {
        let listener = TcpListener::bind("0.0.0.0:6379").await?;
        mini_redis::server::run(listener, pending::<()>()).await.map_err(|error| error as Box<dyn Error>)
    });
    connect_when_up("redis:6379").await;
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT))
}

async fn manager() -> ConnectionManager {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(LIMIT))
        .set_response_timeout(Some(LIMIT))
        .set_number_of_retries(10)
        .set_max_delay(Duration::from_millis(200));
    let client = Client::open(URL).expect("a well-formed url");
    client.get_connection_manager_with_config(config).await.expect("the manager connects")
}

/// Repeats GET until it is answered; returns the answer and how many attempts failed before.
async fn get_until_answered(connection: &mut ConnectionManager, key: &str) -> (Option<String>, usize) {
    let started = Instant::now();
    let mut failures = 0;
    loop {
        match connection.get(key).await {
            Ok(answer) => return (answer, failures),
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "did not recover: {error}"),
        }
        failures += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_manager_reconnects_after_a_bounce() -> RedisResult<()> {
    start_redis().await;
    let mut connection = manager().await;
    let () = connection.set("life", "first").await?;
    sim::bounce("redis");

    let (answer, failures) = get_until_answered(&mut connection, "life").await;
    assert_eq!(answer, None, "the new process cannot know what the old one was told");
    assert!(failures > 0, "the old connection outlived its server");
    let () = connection.set("life", "second").await?;
    assert_eq!(connection.get::<_, String>("life").await?, "second");
    Ok(())
}

#[tokio::test]
async fn a_partition_is_a_response_timeout() -> RedisResult<()> {
    start_redis().await;
    let mut connection = manager().await;
    let () = connection.set("key", "value").await?;

    sim::partition("test", "redis");
    let started = sim::elapsed();
    let error = connection.get::<_, String>("key").await.expect_err("nobody can answer");
    let waited = sim::elapsed() - started;
    assert!(error.is_timeout(), "{error}");
    // In virtual time a time-out is exact, but for the slices that polls cost.
    assert!(waited >= LIMIT && waited < LIMIT + Duration::from_millis(50), "{waited:?}");

    // The connection itself was never lost: retransmission brings both questions through.
    sim::repair("test", "redis");
    let (answer, _) = get_until_answered(&mut connection, "key").await;
    assert_eq!(answer.as_deref(), Some("value"));
    Ok(())
}

#[tokio::test]
async fn a_dead_process_refuses_and_a_dead_machine_is_silent() {
    start_redis().await;
    let client = Client::open(URL).expect("a well-formed url");

    sim::crash("redis");
    let error = client.get_multiplexed_async_connection_with_config(&config()).await;
    let error = error.expect_err("the process is dead");
    assert!(error.is_connection_refusal(), "{error}");

    sim::start("redis");
    connect_when_up("redis:6379").await;
    sim::power_off("redis");
    let started = sim::elapsed();
    let error = client.get_multiplexed_async_connection_with_config(&config()).await;
    let error = error.expect_err("the machine is off");
    assert!(error.is_timeout(), "{error}");
    assert!(sim::elapsed() - started >= LIMIT);
}

#[tokio::test]
async fn nothing_is_lost_on_a_bad_link() -> RedisResult<()> {
    start_redis().await;
    let client = Client::open(URL)?;
    let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await?;

    sim::link("test", "redis").latency_ms(5..=20).loss(0.05);
    let started = sim::elapsed();
    for number in 0..200_i64 {
        let () = connection.set("number", number).await?;
        assert_eq!(connection.get::<_, i64>("number").await?, number);
    }
    // 400 round trips of at least 10 ms; and with this loss, some of them much longer.
    let took = sim::elapsed() - started;
    assert!(took > Duration::from_millis(400 * 10 + 200), "no packet was lost or late: {took:?}");
    Ok(())
}

#[tokio::test]
async fn held_answers_come_in_their_order() -> RedisResult<()> {
    start_redis().await;
    let client = Client::open(URL)?;
    let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await?;

    sim::hold("test", "redis");
    let held_for = Duration::from_secs(3);
    let asking = futures_util::future::join_all((0..20_i64).map(|number| {
        let mut connection = connection.clone();
        async move {
            let () = connection.set(format!("key {number}"), number).await?;
            connection.get::<_, i64>(format!("key {number}")).await
        }
    }));
    let started = sim::elapsed();
    let (answers, ()) = tokio::join!(asking, async {
        tokio::time::sleep(held_for).await;
        sim::release("test", "redis");
    });
    assert!(sim::elapsed() - started >= held_for, "the link was not held");
    let answers = answers.into_iter().collect::<RedisResult<Vec<i64>>>()?;
    assert_eq!(answers, (0..20).collect::<Vec<_>>());
    Ok(())
}
