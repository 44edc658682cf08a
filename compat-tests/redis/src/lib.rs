//! Redis servers, clusters and sentinels for a test: ours on nodes of their own in simulation, real ones over loopback
//! otherwise.
//!
//! Owns starting them, stopping them, and waiting until they are what a test wants. Must not know what tests do.
//! Invariant: each test has servers of its own.

#[cfg(not(sim))]
mod real;
#[cfg(sim)]
mod simulated;
mod wait;

use std::sync::Arc;
use std::time::Duration;

#[cfg(not(sim))]
pub use real::{cluster, mixed_sentinels_of, replicated, sentinels_of, server_with};
#[cfg(sim)]
pub use simulated::{cluster, host, host_cluster, replicated, sentinels_of, server_with};
pub use wait::{
    ask, connect, eventually, info, master_of, until_cluster_is_ok, until_replicas_are_online,
    until_sentinels_agree,
};

/// The name under which sentinels know the master.
pub const MASTER: &str = "mymaster";

/// How long a sentinel waits for an answer before it holds a server for down.
pub const DOWN_AFTER: Duration = Duration::from_millis(1_000);

/// How long each part of a failover by sentinels may take.
pub const FAILOVER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a cluster's node waits for another one's answer before it holds it for down.
pub const NODE_TIMEOUT: Duration = Duration::from_millis(1_000);

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What clients have to prove themselves with.
    pub password: Option<String>,
    /// How many clients there may be.
    pub max_clients: Option<usize>,
    /// Whether writes are kept on the disk before they are answered.
    pub append_only: bool,
}

/// One server process, which a test can kill and start again.
#[derive(Clone)]
pub struct Node {
    /// Where it listens.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    password: Option<String>,
    #[cfg(not(sim))]
    process: Arc<real::Process>,
    #[cfg(sim)]
    process: Arc<simulated::Process>,
}

impl Node {
    /// The address for clients.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        format!("redis://{password}{}:{}/", self.host, self.port)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Ends the process at once; its kernel resets the connections.
    pub async fn kill(&self) {
        self.process.kill().await;
    }

    /// Starts it again, on the same port and with the same files, and waits until it listens.
    ///
    /// # Panics
    /// Where it does not listen within ten seconds.
    pub async fn start(&self) {
        self.process.start().await;
        wait::until_it_listens(self).await;
    }
}

/// A master with replicas, and sentinels that watch them.
pub struct Sentinels {
    /// The master, then its replicas.
    pub servers: Vec<Node>,
    /// The sentinels.
    pub sentinels: Vec<Node>,
}

impl Sentinels {
    /// The addresses of the sentinels.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Node::url).collect()
    }
}

/// A server with its defaults.
pub async fn server() -> Option<Node> {
    server_with(Options::default()).await
}

/// A master with two replicas and three sentinels, which know of each other.
pub async fn sentinels() -> Option<Sentinels> {
    sentinels_of(Options::default()).await
}

/// What was started; or the end of the test, with a visible line, where there is no server to be had.
#[macro_export]
macro_rules! or_skip {
    ($started:expr) => {
        match $started.await {
            Some(started) => started,
            None => return Ok(()),
        }
    };
}
