//! sqlx and a MySQL server, the same in both worlds and for each release of sqlx.
//!
//! Owns what an application does with sqlx. Must not ask for the simulation. Invariant: what is asserted here holds on
//! MariaDB, which is the judge.

mod isolation;

use std::time::Duration;

use crate::sqlx;
use crate::sqlx::mysql::{MySqlConnection, MySqlPool, MySqlPoolOptions};
use crate::sqlx::{Acquire, Connection, Executor, Row};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use compat_mysql::{MEANWHILE, database_or_skip};
use futures_util::TryStreamExt;
use rust_decimal::Decimal;

async fn pool(url: &str) -> MySqlPool {
    MySqlPoolOptions::new().max_connections(5).connect(url).await.expect("it connects")
}

async fn with_accounts(url: &str) -> MySqlPool {
    let pool = pool(url).await;
    let table = "CREATE TABLE accounts (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, owner VARCHAR(30) NOT NULL UNIQUE, \
                 balance BIGINT NOT NULL, CHECK (balance >= 0))";
    sqlx::query(table).execute(&pool).await.expect("a table");
    for (owner, balance) in [("anna", 100_i64), ("ben", 50)] {
        let insert = "INSERT INTO accounts (owner, balance) VALUES (?, ?)";
        sqlx::query(insert).bind(owner).bind(balance).execute(&pool).await.expect("a row");
    }
    pool
}

async fn balance(pool: &MySqlPool, owner: &str) -> i64 {
    let select = "SELECT balance FROM accounts WHERE owner = ?";
    sqlx::query_scalar(select).bind(owner).fetch_one(pool).await.expect("a balance")
}

#[tokio::test]
async fn statements_are_prepared_and_give_rows() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let rows: Vec<(i32, String, i64)> = sqlx::query_as("SELECT id, owner, balance FROM accounts ORDER BY id")
        .fetch_all(&pool)
        .await
        .expect("rows");
    assert_eq!(rows, [(1, "anna".to_owned(), 100), (2, "ben".to_owned(), 50)]);
    let done = sqlx::query("INSERT INTO accounts (owner, balance) VALUES (?, ?), (?, ?)")
        .bind("cleo")
        .bind(1)
        .bind("dora")
        .bind(2)
        .execute(&pool)
        .await
        .expect("two rows");
    assert_eq!((done.rows_affected(), done.last_insert_id()), (2, 3));
    let done = sqlx::query("UPDATE accounts SET balance = balance + 1 WHERE balance < ?")
        .bind(60)
        .execute(&pool)
        .await;
    assert_eq!(done.expect("an update").rows_affected(), 3);
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM accounts").fetch_one(&pool).await.expect("a count");
    assert_eq!(count, 4);
    let missing = sqlx::query("SELECT * FROM accounts WHERE owner = 'nobody'").fetch_optional(&pool).await;
    assert!(missing.expect("no error").is_none());
    pool.close().await;
}

