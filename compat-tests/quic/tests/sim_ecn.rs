//! Marks of a congested queue: quinn and TCP slow down, and lose nothing.
#![cfg(sim)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use compat_quic::identity::{Identity, NAME};
use compat_quic::{bulk, endpoints};
use quinn::TransportConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sim::{self, TcpEcn};

const PORT: u16 = 4433;
const BYTES: u64 = 2_000_000;

/// Room for much, and marks for what waits longer than 5 ms.
fn marking_line() {
    sim::link("test", "server")
        .latency_ms(10..=10)
        .bandwidth_bits_per_sec(20_000_000)
        .queue_limit_bytes(4 << 20)
        .update(|link| link.queue = sim::links::Queue::CoDel(sim::links::CoDel::default()));
}

#[tokio::test]
async fn quinn_sees_marks() {
    let (identity, mut transport) = (Identity::new(), TransportConfig::default());
    bulk::widen(&mut transport);
    let config = identity.server(&[endpoints::ALPN]);
    sim::host("server", move || {
        let config = config.clone();
        async move { Ok(bulk::serve(config, PORT).await?) }
    });
    marking_line();
    let to = SocketAddr::new(sim::lookup("server"), PORT);
    let mut config = identity.client(&[endpoints::ALPN]);
    config.transport_config(Arc::new(transport));
    let endpoint = endpoints::client(config, to).expect("a free port");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let connection = endpoint.connect(to, NAME).expect("a good name").await.expect("connects");
    bulk::send(&connection, BYTES).await.expect("a transfer");
    let (path, stats) = (connection.stats().path, sim::network_stats());
    assert!(stats.marked > 0 && stats.queue_full == 0 && stats.queue_early == 0, "{stats:?}");
    assert!(path.congestion_events > 0 && path.lost_packets == 0, "{path:?}");
    // Far less than what the queue would take.
    assert!(path.cwnd < 1_000_000, "{path:?}");
}

#[tokio::test]
async fn tcp_sees_marks_where_it_asked_for_them() {
    sim::host("server", || async {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            stream.write_all(b"!").await?;
        }
    });
    marking_line();
    let mut dropped = Vec::new();
    for mode in [TcpEcn::Active, TcpEcn::Passive] {
        sim::set_tcp_ecn("test", mode);
        let before = sim::network_stats();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut stream = TcpStream::connect(("server", PORT)).await.expect("connects");
        stream.write_all(&vec![7; BYTES as usize]).await.expect("room");
        stream.shutdown().await.expect("connected");
        stream.read_exact(&mut [0]).await.expect("an answer");
        let stats = sim::network_stats();
        assert_eq!(stats.marked > before.marked, mode == TcpEcn::Active, "{stats:?}");
        dropped.push(stats.queue_early - before.queue_early);
    }
    // The server agrees to what it is asked; a client that does not ask loses packets instead.
    assert!(dropped[0] == 0 && dropped[1] > 0, "{dropped:?}");
}
