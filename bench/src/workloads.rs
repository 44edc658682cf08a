//! The workloads: echo over one connection, bulk, HTTP, datagrams, a ring of many nodes, timers, spawns.
//!
//! Must not use loopback: each peer is a node of its own. Invariant: what was sent arrived, or a workload
//! panics.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sim;

/// Runs `workload`; how many operations, how much virtual time, and the trace's hash.
pub(crate) fn run(workload: &str, count: Option<u64>) -> (u64, Duration, u64) {
    let name = workload.to_owned();
    let mut builder = sim::Builder::new();
    builder.min_message_latency(Duration::from_millis(1)).max_message_latency(Duration::from_millis(1));
    let report = builder.run(move || async move {
        match name.as_str() {
            "echo" => echo(count.unwrap_or(100_000)).await,
            "bulk" => bulk(count.unwrap_or(1 << 30)).await,
            "http" => http(count.unwrap_or(20_000)).await,
            "datagrams" => datagrams(count.unwrap_or(1_000_000)).await,
            "ring" => ring(count.unwrap_or(1_000)).await,
            "nodes" => nodes(count.unwrap_or(1_000)).await,
            "year" => year().await,
            "spawn" => spawn(count.unwrap_or(1_000_000)).await,
            other => panic!("there is no workload {other:?}"),
        }
    });
    match report {
        Ok(report) => (report.output, report.elapsed, report.trace_hash),
        Err(failure) => panic!("{failure}"),
    }
}

fn server_address(port: u16) -> SocketAddr {
    SocketAddr::new(sim::lookup("server"), port)
}

async fn connect(port: u16) -> TcpStream {
    loop {
        match TcpStream::connect(server_address(port)).await {
            Ok(stream) => {
                stream.set_nodelay(true).expect("an option");
                return stream;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn echo(count: u64) -> u64 {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:1").await?;
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let mut buffer = [0; 64];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await?;
        }
        Ok(())
    });
    let mut stream = connect(1).await;
    let mut buffer = [0; 64];
    for _ in 0..count {
        stream.write_all(&[7; 64]).await.expect("connected");
        stream.read_exact(&mut buffer).await.expect("an echo");
    }
    assert_eq!(buffer, [7; 64]);
    count
}

async fn bulk(bytes: u64) -> u64 {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:1").await?;
        let (mut stream, _) = listener.accept().await?;
        let mut buffer = vec![0; 65_536];
        while stream.read(&mut buffer).await? > 0 {}
        stream.write_all(&[1]).await?;
        Ok(())
    });
    let mut stream = connect(1).await;
    let chunk = vec![7; 65_536];
    for _ in 0..bytes / 65_536 {
        stream.write_all(&chunk).await.expect("connected");
    }
    stream.shutdown().await.expect("connected");
    stream.read_exact(&mut [0]).await.expect("an answer");
    bytes
}

async fn http(count: u64) -> u64 {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from_static(
                        b"hello",
                    ))))
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                drop(served.await);
            });
        }
    });
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connect(80).await)).await.expect("a handshake");
    tokio::spawn(connection);
    for _ in 0..count {
        let request = hyper::Request::builder().uri("/").header("host", "server").body(Empty::<Bytes>::new());
        let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        assert_eq!(&body[..], b"hello");
    }
    count
}

async fn datagrams(count: u64) -> u64 {
    const BURST: u64 = 64;
    sim::host("server", || async {
        let socket = UdpSocket::bind("0.0.0.0:1").await?;
        let mut buffer = [0; 200];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..length], from).await?;
        }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let socket = UdpSocket::bind("0.0.0.0:0").await.expect("a port");
    let (server, mut buffer) = (server_address(1), [0; 200]);
    for _ in 0..count / (2 * BURST) {
        for _ in 0..BURST {
            socket.send_to(&[1; 100], server).await.expect("sent");
        }
        for _ in 0..BURST {
            socket.recv_from(&mut buffer).await.expect("an answer");
        }
    }
    count
}

/// Each of `count` nodes sends a datagram to the next every 100 ms, for ten seconds.
async fn ring(count: u64) -> u64 {
    const MESSAGES: u64 = 100;
    let mut nodes = Vec::new();
    for number in 0..count {
        let next = format!("n{}", (number + 1) % count);
        nodes.push(sim::client(format!("n{number}"), async move {
            let socket = UdpSocket::bind("0.0.0.0:1").await.expect("a port");
            // Every node is up before the first message.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let peer = SocketAddr::new(sim::lookup(&next), 1);
            let mut interval = tokio::time::interval(Duration::from_millis(100));
            let mut buffer = [0; 64];
            for _ in 0..MESSAGES {
                interval.tick().await;
                socket.send_to(&[7; 32], peer).await.expect("sent");
                socket.recv_from(&mut buffer).await.expect("received");
            }
        }));
    }
    for node in nodes {
        node.await.expect("a node's end");
    }
    count * MESSAGES
}

async fn nodes(count: u64) -> u64 {
    let made: Vec<_> = (0..count)
        .map(|number| sim::client(format!("n{number}"), tokio::time::sleep(Duration::from_secs(1))))
        .collect();
    for node in made {
        node.await.expect("a node's end");
    }
    count
}

async fn year() -> u64 {
    tokio::time::sleep(Duration::from_secs(365 * 24 * 3600)).await;
    1
}

async fn spawn(count: u64) -> u64 {
    let mut handles = Vec::with_capacity(1000);
    for batch in 0..count / 1000 {
        handles.extend((0..1000).map(|number| tokio::spawn(async move { batch ^ number })));
        for handle in handles.drain(..) {
            handle.await.expect("an output");
        }
    }
    count
}
