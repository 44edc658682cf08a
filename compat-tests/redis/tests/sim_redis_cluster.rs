//! A Redis cluster and the crate redis on machines that fail.
//!
//! Owns faults of the cluster's nodes. Must not know how they agree. Invariant: once all machines run and reach each other,
//! all nodes give the same description of the cluster.
#![cfg(sim)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compat_redis::{NODE_TIMEOUT, Node, cluster, connect, eventually, info, until_cluster_is_ok};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncCommands, ErrorKind, RedisResult, ServerErrorKind, Value, cmd, pipe};
use tokio::sim;
use tokio::time::sleep;

const NODES: [&str; 6] = ["redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6"];

async fn client_of(nodes: &[Node]) -> ClusterConnection {
    let client = ClusterClient::builder(nodes.iter().map(Node::url))
        .connection_timeout(Duration::from_millis(300))
        .response_timeout(Duration::from_millis(500))
        .retries(3)
        .min_retry_wait(20)
        .max_retry_wait(200)
        // A question without an answer is asked again on the same connection: only its end makes the client look elsewhere.
        .tcp_settings(TcpSettings::default().set_user_timeout(Duration::from_millis(1_500)))
        .build()
        .expect("well-formed urls");
    client.get_async_connection().await.expect("it connects")
}

/// Who serves which slots, in the words of one node: first and last slot, address of the master.
async fn described(node: &Node) -> Option<BTreeSet<(u16, u16, String)>> {
    let mut c = connect(node).await.ok()?;
    let ranges: Vec<Vec<Value>> = cmd("CLUSTER").arg("SLOTS").query_async(&mut c).await.ok()?;
    let range = |range: Vec<Value>| {
        let [first, last, Value::Array(master), ..] = &range[..] else { return None };
        let bound = |value| redis::from_redis_value_ref::<u16>(value).ok();
        let address = redis::from_redis_value_ref::<String>(&master[0]).ok()?;
        Some((bound(first)?, bound(last)?, address))
    };
    ranges.into_iter().map(range).collect()
}

/// Waits until all is well, and all nodes say the same.
async fn until_in_order(nodes: &[Node]) {
    until_cluster_is_ok(nodes).await;
    let same = || async {
        let mut all = BTreeSet::new();
        for node in nodes {
            all.insert(described(node).await?);
        }
        let covered = |ranges: &BTreeSet<(u16, u16, String)>| {
            ranges.iter().map(|(first, last, _)| usize::from(last - first) + 1).sum::<usize>()
        };
        (all.len() == 1 && all.iter().all(|ranges| covered(ranges) == 16_384)).then_some(())
    };
    eventually("all nodes say the same", same).await;
}

/// The node that serves the slot of `key`, in the words of `asked`.
async fn owner(nodes: &[Node], asked: usize, key: &str) -> Option<usize> {
    let mut c = connect(&nodes[asked]).await.ok()?;
    let slot: u16 = cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(&mut c).await.ok()?;
    let ranges = described(&nodes[asked]).await?;
    let (.., address) = ranges.into_iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
    NODES.iter().position(|name| sim::addresses(name).iter().any(|ip| ip.to_string() == address))
}

/// Cuts one node off from all other nodes; the test still reaches it.
fn isolate(one: usize) {
    for (other, name) in NODES.iter().enumerate() {
        if other != one {
            sim::partition(NODES[one], *name);
        }
    }
}

fn calm() {
    sim::heal();
    for name in NODES {
        sim::resume(name);
        if !sim::is_running(name) {
            sim::start(name);
        }
    }
}

async fn write(c: &ClusterConnection, key: &str, value: i64) {
    let written = || {
        let mut c = c.clone();
        async move { c.set::<_, _, ()>(key, value).await.ok() }
    };
    eventually("the cluster takes a write", written).await;
}

/// Adds one at the master, and says the sum once a replica has it.
async fn count(c: &mut MultiplexedConnection) -> RedisResult<Option<i64>> {
    let (sum, reached): (i64, usize) =
        pipe().incr("counter", 1).cmd("WAIT").arg(1).arg(300).query_async(c).await?;
    Ok((reached > 0).then_some(sum))
}

