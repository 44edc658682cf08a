//! Waiting until servers are what a test wants.
//!
//! Owns the conditions. Must not know how servers are started. Invariant: each wait ends, by success or by a panic that says
//! what was not reached.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult, Value};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::{MASTER, Node, Sentinels};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// Where there is none within a minute, with `what`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        // One question may hang for as long as its connection does.
        if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(5), ask()).await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "it was not reached that {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) async fn until_it_listens(node: &Node) {
    let address = (node.host.as_str(), node.port);
    let ask = || async move { TcpStream::connect(address).await.ok() };
    drop(eventually(&format!("{} listens", node.address()), ask).await);
}

/// A connection of its own, with short time-outs.
///
/// # Errors
/// Those of the client.
pub async fn connect(node: &Node) -> RedisResult<MultiplexedConnection> {
    let limit = Some(Duration::from_secs(2));
    let config = AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
    Client::open(node.url())?.get_multiplexed_async_connection_with_config(&config).await
}

/// Asks one question on a connection of its own.
///
/// # Errors
/// Those of the client.
///
/// # Panics
/// Where there is no word.
pub async fn ask<T: FromRedisValue>(node: &Node, words: &[&str]) -> RedisResult<T> {
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| _ = command.arg(*word));
    command.query_async(&mut connect(node).await?).await
}

/// The address of the master that a sentinel names.
///
/// # Errors
/// Those of the client.
pub async fn master_of(sentinel: &Node) -> RedisResult<(String, u16)> {
    ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await
}

/// A section of INFO (of CLUSTER INFO where it is called `cluster info`), as fields.
///
/// # Errors
/// Those of the client.
pub async fn info(node: &Node, section: &str) -> RedisResult<BTreeMap<String, String>> {
    let text: String = match section {
        "cluster info" => ask(node, &["CLUSTER", "INFO"]).await?,
        section => ask(node, &["INFO", section]).await?,
    };
    let fields = text.lines().filter_map(|line| line.trim_end().split_once(':'));
    Ok(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Waits until `master` has `count` replicas that follow its stream.
///
/// # Panics
/// Where they do not within a minute.
pub async fn until_replicas_are_online(master: &Node, count: usize) {
    let what = format!("{} has {count} replicas", master.address());
    eventually(&what, || async move {
        let fields = info(master, "replication").await.ok()?;
        let online = fields.iter().filter(|(name, value)| {
            let is_replica = name.starts_with("slave") && value.starts_with("ip=");
            is_replica && value.contains("state=online")
        });
        (online.count() >= count).then_some(())
    })
    .await;
}

/// Waits until each of `nodes` says that all slots are covered, knows all nodes with their parts, and is in step with its
/// master, where it has one.
///
/// # Panics
/// Where they do not within a minute.
pub async fn until_cluster_is_ok(nodes: &[Node]) {
    for node in nodes {
        let what = format!("{} finds the cluster in order", node.address());
        eventually(&what, || async move {
            let fields = info(node, "cluster info").await.ok()?;
            let replication = info(node, "replication").await.ok()?;
            let in_step =
                replication.get("role")? == "master" || replication.get("master_link_status")? == "up";
            let is_ok = fields.get("cluster_state")? == "ok" && in_step;
            (is_ok && serving(node).await.ok()?.len() == nodes.len()).then_some(())
        })
        .await;
    }
}

/// The ids of all nodes that serve slots, as `node` sees it.
async fn serving(node: &Node) -> RedisResult<BTreeSet<String>> {
    let ranges: Vec<Vec<Value>> = ask(node, &["CLUSTER", "SLOTS"]).await?;
    let nodes = ranges.into_iter().flat_map(|range| range.into_iter().skip(2));
    let id = |node: Value| match node {
        Value::Array(parts) => redis::from_redis_value(parts.into_iter().nth(2).unwrap_or(Value::Nil)),
        other => redis::from_redis_value(other),
    };
    nodes.map(|node| Ok(id(node)?)).collect()
}

/// Waits until each sentinel knows the master's replicas and the other sentinels.
///
/// # Panics
/// Where they do not within a minute.
pub async fn until_sentinels_agree(all: &Sentinels) {
    let (replicas, others) = (all.servers.len() - 1, all.sentinels.len() - 1);
    for sentinel in &all.sentinels {
        let what = format!(
            "{} knows of {replicas} replicas that follow, and of {others} sentinels",
            sentinel.address()
        );
        eventually(&what, || async move {
            let master: BTreeMap<String, String> =
                ask(sentinel, &["SENTINEL", "MASTER", MASTER]).await.ok()?;
            let number = |name: &str| master.get(name).and_then(|value| value.parse::<usize>().ok());
            let all = number("num-slaves")? == replicas && number("num-other-sentinels")? == others;
            let is_up = all && master.get("flags")? == "master";
            // Each replica has said whom it follows.
            let known: Vec<BTreeMap<String, String>> =
                ask(sentinel, &["SENTINEL", "REPLICAS", MASTER]).await.ok()?;
            let follows = |replica: &BTreeMap<String, String>| {
                replica["flags"] == "slave" && replica["master-link-status"] == "ok"
            };
            (is_up && known.iter().all(follows)).then_some(())
        })
        .await;
    }
}
