//! sqlx and a MySQL server on machines that fail: what a client was promised holds.
//!
//! Owns faults between an application and its database. Must not know how the server keeps its promises. Invariant: every
//! test runs twice for each seed with equal traces (`SIM_TWICE=1` in CI).
#![cfg(sim)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use compat_mysql::{HOST, database_of};
use shim_servers::mysql::MySql;
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use tokio::sim;

const DATA: &str = "/var/lib/mysql";

async fn with_ledger(url: &str) -> MySqlPool {
    let options = MySqlPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5));
    let pool = options.connect(url).await.expect("it connects");
    sqlx::query("CREATE TABLE IF NOT EXISTS ledger (id INT PRIMARY KEY, amount INT NOT NULL)")
        .execute(&pool)
        .await
        .expect("a table");
    pool
}

async fn ids(pool: &MySqlPool) -> Vec<i32> {
    for _ in 0..200 {
        match sqlx::query_scalar("SELECT id FROM ledger ORDER BY id").fetch_all(pool).await {
            Ok(ids) => return ids,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("the pool does not recover");
}

/// Writes both halves of a pair in one transaction.
async fn pair(pool: &MySqlPool, id: i32) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    for (id, amount) in [(2 * id, 1), (2 * id + 1, -1)] {
        let insert = "INSERT INTO ledger VALUES (?, ?)";
        sqlx::query(insert).bind(id).bind(amount).execute(&mut *transaction).await?;
        tokio::time::sleep(Duration::from_millis(sim::random_in(0..20))).await;
    }
    transaction.commit().await
}

/// Every pair is whole, and everything that was acknowledged is there.
fn check(found: &[i32], acknowledged: &[i32]) {
    let halves = |id: i32| [2 * id, 2 * id + 1].map(|half| found.contains(&half));
    for id in 0..1_000 {
        let [first, second] = halves(id);
        assert_eq!(first, second, "pair {id} is torn");
    }
    for id in acknowledged {
        assert_eq!(halves(*id), [true, true], "pair {id} was acknowledged and is lost");
    }
}

#[tokio::test]
async fn a_machine_without_power_loses_nothing_that_was_acknowledged() {
    let url = database_of(MySql::new().data_dir(DATA)).await;
    let pool = with_ledger(&url).await;
    let mut acknowledged = Vec::new();
    let mut failures = 0;
    let crashes = tokio::spawn(async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(sim::random_in(20..400))).await;
            sim::power_off(HOST);
            tokio::time::sleep(Duration::from_millis(sim::random_in(50..500))).await;
            sim::start(HOST);
        }
    });
    for id in 0..40 {
        match tokio::time::timeout(Duration::from_secs(2), pair(&pool, id)).await {
            Ok(Ok(())) => acknowledged.push(id),
            _ => failures += 1,
        }
    }
    crashes.await.expect("it ends");
    check(&ids(&pool).await, &acknowledged);
    assert!(failures < 40, "nothing came through");
    pool.close().await;
}

#[tokio::test]
async fn a_crash_between_commit_and_its_answer() {
    let commits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&commits);
    // The third write is safe on the disk when the power goes; the client does not hear of it.
    let server = MySql::new().data_dir(DATA).on_commit(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 2 {
            sim::power_off(HOST);
        }
    });
    let url = database_of(server).await;
    let pool = with_ledger(&url).await;
    pair(&pool, 0).await.expect("it commits");
    let lost_answer = tokio::time::timeout(Duration::from_secs(1), pair(&pool, 1)).await;
    assert!(!matches!(lost_answer, Ok(Ok(()))), "nobody can have answered");
    sim::start(HOST);
    // What the client does not know, it has to look up: it was done.
    assert_eq!(ids(&pool).await, [0, 1, 2, 3]);
    pool.close().await;
}

#[tokio::test]
async fn a_connection_that_is_killed_in_a_transaction_leaves_nothing() {
    let server = MySql::new();
    let url = database_of(server.clone()).await;
    let pool = with_ledger(&url).await;
    let mut transaction = pool.begin().await.expect("it begins");
    sqlx::query("INSERT INTO ledger VALUES (0, 1)").execute(&mut *transaction).await.expect("a row");
    let id: i64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)")
        .fetch_one(&mut *transaction)
        .await
        .expect("its id");
    let kill = format!("KILL {id}");
    sqlx::query(sqlx::AssertSqlSafe(kill)).execute(&pool).await.expect("it is killed");
    let error = sqlx::query("INSERT INTO ledger VALUES (1, 1)").execute(&mut *transaction).await;
    assert!(error.is_err(), "the connection is gone");
    drop(transaction);
    // The lock is free again, and nothing is there.
    pair(&pool, 3).await.expect("it commits");
    assert_eq!(ids(&pool).await, [6, 7]);
    pool.close().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.connections(), 0, "a connection is left on the server");
}

