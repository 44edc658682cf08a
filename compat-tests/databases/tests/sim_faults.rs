//! What clients of a database are promised when its machine, its network or its sessions fail.
//!
//! Owns the ledger of what was acknowledged. Must not know how the server works. Invariants: an acknowledged commit is there
//! afterwards; an account's money is never lost or made; a pool works again; the server ends with as many sessions as the pool has.
#![cfg(sim)]

use std::collections::BTreeSet;
use std::time::Duration;

use compat_databases::{Server, Wishes, postgres, postgres_with};
use compat_tests::sockets::connect_when_up;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::sim::{self, PowerLoss};
use tokio::time::{sleep, timeout};

const MARKS: &str = "CREATE TABLE marks (id BIGINT PRIMARY KEY, worker INT NOT NULL)";

async fn server() -> Server {
    postgres().await.expect("a simulation always has a server")
}

fn options(server: &Server) -> PgConnectOptions {
    server.url().parse().expect("a url")
}

async fn pool(server: &Server, size: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options(server))
        .await
        .expect("a pool")
}

/// The marks that are in the database.
async fn stored(connection: &mut PgConnection) -> BTreeSet<i64> {
    let rows: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM marks").fetch_all(connection).await.expect("marks");
    rows.into_iter().collect()
}

/// Waits until the server has `count` sessions, which it must.
async fn sessions_become(server: &Server, count: usize) {
    for _ in 0..600 {
        if server.control().connections() == count {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the server has {} sessions, not {count}", server.control().connections());
}

/// Inserts marks until `until`; gives those whose commit was acknowledged, and how often it failed.
async fn mark(pool: PgPool, worker: i32, until: tokio::time::Instant) -> (BTreeSet<i64>, usize) {
    let (mut acknowledged, mut failures) = (BTreeSet::new(), 0);
    let mut next = i64::from(worker) * 1_000_000;
    while tokio::time::Instant::now() < until {
        next += 1;
        let id = next;
        let attempt = timeout(Duration::from_secs(1), async {
            let mut transaction = pool.begin().await?;
            sqlx::query("INSERT INTO marks VALUES ($1, $2)")
                .bind(id)
                .bind(worker)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        });
        match attempt.await {
            Ok(Ok(())) => drop(acknowledged.insert(id)),
            Ok(Err(_)) | Err(_) => {
                failures += 1;
                sleep(Duration::from_millis(20)).await;
            }
        }
        // A client thinks now and then.
        if next % 5 == 0 {
            sleep(Duration::from_millis(sim::random_in(1..20))).await;
        }
    }
    (acknowledged, failures)
}

/// A server whose disk answers within `slowest`, and keeps parts of what was not synced when the power goes.
async fn server_on_a_disk(slowest: Duration) -> Server {
    let server = server().await;
    sim::disk("db").power_loss(PowerLoss::Torn).latency(Duration::from_micros(10), slowest);
    server
}

type Marker = tokio::task::JoinHandle<(BTreeSet<i64>, usize)>;

fn markers(pool: &PgPool, count: i32, until: tokio::time::Instant) -> Vec<Marker> {
    (1..=count).map(|worker| tokio::spawn(mark(pool.clone(), worker, until))).collect()
}

/// The marks whose commit was acknowledged, of workers of whom some saw the server fail.
async fn acknowledged(workers: Vec<Marker>) -> BTreeSet<i64> {
    let (mut acknowledged, mut failures) = (BTreeSet::new(), 0);
    for worker in workers {
        let (own, failed) = worker.await.expect("it ends");
        acknowledged.extend(own);
        failures += failed;
    }
    assert!(failures > 0, "nobody noticed that the server failed");
    acknowledged
}

/// All marks that are stored; those that were acknowledged are among them.
async fn all_stored(server: &Server, acknowledged: &BTreeSet<i64>) -> BTreeSet<i64> {
    let mut connection = options(server).connect().await.expect("the server is back");
    let stored = stored(&mut connection).await;
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged, and gone: {lost:?}");
    stored
}

#[tokio::test]
async fn killed_sessions_roll_back_and_are_replaced() {
    let server = server().await;
    let pool = pool(&server, 4).await;
    pool.execute(MARKS).await.expect("a table");
    pool.execute("CREATE TABLE accounts (id INT PRIMARY KEY, money BIGINT NOT NULL CHECK (money >= 0))")
        .await
        .expect("a table");
    pool.execute("INSERT INTO accounts SELECT n, 100 FROM generate_series(1, 5) n").await.expect("accounts");
    let until = tokio::time::Instant::now() + Duration::from_secs(2);
    let workers = (0..4).map(|worker| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let (mut done, mut failed) = (0, 0);
            while tokio::time::Instant::now() < until {
                let (from, to) = (1 + sim::random_in(0..5) as i32, 1 + sim::random_in(0..5) as i32);
                let transfer = async {
                    let mut transaction = pool.begin().await?;
                    sqlx::query("UPDATE accounts SET money = money - 1 WHERE id = $1")
                        .bind(from)
                        .execute(&mut *transaction)
                        .await?;
                    sleep(Duration::from_millis(sim::random_in(0..5))).await;
                    sqlx::query("UPDATE accounts SET money = money + 1 WHERE id = $1")
                        .bind(to)
                        .execute(&mut *transaction)
                        .await?;
                    transaction.commit().await
                };
                match transfer.await {
                    Ok(()) => done += 1,
                    Err(_) => failed += 1,
                }
            }
            (worker, done, failed)
        })
    });
    let workers: Vec<_> = workers.collect();
    let mut killed = 0;
    while tokio::time::Instant::now() < until {
        sleep(Duration::from_millis(sim::random_in(50..200))).await;
        let sessions = server.control().sessions();
        if !sessions.is_empty() {
            let at = sim::random_in(0..sessions.len() as u64) as usize;
            killed += usize::from(server.control().terminate(sessions[at]));
        }
    }
    let (mut done, mut failed) = (0, 0);
    for worker in workers {
        let (_, own_done, own_failed) = worker.await.expect("it ends");
        done += own_done;
        failed += own_failed;
    }
    assert!(killed > 0 && failed > 0, "nobody was killed in a transaction: {killed} {failed}");
    assert!(done > 20, "{done} transfers");
    let total: i64 =
        sqlx::query_scalar("SELECT sum(money)::bigint FROM accounts").fetch_one(&pool).await.expect("a sum");
    assert_eq!(total, 500, "money was lost or made");
    pool.close().await;
    sessions_become(&server, 0).await;
}

