//! The pool: limits, time-outs, tests of idle connections.

use std::time::Duration;

use super::super::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use super::super::sqlx::{self, ConnectOptions, Executor};
use compat_databases::{Wishes, postgres, postgres_with};

/// How many sessions the server has for clients of the name.
async fn sessions(pool: &PgPool, application: &str) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1")
        .bind(application)
        .fetch_one(pool)
        .await
        .expect("a count")
}

#[tokio::test]
async fn acquiring_times_out_and_recovers() {
    let Some(server) = postgres().await else { return };
    let options = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(1));
    let pool = options.connect(&server.url()).await.expect("a pool");
    let (first, second) = (pool.acquire().await.expect("one"), pool.acquire().await.expect("another"));
    let error = pool.acquire().await.expect_err("there are two");
    assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error}");
    drop(first);
    let third = pool.acquire().await.expect("one came back");
    drop((second, third));
    assert_eq!(pool.size(), 2);
}

#[tokio::test]
async fn idle_connections_are_reaped() {
    let Some(server) = postgres().await else { return };
    let options: PgConnectOptions = server.url().parse().expect("a url");
    let pool = PgPoolOptions::new()
        .max_connections(5)
        .min_connections(1)
        .idle_timeout(Duration::from_millis(500))
        .connect_with(options.clone().application_name("reaped"))
        .await
        .expect("a pool");
    let watcher = PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("a pool");
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(pool.acquire().await.expect("a connection"));
    }
    assert_eq!(sessions(&watcher, "reaped").await, 5);
    drop(held);
    let mut left = 5;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        left = sessions(&watcher, "reaped").await;
        if left == 1 {
            break;
        }
    }
    assert_eq!(left, 1, "the server has closed the sessions of all that were idle, but for the least number");
    pool.close().await;
    for _ in 0..40 {
        left = sessions(&watcher, "reaped").await;
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0, "a closed pool has left a session behind");
}

#[tokio::test]
async fn a_dead_connection_is_found_before_it_is_given() {
    let Some(server) = postgres().await else { return };
    let options: PgConnectOptions = server.url().parse().expect("a url");
    let pool =
        PgPoolOptions::new().max_connections(1).test_before_acquire(true).connect_with(options.clone()).await;
    let pool = pool.expect("a pool");
    let before: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await.expect("a number");
    let mut other = options.connect().await.expect("a connection");
    sqlx::query("SELECT pg_terminate_backend($1)").bind(before).execute(&mut other).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let after: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&pool).await.expect("another connection");
    assert_ne!(before, after);
}

#[tokio::test]
async fn one_too_many_is_refused() {
    let wishes = Wishes { max_connections: Some(5), ..Wishes::default() };
    let Some(server) = postgres_with(wishes).await else { return };
    let options: PgConnectOptions = server.url().parse().expect("a url");
    let mut held = Vec::new();
    let error = loop {
        match options.connect().await {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
        assert!(held.len() <= 5, "there are more than five");
    };
    assert_eq!(held.len(), 5);
    assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("53300"));
    drop(held.pop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut last = options.connect().await.expect("there is a place again");
    last.execute("SELECT 1").await.expect("an answer");
}
