//! The crate redis and a Redis server, the same in both worlds.
//!
//! Owns what an application does with one server. Must not ask for the simulation. Invariant: what is asserted here holds
//! on the real Redis, which is the judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use compat_redis::{connect, or_skip, server};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncCommands, Cmd, ExistenceCheck, Expiry, RedisResult, SetExpiry, SetOptions, Value, cmd, pipe,
};
use tokio::time::sleep;

/// The error's text, as the server gave it.
fn text_of<T: std::fmt::Debug>(result: RedisResult<T>) -> String {
    let error = result.expect_err("it is refused");
    format!("{} {}", error.code().unwrap_or("-"), error.detail().unwrap_or("-"))
}

async fn ask(connection: &mut MultiplexedConnection, words: &str) -> RedisResult<Value> {
    let mut words = words.split(' ');
    let mut command = Cmd::new();
    command.arg(words.next());
    words.for_each(|word| _ = command.arg(word));
    command.query_async(connection).await
}

#[tokio::test]
async fn strings_numbers_and_their_options() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    let set: String = c.set("a", "one").await?;
    assert_eq!(set, "OK");
    assert_eq!(c.get::<_, Option<String>>("a").await?, Some("one".to_owned()));
    assert_eq!(c.get::<_, Option<String>>("missing").await?, None);
    let only_new = SetOptions::default().conditional_set(ExistenceCheck::NX);
    assert_eq!(c.set_options::<_, _, Option<String>>("a", "two", only_new).await?, None);
    let with_old = SetOptions::default().get(true).with_expiration(SetExpiry::EX(100));
    assert_eq!(c.set_options::<_, _, Option<String>>("a", "three", with_old).await?, Some("one".to_owned()));
    assert_eq!(c.ttl::<_, i64>("a").await?, 100);
    assert_eq!(c.get_ex::<_, String>("a", Expiry::PERSIST).await?, "three");
    assert_eq!(c.ttl::<_, i64>("a").await?, -1);
    assert_eq!(c.ttl::<_, i64>("missing").await?, -2);
    assert_eq!(c.append::<_, _, usize>("a", "!").await?, 6);
    assert_eq!(c.getrange::<_, String>("a", 1, -2).await?, "hree");
    assert_eq!(c.setrange::<_, _, usize>("a", 8, "x").await?, 9);
    assert_eq!(c.get::<_, Vec<u8>>("a").await?, b"three!\0\0x");
    assert_eq!(c.incr::<_, _, i64>("n", 5).await?, 5);
    assert_eq!(c.decr::<_, _, i64>("n", 7).await?, -2);
    assert_eq!(c.incr::<_, _, f64>("f", 0.25).await?, 0.25);
    let () = c.mset(&[("x", "1"), ("y", "2")]).await?;
    let values: Vec<Option<i64>> = c.mget(&["x", "missing", "y"]).await?;
    assert_eq!(values, [Some(1), None, Some(2)]);
    assert!(!c.mset_nx::<_, _, bool>(&[("y", "3"), ("z", "3")]).await?);
    assert_eq!(c.get_del::<_, String>("x").await?, "1");
    assert_eq!(c.strlen::<_, usize>("x").await?, 0);
    assert_eq!(c.exists::<_, usize>(&["y", "y", "x"]).await?, 2);
    assert_eq!(c.del::<_, usize>(&["y", "x"]).await?, 1);
    assert_eq!(c.getset::<_, _, Option<String>>("g", "1").await?, None);
    // Bits count from the left.
    assert!(!c.setbit::<_, bool>("b", 7, true).await?);
    assert_eq!(c.get::<_, Vec<u8>>("b").await?, [1]);
    assert_eq!(c.bitcount::<_, usize>("b").await?, 1);
    Ok(())
}

