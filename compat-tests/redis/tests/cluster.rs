//! The crate redis and a Redis cluster of three masters with a replica each, the same in both worlds.
//!
//! Owns what an application does with a cluster. Must not ask for the simulation. Invariant: what is asserted here holds
//! on the real Redis, which is the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compat_redis::{Node, cluster, connect, eventually, or_skip};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_read_routing::RandomReplicaStrategy;
use redis::{AsyncCommands, ErrorKind, RedisResult, ServerErrorKind, Value, cmd};
use tokio::time::sleep;

async fn client_of(nodes: &[Node]) -> RedisResult<ClusterConnection> {
    builder_of(nodes).build()?.get_async_connection().await
}

fn builder_of(nodes: &[Node]) -> redis::cluster::ClusterClientBuilder {
    ClusterClient::builder(nodes.iter().map(Node::url))
        .connection_timeout(Duration::from_millis(500))
        .response_timeout(Duration::from_millis(1_000))
        .retries(4)
        .min_retry_wait(20)
        .max_retry_wait(300)
}

/// One line of CLUSTER NODES.
#[derive(Clone, Debug)]
struct Line {
    id: String,
    port: u16,
    host: String,
    flags: String,
    master: String,
    link: String,
    slots: Vec<String>,
}

async fn lines(c: &mut MultiplexedConnection) -> RedisResult<Vec<Line>> {
    let text: String = cmd("CLUSTER").arg("NODES").query_async(c).await?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (address, bus) = words[1].split_once('@').expect("an address with the bus' port");
        let (host, port) = address.rsplit_once(':').expect("host and port");
        let port: u16 = port.parse().expect("a port");
        assert_eq!(bus.split(',').next(), Some((port + 10_000).to_string().as_str()));
        Line {
            id: words[0].to_owned(),
            host: host.to_owned(),
            port,
            flags: words[2].to_owned(),
            master: words[3].to_owned(),
            link: words[7].to_owned(),
            slots: words[8..].iter().map(|word| (*word).to_owned()).collect(),
        }
    };
    Ok(text.lines().map(line).collect())
}

async fn slot_of(c: &mut MultiplexedConnection, key: &str) -> RedisResult<u16> {
    cmd("CLUSTER").arg("KEYSLOT").arg(key).query_async(c).await
}

/// The node that says of itself that it serves `slot`, and its id.
async fn owner(nodes: &[Node], slot: u16) -> RedisResult<(usize, String)> {
    for (index, node) in nodes.iter().enumerate() {
        let Ok(mut c) = connect(node).await else { continue };
        let lines = lines(&mut c).await?;
        let own = lines.iter().find(|line| line.flags.contains("myself")).expect("itself");
        let holds = |range: &String| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bound = |text: &str| text.parse::<u16>().ok();
            matches!((bound(first), bound(last)), (Some(first), Some(last)) if (first..=last).contains(&slot))
        };
        if own.flags.contains("master") && own.slots.iter().any(holds) {
            return Ok((index, own.id.clone()));
        }
    }
    panic!("nobody serves slot {slot}");
}

#[tokio::test]
async fn keys_are_routed_by_their_slots() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let mut c = client_of(&nodes).await?;
    for i in 0..50 {
        let () = c.set(format!("key:{i}"), i).await?;
    }
    for i in 0..50 {
        assert_eq!(c.get::<_, i64>(format!("key:{i}")).await?, i);
    }
    let values: Vec<i64> = c.mget((0..50).map(|i| format!("key:{i}")).collect::<Vec<_>>()).await?;
    assert_eq!(values, (0..50).collect::<Vec<_>>());
    let (first, second): (i64, i64) =
        redis::pipe().incr("{tag}a", 1).incr("{tag}b", 2).query_async(&mut c).await?;
    assert_eq!((first, second), (1, 2));
    let (both,): (Vec<i64>,) = redis::pipe().atomic().mget(&["{tag}a", "{tag}b"]).query_async(&mut c).await?;
    assert_eq!(both, [1, 2]);
    let total: i64 = cmd("DBSIZE").query_async(&mut c).await?;
    assert_eq!(total, 52);
    // Each key is where its slot is, and nowhere else.
    let mut held = 0;
    for node in &nodes {
        let mut direct = connect(node).await?;
        let own = lines(&mut direct).await?.into_iter().find(|line| line.flags.contains("myself"));
        if own.expect("itself").flags.contains("master") {
            held += cmd("DBSIZE").query_async::<usize>(&mut direct).await?;
        }
    }
    assert_eq!(held, 52);
    Ok(())
}

