//! Statements: prepared ones, their errors, streams of rows, notifications, COPY, migrations, TLS and passwords.

use futures_util::TryStreamExt;

use super::super::Migrator;
use super::super::sqlx::migrate::MigrateError;
use super::super::sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgListener, PgPoolOptions, PgSslMode};
use super::super::sqlx::{self, ConnectOptions, Connection, Executor, PgConnection, Row};
use super::connected;
use compat_databases::{Wishes, postgres, postgres_with};
use compat_tests::certificate::Certificate;

/// Condition, constraint and detail of what the server refused.
fn refusal(error: &sqlx::Error) -> (String, Option<String>, Option<String>) {
    let error = error.as_database_error().unwrap_or_else(|| panic!("no error of the server: {error}"));
    let error = error.downcast_ref::<PgDatabaseError>();
    (error.code().to_owned(), error.constraint().map(str::to_owned), error.detail().map(str::to_owned))
}

const SCHEMA: &str = "CREATE TABLE authors (id SERIAL PRIMARY KEY, name TEXT NOT NULL UNIQUE, born INT CHECK (born > 0));
    CREATE TABLE books (id BIGSERIAL PRIMARY KEY, author INT NOT NULL REFERENCES authors (id), title VARCHAR(20))";

#[tokio::test]
async fn prepared_statements_are_kept_and_typed() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(SCHEMA).await.expect("tables");
    for name in ["Ada", "Grace", "Mary"] {
        let id: i32 = sqlx::query_scalar("INSERT INTO authors (name, born) VALUES ($1, $2) RETURNING id")
            .bind(name)
            .bind(1900_i32)
            .fetch_one(&mut connection)
            .await
            .expect("a row");
        assert!(id > 0);
    }
    let rows = sqlx::query("SELECT id, name FROM authors WHERE born = $1 AND name <> $2 ORDER BY name DESC")
        .bind(1900_i32)
        .bind("Grace")
        .fetch_all(&mut connection)
        .await
        .expect("rows");
    let names: Vec<&str> = rows.iter().map(|row| row.get("name")).collect();
    assert_eq!(names, ["Mary", "Ada"]);
    assert!(connection.cached_statements_size() >= 2);
    let some = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM authors WHERE name = ANY($1)")
        .bind(vec!["Ada".to_owned(), "Nobody".to_owned()])
        .fetch_one(&mut connection)
        .await
        .expect("a count");
    assert_eq!(some, 1);
    let none: Option<String> = sqlx::query_scalar("SELECT name FROM authors WHERE id = $1")
        .bind(-1_i32)
        .fetch_optional(&mut connection)
        .await
        .expect("no row");
    assert_eq!(none, None);
    let done =
        sqlx::query("UPDATE authors SET born = born + 1").execute(&mut connection).await.expect("an update");
    assert_eq!(done.rows_affected(), 3);
}

#[tokio::test]
async fn constraints_have_their_names_and_conditions() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute(SCHEMA).await.expect("tables");
    connection.execute("INSERT INTO authors (name) VALUES ('Ada')").await.expect("a row");
    let cases = [
        (
            "INSERT INTO authors (name) VALUES ('Ada')",
            "23505",
            Some("authors_name_key"),
            Some("Key (name)=(Ada) already exists."),
        ),
        ("INSERT INTO authors (name, born) VALUES ('Bob', -5)", "23514", Some("authors_born_check"), None),
        (
            "INSERT INTO books (author, title) VALUES (77, 'x')",
            "23503",
            Some("books_author_fkey"),
            Some("Key (author)=(77) is not present in table \"authors\"."),
        ),
        (
            "INSERT INTO books (author, title) VALUES (1, 'much too long for this column')",
            "22001",
            None,
            None,
        ),
        ("SELECT nothing FROM authors", "42703", None, None),
        ("SELECT * FROM nowhere", "42P01", None, None),
        ("SELEKT 1", "42601", None, None),
        ("INSERT INTO books (author, title) VALUES (1)", "42601", None, None),
        ("SELECT 1 / 0", "22012", None, None),
        ("SELECT 'many'::int", "22P02", None, None),
        ("SELECT nofunction(1)", "42883", None, None),
        ("SELECT 2147483647 + 1", "22003", None, None),
        ("CREATE TABLE authors (id INT)", "42P07", None, None),
        ("SELECT name FROM authors GROUP BY born", "42803", None, None),
    ];
    for (statement, code, constraint, detail) in cases {
        let error = connection.execute(statement).await.expect_err(statement);
        let (found, name, text) = refusal(&error);
        assert_eq!(found, code, "{statement}: {error}");
        assert_eq!(name.as_deref(), constraint, "{statement}");
        if detail.is_some() {
            assert_eq!(text.as_deref(), detail, "{statement}");
        }
    }
    let error = connection.execute("INSERT INTO authors (born) VALUES (1)").await.expect_err("no name");
    assert_eq!(refusal(&error).0, "23502");
    connection
        .execute("INSERT INTO books (author) SELECT id FROM authors WHERE name = 'Ada'")
        .await
        .expect("a book");
    let error = connection.execute("DELETE FROM authors").await.expect_err("there is a book");
    let (code, name, detail) = refusal(&error);
    assert_eq!((code.as_str(), name.as_deref()), ("23503", Some("books_author_fkey")));
    assert_eq!(detail.as_deref(), Some("Key (id)=(1) is still referenced from table \"books\"."));
}