#[tokio::test]
async fn values_of_all_types_come_back() {
    let url = database_or_skip!();
    let pool = pool(&url).await;
    let table = "CREATE TABLE t (a TINYINT, b SMALLINT UNSIGNED, c INT, d BIGINT UNSIGNED, e FLOAT, f DOUBLE, \
                 g DECIMAL(10, 3), h VARCHAR(20), i TEXT, j VARBINARY(10), k BLOB, l DATE, m TIME, n DATETIME(6), \
                 o TIMESTAMP NULL, p BOOLEAN, q ENUM('small', 'large'))";
    sqlx::query(table).execute(&pool).await.expect("a table");
    let day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
    let time = NaiveTime::from_hms_opt(13, 14, 15).expect("a time");
    let at: NaiveDateTime = day.and_hms_micro_opt(1, 2, 3, 456_789).expect("a time");
    let stamp: DateTime<Utc> = day.and_time(time).and_utc();
    let price: Decimal = "-1234.500".parse().expect("a number");
    let insert = "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let done = sqlx::query(insert)
        .bind(-128_i8)
        .bind(65_535_u16)
        .bind(-2_147_483_648_i32)
        .bind(9_223_372_036_854_775_807_u64)
        .bind(1.5_f32)
        .bind(0.1_f64)
        .bind(price)
        .bind("grüße")
        .bind("a longer text")
        .bind(&[0_u8, 255, 1][..])
        .bind(vec![7_u8; 1000])
        .bind(day)
        .bind(time)
        .bind(at)
        .bind(stamp)
        .bind(true)
        .bind("large")
        .execute(&pool)
        .await;
    assert_eq!(done.expect("a row").rows_affected(), 1);
    let row = sqlx::query("SELECT * FROM t").fetch_one(&pool).await.expect("a row");
    assert_eq!(row.get::<i8, _>(0), -128);
    assert_eq!(row.get::<u16, _>(1), 65_535);
    assert_eq!(row.get::<i32, _>(2), -2_147_483_648);
    assert_eq!(row.get::<u64, _>(3), 9_223_372_036_854_775_807);
    assert_eq!(row.get::<f32, _>(4).to_bits(), 1.5_f32.to_bits());
    assert_eq!(row.get::<f64, _>(5).to_bits(), 0.1_f64.to_bits());
    assert_eq!(row.get::<Decimal, _>(6), price);
    assert_eq!(row.get::<String, _>(7), "grüße");
    assert_eq!(row.get::<String, _>(8), "a longer text");
    assert_eq!(row.get::<Vec<u8>, _>(9), [0, 255, 1]);
    assert_eq!(row.get::<Vec<u8>, _>(10), [7; 1000]);
    assert_eq!(row.get::<NaiveDate, _>(11), day);
    assert_eq!(row.get::<NaiveTime, _>(12), time);
    assert_eq!(row.get::<NaiveDateTime, _>(13), at);
    assert_eq!(row.get::<DateTime<Utc>, _>(14), stamp);
    assert!(row.get::<bool, _>(15));
    assert_eq!(row.get::<String, _>(16), "large");
    let found: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t WHERE n = ? AND l = ? AND g = ? AND j = ?")
        .bind(at)
        .bind(day)
        .bind(price)
        .bind(&[0_u8, 255, 1][..])
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(found, 1);
    sqlx::query("INSERT INTO t (c) VALUES (NULL)").execute(&pool).await.expect("a row of NULLs");
    let nulls = sqlx::query("SELECT * FROM t WHERE a IS NULL").fetch_one(&pool).await.expect("that row");
    assert_eq!(nulls.get::<Option<i8>, _>(0), None);
    assert_eq!(nulls.get::<Option<Decimal>, _>(6), None);
    assert_eq!(nulls.get::<Option<NaiveDateTime>, _>(13), None);
    pool.close().await;
}

#[tokio::test]
async fn transactions_and_savepoints() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut transaction = pool.begin().await.expect("it begins");
    let update = "UPDATE accounts SET balance = balance + ? WHERE owner = ?";
    sqlx::query(update).bind(-30).bind("anna").execute(&mut *transaction).await.expect("an update");
    assert_eq!(balance(&pool, "anna").await, 100, "nobody else sees it");
    let mut inner = transaction.begin().await.expect("a savepoint");
    sqlx::query(update).bind(1_000).bind("ben").execute(&mut *inner).await.expect("an update");
    inner.rollback().await.expect("it is undone");
    sqlx::query(update).bind(30).bind("ben").execute(&mut *transaction).await.expect("an update");
    transaction.commit().await.expect("it commits");
    assert_eq!((balance(&pool, "anna").await, balance(&pool, "ben").await), (70, 80));
    let mut dropped = pool.begin().await.expect("it begins");
    sqlx::query("DELETE FROM accounts").execute(&mut *dropped).await.expect("a delete");
    drop(dropped);
    assert_eq!(balance(&pool, "anna").await, 70);
    pool.close().await;
}

