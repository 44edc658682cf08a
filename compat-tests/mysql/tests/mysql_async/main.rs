//! mysql_async against MySQL: a second client, which shares no code with sqlx.
//!
//! Owns what an application does with it. Must not ask for the simulation. Invariant: what is asserted here holds on
//! MariaDB, which is the judge.

mod schema;

use chrono::{NaiveDate, NaiveDateTime};
use compat_mysql::database_or_skip;
use futures_util::{StreamExt, TryStreamExt};
use mysql_async::prelude::{BatchQuery, FromRow, Query, Queryable, WithParams};
use mysql_async::{
    Conn, Error, FromRowError, IsolationLevel, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts,
    Row, TxOpts, Value, params,
};
use rust_decimal::Decimal;

async fn connected(url: &str) -> Conn {
    Conn::from_url(url).await.expect("the server lets us in")
}

#[expect(clippy::disallowed_types, reason = "the library's macro makes a map, which is only asked")]
async fn with_accounts(url: &str) -> Conn {
    let mut conn = connected(url).await;
    let table = "CREATE TABLE accounts (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, owner VARCHAR(30) NOT NULL UNIQUE, \
                 balance BIGINT NOT NULL, CHECK (balance >= 0))";
    conn.query_drop(table).await.expect("a table");
    let insert = "INSERT INTO accounts (owner, balance) VALUES (:owner, :balance)";
    let rows = [("anna", 100), ("ben", 50)];
    let rows = rows.map(|(owner, balance)| params! { "owner" => owner, "balance" => balance });
    conn.exec_batch(insert, rows).await.expect("two rows");
    conn
}

fn number_of(error: &Error) -> (u16, String) {
    match error {
        Error::Server(error) => (error.code, error.state.clone()),
        other => panic!("not of the server: {other}"),
    }
}

#[derive(Debug, PartialEq)]
struct Account {
    id: u32,
    owner: String,
    balance: i64,
}

impl FromRow for Account {
    fn from_row_opt(row: Row) -> Result<Account, FromRowError> {
        let (id, owner, balance) = FromRow::from_row_opt(row)?;
        Ok(Account { id, owner, balance })
    }
}

#[tokio::test]
async fn rows_come_by_text_and_by_statement() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let all: Vec<Account> =
        conn.query("SELECT id, owner, balance FROM accounts ORDER BY id").await.expect("rows");
    let anna = Account { id: 1, owner: "anna".to_owned(), balance: 100 };
    assert_eq!(all, [anna, Account { id: 2, owner: "ben".to_owned(), balance: 50 }]);
    let select = "SELECT balance FROM accounts WHERE owner = ?";
    let one: Option<i64> = conn.exec_first(select, ("ben",)).await.expect("a row");
    assert_eq!(one, Some(50));
    let none: Option<i64> = conn.exec_first(select, ("nobody",)).await.expect("no error");
    assert_eq!(none, None);
    conn.query_drop("UPDATE accounts SET balance = balance + 1").await.expect("an update");
    assert_eq!(conn.affected_rows(), 2);
    conn.exec_drop("INSERT INTO accounts (owner, balance) VALUES (?, ?)", ("cleo", 7)).await.expect("a row");
    // The two before came as one command where the server has such a one, and took more numbers than they needed.
    assert!(conn.last_insert_id() >= Some(3), "{:?}", conn.last_insert_id());
    assert_eq!(conn.affected_rows(), 1);
    let pairs = "SELECT a.owner, b.owner FROM accounts a JOIN accounts b ON a.id < b.id ORDER BY 1, 2";
    let pairs: Vec<(String, String)> = conn.query(pairs).await.expect("rows");
    assert_eq!(pairs.len(), 3);
    let page = "SELECT owner FROM accounts ORDER BY owner LIMIT ? OFFSET ?";
    let page: Vec<String> = conn.exec(page, (1, 1)).await.expect("a page");
    assert_eq!(page, ["ben"]);
    let count: Option<u64> = conn.query_first("SELECT COUNT(*) FROM accounts").await.expect("a count");
    assert_eq!(count, Some(3));
    conn.disconnect().await.expect("it ends");
}

