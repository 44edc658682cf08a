//! Redis servers among themselves: what survives a restart, replication, a cluster.
//!
//! Owns the servers of each test, on loopback, in both worlds. Must not know clients' libraries. Invariant: each test ends its
//! servers.

use std::path::PathBuf;
use std::time::Duration;

use shim_servers::redis::wire::{Link, Reply, split_line};
use shim_servers::redis::{Redis, create_cluster};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// A server, and the task that is it.
struct Running {
    port: u16,
    task: JoinHandle<std::io::Result<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Ends it, as a process that is killed.
    async fn kill(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn link(&self) -> Link {
        Link::connect(("127.0.0.1", self.port)).await.expect("the server listens")
    }
}

/// A port that is free, and whose bus port can be one.
async fn listen() -> TcpListener {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let is_free = port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).await.is_ok();
        if is_free {
            return listener;
        }
    }
}

async fn start(server: Redis) -> Running {
    start_on(listen().await, server)
}

fn start_on(listener: TcpListener, server: Redis) -> Running {
    let port = listener.local_addr().expect("an address").port();
    Running { port, task: tokio::spawn(server.serve(listener)) }
}

async fn ask(link: &mut Link, line: &str) -> Reply {
    let words = split_line(line.as_bytes()).expect("quotes are closed");
    link.call(&words).await.expect("the server answers")
}

async fn text(link: &mut Link, line: &str) -> String {
    let reply = ask(link, line).await;
    reply.as_text().map_or_else(|| format!("{reply:?}"), str::to_owned)
}

