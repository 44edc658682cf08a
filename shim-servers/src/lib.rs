//! Database servers for simulations, as ordinary tokio applications: PostgreSQL and MySQL over an embedded SQL engine, and Redis.
//!
//! ```ignore
//! tokio::sim::host("db", shim_servers::postgres());
//! let pool = sqlx::PgPool::connect("postgres://postgres@db/postgres").await?;
//! ```
//!
//! Owns servers. Must not know the simulation: on a machine of one, their files, clocks, entropy and sockets are that machine's. Invariant: what a client was
//! told is committed survives what the machine's disk survives.
//!
//! Redis has its own lists of what it does not speak: [`mod@redis`].
//!
//! # What is real
//! The protocol (messages by pgwire), authentication (SCRAM-SHA-256, MD5, clear text), TLS by rustls, prepared statements and portals with
//! row limits, both formats of values, COPY, LISTEN and NOTIFY, cancel requests, advisory locks, sequences, savepoints, snapshots, constraints with their
//! names, and recovery after a crash: SQLite's, from a log that is synced before COMMIT is answered.
//!
//! # What SQL it does not speak
//! Each of these fails with `0A000` and the name of what is meant, unless it says otherwise.
//!
//! * **Two writers side by side.** A transaction that has written holds the only write lock until its end; another one that
//!   writes, whatever row, waits (and `lock_timeout`, `statement_timeout`, a cancel request end the wait). A test that writes by
//!   two open transactions from one task waits for ever. `SKIP LOCKED` finds all rows locked while another transaction writes, `NOWAIT` fails with `55P03`.
//! * Time zones other than UTC, encodings other than UTF-8, collations other than `C`, `DateStyle` other than ISO.
//! * Functions, procedures, triggers, rules, `DO`, roles and privileges, row security, policies, domains, composite and range types, inheritance, partitions,
//!   tablespaces, materialized views, large objects, full-text search, geometric and network types, `xml`, `money`, `bit`.
//! * `SELECT INTO`, `CREATE TABLE … LIKE`, `MERGE`, data-modifying statements in `WITH`, writing to views, `LATERAL` subqueries, `GROUPING SETS`,
//!   `TABLESAMPLE`, named windows, `sum` and `avg` of exact numbers as window functions, `ANY` and `ALL` of subqueries but for `= ANY` and `<> ALL`.
//! * SQL cursors (`DECLARE`, `FETCH`), `PREPARE` and `EXECUTE` as statements, two-phase commit, replication, `EXPLAIN`, COPY of files
//! * Arrays of more than one dimension, slices of arrays, `NaN` and infinite numerics, `NaN` floats, years before 1.
//! * A view is planned anew by its text wherever it is used, so that dropping what it needs is not refused; it fails when it is used.
//! * In a `GROUP BY`, only plain columns of the select list are checked for `42803`.
//! * `regexp` functions have the syntax of the crate regex, and no back-references.
//!
//! # What differs without an error
//! Rows without ORDER BY come in SQLite's order. DETAIL of NOT NULL and CHECK violations is absent. `COMMENT`, `ANALYZE`, `VACUUM` do nothing.
//! A long statement takes virtual time in proportion to the steps of SQLite's machine.

//!
//! # Beside sqlx 0.8 and sea-orm 1
//! The facade of sqlx 0.8 names its SQLite driver together with features such as `chrono` or `migrate`, and so does sea-orm 1. Cargo refuses a graph with
//! two packages that link to SQLite, also where one is never built. The folder `sqlx-sqlite` beside this crate's sources is an empty
//! package in that driver's place, for a project that does not use it:
//!
//! ```toml
//! [patch.crates-io]
//! sqlx-sqlite = { path = "…/shim-servers/sqlx-sqlite" }
//! ```

pub mod engine;
pub mod mysql;
pub mod postgres;
pub mod redis;
pub mod sql;

pub use mysql::{MySql, mysql};
pub use postgres::{Authentication, Control, Postgres};
pub use redis::{Redis, Sentinel};

/// A PostgreSQL server with its default options, as a node's program.
pub fn postgres() -> impl Fn() -> postgres::Running + Clone + 'static {
    Postgres::new().host()
}

/// A Redis server with its default options, as a node's program.
pub fn redis() -> impl FnMut() -> redis::HostFuture + 'static {
    Redis::new().host()
}

/// A sentinel that watches the master at `host`, as a node's program: it is down when `quorum` sentinels say so.
pub fn sentinel(
    name: &str,
    host: &str,
    port: u16,
    quorum: usize,
) -> impl FnMut() -> redis::HostFuture + 'static {
    Sentinel::new().monitor(name, host, port, quorum).host()
}