#[tokio::test]
async fn rows_that_stay_as_they_are_do_not_count() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let update = "UPDATE accounts SET balance = 50 WHERE owner IN ('anna', 'ben')";
    conn.query_drop(update).await.expect("an update");
    assert_eq!(conn.affected_rows(), 1);
    conn.exec_drop("UPDATE accounts SET balance = ?, owner = owner WHERE id = 1", (50,))
        .await
        .expect("an update");
    assert_eq!(conn.affected_rows(), 0);
    let opts = OptsBuilder::from_opts(Opts::from_url(&url).expect("a url")).client_found_rows(true);
    let mut other = Conn::new(opts).await.expect("a connection");
    other.query_drop(update).await.expect("an update");
    assert_eq!(other.affected_rows(), 2);
}

#[tokio::test]
async fn an_upsert_tells_what_it_did() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let upsert = "INSERT INTO accounts (owner, balance) VALUES (?, ?) ON DUPLICATE KEY UPDATE balance = VALUES(balance)";
    conn.exec_drop(upsert, ("ben", 60)).await.expect("there is a Ben");
    assert_eq!((conn.affected_rows(), conn.last_insert_id()), (2, Some(2)));
    conn.exec_drop(upsert, ("ben", 60)).await.expect("he has that");
    assert_eq!((conn.affected_rows(), conn.last_insert_id().unwrap_or(0)), (0, 0));
    conn.exec_drop(upsert, ("cleo", 1)).await.expect("she is new");
    let cleo = conn.last_insert_id().expect("a number");
    assert!(conn.affected_rows() == 1 && cleo > 2, "{cleo}");
    conn.exec_drop(upsert, ("anna", 7)).await.expect("there is an Anna");
    let last: Option<u64> = conn.query_first("SELECT LAST_INSERT_ID()").await.expect("a number");
    assert_eq!(last, Some(cleo), "who was there already changes it not");
    let told = "INSERT INTO accounts (owner, balance) VALUES ('ben', 1) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id)";
    conn.query_drop(told).await.expect("there is a Ben");
    assert_eq!(conn.last_insert_id(), Some(2));
    let mixed = "INSERT INTO accounts (owner, balance) VALUES ('ben', 1), ('dora', 2), ('anna', 7) ON DUPLICATE KEY UPDATE \
                 balance = VALUES(balance)";
    conn.query_drop(mixed).await.expect("two that are there, and one that is new");
    assert_eq!(conn.affected_rows(), 3);
    let dora: Option<u64> =
        conn.query_first("SELECT id FROM accounts WHERE owner = 'dora'").await.expect("a number");
    assert_eq!(conn.query_first::<u64, _>("SELECT LAST_INSERT_ID()").await.expect("a number"), dora);
    conn.query_drop("INSERT IGNORE INTO accounts (owner, balance) VALUES ('ben', 9)").await.expect("ignored");
    assert_eq!((conn.affected_rows(), conn.last_insert_id().unwrap_or(0)), (0, 0));
}

#[tokio::test]
async fn several_results_follow_one_text() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let text = "SELECT owner FROM accounts ORDER BY id; UPDATE accounts SET balance = balance - 1; \
                SELECT 1, 'x;y' FROM accounts WHERE id > 5; SELECT balance FROM accounts ORDER BY id; SELECT * FROM nothing";
    let mut result = conn.query_iter(text).await.expect("the first result");
    let owners: Vec<String> = result.collect().await.expect("rows");
    assert_eq!(owners, ["anna", "ben"]);
    assert!(result.columns_ref().is_empty());
    assert_eq!(result.affected_rows(), 2);
    assert!(result.collect::<Row>().await.expect("no rows").is_empty());
    assert_eq!(result.columns_ref().len(), 2);
    assert!(result.collect::<Row>().await.expect("no rows").is_empty());
    let balances: Vec<i64> = result.collect().await.expect("rows");
    assert_eq!(balances, [99, 49]);
    let error = result.collect::<Row>().await.expect_err("no table");
    assert_eq!(number_of(&error), (1146, "42S02".to_owned()));
    drop(result);
    // Results that nobody reads are in nobody's way.
    drop(conn.query_iter("SELECT 1; SELECT 2").await.expect("a result"));
    let three: Option<u8> = conn.query_first("SELECT 3").await.expect("a row");
    assert_eq!(three, Some(3));
}

