//! The crate redis, its pools, and what a connection is good for beside single commands, the same in both worlds.
//!
//! Owns what an application does with connections: waiting, subscribing, authenticating, losing the server. Must not ask
//! for the simulation. Invariant: what is asserted here holds on the real Redis, which is the judge.

use std::time::Duration;

use bb8_redis::RedisConnectionManager;
use compat_redis::{Node, Options, connect, eventually, info, or_skip, replicated, server, server_with};
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamMaxlen, StreamPendingCountReply, StreamRangeReply,
    StreamReadOptions, StreamReadReply,
};
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind,
    RedisResult, ServerErrorKind, Value, cmd, from_redis_value, pipe,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_blocked_client_is_served_by_another() -> RedisResult<()> {
    let node = or_skip!(server());
    let (mut one, mut other, mut third) =
        (connect(&node).await?, connect(&node).await?, connect(&node).await?);
    let waiting = tokio::spawn(async move { one.blpop::<_, (String, i64)>(&["first", "second"], 0.0).await });
    sleep(Duration::from_millis(50)).await;
    let () = other.rpush("second", 7).await?;
    let served = timeout(SOON, waiting).await.expect("it is served").expect("it ends")?;
    assert_eq!(served, ("second".to_owned(), 7));
    assert!(!other.exists::<_, bool>("second").await?, "nothing is left");
    let started = Instant::now();
    let nothing: Option<(String, i64)> = other.brpop("empty", 0.1).await?;
    assert_eq!(nothing, None);
    assert!(started.elapsed() >= Duration::from_millis(100));
    // Who has waited longest is served first.
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut c = connect(&node).await?;
        waiting.push(tokio::spawn(async move { c.blpop::<_, (String, i64)>("queue", 5.0).await }));
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(third.rpush::<_, _, usize>("queue", &[1, 2, 3]).await?, 3);
    for (number, waiting) in (1..).zip(waiting) {
        assert_eq!(waiting.await.expect("it ends")?, ("queue".to_owned(), number));
    }
    // Inside of a transaction nobody waits.
    let (popped,): (Value,) = pipe().atomic().blpop("empty", 0.0).query_async(&mut other).await?;
    assert_eq!(popped, Value::Nil);
    let mut sorted = connect(&node).await?;
    let waiting = tokio::spawn(async move { sorted.bzpopmin::<_, (String, String, f64)>("z", 5.0).await });
    sleep(Duration::from_millis(50)).await;
    let () = other.zadd("z", "m", 2.5).await?;
    assert_eq!(waiting.await.expect("it ends")?, ("z".to_owned(), "m".to_owned(), 2.5));
    Ok(())
}

