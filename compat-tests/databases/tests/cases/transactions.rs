//! Transactions: isolation, savepoints, failures, locks, time-outs and cancelling.

use std::time::Duration;

use super::super::sqlx::postgres::PgDatabaseError;
use super::super::sqlx::{self, Connection, Executor, PgConnection};
use super::connected;

async fn balance(connection: &mut PgConnection, id: i32) -> i64 {
    sqlx::query_scalar("SELECT balance FROM accounts WHERE id = $1")
        .bind(id)
        .fetch_one(connection)
        .await
        .expect("a balance")
}

fn code(error: &sqlx::Error) -> String {
    let error = error.as_database_error().unwrap_or_else(|| panic!("no error of the server: {error}"));
    error.downcast_ref::<PgDatabaseError>().code().to_owned()
}

const ACCOUNTS: &str = "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL);
    INSERT INTO accounts VALUES (1, 100), (2, 100)";

#[tokio::test]
async fn savepoints_nest() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(ACCOUNTS).await.expect("a table");
    let mut outer = connection.begin().await.expect("a transaction");
    outer.execute("UPDATE accounts SET balance = 1 WHERE id = 1").await.expect("an update");
    let mut inner = outer.begin().await.expect("a savepoint");
    inner.execute("UPDATE accounts SET balance = 2 WHERE id = 1").await.expect("an update");
    let mut innermost = inner.begin().await.expect("a savepoint");
    innermost.execute("UPDATE accounts SET balance = 3 WHERE id = 1").await.expect("an update");
    innermost.commit().await.expect("released");
    assert_eq!(balance(&mut inner, 1).await, 3);
    inner.rollback().await.expect("undone");
    assert_eq!(balance(&mut outer, 1).await, 1);
    outer.commit().await.expect("committed");
    assert_eq!(balance(&mut connection, 1).await, 1);
    // A transaction that is dropped is rolled back.
    let mut dropped = connection.begin().await.expect("a transaction");
    dropped.execute("UPDATE accounts SET balance = 9").await.expect("an update");
    drop(dropped);
    assert_eq!(balance(&mut connection, 1).await, 1);
}

#[tokio::test]
async fn a_failure_aborts_until_a_savepoint() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(ACCOUNTS).await.expect("a table");
    let mut transaction = connection.begin().await.expect("a transaction");
    transaction.execute("UPDATE accounts SET balance = 5 WHERE id = 2").await.expect("an update");
    let mut inner = transaction.begin().await.expect("a savepoint");
    let error = inner.execute("INSERT INTO accounts VALUES (1, 0)").await.expect_err("there is one");
    assert_eq!(code(&error), "23505");
    let error = inner.execute("SELECT 1").await.expect_err("it is aborted");
    assert_eq!(code(&error), "25P02");
    inner.rollback().await.expect("undone");
    assert_eq!(balance(&mut transaction, 2).await, 5);
    transaction.execute("SELECT 1 / 0").await.expect_err("by zero");
    transaction.commit().await.expect("the answer to COMMIT is ROLLBACK");
    assert_eq!(balance(&mut connection, 2).await, 100);
}

#[tokio::test]
async fn readers_see_what_is_committed() {
    let Some((server, mut writer)) = connected().await else { return };
    writer.execute(ACCOUNTS).await.expect("a table");
    let mut reader = PgConnection::connect(&server.url()).await.expect("a connection");
    let mut snapshot = PgConnection::connect(&server.url()).await.expect("a connection");
    snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("a transaction");
    assert_eq!(balance(&mut snapshot, 1).await, 100);
    reader.execute("BEGIN").await.expect("a transaction");
    assert_eq!(balance(&mut reader, 1).await, 100);
    let mut transaction = writer.begin().await.expect("a transaction");
    transaction.execute("UPDATE accounts SET balance = 50 WHERE id = 1").await.expect("an update");
    assert_eq!(balance(&mut reader, 1).await, 100, "nobody sees what is not committed");
    transaction.commit().await.expect("committed");
    assert_eq!(balance(&mut reader, 1).await, 50, "READ COMMITTED sees it at once");
    assert_eq!(balance(&mut snapshot, 1).await, 100, "REPEATABLE READ never does");
    let error =
        snapshot.execute("UPDATE accounts SET balance = 0 WHERE id = 1").await.expect_err("it is stale");
    assert_eq!(code(&error), "40001");
    snapshot.execute("ROLLBACK").await.expect("undone");
    reader.execute("COMMIT").await.expect("done");
    reader.execute("BEGIN READ ONLY").await.expect("a transaction");
    let error = reader.execute("DELETE FROM accounts").await.expect_err("it is read-only");
    assert_eq!(code(&error), "25006");
    reader.execute("ROLLBACK").await.expect("undone");
}