#[tokio::test]
async fn a_master_in_a_minority_stops_taking_writes() {
    let nodes = cluster().await.expect("a simulation has servers");
    let old = owner(&nodes, 0, "counter").await.expect("somebody serves it");
    let mut direct = connect(&nodes[old]).await.expect("it connects");
    let before = count(&mut direct).await.expect("it is written").expect("a replica has it");
    isolate(old);
    let cut = sim::elapsed();
    // For a while it does not know. What it takes now is lost: Redis promises no more.
    let refused = loop {
        match direct.incr::<_, _, i64>("counter", 1).await {
            Ok(_) => sleep(Duration::from_millis(50)).await,
            Err(error) => break error,
        }
        assert!(sim::elapsed() - cut < NODE_TIMEOUT * 3, "it still takes writes");
    };
    assert_eq!(refused.kind(), ErrorKind::Server(ServerErrorKind::ClusterDown), "{refused}");
    assert_eq!(refused.detail(), Some("The cluster is down"));
    let asked = (old + 1) % 6;
    let replaced = || async { owner(&nodes, asked, "counter").await.filter(|new| *new != old) };
    let new = eventually("a replica takes over", replaced).await;
    let mut direct = connect(&nodes[new]).await.expect("it connects");
    let kept: i64 = direct.get("counter").await.expect("it answers");
    assert!(kept >= before, "{before} had reached the replica, {kept} is there");
    // A client that hears of the cluster by the node in the minority goes on asking it: so this one is told of the others.
    let others: Vec<Node> =
        nodes.iter().enumerate().filter(|(index, _)| *index != old).map(|(_, node)| node.clone()).collect();
    let c = client_of(&others).await;
    write(&c, "counter", 1_000).await;
    sim::heal();
    until_in_order(&nodes).await;
    assert_eq!(info(&nodes[old], "replication").await.expect("it answers")["role"], "slave");
    let value: i64 = c.clone().get("counter").await.expect("it answers");
    assert_eq!(value, 1_000, "what the majority wrote stays");
}

#[tokio::test]
async fn what_a_replica_has_survives_the_power_loss_of_its_master() {
    let nodes = cluster().await.expect("a simulation has servers");
    let c = client_of(&nodes).await;
    let old = owner(&nodes, 0, "counter").await.expect("somebody serves it");
    let mut direct = connect(&nodes[old]).await.expect("it connects");
    let lost = sim::elapsed() + Duration::from_millis(sim::random_in(0..600));
    let mut safe = 0;
    let power = tokio::spawn(async move {
        sleep(lost.saturating_sub(sim::elapsed())).await;
        sim::power_off(NODES[old]);
    });
    while let Ok(reached) = count(&mut direct).await {
        safe = reached.unwrap_or(safe);
    }
    power.await.expect("it ends");
    let value = || {
        let mut c = c.clone();
        async move { c.get::<_, Option<i64>>("counter").await.ok() }
    };
    let kept = eventually("somebody answers for the counter", value).await.unwrap_or(0);
    assert!(kept >= safe, "{safe} had reached the replica, {kept} is there");
    write(&c, "counter", 1_000_000).await;
    calm();
    until_in_order(&nodes).await;
    assert_eq!(c.clone().get::<_, i64>("counter").await.expect("it answers"), 1_000_000);
}