#[tokio::test]
async fn a_crash_between_commit_and_answer_loses_nothing_acknowledged() {
    let server = server_on_a_disk(Duration::from_micros(200)).await;
    let pool = pool(&server, 3).await;
    pool.execute(MARKS).await.expect("a table");
    let crash_after = sim::random_in(5..40);
    let commits = std::sync::atomic::AtomicU64::new(0);
    server.control().on_commit(move |_| {
        if commits.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == crash_after {
            // The commit is on the disk; its answer is not on the wire.
            sim::power_off("db");
        }
    });
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    let workers = markers(&pool, 3, until);
    while sim::is_running("db") && tokio::time::Instant::now() < until {
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!sim::is_running("db"), "the machine did not crash");
    sleep(Duration::from_millis(sim::random_in(1..500))).await;
    sim::start("db");
    connect_when_up("db:5432").await;
    let acknowledged = acknowledged(workers).await;
    let stored = all_stored(&server, &acknowledged).await;
    assert!(stored.len() as u64 > crash_after, "the commit without an answer is there");
}

#[tokio::test]
async fn a_lost_answer_is_an_error_and_the_commit_stands() {
    let server = server().await;
    let mut connection = options(&server).connect().await.expect("a connection");
    connection.execute(MARKS).await.expect("a table");
    server.control().lose_commit_answers(1);
    let mut transaction = connection.begin().await.expect("a transaction");
    transaction.execute("INSERT INTO marks VALUES (1, 1)").await.expect("a mark");
    transaction.commit().await.expect_err("nobody answers");
    assert_eq!(server.control().lost_commit_answers(), 1);
    let mut other = options(&server).connect().await.expect("a connection");
    assert_eq!(stored(&mut other).await, BTreeSet::from([1]), "it was committed all the same");
    drop(connection);
    sessions_become(&server, 1).await;
}

