//! quinn and h3 between machines: bad links, small packets, partitions, crashes, all in virtual time.
#![cfg(sim)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compat_quic::echo::{answer, say, serve};
use compat_quic::endpoints::{ALPN, client, server_with_secret};
use compat_quic::identity::{Identity, NAME};
use compat_quic::{bulk, endpoints};
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, MtuDiscoveryConfig, TransportConfig, VarInt,
};
use tokio::sim;
use tokio::time::{Instant, sleep, timeout};

const PORT: u16 = 4433;
const SECRET: u64 = 0x5ec2e7;

/// Starts a machine called `server` that echoes; what a client of it needs.
fn start_server(transport: TransportConfig) -> ClientConfig {
    let (identity, transport) = (Identity::new(), Arc::new(transport));
    let mut server = identity.server(&[ALPN]);
    server.transport_config(transport.clone());
    let mut client = identity.client(&[ALPN]);
    client.transport_config(transport);
    sim::host("server", move || {
        let config = server.clone();
        async move {
            let any = SocketAddr::from(([0, 0, 0, 0], PORT));
            serve(server_with_secret(config, any, SECRET)?).await;
            Ok(())
        }
    });
    client
}

fn address() -> SocketAddr {
    SocketAddr::new(sim::lookup("server"), PORT)
}

/// Connects to the machine called `server`, once it listens.
async fn connect(config: &ClientConfig) -> (Connection, Endpoint) {
    let endpoint = client(config.clone(), address()).expect("a free port");
    for _ in 0..20 {
        let connecting = endpoint.connect(address(), NAME).expect("a good name");
        if let Ok(Ok(connection)) = timeout(Duration::from_secs(20), connecting).await {
            return (connection, endpoint);
        }
    }
    panic!("the server does not answer");
}

fn quick(idle_ms: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()));
    transport
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[tokio::test]
async fn streams_survive_loss_reordering_and_duplication() {
    let config = start_server(quick(60_000));
    sim::link("test", "server")
        .latency_ms(5..=20)
        .loss(0.05)
        .duplicate(0.05)
        .reorder(0.1, Duration::from_millis(30))
        .update(|link| link.corrupt = 0.01);
    let (connection, _endpoint) = connect(&config).await;
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..10 {
        let connection = connection.clone();
        streams.spawn(async move {
            let text = text(5_000 * (number + 1));
            assert!(say(&connection, &text).await.expect("an answer") == text, "stream {number}");
        });
    }
    while let Some(done) = streams.join_next().await {
        done.expect("no panic");
    }
    let stats = sim::network_stats();
    assert!(stats.lost > 0 && stats.duplicated > 0, "{stats:?}");
    assert!(connection.stats().path.lost_packets > 0);
}

#[tokio::test]
async fn a_partition_is_waited_for_and_a_long_one_ends_the_connection() {
    let config = start_server(quick(5_000));
    let (connection, endpoint) = connect(&config).await;
    assert_eq!(say(&connection, b"before").await.expect("an answer"), b"before");
    sim::partition("test", "server");
    let asking = tokio::spawn({
        let connection = connection.clone();
        async move { say(&connection, b"during").await.map_err(|error| error.to_string()) }
    });
    sleep(Duration::from_secs(3)).await;
    sim::repair("test", "server");
    assert_eq!(asking.await.expect("no panic").expect("an answer"), b"during");
    assert!(connection.stats().path.lost_packets > 0);
    sim::partition("test", "server");
    let started = Instant::now();
    assert_eq!(connection.closed().await, ConnectionError::TimedOut);
    // Three times as long as an answer may take, where that is more: and after a partition it is.
    let took = started.elapsed();
    assert!((4_500..60_000).contains(&took.as_millis()), "{took:?}");
    sim::heal();
    endpoint.wait_idle().await;
}

#[tokio::test]
async fn a_restarted_server_resets_what_it_does_not_know() {
    let config = start_server(quick(60_000));
    let (connection, endpoint) = connect(&config).await;
    assert_eq!(say(&connection, b"hello").await.expect("an answer"), b"hello");
    let power = sim::random_u64().is_multiple_of(2);
    if power {
        sim::power_off("server")
    } else {
        sim::crash("server")
    }
    sleep(Duration::from_millis(500)).await;
    sim::start("server");
    sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    // The request is longer than the answer may be: a reset is never longer than what it answers.
    let outcome = say(&connection, &text(3000)).await;
    assert!(outcome.is_err());
    assert_eq!(connection.close_reason(), Some(ConnectionError::Reset));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // Its tickets died with it: the next connection is whole again, without early data.
    let connecting = endpoint.connect(address(), NAME).expect("a good name");
    let again = match connecting.into_0rtt() {
        Ok((connection, accepted)) => {
            accepted.await;
            connection
        }
        Err(connecting) => connecting.await.expect("connects"),
    };
    assert_eq!(say(&again, b"again").await.expect("an answer"), b"again");
}

