//! quinn over the loopback interface: handshakes, streams, datagrams, 0-RTT, keys, time-outs, ends.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use compat_quic::echo::{answer, say, serve};
use compat_quic::endpoints::{ALPN, Pair, client, configs, server, server_with_secret};
use compat_quic::identity::{Identity, NAME};
use quinn::{ConnectionError, Endpoint, TransportConfig, VarInt};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Text that is not the same everywhere.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

#[tokio::test]
async fn a_handshake_says_who_is_who() {
    let pair = Pair::connect(TransportConfig::default()).await;
    assert_eq!(pair.client.remote_address(), pair.server_endpoint.local_addr().expect("bound"));
    assert_eq!(pair.server.remote_address().port(), pair.client_endpoint.local_addr().expect("bound").port());
    // Packet info: the server's socket tells on which address the connection came.
    assert_eq!(pair.server.local_ip(), Some("127.0.0.1".parse().expect("an address")));
    let data = pair.client.handshake_data().expect("a handshake is over");
    let data = data.downcast::<quinn::crypto::rustls::HandshakeData>().expect("rustls'");
    assert_eq!(data.protocol.as_deref(), Some(ALPN.as_bytes()));
    let keys = [&pair.client, &pair.server].map(|end| {
        let mut key = [0; 32];
        end.export_keying_material(&mut key, b"label", b"context").expect("a key");
        key
    });
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let (identity, stranger) = (Identity::new(), Identity::new());
    let endpoint = server(identity.server(&[ALPN]), LOOPBACK).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    tokio::spawn(serve(endpoint));
    let endpoint = client(stranger.client(&[ALPN]), address).expect("a free port");
    let error = endpoint.connect(address, NAME).expect("a good name").await.expect_err("nobody vouches");
    // 0x100 + the alert of TLS: decrypt_error, as both authorities have one name.
    let ConnectionError::TransportError(error) = error else { panic!("{error}") };
    assert_eq!(u64::from(error.code), 0x133, "{error}");
    let endpoint = client(identity.client(&["other"]), address).expect("a free port");
    let error = endpoint.connect(address, NAME).expect("a good name").await.expect_err("no common protocol");
    // no_application_protocol.
    let ConnectionError::ConnectionClosed(close) = error else { panic!("{error}") };
    assert_eq!(u64::from(close.error_code), 0x178, "{close}");
}

#[tokio::test]
async fn many_streams_at_once() {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(32));
    let pair = Pair::connect(transport).await;
    tokio::spawn(answer(pair.server.clone()));
    let mut streams = tokio::task::JoinSet::new();
    for number in 0..200 {
        let connection = pair.client.clone();
        streams.spawn(async move {
            let text = text(100 + number * 37);
            let answer = say(&connection, &text).await.expect("an answer");
            assert!(answer == text, "stream {number}: {} bytes came back", answer.len());
        });
    }
    while let Some(done) = timeout(PATIENCE, streams.join_next()).await.expect("in time") {
        done.expect("no panic");
    }
    let stats = pair.client.stats();
    assert!(stats.frame_tx.stream >= 200, "{stats:?}");
    assert!(stats.frame_rx.max_streams_bidi > 0, "the limit was moved: {stats:?}");
}

#[tokio::test]
async fn a_stream_of_some_size_in_both_directions() {
    let pair = Pair::connect(TransportConfig::default()).await;
    tokio::spawn(answer(pair.server.clone()));
    let text = text(3_000_000);
    let answer = timeout(PATIENCE, say(&pair.client, &text)).await.expect("in time").expect("an answer");
    assert!(answer == text);
    // Segmentation offload: one call sends several datagrams.
    let sent = pair.client.stats().udp_tx;
    assert!(sent.ios < sent.datagrams, "{sent:?}");
}