#[tokio::test]
async fn what_a_node_says_of_keys_that_are_not_its_own() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let mut c = connect(&nodes[0]).await?;
    assert_eq!(slot_of(&mut c, "123456789").await?, 12_739);
    assert_eq!(slot_of(&mut c, "a{foo}b").await?, slot_of(&mut c, "foo").await?);
    assert_eq!(slot_of(&mut c, "foo{}{bar}").await?, 8_363);
    let (index, _) = owner(&nodes, slot_of(&mut c, "foo").await?).await?;
    let (other, _) = owner(&nodes, slot_of(&mut c, "hello").await?).await?;
    assert_ne!(index, other);
    let mut c = connect(&nodes[other]).await?;
    let moved: RedisResult<()> = c.set("foo", 1).await;
    let moved = moved.expect_err("it is elsewhere");
    assert_eq!(moved.kind(), ErrorKind::Server(ServerErrorKind::Moved));
    let (address, slot) = moved.redirect_node().expect("it says where");
    let mut direct = connect(&nodes[index]).await?;
    let own =
        lines(&mut direct).await?.into_iter().find(|line| line.flags.contains("myself")).expect("itself");
    assert_eq!((address, slot), (format!("{}:{}", own.host, own.port).as_str(), 12_182));
    let crossed: RedisResult<()> = c.mset(&[("hello", 1), ("foo", 2)]).await;
    let crossed = crossed.expect_err("two slots");
    assert_eq!(crossed.kind(), ErrorKind::Server(ServerErrorKind::CrossSlot));
    assert_eq!(crossed.detail(), Some("Keys in request don't hash to the same slot"));
    let selected: RedisResult<()> = cmd("SELECT").arg(1).query_async(&mut c).await;
    assert_eq!(selected.expect_err("one database").detail(), Some("SELECT is not allowed in cluster mode"));
    // A replica sends writers to its master, and serves readers who ask for it.
    let all = lines(&mut c).await?;
    let replica = all.iter().find(|line| line.master == own.id).expect("a replica");
    let node = nodes.iter().position(|node| node.port == replica.port && is_at(node, &nodes, replica));
    let () = direct.set("foo", "bar").await?;
    let reached: usize = cmd("WAIT").arg(1).arg(2_000).query_async(&mut direct).await?;
    assert_eq!(reached, 1);
    if let Some(node) = node {
        let mut c = connect(&nodes[node]).await?;
        let refused: RedisResult<String> = c.get("foo").await;
        assert_eq!(refused.expect_err("not a master").kind(), ErrorKind::Server(ServerErrorKind::Moved));
        let () = cmd("READONLY").query_async(&mut c).await?;
        assert_eq!(c.get::<_, String>("foo").await?, "bar");
        let refused: RedisResult<()> = c.set("foo", 1).await;
        assert_eq!(refused.expect_err("not a master").kind(), ErrorKind::Server(ServerErrorKind::Moved));
    }
    Ok(())
}

/// Whether `line` is `node`'s: by its port where ports differ, else by what the name leads to.
fn is_at(node: &Node, nodes: &[Node], line: &Line) -> bool {
    let ports: BTreeSet<u16> = nodes.iter().map(|node| node.port).collect();
    if ports.len() == nodes.len() {
        return node.port == line.port;
    }
    use std::net::ToSocketAddrs;
    let mut addresses = node.address().to_socket_addrs().into_iter().flatten();
    addresses.any(|address| address.ip().to_string() == line.host)
}