#[tokio::test]
async fn a_partition_while_the_pool_grows() {
    let server = MySql::new();
    let url = database_of(server.clone()).await;
    let pool = with_ledger(&url).await;
    let workers: Vec<_> = (0..8)
        .map(|id| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..60 {
                    if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(8), pair(&pool, id)).await {
                        return Some(id);
                    }
                    // Perhaps it was done, and only the answer was lost.
                    if let Ok(Ok(found)) = tokio::time::timeout(
                        Duration::from_secs(8),
                        sqlx::query_scalar::<_, i32>("SELECT id FROM ledger WHERE id = ?")
                            .bind(2 * id)
                            .fetch_all(&pool),
                    )
                    .await
                        && !found.is_empty()
                    {
                        return Some(id);
                    }
                }
                None
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(sim::random_in(0..60))).await;
    sim::partition("test", HOST);
    tokio::time::sleep(Duration::from_millis(sim::random_in(100..3_000))).await;
    sim::heal();
    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.expect("it ends"));
    }
    assert_eq!(done, (0..8).collect::<Vec<_>>());
    check(&ids(&pool).await, &done);
    assert!(server.connections() <= 8, "the pool has four; those cut off are found by keep-alives later");
    pool.close().await;
}

#[tokio::test]
async fn more_clients_than_connections() {
    let server = MySql::new().max_connections(3);
    let url = database_of(server.clone()).await;
    let options = MySqlPoolOptions::new().max_connections(10).acquire_timeout(Duration::from_secs(2));
    let pool = options.connect(&url).await.expect("it connects");
    let mut held = Vec::new();
    let refused = loop {
        match pool.acquire().await {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
    };
    assert!(held.len() <= 3);
    let text = refused.to_string();
    assert!(text.contains("Too many connections") || text.contains("timed out"), "{text}");
    drop(held);
    // sqlx tells of the refusal to whoever asks for a further connection, until one is free.
    let mut one = sqlx::query_scalar::<_, i64>("SELECT 1").fetch_one(&pool).await;
    for _ in 0..20 {
        if one.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        one = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await;
    }
    let one = one.expect("there is room again");
    assert_eq!(one, 1);
    pool.close().await;
}

#[tokio::test]
async fn a_name_that_moves_to_another_server() {
    let first = database_of(MySql::new()).await;
    sim::host("spare", MySql::new().host());
    sim::register_name("database.internal", HOST);
    let url = first.replace("@db:", "@database.internal:");
    let options = MySqlPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(3));
    let pool = options.connect(&url).await.expect("it connects");
    sqlx::query("CREATE TABLE here (a INT)").execute(&pool).await.expect("a table");
    sim::power_off(HOST);
    sim::set_name("database.internal", sim::addresses("spare"));
    let mut tables = None;
    for _ in 0..200 {
        let found = tokio::time::timeout(
            Duration::from_secs(2),
            sqlx::query_scalar::<_, String>("SHOW TABLES").fetch_all(&pool),
        );
        if let Ok(Ok(found)) = found.await {
            tables = Some(found);
            break;
        }
    }
    assert_eq!(tables.expect("the pool finds the other server"), Vec::<String>::new());
    pool.close().await;
}

#[tokio::test]
async fn a_slow_network_and_a_slow_server() {
    let url = database_of(MySql::new()).await;
    drop(with_ledger(&url).await);
    // A new connection may lose its first packets, each of which is repeated after a second.
    let options = MySqlPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(120));
    let pool = options.connect(&url).await.expect("it connects");
    sim::link("test", HOST).latency_ms(100..=400).loss(0.05);
    let started = sim::elapsed();
    let slept: i64 = sqlx::query_scalar("SELECT SLEEP(2)").fetch_one(&pool).await.expect("it sleeps");
    assert_eq!(slept, 0);
    assert!(sim::elapsed() - started >= Duration::from_secs(2));
    let given_up = tokio::time::timeout(
        Duration::from_millis(500),
        sqlx::query_scalar::<_, i64>("SELECT SLEEP(60)").fetch_one(&pool),
    );
    assert!(given_up.await.is_err());
    // The connection of a query that was given up is not given to the next one before its answer was read.
    for id in 0..3 {
        pair(&pool, id).await.expect("it commits");
    }
    assert_eq!(ids(&pool).await.len(), 6);
    pool.close().await;
}