#[tokio::test]
async fn values_of_all_types_come_back() {
    let url = database_or_skip!();
    let mut conn = connected(&url).await;
    let table = "CREATE TABLE t (id INT PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d BIGINT UNSIGNED, \
                 e FLOAT, f DOUBLE, g DECIMAL(10, 3), h TEXT, i VARBINARY(300), j DATE, k TIME(3), l DATETIME(6), \
                 m BOOLEAN, n ENUM('small', 'large'), o JSON, p YEAR)";
    conn.query_drop(table).await.expect("a table");
    let day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
    let at = day.and_hms_micro_opt(1, 2, 3, 456_789).expect("a time");
    let price: Decimal = "-1234.500".parse().expect("a number");
    let time = Value::Time(true, 1, 2, 3, 4, 500_000);
    let bytes: Vec<u8> = (0..=255).collect();
    let row: Vec<Value> = vec![
        1.into(),
        (-128_i8).into(),
        65_535_u16.into(),
        (-8_388_608).into(),
        9_223_372_036_854_775_807_u64.into(),
        1.5_f32.into(),
        0.1_f64.into(),
        price.into(),
        "grüße".into(),
        bytes.clone().into(),
        day.into(),
        time.clone(),
        at.into(),
        true.into(),
        "large".into(),
        r#"{"a": [1, null, "x"]}"#.into(),
        2024.into(),
    ];
    let insert = "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    conn.exec_drop(insert, Params::Positional(row.clone())).await.expect("a row");
    let nulls = std::iter::once(2.into()).chain(std::iter::repeat_n(Value::NULL, 16)).collect();
    conn.exec_drop(insert, Params::Positional(nulls)).await.expect("a row of NULLs");
    let mut shown: Row =
        conn.exec_first("SELECT * FROM t WHERE id = 1", ()).await.expect("ok").expect("a row");
    assert_eq!(shown.take::<i8, _>("a"), Some(-128));
    assert_eq!(shown.take::<u16, _>("b"), Some(65_535));
    assert_eq!(shown.take::<i32, _>("c"), Some(-8_388_608));
    assert_eq!(shown.take::<u64, _>("d"), Some(9_223_372_036_854_775_807));
    assert_eq!(shown.take::<Value, _>("e"), Some(Value::Float(1.5)));
    assert_eq!(shown.take::<Value, _>("f"), Some(Value::Double(0.1)));
    assert_eq!(shown.take::<Decimal, _>("g"), Some(price));
    assert_eq!(shown.take::<String, _>("h"), Some("grüße".to_owned()));
    assert_eq!(shown.take::<Vec<u8>, _>("i"), Some(bytes));
    assert_eq!(shown.take::<NaiveDate, _>("j"), Some(day));
    assert_eq!(shown.take::<Value, _>("k"), Some(time));
    assert_eq!(shown.take::<NaiveDateTime, _>("l"), Some(at));
    assert_eq!(shown.take::<bool, _>("m"), Some(true));
    assert_eq!(shown.take::<String, _>("n"), Some("large".to_owned()));
    assert_eq!(shown.take::<String, _>("o"), Some(r#"{"a": [1, null, "x"]}"#.to_owned()));
    assert_eq!(shown.take::<u16, _>("p"), Some(2024));
    let texts: Row =
        conn.query_first("SELECT k, l, m, e FROM t WHERE id = 1").await.expect("ok").expect("a row");
    let texts: Vec<String> = texts.unwrap().into_iter().map(mysql_async::from_value).collect();
    assert_eq!(texts, ["-26:03:04.500", "2024-02-29 01:02:03.456789", "1", "1.5"]);
    let nulls: Row = conn.exec_first("SELECT * FROM t WHERE id = 2", ()).await.expect("ok").expect("a row");
    assert!(nulls.unwrap().into_iter().skip(1).all(|value| value == Value::NULL));
}

#[tokio::test]
async fn days_and_points_in_time_compare() {
    let url = database_or_skip!();
    let mut conn = connected(&url).await;
    conn.query_drop("CREATE TABLE t (id INT, j DATE, l DATETIME(6))").await.expect("a table");
    let day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
    let at = day.and_hms_micro_opt(1, 2, 3, 456_789).expect("a time");
    conn.exec_drop("INSERT INTO t VALUES (1, ?, ?)", (day, at)).await.expect("a row");
    let found: Option<i32> = conn
        .exec_first(
            "SELECT id FROM t WHERE l > ? AND l < ? AND j = ?",
            (day, at + chrono::TimeDelta::seconds(1), day),
        )
        .await
        .expect("ok");
    assert_eq!(found, Some(1));
    conn.query_drop("UPDATE t SET l = '2024-02-29' WHERE id = 1").await.expect("an update");
    let by_day = "SELECT id FROM t WHERE l = ? AND DATE(l) = ? AND l BETWEEN '2024-2-29' AND '2024-02-29' AND j = '2024-02-29 00:00:00'";
    let found: Option<i32> = conn.exec_first(by_day, (day, day)).await.expect("ok");
    assert_eq!(found, Some(1));
}

#[tokio::test]
async fn columns_are_announced_as_they_are() {
    let url = database_or_skip!();
    let mut conn = connected(&url).await;
    let table = "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, flag BOOLEAN, price DECIMAL(10, 2), at DATETIME(3), raw BLOB, \
                 name VARCHAR(20))";
    conn.query_drop(table).await.expect("a table");
    let statement =
        conn.prep("SELECT id, flag, price, at, raw, name AS called FROM t").await.expect("a statement");
    let columns: Vec<(String, String, u32, u8, bool)> = statement
        .columns()
        .iter()
        .map(|column| {
            let is_binary = column.character_set() == 63;
            let (name, origin) = (column.name_str().into_owned(), column.org_name_str().into_owned());
            (name, origin, column.column_length(), column.decimals(), is_binary)
        })
        .collect();
    let of = |name: &str, origin: &str, length, decimals, is_binary| {
        (name.to_owned(), origin.to_owned(), length, decimals, is_binary)
    };
    let expected = [
        of("id", "id", 10, 0, true),
        of("flag", "flag", 1, 0, true),
        of("price", "price", 12, 2, true),
        of("at", "at", 23, 3, true),
        of("raw", "raw", 65_535, 0, true),
        of("called", "name", 80, 0, false),
    ];
    assert_eq!(columns, expected);
    assert!(statement.columns().iter().all(|column| column.table_str() == "t"));
}

#[tokio::test]
async fn a_pools_connection_comes_back_clean() {
    let url = database_or_skip!();
    drop(with_accounts(&url).await);
    let constraints = PoolConstraints::new(1, 1).expect("one");
    let opts = OptsBuilder::from_opts(Opts::from_url(&url).expect("a url"))
        .pool_opts(PoolOpts::default().with_constraints(constraints));
    let pool = Pool::new(opts);
    let mut conn = pool.get_conn().await.expect("a connection");
    let id: Option<u32> = conn.query_first("SELECT CONNECTION_ID()").await.expect("a number");
    let mine = "SET @mine = 7, autocommit = 0, SESSION innodb_lock_wait_timeout = 5";
    conn.query_drop(mine).await.expect("variables");
    conn.query_drop("CREATE TEMPORARY TABLE scratch (a INT)").await.expect("a table");
    conn.query_drop("SELECT GET_LOCK('job', 0)").await.expect("a lock");
    let statement = conn.prep("SELECT balance FROM accounts WHERE id = ?").await.expect("a statement");
    conn.query_drop("UPDATE accounts SET balance = 0").await.expect("an update");
    drop(conn);
    let mut conn = pool.get_conn().await.expect("a connection");
    let again: Option<u32> = conn.query_first("SELECT CONNECTION_ID()").await.expect("a number");
    assert_eq!(again, id, "it is the same one");
    let balances: Vec<i64> = conn.query("SELECT balance FROM accounts ORDER BY id").await.expect("rows");
    assert_eq!(balances, [100, 50], "what was not committed is undone");
    let mine: Option<(Option<i32>, i32)> =
        conn.query_first("SELECT @mine, @@autocommit").await.expect("a row");
    assert_eq!(mine, Some((None, 1)));
    let error = conn.query_drop("SELECT * FROM scratch").await.expect_err("it is gone");
    assert_eq!(number_of(&error).0, 1146);
    let mut other = connected(&url).await;
    let free: Option<i32> = other.query_first("SELECT GET_LOCK('job', 0)").await.expect("a row");
    assert_eq!(free, Some(1));
    let error = conn.exec_drop(&statement, (1,)).await.expect_err("statements are gone as well");
    assert_eq!(number_of(&error).0, 1243);
    // The update of one who is gone blocks nobody.
    other.query_drop("UPDATE accounts SET balance = balance + 1").await.expect("an update");
    drop(conn);
    pool.disconnect().await.expect("it ends");
}

#[tokio::test]
async fn another_user_begins_anew() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    conn.query_drop("SET @mine = (3 + 4), @other = CONCAT('', 'b')").await.expect("variables");
    conn.query_drop("BEGIN").await.expect("a transaction");
    conn.query_drop("DELETE FROM accounts").await.expect("no rows");
    let set: Option<(i32, String)> = conn.query_first("SELECT @mine + 1, @other").await.expect("a row");
    assert_eq!(set, Some((8, "b".to_owned())));
    conn.change_user(mysql_async::ChangeUserOpts::default()).await.expect("the same user");
    let mine: Option<Option<i32>> = conn.query_first("SELECT @mine").await.expect("a row");
    assert_eq!(mine, Some(None));
    let count: Option<i64> = conn.query_first("SELECT COUNT(*) FROM accounts").await.expect("a count");
    assert_eq!(count, Some(2));
    let stranger =
        mysql_async::ChangeUserOpts::new().with_user(Some("nobody".into())).with_pass(Some("x".into()));
    let error = conn.change_user(stranger).await.expect_err("nobody knows it");
    assert_eq!(number_of(&error), (1045, "28000".to_owned()));
    let opts = OptsBuilder::from_opts(Opts::from_url(&url).expect("a url")).db_name(Some("missing"));
    let error = Conn::new(opts).await.expect_err("no such database");
    assert_eq!(number_of(&error), (1049, "42000".to_owned()));
}

#[tokio::test]
async fn databases_are_made_and_used() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let own: Option<String> = conn.query_first("SELECT DATABASE()").await.expect("a name");
    let own = own.expect("a name");
    let other = format!("{own}_other");
    conn.query_drop(format!("CREATE DATABASE {other}")).await.expect("a database");
    conn.query_drop(format!("USE `{other}`")).await.expect("it is used");
    let now: Option<String> = conn.query_first("SELECT DATABASE()").await.expect("a name");
    assert_eq!(now.as_ref(), Some(&other));
    conn.query_drop("CREATE TABLE t (a INT)").await.expect("a table");
    let error = conn.query_drop("SELECT * FROM accounts").await.expect_err("it is elsewhere");
    assert_eq!(number_of(&error).0, 1146);
    conn.query_drop(format!("USE {own}")).await.expect("it is used");
    let count: Option<i64> = conn.query_first("SELECT COUNT(*) FROM accounts").await.expect("a count");
    assert_eq!(count, Some(2));
    let error = conn.query_drop("USE missing").await.expect_err("there is none");
    assert_eq!(number_of(&error).0, 1049);
    conn.query_drop(format!("DROP DATABASE {other}")).await.expect("it is gone");
}