#[tokio::test]
async fn descriptions_of_the_cluster_agree() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let mut c = connect(&nodes[0]).await?;
    let all = lines(&mut c).await?;
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|line| line.link == "connected"), "{all:?}");
    let masters: Vec<&Line> = all.iter().filter(|line| line.flags.contains("master")).collect();
    assert_eq!(masters.len(), 3);
    assert!(masters.iter().all(|line| line.slots.len() == 1 && line.master == "-"), "{masters:?}");
    let my_id: String = cmd("CLUSTER").arg("MYID").query_async(&mut c).await?;
    assert_eq!(all.iter().find(|line| line.flags.starts_with("myself,")).map(|line| &line.id), Some(&my_id));
    type Described = (u16, u16, Value, Value);
    let slots: Vec<Described> = cmd("CLUSTER").arg("SLOTS").query_async(&mut c).await?;
    let covered: usize = slots.iter().map(|(first, last, ..)| usize::from(last - first) + 1).sum();
    assert_eq!((slots.len(), covered), (3, 16_384));
    for (first, last, master, replica) in &slots {
        let (host, port, id): (String, u16, String) = redis::from_redis_value_ref(&first_three(master))?;
        let line = masters.iter().find(|line| line.id == id).expect("it is in both");
        assert_eq!((&line.host, line.port), (&host, port));
        assert_eq!(line.slots, [format!("{first}-{last}")]);
        let (_, _, id): (String, u16, String) = redis::from_redis_value_ref(&first_three(replica))?;
        let replica = all.iter().find(|line| line.id == id).expect("it is in both");
        assert_eq!(replica.master, line.id);
    }
    // A replica is not online before its master has sent it anything.
    let mut client = client_of(&nodes).await?;
    for i in 0..30 {
        let () = client.set(format!("key:{i}"), i).await?;
    }
    let online = || async {
        let mut c = connect(&nodes[0]).await.ok()?;
        let shards: Vec<BTreeMap<String, Value>> =
            cmd("CLUSTER").arg("SHARDS").query_async(&mut c).await.ok()?;
        assert_eq!(shards.len(), 3);
        for shard in &shards {
            let nodes: Vec<BTreeMap<String, Value>> = redis::from_redis_value_ref(&shard["nodes"]).ok()?;
            let is_online =
                |node: &BTreeMap<String, Value>| node["health"] == Value::BulkString(b"online".to_vec());
            if nodes.len() != 2 || !nodes.iter().all(is_online) {
                return None;
            }
        }
        Some(())
    };
    eventually("all are online", online).await;
    let info = compat_redis::info(&nodes[0], "cluster info").await?;
    let field = |name: &str| info[name].as_str();
    assert_eq!(
        (field("cluster_slots_ok"), field("cluster_known_nodes"), field("cluster_size")),
        ("16384", "6", "3")
    );
    Ok(())
}

/// Newer servers describe a node by more than address and id.
fn first_three(node: &Value) -> Value {
    match node {
        Value::Array(parts) => Value::Array(parts[..3].to_vec()),
        other => other.clone(),
    }
}

#[tokio::test]
async fn a_slot_moves_while_it_is_used() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let mut c = client_of(&nodes).await?;
    let mut any = connect(&nodes[0]).await?;
    let slot = slot_of(&mut any, "foo").await?;
    let (from, from_id) = owner(&nodes, slot).await?;
    let (to, to_id) = owner(&nodes, slot_of(&mut any, "hello").await?).await?;
    let (mut source, mut target) = (connect(&nodes[from]).await?, connect(&nodes[to]).await?);
    let () = c.set("{foo}1", 1).await?;
    let () = c.set("{foo}2", 2).await?;
    let set_slot =
        |state: &str, id: &str| cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(state).arg(id).to_owned();
    let () = set_slot("IMPORTING", &from_id).query_async(&mut target).await?;
    let () = set_slot("MIGRATING", &to_id).query_async(&mut source).await?;
    // What is not there any more has to be asked for at the target, what is there is served.
    assert_eq!(source.get::<_, i64>("{foo}1").await?, 1);
    let asked: RedisResult<i64> = source.get("{foo}new").await;
    assert_eq!(asked.expect_err("elsewhere").kind(), ErrorKind::Server(ServerErrorKind::Ask));
    let moved: RedisResult<i64> = target.get("{foo}new").await;
    assert_eq!(moved.expect_err("not asked for").kind(), ErrorKind::Server(ServerErrorKind::Moved));
    let () = c.set("{foo}new", 3).await?;
    let () = cmd("ASKING").query_async(&mut target).await?;
    assert_eq!(target.get::<_, i64>("{foo}new").await?, 3);
    let again: RedisResult<Vec<i64>> = source.mget(&["{foo}1", "{foo}new"]).await;
    assert_eq!(again.expect_err("half of it").kind(), ErrorKind::Server(ServerErrorKind::TryAgain));
    let keys: Vec<String> =
        cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(10).query_async(&mut source).await?;
    assert_eq!(keys.len(), 2);
    let host_of_target =
        lines(&mut target).await?.into_iter().find(|line| line.id == to_id).expect("itself").host;
    let mut migrate = cmd("MIGRATE");
    migrate.arg(host_of_target).arg(nodes[to].port).arg("").arg(0).arg(2_000).arg("KEYS").arg(&keys);
    let migrated: String = migrate.query_async(&mut source).await?;
    assert_eq!(migrated, "OK");
    assert_eq!(c.get::<_, i64>("{foo}1").await?, 1, "the client asks at the target");
    for connection in [&mut target, &mut source] {
        let () = set_slot("NODE", &to_id).query_async(connection).await?;
    }
    assert_eq!(c.get::<_, i64>("{foo}2").await?, 2, "the client learns that it moved");
    assert_eq!(owner(&nodes, slot).await?.0, to);
    let count: usize = cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot).query_async(&mut target).await?;
    assert_eq!(count, 3);
    let everybody = || async {
        for node in &nodes {
            let mut c = connect(node).await.ok()?;
            let moved: RedisResult<i64> = c.get("{foo}1").await;
            match moved {
                Ok(value) => assert_eq!(value, 1),
                Err(error)
                    if error
                        .redirect_node()
                        .is_some_and(|(address, _)| address.ends_with(&format!(":{}", nodes[to].port))) => {}
                Err(_) => return None,
            }
        }
        Some(())
    };
    eventually("all nodes know it", everybody).await;
    Ok(())
}

