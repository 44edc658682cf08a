//! Sentinels, a replicated Redis and the crate redis on machines that fail.
//!
//! Owns faults of masters, replicas and sentinels. Must not know how they agree. Invariant: for one epoch of its configuration
//! a master has one address, whichever sentinel says so.
#![cfg(sim)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compat_redis::{
    MASTER, Node, Sentinels, ask, connect, eventually, info, master_of, sentinels, until_sentinels_agree,
};
use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{AsyncCommands, AsyncConnectionConfig, RedisResult, cmd};
use tokio::sim;
use tokio::time::{sleep, timeout};

type Fields = BTreeMap<String, String>;

/// What sentinels have said: epochs, and the addresses of the master in each.
#[derive(Default)]
struct Said(RefCell<BTreeMap<u64, BTreeSet<String>>>);

impl Said {
    /// Asks each sentinel that answers, and checks that no two masters were agreed on in one epoch.
    async fn ask(&self, all: &Sentinels) {
        for sentinel in &all.sentinels {
            let asked = ask::<Fields>(sentinel, &["SENTINEL", "MASTER", MASTER]);
            if let Ok(Ok(fields)) = timeout(Duration::from_millis(300), asked).await {
                let epoch = fields["config-epoch"].parse().expect("a number");
                // While it fails over, it has the new epoch and the old address.
                if fields.contains_key("failover-state") {
                    continue;
                }
                let address = format!("{}:{}", fields["ip"], fields["port"]);
                self.0.borrow_mut().entry(epoch).or_default().insert(address);
            }
        }
        for (epoch, addresses) in self.0.borrow().iter() {
            assert_eq!(addresses.len(), 1, "epoch {epoch} has several masters: {addresses:?}");
        }
    }

    /// How many epochs there were.
    fn epochs(&self) -> usize {
        self.0.borrow().len()
    }
}

async fn master_connection(all: &Sentinels) -> RedisResult<MultiplexedConnection> {
    let limit = Some(Duration::from_millis(500));
    let config = AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
    let mut client = SentinelClient::build(all.urls(), MASTER.to_owned(), None, SentinelServerType::Master)?;
    client.get_async_connection_with_config(&config).await
}

/// Writes `value` at the master that the sentinels name, until it is done and a replica has it.
async fn write(all: &Sentinels, key: &str, value: i64) {
    eventually("the master takes a write", || async {
        let mut c = timeout(Duration::from_secs(2), master_connection(all)).await.ok()?.ok()?;
        let () = c.set(key, value).await.ok()?;
        let reached: usize = cmd("WAIT").arg(1).arg(400).query_async(&mut c).await.ok()?;
        (reached > 0).then_some(())
    })
    .await;
}

async fn named(sentinel: &Node) -> Option<(String, u16)> {
    master_of(sentinel).await.ok()
}

/// The server that has this address.
fn server_at<'a>(all: &'a Sentinels, address: &(String, u16)) -> &'a Node {
    let has = |server: &&Node| sim::addresses(&server.host).iter().any(|ip| ip.to_string() == address.0);
    all.servers.iter().find(has).expect("one of ours")
}

/// Waits until one server is the master, the others follow it, and all sentinels say so.
async fn until_in_order(all: &Sentinels) -> Node {
    let one = || async {
        let mut names = BTreeSet::new();
        for sentinel in &all.sentinels {
            names.insert(named(sentinel).await?);
        }
        let [name] = &names.into_iter().collect::<Vec<_>>()[..] else { return None };
        let master = server_at(all, name);
        for server in &all.servers {
            let fields = info(server, "replication").await.ok()?;
            let of_master = |host: &String| *host == name.0 || *host == master.host;
            let is_right = match server.host == master.host {
                true => fields["role"] == "master" && fields["connected_slaves"] == "2",
                false => {
                    fields["role"] == "slave"
                        && of_master(&fields["master_host"])
                        && fields["master_link_status"] == "up"
                }
            };
            if !is_right {
                return None;
            }
        }
        Some(master.clone())
    };
    let master = eventually("one master, and all others follow it", one).await;
    until_sentinels_agree(all).await;
    master
}