#[tokio::test]
async fn power_cuts_under_load_lose_nothing_acknowledged() {
    let server = server_on_a_disk(Duration::from_micros(300)).await;
    let pool = pool(&server, 4).await;
    pool.execute(MARKS).await.expect("a table");
    let until = tokio::time::Instant::now() + Duration::from_secs(3);
    let workers = markers(&pool, 4, until);
    for _ in 0..3 {
        sleep(Duration::from_millis(sim::random_in(100..700))).await;
        if sim::random_u64().is_multiple_of(3) {
            sim::crash("db")
        } else {
            sim::power_off("db")
        }
        sleep(Duration::from_millis(sim::random_in(1..300))).await;
        sim::start("db");
        connect_when_up("db:5432").await;
    }
    let acknowledged = acknowledged(workers).await;
    assert!(acknowledged.len() > 10, "{} commits", acknowledged.len());
    all_stored(&server, &acknowledged).await;
}

#[tokio::test]
async fn a_partition_while_the_pool_grows_leaves_no_session_behind() {
    let server = server().await;
    let pool = pool(&server, 8).await;
    pool.execute(MARKS).await.expect("a table");
    let growing: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut connection = pool.acquire().await?;
                connection.execute("SELECT pg_sleep(0.2)").await.map(drop)
            })
        })
        .collect();
    sleep(Duration::from_micros(sim::random_in(50..3000))).await;
    sim::partition("test", "db");
    sleep(Duration::from_millis(sim::random_in(500..6000))).await;
    sim::repair("test", "db");
    let mut failed = 0;
    for attempt in growing {
        failed += usize::from(attempt.await.expect("it ends").is_err());
    }
    assert!(failed < 8 || pool.size() <= 8);
    // It works again, at its full size.
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(pool.acquire().await.expect("a connection"));
    }
    for connection in &mut held {
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut **connection).await.expect("an answer");
        assert_eq!(one, 1);
    }
    assert_eq!(pool.size(), 8);
    drop(held);
    pool.close().await;
    sessions_become(&server, 0).await;
}

#[tokio::test]
async fn a_slow_server_times_out_and_recovers() {
    let server = server().await;
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_millis(400))
        .connect_with(options(&server).options([("statement_timeout", "300ms")]))
        .await
        .expect("a pool");
    pool.execute(MARKS).await.expect("a table");
    server.control().set_statement_delay(Duration::from_secs(1));
    let started = sim::elapsed();
    let error = pool.execute("INSERT INTO marks VALUES (1, 1)").await.expect_err("it takes too long");
    let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
    let waited = sim::elapsed() - started;
    assert!(matches!(&error, sqlx::Error::PoolTimedOut) || code.as_deref() == Some("57014"), "{error}");
    assert!(waited < Duration::from_millis(900), "{waited:?}");
    server.control().set_statement_delay(Duration::ZERO);
    sleep(Duration::from_secs(2)).await;
    pool.execute("INSERT INTO marks VALUES (2, 1)").await.expect("it is fast again");
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM marks WHERE id = 1")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(count, 0, "what was cancelled was not done");
    pool.close().await;
    sessions_become(&server, 0).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_end_tells_its_clients() {
    let server = server().await;
    let mut connection = options(&server).connect().await.expect("a connection");
    connection.execute(MARKS).await.expect("a table");
    connection.execute("BEGIN; INSERT INTO marks VALUES (1, 1)").await.expect("a mark");
    let told = tokio::spawn(async move {
        let error = connection.execute("SELECT pg_sleep(60)").await.expect_err("the server ends");
        error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
    });
    sleep(Duration::from_millis(50)).await;
    sim::kill("db", 15);
    assert_eq!(told.await.expect("it ends").as_deref(), Some("57P01"));
    sleep(Duration::from_millis(100)).await;
    assert!(!sim::is_running("db"), "the process has ended");
    sim::start("db");
    connect_when_up("db:5432").await;
    let mut connection = options(&server).connect().await.expect("it is back");
    assert!(stored(&mut connection).await.is_empty(), "what was not committed is gone");
}