#[tokio::test]
async fn transactions_end_as_they_should() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    let mut options = TxOpts::default();
    options.with_isolation_level(IsolationLevel::RepeatableRead).with_consistent_snapshot(true);
    let mut transaction = conn.start_transaction(options).await.expect("a transaction");
    transaction.query_drop("UPDATE accounts SET balance = 0").await.expect("an update");
    transaction.rollback().await.expect("it is undone");
    let mut transaction = conn.start_transaction(TxOpts::default()).await.expect("a transaction");
    transaction.query_drop("UPDATE accounts SET balance = balance + 1").await.expect("an update");
    transaction.commit().await.expect("it is kept");
    let mut transaction = conn.start_transaction(TxOpts::default()).await.expect("a transaction");
    transaction.query_drop("DELETE FROM accounts").await.expect("an update");
    drop(transaction);
    let balances: Vec<i64> = conn.query("SELECT balance FROM accounts ORDER BY id").await.expect("rows");
    assert_eq!(balances, [101, 51]);
    let mut options = TxOpts::default();
    options.with_readonly(true);
    let mut transaction = conn.start_transaction(options).await.expect("a transaction");
    let error = transaction.query_drop("DELETE FROM accounts").await.expect_err("it only reads");
    assert_eq!(number_of(&error), (1792, "25006".to_owned()));
    transaction.rollback().await.expect("it ends");
}