#[tokio::test]
async fn temporary_tables_are_one_sessions() {
    let Some((server, mut connection)) = connected().await else { return };
    let mut other = PgConnection::connect(&server.url()).await.expect("a connection");
    connection
        .execute(
            "CREATE TABLE t (n INT); INSERT INTO t VALUES (1);
             CREATE TEMPORARY TABLE t (id SERIAL PRIMARY KEY, n INT CHECK (n > 0));
             INSERT INTO t (n) VALUES (20), (30)",
        )
        .await
        .expect("two tables");
    let sum = "SELECT COALESCE(sum(n), 0)::int8 FROM t";
    let one: i64 = sqlx::query_scalar(sum).fetch_one(&mut connection).await.expect("a sum");
    let two: i64 = sqlx::query_scalar(sum).fetch_one(&mut other).await.expect("a sum");
    assert_eq!((one, two), (50, 1), "the temporary table hides the other one, for its session");
    let error = connection.execute("INSERT INTO t (n) VALUES (-1)").await.expect_err("a check");
    assert_eq!(refusal(&error).0, "23514");
    let error = other.execute("SELECT id FROM t").await.expect_err("no such column");
    assert_eq!(refusal(&error).0, "42703");
    connection.execute("ALTER TABLE t ADD COLUMN name TEXT NOT NULL DEFAULT 'x'").await.expect("altered");
    let found: (i32, i32, String) =
        sqlx::query_as("SELECT * FROM t WHERE n = 30").fetch_one(&mut connection).await.expect("a row");
    assert_eq!(found, (2, 30, "x".to_owned()));
    let mut transaction = connection.begin().await.expect("a transaction");
    transaction
        .execute(
            "CREATE TEMP TABLE gone (n INT) ON COMMIT DROP; INSERT INTO gone VALUES (1);
             CREATE TEMP TABLE empty (n INT) ON COMMIT DELETE ROWS; INSERT INTO empty VALUES (1);
             CREATE TEMP TABLE kept (n INT) ON COMMIT PRESERVE ROWS; INSERT INTO kept VALUES (1)",
        )
        .await
        .expect("tables");
    transaction.commit().await.expect("committed");
    let error = connection.execute("SELECT * FROM gone").await.expect_err("it is gone");
    assert_eq!(refusal(&error).0, "42P01");
    let counts: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM empty), (SELECT count(*) FROM kept)")
            .fetch_one(&mut connection)
            .await
            .expect("counts");
    assert_eq!(counts, (0, 1));
    let mut transaction = connection.begin().await.expect("a transaction");
    transaction.execute("CREATE TEMP TABLE undone AS SELECT 1 AS a, 'b' AS b").await.expect("a table");
    transaction.rollback().await.expect("undone");
    connection.execute("SELECT * FROM undone").await.expect_err("it never was");
    connection.execute("DISCARD TEMP").await.expect("dropped");
    let one: i64 = sqlx::query_scalar(sum).fetch_one(&mut connection).await.expect("a sum");
    assert_eq!(one, 1, "the other table is seen again");
}

#[tokio::test]
async fn a_table_is_made_of_a_query() {
    let Some((_server, mut connection)) = connected().await else { return };
    let made = connection
        .execute("CREATE TABLE squares AS SELECT n, n * n AS square FROM generate_series(1, 10) AS n")
        .await
        .expect("a table");
    assert_eq!(made.rows_affected(), 10);
    let found: (i32, i32) = sqlx::query_as("SELECT n, square FROM squares WHERE square = 49")
        .fetch_one(&mut connection)
        .await
        .expect("a row");
    assert_eq!(found, (7, 49));
    let schema: String =
        sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&mut connection).await.expect("a name");
    assert_eq!(schema, "public");
}