#[tokio::test]
async fn streams_and_their_groups() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    for i in 1..=5 {
        let id: String = c.xadd("s", format!("{i}-0"), &[("n", i)]).await?;
        assert_eq!(id, format!("{i}-0"));
    }
    let made: String = c.xadd("s", "*", &[("n", 6)]).await?;
    assert!(made.ends_with("-0"), "{made}");
    let low: RedisResult<String> = c.xadd("s", "3-1", &[("n", 0)]).await;
    let detail = "The ID specified in XADD is equal or smaller than the target stream top item";
    assert_eq!(low.expect_err("too low").detail(), Some(detail));
    assert_eq!(c.xlen::<_, usize>("s").await?, 6);
    let range: StreamRangeReply = c.xrange_count("s", "(1-0", "+", 2).await?;
    let ids: Vec<&str> = range.ids.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["2-0", "3-0"]);
    assert_eq!(range.ids[0].get::<i64>("n"), Some(2));
    let back: StreamRangeReply = c.xrevrange_count("s", "5", "-", 1).await?;
    assert_eq!(back.ids[0].id, "5-0");
    assert_eq!(c.xtrim::<_, usize>("s", StreamMaxlen::Equals(4)).await?, 2);

    let () = c.xgroup_create("s", "g", "0").await?;
    let again: RedisResult<()> = c.xgroup_create("s", "g", "0").await;
    assert_eq!(again.expect_err("it is there").code(), Some("BUSYGROUP"));
    let options = StreamReadOptions::default().group("g", "anna").count(2);
    let read: StreamReadReply = c.xread_options(&["s"], &[">"], &options).await?;
    let ids: Vec<&str> = read.keys[0].ids.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["3-0", "4-0"]);
    assert_eq!(c.xack::<_, _, _, usize>("s", "g", &["3-0", "9-9"]).await?, 1);
    let pending: StreamPendingCountReply = c.xpending_count("s", "g", "-", "+", 10).await?;
    assert_eq!((pending.ids.len(), pending.ids[0].consumer.as_str()), (1, "anna"));
    assert_eq!((pending.ids[0].id.as_str(), pending.ids[0].times_delivered), ("4-0", 1));
    let options = StreamAutoClaimOptions::default();
    let claimed: StreamAutoClaimReply = c.xautoclaim_options("s", "g", "ben", 0, "0", options).await?;
    assert_eq!(claimed.claimed.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["4-0"]);
    // Nothing new for a while, then something.
    let mut reader = connect(&node).await?;
    let waiting = tokio::spawn(async move {
        let options = StreamReadOptions::default().block(0);
        reader.xread_options::<_, _, StreamReadReply>(&["s"], &["$"], &options).await
    });
    sleep(Duration::from_millis(50)).await;
    let id: String = c.xadd("s", "*", &[("n", "new")]).await?;
    let read = timeout(SOON, waiting).await.expect("it is served").expect("it ends")?;
    assert_eq!(read.keys[0].ids[0].id, id);
    let options = StreamReadOptions::default().block(50);
    let nothing: Option<StreamReadReply> = c.xread_options(&["s"], &["$"], &options).await?;
    assert!(nothing.is_none_or(|reply| reply.keys.is_empty()));
    Ok(())
}

#[tokio::test]
async fn messages_reach_those_who_subscribed() -> RedisResult<()> {
    let node = or_skip!(server());
    let client = Client::open(node.url())?;
    let mut publisher = connect(&node).await?;
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(&["news", "sport"]).await?;
    listener.psubscribe("n*").await?;
    assert_eq!(publisher.publish::<_, _, usize>("news", "one").await?, 2);
    assert_eq!(publisher.publish::<_, _, usize>("sport", "two").await?, 1);
    assert_eq!(publisher.publish::<_, _, usize>("nobody", "three").await?, 1);
    assert_eq!(publisher.publish::<_, _, usize>("other", "four").await?, 0);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let message =
            timeout(SOON, listener.on_message().next()).await.expect("a message").expect("a message");
        let pattern: Option<String> = message.get_pattern()?;
        seen.push((pattern, message.get_channel_name().to_owned(), message.get_payload::<String>()?));
    }
    let of = |pattern: Option<&str>, channel: &str, text: &str| {
        (pattern.map(str::to_owned), channel.to_owned(), text.to_owned())
    };
    let expected = [
        of(None, "news", "one"),
        of(Some("n*"), "news", "one"),
        of(None, "sport", "two"),
        of(Some("n*"), "nobody", "three"),
    ];
    assert_eq!(seen, expected);
    let channels: Vec<String> = cmd("PUBSUB").arg("CHANNELS").query_async(&mut publisher).await?;
    assert_eq!(channels.len(), 2);
    listener.unsubscribe("news").await?;
    listener.punsubscribe("n*").await?;
    assert_eq!(publisher.publish::<_, _, usize>("news", "five").await?, 0);
    drop(listener);
    let gone = || {
        let mut publisher = publisher.clone();
        async move { (publisher.publish::<_, _, usize>("sport", "six").await.ok()? == 0).then_some(()) }
    };
    eventually("the listener is gone", gone).await;
    Ok(())
}

/// A RESP3 connection, and what the server pushes.
async fn with_pushes(
    node: &Node,
) -> RedisResult<(redis::aio::MultiplexedConnection, UnboundedReceiver<PushInfo>)> {
    let (sender, pushes) = unbounded_channel();
    let client = Client::open(format!("{}?protocol=resp3", node.url()))?;
    let config = AsyncConnectionConfig::new().set_push_sender(sender);
    Ok((client.get_multiplexed_async_connection_with_config(&config).await?, pushes))
}