#[tokio::test]
async fn a_writer_waits_for_the_row() {
    let Some((server, mut first)) = connected().await else { return };
    first.execute(ACCOUNTS).await.expect("a table");
    let mut second = PgConnection::connect(&server.url()).await.expect("a connection");
    let mut transaction = first.begin().await.expect("a transaction");
    transaction.execute("SELECT * FROM accounts WHERE id = 1 FOR UPDATE").await.expect("a lock");
    let error = second
        .execute("SELECT * FROM accounts WHERE id = 1 FOR UPDATE NOWAIT")
        .await
        .expect_err("it is locked");
    assert_eq!(code(&error), "55P03");
    second.execute("SET lock_timeout = '50ms'").await.expect("set");
    let error =
        second.execute("UPDATE accounts SET balance = 0 WHERE id = 1").await.expect_err("it waits no longer");
    assert_eq!(code(&error), "55P03");
    second.execute("SET lock_timeout = 0").await.expect("set");
    let waiting = tokio::spawn(async move {
        second.execute("UPDATE accounts SET balance = balance + 1 WHERE id = 1").await.expect("an update");
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    transaction.execute("UPDATE accounts SET balance = 10 WHERE id = 1").await.expect("an update");
    transaction.commit().await.expect("committed");
    waiting.await.expect("the other goes on");
    assert_eq!(balance(&mut first, 1).await, 11);
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_undone_alone() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(ACCOUNTS).await.expect("a table");
    let mut outer = connection.begin().await.expect("a transaction");
    outer.execute("UPDATE accounts SET balance = 1 WHERE id = 1").await.expect("an update");
    let mut inner = outer.begin().await.expect("a savepoint");
    inner.execute("SET LOCAL statement_timeout = '80ms'").await.expect("set");
    let long = "INSERT INTO accounts SELECT n, 0 FROM generate_series(10, 500000) AS n";
    let error = inner.execute(long).await.expect_err("it takes too long");
    assert_eq!(code(&error), "57014");
    inner.rollback().await.expect("undone");
    outer.execute("UPDATE accounts SET balance = 2 WHERE id = 2").await.expect("the transaction lives on");
    outer.commit().await.expect("committed");
    assert_eq!((balance(&mut connection, 1).await, balance(&mut connection, 2).await), (1, 2));
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts")
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(count, 2);
}

#[tokio::test]
async fn a_definition_that_takes_too_long_is_undone_alone() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(ACCOUNTS).await.expect("a table");
    connection
        .execute("INSERT INTO accounts SELECT n, 0 FROM generate_series(10, 300000) AS n")
        .await
        .expect("many rows");
    let mut outer = connection.begin().await.expect("a transaction");
    outer.execute("CREATE TABLE kept (n INT)").await.expect("a table");
    let mut inner = outer.begin().await.expect("a savepoint");
    inner.execute("SET LOCAL statement_timeout = '5ms'").await.expect("set");
    let long = "CREATE INDEX slow ON accounts (balance, id)";
    let error = inner.execute(long).await.expect_err("it takes too long");
    assert_eq!(code(&error), "57014");
    inner.rollback().await.expect("undone");
    outer.commit().await.expect("committed");
    connection.execute("INSERT INTO kept VALUES (1)").await.expect("it was committed");
    connection.execute("SET statement_timeout = '5ms'").await.expect("set");
    let error = connection.execute(long).await.expect_err("it takes too long, in no transaction either");
    assert_eq!(code(&error), "57014");
    connection.execute("SET statement_timeout = 0").await.expect("set");
    connection.execute(long).await.expect("it is not there yet");
}

/// Waits until a session is within `pg_sleep`.
async fn sleeps(connection: &mut PgConnection, session: i32) {
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND query LIKE '%pg_sleep%'";
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let count: i64 =
            sqlx::query_scalar(sleeps).bind(session).fetch_one(&mut *connection).await.expect("a count");
        if count == 1 {
            return;
        }
    }
    panic!("session {session} does not sleep");
}

#[tokio::test]
async fn statements_are_cancelled() {
    let Some((server, mut connection)) = connected().await else { return };
    connection.execute("SET statement_timeout = '80ms'").await.expect("set");
    let error = connection.execute("SELECT pg_sleep(10)").await.expect_err("it takes too long");
    assert_eq!(code(&error), "57014");
    let long = "SELECT count(*) FROM generate_series(1, 100000000) a";
    let error = connection.execute(long).await.expect_err("it takes too long");
    assert_eq!(code(&error), "57014");
    connection.execute("SET statement_timeout = 0").await.expect("set");
    let own: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.expect("a number");
    let mut other = PgConnection::connect(&server.url()).await.expect("a connection");
    let (tell, told) = tokio::sync::oneshot::channel();
    let sleeping = tokio::spawn(async move {
        let error = connection.execute("SELECT pg_sleep(100)").await.expect_err("it was cancelled");
        assert_eq!(code(&error), "57014");
        connection.execute("SELECT 1").await.expect("it lives on");
        tell.send(()).expect("somebody waits for it");
        connection.execute("SELECT pg_sleep(100)").await.expect_err("it was terminated")
    });
    sleeps(&mut other, own).await;
    let cancelled: bool = sqlx::query_scalar("SELECT pg_cancel_backend($1)")
        .bind(own)
        .fetch_one(&mut other)
        .await
        .expect("an answer");
    assert!(cancelled);
    told.await.expect("it lives on");
    sleeps(&mut other, own).await;
    sqlx::query("SELECT pg_terminate_backend($1)").bind(own).execute(&mut other).await.expect("an answer");
    let error = sleeping.await.expect("it ends");
    assert_eq!(code(&error), "57P01");
}

#[tokio::test]
async fn advisory_locks_exclude() {
    let Some((server, mut first)) = connected().await else { return };
    let mut second = PgConnection::connect(&server.url()).await.expect("a connection");
    first.execute("SELECT pg_advisory_lock(42)").await.expect("a lock");
    let tried: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(42)")
        .fetch_one(&mut second)
        .await
        .expect("an answer");
    assert!(!tried);
    let waiting = tokio::spawn(async move {
        second.execute("SELECT pg_advisory_lock(42)").await.expect("a lock");
        second
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    let released: bool =
        sqlx::query_scalar("SELECT pg_advisory_unlock(42)").fetch_one(&mut first).await.expect("an answer");
    assert!(released);
    let second = waiting.await.expect("it has the lock");
    // The end of a session gives its locks back.
    second.close().await.expect("closed");
    first.execute("BEGIN; SELECT pg_advisory_xact_lock(42); COMMIT").await.expect("a lock");
    let again: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock(42)").fetch_one(&mut first).await.expect("an answer");
    assert!(again);
}
