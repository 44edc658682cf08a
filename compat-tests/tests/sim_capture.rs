//! Captures: what Wireshark says of them.
//!
//! Owns small conversations of well-known protocols. Must not know the format. Invariant: a run is the same with a capture
//! and without.
#![cfg(sim)]

use std::future::pending;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use compat_tests::sockets::connect_when_up;
use compat_tests::tshark::{Judged, scratch};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use redis::AsyncCommands;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sim::{self, Builder};

/// Runs `body` with a capture, and without; the trace must be the same.
fn captured<F: Future<Output = ()>>(path: &Path, body: fn() -> F) {
    let run = |builder: &mut Builder| match builder.seed(5).run(body) {
        Ok(report) => report.trace_hash,
        Err(failure) => panic!("{failure}"),
    };
    let with = run(Builder::new().capture(path));
    assert_eq!(with, run(&mut Builder::new()), "the capture has changed the run");
}

async fn conversation_over_http() {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            let answer = service_fn(|request: Request<hyper::body::Incoming>| async move {
                // Long enough for trains of segments.
                let body = request.uri().path().repeat(100_000);
                Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(body)))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    let stream = connect_when_up("server:80").await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("hello");
    tokio::spawn(connection);
    for path in ["/first", "/second"] {
        let request =
            Request::get(path).header("host", "server").body(Full::<Bytes>::default()).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        let body = response.into_body().collect().await.expect("all of it").to_bytes();
        assert_eq!(body.len(), 100_000 * path.len());
    }
}

#[test]
fn http_is_understood() {
    let path = scratch("http");
    captured(&path, conversation_over_http);
    let Some(judged) = Judged::new(&path) else { return };
    judged.assert_sound();
    assert_eq!(judged.fields("http.request", &["http.request.uri"]), ["/first", "/second"]);
    assert_eq!(judged.fields("http.response", &["http.response.code"]), ["200", "200"]);
    let lengths = judged.fields("http.response", &["http.content_length"]);
    assert_eq!(lengths, ["600000", "700000"]);
    assert_eq!(judged.fields("frame.number == 1", &["frame.interface_name"]), ["test-server"]);
    judged.delete();
}

async fn conversation_over_redis() {
    sim::host("redis", || async {
        let listener = TcpListener::bind("0.0.0.0:6379").await?;
        mini_redis::server::run(listener, pending::<()>())
            .await
            .map_err(|error| error as Box<dyn std::error::Error>)
    });
    connect_when_up("redis:6379").await;
    let client = redis::Client::open("redis://redis:6379").expect("a url");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let () = connection.set("name", "value").await.expect("set");
    let value: String = connection.get("name").await.expect("get");
    assert_eq!(value, "value");
}

#[test]
fn redis_is_understood() {
    let path = scratch("redis");
    captured(&path, conversation_over_redis);
    let Some(judged) = Judged::new(&path) else { return };
    judged.assert_sound();
    let said = judged.fields("resp", &["resp.bulk_string.value"]);
    let hex = |word: &str| word.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for words in [&["SET", "name", "value"][..], &["GET", "name"], &["value"]] {
        let line = words.iter().map(|word| hex(word)).collect::<Vec<_>>().join(",");
        assert!(said.contains(&line), "{words:?}: {said:?}");
    }
    judged.delete();
}

/// A message of the protocol of PostgreSQL: a letter, a length, what it says.
fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    [&[letter][..], &(4 + body.len() as u32).to_be_bytes(), body].concat()
}

async fn conversation_over_postgres() {
    sim::host("db", || async {
        let listener = TcpListener::bind("0.0.0.0:5432").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut length = [0; 4];
            stream.read_exact(&mut length).await?;
            let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
            stream.read_exact(&mut startup).await?;
            let ready = message(b'Z', b"I");
            stream
                .write_all(
                    &[message(b'R', &[0; 4]), message(b'S', b"server_version\x0017\0"), ready].concat(),
                )
                .await?;
            let mut query = [0; 14];
            stream.read_exact(&mut query).await?;
            let column = [
                b"one\0".to_vec(),
                vec![0; 6],
                23u32.to_be_bytes().to_vec(),
                vec![0, 4],
                vec![255; 4],
                vec![0; 2],
            ];
            let row = [&[0, 1][..], &1u32.to_be_bytes(), b"1"].concat();
            let description = [&[0, 1][..], &column.concat()].concat();
            let answer = [
                message(b'T', &description),
                message(b'D', &row),
                message(b'C', b"SELECT 1\0"),
                message(b'Z', b"I"),
            ];
            stream.write_all(&answer.concat()).await?;
        }
    });
    sim::default_link().latency_ms(5..=9);
    let mut stream = loop {
        match TcpStream::connect("db:5432").await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let startup = b"\0\x03\0\0user\0sim\0database\0sim\0\0";
    stream.write_all(&[&(4 + startup.len() as u32).to_be_bytes()[..], startup].concat()).await.expect("sent");
    let mut answer = [0; 200];
    assert!(stream.read(&mut answer).await.expect("an answer") > 0);
    stream.write_all(&message(b'Q', b"SELECT 1\0")).await.expect("sent");
    assert!(stream.read(&mut answer).await.expect("an answer") > 0);
    stream.write_all(&message(b'X', b"")).await.expect("sent");
}