#[tokio::test]
async fn the_third_protocol_has_types_and_pushes() -> RedisResult<()> {
    let node = or_skip!(server());
    let (mut c, mut pushes) = with_pushes(&node).await?;
    let () = cmd("HSET").arg("h").arg("a").arg(1).query_async(&mut c).await?;
    let map: Value = cmd("HGETALL").arg("h").query_async(&mut c).await?;
    assert_eq!(map, Value::Map(vec![(Value::BulkString(b"a".to_vec()), Value::BulkString(b"1".to_vec()))]));
    let () = c.sadd("s", "x").await?;
    let set: Value = cmd("SMEMBERS").arg("s").query_async(&mut c).await?;
    assert_eq!(set, Value::Set(vec![Value::BulkString(b"x".to_vec())]));
    let () = c.zadd("z", "m", 1.5).await?;
    let score: Value = cmd("ZSCORE").arg("z").arg("m").query_async(&mut c).await?;
    assert_eq!(score, Value::Double(1.5));
    let missing: Value = cmd("GET").arg("missing").query_async(&mut c).await?;
    assert_eq!(missing, Value::Nil);
    c.subscribe("news").await?;
    c.psubscribe("n*").await?;
    // A subscriber of the third protocol goes on asking.
    assert_eq!(c.publish::<_, _, usize>("news", "one").await?, 2);
    let mut kinds = Vec::new();
    while kinds.len() < 4 {
        kinds.push(timeout(SOON, pushes.recv()).await.expect("a push").expect("a push"));
    }
    let message = kinds.iter().find(|push| push.kind == PushKind::Message).expect("a message");
    assert_eq!(
        from_redis_value::<(String, String)>(Value::Array(message.data.clone()))?,
        ("news".into(), "one".into())
    );
    for kind in [PushKind::Subscribe, PushKind::PSubscribe, PushKind::PMessage] {
        assert!(kinds.iter().any(|push| push.kind == kind), "{kind:?}");
    }
    drop(c);
    let gone = timeout(SOON, pushes.recv()).await.expect("a push or the end");
    assert!(gone.is_none_or(|push| push.kind == PushKind::Disconnection), "the connection is gone");
    Ok(())
}

#[tokio::test]
async fn a_password_is_asked_for() -> RedisResult<()> {
    let options = Options { password: Some("secret".to_owned()), ..Options::default() };
    let node = or_skip!(server_with(options));
    let mut c = connect(&node).await?;
    let () = c.set("a", 1).await?;
    let address = node.address();
    let mut anonymous =
        Client::open(format!("redis://{address}/"))?.get_multiplexed_async_connection().await?;
    let refused: RedisResult<i64> = anonymous.get("a").await;
    let refused = refused.expect_err("it is refused");
    assert_eq!((refused.code(), refused.detail()), (Some("NOAUTH"), Some("Authentication required.")));
    let wrong: RedisResult<()> = cmd("AUTH").arg("wrong").query_async(&mut anonymous).await;
    let wrong = wrong.expect_err("it is refused");
    let detail = "invalid username-password pair or user is disabled.";
    assert_eq!((wrong.code(), wrong.detail()), (Some("WRONGPASS"), Some(detail)));
    let () = cmd("AUTH").arg("default").arg("secret").query_async(&mut anonymous).await?;
    assert_eq!(anonymous.get::<_, i64>("a").await?, 1);
    let failed = Client::open(format!("redis://:wrong@{address}/"))?.get_multiplexed_async_connection().await;
    assert_eq!(failed.err().map(|error| error.kind()), Some(ErrorKind::AuthenticationFailed));
    let third = Client::open(format!("redis://:secret@{address}/?protocol=resp3"))?;
    let mut third = third.get_multiplexed_async_connection().await?;
    assert_eq!(third.get::<_, i64>("a").await?, 1);
    Ok(())
}

#[tokio::test]
async fn one_client_too_many_is_told_so() -> RedisResult<()> {
    let node = or_skip!(server_with(Options { max_clients: Some(3), ..Options::default() }));
    let mut held = Vec::new();
    let refused = loop {
        match connect(&node).await {
            Ok(mut c) => match cmd("PING").query_async::<String>(&mut c).await {
                Ok(_) => held.push(c),
                Err(error) => break error,
            },
            Err(error) => break error,
        }
        assert!(held.len() <= 3, "more clients than there may be");
    };
    assert!(refused.is_io_error() || refused.to_string().contains("max number of clients"), "{refused}");
    held.pop();
    let room = || async {
        let mut c = connect(&node).await.ok()?;
        cmd("PING").query_async::<String>(&mut c).await.ok()
    };
    assert_eq!(eventually("there is room again", room).await, "PONG");
    Ok(())
}

