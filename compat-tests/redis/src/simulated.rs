//! Our servers on nodes of their own.
//!
//! Owns the nodes' names. Must not know clients. Invariant: what a test is given is ready, as in the real world.

use std::sync::Arc;

use shim_servers::redis::{Redis, Sentinel, create_cluster};
use tokio::sim;

use crate::{DOWN_AFTER, FAILOVER_TIMEOUT, MASTER, NODE_TIMEOUT, Node, Options, Sentinels, wait};

/// Where a server keeps its files, on its node's disk.
const DATA: &str = "/var/lib/redis";

/// A node that runs one server.
pub(crate) struct Process {
    name: String,
}

impl Process {
    pub(crate) async fn kill(&self) {
        sim::crash(&self.name);
    }

    pub(crate) async fn start(&self) {
        sim::start(&self.name);
    }
}

fn node(name: &str, port: u16, password: Option<String>) -> Node {
    let process = Arc::new(Process { name: name.to_owned() });
    Node { host: name.to_owned(), port, password, process }
}

fn redis_of(options: &Options) -> Redis {
    let mut redis = Redis::new();
    if options.append_only {
        redis = redis.data_dir(DATA);
    }
    if let Some(most) = options.max_clients {
        redis = redis.max_clients(most);
    }
    if let Some(password) = &options.password {
        redis = redis.password(password);
    }
    redis
}

/// Starts `redis` on the node `name`, and waits until it listens.
pub async fn host(name: &str, redis: Redis) -> Node {
    sim::host(name, redis.host());
    let node = node(name, 6379, None);
    wait::until_it_listens(&node).await;
    node
}

/// A server.
pub async fn server_with(options: Options) -> Option<Node> {
    let mut node = host("redis", redis_of(&options)).await;
    node.password = options.password;
    Some(node)
}

/// A master and `count` replicas that follow it, on the nodes `redis-1` and so on.
pub async fn replicated(options: Options, count: usize) -> Option<Vec<Node>> {
    let mut all = Vec::new();
    for number in 1..=count + 1 {
        let redis = redis_of(&options);
        let redis = if number > 1 { redis.replica_of("redis-1", 6379) } else { redis };
        let mut node = host(&format!("redis-{number}"), redis).await;
        node.password = options.password.clone();
        all.push(node);
    }
    wait::until_replicas_are_online(&all[0], count).await;
    Some(all)
}

/// A cluster of three masters and a replica for each, on the nodes `redis-1` to `redis-6`.
///
/// # Panics
/// Where it does not come together.
pub async fn cluster() -> Option<Vec<Node>> {
    Some(host_cluster(|_, redis| redis.data_dir(DATA)).await)
}

/// A cluster whose servers have further options.
///
/// # Panics
/// Where it does not come together.
pub async fn host_cluster(options: impl Fn(usize, Redis) -> Redis) -> Vec<Node> {
    let mut nodes = Vec::new();
    for number in 1..=6 {
        let redis = Redis::new().cluster();
        let redis = redis.config("cluster-node-timeout", NODE_TIMEOUT.as_millis().to_string());
        nodes.push(host(&format!("redis-{number}"), options(number, redis)).await);
    }
    let addresses: Vec<(String, u16)> = nodes.iter().map(|node| (node.host.clone(), node.port)).collect();
    create_cluster(&addresses, 1).await.expect("the cluster comes together");
    wait::until_cluster_is_ok(&nodes).await;
    nodes
}

/// A master with two replicas (`redis-1` to `redis-3`) and three sentinels (`sentinel-1` to `sentinel-3`), which know of each
/// other.
pub async fn sentinels_of(options: Options) -> Option<Sentinels> {
    // Servers that start again have to know their role: it is in the file that sentinels let them write.
    let options = Options { append_only: true, ..options };
    let servers = replicated(options.clone(), 2).await?;
    let mut sentinels = Vec::new();
    for number in 1..=3 {
        let name = format!("sentinel-{number}");
        let mut sentinel = Sentinel::new()
            .monitor(MASTER, "redis-1", 6379, 2)
            .down_after(DOWN_AFTER)
            .failover_timeout(FAILOVER_TIMEOUT)
            .data_dir("/var/lib/sentinel");
        if let Some(password) = &options.password {
            sentinel = sentinel.password(password);
        }
        sim::host(&name, sentinel.host());
        let node = node(&name, 26379, None);
        wait::until_it_listens(&node).await;
        sentinels.push(node);
    }
    let all = Sentinels { servers, sentinels };
    wait::until_sentinels_agree(&all).await;
    Some(all)
}