#[tokio::test]
async fn a_forgotten_transaction_ends_and_gives_its_lock_back() {
    let server = server().await;
    let mut forgetful = options(&server).connect().await.expect("a connection");
    forgetful.execute(MARKS).await.expect("a table");
    forgetful.execute("SET idle_in_transaction_session_timeout = '200ms'").await.expect("set");
    forgetful.execute("BEGIN; INSERT INTO marks VALUES (1, 1)").await.expect("a mark");
    let mut other = options(&server).connect().await.expect("a connection");
    let started = sim::elapsed();
    other.execute("INSERT INTO marks VALUES (1, 2)").await.expect("the lock comes back");
    let waited = sim::elapsed() - started;
    assert!(waited >= Duration::from_millis(190) && waited < Duration::from_millis(400), "{waited:?}");
    forgetful.execute("COMMIT").await.expect_err("its session is gone");
    assert_eq!(stored(&mut other).await, BTreeSet::from([1]));
}

#[tokio::test]
async fn a_name_that_moves_is_looked_up_again() {
    let server = server().await;
    let spare = shim_servers::Postgres::new().user("postgres");
    let control = spare.control();
    sim::host("spare", spare.host());
    connect_when_up("spare:5432").await;
    sim::register_name("database", "db");
    let moving = options(&server).host("database");
    let pool = PgPoolOptions::new()
        .max_connections(3)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(moving)
        .await;
    let pool = pool.expect("a pool");
    pool.execute("SELECT 1").await.expect("an answer");
    assert_eq!((server.control().connections(), control.connections()), (1, 0));
    sim::register_name("database", "spare");
    sim::crash("db");
    let mut answered = false;
    for _ in 0..20 {
        answered = pool.execute("SELECT 1").await.is_ok();
        if answered {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(answered, "the pool did not find the other machine");
    assert_eq!(control.connections(), 1);
}

#[tokio::test]
async fn more_clients_than_connections_take_turns() {
    let wishes = Wishes { max_connections: Some(5), ..Wishes::default() };
    let server = postgres_with(wishes).await.expect("a simulation always has a server");
    let mut setup = options(&server).connect().await.expect("a connection");
    setup.execute(MARKS).await.expect("a table");
    setup.close().await.expect("closed");
    let refused = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let clients: Vec<_> = (0..20_i64)
        .map(|id| {
            let (options, refused) = (options(&server), std::sync::Arc::clone(&refused));
            tokio::spawn(async move {
                for _ in 0..1000 {
                    match options.connect().await {
                        Ok(mut connection) => {
                            sqlx::query("INSERT INTO marks VALUES ($1, 0)")
                                .bind(id)
                                .execute(&mut connection)
                                .await
                                .expect("a mark");
                            sleep(Duration::from_millis(sim::random_in(1..20))).await;
                            connection.close().await.expect("closed");
                            return;
                        }
                        Err(error) => {
                            let code = error
                                .as_database_error()
                                .and_then(|error| error.code())
                                .map(|code| code.into_owned());
                            assert_eq!(code.as_deref(), Some("53300"), "{error}");
                            refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                            sleep(Duration::from_millis(sim::random_in(1..50))).await;
                        }
                    }
                }
                panic!("never let in");
            })
        })
        .collect();
    for client in clients {
        client.await.expect("it ends");
    }
    assert!(refused.load(std::sync::atomic::Ordering::Relaxed) > 0, "nobody was refused");
    sessions_become(&server, 0).await;
    let mut connection = options(&server).connect().await.expect("a connection");
    assert_eq!(stored(&mut connection).await.len(), 20);
}