#[tokio::test]
async fn errors_have_numbers_and_states() {
    let url = database_or_skip!();
    let mut conn = with_accounts(&url).await;
    conn.query_drop("CREATE TABLE items (account INT, FOREIGN KEY (account) REFERENCES accounts (id))")
        .await
        .expect("a table");
    conn.query_drop("INSERT INTO items VALUES (1)").await.expect("a row");
    let wrong = [
        ("INSERT INTO accounts (owner, balance) VALUES ('anna', 1)", 1062, "23000"),
        ("INSERT INTO accounts (owner, balance) VALUES (NULL, 1)", 1048, "23000"),
        ("INSERT INTO accounts (owner) VALUES ('x')", 1364, "HY000"),
        ("INSERT INTO items VALUES (9)", 1452, "23000"),
        ("DELETE FROM accounts WHERE id = 1", 1451, "23000"),
        ("SELECT * FROM missing", 1146, "42S02"),
        ("SELECT missing FROM accounts", 1054, "42S22"),
        ("SELEC 1", 1064, "42000"),
        ("CREATE TABLE accounts (a INT)", 1050, "42S01"),
        ("ALTER TABLE accounts ADD COLUMN owner INT", 1060, "42S21"),
        ("SET no_such_variable = 1", 1193, "HY000"),
        ("INSERT INTO accounts (owner, balance) VALUES (REPEAT('x', 31), 1)", 1406, "22001"),
    ];
    for (text, number, state) in wrong {
        let error = conn.query_drop(text).await.expect_err(text);
        assert_eq!(number_of(&error), (number, state.to_owned()), "{text}");
    }
    // A broken CHECK is 3819 of MySQL's, and 4025 of MariaDB's.
    let negative = "INSERT INTO accounts (owner, balance) VALUES ('x', -1)";
    let error = conn.exec_drop(negative, ()).await.expect_err("it is negative");
    assert!(matches!(number_of(&error).0, 3819 | 4025), "{error}");
    let error = conn.exec_drop("SELECT ?, ?", (1,)).await.expect_err("one is missing");
    assert!(matches!(error, Error::Driver(_)), "{error}");
}