#[tokio::test]
async fn a_replica_takes_the_place_of_a_master_that_died() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let mut c = client_of(&nodes).await?;
    for i in 0..30 {
        let () = c.set(format!("key:{i}"), i).await?;
    }
    let mut any = connect(&nodes[0]).await?;
    let slot = slot_of(&mut any, "key:1").await?;
    let (dead, _) = owner(&nodes, slot).await?;
    let mut master = connect(&nodes[dead]).await?;
    let reached: usize = cmd("WAIT").arg(1).arg(2_000).query_async(&mut master).await?;
    assert_eq!(reached, 1);
    nodes[dead].kill().await;
    let written = || {
        let mut c = c.clone();
        async move { c.set::<_, _, ()>("key:1", "after").await.ok() }
    };
    eventually("the key can be written again", written).await;
    for i in 2..30 {
        let value = || {
            let mut c = c.clone();
            async move { c.get::<_, i64>(format!("key:{i}")).await.ok() }
        };
        assert_eq!(eventually("the key can be read", value).await, i);
    }
    // Who comes back follows the new master.
    nodes[dead].start().await;
    let follows = || async {
        let fields = compat_redis::info(&nodes[dead], "replication").await.ok()?;
        (fields["role"] == "slave" && fields["master_link_status"] == "up").then_some(())
    };
    eventually("the old master follows", follows).await;
    compat_redis::until_cluster_is_ok(&nodes).await;
    assert_eq!(c.get::<_, String>("key:1").await?, "after");
    Ok(())
}

#[tokio::test]
async fn a_manual_failover_loses_nothing() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let c = client_of(&nodes).await?;
    let mut any = connect(&nodes[0]).await?;
    let slot = slot_of(&mut any, "counter").await?;
    let (old, old_id) = owner(&nodes, slot).await?;
    let line = lines(&mut any).await?.into_iter().find(|line| line.master == old_id).expect("a replica");
    let replica = nodes.iter().find(|node| is_at(node, &nodes, &line)).expect("it is one of ours");
    let counting = tokio::spawn({
        let mut c = c.clone();
        async move {
            let mut counted = 0;
            while counted < 200 {
                counted += i64::from(c.incr::<_, _, i64>("counter", 1).await.is_ok());
                sleep(Duration::from_millis(5)).await;
            }
            counted
        }
    });
    sleep(Duration::from_millis(100)).await;
    let () = cmd("CLUSTER").arg("FAILOVER").query_async(&mut connect(replica).await?).await?;
    let taken = || async { (owner(&nodes, slot).await.ok()?.0 != old).then_some(()) };
    eventually("the replica takes over", taken).await;
    let counted = counting.await.expect("it ends");
    let total: i64 = c.clone().get("counter").await?;
    assert!(total >= counted, "{counted} were acknowledged, {total} are there");
    Ok(())
}

#[tokio::test]
async fn readers_may_be_served_by_replicas() -> RedisResult<()> {
    let nodes = or_skip!(cluster());
    let mut writer = client_of(&nodes).await?;
    let () = writer.set("foo", "bar").await?;
    let mut any = connect(&nodes[0]).await?;
    let (index, _) = owner(&nodes, slot_of(&mut any, "foo").await?).await?;
    let reached: usize =
        cmd("WAIT").arg(1).arg(2_000).query_async(&mut connect(&nodes[index]).await?).await?;
    assert_eq!(reached, 1);
    let commands = |fields: BTreeMap<String, String>| fields["cmdstat_get"].to_owned();
    let mut reader = builder_of(&nodes)
        .read_routing_strategy(RandomReplicaStrategy)
        .build()?
        .get_async_connection()
        .await?;
    for _ in 0..10 {
        assert_eq!(reader.get::<_, String>("foo").await?, "bar");
    }
    // The master has answered none of them.
    let fields = compat_redis::info(&nodes[index], "commandstats").await?;
    assert!(!fields.contains_key("cmdstat_get"), "{}", commands(fields));
    Ok(())
}
