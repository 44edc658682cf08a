//! Our sentinel among real ones: it watches real servers, votes with real sentinels, and is elected by them.
//!
//! Owns the comparison. Must not run in a simulation, where there is nothing real. Invariant: whatever a real sentinel says of
//! the same servers, ours says as well.
#![cfg(not(sim))]

use std::collections::BTreeMap;

use compat_redis::{
    MASTER, Options, Sentinels, ask, eventually, info, master_of, mixed_sentinels_of, or_skip,
    until_sentinels_agree,
};
use redis::{RedisResult, Value};

type Fields = BTreeMap<String, String>;

/// What can be compared: times differ, and connections may be shared or not.
fn comparable(mut fields: Fields) -> Fields {
    let differs = |name: &str| {
        name.ends_with("-time")
            || name.starts_with("last-")
            || name.starts_with("link-")
            || name == "info-refresh"
    };
    let names: Vec<String> = fields.keys().filter(|name| differs(name)).cloned().collect();
    for name in names {
        fields.insert(name, String::new());
    }
    // The offset goes on all the time.
    fields.remove("slave-repl-offset");
    fields
}

#[tokio::test]
async fn ours_says_what_real_ones_say() -> RedisResult<()> {
    let all = or_skip!(mixed_sentinels_of(Options::default(), 1));
    let [real, other, ours] = &all.sentinels[..] else { panic!("three sentinels") };
    for words in [["SENTINEL", "MASTER"], ["SENTINEL", "CKQUORUM"], ["SENTINEL", "GET-MASTER-ADDR-BY-NAME"]] {
        let words = [words[0], words[1], MASTER];
        let same = || async {
            let (real, ours) =
                (ask::<Value>(real, &words).await.ok()?, ask::<Value>(ours, &words).await.ok()?);
            let fields = |value: &Value| redis::from_redis_value_ref::<Fields>(value).map(comparable);
            match (fields(&real), fields(&ours)) {
                (Ok(real), Ok(ours)) => (real == ours).then_some(()),
                _ => (real == ours).then_some(()),
            }
        };
        eventually(&format!("both answer the same to {words:?}"), same).await;
    }
    let same = || async {
        let words = ["SENTINEL", "REPLICAS", MASTER];
        let mut of = Vec::new();
        for sentinel in [real, ours] {
            let replicas: Vec<Fields> = ask(sentinel, &words).await.ok()?;
            let mut replicas: Vec<Fields> = replicas.into_iter().map(comparable).collect();
            replicas.sort();
            of.push(replicas);
        }
        (of[0] == of[1]).then_some(())
    };
    eventually("both know the same of the replicas", same).await;
    // The names of all fields are the same, in the same order, for sentinels as well.
    for kind in ["MASTERS", "REPLICAS", "SENTINELS"] {
        let mut of = Vec::new();
        for sentinel in [other, ours] {
            let words =
                if kind == "MASTERS" { vec!["SENTINEL", kind] } else { vec!["SENTINEL", kind, MASTER] };
            let all: Vec<Vec<(String, String)>> = ask(sentinel, &words).await?;
            of.push(all[0].iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        }
        assert_eq!(of[0], of[1], "{kind}");
    }
    let help: [RedisResult<Value>; 2] =
        [ask(real, &["SENTINEL", "MASTER"]).await, ask(ours, &["SENTINEL", "MASTER"]).await];
    let texts = help.map(|refused| refused.expect_err("an argument is missing").to_string());
    assert_eq!(texts[0], texts[1]);
    Ok(())
}

/// A failover by a quorum of which `ours` are ours.
async fn failover(all: &Sentinels) -> RedisResult<()> {
    let old = master_of(&all.sentinels[0]).await.ok();
    all.servers[0].kill().await;
    let agreed = || async {
        let mut named = Vec::new();
        for sentinel in &all.sentinels {
            named.push(master_of(sentinel).await.ok()?);
        }
        let is_new = Some(&named[0]) != old.as_ref() && named.iter().all(|name| *name == named[0]);
        is_new.then_some(())
    };
    eventually("all name the same new master", agreed).await;
    all.servers[0].start().await;
    let in_order = || async {
        let (_, port) = master_of(&all.sentinels[0]).await.ok()?;
        let mut following = 0;
        for server in &all.servers {
            let fields = info(server, "replication").await.ok()?;
            let is_right = match server.port == port {
                true => fields["role"] == "master",
                false => fields["role"] == "slave" && fields["master_port"] == port.to_string(),
            };
            following += usize::from(is_right);
        }
        (following == all.servers.len()).then_some(())
    };
    eventually("all others follow it, also the old master", in_order).await;
    Ok(())
}

#[tokio::test]
async fn one_of_ours_votes_with_two_real_ones() -> RedisResult<()> {
    let all = or_skip!(mixed_sentinels_of(Options::default(), 1));
    failover(&all).await
}

#[tokio::test]
async fn two_of_ours_vote_with_a_real_one() -> RedisResult<()> {
    let options = Options { password: Some("secret".to_owned()), ..Options::default() };
    let all = or_skip!(mixed_sentinels_of(options, 2));
    failover(&all).await
}

#[tokio::test]
async fn ours_alone_and_asked_to() -> RedisResult<()> {
    let all = or_skip!(mixed_sentinels_of(Options::default(), 3));
    let old = master_of(&all.sentinels[0]).await.ok();
    let ordered = || async { ask::<String>(&all.sentinels[1], &["SENTINEL", "FAILOVER", MASTER]).await.ok() };
    assert_eq!(eventually("there is a good replica", ordered).await, "OK");
    let switched =
        || async { master_of(&all.sentinels[2]).await.ok().filter(|name| Some(name) != old.as_ref()) };
    eventually("the others hear of it", switched).await;
    until_sentinels_agree(&all).await;
    Ok(())
}