#[tokio::test]
async fn rows_are_streamed_and_batches_sent() {
    let url = database_or_skip!();
    let mut conn = connected(&url).await;
    conn.query_drop("CREATE TABLE numbers (n INT PRIMARY KEY, text VARCHAR(200))").await.expect("a table");
    "INSERT INTO numbers VALUES (?, ?)"
        .with((0..500).map(|n| (n, "x".repeat(100))))
        .batch(&mut conn)
        .await
        .expect("rows");
    let stream = conn
        .exec_stream::<(i32, String), _, _>("SELECT n, text FROM numbers WHERE n >= ? ORDER BY n", (100,));
    let sum: i64 = stream
        .await
        .expect("a stream")
        .map_ok(|(n, _)| i64::from(n))
        .try_fold(0, |sum, n| async move { Ok(sum + n) })
        .await
        .expect("rows");
    assert_eq!(sum, (100..500).sum::<i64>());
    let mut stream = "SELECT n FROM numbers ORDER BY n".stream::<i32, _>(&mut conn).await.expect("a stream");
    assert_eq!(stream.next().await.expect("a row").expect("a number"), 0);
    // What is left is read away.
    drop(stream);
    let long = "y".repeat(10 << 20);
    let length: Option<u64> = conn.exec_first("SELECT CHAR_LENGTH(?)", (&long,)).await.expect("a length");
    assert_eq!(length, Some(10 << 20));
}

#[tokio::test]
async fn a_small_cache_of_statements_closes_the_oldest() {
    let url = database_or_skip!();
    let opts = OptsBuilder::from_opts(Opts::from_url(&url).expect("a url")).stmt_cache_size(Some(2));
    let mut conn = Conn::new(opts).await.expect("a connection");
    for round in 0..3 {
        for n in 0..4 {
            let sum: Option<i64> = conn.exec_first(format!("SELECT ? + {n}"), (round,)).await.expect("a row");
            assert_eq!(sum, Some(round + n));
        }
    }
    conn.ping().await.expect("it answers");
    let loaded = conn.query_drop("LOAD DATA LOCAL INFILE 'x' INTO TABLE nothing").await;
    assert!(matches!(loaded, Err(Error::Server(_))), "{loaded:?}");
}