#[tokio::test]
async fn databases_and_names_belong_to_a_connection() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut zero = connect(&node).await?;
    let mut five = Client::open(format!("{}5", node.url()))?.get_multiplexed_async_connection().await?;
    let () = five.set("a", 5).await?;
    assert_eq!(zero.get::<_, Option<i64>>("a").await?, None);
    assert!(cmd("MOVE").arg("a").arg(0).query_async::<bool>(&mut five).await?);
    assert_eq!(zero.get::<_, Option<i64>>("a").await?, Some(5));
    let () = cmd("SWAPDB").arg(0).arg(5).query_async(&mut zero).await?;
    assert_eq!(five.get::<_, Option<i64>>("a").await?, Some(5));
    let () = cmd("CLIENT").arg("SETNAME").arg("anna").query_async(&mut five).await?;
    let id: i64 = cmd("CLIENT").arg("ID").query_async(&mut five).await?;
    let list: String = cmd("CLIENT").arg("LIST").query_async(&mut zero).await?;
    let line = list.lines().find(|line| line.starts_with(&format!("id={id} "))).expect("it is in the list");
    assert!(line.contains(" name=anna ") && line.contains(" db=5 "), "{line}");
    let killed: usize = cmd("CLIENT").arg("KILL").arg("ID").arg(id).query_async(&mut zero).await?;
    assert_eq!(killed, 1);
    let lost: RedisResult<i64> = five.get("a").await;
    assert!(lost.expect_err("the connection is gone").is_io_error());
    let () = cmd("FLUSHALL").query_async(&mut zero).await?;
    let fields = info(&node, "keyspace").await?;
    assert!(fields.is_empty(), "{fields:?}");
    Ok(())
}

async fn manager(node: &Node) -> RedisResult<ConnectionManager> {
    let limit = Some(Duration::from_secs(1));
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(limit)
        .set_response_timeout(limit)
        .set_number_of_retries(20)
        .set_max_delay(Duration::from_millis(200));
    Client::open(node.url())?.get_connection_manager_with_config(config).await
}

#[tokio::test]
async fn the_manager_comes_back_with_the_server_and_its_data() -> RedisResult<()> {
    let node = or_skip!(server_with(Options { append_only: true, ..Options::default() }));
    let mut c = manager(&node).await?;
    let () = c.set("a", "kept").await?;
    let () = c.pset_ex("short", 1, 100).await?;
    let () = pipe().atomic().rpush("l", &[1, 2, 3]).hset("h", "f", "v").query_async(&mut c).await?;
    node.kill().await;
    let mut lost: RedisResult<()> = c.set("a", "not kept").await;
    assert!(lost.is_err(), "nobody answers");
    sleep(Duration::from_millis(150)).await;
    node.start().await;
    lost = Err((ErrorKind::Io, "not asked yet").into());
    for _ in 0..100 {
        lost = c.set("b", 1).await;
        if lost.is_ok() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    lost?;
    assert_eq!(c.get::<_, String>("a").await?, "kept");
    assert_eq!(c.get::<_, Option<i64>>("short").await?, None);
    assert_eq!(c.lrange::<_, Vec<i64>>("l", 0, -1).await?, [1, 2, 3]);
    assert_eq!(c.hget::<_, _, String>("h", "f").await?, "v");
    Ok(())
}

#[tokio::test]
async fn replicas_follow_and_refuse_writes() -> RedisResult<()> {
    let nodes = or_skip!(replicated(Options::default(), 2));
    let (mut master, mut replica) = (connect(&nodes[0]).await?, connect(&nodes[1]).await?);
    let () = master.set("a", 1).await?;
    let reached: usize = cmd("WAIT").arg(2).arg(2_000).query_async(&mut master).await?;
    assert_eq!(reached, 2);
    assert_eq!(replica.get::<_, i64>("a").await?, 1);
    let refused: RedisResult<()> = replica.set("a", 2).await;
    let refused = refused.expect_err("it is refused");
    assert_eq!(refused.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly));
    assert_eq!(refused.detail(), Some("You can't write against a read only replica."));
    let fields = info(&nodes[1], "replication").await?;
    assert_eq!(fields["role"], "slave");
    assert_eq!(fields["master_link_status"], "up");
    assert_eq!(fields["master_port"], nodes[0].port.to_string());
    assert_eq!(fields["master_replid"], info(&nodes[0], "replication").await?["master_replid"]);
    let role: (String, u64, Vec<(String, String, String)>) = cmd("ROLE").query_async(&mut master).await?;
    assert_eq!((role.0.as_str(), role.2.len()), ("master", 2));
    // A replica that is made a master takes writes, and then follows again, its own writes forgotten.
    let () = cmd("REPLICAOF").arg("NO").arg("ONE").query_async(&mut replica).await?;
    let () = replica.set("own", 1).await?;
    let () = cmd("REPLICAOF").arg(&nodes[0].host).arg(nodes[0].port).query_async(&mut replica).await?;
    let follows = || async {
        let own: Option<i64> = replica.clone().get("own").await.ok()?;
        let is_up = info(&nodes[1], "replication").await.ok()?["master_link_status"] == "up";
        (own.is_none() && is_up).then_some(())
    };
    eventually("it follows again", follows).await;
    let alone: usize = cmd("WAIT").arg(3).arg(100).query_async(&mut master).await?;
    assert_eq!(alone, 2, "after the time that was given, those that there are");
    Ok(())
}