#[tokio::test]
async fn a_failed_statement_leaves_the_transaction_as_it_was() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut transaction = pool.begin().await.expect("it begins");
    sqlx::query("UPDATE accounts SET balance = 1").execute(&mut *transaction).await.expect("an update");
    let double = sqlx::query("INSERT INTO accounts (owner, balance) VALUES ('cleo', 1), ('anna', 2)");
    let error = double.execute(&mut *transaction).await.expect_err("anna is there");
    assert!(error.as_database_error().expect("the server's").is_unique_violation());
    transaction.commit().await.expect("it commits");
    let owners: Vec<String> = sqlx::query_scalar("SELECT owner FROM accounts ORDER BY owner")
        .fetch_all(&pool)
        .await
        .expect("owners");
    assert_eq!(owners, ["anna", "ben"]);
    assert_eq!(balance(&pool, "ben").await, 1);
    pool.close().await;
}

#[tokio::test]
async fn temporary_tables_are_one_sessions() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut connection = pool.acquire().await.expect("a connection");
    let create =
        "CREATE TEMPORARY TABLE accounts (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(9) NOT NULL)";
    let mut transaction = connection.begin().await.expect("it begins");
    sqlx::query("UPDATE accounts SET balance = 7").execute(&mut *transaction).await.expect("an update");
    sqlx::query(create).execute(&mut *transaction).await.expect("it does not end the transaction");
    transaction.rollback().await.expect("undone");
    sqlx::query("DROP TEMPORARY TABLE IF EXISTS accounts").execute(&mut *connection).await.expect("dropped");
    assert_ne!(balance(&pool, "ben").await, 7);
    sqlx::query(create).execute(&mut *connection).await.expect("a table that hides the other one");
    let insert = "INSERT INTO accounts (name) VALUES ('x'), ('y')";
    let done = sqlx::query(insert).execute(&mut *connection).await.expect("rows");
    assert_eq!((done.rows_affected(), done.last_insert_id()), (2, 1));
    let names: Vec<(i32, String)> = sqlx::query_as("SELECT id, name FROM accounts ORDER BY id")
        .fetch_all(&mut *connection)
        .await
        .expect("rows");
    assert_eq!(names, [(1, "x".to_owned()), (2, "y".to_owned())]);
    assert!(balance(&pool, "ben").await > 0, "others see the table of all");
    let long = sqlx::query("INSERT INTO accounts (name) VALUES ('much too long')");
    long.execute(&mut *connection).await.expect_err("the column is short");
    sqlx::query("DROP TABLE accounts").execute(&mut *connection).await.expect("dropped");
    let owners: Vec<String> = sqlx::query_scalar("SELECT owner FROM accounts ORDER BY owner")
        .fetch_all(&mut *connection)
        .await
        .expect("the table of all is seen again");
    assert_eq!(owners, ["anna", "ben"]);
    drop(connection);
    pool.close().await;
}

#[tokio::test]
async fn a_killed_write_leaves_the_transaction_as_it_was() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    sqlx::query("CREATE TABLE numbers (a INT, b INT)").execute(&pool).await.expect("a table");
    let rows: Vec<String> = (0..400).map(|n| format!("({n}, 0)")).collect();
    let fill = format!("INSERT INTO numbers VALUES {}", rows.join(", "));
    sqlx::query(dynamic!(fill)).execute(&pool).await.expect("rows");
    let mut transaction = pool.begin().await.expect("it begins");
    let id: i64 = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS SIGNED)")
        .fetch_one(&mut *transaction)
        .await
        .expect("its id");
    sqlx::query("UPDATE accounts SET balance = 1").execute(&mut *transaction).await.expect("an update");
    let long = sqlx::query("INSERT INTO numbers SELECT a.a, b.a FROM numbers AS a, numbers AS b");
    let (error, ()) = tokio::join!(long.execute(&mut *transaction), async {
        tokio::time::sleep(MEANWHILE).await;
        let kill = format!("KILL QUERY {id}");
        sqlx::query(dynamic!(kill)).execute(&pool).await.expect("it is killed");
    });
    let error = error.expect_err("it was killed");
    assert_eq!(error.as_database_error().expect("the server's").code().as_deref(), Some("70100"));
    transaction.commit().await.expect("it commits");
    assert_eq!(balance(&pool, "ben").await, 1);
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM numbers").fetch_one(&pool).await.expect("a count");
    assert_eq!(count, 400);
    pool.close().await;
}

