//! A MySQL server: its protocol, in mysql_common's definitions, over the SQL engine.
//!
//! Owns [`MySql`]: users, limits, the listener, its connections. Must not know SQL. Invariant: a connection that ends,
//! however it ends, has rolled back what it did not commit.
//!
//! # What SQL it does not speak
//! Views, triggers, stored programs, partitions, `CREATE TABLE … AS`, `UPDATE` and `DELETE` of several
//! tables, `WITH` before a change, `SET GLOBAL`, `REGEXP`, `MATCH`, `LOCK TABLES`, `LOAD DATA`, `EXPLAIN`, user management, `RENAME TABLE` of several tables,
//! `USE` of another database in a transaction or with temporary tables, names of tables in another database, time zones other than UTC, spatial types, `BIT`
//! and `SET`: each is refused with error 1235 or 1064. `information_schema` has `TABLES`, `COLUMNS`, `STATISTICS`, `TABLE_CONSTRAINTS` and `KEY_COLUMN_USAGE`,
//! of the session's own database, and the columns of them that clients were seen to ask for; another view is 1235, another column 1054.
//!
//! # What of the protocol it does not speak
//! Compression, cursors (all rows of a statement come at once), `LOCAL INFILE`, replication, `mysql_native_password`'s successors (a client
//! is asked to switch), and old commands such as `COM_FIELD_LIST` and `COM_STATISTICS`, which are answered with error 1047.
//!
//! What differs from MySQL:
//! * One transaction writes, or locks rows (`FOR UPDATE`, `FOR SHARE`), at a time; the others wait for it, in order, for `innodb_lock_wait_timeout` seconds. So rows
//!   never deadlock.
//! * `REPEATABLE READ` reads one state until the transaction's first write or locking read, and from there on the newest;
//!   InnoDB's plain reads stay with the old one. `SERIALIZABLE` is a snapshot; a write to a stale one is error 1213.
//! * Texts compare without regard to the case of ASCII letters only.
//! * Arithmetic and aggregates of `DECIMAL` are done in binary floating point, and are `DOUBLE`.
//! * `BIGINT UNSIGNED` ends at 2⁶³ − 1.
//! * Numbers of `AUTO_INCREMENT` that were rolled back may be given again after a restart.
//! * `REPLACE` counts one row for each row that was given.
//! * The value is left out of "Duplicate entry".
//! * A column of a result that has no alias and is no plain column is called as SQLite would call it.
//! * A client that names no database uses the server's first one. `USE` of another one gives up the session's named locks.
//! * An `INSERT IGNORE` of several rows whose first ones are left out tells the number that the first would have had, as its insert id.
//! * `JSON_EXTRACT` and `->` are JSON where a query shows them, and plain values where they are compared, or selected from again.

mod apply;
mod connection;
mod ddl;
mod dml;
mod error;
mod functions;
mod information;
mod isolation;
mod json;
mod locks;
mod names;
mod numbers;
mod password;
mod plan;
mod reopening;
mod result;
mod rewrite;
mod schema;
mod session;
mod sets;
mod temporal;
mod types;
mod variables;
mod wire;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mysql_common::constants::CapabilityFlags;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::engine::Cluster;
use connection::Connection;
use error::MyError;
use functions::{Counters, SessionState};
use numbers::ErrorKind;
use session::Session;
use wire::greeting::greet;
use wire::{MAX_PACKET, Packets};

/// What the server says that it is.
pub(crate) const VERSION: &str = "8.0.36-shim";

/// The future of a host: what `tokio::sim::host` wants.
pub type HostFuture = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error>>>>>;

/// A MySQL server that is about to be started.
///
/// # Examples
/// ```ignore
/// tokio::sim::host("db", MySql::new().data_dir("/var/lib/mysql").host());
/// let pool = MySqlPool::connect("mysql://root@db/test").await?;
/// ```
#[derive(Clone)]
pub struct MySql {
    data_dir: Option<PathBuf>,
    database: String,
    users: BTreeMap<String, String>,
    max_connections: usize,
    tls: Option<Arc<ServerConfig>>,
    commit_hook: Option<Arc<dyn Fn(u32) + Send + Sync>>,
    connections: Arc<AtomicUsize>,
}

impl Default for MySql {
    fn default() -> MySql {
        MySql::new()
    }
}

/// A MySQL server with its defaults: what `tokio::sim::host` wants. See [`MySql`].
pub fn mysql() -> impl FnMut() -> HostFuture + 'static {
    MySql::new().host()
}

impl MySql {
    /// A server on port 3306 with the database `test` in memory, the user `root` without a password, and room for 151
    /// connections.
    pub fn new() -> MySql {
        MySql {
            data_dir: None,
            database: "test".to_owned(),
            users: BTreeMap::from([("root".to_owned(), String::new())]),
            max_connections: 151,
            tls: None,
            commit_hook: None,
            connections: Arc::default(),
        }
    }

