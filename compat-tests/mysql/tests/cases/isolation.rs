//! What transactions see of each other.
//!
//! Owns the levels of isolation. Must not ask for the simulation. Invariant: what is asserted here holds on MariaDB,
//! which is the judge.

use super::{balance, sqlx, with_accounts};
use crate::sqlx::mysql::MySqlConnection;
use crate::sqlx::{Connection, Executor};
use compat_mysql::database_or_skip;

const RAISE: &str = "UPDATE accounts SET balance = balance + 100 WHERE owner = 'anna'";

/// anna's balance as the connection's transaction sees it; `more` ends the statement.
async fn seen(connection: &mut MySqlConnection, more: &str) -> i64 {
    let text = format!("SELECT balance FROM accounts WHERE owner = 'anna' {more}");
    sqlx::query_scalar(dynamic!(text)).fetch_one(connection).await.expect("a balance")
}

async fn run(connection: &mut MySqlConnection, text: &'static str) {
    connection.execute(text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[tokio::test]
async fn a_transaction_reads_one_state_until_it_ends() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut transaction = pool.begin().await.expect("it begins");
    sqlx::query(RAISE).execute(&pool).await.expect("an update");
    assert_eq!(seen(&mut transaction, "").await, 200, "the state is that of the first read");
    sqlx::query(RAISE).execute(&pool).await.expect("an update");
    sqlx::query("INSERT INTO accounts (owner, balance) VALUES ('cleo', 1)")
        .execute(&pool)
        .await
        .expect("a row");
    assert_eq!(seen(&mut transaction, "").await, 200);
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts")
        .fetch_one(&mut *transaction)
        .await
        .expect("a count");
    assert_eq!((count, balance(&pool, "anna").await), (2, 300));
    transaction.commit().await.expect("it commits");
    let mut connection = pool.acquire().await.expect("a connection");
    assert_eq!(seen(&mut connection, "").await, 300);
    drop(connection);
    pool.close().await;
}

#[tokio::test]
async fn a_write_is_made_to_the_newest_state() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut transaction = pool.begin().await.expect("it begins");
    assert_eq!(seen(&mut transaction, "").await, 100);
    let mut nested = transaction.begin().await.expect("a savepoint");
    sqlx::query(RAISE).execute(&pool).await.expect("an update of somebody else's");
    assert_eq!(seen(&mut nested, "").await, 100);
    assert_eq!(seen(&mut nested, "LOCK IN SHARE MODE").await, 200, "what is locked is the newest");
    assert_eq!(seen(&mut nested, "FOR UPDATE").await, 200);
    sqlx::query(RAISE).execute(&mut *nested).await.expect("no error");
    assert_eq!(seen(&mut nested, "").await, 300, "its own changes are seen");
    nested.rollback().await.expect("back to the savepoint");
    sqlx::query("UPDATE accounts SET balance = balance + 7 WHERE owner = 'anna'")
        .execute(&mut *transaction)
        .await
        .expect("an update");
    transaction.commit().await.expect("it commits");
    assert_eq!(balance(&pool, "anna").await, 207);
    pool.close().await;
}

#[tokio::test]
async fn the_level_is_set_for_one_transaction_or_for_all() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut connection = MySqlConnection::connect(&url).await.expect("it connects");
    // What is said, and whether the transaction after it and the one after that see what was committed in them.
    for (says, levels) in [
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", [true, false]),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", [true, true]),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", [false, true]),
        ("SET SESSION tx_isolation = 'REPEATABLE-READ'", [false, false]),
    ] {
        run(&mut connection, says).await;
        for sees_others in levels {
            let mut transaction = connection.begin().await.expect("it begins");
            let before = seen(&mut transaction, "").await;
            sqlx::query(RAISE).execute(&pool).await.expect("an update");
            let after = seen(&mut transaction, "").await;
            assert_eq!(after, before + if sees_others { 100 } else { 0 }, "{says}");
            transaction.rollback().await.expect("it ends");
        }
    }
    run(&mut connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
    let level: String =
        sqlx::query_scalar("SELECT @@tx_isolation").fetch_one(&mut connection).await.expect("it");
    assert_eq!(level, "READ-COMMITTED");
    run(&mut connection, "BEGIN").await;
    let too_late = connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").await;
    let error = too_late.expect_err("it has begun").into_database_error().expect("the server's");
    assert_eq!(error.code().as_deref(), Some("25001"));
    connection.close().await.expect("it closes");
    pool.close().await;
}

#[tokio::test]
async fn a_snapshot_is_taken_at_once_where_it_is_asked_for() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut connection = MySqlConnection::connect(&url).await.expect("it connects");
    run(&mut connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await;
    sqlx::query(RAISE).execute(&pool).await.expect("an update");
    assert_eq!(seen(&mut connection, "").await, 100);
    let refused = connection.execute(RAISE).await.expect_err("it is read-only");
    assert_eq!(refused.into_database_error().expect("the server's").code().as_deref(), Some("25006"));
    assert_eq!(seen(&mut connection, "").await, 100, "it goes on");
    run(&mut connection, "COMMIT").await;
    assert_eq!(seen(&mut connection, "").await, 200);
    run(&mut connection, "SET SESSION TRANSACTION READ ONLY").await;
    let refused = connection.execute(RAISE).await.expect_err("all are read-only");
    assert_eq!(refused.into_database_error().expect("the server's").code().as_deref(), Some("25006"));
    connection.close().await.expect("it closes");
    pool.close().await;
}

#[tokio::test]
async fn without_autocommit_reads_are_of_one_transaction() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut connection = MySqlConnection::connect(&url).await.expect("it connects");
    run(&mut connection, "SET autocommit = 0").await;
    assert_eq!(seen(&mut connection, "").await, 100);
    sqlx::query(RAISE).execute(&pool).await.expect("an update");
    assert_eq!(seen(&mut connection, "").await, 100);
    run(&mut connection, "COMMIT").await;
    assert_eq!(seen(&mut connection, "").await, 200);
    run(&mut connection, "SET autocommit = 1").await;
    sqlx::query(RAISE).execute(&pool).await.expect("an update");
    assert_eq!(seen(&mut connection, "").await, 300);
    connection.close().await.expect("it closes");
    pool.close().await;
}