#[tokio::test]
async fn all_machines_lose_power_at_once() {
    let nodes = cluster().await.expect("a simulation has servers");
    let mut c = client_of(&nodes).await;
    let mut acknowledged = BTreeMap::new();
    for i in 0..sim::random_in(20..120) {
        let key = format!("key:{i}");
        c.set::<_, _, ()>(&key, i).await.expect("it is written");
        acknowledged.insert(key, i);
    }
    for name in NODES {
        sim::power_off(name);
    }
    sleep(Duration::from_secs(3)).await;
    for name in NODES {
        sim::start(name);
        sleep(Duration::from_millis(sim::random_in(0..300))).await;
    }
    until_in_order(&nodes).await;
    for (key, value) in acknowledged {
        let found = || {
            let (mut c, key) = (c.clone(), key.clone());
            async move { c.get::<_, Option<u64>>(key).await.ok() }
        };
        assert_eq!(eventually("the cluster answers", found).await, Some(value), "{key} was acknowledged");
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_cover_all_slots_is_down() {
    let nodes = cluster().await.expect("a simulation has servers");
    let all: Vec<usize> = vec![0, 1, 2, 3, 4, 5];
    let master = owner(&nodes, 0, "counter").await.expect("somebody serves it");
    let address = sim::addresses(NODES[master])[0].to_string();
    let mut replicas = Vec::new();
    for index in all.iter().filter(|index| **index != master) {
        let fields = info(&nodes[*index], "replication").await.expect("it answers");
        if fields.get("master_host") == Some(&address) {
            replicas.push(*index);
        }
    }
    assert_eq!(replicas.len(), 1);
    sim::power_off(NODES[master]);
    sim::power_off(NODES[replicas[0]]);
    let asked = all.iter().find(|index| **index != master && **index != replicas[0]).expect("four are left");
    let down = || async {
        let fields = info(&nodes[*asked], "cluster info").await.ok()?;
        (fields["cluster_state"] == "fail").then_some(())
    };
    eventually("the cluster is down", down).await;
    let mut direct = connect(&nodes[*asked]).await.expect("it connects");
    for key in ["counter", "a", "b", "c"] {
        let refused = direct.get::<_, Option<i64>>(key).await.expect_err("it is down");
        assert_eq!(refused.kind(), ErrorKind::Server(ServerErrorKind::ClusterDown), "{key}: {refused}");
    }
    calm();
    until_in_order(&nodes).await;
    write(&client_of(&nodes).await, "counter", 1).await;
}

#[tokio::test]
async fn a_slot_that_moves_loses_no_key_to_a_crash() {
    let nodes = cluster().await.expect("a simulation has servers");
    let mut c = client_of(&nodes).await;
    let (from, to) =
        (owner(&nodes, 0, "foo").await.expect("one"), owner(&nodes, 0, "hello").await.expect("another"));
    assert_ne!(from, to);
    let keys: Vec<String> = (0..60).map(|i| format!("{{foo}}{i}")).collect();
    for key in &keys {
        c.set::<_, _, ()>(key, key).await.expect("it is written");
    }
    let (mut source, mut target) =
        (connect(&nodes[from]).await.expect("it connects"), connect(&nodes[to]).await.expect("it connects"));
    let id = |c: &MultiplexedConnection| {
        let mut c = c.clone();
        async move { cmd("CLUSTER").arg("MYID").query_async::<String>(&mut c).await.expect("its id") }
    };
    let (from_id, to_id) = (id(&source).await, id(&target).await);
    let slot = 12_182;
    for (c, state, id) in [(&mut target, "IMPORTING", &from_id), (&mut source, "MIGRATING", &to_id)] {
        let _: String = cmd("CLUSTER")
            .arg("SETSLOT")
            .arg(slot)
            .arg(state)
            .arg(id)
            .query_async(c)
            .await
            .expect("it is set");
    }
    let host = sim::addresses(NODES[to])[0].to_string();
    let crash = tokio::spawn(async move {
        sleep(Duration::from_micros(sim::random_in(0..20_000))).await;
        sim::power_off(NODES[if sim::random_in(0..2) == 0 { from } else { to }]);
        sleep(Duration::from_millis(sim::random_in(10..400))).await;
        calm();
    });
    let mut moved = 0;
    for key in &keys {
        let mut migrate = cmd("MIGRATE");
        migrate.arg(&host).arg(6_379).arg(key).arg(0).arg(300);
        moved += usize::from(migrate.query_async::<String>(&mut source).await.is_ok());
    }
    crash.await.expect("it ends");
    until_cluster_is_ok(&nodes).await;
    // Each key is at the source, or at the target, or at both where an answer was lost; wherever these are by now.
    let mut found = BTreeSet::new();
    for node in &nodes {
        let mut c = connect(node).await.expect("it connects");
        let here: Vec<String> = cmd("KEYS").arg("{foo}*").query_async(&mut c).await.expect("it answers");
        found.extend(here);
    }
    assert_eq!(found, keys.into_iter().collect(), "{moved} were moved");
}

#[tokio::test]
async fn whatever_happens_the_cluster_is_whole_afterwards() {
    let nodes = cluster().await.expect("a simulation has servers");
    let c = client_of(&nodes).await;
    let faults = tokio::spawn(async {
        for _ in 0..8 {
            let (one, other) = (sim::random_in(0..6) as usize, sim::random_in(0..6) as usize);
            match sim::random_in(0..5) {
                0 => sim::power_off(NODES[one]),
                1 => sim::crash(NODES[one]),
                2 if one != other => sim::partition(NODES[one], NODES[other]),
                3 => isolate(one),
                _ => sim::pause(NODES[one]),
            }
            sleep(Duration::from_millis(sim::random_in(100..4_000))).await;
            if sim::random_in(0..2) == 0 {
                calm();
            }
        }
        calm();
    });
    let mut written = 0;
    while !faults.is_finished() {
        let mut c = c.clone();
        let attempt = c.incr::<_, _, i64>(format!("key:{}", sim::random_in(0..20)), 1);
        written +=
            usize::from(matches!(tokio::time::timeout(Duration::from_secs(2), attempt).await, Ok(Ok(_))));
        sleep(Duration::from_millis(50)).await;
    }
    faults.await.expect("it ends");
    assert!(written > 0, "nothing came through");
    until_in_order(&nodes).await;
    let c = client_of(&nodes).await;
    for i in 0..20 {
        write(&c, &format!("key:{i}"), i).await;
    }
}
