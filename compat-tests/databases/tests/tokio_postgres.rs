//! tokio-postgres against PostgreSQL, alone and in the pools deadpool and bb8.
//!
//! Owns no rule of its own. Must not know the world. Invariant: everything that is asserted here is true of a real server too.

use std::time::{Duration, SystemTime};

use bb8_postgres::PostgresConnectionManager;
use chrono::{DateTime, TimeZone, Utc};
use compat_databases::{Server, Wishes, postgres, postgres_with};
use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future, pin_mut, stream};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Timestamp, Type};
use tokio_postgres::{AsyncMessage, Client, Config, IsolationLevel, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

async fn connect(server: &Server) -> Client {
    let (client, connection) =
        tokio_postgres::connect(&server.url(), NoTls).await.expect("the server lets us in");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn statements_have_types_and_rows_have_columns() {
    let Some(server) = postgres().await else { return };
    let client = connect(&server).await;
    client
        .batch_execute("CREATE TABLE t (id UUID PRIMARY KEY, at TIMESTAMPTZ NOT NULL, tags TEXT[], note VARCHAR(9), data JSONB)")
        .await
        .expect("a table");
    let statement =
        client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4, $5) RETURNING at").await.expect("a statement");
    let types = [Type::UUID, Type::TIMESTAMPTZ, Type::TEXT_ARRAY, Type::VARCHAR, Type::JSONB];
    assert_eq!(statement.params(), types);
    assert_eq!(statement.columns()[0].name(), "at");
    assert_eq!(*statement.columns()[0].type_(), Type::TIMESTAMPTZ);
    let (id, at) = (Uuid::from_u128(7), Utc.with_ymd_and_hms(2024, 5, 6, 7, 8, 9).unwrap());
    let data = serde_json::json!({"x": [1, 2]});
    let row =
        client.query_one(&statement, &[&id, &at, &vec!["a", "b"], &"note", &data]).await.expect("a row");
    assert_eq!(row.get::<_, DateTime<Utc>>(0), at);
    let row = client
        .query_one("SELECT *, tags[2] AS second, data->'x' AS x FROM t WHERE id = $1", &[&id])
        .await
        .expect("a row");
    assert_eq!(row.get::<_, Uuid>("id"), id);
    assert_eq!(row.get::<_, Vec<String>>("tags"), ["a", "b"]);
    assert_eq!(row.get::<_, String>("second"), "b");
    assert_eq!(row.get::<_, serde_json::Value>("x"), serde_json::json!([1, 2]));
    let error = client
        .execute(&statement, &[&id, &at, &Vec::<String>::new(), &None::<String>, &data])
        .await
        .expect_err("there is one");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(
        (error.code(), error.constraint(), error.table()),
        (&SqlState::UNIQUE_VIOLATION, Some("t_pkey"), Some("t"))
    );
    let error = client.query("SELECT missing FROM t", &[]).await.expect_err("no such column");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.code(), &SqlState::UNDEFINED_COLUMN);
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(8)));
    let messages = client.simple_query("SELECT note, 1 AS one FROM t; SELECT 2").await.expect("two answers");
    let rows: Vec<Option<&str>> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0)),
            _ => None,
        })
        .collect();
    assert_eq!(rows, [Some("note"), Some("2")]);
}

/// A type of the user's own is looked up in the system catalog.
#[tokio::test]
async fn enums_are_looked_up() {
    let Some(server) = postgres().await else { return };
    let client = connect(&server).await;
    client
        .batch_execute("CREATE TYPE mood AS ENUM ('sad', 'fine', 'happy'); CREATE TABLE people (name TEXT, mood mood NOT NULL)")
        .await
        .expect("a type");
    let statement = client.prepare("INSERT INTO people VALUES ($1, $2)").await.expect("a statement");
    assert_eq!(statement.params()[1].name(), "mood");
    client.batch_execute("INSERT INTO people VALUES ('a', 'happy'), ('b', 'sad')").await.expect("rows");
    let rows =
        client.query("SELECT name, mood::text FROM people ORDER BY people.mood", &[]).await.expect("rows");
    let names: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(names, [("b".to_owned(), "sad".to_owned()), ("a".to_owned(), "happy".to_owned())]);
    let error =
        client.batch_execute("INSERT INTO people VALUES ('c', 'angry')").await.expect_err("no such mood");
    assert_eq!(error.code(), Some(&SqlState::INVALID_TEXT_REPRESENTATION));
}

