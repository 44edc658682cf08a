//! The crate redis, its pools and one server on machines that fail: what a client was promised holds.
//!
//! Owns faults between an application and its Redis. Must not know how the server keeps its promises. Invariant: every test
//! runs twice for each seed with equal traces (`SIM_TWICE=1` in CI).
#![cfg(sim)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use compat_redis::{Node, connect, eventually, host, info};
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, RedisResult, Value, cmd, pipe};
use shim_servers::redis::Redis;
use tokio::sim;
use tokio::time::{sleep, timeout};

const HOST: &str = "redis";
const DATA: &str = "/var/lib/redis";

async fn server(redis: Redis) -> Node {
    host(HOST, redis).await
}

fn config() -> ConnectionManagerConfig {
    let limit = Some(Duration::from_millis(500));
    ConnectionManagerConfig::new()
        .set_connection_timeout(limit)
        .set_response_timeout(limit)
        .set_number_of_retries(3)
        .set_max_delay(Duration::from_millis(200))
}

async fn manager(url: &str) -> ConnectionManager {
    let client = Client::open(url).expect("a well-formed url");
    client.get_connection_manager_with_config(config()).await.expect("it connects")
}

/// Asks until there is an answer, and says what it is.
async fn read<T: redis::FromRedisValue>(connection: &ConnectionManager, command: &redis::Cmd) -> T {
    eventually("the server answers again", || {
        let mut connection = connection.clone();
        async move { command.query_async(&mut connection).await.ok() }
    })
    .await
}

/// Writes both halves of a pair in one transaction.
async fn pair(connection: &mut ConnectionManager, id: i64) -> RedisResult<()> {
    let mut both = pipe();
    both.atomic().sadd("ledger", 2 * id).ignore().sadd("ledger", 2 * id + 1).ignore();
    both.query_async(connection).await
}

/// Every pair is whole, and everything that was acknowledged is there.
fn check(found: &BTreeSet<i64>, acknowledged: &[i64]) {
    let halves = |id: i64| [2 * id, 2 * id + 1].map(|half| found.contains(&half));
    for id in 0..1_000 {
        let [first, second] = halves(id);
        assert_eq!(first, second, "pair {id} is torn");
    }
    for id in acknowledged {
        assert_eq!(halves(*id), [true, true], "pair {id} was acknowledged and is lost");
    }
}

#[tokio::test]
async fn a_machine_without_power_loses_nothing_that_was_acknowledged() {
    let node = server(Redis::new().data_dir(DATA)).await;
    let mut c = manager(&node.url()).await;
    let crashes = tokio::spawn(async {
        for _ in 0..3 {
            sleep(Duration::from_millis(sim::random_in(5..200))).await;
            sim::power_off(HOST);
            sleep(Duration::from_millis(sim::random_in(50..300))).await;
            sim::start(HOST);
        }
    });
    let (mut acknowledged, mut failures) = (Vec::new(), 0);
    for id in 0..150 {
        match pair(&mut c, id).await {
            Ok(()) => acknowledged.push(id),
            Err(_) => failures += 1,
        }
        sleep(Duration::from_millis(5)).await;
    }
    crashes.await.expect("it ends");
    let found: BTreeSet<i64> = read(&c, cmd("SMEMBERS").arg("ledger")).await;
    check(&found, &acknowledged);
    assert!(failures > 0, "no write met a crash");
    assert!(!acknowledged.is_empty(), "nothing came through");
}

#[tokio::test]
async fn a_crash_between_a_write_and_its_answer() {
    let writes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&writes);
    // The third write is safe on the disk when the power goes; the client does not hear of it.
    let redis = Redis::new().data_dir(DATA).on_write(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 2 {
            sim::power_off(HOST);
        }
    });
    let node = server(redis).await;
    let mut c = manager(&node.url()).await;
    for expected in 1..=2 {
        assert_eq!(c.incr::<_, _, i64>("n", 1).await.expect("it is written"), expected);
    }
    let lost = c.incr::<_, _, i64>("n", 1).await;
    assert!(lost.is_err(), "nobody can have answered: {lost:?}");
    sim::start(HOST);
    // What the client does not know, it has to look up: it was done, and once.
    assert_eq!(read::<i64>(&c, cmd("GET").arg("n")).await, 3);
}

