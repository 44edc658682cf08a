//! A Redis server, word for word as Redis 7.0 in what its clients see.
//!
//! Owns [`Redis`]: options, the listener. Must not know commands. Invariant: with `appendfsync always`, what a client was
//! told is written survives what the machine's disk survives.
//!
//! # What it does not speak
//! * Lua and functions (`EVAL`, `FCALL`, `SCRIPT`, `FUNCTION`): refused with an error that says so. Modules, geo commands,
//!   `SORT`, `LCS`, `BITFIELD`, `FAILOVER`, `ACL`, `LATENCY`, `MEMORY`, `SLOWLOG`: unknown commands.
//! * Users other than `default`, TLS, client tracking, `XINFO STREAM FULL`, `MIGRATE` inside of a transaction.
//! * RDB files: the append-only file is the only one. It has a form of its own, as have full synchronisations, payloads of
//!   `DUMP` and the cluster bus; so a real Redis cannot be its replica, nor a node of the same cluster.
//! * Replicas that move to masters without one (`cluster-allow-replica-migration`), `cluster-announce-port`.
//!
//! # What differs without an error
//! * `maxmemory` is kept and has no effect: nothing is evicted, nothing refused. INFO has no lines about memory and CPU.
//! * The order of `KEYS`, `SCAN` and of large collections, and which members are chosen at random, are others than Redis's.
//! * `OBJECT ENCODING` goes by the size of the value now, and never remembers that it was larger.
//! * A `~` in `XADD` and `XTRIM` cuts in steps of 100 entries.
//! * A HyperLogLog is always kept in the dense form. Of `client-output-buffer-limit`, only the hard limits count.
//! * A disk that fails ends the server, whatever `appendfsync` says.
//! * It looks after itself ten times a second, as Redis does: a simulation with a server in it is never found to be deadlocked, but
//!   ends at its limit of virtual time.
//! * While `MIGRATE` runs, other clients wait, as in Redis; but their connections are accepted.

mod blocking;
mod call;
mod client;
mod cluster;
mod commands;
mod config;
mod config_file;
mod connection;
mod create;
mod dispatch;
mod journal;
mod keyspace;
mod link;
mod numbers;
mod persistence;
mod pubsub;
mod replication;
mod request;
pub mod sentinel;
mod server;
mod state;
mod stream;
mod table;
mod value;
pub mod wire;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;

pub use create::create_cluster;
pub use sentinel::Sentinel;

use cluster::Cluster;
use config::Config;
use state::State;

/// The future of a host: what `tokio::sim::host` wants.
pub type HostFuture = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error>>>>>;

/// Called with a connection's number after each write that is safe.
pub(crate) type WriteHook = Arc<dyn Fn(u64) + Send + Sync>;

/// A Redis server that is about to be started.
///
/// # Examples
/// ```ignore
/// tokio::sim::host("cache", Redis::new().data_dir("/var/lib/redis").host());
/// let client = redis::Client::open("redis://cache/")?;
/// ```
#[derive(Clone)]
pub struct Redis {
    port: u16,
    data_dir: Option<PathBuf>,
    password: Option<String>,
    max_clients: usize,
    replica_of: Option<(String, u16)>,
    is_cluster: bool,
    settings: Vec<(String, String)>,
    write_hook: Option<WriteHook>,
}

impl Default for Redis {
    fn default() -> Redis {
        Redis::new()
    }
}

impl Redis {
    /// A server on port 6379, in memory, without a password, with room for 10000 clients.
    pub fn new() -> Redis {
        Redis {
            port: 6379,
            data_dir: None,
            password: None,
            max_clients: 10_000,
            replica_of: None,
            is_cluster: false,
            settings: Vec::new(),
            write_hook: None,
        }
    }

    /// Another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Redis {
        self.port = port;
        self
    }

    /// Keeps its data in this folder, in an append-only file that is synced before each answer: what was answered is there
    /// after a restart. `config("appendfsync", "everysec")` and `"no"` promise less.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Redis {
        self.data_dir = Some(folder.into());
        self
    }

    /// What clients have to give to `AUTH`; also what this server gives to its master.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Redis {
        self.password = Some(password.into());
        self
    }

    /// How many clients there may be; the next one hears an error, and the connection ends.
    #[must_use]
    pub fn max_clients(mut self, most: usize) -> Redis {
        self.max_clients = most;
        self
    }

    /// Begins as a replica, until CONFIG REWRITE has written something else into the data folder.
    #[must_use]
    pub fn replica_of(mut self, host: impl Into<String>, port: u16) -> Redis {
        self.replica_of = Some((host.into(), port));
        self
    }

    /// Begins as a node of a cluster, without slots.
    #[must_use]
    pub fn cluster(mut self) -> Redis {
        self.is_cluster = true;
        self
    }

    /// One line of `redis.conf`, such as `("cluster-node-timeout", "1000")`: what CONFIG SET knows.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Redis {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Calls `hook` after each write, once it is safe and before the client hears of it, with the connection's number: the
    /// place to let the machine lose its power.
    #[must_use]
    pub fn on_write(mut self, hook: impl Fn(u64) + Send + Sync + 'static) -> Redis {
        self.write_hook = Some(Arc::new(hook));
        self
    }

    /// What `tokio::sim::host` wants: starts the server on its port of the node it is called on.
    pub fn host(self) -> impl FnMut() -> HostFuture + 'static {
        move || {
            let server = self.clone();
            Box::pin(async move {
                let listener = TcpListener::bind(("0.0.0.0", server.port)).await?;
                server.serve(listener).await?;
                Ok(())
            })
        }
    }

    /// Serves on `listener`, until the future is dropped or a client says SHUTDOWN.
    ///
    /// # Errors
    /// Those of the listener and of the folder.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let port = listener.local_addr()?.port();
        let (mut config, mut master) = (self.configuration(port)?, self.replica_of);
        if let Some(folder) = &self.data_dir {
            master = config_file::read(folder, &mut config, master).await?;
        }
        let mut state = State::new(port, config, u64::from_le_bytes(seed));
        if self.is_cluster {
            state.cluster = Some(Box::new(Cluster::new(state.run_id.as_str().into(), port)));
        }
        if let Some((host, port)) = master {
            state.follow(host, port);
        }
        server::serve(listener, state, self.data_dir, self.write_hook).await
    }

    /// The configuration that the options make.
    fn configuration(&self, port: u16) -> io::Result<Config> {
        let mut config = Config::default();
        config.fix("port", port.to_string());
        config.fix("appendonly", if self.data_dir.is_some() { "yes" } else { "no" });
        config.fix("cluster-enabled", if self.is_cluster { "yes" } else { "no" });
        config.fix("appendfsync", "always");
        config.fix("maxclients", self.max_clients.to_string());
        if let Some(folder) = &self.data_dir {
            config.fix("dir", folder.display().to_string());
        }
        if let Some(password) = &self.password {
            config.fix("requirepass", password);
            config.fix("masterauth", password);
        }
        for (name, value) in &self.settings {
            config.set(name, value).map_err(|why| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("the setting {name} {value}: {why:?}"))
            })?;
        }
        Ok(config)
    }
}
