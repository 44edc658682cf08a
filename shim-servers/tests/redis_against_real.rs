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

fn start_real(options: &[&str]) -> Option<Real> {
    let port = loop {
        // The port of a cluster's bus is behind it by 10000.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = free.local_addr().expect("an address").port();
        if port < 55_000 {
            break port;
        }
    };
    let words = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--enable-debug-command", "yes"];
    let started = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server", "--port", &port.to_string()])
        .args(words)
        .args(options)
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

/// A folder for what the real server writes.
fn folder() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("shim-redis-real-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&folder);
    folder
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
        let mut replies = self.receive().await;
        for _ in 1..count {
            if replies.starts_with('-') {
                break;
            }
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

async fn listen() -> (TcpListener, u16) {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        if port < 55_000 {
            return (listener, port);
        }
    }
}

/// Compares the replies to each line of a script; an empty line begins with empty databases and new connections.
async fn compare(scripts: &[&str], greeting: &str, options: &[&str], server: Redis) {
    let Some(real) = start_real(options) else { return };
    if Raw::connect(real.port).await.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: no redis-server on this machine");
        return;
    }
    let (listener, port) = listen().await;
    tokio::spawn(server.serve(listener));
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
    assert!(count > 80, "only {count} lines were compared");
}

const SCRIPTS: &[&str] = &[
    include_str!("redis/strings.txt"),
    include_str!("redis/keys.txt"),
    include_str!("redis/hashes.txt"),
    include_str!("redis/lists.txt"),
    include_str!("redis/sets.txt"),
    include_str!("redis/sorted.txt"),
    include_str!("redis/streams.txt"),
    include_str!("redis/hyperloglog.txt"),
    include_str!("redis/connection.txt"),
    include_str!("redis/transactions.txt"),
];

/// What a server says to bytes that are no request, or an odd one, until it hangs up or has nothing more to say.
async fn say_raw(port: u16, bytes: &[u8]) -> String {
    let mut raw = Raw::connect(port).await.expect("the server listens");
    raw.stream.write_all(bytes).await.expect("the server listens");
    let mut heard = Vec::new();
    while let Ok(read) =
        tokio::time::timeout(Duration::from_millis(150), raw.stream.read_buf(&mut heard)).await
    {
        if read.unwrap_or(0) == 0 {
            return format!("{} (closed)", heard.escape_ascii());
        }
    }
    heard.escape_ascii().to_string()
}

#[tokio::test]
async fn what_is_no_request_is_refused_as_by_the_real_server() {
    let Some(real) = start_real(&[]) else { return };
    if Raw::connect(real.port).await.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: no redis-server on this machine");
        return;
    }
    let (listener, port) = listen().await;
    tokio::spawn(Redis::new().serve(listener));
    let all: &[&[u8]] = &[
        b"PING\r\n",
        b"PING\n",
        b"\r\n\r\nPING\r\n",
        b"SET a \"x y\"\r\nGET a\r\n",
        b"SET a 'x\\'y'\r\nGET a\r\n",
        b"SET a \"\\x41\\n\"\r\nGET a\r\n",
        b"SET a \"open\r\n",
        b"SET a \"x\"y\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
        b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n",
        b"*x\r\n",
        b"*99999999999\r\n",
        b"*1\r\n:4\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n$-1\r\n",
        b"*1\r\n$999999999999\r\n",
        b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n",
        b"QUIT\r\nPING\r\n",
    ];
    for bytes in all {
        let (wanted, got) = (say_raw(real.port, bytes).await, say_raw(port, bytes).await);
        assert_eq!(got, wanted, "{}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn replies_are_those_of_the_real_server() {
    compare(SCRIPTS, "HELLO 2", &[], Redis::new()).await;
    compare(SCRIPTS, "HELLO 3", &[], Redis::new()).await;
    for seed in 0..4 {
        let script = random_script(seed, 3_000);
        compare(&[&script], "HELLO 3", &[], Redis::new()).await;
    }
    let folder = tokio::task::spawn_blocking(folder).await.expect("a folder");
    let options = ["--cluster-enabled", "yes", "--dir", folder.to_str().expect("a name that is text")];
    compare(&[include_str!("redis/cluster.txt")], "HELLO 2", &options, Redis::new().cluster()).await;
    let _ = std::fs::remove_dir_all(&folder);
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