#[tokio::test]
async fn portals_give_rows_in_portions() {
    let Some(server) = postgres().await else { return };
    let mut client = connect(&server).await;
    let transaction = client.transaction().await.expect("a transaction");
    let statement =
        transaction.prepare("SELECT n FROM generate_series(1, 1000) AS n").await.expect("a statement");
    let (first, second) = (
        transaction.bind(&statement, &[]).await.expect("a portal"),
        transaction.bind(&statement, &[]).await.expect("a portal"),
    );
    let sum = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get::<_, i32>(0)).sum::<i32>();
    assert_eq!(sum(transaction.query_portal(&first, 10).await.expect("rows")), 55);
    assert_eq!(sum(transaction.query_portal(&second, 3).await.expect("rows")), 6);
    assert_eq!(sum(transaction.query_portal(&first, 10).await.expect("rows")), 155);
    assert_eq!(transaction.query_portal(&second, 0).await.expect("rows").len(), 997);
    assert_eq!(transaction.query_portal(&first, 0).await.expect("rows").len(), 980);
    transaction.commit().await.expect("done");
}

#[tokio::test]
async fn a_portal_between_two_portions_is_not_cancelled() {
    let Some(server) = postgres().await else { return };
    let mut client = connect(&server).await;
    let token = client.cancel_token();
    let transaction = client.transaction().await.expect("a transaction");
    let statement =
        transaction.prepare("SELECT n FROM generate_series(1, 100000) AS n").await.expect("a statement");
    let portal = transaction.bind(&statement, &[]).await.expect("a portal");
    assert_eq!(transaction.query_portal(&portal, 10).await.expect("rows").len(), 10);
    // No statement runs, so there is nothing to cancel.
    token.cancel_query(NoTls).await.expect("asked");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(transaction.query_portal(&portal, 0).await.expect("rows").len(), 99_990);
    transaction.commit().await.expect("done");
}

#[tokio::test]
async fn requests_are_pipelined() {
    let Some(server) = postgres().await else { return };
    let client = connect(&server).await;
    client.batch_execute("CREATE TABLE n (i INT PRIMARY KEY)").await.expect("a table");
    let numbers: Vec<i32> = (0..20).collect();
    let inserts = numbers.iter().map(|i| async { client.execute("INSERT INTO n VALUES ($1)", &[i]).await });
    let results = future::join_all(inserts).await;
    assert!(results.into_iter().all(|result| result.is_ok_and(|count| count == 1)));
    let row = client.query_one("SELECT sum(i), count(*) FROM n", &[]).await.expect("a row");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (190, 20));
}

#[tokio::test]
async fn transactions_and_their_isolation() {
    let Some(server) = postgres().await else { return };
    let mut client = connect(&server).await;
    client.batch_execute("CREATE TABLE c (v INT); INSERT INTO c VALUES (0)").await.expect("a table");
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::Serializable)
        .start()
        .await
        .expect("a transaction");
    let level: String = transaction.query_one("SHOW transaction_isolation", &[]).await.expect("a row").get(0);
    assert_eq!(level, "serializable");
    transaction.execute("UPDATE c SET v = 1", &[]).await.expect("an update");
    drop(transaction);
    let value: i32 = client.query_one("SELECT v FROM c", &[]).await.expect("a row").get(0);
    assert_eq!(value, 0);
    let mut transaction = client.transaction().await.expect("a transaction");
    let savepoint = transaction.savepoint("here").await.expect("a savepoint");
    savepoint.execute("UPDATE c SET v = 2", &[]).await.expect("an update");
    savepoint.rollback().await.expect("undone");
    transaction.execute("UPDATE c SET v = v + 3", &[]).await.expect("an update");
    transaction.commit().await.expect("done");
    let value: i32 = client.query_one("SELECT v FROM c", &[]).await.expect("a row").get(0);
    assert_eq!(value, 3);
}

#[tokio::test]
async fn copy_and_cancel() {
    let Some(server) = postgres().await else { return };
    let client = connect(&server).await;
    client.batch_execute("CREATE TABLE lines (n INT, t TEXT)").await.expect("a table");
    let sink = client.copy_in("COPY lines FROM STDIN").await.expect("a copy");
    pin_mut!(sink);
    let parts = ["1\tone\n", "2\ttwo\n"].map(|part| Ok::<_, tokio_postgres::Error>(bytes_of(part)));
    sink.send_all(&mut stream::iter(parts)).await.expect("sent");
    assert_eq!(sink.finish().await.expect("finished"), 2);
    let out = client.copy_out("COPY lines TO STDOUT WITH (FORMAT csv)").await.expect("a copy");
    let text: Vec<_> = out.try_collect().await.expect("all of it");
    assert_eq!(text.concat(), b"1,one\n2,two\n");
    let token = client.cancel_token();
    let (slept, ()) = tokio::join!(client.batch_execute("SELECT pg_sleep(20)"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        token.cancel_query(NoTls).await.expect("asked");
    });
    assert_eq!(slept.expect_err("it was cancelled").code(), Some(&SqlState::QUERY_CANCELED));
    client.batch_execute("SELECT 1").await.expect("it lives on");
}