#[test]
fn postgres_is_understood() {
    let path = scratch("postgres");
    captured(&path, conversation_over_postgres);
    let Some(judged) = Judged::new(&path) else { return };
    judged.assert_sound();
    assert_eq!(judged.fields("pgsql.query", &["pgsql.query"]), ["SELECT 1"]);
    assert_eq!(judged.count("pgsql.type == \"Data row\""), 1);
    judged.delete();
}

/// Everything that a bad link does, over both versions of IP, to connections and datagrams.
async fn trouble() {
    use sim::links::{LossPattern, Queue};
    let echo = || async {
        let listener = TcpListener::bind("[::]:7").await?;
        let socket = UdpSocket::bind("[::]:7").await?;
        tokio::spawn(async move {
            let mut buffer = [0; 9000];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                drop(socket.send_to(&buffer[..len], from).await);
            }
        });
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    };
    sim::host("server", echo);
    sim::default_link()
        .loss_pattern(LossPattern::EveryNth(50))
        .duplicate(0.02)
        .damage(0.02)
        .corrupt(0.5)
        .reorder(0.05, Duration::from_millis(5))
        .bandwidth_bits_per_sec(5_000_000)
        .queue(Queue::codel())
        .queue_limit_packets(60)
        .clamp_mss(false)
        .mtu_bytes(1300);
    for ip in sim::addresses("server") {
        let mut stream = loop {
            match TcpStream::connect((ip, 7)).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let (mut reader, mut writer) = stream.split();
        let sent = async {
            writer.write_all(&vec![1; 300_000]).await.expect("sent");
            writer.shutdown().await.expect("shut down");
        };
        let mut back = Vec::new();
        let (_, received) = tokio::join!(sent, reader.read_to_end(&mut back));
        assert_eq!(received.expect("received"), 300_000);
        let any = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await.expect("bound");
        for _ in 0..20 {
            // Fragments, of the sender's and of the way's own making.
            socket.send_to(&[2; 4000], (ip, 7)).await.expect("sent");
            socket.send_to(&[3; 1400], (ip, 7)).await.expect("sent");
            socket.send_to(&[4; 100], (ip, 7)).await.expect("sent");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Nobody there.
        socket.send_to(b"?", (ip, 9)).await.expect("sent");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(TcpStream::connect("10.9.9.9:1").await);
    let own = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    own.send_to(b"to oneself", own.local_addr().expect("bound")).await.expect("sent");
}

#[test]
fn trouble_is_shown_and_is_well_formed() {
    let path = scratch("trouble");
    captured(&path, trouble);
    let Some(judged) = Judged::new(&path) else { return };
    // The only packets with wrong checksums are those that are said to be damaged, and what Wireshark makes of their fragments.
    let wrong = "tcp.checksum.status == 0 || udp.checksum.status == 0 || icmp.checksum.status == 0 || \
                 icmpv6.checksum.status == 0";
    let damaged = judged.count("frame.comment contains \"damaged\"");
    assert!(damaged > 10, "{damaged}");
    assert!(judged.count(&format!("({wrong}) && frame.comment contains \"damaged\"")) > damaged / 2);
    let others = "!(frame.comment contains \"damaged\") && !ip.fragment && !ipv6.fragment";
    assert_eq!(judged.fields(&format!("({wrong}) && {others}"), &["frame.number"]), [""; 0]);
    let bad = format!("(_ws.malformed || _ws.expert.severity >= 0x800000) && {others}");
    assert_eq!(judged.fields(&bad, &["frame.number", "_ws.expert.message"]), [""; 0]);
    for comment in ["lost", "twice", "too big", "queue", "bit of its data", "nobody has the address"] {
        assert!(judged.count(&format!("frame.comment contains \"{comment}\"")) > 0, "{comment}");
    }
    for shown in [
        "ip.flags.mf == 1",
        "ipv6.fraghdr",
        "icmp.mtu == 1300",
        "icmpv6.type == 2",
        "icmp.code == 3",
        "tcp.options.sack",
    ] {
        assert!(judged.count(shown) > 0, "{shown}");
    }
    assert!(judged.count("udp.length == 4008 && ip.reassembled.length") > 0, "fragments come together");
    let interfaces = judged.fields("frame", &["frame.interface_name"]);
    for name in ["test-server", "test lo", "test-internet"] {
        assert!(interfaces.iter().any(|interface| interface == name), "{name}");
    }
    judged.delete();
}