#[tokio::test]
async fn errors_are_the_servers_own() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    let () = c.set("text", "x").await?;
    let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(text_of(ask(&mut c, "LPUSH text 1").await), wrong);
    let cases = [
        ("INCR text", "ERR value is not an integer or out of range"),
        ("INCRBYFLOAT text 1", "ERR value is not a valid float"),
        ("GET", "ERR wrong number of arguments for 'get' command"),
        ("FROB a b", "ERR unknown command 'FROB', with args beginning with: 'a' 'b' "),
        ("SET a b FROB", "ERR syntax error"),
        ("SET a b EX 0", "ERR invalid expire time in 'set' command"),
        ("SET a b EX 1 KEEPTTL", "ERR syntax error"),
        ("LSET missing 0 x", "ERR no such key"),
        ("RENAME missing other", "ERR no such key"),
        ("EXPIRE text x", "ERR value is not an integer or out of range"),
        ("SELECT 16", "ERR DB index is out of range"),
        ("EXEC", "ERR EXEC without MULTI"),
        ("DISCARD", "ERR DISCARD without MULTI"),
        ("SETRANGE text -1 x", "ERR offset is out of range"),
        ("CONFIG GET", "ERR wrong number of arguments for 'config|get' command"),
        ("CONFIG FROB", "ERR unknown subcommand 'FROB'. Try CONFIG HELP."),
        ("CLUSTER INFO", "ERR This instance has cluster support disabled"),
        ("XADD s 0-0 a b", "ERR The ID specified in XADD must be greater than 0-0"),
        (
            "XREADGROUP GROUP g c STREAMS s >",
            "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
        ),
        ("ZADD z x m", "ERR value is not a valid float"),
        ("ZADD z NX XX 1 m", "ERR XX and NX options at the same time are not compatible"),
        ("BLPOP l x", "ERR timeout is not a float or out of range"),
        ("BLPOP l -1", "ERR timeout is negative"),
        ("HSET h f", "ERR wrong number of arguments for 'hset' command"),
        (
            "AUTH x",
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        ),
        ("OBJECT ENCODING missing", "nil"),
    ];
    for (words, expected) in cases {
        match ask(&mut c, words).await {
            Ok(Value::Nil) => assert_eq!("nil", expected, "{words}"),
            result => assert_eq!(text_of(result), expected, "{words}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn lists_sets_hashes_and_sorted_sets() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    assert_eq!(c.rpush::<_, _, usize>("l", &[1, 2, 3, 4]).await?, 4);
    assert_eq!(c.lpush::<_, _, usize>("l", 0).await?, 5);
    assert_eq!(c.lrange::<_, Vec<i64>>("l", 1, -2).await?, [1, 2, 3]);
    assert_eq!(c.lpop::<_, Vec<i64>>("l", std::num::NonZeroUsize::new(2)).await?, [0, 1]);
    assert_eq!(c.rpop::<_, i64>("l", None).await?, 4);
    assert_eq!(ask(&mut c, "LINSERT l BEFORE 3 9").await?, Value::Int(3));
    assert_eq!(c.lindex::<_, i64>("l", -1).await?, 3);
    assert_eq!(c.lrem::<_, _, usize>("l", 0, 9).await?, 1);
    assert_eq!(ask(&mut c, "LMOVE l l LEFT RIGHT").await?, Value::BulkString(b"2".to_vec()));
    let () = c.ltrim("l", 1, 0).await?;
    assert!(!c.exists::<_, bool>("l").await?, "an empty list is not there");

    assert_eq!(c.sadd::<_, _, usize>("s", &["a", "b", "c", "a"]).await?, 3);
    assert_eq!(c.sadd::<_, _, usize>("t", &["b", "c", "d"]).await?, 3);
    let both: BTreeSet<String> = c.sinter(&["s", "t"]).await?;
    assert_eq!(both.into_iter().collect::<String>(), "bc");
    let left: BTreeSet<String> = c.sdiff(&["s", "t"]).await?;
    assert_eq!(left.into_iter().collect::<String>(), "a");
    assert_eq!(c.sunionstore::<_, _, usize>("u", &["s", "t"]).await?, 4);
    assert!(c.smove::<_, _, _, bool>("s", "t", "a").await?);
    assert!(!c.sismember::<_, _, bool>("s", "a").await?);
    assert_eq!(c.smismember::<_, _, Vec<bool>>("t", &["a", "x"]).await?, [true, false]);
    assert_eq!(c.spop::<_, Option<String>>("missing").await?, None);

    assert_eq!(ask(&mut c, "HSET h a 1 b 2").await?, Value::Int(2));
    assert_eq!(c.hincr::<_, _, _, i64>("h", "a", 4).await?, 5);
    let all: BTreeMap<String, i64> = c.hgetall("h").await?;
    assert_eq!(all, BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 2)]));
    assert!(!c.hset_nx::<_, _, _, bool>("h", "a", 1).await?);
    assert_eq!(c.hmget::<_, _, Vec<Option<i64>>>("h", &["b", "x"]).await?, [Some(2), None]);
    assert_eq!(c.hdel::<_, _, usize>("h", &["a", "b", "c"]).await?, 2);
    assert_eq!(c.key_type::<_, String>("h").await?, "none");

    let members = [(3, "c"), (1, "a"), (2, "b"), (2, "bb")];
    assert_eq!(c.zadd_multiple::<_, _, _, usize>("z", &members).await?, 4);
    assert_eq!(c.zrange::<_, Vec<String>>("z", 0, -1).await?, ["a", "b", "bb", "c"]);
    let scored: Vec<(String, f64)> = c.zrevrange_withscores("z", 0, 1).await?;
    assert_eq!(scored, [("c".to_owned(), 3.0), ("bb".to_owned(), 2.0)]);
    assert_eq!(c.zrangebyscore::<_, _, _, Vec<String>>("z", "(1", 2).await?, ["b", "bb"]);
    assert_eq!(c.zincr::<_, _, _, f64>("z", "a", 1.5).await?, 2.5);
    assert_eq!(c.zrank::<_, _, Option<usize>>("z", "a").await?, Some(2));
    assert_eq!(c.zcount::<_, _, _, usize>("z", "-inf", "+inf").await?, 4);
    assert_eq!(ask(&mut c, "ZADD z GT CH 1 c").await?, Value::Int(0));
    assert_eq!(c.zscore::<_, _, Option<f64>>("z", "c").await?, Some(3.0));
    assert_eq!(c.zpopmin::<_, Vec<(String, f64)>>("z", 1).await?, [("b".to_owned(), 2.0)]);
    assert_eq!(c.zremrangebyrank::<_, usize>("z", 0, 0).await?, 1);
    assert_eq!(c.zcard::<_, usize>("z").await?, 2);
    Ok(())
}