#[tokio::test]
async fn each_increment_is_done_at_most_once_for_each_attempt() {
    let node = server(Redis::new().data_dir(DATA)).await;
    let c = manager(&node.url()).await;
    let faults = tokio::spawn(async {
        for _ in 0..4 {
            sleep(Duration::from_millis(sim::random_in(10..300))).await;
            match sim::random_in(0..3) {
                0 => sim::power_off(HOST),
                1 => sim::crash(HOST),
                _ => sim::partition("test", HOST),
            }
            sleep(Duration::from_millis(sim::random_in(50..900))).await;
            sim::heal();
            if !sim::is_running(HOST) {
                sim::start(HOST);
            }
        }
    });
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let mut c = c.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for _ in 0..30 {
                    acknowledged.extend(c.incr::<_, _, i64>("n", 1).await.ok());
                    sleep(Duration::from_millis(sim::random_in(1..20))).await;
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged = Vec::new();
    for worker in workers {
        acknowledged.extend(worker.await.expect("it ends"));
    }
    faults.await.expect("it ends");
    let total: i64 = read(&c, cmd("GET").arg("n")).await;
    let distinct: BTreeSet<i64> = acknowledged.iter().copied().collect();
    assert_eq!(distinct.len(), acknowledged.len(), "two were told the same number");
    assert!(distinct.last().is_none_or(|last| *last <= total), "an acknowledged number is lost");
    assert!((acknowledged.len() as i64..=120).contains(&total), "{} told, {total} done", acknowledged.len());
}

#[tokio::test]
async fn a_log_that_is_synced_each_second_loses_its_end_only() {
    let node = server(Redis::new().data_dir(DATA).config("appendfsync", "everysec")).await;
    let mut c = manager(&node.url()).await;
    let mut told = Vec::new();
    for number in 0..sim::random_in(50..200) {
        let () = c.rpush("l", number).await.expect("it is written");
        told.push((number, sim::elapsed()));
        sleep(Duration::from_millis(25)).await;
    }
    let lost_power = sim::elapsed();
    sim::power_off(HOST);
    sim::start(HOST);
    let found: Vec<u64> = read(&c, cmd("LRANGE").arg("l").arg(0).arg(-1)).await;
    assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>(), "a hole");
    let old = told.iter().filter(|(_, at)| lost_power - *at > Duration::from_secs(2)).count();
    assert!(found.len() >= old, "{old} were written more than two seconds ago, {} are there", found.len());
}

#[tokio::test]
async fn a_connection_that_is_killed_in_a_transaction_leaves_nothing() {
    let node = server(Redis::new()).await;
    let (mut one, mut other) =
        (connect(&node).await.expect("it connects"), connect(&node).await.expect("it connects"));
    let id: i64 = cmd("CLIENT").arg("ID").query_async(&mut one).await.expect("its id");
    for words in [vec!["WATCH", "b"], vec!["MULTI"], vec!["SET", "a", "1"]] {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| _ = command.arg(*word));
        let _: Value = command.query_async(&mut one).await.expect("it is queued");
    }
    let mut kill = cmd("CLIENT");
    assert_eq!(
        kill.arg("KILL").arg("ID").arg(id).query_async::<i64>(&mut other).await.expect("it is killed"),
        1
    );
    let ended: RedisResult<Value> = cmd("EXEC").query_async(&mut one).await;
    assert!(ended.expect_err("the connection is gone").is_io_error());
    assert!(!other.exists::<_, bool>("a").await.expect("it answers"));
    let clients = info(&node, "clients").await.expect("it answers");
    assert_eq!(clients["connected_clients"], "2", "the killed one is still counted");
}

#[tokio::test]
async fn a_partition_in_a_transaction_does_all_or_nothing() {
    let node = server(Redis::new()).await;
    let mut c = manager(&node.url()).await;
    let mut acknowledged = Vec::new();
    for id in 0..12 {
        let cut = tokio::spawn(async {
            sleep(Duration::from_micros(sim::random_in(0..4_000))).await;
            match sim::random_in(0..3) {
                0 => sim::partition_oneway("test", HOST),
                1 => sim::partition_oneway(HOST, "test"),
                _ => sim::partition("test", HOST),
            }
            sleep(Duration::from_millis(sim::random_in(100..1_500))).await;
            sim::heal();
        });
        if pair(&mut c, id).await.is_ok() {
            acknowledged.push(id);
        }
        cut.await.expect("it ends");
    }
    let found: BTreeSet<i64> = read(&c, cmd("SMEMBERS").arg("ledger")).await;
    check(&found, &acknowledged);
}