    /// Keeps its databases in this folder: what was committed is there after a restart.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> MySql {
        self.data_dir = Some(folder.into());
        self
    }

    /// The database that is there from the beginning.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>) -> MySql {
        self.database = name.into();
        self
    }

    /// Lets a user in, with a password, which may be empty.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> MySql {
        self.users.insert(name.into(), password.into());
        self
    }

    /// How many connections there may be; the next one is refused with error 1040.
    #[must_use]
    pub fn max_connections(mut self, most: usize) -> MySql {
        self.max_connections = most;
        self
    }

    /// Offers TLS with this certificate chain and key, in DER.
    ///
    /// # Errors
    /// Where key and certificate do not fit.
    pub fn tls(mut self, chain: Vec<Vec<u8>>, pkcs8_key: Vec<u8>) -> io::Result<MySql> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(pkcs8_key.into());
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        self.tls = Some(Arc::new(config.map_err(io::Error::other)?));
        Ok(self)
    }

    /// Calls `hook` after each commit that wrote something, once it is safe and before the client hears of it, with the
    /// connection's number: the place to let the machine lose its power.
    #[must_use]
    pub fn on_commit(mut self, hook: impl Fn(u32) + Send + Sync + 'static) -> MySql {
        self.commit_hook = Some(Arc::new(hook));
        self
    }

    /// How many connections there are at the moment.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What `tokio::sim::host` wants: starts the server on port 3306 of the node it is called on.
    pub fn host(self) -> impl FnMut() -> HostFuture + 'static {
        move || {
            let server = self.clone();
            Box::pin(async move {
                let listener = TcpListener::bind(("0.0.0.0", 3306)).await?;
                server.serve(listener).await?;
                Ok(())
            })
        }
    }

    /// Serves on `listener`, until the future is dropped.
    ///
    /// # Errors
    /// Those of the listener and of the folder.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let hook = self.commit_hook.clone();
        let hook =
            hook.map(|hook| Arc::new(move |id: i32| hook(id as u32)) as Arc<dyn Fn(i32) + Send + Sync>);
        let folder = self.data_dir.clone().unwrap_or_else(|| std::env::temp_dir().join("shim-servers-mysql"));
        let cluster = Cluster::open(folder, self.data_dir.is_some(), &self.database, hook).await?;
        let counters = Arc::new(Counters::default());
        self.connections.store(0, Ordering::Relaxed);
        let server = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                Some(_) = tasks.join_next() => continue,
            };
            let one = Arc::clone(&server).one(stream, Arc::clone(&cluster), Arc::clone(&counters));
            tasks.spawn(one);
        }
    }

    /// Serves one connection.
    async fn one(self: Arc<MySql>, mut stream: TcpStream, cluster: Arc<Cluster>, counters: Arc<Counters>) {
        let _counted = Counted::new(&self.connections);
        if self.connections() > self.max_connections {
            let _ = stream.write_all(&too_many()).await;
            return;
        }
        // Whatever ends it, the client sees that the connection is gone.
        let _ = self.speak(stream, cluster, counters).await;
    }

    async fn speak(
        &self,
        stream: TcpStream,
        cluster: Arc<Cluster>,
        counters: Arc<Counters>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let database = cluster.database(&self.database).ok_or(io::ErrorKind::NotFound)?;
        let engine = cluster.connect(&database, "root", 0).await.map_err(io::Error::other)?;
        let id = engine.shared.id as u32;
        let state = Arc::new(std::sync::Mutex::new(SessionState {
            connection_id: id,
            database: self.database.clone(),
            ..SessionState::default()
        }));
        let session = Session::new(engine, counters, state, variables()).await;
        let mut session = session.map_err(|error| io::Error::other(error.message))?;
        let shared = Arc::clone(session.shared());
        let salt = password::salt().map_err(io::Error::other)?;
        let client = stream.peer_addr()?.ip();
        let packets = Packets::new(stream);
        let greeted = tokio::select! {
            greeted = greet(packets, id, &salt, self.tls.as_ref()) => greeted?,
            () = shared.terminated() => return Ok(()),
        };
        let (packets, capabilities, login) = greeted;
        session.counts_found = capabilities.contains(CapabilityFlags::CLIENT_FOUND_ROWS);
        let connection = Connection {
            packets,
            session,
            capabilities,
            salt,
            users: self.users.clone(),
            client,
            prepared: BTreeMap::new(),
            last_statement: 0,
        };
        connection.serve(login).await
    }
}

/// A connection that is counted while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The first and only packet to one connection too many.
fn too_many() -> Vec<u8> {
    let body = wire::answer::error(&MyError::new(ErrorKind::ER_CON_COUNT_ERROR, "Too many connections"));
    let mut packet = (body.len() as u32).to_le_bytes()[..3].to_vec();
    packet.push(0);
    packet.extend(body);
    packet
}

/// The system variables that there are, with their values.
fn variables() -> BTreeMap<String, Option<String>> {
    let sql_mode = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
                    NO_ENGINE_SUBSTITUTION";
    let all = [
        ("auto_increment_increment", "1"),
        ("autocommit", "1"),
        ("character_set_client", "utf8mb4"),
        ("character_set_connection", "utf8mb4"),
        ("character_set_results", "utf8mb4"),
        ("character_set_server", "utf8mb4"),
        ("collation_connection", "utf8mb4_0900_ai_ci"),
        ("collation_server", "utf8mb4_0900_ai_ci"),
        ("foreign_key_checks", "1"),
        ("innodb_lock_wait_timeout", "50"),
        ("interactive_timeout", "28800"),
        ("lower_case_table_names", "0"),
        ("max_allowed_packet", &MAX_PACKET.to_string()),
        ("max_execution_time", "0"),
        ("net_write_timeout", "60"),
        ("sql_mode", sql_mode),
        ("system_time_zone", "UTC"),
        ("time_zone", "SYSTEM"),
        ("transaction_isolation", "REPEATABLE-READ"),
        ("transaction_read_only", "0"),
        ("tx_isolation", "REPEATABLE-READ"),
        ("version", VERSION),
        ("version_comment", "shim-servers over SQLite"),
        ("wait_timeout", "28800"),
    ];
    let all = all.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    // It listens on no socket of its machine.
    all.chain([("socket".to_owned(), None)]).collect()
}