#[tokio::test]
async fn copy_in_binary() {
    let Some(server) = postgres().await else { return };
    let client = connect(&server).await;
    client
        .batch_execute("CREATE TEMPORARY TABLE points (id INT, t TEXT, at TIMESTAMPTZ)")
        .await
        .expect("made");
    let sink = client.copy_in("COPY points FROM STDIN BINARY").await.expect("a copy");
    let types = [Type::INT4, Type::TEXT, Type::TIMESTAMPTZ];
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for i in 0..1_000_i32 {
        let text = (i % 3 != 0).then(|| format!("point {i}"));
        writer.as_mut().write(&[&i, &text, &(start + Duration::from_secs(i as u64))]).await.expect("a row");
    }
    assert_eq!(writer.finish().await.expect("finished"), 1_000);
    let out = client.copy_out("COPY (SELECT * FROM points ORDER BY id) TO STDOUT (FORMAT binary)");
    let rows = BinaryCopyOutStream::new(out.await.expect("a copy"), &types);
    let rows: Vec<_> = rows.try_collect().await.expect("rows");
    assert_eq!(rows.len(), 1_000);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row.get::<i32>(0), i as i32);
        assert_eq!(row.get::<Option<&str>>(1).is_some(), i % 3 != 0);
        assert_eq!(row.get::<SystemTime>(2), start + Duration::from_secs(i as u64));
    }
    let sink = client.copy_in("COPY points (id) FROM STDIN BINARY").await.expect("a copy");
    pin_mut!(sink);
    sink.send(bytes_of("no such file")).await.expect("sent");
    let error = sink.finish().await.expect_err("it is no file of this format");
    assert_eq!(error.code(), Some(&SqlState::BAD_COPY_FILE_FORMAT));
}

#[tokio::test]
async fn values_beyond_all_others() {
    let Some(server) = postgres().await else { return };
    let client = connect(&server).await;
    let row = client
        .query_one(
            "SELECT 'infinity'::timestamptz, '-infinity'::date, 'infinity'::timestamp > now(), \
             ('infinity'::date)::timestamp::text, ('infinity'::timestamptz + interval '1 day')::text",
            &[],
        )
        .await
        .expect("a row");
    assert_eq!(row.get::<_, Timestamp<SystemTime>>(0), Timestamp::PosInfinity);
    assert!(row.get::<_, bool>(2));
    assert_eq!((row.get::<_, &str>(3), row.get::<_, &str>(4)), ("infinity", "infinity"));
    let number: i64 = client.query_one("SELECT txid_current()", &[]).await.expect("a row").get(0);
    let next: i64 = client.query_one("SELECT txid_current()", &[]).await.expect("a row").get(0);
    assert!(next > number);
}

#[tokio::test]
async fn a_portal_at_its_end_has_no_more_rows() {
    let Some(server) = postgres().await else { return };
    let mut client = connect(&server).await;
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::Serializable)
        .read_only(true)
        .deferrable(true)
        .start()
        .await
        .expect("a transaction");
    let statement =
        transaction.prepare("SELECT n FROM generate_series(1, 5) AS n").await.expect("a statement");
    let portal = transaction.bind(&statement, &[]).await.expect("a portal");
    let mut counts = Vec::new();
    for _ in 0..4 {
        counts.push(transaction.query_portal(&portal, 2).await.expect("rows").len());
    }
    assert_eq!(counts, [2, 2, 1, 0]);
    transaction.commit().await.expect("done");
}

fn bytes_of(text: &'static str) -> bytes::Bytes {
    bytes::Bytes::from_static(text.as_bytes())
}