#[tokio::test]
async fn pools_of_connections() -> RedisResult<()> {
    let node = or_skip!(server());
    let pool = deadpool_redis::Config::from_url(node.url())
        .builder()
        .expect("a well-formed url")
        .max_size(4)
        .runtime(deadpool_redis::Runtime::Tokio1)
        .build()
        .expect("a pool");
    let manager = RedisConnectionManager::new(node.url())?;
    let other = bb8::Pool::builder().max_size(4).build(manager).await?;
    let mut tasks = Vec::new();
    for _ in 0..10 {
        let (pool, other) = (pool.clone(), other.clone());
        tasks.push(tokio::spawn(async move {
            let mut c = pool.get().await.expect("a connection");
            let () = c.incr("n", 1).await?;
            let mut c = other.get().await.expect("a connection");
            c.incr::<_, _, i64>("n", 10).await
        }));
    }
    for task in tasks {
        task.await.expect("it ends")?;
    }
    let mut c = pool.get().await.expect("a connection");
    assert_eq!(c.get::<_, i64>("n").await?, 110);
    drop(c);
    assert!(pool.status().size <= 4 && other.state().connections <= 4);
    // A connection that was killed is not given out again.
    let mut c = connect(&node).await?;
    let _: usize = cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query_async(&mut c).await?;
    for _ in 0..4 {
        let mut c = pool.get().await.expect("a connection");
        assert_eq!(c.get::<_, i64>("n").await?, 110);
        let mut c = other.get().await.expect("a connection");
        assert_eq!(c.get::<_, i64>("n").await?, 110);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_url_asks_for() -> RedisResult<()> {
    let node = or_skip!(server());
    let client = Client::open(format!("{}?protocol=resp3", node.url()))?;
    assert_eq!(client.get_connection_info().redis_settings().protocol(), ProtocolVersion::RESP3);
    let mut c = client.get_multiplexed_async_connection().await?;
    let hello: std::collections::BTreeMap<String, Value> = cmd("HELLO").arg(3).query_async(&mut c).await?;
    assert_eq!(hello["proto"], Value::Int(3));
    assert_eq!(hello["mode"], Value::BulkString(b"standalone".to_vec()));
    assert_eq!(hello["role"], Value::BulkString(b"master".to_vec()));
    let wrong: RedisResult<()> = cmd("HELLO").arg(4).query_async(&mut c).await;
    let wrong = wrong.expect_err("there is no such protocol");
    assert_eq!((wrong.code(), wrong.detail()), (Some("NOPROTO"), Some("unsupported protocol version")));
    let fields = info(&node, "server").await?;
    assert_eq!(fields["redis_mode"], "standalone");
    assert!(fields["redis_version"].starts_with("7."), "{}", fields["redis_version"]);
    Ok(())
}
