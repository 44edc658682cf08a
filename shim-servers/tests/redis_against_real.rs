//! The same requests to our Redis and to the real one: the replies have to be equal, byte for byte.
//!
//! Owns the comparison. Must not know what is right: the real server does. Invariant: where it is not installed, the test says
//! that it is skipped.
#![cfg(not(sim))]

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use shim_servers::redis::Redis;
use shim_servers::redis::wire::{encode_request, split_line};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A real server, which ends with the test.
struct Real {
    process: Child,
    port: u16,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start_real() -> Option<Real> {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let words = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--enable-debug-command", "yes"];
    let started = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server", "--port", &port.to_string()])
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(process) => Some(Real { process, port }),
        Err(error) => {
            // Not by `eprintln!`, which the test harness would keep to itself.
            let _ = writeln!(std::io::stderr(), "skipped: no redis-server on this machine ({error})");
            None
        }
    }
}

/// A connection that shows replies as they are.
struct Raw {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    async fn connect(port: u16) -> Option<Raw> {
        for _ in 0..200 {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
                return Some(Raw { stream, buffer: BytesMut::new() });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    async fn send(&mut self, line: &str) {
        let words = split_line(line.as_bytes()).expect("quotes are closed");
        let mut request = BytesMut::new();
        encode_request(&words, &mut request);
        self.stream.write_all(&request).await.expect("the server listens");
    }

    async fn receive(&mut self) -> String {
        loop {
            if let Some(end) = reply_end(&self.buffer, 0) {
                let reply = self.buffer.split_to(end);
                return reply.escape_ascii().to_string();
            }
            let read = self.stream.read_buf(&mut self.buffer);
            let read = tokio::time::timeout(Duration::from_secs(5), read).await.expect("a reply in time");
            if read.expect("the connection lives") == 0 {
                return "(closed)".to_owned();
            }
        }
    }

    /// All replies to a request; SUBSCRIBE and its kin have one for each name.
    async fn ask(&mut self, line: &str) -> String {
        self.send(line).await;
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = if words[0].to_lowercase().ends_with("subscribe") { words.len().max(2) - 1 } else { 1 };
        let mut replies = String::new();
        for _ in 0..count {
            replies += &self.receive().await;
        }
        replies
    }
}

/// Where the reply that begins at `start` ends.
fn reply_end(bytes: &[u8], start: usize) -> Option<usize> {
    let line_end = start + bytes.get(start..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let number =
        std::str::from_utf8(&bytes[start + 1..line_end]).ok().and_then(|text| text.parse::<i64>().ok());
    let next = line_end + 2;
    let items = match bytes[start] {
        b'$' | b'=' => {
            let size = usize::try_from(number?).ok().map_or(0, |size| size + 2);
            return (bytes.len() >= next + size).then_some(next + size);
        }
        b'*' | b'~' | b'>' => number?.max(0),
        b'%' => number? * 2,
        _ => return Some(next),
    };
    (0..items).try_fold(next, |at, _| reply_end(bytes, at))
}

/// Compares the replies to each line of a script; an empty line begins with empty databases and new connections.
async fn compare(scripts: &[&str], greeting: &str) {
    let Some(real) = start_real() else { return };
    if Raw::connect(real.port).await.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: no redis-server on this machine");
        return;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(Redis::new().serve(listener));
    let mut differences = Vec::new();
    let mut count = 0;
    for script in scripts {
        let mut theirs = Raw::connect(real.port).await.expect("the real server listens");
        let mut ours = Raw::connect(port).await.expect("our server listens");
        for server in [&mut theirs, &mut ours] {
            server.ask(greeting).await;
            server.ask("FLUSHALL").await;
        }
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (wanted, got) = (theirs.ask(line).await, ours.ask(line).await);
            count += 1;
            if wanted != got {
                differences.push(format!("{line}\n   real: {wanted}\n   ours: {got}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(count > 100, "only {count} lines were compared");
}

const SCRIPTS: &[&str] = &[
    include_str!("redis/strings.txt"),
    include_str!("redis/keys.txt"),
    include_str!("redis/hashes.txt"),
    include_str!("redis/lists.txt"),
    include_str!("redis/sets.txt"),
    include_str!("redis/sorted.txt"),
    include_str!("redis/streams.txt"),
    include_str!("redis/connection.txt"),
    include_str!("redis/transactions.txt"),
];

#[tokio::test]
async fn replies_are_those_of_the_real_server() {
    compare(SCRIPTS, "HELLO 2").await;
    compare(SCRIPTS, "HELLO 3").await;
    for seed in 0..4 {
        let script = random_script(seed, 3_000);
        compare(&[&script], "HELLO 3").await;
    }
}

/// Requests at random, on few keys of all types; none of them has an answer by chance or by the clock.
fn random_script(seed: u64, count: usize) -> String {
    #[rustfmt::skip]
    const FORMS: &[&str] = &[
        "SET k# %", "SET k# % NX", "SET k# % XX GET", "GET k#", "GETRANGE k# -% %", "SETRANGE k# % ab", "APPEND k# %", "INCRBY k# -%",
        "DECR k#", "STRLEN k#", "SETBIT k# % 1", "BITCOUNT k# -% %", "BITPOS k# 0 %", "GETSET k# %", "MSETNX k# % k# %", "BITOP XOR k# k# k#",
        "INCRBYFLOAT k# 0.%", "LPUSH k# % %", "RPUSH k# % % %", "LPOP k# %", "RPOP k#", "LRANGE k# -% %", "LINDEX k# -%", "LSET k# % x",
        "LINSERT k# BEFORE % %", "LREM k# -% %", "LTRIM k# % -%", "LPOS k# % RANK -1 COUNT 0", "LMOVE k# k# LEFT RIGHT", "LMPOP 2 k# k# LEFT",
        "SADD k# % % %", "SREM k# %", "SISMEMBER k# %", "SMEMBERS k#", "SINTER k# k#", "SDIFF k# k#", "SINTERCARD 2 k# k# LIMIT %",
        "SUNIONSTORE k# k# k#", "SMOVE k# k# %", "SCARD k#", "HSET k# % %", "HGET k# %", "HDEL k# %", "HGETALL k#", "HINCRBY k# % %",
        "HLEN k#", "HMGET k# % %", "HSETNX k# % %", "ZADD k# % m% 1.% m%", "ZADD k# GT CH % m%", "ZINCRBY k# -0.% m%", "ZRANGE k# -% % WITHSCORES",
        "ZRANGE k# (% +inf BYSCORE LIMIT 1 %", "ZREVRANGEBYSCORE k# % -%", "ZRANK k# m%", "ZCOUNT k# -% (%", "ZREM k# m%", "ZPOPMIN k# %",
        "ZUNIONSTORE k# 2 k# k# WEIGHTS 2 %", "ZINTER 2 k# k# AGGREGATE MAX WITHSCORES", "ZDIFFSTORE k# 2 k# k#", "ZREMRANGEBYRANK k# % -%",
        "ZREMRANGEBYSCORE k# (% %", "XADD k# MAXLEN % % a b", "XADD k# %-* a b", "XRANGE k# % + COUNT 2", "XDEL k# %-1", "XLEN k#", "XTRIM k# MINID %",
        "XREAD COUNT 2 STREAMS k# %", "XGROUP CREATE k# g % MKSTREAM", "XREADGROUP GROUP g c% COUNT 1 STREAMS k# >", "XREADGROUP GROUP g c% STREAMS k# 0",
        "XACK k# g %-1", "XPENDING k# g", "XGROUP DELCONSUMER k# g c%", "XCLAIM k# g c% 0 %-1 JUSTID", "XAUTOCLAIM k# g c% 0 0 COUNT 2", "XINFO GROUPS k#",
        "XINFO STREAM k#", "DEL k#", "RENAME k# k#", "COPY k# k#", "TYPE k#", "EXISTS k# k#", "PERSIST k#", "TTL k#", "EXPIRE k# 1000 LT",
        "MULTI", "EXEC", "DISCARD", "WATCH k#", "UNWATCH",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut script = String::new();
    for _ in 0..count {
        for character in FORMS[random.usize(0..FORMS.len())].chars() {
            match character {
                '#' => script += &random.usize(0..12).to_string(),
                '%' => script += &random.usize(0..10).to_string(),
                other => script.push(other),
            }
        }
        script.push('\n');
    }
    script
}
