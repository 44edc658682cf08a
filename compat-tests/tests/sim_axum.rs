//! axum and reqwest between the machines of a simulation.
#![cfg(sim)]

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use compat_tests::sockets::connect_when_up;
use tokio::net::TcpListener;
use tokio::sim;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(2);

/// Starts a machine called `name` whose service tells its name, and waits until it listens.
async fn start_server(name: &'static str) {
    sim::host(name, move || async move {
        let router = Router::new()
            .route("/name", get(move || async move { name }))
            .route("/length", post(|body: Bytes| async move { body.len().to_string() }))
            .layer(axum::extract::DefaultBodyLimit::disable());
        let listener = TcpListener::bind("0.0.0.0:3000").await?;
        axum::serve(listener, router).await?;
        Ok(())
    });
    connect_when_up(&format!("{name}:3000")).await;
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(LIMIT).build().expect("a client")
}

async fn name_of(client: &reqwest::Client, server: &str) -> reqwest::Result<String> {
    client.get(format!("http://{server}:3000/name")).send().await?.text().await
}

#[tokio::test]
async fn names_lead_to_their_machines() -> reqwest::Result<()> {
    let client = client();
    for name in ["first", "second", "third"] {
        start_server(name).await;
        assert_eq!(name_of(&client, name).await?, name);
    }
    assert_ne!(sim::lookup("first"), sim::lookup("second"));
    let error = name_of(&client, "fourth").await.expect_err("there is no such machine");
    assert!(error.is_connect(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_partition_is_a_timeout_and_its_repair_an_answer() -> reqwest::Result<()> {
    start_server("server").await;
    start_server("other").await;
    let client = client();
    assert_eq!(name_of(&client, "server").await?, "server");

    sim::partition("test", "server");
    let started = sim::elapsed();
    let error = name_of(&client, "server").await.expect_err("nobody can answer");
    let waited = sim::elapsed() - started;
    assert!(error.is_timeout(), "{error:?}");
    assert!(waited >= LIMIT && waited < LIMIT + Duration::from_millis(50), "{waited:?}");
    assert_eq!(name_of(&client, "other").await?, "other", "the other machine was not cut off");

    sim::repair("test", "server");
    assert_eq!(name_of(&client, "server").await?, "server");
    Ok(())
}

#[tokio::test]
async fn a_partition_between_sets_and_heal() -> reqwest::Result<()> {
    start_server("first").await;
    start_server("second").await;
    let client = client();
    sim::partition("test", ["first", "second"]);
    for name in ["first", "second"] {
        assert!(name_of(&client, name).await.expect_err("cut off").is_timeout());
    }
    sim::heal();
    for name in ["first", "second"] {
        assert_eq!(name_of(&client, name).await?, name);
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_process_refuses_until_it_is_started_again() -> reqwest::Result<()> {
    start_server("server").await;
    let client = client();
    assert_eq!(name_of(&client, "server").await?, "server");

    sim::crash("server");
    tokio::time::sleep(Duration::from_secs(1)).await; // the pool hears of it
    let started = sim::elapsed();
    let error = name_of(&client, "server").await.expect_err("nobody listens");
    assert!(error.is_connect() && !error.is_timeout(), "{error:?}");
    assert!(sim::elapsed() - started < LIMIT, "refused, and not waited for");

    sim::start("server");
    connect_when_up("server:3000").await;
    assert_eq!(name_of(&client, "server").await?, "server");
    Ok(())
}

#[tokio::test]
async fn a_paused_machine_answers_when_it_goes_on() -> reqwest::Result<()> {
    start_server("server").await;
    let client = client();
    assert_eq!(name_of(&client, "server").await?, "server");
    sim::pause("server");
    assert!(name_of(&client, "server").await.expect_err("it stands still").is_timeout());
    sim::resume("server");
    assert_eq!(name_of(&client, "server").await?, "server");
    Ok(())
}

#[tokio::test]
async fn bandwidth_is_a_limit() -> reqwest::Result<()> {
    start_server("server").await;
    let client = reqwest::Client::builder().no_proxy().build()?;
    sim::link("test", "server").latency_ms(1..=1).bandwidth_bits_per_sec(10_000_000);
    let started = sim::elapsed();
    let request = client.post("http://server:3000/length").body(vec![0; 1_000_000]);
    assert_eq!(request.send().await?.text().await?, "1000000");
    let took = sim::elapsed() - started;
    // Eight million bits at ten million a second, and not much more.
    assert!(took >= Duration::from_millis(800) && took < Duration::from_secs(4), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn many_customers_live_through_a_bounce() {
    start_server("server").await;
    let mut customers = JoinSet::new();
    for _ in 0..8 {
        customers.spawn(async {
            let client = client();
            let (mut answered, mut failed) = (0, 0);
            while answered < 50 {
                match name_of(&client, "server").await {
                    Ok(name) => {
                        assert_eq!(name, "server");
                        answered += 1;
                    }
                    Err(_) => failed += 1,
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            failed
        });
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    sim::crash("server");
    tokio::time::sleep(Duration::from_millis(300)).await;
    sim::start("server");
    let failed = customers.join_all().await;
    assert!(failed.iter().all(|count| *count > 0), "somebody did not notice: {failed:?}");
}