#[tokio::test]
async fn a_partition_while_a_pool_grows() {
    let node = server(Redis::new()).await;
    let limit = Duration::from_secs(2);
    let pool = deadpool_redis::Config::from_url(node.url())
        .builder()
        .expect("a well-formed url")
        .max_size(6)
        .runtime(deadpool_redis::Runtime::Tokio1)
        .timeouts(deadpool_redis::Timeouts {
            wait: Some(limit * 4),
            create: Some(limit),
            recycle: Some(limit),
        })
        .build()
        .expect("a pool");
    let workers: Vec<_> = (0..8)
        .map(|id: i64| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let done = async {
                        let mut c = pool.get().await.ok()?;
                        timeout(limit, c.sadd::<_, _, ()>("done", id)).await.ok()?.ok()
                    };
                    if done.await.is_some() {
                        return Some(id);
                    }
                    sleep(Duration::from_millis(50)).await;
                }
                None
            })
        })
        .collect();
    sleep(Duration::from_micros(sim::random_in(0..4_000))).await;
    sim::partition("test", HOST);
    sleep(Duration::from_millis(sim::random_in(100..5_000))).await;
    sim::heal();
    let mut done = BTreeSet::new();
    for worker in workers {
        done.extend(worker.await.expect("it ends"));
    }
    assert_eq!(done, (0..8).collect());
    assert!(pool.status().size <= 6);
    let c = manager(&node.url()).await;
    assert_eq!(read::<BTreeSet<i64>>(&c, cmd("SMEMBERS").arg("done")).await, done);
}

#[tokio::test]
async fn more_clients_than_there_may_be() {
    let node = server(Redis::new().max_clients(4)).await;
    let manager = bb8_redis::RedisConnectionManager::new(node.url()).expect("a well-formed url");
    let pool =
        bb8::Pool::builder().max_size(8).connection_timeout(Duration::from_secs(2)).build_unchecked(manager);
    let mut held = Vec::new();
    let refused = loop {
        match pool.get_owned().await {
            Ok(mut c) => match cmd("PING").query_async::<String>(&mut *c).await {
                Ok(_) => held.push(c),
                Err(error) => break error.to_string(),
            },
            Err(error) => break error.to_string(),
        }
        assert!(held.len() <= 4, "more clients than there may be");
    };
    assert!(!held.is_empty(), "nobody was let in: {refused}");
    drop(held);
    let served = || async {
        let mut c = pool.get().await.ok()?;
        cmd("PING").query_async::<String>(&mut *c).await.ok()
    };
    assert_eq!(eventually("there is room again", served).await, "PONG");
}

#[tokio::test]
async fn a_name_that_moves_to_another_server() {
    server(Redis::new()).await;
    let spare = host("spare", Redis::new()).await;
    sim::register_name("cache.internal", HOST);
    let mut c = manager("redis://cache.internal/").await;
    let () = c.set("here", 1).await.expect("it is written");
    sim::set_name("cache.internal", sim::addresses("spare"));
    // The manager connects again when its connection ends: a question without an answer is not enough for it.
    sim::crash(HOST);
    assert_eq!(read::<Option<i64>>(&c, cmd("GET").arg("here")).await, None, "it is another server");
    let () = c.set("there", 1).await.expect("it is written");
    let mut direct = connect(&spare).await.expect("it connects");
    assert_eq!(direct.get::<_, i64>("there").await.expect("it answers"), 1);
}

#[tokio::test]
async fn a_slow_server_and_answers_that_come_too_late() {
    let node = server(Redis::new()).await;
    let client = Client::open(node.url()).expect("a well-formed url");
    let limit = Duration::from_millis(300);
    let config =
        AsyncConnectionConfig::new().set_response_timeout(Some(limit)).set_connection_timeout(Some(limit));
    let mut c = client.get_multiplexed_async_connection_with_config(&config).await.expect("it connects");
    let mut sleeper = connect(&node).await.expect("it connects");
    let stopped =
        tokio::spawn(
            async move { cmd("DEBUG").arg("SLEEP").arg(1).query_async::<String>(&mut sleeper).await },
        );
    sleep(Duration::from_millis(20)).await;
    // The whole server sleeps: all of these are given up, and done nevertheless.
    for number in 0..3 {
        let late = c.rpush::<_, _, i64>("l", number).await.expect_err("nobody answers in time");
        assert!(late.is_timeout(), "{late}");
    }
    assert_eq!(stopped.await.expect("it ends").expect("it answers"), "OK");
    // Late answers are not taken for those of later questions.
    for number in 0..20 {
        assert_eq!(
            c.set_options::<_, _, Option<i64>>("n", number, redis::SetOptions::default().get(true))
                .await
                .expect("it answers"),
            (number > 0).then(|| number - 1)
        );
    }
    assert_eq!(c.lrange::<_, Vec<i64>>("l", 0, -1).await.expect("it answers"), [0, 1, 2]);
}