#[tokio::test]
async fn rows_are_streamed() {
    let Some((_server, mut connection)) = connected().await else { return };
    let mut rows = sqlx::query("SELECT n, repeat('x', 100) AS text FROM generate_series(1, 20000) AS n")
        .fetch(&mut connection);
    let mut sum = 0_i64;
    while let Some(row) = rows.try_next().await.expect("a row") {
        sum += i64::from(row.get::<i32, _>("n"));
        assert_eq!(row.get::<&str, _>("text").len(), 100);
    }
    drop(rows);
    assert_eq!(sum, 20_000 * 20_001 / 2);
    // A stream that is given up leaves a connection that can be used.
    let mut rows = sqlx::query("SELECT n FROM generate_series(1, 20000) AS n").fetch(&mut connection);
    assert!(rows.try_next().await.expect("a row").is_some());
    drop(rows);
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut connection).await.expect("a row");
    assert_eq!(one, 1);
}

#[tokio::test]
async fn notifications_come_with_the_commit() {
    let Some((server, mut connection)) = connected().await else { return };
    let mut listener = PgListener::connect(&server.url()).await.expect("a listener");
    listener.listen_all(["news", "other"]).await.expect("it listens");
    let mut transaction = connection.begin().await.expect("a transaction");
    sqlx::query("SELECT pg_notify('news', $1)")
        .bind("lost")
        .execute(&mut *transaction)
        .await
        .expect("a notification");
    transaction.rollback().await.expect("undone");
    let mut transaction = connection.begin().await.expect("a transaction");
    for payload in ["first", "second", "first"] {
        sqlx::query("SELECT pg_notify('news', $1)")
            .bind(payload)
            .execute(&mut *transaction)
            .await
            .expect("a notification");
    }
    transaction.commit().await.expect("done");
    connection.execute("NOTIFY other, 'third'").await.expect("a notification");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let sent = listener.recv().await.expect("a notification");
        seen.push(format!("{} {}", sent.channel(), sent.payload()));
    }
    assert_eq!(seen, ["news first", "news second", "other third"]);
}

#[tokio::test]
async fn copy_goes_in_and_out() {
    let Some((_server, mut connection)) = connected().await else { return };
    connection.execute("CREATE TABLE points (x INT, label TEXT)").await.expect("a table");
    let mut copy = connection.copy_in_raw("COPY points (x, label) FROM STDIN").await.expect("a copy");
    copy.send("1\tone\n2\t\\N\n".as_bytes()).await.expect("sent");
    copy.send("3\ttab\\there\n".as_bytes()).await.expect("sent");
    assert_eq!(copy.finish().await.expect("finished"), 3);
    let mut copy = connection
        .copy_in_raw("COPY points FROM STDIN WITH (FORMAT csv, HEADER true)")
        .await
        .expect("a copy");
    copy.send("x,label\n4,\"a, b\"\n5,\n".as_bytes()).await.expect("sent");
    assert_eq!(copy.finish().await.expect("finished"), 2);
    let out =
        connection.copy_out_raw("COPY (SELECT * FROM points ORDER BY x) TO STDOUT").await.expect("a copy");
    let text: Vec<u8> = out
        .try_fold(Vec::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await
        .expect("all of it");
    let text = String::from_utf8(text).expect("text");
    assert_eq!(text, "1\tone\n2\t\\N\n3\ttab\\there\n4\ta, b\n5\t\\N\n");
    let mut copy = connection.copy_in_raw("COPY points FROM STDIN").await.expect("a copy");
    copy.send("6\tfine\nseven\tnot\n".as_bytes()).await.expect("sent");
    let error = copy.finish().await.expect_err("seven is no number");
    assert_eq!(refusal(&error).0, "22P02");
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM points").fetch_one(&mut connection).await.expect("a count");
    assert_eq!(count, 5, "a copy that fails stores nothing");
}

#[tokio::test]
async fn migrations_run_once() {
    let Some((server, mut connection)) = connected().await else { return };
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"));
    let migrator = Migrator::new(folder).await.expect("migrations");
    let pool = PgPoolOptions::new().max_connections(4).connect(&server.url()).await.expect("a pool");
    // Two at a time: the advisory lock lets one wait for the other.
    let (first, second) = tokio::join!(migrator.run(&pool), migrator.run(&pool));
    first.expect("migrated");
    second.expect("nothing left to migrate");
    let versions: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut connection)
            .await
            .expect("versions");
    assert_eq!(versions, [1, 2]);
    connection.execute("INSERT INTO accounts (owner) VALUES ('a'), ('b')").await.expect("rows");
    connection.execute("INSERT INTO transfers (giver, taker, amount) VALUES (1, 2, 5)").await.expect("a row");
    connection
        .execute("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 2")
        .await
        .expect("spoiled");
    let error = migrator.run(&pool).await.expect_err("a migration was changed");
    assert!(matches!(error, MigrateError::VersionMismatch(2)), "{error}");
}

