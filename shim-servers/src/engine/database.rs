//! Databases as files, and the connections to them.
//!
//! Owns the folder, the write lock of each database, and what sessions of one database share. Must not know a protocol.
//! Invariant: what SQLite's file has is what a commit was answered for: the log is synced before it returns.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::task::spawn_blocking;

use super::advisory::Advisory;
use super::catalog::Catalog;
use super::channels::Channels;
use super::error::{Condition, Result, SqlError};
use super::functions;
use super::sequences::{Sequences, State};
use super::session::Session;
use super::shared::{Backends, Shared};

/// How long SQLite itself waits for another connection's recovery or checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How many steps of SQLite's machine take [`PACE`].
const PACE_STEPS: std::ffi::c_int = 20_000;

/// What that many steps take, about as on a machine of today.
const PACE: Duration = Duration::from_micros(200);

/// The number of the first transaction that is numbered; those before it made the database.
const FIRST_TRANSACTION: i64 = 700;

const SYSTEM_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS __catalog (id INTEGER PRIMARY KEY CHECK (id = 0), body TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS __sequence (oid INTEGER PRIMARY KEY, last INTEGER NOT NULL, called INTEGER NOT NULL);
";

/// Called after each commit that wrote something, once it is safe and before it is answered; gets the session's number.
pub(crate) type CommitHook = Arc<dyn Fn(i32) + Send + Sync>;

/// All databases of one server, in one folder.
pub struct Cluster {
    folder: PathBuf,
    durable: bool,
    databases: Mutex<BTreeMap<String, Arc<Database>>>,
    /// All sessions of the server.
    pub backends: Backends,
    next_id: AtomicI32,
    commit_hook: Option<CommitHook>,
}

/// One database.
pub struct Database {
    /// Its name.
    pub name: String,
    path: PathBuf,
    durable: bool,
    catalog: Mutex<Arc<Catalog>>,
    pub(crate) writer: Arc<tokio::sync::Mutex<()>>,
    /// The numbers of its sequences.
    pub sequences: Sequences,
    /// Its advisory locks.
    pub advisory: Advisory,
    /// Its listeners.
    pub channels: Channels,
    /// The server that it belongs to.
    pub cluster: std::sync::Weak<Cluster>,
    pub(crate) commit_hook: Option<CommitHook>,
    last_transaction: AtomicI64,
}

impl Cluster {
    /// Opens the folder and all databases in it; makes `first` if it is not there.
    ///
    /// With `durable` each commit is synced, and what is there is kept; otherwise the folder is emptied first.
    ///
    /// # Errors
    /// Those of the file system, and of a file that is no database.
    pub async fn open(
        folder: PathBuf,
        durable: bool,
        first: &str,
        commit_hook: Option<CommitHook>,
    ) -> io::Result<Arc<Self>> {
        let first = first.to_owned();
        let opened = spawn_blocking(move || {
            if !durable && folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            let mut names = vec![first];
            for entry in fs::read_dir(&folder)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                names.extend(name.strip_suffix(".sqlite").map(str::to_owned));
            }
            names.sort();
            names.dedup();
            let cluster = Arc::new(Self {
                folder,
                durable,
                databases: Mutex::default(),
                backends: Backends::default(),
                next_id: AtomicI32::new(100),
                commit_hook,
            });
            for name in names {
                cluster.open_database(&name).map_err(io::Error::other)?;
            }
            sync_folders(&cluster.folder)?;
            Ok::<_, io::Error>(cluster)
        });
        opened.await.map_err(io::Error::other)?
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.sqlite"))
    }

    fn open_database(self: &Arc<Self>, name: &str) -> rusqlite::Result<()> {
        let path = self.path(name);
        let connection = connect(&path, self.durable)?;
        connection.execute_batch(SYSTEM_TABLES)?;
        let body: Option<String> =
            connection.query_row("SELECT body FROM __catalog", [], |row| row.get(0)).map(Some).or_else(
                |error| if error == rusqlite::Error::QueryReturnedNoRows { Ok(None) } else { Err(error) },
            )?;
        let catalog = match body {
            Some(body) => serde_json::from_str(&body).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
            })?,
            None => Catalog::default(),
        };
        let sequences = Sequences::default();
        let mut statement = connection.prepare("SELECT oid, last, called FROM __sequence")?;
        let states = statement
            .query_map([], |row| Ok((row.get(0)?, State { last: row.get(1)?, called: row.get(2)? })))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        sequences.load(states);
        let database = Arc::new(Database {
            name: name.to_owned(),
            path,
            durable: self.durable,
            catalog: Mutex::new(Arc::new(catalog)),
            writer: Arc::default(),
            sequences,
            advisory: Advisory::default(),
            channels: Channels::default(),
            cluster: Arc::downgrade(self),
            commit_hook: self.commit_hook.clone(),
            last_transaction: AtomicI64::new(FIRST_TRANSACTION),
        });
        self.with(|databases| databases.insert(name.to_owned(), database));
        Ok(())
    }

    /// The database of a name.
    pub fn database(&self, name: &str) -> Option<Arc<Database>> {
        self.with(|databases| databases.get(name).cloned())
    }

    /// The names of all databases.
    pub fn names(&self) -> Vec<String> {
        self.with(|databases| databases.keys().cloned().collect())
    }

    /// Makes a database.
    ///
    /// # Errors
    /// `42P04` where there is one of this name; errors of the file system.
    pub async fn create_database(self: &Arc<Self>, name: &str) -> Result<()> {
        if self.database(name).is_some() {
            let message = format!("database \"{name}\" already exists");
            return Err(SqlError::new(Condition::DuplicateDatabase, message));
        }
        if name.contains(['/', '\0']) || name.starts_with('.') {
            return Err(SqlError::unsupported(format!("the name \"{name}\" for a database")));
        }
        let (cluster, owned) = (Arc::clone(self), name.to_owned());
        let made = spawn_blocking(move || {
            cluster.open_database(&owned).map_err(io::Error::other)?;
            sync_folders(&cluster.folder)
        });
        made.await.map_err(SqlError::internal)?.map_err(|error| io_error(&error))
    }

    /// Removes a database and its files.
    ///
    /// # Errors
    /// `3D000` where there is none, `55006` where somebody is connected.
    pub async fn drop_database(self: &Arc<Self>, name: &str) -> Result<()> {
        if self.database(name).is_none() {
            let message = format!("database \"{name}\" does not exist");
            return Err(SqlError::new(Condition::InvalidCatalogName, message));
        }
        if self.backends.all().iter().any(|session| session.database.name == name) {
            let message = format!("database \"{name}\" is being accessed by other users");
            return Err(SqlError::new(Condition::ObjectInUse, message));
        }
        self.with(|databases| databases.remove(name));
        let (path, folder) = (self.path(name), self.folder.clone());
        let removed = spawn_blocking(move || {
            for suffix in ["", "-wal", "-shm"] {
                match fs::remove_file(format!("{}{suffix}", path.display())) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            sync_folders(&folder)
        });
        removed.await.map_err(SqlError::internal)?.map_err(|error| io_error(&error))
    }

    /// A new session of a database.
    ///
    /// # Errors
    /// Those of opening SQLite's file.
    pub async fn connect(
        self: &Arc<Self>,
        database: &Arc<Database>,
        user: &str,
        secret: i32,
    ) -> Result<Session> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared::new(id, secret, Arc::clone(database), user));
        let connection = self.open_for(&shared).await?;
        self.backends.insert(&shared);
        Ok(Session::new(Arc::clone(self), shared, connection))
    }

    /// A connection of SQLite's to the database of a session.
    pub(crate) async fn open_for(&self, shared: &Arc<Shared>) -> Result<Connection> {
        let (path, durable, own) =
            (shared.database.path.clone(), shared.database.durable, Arc::clone(shared));
        let connection = spawn_blocking(move || {
            let connection = connect(&path, durable)?;
            functions::register(&connection, &own)?;
            connection.progress_handler(PACE_STEPS, Some(pace));
            Ok::<_, rusqlite::Error>(connection)
        });
        let connection = connection.await.map_err(SqlError::internal)?.map_err(SqlError::internal)?;
        shared.set_interrupt(connection.get_interrupt_handle());
        Ok(connection)
    }

    fn with<R>(&self, f: impl FnOnce(&mut BTreeMap<String, Arc<Database>>) -> R) -> R {
        f(&mut self.databases.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Database {
    /// What is committed.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn next_transaction(&self) -> i64 {
        self.last_transaction.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn publish_catalog(&self, catalog: Arc<Catalog>) {
        *self.catalog.lock().unwrap_or_else(PoisonError::into_inner) = catalog;
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn io_error(error: &io::Error) -> SqlError {
    SqlError::new(Condition::IoError, error.to_string())
}

/// Lets time pass for a long statement: where time is virtual, calculating takes none, and nobody could stop it.
fn pace() -> bool {
    #[expect(clippy::disallowed_methods, reason = "this is a thread of the blocking pool, which may wait")]
    std::thread::sleep(PACE);
    false
}

/// A connection that is set up as all are.
fn connect(path: &Path, durable: bool) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "OFF" })?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "case_sensitive_like", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes the names of new files and folders survive a loss of power.
fn sync_folders(folder: &Path) -> io::Result<()> {
    let folder = folder.canonicalize()?;
    fs::File::open(&folder)?.sync_all()?;
    for above in folder.ancestors().skip(1) {
        // A folder that belongs to somebody else is not ours to sync, and was there before.
        if fs::File::open(above).and_then(|opened| opened.sync_all()).is_err() {
            break;
        }
    }
    Ok(())
}
