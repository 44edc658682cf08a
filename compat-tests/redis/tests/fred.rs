//! The crate fred with one server, a cluster, and sentinels, the same in both worlds.
//!
//! Owns what an application does with this client. Must not ask for the simulation. Invariant: what is asserted here holds on
//! the real Redis, which is the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compat_redis::{MASTER, Node, Options, cluster, eventually, or_skip, sentinels, server_with};
use fred::prelude::*;
use fred::types::RespVersion;
use futures_util::StreamExt;

type Outcome = Result<(), Error>;

/// A client with short time-outs that connects again for ever.
async fn client_of(mut config: Config, version: RespVersion) -> Result<Client, Error> {
    config.version = version;
    let client = Builder::from_config(config)
        .with_connection_config(|connection| {
            connection.connection_timeout = Duration::from_secs(1);
            connection.internal_command_timeout = Duration::from_secs(1);
            connection.max_command_attempts = 10;
        })
        .with_performance_config(|performance| performance.default_command_timeout = Duration::from_secs(10))
        .set_policy(ReconnectPolicy::new_constant(0, 100))
        .build()?;
    client.init().await?;
    Ok(client)
}

#[tokio::test]
async fn commands_in_both_protocols() -> Outcome {
    let password = Some("secret".to_owned());
    let node = or_skip!(server_with(Options { password, ..Options::default() }));
    for version in [RespVersion::RESP2, RespVersion::RESP3] {
        let c = client_of(Config::from_url(&node.url())?, version).await?;
        let _: () = c.flushall(false).await?;
        let _: () = c.set("a", 1, Some(Expiration::EX(100)), Some(SetOptions::NX), false).await?;
        let again: Option<String> = c.set("a", 2, None, Some(SetOptions::NX), false).await?;
        assert_eq!(again, None);
        assert_eq!(c.ttl::<i64, _>("a").await?, 100);
        assert_eq!(c.incr_by::<i64, _>("a", 41).await?, 42);
        let _: () = c.hset("h", [("f", 1), ("g", 2)]).await?;
        assert_eq!(
            c.hgetall::<BTreeMap<String, i64>, _>("h").await?,
            BTreeMap::from([("f".into(), 1), ("g".into(), 2)])
        );
        let _: () = c.zadd("z", None, None, false, false, vec![(1.5, "m"), (0.5, "n")]).await?;
        let ranked: Vec<String> = c.zrange("z", 0, -1, None, false, None, false).await?;
        assert_eq!(ranked, ["n", "m"]);
        let wrong = c.lpush::<i64, _, _>("a", 1).await.expect_err("it is a string");
        assert!(wrong.details().starts_with("WRONGTYPE"), "{wrong}");
        let pipeline = c.pipeline();
        let _: () = pipeline.incr("n").await?;
        let _: () = pipeline.incr("n").await?;
        assert_eq!(pipeline.all::<Vec<i64>>().await?, [1, 2]);
        let transaction = c.multi();
        let _: () = transaction.incr("n").await?;
        let _: () = transaction.get("a").await?;
        assert_eq!(transaction.exec::<(i64, i64)>(true).await?, (3, 42));
        let id: String = c.xadd("s", false, None, "*", ("n", 1)).await?;
        assert!(id.contains('-'));
        let mut found = BTreeSet::new();
        let mut pages = c.scan_buffered("*", Some(2), None);
        while let Some(key) = pages.next().await {
            found.insert(key?.into_string().expect("text"));
        }
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "h", "n", "s", "z"]);
        c.quit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_subscriber_keeps_its_channels_when_the_server_starts_again() -> Outcome {
    let node = or_skip!(server_with(Options::default()));
    let listener = client_of(Config::from_url(&node.url())?, RespVersion::RESP3).await?;
    let publisher = client_of(Config::from_url(&node.url())?, RespVersion::RESP2).await?;
    let mut messages = listener.message_rx();
    listener.subscribe("news").await?;
    // This client's `subscribe` is done when it is sent.
    let heard = || async { (publisher.publish::<i64, _, _>("news", "one").await.ok()? == 1).then_some(()) };
    eventually("somebody listens", heard).await;
    let message = messages.recv().await.expect("a message");
    assert_eq!(
        (message.channel.to_string(), message.value.convert::<String>()?),
        ("news".into(), "one".into())
    );
    node.kill().await;
    node.start().await;
    let heard = || async {
        // Whoever connects again has to subscribe again, in this client.
        listener.subscribe("news").await.ok()?;
        (publisher.publish::<i64, _, _>("news", "two").await.ok()? == 1).then_some(())
    };
    eventually("somebody listens again", heard).await;
    let message = messages.recv().await.expect("a message");
    assert_eq!(message.value.convert::<String>()?, "two");
    Ok(())
}

#[tokio::test]
async fn a_cluster_with_a_master_that_dies() -> Outcome {
    let nodes = or_skip!(cluster());
    let url = format!("redis-cluster://{}", nodes[0].address());
    let c = client_of(Config::from_url(&url)?, RespVersion::RESP2).await?;
    for i in 0..50 {
        let _: () = c.set(format!("key:{i}"), i, None, None, false).await?;
    }
    for i in 0..50 {
        assert_eq!(c.get::<i64, _>(format!("key:{i}")).await?, i);
    }
    let _: () = c.mset(vec![("{tag}a", 1), ("{tag}b", 2)]).await?;
    assert_eq!(c.mget::<Vec<i64>, _>(vec!["{tag}a", "{tag}b"]).await?, [1, 2]);
    let crossed = c.mget::<Vec<Option<i64>>, _>(vec!["hello", "foo"]).await.expect_err("two slots");
    assert!(crossed.to_string().contains("slot"), "{crossed}");
    let dead = master_among(&nodes).await;
    nodes[dead].kill().await;
    for i in 0..50 {
        let written = || async { c.set::<(), _, _>(format!("key:{i}"), i + 1, None, None, false).await.ok() };
        eventually("the key is written", written).await;
    }
    for i in 0..50 {
        assert_eq!(c.get::<i64, _>(format!("key:{i}")).await?, i + 1);
    }
    nodes[dead].start().await;
    compat_redis::until_cluster_is_ok(&nodes).await;
    Ok(())
}

/// A master that is not the node which the client was told of.
async fn master_among(nodes: &[Node]) -> usize {
    for (index, node) in nodes.iter().enumerate().skip(1) {
        if compat_redis::info(node, "replication").await.is_ok_and(|fields| fields["role"] == "master") {
            return index;
        }
    }
    panic!("there are three masters");
}

#[tokio::test]
async fn sentinels_with_a_master_that_dies() -> Outcome {
    let all = or_skip!(sentinels());
    let hosts: Vec<(String, u16)> =
        all.sentinels.iter().map(|sentinel| (sentinel.host.clone(), sentinel.port)).collect();
    let server = ServerConfig::new_sentinel(hosts, MASTER);
    let c = client_of(Config { server, ..Config::default() }, RespVersion::RESP2).await?;
    let _: () = c.set("a", "before", None, None, false).await?;
    assert_eq!(c.wait::<i64>(2, 2_000).await?, 2);
    all.servers[0].kill().await;
    let written = || async { c.set::<(), _, _>("b", "after", None, None, false).await.ok() };
    eventually("the new master takes a write", written).await;
    assert_eq!(c.get::<String, _>("a").await?, "before");
    Ok(())
}