#[tokio::test]
async fn streams_of_one_direction_stop_and_reset() {
    let pair = Pair::connect(TransportConfig::default()).await;
    let mut sender = pair.client.open_uni().await.expect("a stream");
    sender.write_all(b"half").await.expect("room");
    let mut receiver = pair.server.accept_uni().await.expect("a stream");
    let mut half = [0; 4];
    receiver.read_exact(&mut half).await.expect("data");
    sender.reset(VarInt::from_u32(7)).expect("an open stream");
    let error = receiver.read(&mut half).await.expect_err("it was reset");
    assert_eq!(error, quinn::ReadError::Reset(VarInt::from_u32(7)));

    let mut sender = pair.server.open_uni().await.expect("a stream");
    sender.write_all(b"half").await.expect("room");
    let mut receiver = pair.client.accept_uni().await.expect("a stream");
    receiver.stop(VarInt::from_u32(9)).expect("an open stream");
    assert_eq!(sender.stopped().await, Ok(Some(VarInt::from_u32(9))));
    let error = sender.write_all(b"more").await.expect_err("nobody reads");
    assert_eq!(error, quinn::WriteError::Stopped(VarInt::from_u32(9)));
}

#[tokio::test]
async fn datagrams_come_and_are_bounded() {
    let pair = Pair::connect(TransportConfig::default()).await;
    tokio::spawn(answer(pair.server.clone()));
    let most = pair.client.max_datagram_size().expect("datagrams are on");
    assert!(most >= 1150, "{most}");
    for number in 0..20u8 {
        pair.client.send_datagram_wait(Bytes::from(vec![number; 900])).await.expect("room");
        let answer = timeout(PATIENCE, pair.client.read_datagram()).await.expect("in time").expect("an echo");
        assert_eq!((answer.len(), answer[0]), (900, number));
    }
    let error = pair.client.send_datagram(Bytes::from(vec![0; 70_000])).expect_err("too large");
    assert_eq!(error, quinn::SendDatagramError::TooLarge);
}

/// Connects once for a ticket, says something, and closes.
async fn take_ticket(endpoint: &Endpoint, address: SocketAddr) {
    let connection = endpoint.connect(address, NAME).expect("a good name").await.expect("connects");
    assert_eq!(say(&connection, b"first").await.expect("an answer"), b"first");
    connection.close(VarInt::from_u32(0), b"");
    endpoint.wait_idle().await;
}

#[tokio::test]
async fn early_data_is_accepted() {
    let (server_config, client_config) = configs(TransportConfig::default());
    let endpoint = server(server_config, LOOPBACK).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    tokio::spawn(serve(endpoint));
    let endpoint = client(client_config, address).expect("a free port");
    let connecting = endpoint.connect(address, NAME).expect("a good name");
    assert!(connecting.into_0rtt().is_err(), "there is no ticket yet");
    endpoint.wait_idle().await;
    take_ticket(&endpoint, address).await;
    let connecting = endpoint.connect(address, NAME).expect("a good name");
    let Ok((connection, accepted)) = connecting.into_0rtt() else { panic!("a ticket is there") };
    let answer = timeout(PATIENCE, say(&connection, b"early")).await.expect("in time").expect("an answer");
    assert_eq!(answer, b"early");
    assert!(accepted.await, "the server knows the ticket");
}

#[tokio::test]
async fn early_data_is_rejected_by_a_server_that_forgot() {
    let identity = Identity::new();
    let endpoint = server(identity.server(&[ALPN]), LOOPBACK).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    tokio::spawn(serve(endpoint.clone()));
    let near = client(identity.client(&[ALPN]), address).expect("a free port");
    take_ticket(&near, address).await;
    // A configuration of its own has tickets of its own.
    endpoint.set_server_config(Some(identity.server(&[ALPN])));
    let connecting = near.connect(address, NAME).expect("a good name");
    let Ok((connection, accepted)) = connecting.into_0rtt() else { panic!("a ticket is there") };
    let (mut sender, mut receiver) = connection.open_bi().await.expect("a stream");
    sender.write_all(b"early").await.expect("room");
    assert!(!accepted.await, "the server cannot know the ticket");
    let error = receiver.read_to_end(9).await.expect_err("the stream is void");
    assert!(matches!(error, quinn::ReadToEndError::Read(quinn::ReadError::ZeroRttRejected)), "{error}");
    assert_eq!(say(&connection, b"late").await.expect("an answer"), b"late");
}

#[tokio::test]
async fn keys_are_updated_in_flight() {
    let pair = Pair::connect(TransportConfig::default()).await;
    tokio::spawn(answer(pair.server.clone()));
    for round in 0..5 {
        let text = text(20_000 + round);
        assert!(say(&pair.client, &text).await.expect("an answer") == text, "round {round}");
        if round % 2 == 0 { &pair.client } else { &pair.server }.force_key_update();
    }
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_millis(300).try_into().expect("in range")));
    let pair = Pair::connect(transport).await;
    let started = Instant::now();
    let error = timeout(PATIENCE, pair.client.closed()).await.expect("in time");
    assert_eq!(error, ConnectionError::TimedOut);
    assert!(started.elapsed() >= Duration::from_millis(250), "{:?}", started.elapsed());
    assert_eq!(timeout(PATIENCE, pair.server.closed()).await.expect("in time"), ConnectionError::TimedOut);
}