#[tokio::test]
async fn the_path_mtu_is_discovered() {
    for (mtu, expected) in [(1500, 1452), (1400, 1372), (1280, 1252)] {
        let name = format!("server{mtu}");
        let identity = Identity::new();
        let config = identity.server(&[ALPN]);
        sim::host(name.clone(), move || {
            let config = config.clone();
            async move {
                serve(endpoints::server(config, SocketAddr::from(([0, 0, 0, 0], PORT)))?).await;
                Ok(())
            }
        });
        sim::link("test", &name).latency_ms(5..=5).update(|link| link.mtu_bytes = Some(mtu));
        let mut config = identity.client(&[ALPN]);
        let mut transport = TransportConfig::default();
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.minimum_change(1);
        transport.mtu_discovery_config(Some(discovery));
        config.transport_config(Arc::new(transport));
        let to = SocketAddr::new(sim::lookup(&name), PORT);
        let endpoint = client(config, to).expect("a free port");
        sleep(Duration::from_millis(10)).await;
        let connection = endpoint.connect(to, NAME).expect("a good name").await.expect("connects");
        // Each size that is too large is tried three times, and each probe needs company to be known as lost.
        let text = text(20_000);
        for _ in 0..60 {
            assert!(say(&connection, &text).await.expect("an answer") == text);
        }
        let path = connection.stats().path;
        assert!(path.sent_plpmtud_probes > 0, "{path:?}");
        assert_eq!(path.lost_plpmtud_probes > 0, mtu < 1480, "{path:?}");
        // The search ends when what is left is not worth a probe.
        assert!((expected - 4..=expected).contains(&path.current_mtu), "{path:?}");
        assert_eq!(path.black_holes_detected, 0, "{path:?}");
    }
    assert!(sim::network_stats().too_big > 0);
}

#[tokio::test]
async fn a_path_that_shrinks_is_noticed() {
    let config = start_server(quick(60_000));
    sim::link("test", "server").latency_ms(5..=5);
    let (connection, _endpoint) = connect(&config).await;
    let text = text(300_000);
    assert!(say(&connection, &text).await.expect("an answer") == text);
    assert_eq!(connection.stats().path.current_mtu, 1452);
    sim::link("test", "server").update(|link| link.mtu_bytes = Some(1300));
    assert!(say(&connection, &text).await.expect("an answer") == text);
    let path = connection.stats().path;
    assert!(path.black_holes_detected >= 1 && path.current_mtu <= 1272, "{path:?}");
    assert!(sim::network_stats().too_big > 0);
}

#[tokio::test]
async fn batches_are_received_as_batches() {
    let mut transport = quick(60_000);
    transport.stream_receive_window(VarInt::from_u32(4 << 20));
    let config = start_server(transport);
    sim::link("test", "server").latency_ms(10..=10);
    let (connection, _endpoint) = connect(&config).await;
    let text = text(1_000_000);
    assert!(say(&connection, &text).await.expect("an answer") == text);
    let stats = connection.stats();
    assert!(stats.udp_tx.ios * 2 < stats.udp_tx.datagrams, "{stats:?}");
}

#[tokio::test]
async fn datagrams_are_lost_and_streams_are_not() {
    let config = start_server(quick(60_000));
    sim::link("test", "server").latency_ms(5..=5).loss(0.1);
    let (connection, _endpoint) = connect(&config).await;
    // A handshake that lost something believes in long round trips, and repeats its end late.
    assert_eq!(say(&connection, b"begin").await.expect("an answer"), b"begin");
    for number in 0..200u8 {
        connection.send_datagram_wait(Bytes::from(vec![number; 500])).await.expect("room");
        sleep(Duration::from_millis(2)).await;
    }
    let mut echoes = 0;
    while timeout(Duration::from_secs(1), connection.read_datagram()).await.is_ok_and(|echo| echo.is_ok()) {
        echoes += 1;
    }
    assert!((100..195).contains(&echoes), "{echoes} of 200 came back");
    assert_eq!(say(&connection, b"whole").await.expect("an answer"), b"whole");
}

#[tokio::test]
async fn a_client_that_dies_is_given_up() {
    let identity = Identity::new();
    let mut config = identity.server(&[ALPN]);
    let mut transport = quick(3_000);
    transport.keep_alive_interval(Some(Duration::from_millis(500)));
    config.transport_config(Arc::new(transport));
    let endpoint = endpoints::server(config, SocketAddr::from(([0, 0, 0, 0], PORT))).expect("a free port");
    let to = SocketAddr::new(sim::lookup("test"), PORT);
    let config = identity.client(&[ALPN]);
    sim::host("client", move || {
        let config = config.clone();
        async move {
            let endpoint = client(config, to)?;
            let connection = endpoint.connect(to, NAME)?.await?;
            assert_eq!(say(&connection, b"here").await.expect("an answer"), b"here");
            std::future::pending::<()>().await;
            Ok(())
        }
    });
    let connection = endpoint.accept().await.expect("a caller").await.expect("a handshake");
    tokio::spawn(answer(connection.clone()));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(connection.close_reason(), None, "it is kept alive");
    let started = Instant::now();
    sim::power_off("client");
    assert_eq!(connection.closed().await, ConnectionError::TimedOut);
    let took = started.elapsed();
    assert!((2_000..4_500).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn throughput_is_what_the_link_has() {
    let (identity, mut transport) = (Identity::new(), quick(60_000));
    bulk::widen(&mut transport);
    let config = identity.server(&[ALPN]);
    sim::host("server", move || {
        let config = config.clone();
        async move { Ok(bulk::serve(config, PORT).await?) }
    });
    sim::link("test", "server").latency_ms(10..=10).bandwidth_bits_per_sec(50_000_000);
    let mut config = identity.client(&[ALPN]);
    config.transport_config(Arc::new(transport));
    let (connection, _endpoint) = connect(&config).await;
    let took = bulk::send(&connection, 4_000_000).await.expect("a transfer");
    let rate = 4_000_000.0 * 8.0 / took.as_secs_f64() / 1e6;
    // Headers take some 5 %, and slow start a moment.
    assert!((30.0..49.0).contains(&rate), "{rate} Mbit/s");
}