#[tokio::test]
async fn a_master_behind_a_partition_is_replaced_and_comes_back_as_a_replica() {
    let all = sentinels().await.expect("a simulation has servers");
    let said = Said::default();
    write(&all, "before", 1).await;
    said.ask(&all).await;
    let mut old = connect(&all.servers[0]).await.expect("it connects");
    // The old master keeps a client, and nobody else.
    let others = ["redis-2", "redis-3", "sentinel-1", "sentinel-2", "sentinel-3"];
    sim::partition("redis-1", others);
    let name = named(&all.sentinels[0]).await.expect("it answers");
    for _ in 0..100 {
        said.ask(&all).await;
        if named(&all.sentinels[0]).await.is_some_and(|new| new != name) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(named(&all.sentinels[0]).await, Some(name), "nobody was promoted");
    // Nobody has told the old master: it takes writes that no replica will ever have. Redis promises no more.
    let () = old.set("minority", 1).await.expect("it is written");
    let reached: usize = cmd("WAIT").arg(1).arg(200).query_async(&mut old).await.expect("it answers");
    assert_eq!(reached, 0, "no replica can have it");
    write(&all, "during", 2).await;
    sim::heal();
    let master = until_in_order(&all).await;
    said.ask(&all).await;
    assert_ne!(master.host, "redis-1");
    assert_eq!(said.epochs(), 2, "one failover, agreed on by all");
    for server in &all.servers {
        let mut c = connect(server).await.expect("it connects");
        let found: (Option<i64>, Option<i64>, Option<i64>) =
            c.mget(&["before", "during", "minority"]).await.expect("it answers");
        assert_eq!(found, (Some(1), Some(2), None), "{}", server.host);
    }
}

#[tokio::test]
async fn a_master_that_writes_only_with_replicas_stops_in_a_minority() {
    let all = sentinels().await.expect("a simulation has servers");
    for server in &all.servers {
        let mut c = connect(server).await.expect("it connects");
        for (name, value) in [("min-replicas-to-write", 1), ("min-replicas-max-lag", 2)] {
            let () =
                cmd("CONFIG").arg("SET").arg(name).arg(value).query_async(&mut c).await.expect("it is set");
        }
    }
    write(&all, "before", 1).await;
    let mut old = connect(&all.servers[0]).await.expect("it connects");
    sim::partition("redis-1", ["redis-2", "redis-3", "sentinel-1", "sentinel-2", "sentinel-3"]);
    let cut = sim::elapsed();
    let refused = loop {
        match old.incr::<_, _, i64>("minority", 1).await {
            Ok(_) => sleep(Duration::from_millis(50)).await,
            Err(error) => break error,
        }
        assert!(sim::elapsed() - cut < Duration::from_secs(5), "it still takes writes");
    };
    assert_eq!(refused.code(), Some("NOREPLICAS"), "{refused}");
    write(&all, "during", 2).await;
    sim::heal();
    until_in_order(&all).await;
}

#[tokio::test]
async fn machines_that_lose_power_one_after_the_other() {
    let all = sentinels().await.expect("a simulation has servers");
    let said = Said::default();
    for round in 0..3 {
        write(&all, "round", round).await;
        let master = until_in_order(&all).await;
        let sentinel = format!("sentinel-{}", sim::random_in(1..4));
        sim::power_off(&*master.host);
        if sim::random_in(0..2) == 0 {
            sim::power_off(&*sentinel);
        }
        let other = eventually("somebody else is named", || async {
            for sentinel in &all.sentinels {
                let name = timeout(Duration::from_millis(500), named(sentinel)).await.ok().flatten();
                if let Some(name) = name.filter(|name| server_at(&all, name).host != master.host) {
                    return Some(server_at(&all, &name).clone());
                }
            }
            said.ask(&all).await;
            None
        })
        .await;
        let found = || async {
            let mut c = connect(&other).await.ok()?;
            c.get::<_, i64>("round").await.ok()
        };
        // A replica that had the write was ahead of one that had not.
        assert_eq!(eventually("the new master answers", found).await, round);
        sim::start(&*master.host);
        if !sim::is_running(&sentinel) {
            sim::start(&*sentinel);
        }
    }
    until_in_order(&all).await;
    said.ask(&all).await;
}

#[tokio::test]
async fn a_master_that_stands_still_for_a_while() {
    let all = sentinels().await.expect("a simulation has servers");
    let said = Said::default();
    write(&all, "before", 1).await;
    sim::pause("redis-1");
    let name = named(&all.sentinels[1]).await.expect("it answers");
    let switched = || async { named(&all.sentinels[1]).await.filter(|new| *new != name).map(|_| ()) };
    eventually("another one is promoted", switched).await;
    said.ask(&all).await;
    write(&all, "during", 2).await;
    sim::resume("redis-1");
    let master = until_in_order(&all).await;
    said.ask(&all).await;
    assert_ne!(master.host, "redis-1");
    // A sentinel that stands still trusts its clock no more for half a minute, and then all is as before.
    sim::pause("sentinel-1");
    sleep(Duration::from_secs(5)).await;
    sim::resume("sentinel-1");
    sleep(Duration::from_millis(500)).await;
    let tilted = info(&all.sentinels[0], "sentinel").await.expect("it answers");
    assert_eq!(tilted["sentinel_tilt"], "1");
    sleep(Duration::from_secs(31)).await;
    let calm = info(&all.sentinels[0], "sentinel").await.expect("it answers");
    assert_eq!(calm["sentinel_tilt"], "0");
}

#[tokio::test]
async fn no_quorum_no_failover() {
    let all = sentinels().await.expect("a simulation has servers");
    let name = named(&all.sentinels[0]).await.expect("it answers");
    // Two sentinels are gone: the third one may think what it likes.
    sim::power_off("sentinel-2");
    sim::power_off("sentinel-3");
    sim::power_off("redis-1");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(named(&all.sentinels[0]).await, Some(name.clone()));
    let master = info(&all.sentinels[0], "sentinel").await.expect("it answers");
    assert!(master["master0"].contains("status=sdown"), "{}", master["master0"]);
    sim::start("sentinel-2");
    let switched = || async { named(&all.sentinels[0]).await.filter(|new| *new != name).map(|_| ()) };
    eventually("two are enough", switched).await;
    sim::start("redis-1");
    sim::start("sentinel-3");
    until_in_order(&all).await;
}

/// One fault after the other, at random.
async fn chaos(duration: Duration) {
    let everybody = ["redis-1", "redis-2", "redis-3", "sentinel-1", "sentinel-2", "sentinel-3"];
    let end = sim::elapsed() + duration;
    while sim::elapsed() < end {
        let pick = || everybody[sim::random_in(0..6) as usize];
        let (one, other) = (pick(), pick());
        match sim::random_in(0..5) {
            0 => sim::power_off(one),
            1 => sim::crash(one),
            2 if one != other => sim::partition(one, other),
            3 => {
                for other in everybody.iter().filter(|name| **name != one) {
                    sim::partition(one, *other);
                }
            }
            _ => sim::pause(one),
        }
        sleep(Duration::from_millis(sim::random_in(100..6_000))).await;
        if sim::random_in(0..2) == 0 {
            calm(&everybody);
        }
    }
    calm(&everybody);
}

fn calm(everybody: &[&str]) {
    sim::heal();
    for name in everybody {
        sim::resume(*name);
        if !sim::is_running(name) {
            sim::start(*name);
        }
    }
}

#[tokio::test]
async fn whatever_happens_they_agree_afterwards() {
    let all = sentinels().await.expect("a simulation has servers");
    let said = Said::default();
    let faults = tokio::spawn(chaos(Duration::from_secs(60)));
    while !faults.is_finished() {
        said.ask(&all).await;
        sleep(Duration::from_millis(200)).await;
    }
    faults.await.expect("it ends");
    until_in_order(&all).await;
    said.ask(&all).await;
    write(&all, "after", 1).await;
}