#[tokio::test]
async fn errors_have_mysqls_codes() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    sqlx::query("CREATE TABLE notes (account INT NOT NULL, FOREIGN KEY (account) REFERENCES accounts (id))")
        .execute(&pool)
        .await
        .expect("a table");
    sqlx::query("INSERT INTO notes VALUES (1)").execute(&pool).await.expect("a row");
    let cases = [
        ("INSERT INTO accounts (owner, balance) VALUES ('ANNA', 1)", "23000"),
        ("INSERT INTO accounts (owner, balance) VALUES (NULL, 1)", "23000"),
        ("INSERT INTO accounts (owner) VALUES ('cleo')", "HY000"),
        ("INSERT INTO notes VALUES (99)", "23000"),
        ("DELETE FROM accounts WHERE id = 1", "23000"),
        ("SELECT * FROM nothing", "42S02"),
        ("SELECT nothing FROM accounts", "42S22"),
        ("SELEC 1", "42000"),
        ("INSERT INTO accounts VALUES (1, 2)", "21S01"),
        (
            "INSERT INTO accounts (owner, balance) VALUES ('a name that is longer than thirty letters', 1)",
            "22001",
        ),
        ("INSERT INTO accounts (owner, balance) VALUES ('cleo', 99999999999999999999)", "22003"),
        ("CREATE TABLE accounts (a INT)", "42S01"),
        ("DROP TABLE nothing", "42S02"),
    ];
    for (statement, code) in cases {
        let error = sqlx::query(dynamic!(statement)).execute(&pool).await.expect_err(statement);
        let error = error.into_database_error().expect("the server's");
        assert_eq!(error.code().as_deref(), Some(code), "{statement}: {error}");
    }
    pool.close().await;
}

#[tokio::test]
async fn rows_are_streamed() {
    let url = database_or_skip!();
    let pool = pool(&url).await;
    sqlx::query("CREATE TABLE numbers (n INT PRIMARY KEY, text VARCHAR(200))")
        .execute(&pool)
        .await
        .expect("a table");
    let mut transaction = pool.begin().await.expect("it begins");
    for n in 0..1_000 {
        let insert = "INSERT INTO numbers VALUES (?, REPEAT('x', 200))";
        sqlx::query(insert).bind(n).execute(&mut *transaction).await.expect("a row");
    }
    transaction.commit().await.expect("it commits");
    let mut rows = sqlx::query("SELECT n, text FROM numbers ORDER BY n").fetch(&pool);
    let mut next = 0;
    while let Some(row) = rows.try_next().await.expect("a row") {
        assert_eq!(row.get::<i32, _>(0), next);
        next += 1;
        if next == 700 {
            break;
        }
    }
    drop(rows);
    // What was left unread does not disturb the next one.
    let sum: Decimal =
        sqlx::query_scalar("SELECT SUM(n) FROM numbers").fetch_one(&pool).await.expect("a sum");
    assert_eq!(sum, Decimal::from(499_500));
    pool.close().await;
}