/// Asks until the answer has this in it.
async fn until(link: &mut Link, line: &str, wanted: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let found = text(link, line).await;
        if found.contains(wanted) {
            return;
        }
        assert!(Instant::now() < end, "{line} never showed {wanted}, but {found}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A folder of this test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("shim-redis-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let folder = folder("restart");
    let server = start(Redis::new().data_dir(&folder)).await;
    let mut link = server.link().await;
    for line in [
        "SET a 1",
        "EXPIRE a 1000",
        "RPUSH l 1 2 3",
        "LPOP l",
        "SADD s x y z",
        "SPOP s",
        "XADD stream * a 1",
        "HSET h f v",
        "ZADD z 1.5 m",
        "SELECT 3",
        "SET other 1",
    ] {
        assert!(ask(&mut link, line).await.as_error().is_none(), "{line}");
    }
    ask(&mut link, "SELECT 0").await;
    let shown =
        ["TTL a", "LRANGE l 0 -1", "SMEMBERS s", "XRANGE stream - +", "HGETALL h", "ZSCORE z m", "DBSIZE"];
    let mut before = Vec::new();
    for line in shown {
        before.push(ask(&mut link, line).await);
    }
    server.kill().await;
    for is_rewritten in [false, true] {
        let server = start(Redis::new().data_dir(&folder)).await;
        let mut link = server.link().await;
        for (line, before) in shown.iter().zip(&before).skip(1) {
            assert_eq!(ask(&mut link, line).await, *before, "{line}, {is_rewritten}");
        }
        let ttl = ask(&mut link, "TTL a").await.as_integer().expect("a number");
        assert!((900..=1000).contains(&ttl), "{ttl}");
        ask(&mut link, "SELECT 3").await;
        assert_eq!(text(&mut link, "GET other").await, "1");
        ask(&mut link, "BGREWRITEAOF").await;
        until(&mut link, "INFO persistence", "aof_rewrites:1").await;
        ask(&mut link, "SET after 1").await;
        ask(&mut link, "DEL after").await;
        server.kill().await;
    }
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn a_file_that_was_cut_off_is_read_up_to_there() {
    let folder = folder("cut");
    let server = start(Redis::new().data_dir(&folder)).await;
    let mut link = server.link().await;
    ask(&mut link, "SET whole 1").await;
    ask(&mut link, "MULTI").await;
    ask(&mut link, "SET first 1").await;
    ask(&mut link, "SET second 1").await;
    ask(&mut link, "EXEC").await;
    server.kill().await;
    let file = folder.join("appendonly.aof");
    let bytes = tokio::fs::read(&file).await.expect("the file is there");
    tokio::fs::write(&file, &bytes[..bytes.len() - 5]).await.expect("it can be cut");
    let server = start(Redis::new().data_dir(&folder)).await;
    let mut link = server.link().await;
    // A transaction whose end is missing did not happen.
    assert_eq!(ask(&mut link, "EXISTS whole first second").await.as_integer(), Some(1));
    ask(&mut link, "SET next 1").await;
    server.kill().await;
    let server = start(Redis::new().data_dir(&folder)).await;
    let mut link = server.link().await;
    assert_eq!(ask(&mut link, "EXISTS whole next").await.as_integer(), Some(2));
    server.kill().await;
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn a_replica_follows_and_takes_over() {
    let master = start(Redis::new().password("secret")).await;
    let mut link = master.link().await;
    assert_eq!(text(&mut link, "AUTH secret").await, "OK");
    ask(&mut link, "SET before 1").await;
    let settings = Redis::new().password("secret").replica_of("127.0.0.1", master.port);
    let replica = start(settings.clone()).await;
    let second = start(settings).await;
    let (mut first_link, mut second_link) = (replica.link().await, second.link().await);
    for link in [&mut first_link, &mut second_link] {
        ask(link, "AUTH secret").await;
        until(link, "INFO replication", "master_link_status:up").await;
        assert_eq!(text(link, "GET before").await, "1");
        assert!(text(link, "SET x 1").await.starts_with("READONLY"));
    }
    ask(&mut link, "SET after 2").await;
    assert_eq!(ask(&mut link, "WAIT 2 5000").await.as_integer(), Some(2));
    assert_eq!(text(&mut first_link, "GET after").await, "2");
    assert!(text(&mut link, "INFO replication").await.contains("connected_slaves:2"));

    master.kill().await;
    until(&mut first_link, "INFO replication", "master_link_status:down").await;
    assert_eq!(text(&mut first_link, "REPLICAOF NO ONE").await, "OK");
    ask(&mut first_link, "SET new 3").await;
    let follow = format!("REPLICAOF 127.0.0.1 {}", replica.port);
    assert_eq!(text(&mut second_link, &follow).await, "OK");
    until(&mut second_link, "GET new", "3").await;
    // It had all of the old master's stream, so that only the rest was sent.
    assert!(text(&mut first_link, "INFO stats").await.contains("sync_partial_ok:1"));
    second.kill().await;
    replica.kill().await;
}

/// A cluster of three masters with a replica each.
async fn cluster() -> Vec<Running> {
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(start(Redis::new().cluster().config("cluster-node-timeout", "500")).await);
    }
    let servers: Vec<(&str, u16)> = nodes.iter().map(|node| ("127.0.0.1", node.port)).collect();
    create_cluster(&servers, 1).await.expect("they agree");
    nodes
}

#[tokio::test]
async fn a_cluster_sends_clients_where_the_slot_is() {
    let nodes = cluster().await;
    let mut first = nodes[0].link().await;
    let mut second = nodes[1].link().await;
    let mut replica = nodes[3].link().await;
    // The slot of foo is 12182, which is the third master's; that of bar is 5061, the first one's.
    assert_eq!(text(&mut first, "SET foo 1").await, format!("MOVED 12182 127.0.0.1:{}", nodes[2].port));
    assert_eq!(text(&mut first, "SET bar 1").await, "OK");
    assert!(text(&mut first, "MGET foo bar").await.starts_with("CROSSSLOT"));
    assert_eq!(ask(&mut first, "WAIT 1 5000").await.as_integer(), Some(1));
    assert!(text(&mut replica, "GET bar").await.starts_with("MOVED 5061"));
    ask(&mut replica, "READONLY").await;
    assert_eq!(text(&mut replica, "GET bar").await, "1");

    let ids = [text(&mut first, "CLUSTER MYID").await, text(&mut second, "CLUSTER MYID").await];
    assert_eq!(text(&mut second, &format!("CLUSTER SETSLOT 5061 IMPORTING {}", ids[0])).await, "OK");
    assert_eq!(text(&mut first, &format!("CLUSTER SETSLOT 5061 MIGRATING {}", ids[1])).await, "OK");
    assert_eq!(text(&mut first, "GET bar").await, "1");
    let asked = format!("ASK 5061 127.0.0.1:{}", nodes[1].port);
    assert_eq!(text(&mut first, "GET {bar}other").await, asked);
    assert!(text(&mut second, "GET bar").await.starts_with("MOVED 5061"));
    assert!(text(&mut first, "MGET bar {bar}other").await.starts_with("TRYAGAIN"));
    assert_eq!(text(&mut first, &format!("MIGRATE 127.0.0.1 {} bar 0 5000", nodes[1].port)).await, "OK");
    assert_eq!(text(&mut first, "GET bar").await, asked);
    ask(&mut second, "ASKING").await;
    assert_eq!(text(&mut second, "GET bar").await, "1");
    for link in [&mut second, &mut first] {
        assert_eq!(text(link, &format!("CLUSTER SETSLOT 5061 NODE {}", ids[1])).await, "OK");
    }
    assert_eq!(text(&mut second, "GET bar").await, "1");
    assert!(text(&mut first, "GET bar").await.starts_with("MOVED 5061"));
    let mut third = nodes[2].link().await;
    until(&mut third, "GET bar", &format!("MOVED 5061 127.0.0.1:{}", nodes[1].port)).await;
}

#[tokio::test]
async fn a_replica_is_elected_when_its_master_is_gone() {
    let mut nodes = cluster().await;
    let mut first = nodes[0].link().await;
    assert_eq!(text(&mut first, "SET bar 1").await, "OK");
    assert_eq!(ask(&mut first, "WAIT 1 5000").await.as_integer(), Some(1));
    let master = nodes.remove(0);
    let listener_port = master.port;
    master.kill().await;
    // What was the fourth server is the third now: the first one's replica.
    let mut replica = nodes[2].link().await;
    until(&mut replica, "ROLE", "master").await;
    until(&mut replica, "CLUSTER INFO", "cluster_state:ok").await;
    assert_eq!(text(&mut replica, "GET bar").await, "1");
    assert_eq!(text(&mut replica, "SET bar 2").await, "OK");
    for node in &nodes[..2] {
        let mut link = node.link().await;
        until(&mut link, "GET bar", &format!("127.0.0.1:{}", nodes[2].port)).await;
        assert!(text(&mut link, "CLUSTER NODES").await.contains(&format!("127.0.0.1:{listener_port}@")));
    }
}

#[tokio::test]
async fn a_failover_on_request_loses_nothing() {
    let nodes = cluster().await;
    let (mut master, mut replica) = (nodes[0].link().await, nodes[3].link().await);
    for number in 0..50 {
        assert_eq!(ask(&mut master, "INCR bar").await.as_integer(), Some(number + 1));
    }
    assert_eq!(text(&mut replica, "CLUSTER FAILOVER").await, "OK");
    until(&mut replica, "ROLE", "master").await;
    assert_eq!(text(&mut replica, "GET bar").await, "50");
    until(&mut master, "ROLE", "slave").await;
    until(&mut master, "INFO replication", "master_link_status:up").await;
    let answer = text(&mut master, "SET bar 1").await;
    assert!(answer.starts_with("MOVED 5061"), "{answer}");
}

#[tokio::test]
async fn a_minority_serves_nobody() {
    let mut nodes = cluster().await;
    let mut link = nodes[0].link().await;
    assert_eq!(text(&mut link, "SET bar 1").await, "OK");
    // All but the first master and its replica.
    for gone in [5, 4, 2, 1] {
        nodes.remove(gone).kill().await;
    }
    until(&mut link, "CLUSTER INFO", "cluster_state:fail").await;
    assert_eq!(text(&mut link, "SET bar 2").await, "CLUSTERDOWN The cluster is down");
}

/// Requests at random that change data of all types; `choose` is given how many choices there are.
fn random_request(mut choose: impl FnMut(usize) -> usize) -> String {
    const FORMS: &[&str] = &[
        "SET s# %",
        "SET s# % EX 100",
        "APPEND s# %",
        "INCR n#",
        "INCRBYFLOAT f# 0.%",
        "SETBIT b# % 1",
        "GETEX s# PX 5000000",
        "GETDEL s#",
        "RPUSH l# % %",
        "LPUSH l# %",
        "LPOP l# 2",
        "RPOPLPUSH l# l#",
        "LREM l# 1 %",
        "LTRIM l# 0 5",
        "BLPOP l# l# 0.001",
        "SADD t# % % %",
        "SPOP t# 2",
        "SREM t# %",
        "SUNIONSTORE t# t# t#",
        "HSET h# % % % %",
        "HINCRBY h# % 3",
        "HDEL h# %",
        "ZADD z# % m% 1.5 m%",
        "ZINCRBY z# 0.25 m%",
        "ZPOPMIN z#",
        "ZREMRANGEBYRANK z# 0 0",
        "ZUNIONSTORE z# 2 z# z# WEIGHTS 2 0.5",
        "XADD x# * % %",
        "XADD x# MAXLEN 3 * % %",
        "XGROUP CREATE x# g 0 MKSTREAM",
        "XREADGROUP GROUP g c% COUNT 2 STREAMS x# >",
        "XAUTOCLAIM x# g c% 0 0 COUNT 1",
        "XTRIM x# MAXLEN 2",
        "EXPIRE l# %00",
        "PERSIST l#",
        "RENAME s# s#",
        "COPY h# h# REPLACE",
        "DEL z#",
        "MOVE t# 1",
    ];
    let mut line = String::new();
    for character in FORMS[choose(FORMS.len())].chars() {
        match character {
            '#' => line += &choose(3).to_string(),
            '%' => line += &choose(9).to_string(),
            other => line.push(other),
        }
    }
    line
}

/// All data of a server, as DUMP and PEXPIRETIME show them.
async fn everything(link: &mut Link) -> Vec<String> {
    let mut shown = Vec::new();
    for database in 0..2 {
        ask(link, &format!("SELECT {database}")).await;
        let keys = ask(link, "KEYS *").await;
        for key in keys.as_array().expect("an array").iter().filter_map(Reply::as_text) {
            let (value, expiry) =
                (ask(link, &format!("DUMP {key}")).await, ask(link, &format!("PEXPIRETIME {key}")).await);
            shown.push(format!("{database} {key} {value:?} {expiry:?}"));
        }
    }
    ask(link, "SELECT 0").await;
    shown.sort();
    shown
}

#[tokio::test]
async fn the_journal_makes_the_same_data_again() {
    let folder = folder("same");
    let master = start(Redis::new().data_dir(&folder).config("appendfsync", "no")).await;
    let replica = start(Redis::new().replica_of("127.0.0.1", master.port)).await;
    let (mut link, mut replica_link) = (master.link().await, replica.link().await);
    until(&mut replica_link, "INFO replication", "master_link_status:up").await;
    let mut random = fastrand::Rng::with_seed(7);
    let mut failed = 0;
    for number in 0..1_000 {
        let request = random_request(|most| random.usize(0..most));
        let in_transaction = number % 10 == 0;
        if in_transaction {
            ask(&mut link, "MULTI").await;
        }
        let reply = ask(&mut link, &request).await;
        failed += usize::from(reply.as_error().is_some());
        if in_transaction {
            ask(&mut link, &random_request(|most| random.usize(0..most))).await;
            ask(&mut link, "EXEC").await;
        }
    }
    assert!(failed < 400, "{failed} requests were refused");
    assert_eq!(ask(&mut link, "WAIT 1 5000").await.as_integer(), Some(1));
    let data = everything(&mut link).await;
    assert!(data.len() > 10, "{data:?}");
    assert_eq!(everything(&mut replica_link).await, data);
    master.kill().await;
    let again = start(Redis::new().data_dir(&folder)).await;
    assert_eq!(everything(&mut again.link().await).await, data);
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn an_old_master_comes_back_as_a_replica() {
    let root = folder("back");
    let options = |number: usize| {
        let folder = root.join(number.to_string());
        Redis::new().cluster().config("cluster-node-timeout", "500").data_dir(folder)
    };
    let mut nodes = Vec::new();
    for number in 0..6 {
        nodes.push(start(options(number)).await);
    }
    let servers: Vec<(&str, u16)> = nodes.iter().map(|node| ("127.0.0.1", node.port)).collect();
    create_cluster(&servers, 1).await.expect("they agree");
    let mut first = nodes[0].link().await;
    let name = text(&mut first, "CLUSTER MYID").await;
    assert_eq!(text(&mut first, "SET bar 1").await, "OK");
    let old = nodes.remove(0);
    let port = old.port;
    old.kill().await;
    let mut replica = nodes[2].link().await;
    until(&mut replica, "ROLE", "master").await;
    until(&mut replica, "SET bar 2", "OK").await;
    let listener = loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => break listener,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    let back = start_on(listener, options(0));
    let mut link = back.link().await;
    assert_eq!(text(&mut link, "CLUSTER MYID").await, name);
    until(&mut link, "ROLE", "slave").await;
    until(&mut link, "INFO replication", "master_link_status:up").await;
    ask(&mut link, "READONLY").await;
    until(&mut link, "GET bar", "2").await;
    until(&mut replica, "INFO replication", "connected_slaves:1").await;
    let _ = std::fs::remove_dir_all(&root);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let server = start(Redis::new()).await;
    let (mut slow, mut fast) = (server.link().await, server.link().await);
    ask(&mut fast, "CONFIG SET client-output-buffer-limit \"pubsub 100000 0 0\"").await;
    ask(&mut slow, "SUBSCRIBE news").await;
    let text = "x".repeat(500_000);
    let mut heard = 0;
    while ask(&mut fast, &format!("PUBLISH news {text}")).await.as_integer() == Some(1) {
        heard += 1;
        assert!(heard < 200, "it is never let go");
    }
    let end = loop {
        if let Err(error) = slow.receive().await {
            break error;
        }
    };
    assert!(end.kind() != std::io::ErrorKind::InvalidData, "{end}");
}

#[tokio::test]
async fn a_hook_runs_between_the_disk_and_the_answer() {
    let folder = folder("hook");
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counted, file) = (calls.clone(), folder.join("appendonly.aof"));
    let server = Redis::new().data_dir(&folder).on_write(move |_| {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let is_there = bytes.windows(5).any(|part| part == b"value");
        counted.fetch_add(usize::from(is_there), std::sync::atomic::Ordering::Relaxed);
    });
    let server = start(server).await;
    let mut link = server.link().await;
    ask(&mut link, "GET a").await;
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 0);
    ask(&mut link, "SET a value").await;
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn one_client_too_many_is_refused() {
    let server = start(Redis::new().max_clients(2)).await;
    let (mut first, second) = (server.link().await, server.link().await);
    assert_eq!(text(&mut first, "PING").await, "PONG");
    let mut third = server.link().await;
    let refused = third.receive().await.expect("it is told why");
    assert_eq!(refused.as_error(), Some("ERR max number of clients reached"));
    drop(second);
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let mut link = server.link().await;
        if link.call(&["PING"]).await.is_ok_and(|reply| reply.as_error().is_none()) {
            break;
        }
        assert!(Instant::now() < end, "there is room again");
        sleep(Duration::from_millis(20)).await;
    }
}
