//! The crate redis and a master that sentinels watch, the same in both worlds.
//!
//! Owns what an application does with sentinels. Must not ask for the simulation. Invariant: what is asserted here holds
//! on the real Redis, which is the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compat_redis::{
    MASTER, Node, Options, Sentinels, ask, eventually, info, master_of, or_skip, sentinels, sentinels_of,
};
use futures_util::StreamExt;
use redis::sentinel::{Sentinel, SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{AsyncCommands, Client, ErrorKind, RedisConnectionInfo, RedisResult, Value, cmd};
use tokio::time::timeout;

type Fields = BTreeMap<String, String>;

fn client_of(all: &Sentinels, kind: SentinelServerType) -> RedisResult<SentinelClient> {
    SentinelClient::build(all.urls(), MASTER.to_owned(), None, kind)
}

/// Waits until the sentinel names another master than `old`, and returns which.
async fn until_master_is_not(sentinel: &Node, old: &(String, u16)) -> (String, u16) {
    let named = || async move { master_of(sentinel).await.ok().filter(|master| master != old) };
    eventually("the sentinel names a new master", named).await
}

#[tokio::test]
async fn what_sentinels_say() -> RedisResult<()> {
    let all = or_skip!(sentinels());
    let sentinel = &all.sentinels[0];
    let (host, port) = master_of(sentinel).await?;
    assert_eq!(port, all.servers[0].port);
    let master: Fields = ask(sentinel, &["SENTINEL", "MASTER", MASTER]).await?;
    assert_eq!((&master["ip"], &master["port"]), (&host, &port.to_string()));
    assert_eq!(master["runid"], info(&all.servers[0], "server").await?["run_id"]);
    for (name, value) in [
        ("name", MASTER),
        ("quorum", "2"),
        ("num-slaves", "2"),
        ("num-other-sentinels", "2"),
        ("down-after-milliseconds", "1000"),
        ("role-reported", "master"),
        ("parallel-syncs", "1"),
    ] {
        assert_eq!(master[name], value, "{name}");
    }
    let masters: Vec<Fields> = ask(sentinel, &["SENTINEL", "MASTERS"]).await?;
    assert_eq!(masters.len(), 1);
    let replicas: Vec<Fields> = ask(sentinel, &["SENTINEL", "REPLICAS", MASTER]).await?;
    assert_eq!(replicas.len(), 2);
    for replica in &replicas {
        assert_eq!(replica["name"], format!("{}:{}", replica["ip"], replica["port"]));
        assert_eq!((replica["flags"].as_str(), &replica["master-host"]), ("slave", &all.servers[0].host));
        assert_eq!(replica["slave-priority"], "100");
    }
    let others: Vec<Fields> = ask(sentinel, &["SENTINEL", "SENTINELS", MASTER]).await?;
    let ids: BTreeSet<&String> = others.iter().map(|other| &other["runid"]).collect();
    let mut expected = Vec::new();
    for other in &all.sentinels[1..] {
        expected.push(ask::<String>(other, &["SENTINEL", "MYID"]).await?);
    }
    assert_eq!(ids, expected.iter().collect());
    let quorum: String = ask(sentinel, &["SENTINEL", "CKQUORUM", MASTER]).await?;
    assert_eq!(quorum, "OK 3 usable Sentinels. Quorum and failover authorization can be reached");
    let role: (String, Vec<String>) = ask(sentinel, &["ROLE"]).await?;
    assert_eq!(role, ("sentinel".to_owned(), vec![MASTER.to_owned()]));
    let fields = info(sentinel, "sentinel").await?;
    assert_eq!((fields["sentinel_masters"].as_str(), fields["sentinel_tilt"].as_str()), ("1", "0"));
    let expected = format!("name={MASTER},status=ok,address={host}:{port},slaves=2,sentinels=3");
    assert_eq!(fields["master0"], expected);
    assert_eq!(info(sentinel, "server").await?["redis_mode"], "sentinel");
    Ok(())
}

#[tokio::test]
async fn what_sentinels_refuse() -> RedisResult<()> {
    let all = or_skip!(sentinels());
    let sentinel = &all.sentinels[0];
    let cases: &[(&[&str], &str)] = &[
        (&["SENTINEL", "MASTER", "nobody"], "ERR No such master with that name"),
        (&["SENTINEL", "REPLICAS", "nobody"], "ERR No such master with that name"),
        (&["SENTINEL", "FAILOVER", "nobody"], "ERR No such master with that name"),
        (&["SENTINEL", "REMOVE", "nobody"], "ERR No such master with that name"),
        (&["SENTINEL", "MONITOR", MASTER, "127.0.0.1", "1", "2"], "ERR Duplicate master name."),
        (
            &["SENTINEL", "MONITOR", "other", "no.such.host", "1", "2"],
            "ERR Invalid IP address or hostname specified",
        ),
        (&["SENTINEL", "MONITOR", "other", "127.0.0.1", "1", "0"], "ERR Quorum must be 1 or greater."),
        (&["SENTINEL", "MONITOR", "other", "127.0.0.1", "70000", "1"], "ERR Invalid port number."),
        (
            &["SENTINEL", "SET", MASTER, "frob", "1"],
            "ERR Unknown option or number of arguments for SENTINEL SET 'frob'",
        ),
        (&["SENTINEL", "SET", MASTER, "quorum", "x"], "ERR Invalid argument 'x' for SENTINEL SET 'quorum'"),
        (&["SENTINEL", "FROB"], "ERR unknown subcommand 'FROB'. Try SENTINEL HELP."),
        (&["SENTINEL", "CKQUORUM"], "ERR wrong number of arguments for 'sentinel|ckquorum' command"),
        (&["SENTINEL"], "ERR wrong number of arguments for 'sentinel' command"),
        (&["GET", "a"], "ERR unknown command 'GET', with args beginning with: 'a' "),
        (&["PUBLISH", "a", "b"], "ERR Only HELLO messages are accepted by Sentinel instances."),
    ];
    for (words, expected) in cases {
        let refused = ask::<Value>(sentinel, words).await.expect_err("it is refused");
        let text = format!("{} {}", refused.code().unwrap_or("-"), refused.detail().unwrap_or("-"));
        assert_eq!(&text, expected, "{words:?}");
    }
    let unknown: Value = ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "nobody"]).await?;
    assert_eq!(unknown, Value::Nil);
    let mut client =
        SentinelClient::build(all.urls(), "nobody".to_owned(), None, SentinelServerType::Master)?;
    let missing = client.get_async_connection().await.err().map(|error| error.kind());
    assert_eq!(missing, Some(ErrorKind::MasterNameNotFoundBySentinel));
    Ok(())
}