#[tokio::test]
async fn keys_expire() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    let () = c.pset_ex("short", 1, 120).await?;
    let () = c.set("long", 1).await?;
    assert!(c.expire::<_, bool>("long", 1_000).await?);
    assert!(c.pttl::<_, i64>("short").await? <= 120);
    assert_eq!(c.ttl::<_, i64>("long").await?, 1_000);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(c.get::<_, Option<i64>>("short").await?, None);
    assert_eq!(ask(&mut c, "EXPIRE long 10 NX").await?, Value::Int(0));
    assert_eq!(ask(&mut c, "EXPIRE long 10 LT").await?, Value::Int(1));
    let () = c.set("long", 2).await?;
    assert_eq!(c.ttl::<_, i64>("long").await?, -1, "a new value has no end");
    assert!(c.expire::<_, bool>("long", -1).await?);
    assert!(!c.exists::<_, bool>("long").await?);
    assert_eq!(ask(&mut c, "DBSIZE").await?, Value::Int(0));
    let at = 2_000_000_000;
    let () = c.set("dated", 1).await?;
    assert!(c.expire_at::<_, bool>("dated", at).await?);
    assert_eq!(ask(&mut c, "EXPIRETIME dated").await?, Value::Int(at));
    Ok(())
}

#[tokio::test]
async fn scans_walk_over_everything() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    let mut pipeline = pipe();
    for i in 0..300 {
        pipeline.set(format!("key:{i}"), i).ignore();
        pipeline.hset("hash", format!("field:{i}"), i).ignore();
        pipeline.zadd("sorted", format!("member:{i}"), i).ignore();
    }
    pipeline.sadd("set", &["one", "two", "three"]).ignore();
    let () = pipeline.query_async(&mut c).await?;
    let expected: BTreeSet<String> = (0..300).map(|i| format!("key:{i}")).collect();
    let mut found = BTreeSet::new();
    let mut keys = c.scan_match::<_, String>("key:*").await?;
    while let Some(key) = keys.next_item().await {
        found.insert(key?);
    }
    drop(keys);
    assert_eq!(found, expected);
    let mut fields = BTreeMap::new();
    let mut pairs = c.hscan::<_, (String, i64)>("hash").await?;
    while let Some(pair) = pairs.next_item().await {
        fields.extend([pair?]);
    }
    drop(pairs);
    assert_eq!((fields.len(), fields["field:299"]), (300, 299));
    let mut members = c.zscan_match::<_, _, (String, f64)>("sorted", "member:29?").await?;
    let mut scores = BTreeSet::new();
    while let Some(member) = members.next_item().await {
        scores.insert(member?.1 as i64);
    }
    drop(members);
    assert_eq!(scores.into_iter().collect::<Vec<_>>(), (290..300).collect::<Vec<_>>());
    let matching: BTreeSet<String> = c.keys("key:[12]9?").await?;
    assert_eq!(matching.len(), 20);
    let mut cursor_only = cmd("SCAN");
    let (_, none): (u64, Vec<String>) =
        cursor_only.arg(0).arg("COUNT").arg(1_000).arg("TYPE").arg("stream").query_async(&mut c).await?;
    assert!(none.is_empty());
    Ok(())
}