#[tokio::test]
async fn keep_alive_keeps_it() {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_millis(600).try_into().expect("in range")));
    transport.keep_alive_interval(Some(Duration::from_millis(100)));
    let pair = Pair::connect(transport).await;
    tokio::spawn(answer(pair.server.clone()));
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(pair.client.close_reason(), None);
    assert!(pair.client.stats().frame_tx.ping >= 3, "{:?}", pair.client.stats().frame_tx);
    assert_eq!(say(&pair.client, b"still").await.expect("an answer"), b"still");
}

#[tokio::test]
async fn a_close_tells_its_code() {
    let pair = Pair::connect(TransportConfig::default()).await;
    pair.server.close(VarInt::from_u32(42), b"enough");
    let error = timeout(PATIENCE, pair.client.closed()).await.expect("in time");
    let ConnectionError::ApplicationClosed(close) = error else { panic!("{error}") };
    assert_eq!((close.error_code, &close.reason[..]), (VarInt::from_u32(42), &b"enough"[..]));
    assert_eq!(pair.server.closed().await, ConnectionError::LocallyClosed);
    let error = pair.client.open_bi().await.expect_err("it is closed");
    assert!(matches!(error, ConnectionError::ApplicationClosed(_)), "{error}");
}

#[tokio::test]
async fn a_server_refuses() {
    let (server_config, client_config) = configs(TransportConfig::default());
    let endpoint = server(server_config, LOOPBACK).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    let near = client(client_config, address).expect("a free port");
    let refusing = async { endpoint.accept().await.expect("a caller").refuse() };
    let (outcome, ()) = tokio::join!(near.connect(address, NAME).expect("a good name"), refusing);
    let ConnectionError::ConnectionClosed(close) = outcome.expect_err("refused") else {
        panic!("another error")
    };
    // CONNECTION_REFUSED
    assert_eq!(u64::from(close.error_code), 2, "{close}");
}

#[tokio::test]
async fn a_caller_must_show_its_address() {
    let (server_config, client_config) = configs(TransportConfig::default());
    let endpoint = server(server_config, LOOPBACK).expect("a free port");
    let address = endpoint.local_addr().expect("bound");
    let near = client(client_config, address).expect("a free port");
    let accepting = async {
        let first = endpoint.accept().await.expect("a caller");
        assert!(!first.remote_address_validated());
        first.retry().expect("not validated");
        let second = endpoint.accept().await.expect("the same caller");
        assert!(second.remote_address_validated());
        second.await.expect("a handshake")
    };
    let (client, server) = tokio::join!(near.connect(address, NAME).expect("a good name"), accepting);
    assert_eq!(client.expect("connects").remote_address(), address);
    drop(server);
}

#[tokio::test]
async fn nobody_is_there() {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(Duration::from_millis(500).try_into().expect("in range")));
    let (_, client_config) = configs(transport);
    let unused = std::net::UdpSocket::bind(LOOPBACK).expect("a free port");
    let address = unused.local_addr().expect("bound");
    drop(unused);
    let near = client(client_config, address).expect("a free port");
    let connecting = near.connect(address, NAME).expect("a good name");
    let error = timeout(PATIENCE, connecting).await.expect("in time").expect_err("nobody answers");
    // quinn does not take the refusal of ICMP for an answer: its socket is not connected.
    assert_eq!(error, ConnectionError::TimedOut);
}

#[tokio::test]
async fn a_connection_survives_a_change_of_address() {
    let pair = Pair::connect(TransportConfig::default()).await;
    tokio::spawn(answer(pair.server.clone()));
    let before = pair.server.remote_address();
    assert_eq!(say(&pair.client, b"here").await.expect("an answer"), b"here");
    let socket = std::net::UdpSocket::bind(LOOPBACK).expect("a free port");
    let there = socket.local_addr().expect("bound");
    pair.client_endpoint.rebind(socket).expect("a good socket");
    let text = text(200_000);
    let answer = timeout(PATIENCE, say(&pair.client, &text)).await.expect("in time").expect("an answer");
    assert!(answer == text);
    assert_ne!(before, there);
    assert_eq!(pair.server.remote_address(), there);
    assert!(pair.client.stats().frame_rx.path_challenge > 0, "the new path was probed");
}

