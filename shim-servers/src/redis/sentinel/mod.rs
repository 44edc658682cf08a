//! A sentinel, word for word as Redis 7.0's in what servers, other sentinels and clients see.
//!
//! Owns [`Sentinel`]: options, the start. Must not know how servers replicate: it speaks to them as any client does.
//! Invariant: a vote, and a configuration that clients were told, are on the disk where it has a folder.
//!
//! # What it does not do
//! Scripts (`notification-script`, `client-reconfig-script`), `rename-command`, TLS, ACLs beside the default user, host names in
//! `SENTINEL MONITOR` and in what clients are told, `SENTINEL SIMULATE-FAILURE`, `SENTINEL HELP`, `COMMAND DOCS`,
//! `master-reboot-down-after-period`: each is refused with an error.
//! Connections to a sentinel that watches several of the same masters are not shared (`link-refcount` is 1).

mod clients;
mod commands;
mod election;
mod failover;
mod file;
mod hello;
mod info;
mod links;
mod replies;
mod report;
mod server;
mod settings;
mod state;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};

use super::HostFuture;
use file::File;
use server::Server;
use state::{Master, Millis, Shared, State};

/// What the sentinel says that it is.
const VERSION: &str = "7.0.15";

/// How often, a second apart, a name is looked up that is not known yet.
const LOOKUPS: usize = 10;

/// A master to be watched.
#[derive(Clone, Debug)]
struct Watched {
    name: String,
    host: String,
    port: u16,
    quorum: usize,
}

/// A sentinel that is about to be started.
///
/// # Examples
/// ```ignore
/// for node in ["s1", "s2", "s3"] {
///     let sentinel = Sentinel::new().monitor("mymaster", "redis-1", 6379, 2).down_after(Duration::from_secs(1));
///     tokio::sim::host(node, sentinel.host());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Sentinel {
    port: u16,
    watched: Vec<Watched>,
    down_after: Duration,
    failover_timeout: Duration,
    parallel_syncs: usize,
    password: Option<String>,
    own_password: Option<String>,
    data_dir: Option<PathBuf>,
}

impl Default for Sentinel {
    fn default() -> Sentinel {
        Sentinel::new()
    }
}

impl Sentinel {
    /// A sentinel on port 26379 that watches nobody, with Redis's own times: a server is down after 30 s, a failover may take
    /// 180 s.
    pub fn new() -> Sentinel {
        Sentinel {
            port: 26379,
            watched: Vec::new(),
            down_after: Duration::from_secs(30),
            failover_timeout: Duration::from_secs(180),
            parallel_syncs: 1,
            password: None,
            own_password: None,
            data_dir: None,
        }
    }

    /// Another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Sentinel {
        self.port = port;
        self
    }

    /// Watches the master at `host` under `name`: it is down when `quorum` sentinels say so. The host is looked up when the
    /// sentinel starts.
    ///
    /// # Panics
    /// Where the quorum is 0, or the name is taken.
    #[must_use]
    pub fn monitor(
        mut self,
        name: impl Into<String>,
        host: impl Into<String>,
        port: u16,
        quorum: usize,
    ) -> Sentinel {
        let name = name.into();
        assert!(quorum > 0, "a quorum is at least one");
        assert!(self.watched.iter().all(|watched| watched.name != name), "{name} is watched already");
        self.watched.push(Watched { name, host: host.into(), port, quorum });
        self
    }

    /// How long a server may be silent before this sentinel holds it for down, to the millisecond.
    #[must_use]
    pub fn down_after(mut self, limit: Duration) -> Sentinel {
        self.down_after = limit;
        self
    }

    /// How long each part of a failover may take, and half of how long nobody tries again, to the millisecond.
    #[must_use]
    pub fn failover_timeout(mut self, limit: Duration) -> Sentinel {
        self.failover_timeout = limit;
        self
    }

    /// How many replicas are told at a time to follow a new master.
    #[must_use]
    pub fn parallel_syncs(mut self, count: usize) -> Sentinel {
        self.parallel_syncs = count;
        self
    }

    /// What the servers ask for: `auth-pass` of each master.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Sentinel {
        self.password = Some(password.into());
        self
    }

    /// What this sentinel asks its clients for, and tells other sentinels: `requirepass`, and `sentinel-pass`.
    #[must_use]
    pub fn require_password(mut self, password: impl Into<String>) -> Sentinel {
        self.own_password = Some(password.into());
        self
    }

    /// Keeps its id, its votes and what it knows in this folder. Without one a sentinel that starts again is another one.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Sentinel {
        self.data_dir = Some(folder.into());
        self
    }

    /// What `tokio::sim::host` wants: starts the sentinel on its port of the node it is called on.
    pub fn host(self) -> impl FnMut() -> HostFuture + 'static {
        move || {
            let sentinel = self.clone();
            Box::pin(async move {
                let listener = TcpListener::bind(("0.0.0.0", sentinel.port)).await?;
                sentinel.serve(listener).await?;
                Ok(())
            })
        }
    }

    /// Serves on `listener`, until the future is dropped or a client says SHUTDOWN.
    ///
    /// # Errors
    /// Those of the listener and of the folder; those of the names of masters, once they were looked up ten times.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let mut state = State {
            masters: BTreeMap::new(),
            shared: Shared::new(random_id(), listener.local_addr()?.port()),
        };
        state.shared.sentinel_password = self.own_password.clone();
        let file = self.data_dir.clone().map(|folder| File { folder });
        if let Some(file) = &file
            && let Some(text) = file.read().await?
        {
            file::load(&mut state, &text)?;
        }
        for watched in &self.watched {
            if !state.masters.contains_key(&watched.name) {
                let address = address_of(&watched.host, watched.port).await?;
                state.shared.names.insert(watched.host.to_ascii_lowercase(), address.ip());
                let master = Master::new(watched.name.clone(), address, watched.quorum, &state.shared);
                settings::add(&mut state, self.with_options(master));
            }
        }
        state.shared.is_dirty = true;
        Server::run(state, file, self.own_password, listener).await
    }

    fn with_options(&self, mut master: Master) -> Master {
        master.down_after_ms = self.down_after.as_millis() as Millis;
        master.failover_timeout_ms = self.failover_timeout.as_millis() as Millis;
        master.parallel_syncs = self.parallel_syncs;
        master.auth_password = self.password.clone();
        master
    }
}

/// The first address of a host, of the fourth version of the protocol if there is one.
async fn address_of(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..LOOKUPS {
        match lookup_host((host, port)).await {
            Ok(addresses) => {
                let mut all: Vec<SocketAddr> = addresses.collect();
                all.sort_by_key(SocketAddr::is_ipv6);
                match all.first() {
                    Some(address) => return Ok(*address),
                    None => last = io::ErrorKind::NotFound.into(),
                }
            }
            Err(error) => last = error,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Err(last)
}

/// Forty hexadecimal digits, as Redis names servers and sentinels.
fn random_id() -> String {
    (0..5).map(|_| format!("{:08x}", random_u32())).collect()
}

/// A random number of the machine.
///
/// # Panics
/// Where the machine has none.
fn random_u32() -> u32 {
    getrandom::u32().expect("the machine has random numbers")
}