#[tokio::test]
async fn passwords_and_tls() {
    let (wishes, certificate) = Wishes::secured();
    let Some(server) = postgres_with(wishes).await else { return };
    let options: PgConnectOptions = server.url().parse().expect("a url");
    let options = options.ssl_mode(PgSslMode::VerifyFull);
    let trusting = options.clone().ssl_root_cert_from_pem(certificate.authority_pem().as_bytes().to_vec());
    let mut connection = trusting.connect().await.expect("TLS and SCRAM");
    let user: String =
        sqlx::query_scalar("SELECT current_user::text").fetch_one(&mut connection).await.expect("a user");
    assert_eq!(user, "postgres");
    let other = Certificate::for_name("db");
    let wrong = options.ssl_root_cert_from_pem(other.authority_pem().as_bytes().to_vec());
    let error = wrong.connect().await.expect_err("the authority is another");
    assert!(matches!(error, sqlx::Error::Tls(_) | sqlx::Error::Io(_)), "{error}");
    let error = trusting.password("wrong").connect().await.expect_err("the password is another");
    assert_eq!(refusal(&error).0, "28P01");
}

#[tokio::test]
async fn unknown_databases_and_functions_of_the_server() {
    let Some(server) = postgres().await else { return };
    let options: PgConnectOptions = server.url().parse().expect("a url");
    let error = options.clone().database("nowhere").connect().await.expect_err("no such database");
    assert_eq!(refusal(&error).0, "3D000");
    let mut connection: PgConnection = options.clone().connect().await.expect("a connection");
    connection.execute("CREATE DATABASE second").await.expect("a database");
    let mut second = options.database("second").connect().await.expect("a connection");
    let name: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut second).await.expect("a name");
    assert_eq!(name, "second");
    second.close().await.expect("closed");
}

#[tokio::test]
async fn rows_are_locked_by_all_names() {
    let Some((_server, mut connection)) = connected().await else { return };
    let table = "CREATE TABLE t (id SERIAL PRIMARY KEY, name TEXT)";
    sqlx::query(table).execute(&mut connection).await.expect("a table");
    sqlx::query("INSERT INTO t (name) VALUES ('a'), ('b')").execute(&mut connection).await.expect("rows");
    let mut transaction = connection.begin().await.expect("a transaction");
    let locks = [
        "SELECT id FROM t FOR NO KEY UPDATE",
        "SELECT id FROM t WHERE name <> 'FOR KEY SHARE' for key share",
        "SELECT t.id FROM t FOR NO KEY UPDATE OF t SKIP LOCKED",
        "SELECT id FROM t FOR KEY SHARE NOWAIT",
    ];
    for lock in locks {
        let rows = sqlx::query(lock).fetch_all(&mut *transaction).await.expect(lock);
        assert_eq!(rows.len(), 2, "{lock}");
    }
    transaction.rollback().await.expect("it ends");
}

#[tokio::test]
async fn a_column_has_its_sequence() {
    let Some((_server, mut connection)) = connected().await else { return };
    let table = "CREATE TABLE t (name TEXT, id BIGSERIAL PRIMARY KEY)";
    sqlx::query(table).execute(&mut connection).await.expect("a table");
    let owned = "SELECT d.objid::regclass::text FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND \
                 a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass AND d.refobjid = 't'::regclass AND \
                 d.deptype = 'a' AND a.attname = 'id' AND d.classid = d.refclassid AND d.objid::regclass::text LIKE '%seq'";
    let names: Vec<String> =
        sqlx::query_scalar(owned).fetch_all(&mut connection).await.expect("the sequence is found");
    assert_eq!(names, ["t_id_seq"]);
    let free = "SELECT t.typname::text FROM pg_type t LEFT JOIN pg_depend d ON d.objid = t.oid AND \
                d.refclassid = 'pg_extension'::regclass::oid AND d.deptype = 'e' WHERE t.typname = 'mood' AND d.objid IS NULL";
    sqlx::query("CREATE TYPE mood AS ENUM ('happy')").execute(&mut connection).await.expect("a type");
    let names: Vec<String> = sqlx::query_scalar(free).fetch_all(&mut connection).await.expect("a name");
    assert_eq!(names, ["mood"]);
}