#[tokio::test]
async fn a_lossy_network_only_takes_longer() {
    let node = server(Redis::new()).await;
    sim::link("test", HOST).latency_ms(5..=120).loss(0.05);
    let client = Client::open(node.url()).expect("a well-formed url");
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
    let c = client.get_multiplexed_async_connection_with_config(&config).await.expect("it connects");
    let big = "x".repeat(100_000);
    let workers: Vec<_> = (0..10)
        .map(|id| {
            let (mut c, big) = (c.clone(), big.clone());
            tokio::spawn(async move {
                let () = c.set(id, format!("{id}{big}")).await?;
                c.get::<_, String>(id).await
            })
        })
        .collect();
    for (id, worker) in workers.into_iter().enumerate() {
        assert_eq!(worker.await.expect("it ends").expect("it answers"), format!("{id}{big}"));
    }
}

#[tokio::test]
async fn a_subscriber_hears_again_after_a_crash() {
    let node = server(Redis::new()).await;
    let (sender, mut pushes) = tokio::sync::mpsc::unbounded_channel();
    let client = Client::open(format!("{}?protocol=resp3", node.url())).expect("a well-formed url");
    let config = config().set_push_sender(sender).set_automatic_resubscription();
    let mut listener = client.get_connection_manager_with_config(config).await.expect("it connects");
    listener.subscribe("news").await.expect("it subscribes");
    let mut publisher = manager(&node.url()).await;
    sim::bounce(HOST);
    let heard = || {
        let (mut publisher, mut listener) = (publisher.clone(), listener.clone());
        async move {
            // The manager finds out by a question that its connection is gone.
            let _: RedisResult<String> = cmd("PING").query_async(&mut listener).await;
            (publisher.publish::<_, _, i64>("news", "back").await.ok()? == 1).then_some(())
        }
    };
    eventually("somebody listens again", heard).await;
    let text = loop {
        let push = timeout(Duration::from_secs(5), pushes.recv()).await.expect("a push").expect("a push");
        if push.kind == redis::PushKind::Message {
            break redis::from_redis_value::<(String, String)>(Value::Array(push.data)).expect("a message");
        }
    };
    assert_eq!(text, ("news".to_owned(), "back".to_owned()));
    // A listener of the second protocol is told by the end of its stream.
    let mut plain = Client::open(node.url()).expect("a url").get_async_pubsub().await.expect("it connects");
    plain.subscribe("news").await.expect("it subscribes");
    assert_eq!(publisher.publish::<_, _, i64>("news", "two").await.expect("it answers"), 2);
    let message = plain.on_message().next().await.expect("a message");
    assert_eq!(message.get_payload::<String>().expect("text"), "two");
    sim::crash(HOST);
    let ended = timeout(Duration::from_secs(5), plain.on_message().next()).await;
    assert!(ended.expect("it ends").is_none());
}

#[tokio::test]
async fn a_configuration_that_was_written_survives() {
    let master = host("master", Redis::new()).await;
    let node = server(Redis::new().data_dir(DATA).replica_of(&*master.host, master.port)).await;
    let mut c = connect(&node).await.expect("it connects");
    for words in [
        vec!["REPLICAOF", "NO", "ONE"],
        vec!["CONFIG", "SET", "timeout", "77"],
        vec!["CONFIG", "SET", "notify-keyspace-events", "KEA"],
        vec!["CONFIG", "REWRITE"],
        vec!["CONFIG", "SET", "timeout", "78"],
    ] {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| _ = command.arg(*word));
        assert_eq!(command.query_async::<String>(&mut c).await.expect("it is done"), "OK", "{words:?}");
    }
    sim::power_off(HOST);
    node.start().await;
    let mut c = connect(&node).await.expect("it connects");
    let kept: std::collections::BTreeMap<String, String> = cmd("CONFIG")
        .arg("GET")
        .arg("timeout")
        .arg("notify-keyspace-events")
        .query_async(&mut c)
        .await
        .expect("it answers");
    assert_eq!((kept["timeout"].as_str(), kept.len()), ("77", 2));
    let flags: BTreeSet<char> = kept["notify-keyspace-events"].chars().collect();
    assert!(flags.contains(&'K') && flags.contains(&'E'), "{flags:?}");
    assert_eq!(info(&node, "replication").await.expect("it answers")["role"], "master");
    let mut memory = connect(&master).await.expect("it connects");
    let refused =
        cmd("CONFIG").arg("REWRITE").query_async::<()>(&mut memory).await.expect_err("it has no file");
    assert_eq!(refused.detail(), Some("The server is running without a config file"));
}