#[tokio::test]
async fn upserts_and_other_inserts() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let upsert = "INSERT INTO accounts (owner, balance) VALUES (?, ?) ON DUPLICATE KEY UPDATE balance = balance + VALUES(balance)";
    sqlx::query(upsert).bind("anna").bind(11).execute(&pool).await.expect("an upsert");
    sqlx::query(upsert).bind("cleo").bind(22).execute(&pool).await.expect("an upsert");
    assert_eq!((balance(&pool, "anna").await, balance(&pool, "cleo").await), (111, 22));
    let ignored = "INSERT IGNORE INTO accounts (owner, balance) VALUES ('anna', 5), ('dora', 6)";
    assert_eq!(sqlx::query(ignored).execute(&pool).await.expect("one row").rows_affected(), 1);
    let copied = "INSERT INTO accounts (owner, balance) SELECT CONCAT(owner, '2'), balance * 2 FROM accounts WHERE owner IN ('ben', 'dora')";
    assert_eq!(sqlx::query(copied).execute(&pool).await.expect("two rows").rows_affected(), 2);
    assert_eq!((balance(&pool, "ben2").await, balance(&pool, "dora2").await), (100, 12));
    sqlx::query("DELETE FROM accounts ORDER BY balance DESC LIMIT 2").execute(&pool).await.expect("a delete");
    let left: Vec<i64> = sqlx::query_scalar("SELECT balance FROM accounts ORDER BY balance")
        .fetch_all(&pool)
        .await
        .expect("balances");
    assert_eq!(left, [6, 12, 22, 50]);
    pool.close().await;
}

#[tokio::test]
async fn functions_are_mysqls() {
    let url = database_or_skip!();
    let pool = pool(&url).await;
    let texts = [
        ("CONCAT('a', 1, 'b')", Some("a1b")),
        ("CONCAT('a', NULL)", None),
        ("CONCAT_WS('-', 'a', 'b')", Some("a-b")),
        ("UPPER('abc')", Some("ABC")),
        ("LPAD('7', 3, '0')", Some("007")),
        ("SUBSTRING('hello', 2, 3)", Some("ell")),
        ("IF(1 > 2, 'yes', 'no')", Some("no")),
        ("IFNULL(NULL, 'x')", Some("x")),
        ("REPLACE('aXbX', 'X', '-')", Some("a-b-")),
        ("DATE_FORMAT('2024-03-01 05:06:07', '%Y/%m/%d %H:%i:%s')", Some("2024/03/01 05:06:07")),
        ("\"double\"", Some("double")),
        ("'it\\'s'", Some("it's")),
        ("CAST(12 AS CHAR)", Some("12")),
        ("LEFT('hello', 2)", Some("he")),
    ];
    for (expression, expected) in texts {
        let query = format!("SELECT {expression}");
        let found: Option<String> =
            sqlx::query_scalar(dynamic!(query)).fetch_one(&pool).await.expect(expression);
        assert_eq!(found.as_deref(), expected, "{expression}");
    }
    let numbers = [
        ("CHAR_LENGTH('äö')", 2_i64),
        ("LENGTH('äö')", 4),
        ("DATEDIFF('2024-03-01', '2024-02-28')", 2),
        ("TIMESTAMPDIFF(HOUR, '2024-01-01 00:00:00', '2024-01-02 12:00:00')", 36),
        ("YEAR('2024-03-01')", 2024),
        ("7 DIV 2", 3),
        ("7 % 4", 3),
        ("CAST('42abc' AS SIGNED)", 42),
        ("'a' = 'A'", 1),
        ("NULL <=> NULL", 1),
        ("'abc' LIKE 'A%'", 1),
        ("GREATEST(1, 5, 3)", 5),
        ("LOCATE('b', 'abc')", 2),
    ];
    for (expression, expected) in numbers {
        let query = format!("SELECT CAST({expression} AS SIGNED)");
        let found: i64 = sqlx::query_scalar(dynamic!(query)).fetch_one(&pool).await.expect(expression);
        assert_eq!(found, expected, "{expression}");
    }
    let now: NaiveDateTime =
        sqlx::query_scalar("SELECT CAST(NOW() AS DATETIME)").fetch_one(&pool).await.expect("now");
    let late: NaiveDateTime = sqlx::query_scalar("SELECT CAST(DATE_ADD(NOW(), INTERVAL 1 DAY) AS DATETIME)")
        .fetch_one(&pool)
        .await
        .expect("tomorrow");
    assert!((late - now).num_hours() >= 23);
    pool.close().await;
}