#[tokio::test]
async fn notifications_interrupt_an_idle_connection() {
    let Some(server) = postgres().await else { return };
    let (listener, mut connection) =
        tokio_postgres::connect(&server.url(), NoTls).await.expect("a connection");
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(sent) = message {
                drop(sender.send(format!("{}: {}", sent.channel(), sent.payload())));
            }
        }
    });
    listener.batch_execute("LISTEN bell").await.expect("it listens");
    let client = connect(&server).await;
    client.batch_execute("BEGIN; NOTIFY bell, 'never'; ROLLBACK; NOTIFY bell, 'ding'").await.expect("sent");
    assert_eq!(received.recv().await.as_deref(), Some("bell: ding"));
    listener.batch_execute("UNLISTEN bell").await.expect("it listens no more");
    client.batch_execute("NOTIFY bell, 'dong'").await.expect("sent");
    listener.batch_execute("SELECT 1").await.expect("an answer");
    assert!(received.try_recv().is_err());
}

#[tokio::test]
async fn tls_by_rustls_and_scram() {
    let (wishes, certificate) = Wishes::secured();
    let Some(server) = postgres_with(wishes).await else { return };
    let mut config: Config = server.url().parse().expect("a url");
    config.ssl_mode(tokio_postgres::config::SslMode::Require);
    let tls = MakeRustlsConnect::new(certificate.client_config(&[]).as_ref().clone());
    let (client, connection) = config.connect(tls.clone()).await.expect("TLS and SCRAM");
    tokio::spawn(connection);
    client.batch_execute("SELECT 1").await.expect("an answer");
    let error = config.password("wrong").connect(tls).await.err().expect("the password is another");
    assert_eq!(error.code(), Some(&SqlState::INVALID_PASSWORD), "{error:?}");
}

#[tokio::test]
async fn deadpool_recycles_and_times_out() {
    let Some(server) = postgres().await else { return };
    let config: Config = server.url().parse().expect("a url");
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Verified });
    let pool = Pool::builder(manager)
        .max_size(2)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(Duration::from_millis(200)))
        .build()
        .expect("a pool");
    let (first, second) = (pool.get().await.expect("one"), pool.get().await.expect("another"));
    let error = pool.get().await.expect_err("there are two");
    assert!(matches!(error, PoolError::Timeout(TimeoutType::Wait)), "{error}");
    let number: i32 = first.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    drop(first);
    second.execute("SELECT pg_terminate_backend($1)", &[&number]).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = pool.get().await.expect("a new one, since the old one is dead");
    let other: i32 = third.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    assert_ne!(number, other);
    let cached = third.prepare_cached("SELECT $1::int + 1").await.expect("a statement");
    assert_eq!(third.query_one(&cached, &[&41_i32]).await.expect("a row").get::<_, i32>(0), 42);
    assert_eq!(pool.status().size, 2);
}

#[tokio::test]
async fn deadpool_cleans_what_it_recycles() {
    let Some(server) = postgres().await else { return };
    let config: Config = server.url().parse().expect("a url");
    let manager =
        Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Clean });
    let pool = Pool::builder(manager).max_size(1).build().expect("a pool");
    let client = pool.get().await.expect("a connection");
    let number: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    let cached = client.prepare_cached("SELECT $1::int + 1").await.expect("a statement");
    let left = "CREATE TEMP TABLE scratch (n INT); SET statement_timeout = 5000; SELECT pg_advisory_lock(7)";
    client.batch_execute(left).await.expect("left behind");
    drop(client);
    let client = pool.get().await.expect("a connection");
    let again: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    assert_eq!(number, again, "it is the same one");
    assert_eq!(client.query_one(&cached, &[&41_i32]).await.expect("a row").get::<_, i32>(0), 42);
    let timeout: String = client.query_one("SHOW statement_timeout", &[]).await.expect("a row").get(0);
    assert_eq!(timeout, "0");
    client.batch_execute("SELECT * FROM scratch").await.expect_err("the table is gone");
    let held: bool = client.query_one("SELECT pg_advisory_unlock(7)", &[]).await.expect("a row").get(0);
    assert!(!held, "the lock was given back");
}

#[tokio::test]
async fn bb8_replaces_broken_connections() {
    let Some(server) = postgres().await else { return };
    let config: Config = server.url().parse().expect("a url");
    let pool = bb8::Pool::builder()
        .max_size(2)
        .connection_timeout(Duration::from_millis(500))
        .build(PostgresConnectionManager::new(config, NoTls))
        .await
        .expect("a pool");
    let (first, second) = (pool.get().await.expect("one"), pool.get().await.expect("another"));
    assert!(matches!(pool.get().await, Err(bb8::RunError::TimedOut)));
    let number: i32 = first.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    drop(first);
    second.execute("SELECT pg_terminate_backend($1)", &[&number]).await.expect("an answer");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = pool.get().await.expect("a new one");
    let other: i32 = third.query_one("SELECT pg_backend_pid()", &[]).await.expect("a row").get(0);
    assert_ne!(number, other);
}