#[tokio::test]
async fn clients_find_masters_and_replicas() -> RedisResult<()> {
    let all = or_skip!(sentinels());
    let mut c = client_of(&all, SentinelServerType::Master)?.get_async_connection().await?;
    let () = c.set("a", 1).await?;
    let reached: usize = cmd("WAIT").arg(2).arg(2_000).query_async(&mut c).await?;
    assert_eq!(reached, 2);
    let mut replica = client_of(&all, SentinelServerType::Replica)?.get_async_connection().await?;
    assert_eq!(replica.get::<_, i64>("a").await?, 1);
    assert!(replica.set::<_, _, ()>("a", 2).await.is_err(), "it is a replica");
    let mut sentinel = Sentinel::build(all.urls())?;
    assert_eq!(sentinel.async_get_replica_clients(MASTER, None).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn a_master_that_dies_is_replaced() -> RedisResult<()> {
    let all = or_skip!(sentinels());
    let mut client = client_of(&all, SentinelServerType::Master)?;
    let mut c = client.get_async_connection().await?;
    let () = c.set("a", "before").await?;
    let reached: usize = cmd("WAIT").arg(2).arg(2_000).query_async(&mut c).await?;
    assert_eq!(reached, 2);
    let old = master_of(&all.sentinels[0]).await?;
    let mut events = Client::open(all.sentinels[0].url())?.get_async_pubsub().await?;
    events.psubscribe("*").await?;
    all.servers[0].kill().await;
    let new = until_master_is_not(&all.sentinels[0], &old).await;
    for sentinel in &all.sentinels[1..] {
        until_master_is_not(sentinel, &old).await;
    }
    let mut seen = Vec::new();
    let switched = loop {
        let message = timeout(Duration::from_secs(10), events.on_message().next()).await;
        let message = message.expect("it is told").expect("it is told");
        let (channel, text) = (message.get_channel_name().to_owned(), message.get_payload::<String>()?);
        seen.push(channel.clone());
        if channel == "+switch-master" {
            break text;
        }
    };
    assert_eq!(switched, format!("{MASTER} {} {} {} {}", old.0, old.1, new.0, new.1));
    assert!(seen.contains(&"+sdown".to_owned()), "{seen:?}");
    let find = || async {
        let c = client_of(&all, SentinelServerType::Master).ok()?.get_async_connection().await.ok();
        let mut c = c?;
        let value: String = c.get("a").await.ok()?;
        c.set::<_, _, ()>("a", "after").await.ok().map(|()| value)
    };
    assert_eq!(eventually("the client finds the new master", find).await, "before");
    // Who comes back is made a replica of the master, which on a busy machine may be another one by now.
    all.servers[0].start().await;
    let follows = || async { follows(&all.servers[0], &master_of(&all.sentinels[0]).await.ok()?).await };
    eventually("the old master follows", follows).await;
    Ok(())
}

/// Whether `server` follows `master`, and is in step with it.
async fn follows(server: &Node, master: &(String, u16)) -> Option<()> {
    let fields = info(server, "replication").await.ok()?;
    let of = fields.get("master_host") == Some(&master.0)
        && fields.get("master_port") == Some(&master.1.to_string());
    (of && fields["master_link_status"] == "up").then_some(())
}

#[tokio::test]
async fn a_failover_that_somebody_asks_for() -> RedisResult<()> {
    let all = or_skip!(sentinels());
    let old = master_of(&all.sentinels[0]).await?;
    // The sentinel has to know by INFO how the replicas are.
    let ordered = || async { ask::<String>(&all.sentinels[1], &["SENTINEL", "FAILOVER", MASTER]).await.ok() };
    assert_eq!(eventually("there is a good replica", ordered).await, "OK");
    for sentinel in &all.sentinels {
        until_master_is_not(sentinel, &old).await;
    }
    let follow = || async {
        let master = master_of(&all.sentinels[1]).await.ok()?;
        let mut following = 0;
        for server in &all.servers {
            following += usize::from(follows(server, &master).await.is_some());
        }
        (following == 2).then_some(())
    };
    eventually("the others follow", follow).await;
    let master: Fields = ask(&all.sentinels[1], &["SENTINEL", "MASTER", MASTER]).await?;
    assert_ne!(master["config-epoch"], "0");
    Ok(())
}

#[tokio::test]
async fn masters_come_and_go() -> RedisResult<()> {
    let all = or_skip!(sentinels());
    let sentinel = &all.sentinels[2];
    let (host, port) = master_of(sentinel).await?;
    let port = port.to_string();
    let removed: String = ask(sentinel, &["SENTINEL", "REMOVE", MASTER]).await?;
    assert_eq!(removed, "OK");
    let none: Vec<Fields> = ask(sentinel, &["SENTINEL", "MASTERS"]).await?;
    assert!(none.is_empty());
    let _: String = ask(sentinel, &["SENTINEL", "MONITOR", "renamed", &host, &port, "1"]).await?;
    let set: String =
        ask(sentinel, &["SENTINEL", "SET", "renamed", "down-after-milliseconds", "700", "quorum", "2"])
            .await?;
    assert_eq!(set, "OK");
    let master: Fields = ask(sentinel, &["SENTINEL", "MASTER", "renamed"]).await?;
    assert_eq!((master["quorum"].as_str(), master["down-after-milliseconds"].as_str()), ("2", "700"));
    let found = || async {
        let replicas: Vec<Fields> = ask(sentinel, &["SENTINEL", "REPLICAS", "renamed"]).await.ok()?;
        (replicas.len() == 2).then_some(())
    };
    eventually("the replicas are found again", found).await;
    let reset: usize = ask(sentinel, &["SENTINEL", "RESET", "ren*"]).await?;
    assert_eq!(reset, 1);
    let alone: RedisResult<String> = ask(sentinel, &["SENTINEL", "CKQUORUM", "renamed"]).await;
    let alone = alone.expect_err("nobody else knows that name");
    assert_eq!(alone.code(), Some("NOQUORUM"));
    Ok(())
}

#[tokio::test]
async fn passwords_of_masters() -> RedisResult<()> {
    let options = Options { password: Some("secret".to_owned()), ..Options::default() };
    let all = or_skip!(sentinels_of(options));
    let with_password = RedisConnectionInfo::default().set_password("secret");
    let with_password = SentinelNodeConnectionInfo::default().set_redis_connection_info(with_password);
    let build = |info| SentinelClient::build(all.urls(), MASTER.to_owned(), info, SentinelServerType::Master);
    let mut c = build(Some(with_password))?.get_async_connection().await?;
    let () = c.set("a", 1).await?;
    assert_eq!(c.get::<_, i64>("a").await?, 1);
    assert!(build(None)?.get_async_connection().await.is_err(), "the server asks for a password");
    Ok(())
}