#[tokio::test]
async fn migrations_run_once() {
    let url = database_or_skip!();
    let pool = pool(&url).await;
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
    let migrator = crate::Migrator::new(folder).await.expect("the folder is read");
    migrator.run(&pool).await.expect("they run");
    migrator.run(&pool).await.expect("there is nothing left to do");
    let applied: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations").fetch_one(&pool).await.expect("a count");
    assert_eq!(applied, 2);
    sqlx::query("INSERT INTO notes (user_id, body) VALUES (1, 'x')").execute(&pool).await.expect("a row");
    let pinned: bool =
        sqlx::query_scalar("SELECT pinned FROM notes").fetch_one(&pool).await.expect("a value");
    assert!(!pinned);
    sqlx::query("DELETE FROM users").execute(&pool).await.expect("it cascades");
    let notes: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(&pool).await.expect("a count");
    assert_eq!(notes, 0);
    pool.close().await;
}

#[tokio::test]
async fn writers_wait_for_each_other() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut first = pool.begin().await.expect("it begins");
    let locked: i64 = sqlx::query_scalar("SELECT balance FROM accounts WHERE owner = 'anna' FOR UPDATE")
        .fetch_one(&mut *first)
        .await
        .expect("a balance");
    let other = tokio::spawn({
        let pool = pool.clone();
        async move {
            sqlx::query("UPDATE accounts SET balance = balance + 1 WHERE owner = 'anna'").execute(&pool).await
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!other.is_finished());
    let update = "UPDATE accounts SET balance = ? WHERE owner = 'anna'";
    sqlx::query(update).bind(locked + 10).execute(&mut *first).await.expect("an update");
    first.commit().await.expect("it commits");
    other.await.expect("it ends").expect("an update");
    assert_eq!(balance(&pool, "anna").await, 111);
    pool.close().await;
}

#[tokio::test]
async fn a_lock_is_waited_for_no_longer_than_asked() {
    let url = database_or_skip!();
    let pool = with_accounts(&url).await;
    let mut first = pool.begin().await.expect("it begins");
    sqlx::query("UPDATE accounts SET balance = 0").execute(&mut *first).await.expect("an update");
    let mut second = MySqlConnection::connect(&url).await.expect("it connects");
    second.execute("SET innodb_lock_wait_timeout = 1").await.expect("it is set");
    let error = second.execute("UPDATE accounts SET balance = 7").await.expect_err("it waits in vain");
    let error = error.into_database_error().expect("the server's");
    assert!(error.message().contains("Lock wait timeout exceeded"), "{error}");
    first.rollback().await.expect("it is undone");
    second.execute("UPDATE accounts SET balance = 7").await.expect("nobody holds it");
    second.close().await.expect("it closes");
    pool.close().await;
}

#[tokio::test]
async fn named_locks_exclude_each_other() {
    let url = database_or_skip!();
    let mut first = MySqlConnection::connect(&url).await.expect("it connects");
    let mut second = MySqlConnection::connect(&url).await.expect("it connects");
    let lock = |seconds: i32| sqlx::query_scalar::<_, Option<i64>>("SELECT GET_LOCK('job', ?)").bind(seconds);
    assert_eq!(lock(0).fetch_one(&mut first).await.expect("an answer"), Some(1));
    assert_eq!(lock(0).fetch_one(&mut second).await.expect("an answer"), Some(0));
    first.close().await.expect("it closes");
    assert_eq!(lock(10).fetch_one(&mut second).await.expect("an answer"), Some(1));
    second.close().await.expect("it closes");
}

#[tokio::test]
async fn a_pool_gives_up_and_recovers() {
    let url = database_or_skip!();
    let options = MySqlPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(300));
    let pool = options.idle_timeout(Duration::from_millis(200)).connect(&url).await.expect("it connects");
    let held = pool.acquire().await.expect("the only one");
    let error = pool.acquire().await.expect_err("there is no other");
    assert!(matches!(error, sqlx::Error::PoolTimedOut), "{error}");
    drop(held);
    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.expect("it is free again");
    assert_eq!(one, 1);
    pool.close().await;
}