#[tokio::test]
async fn a_server_that_forgot_resets() {
    const SECRET: u64 = 0x5eed;
    let (server_config, client_config) = configs(TransportConfig::default());
    // The first lives in a runtime of its own, and goes with it, without a word.
    let life = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let life = life.expect("a runtime");
    let address = {
        let _guard = life.enter();
        let first = server_with_secret(server_config.clone(), LOOPBACK, SECRET).expect("a free port");
        let address = first.local_addr().expect("bound");
        life.spawn(serve(first));
        address
    };
    let near = client(client_config, address).expect("a free port");
    let connection = near.connect(address, NAME).expect("a good name").await.expect("connects");
    assert_eq!(say(&connection, b"hello").await.expect("an answer"), b"hello");
    life.shutdown_background();
    let second = bind_again(server_config, address, SECRET).await;
    tokio::spawn(serve(second));
    let (mut sender, _receiver) = connection.open_bi().await.expect("a stream");
    sender.write_all(&[7; 3000]).await.expect("room");
    let error = timeout(PATIENCE, connection.closed()).await.expect("in time");
    assert_eq!(error, ConnectionError::Reset);
}

/// What a runtime held is gone when its threads are, which nobody waits for.
async fn bind_again(config: quinn::ServerConfig, address: SocketAddr, secret: u64) -> Endpoint {
    for _ in 0..200 {
        match server_with_secret(config.clone(), address, secret) {
            Ok(endpoint) => return endpoint,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                sleep(Duration::from_millis(5)).await
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the address stays in use");
}

#[tokio::test]
async fn the_window_of_the_receiver_holds_the_sender() {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(10_000));
    let pair = Pair::connect(transport).await;
    let (mut sender, _near) = pair.client.open_bi().await.expect("a stream");
    let sending = tokio::spawn(async move {
        sender.write_all(&[1; 100_000]).await.expect("room in the end");
        sender.finish().expect("an open stream");
        sender.stopped().await
    });
    let (_far, mut receiver) = pair.server.accept_bi().await.expect("a stream");
    sleep(Duration::from_millis(200)).await;
    let mut total = 0;
    while let Some(chunk) = receiver.read_chunk(5_000, true).await.expect("data") {
        total += chunk.bytes.len();
    }
    assert_eq!(total, 100_000);
    assert_eq!(sending.await.expect("no panic"), Ok(None));
    assert!(pair.client.stats().frame_rx.max_stream_data > 0);
}

#[tokio::test]
async fn ipv6_and_both_families_on_one_socket() {
    let (server_config, client_config) = configs(TransportConfig::default());
    let endpoint = server(server_config, "[::]:0".parse().expect("an address")).expect("a free port");
    let port = endpoint.local_addr().expect("bound").port();
    tokio::spawn(serve(endpoint));
    for (bind, ip) in [("[::]:0", "::1"), ("[::]:0", "::ffff:127.0.0.1"), ("0.0.0.0:0", "127.0.0.1")] {
        let address = SocketAddr::new(ip.parse().expect("an address"), port);
        let mut near = Endpoint::client(bind.parse().expect("an address")).expect("a free port");
        near.set_default_client_config(client_config.clone());
        let connection = near.connect(address, NAME).expect("a good name").await.expect("connects");
        assert_eq!(say(&connection, ip.as_bytes()).await.expect("an answer"), ip.as_bytes());
    }
}

#[tokio::test]
async fn a_closed_endpoint_is_closed_for_all() {
    let pair = Pair::connect(TransportConfig::default()).await;
    pair.server_endpoint.close(VarInt::from_u32(3), b"bye");
    let error = timeout(PATIENCE, pair.client.closed()).await.expect("in time");
    assert!(matches!(error, ConnectionError::ApplicationClosed(_)), "{error}");
    timeout(PATIENCE, pair.server_endpoint.wait_idle()).await.expect("in time");
    assert!(pair.server_endpoint.accept().await.is_none());
    assert_eq!(pair.server_endpoint.open_connections(), 0);
}