#[tokio::test]
async fn pipelines_and_transactions() -> RedisResult<()> {
    let node = or_skip!(server());
    let mut c = connect(&node).await?;
    let (first, second): (i64, i64) =
        pipe().incr("n", 1).incr("n", 10).cmd("SET").arg("a").arg("b").ignore().query_async(&mut c).await?;
    assert_eq!((first, second), (1, 11));
    // One that fails does not keep the others from being done.
    let mixed: RedisResult<()> = pipe().set("x", "text").incr("x", 1).set("y", 1).query_async(&mut c).await;
    assert!(mixed.is_err());
    assert_eq!(c.get::<_, Option<i64>>("y").await?, Some(1));
    let mixed: RedisResult<()> =
        pipe().atomic().set("x", "text").incr("x", 1).set("z", 1).query_async(&mut c).await;
    assert!(mixed.is_err());
    assert_eq!(c.get::<_, Option<i64>>("z").await?, Some(1), "EXEC does not roll back");
    // One that cannot even be queued stops all.
    let queued: RedisResult<()> = pipe().atomic().set("w", 1).cmd("GET").query_async(&mut c).await;
    let text = format!("{:?}", queued.expect_err("it is aborted"));
    assert!(text.contains("wrong number of arguments for 'get' command"), "{text}");
    assert_eq!(c.get::<_, Option<i64>>("w").await?, None);
    let refused = ask(&mut c, "MULTI").await?;
    assert_eq!(refused, Value::Okay);
    assert_eq!(text_of(ask(&mut c, "MULTI").await), "ERR MULTI calls can not be nested");
    assert_eq!(text_of(ask(&mut c, "WATCH a").await), "ERR WATCH inside MULTI is not allowed");
    assert_eq!(ask(&mut c, "SET a q").await?, Value::SimpleString("QUEUED".to_owned()));
    assert_eq!(ask(&mut c, "DISCARD").await?, Value::Okay);
    assert_eq!(c.get::<_, String>("a").await?, "b");
    assert_eq!(ask(&mut c, "MULTI").await?, Value::Okay);
    assert!(ask(&mut c, "FROB").await.is_err());
    assert_eq!(
        text_of(ask(&mut c, "EXEC").await),
        "EXECABORT Transaction discarded because of previous errors."
    );
    Ok(())
}

#[tokio::test]
async fn watched_keys_make_transactions_optimistic() -> RedisResult<()> {
    let node = or_skip!(server());
    let (mut one, mut other) = (connect(&node).await?, connect(&node).await?);
    let () = one.set("balance", 10).await?;
    let watch = |key: &str| cmd("WATCH").arg(key).to_owned();
    let () = watch("balance").query_async(&mut one).await?;
    let () = other.set("balance", 20).await?;
    let done: Option<(i64,)> = pipe().atomic().incr("balance", 1).query_async(&mut one).await?;
    assert_eq!(done, None, "somebody else wrote it");
    let () = watch("balance").query_async(&mut one).await?;
    let done: Option<(i64,)> = pipe().atomic().incr("balance", 1).query_async(&mut one).await?;
    assert_eq!(done, Some((21,)));
    // Many that increment by reading and writing lose nothing.
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let mut c = connect(&node).await?;
        tasks.push(tokio::spawn(async move {
            let mut rounds = 0;
            while rounds < 10 {
                let () = watch("balance").query_async(&mut c).await?;
                let now: i64 = c.get("balance").await?;
                let done: Option<()> =
                    pipe().atomic().set("balance", now + 1).ignore().query_async(&mut c).await?;
                rounds += usize::from(done.is_some());
            }
            RedisResult::Ok(())
        }));
    }
    for task in tasks {
        task.await.expect("it ends")?;
    }
    assert_eq!(one.get::<_, i64>("balance").await?, 61);
    // A watched key that expires is changed; UNWATCH forgets.
    let () = one.pset_ex("soon", 1, 30).await?;
    let () = watch("soon").query_async(&mut one).await?;
    sleep(Duration::from_millis(60)).await;
    let done: Option<()> = pipe().atomic().set("x", 1).ignore().query_async(&mut one).await?;
    assert_eq!(done, None);
    Ok(())
}
