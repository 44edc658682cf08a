//! quinn behind NATs: mappings that change, addresses that change, and holes that are punched, or not.
#![cfg(sim)]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compat_quic::echo::{say, serve};
use compat_quic::endpoints::{ALPN, client, server};
use compat_quic::identity::{Identity, NAME};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use tokio::sim::{self, NatConfig};
use tokio::time::{sleep, timeout};

const PORT: u16 = 4433;
const RENDEZVOUS_PORT: u16 = 3478;

/// A machine on the internet that echoes, and tells from where its clients seem to come.
fn start_server() -> (ClientConfig, Arc<Mutex<Vec<SocketAddr>>>) {
    let identity = Identity::new();
    let config = identity.server(&[ALPN]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let remotes = seen.clone();
    sim::host("server", move || {
        let (config, remotes) = (config.clone(), remotes.clone());
        async move {
            let endpoint = server(config, SocketAddr::from(([0, 0, 0, 0], PORT)))?;
            while let Some(incoming) = endpoint.accept().await {
                let connection = incoming.await?;
                tokio::spawn(watch(connection.clone(), remotes.clone()));
                tokio::spawn(compat_quic::echo::answer(connection));
            }
            Ok(())
        }
    });
    (identity.client(&[ALPN]), seen)
}

/// Notes each address that the peer of a connection has.
async fn watch(connection: Connection, remotes: Arc<Mutex<Vec<SocketAddr>>>) {
    while connection.close_reason().is_none() {
        note(&remotes, connection.remote_address());
        sleep(Duration::from_millis(20)).await;
    }
}

fn note(remotes: &Mutex<Vec<SocketAddr>>, remote: SocketAddr) {
    let mut remotes = remotes.lock().expect("no panic");
    if remotes.last() != Some(&remote) {
        remotes.push(remote);
    }
}

async fn connect(endpoint: &Endpoint, to: SocketAddr) -> Connection {
    for _ in 0..20 {
        if let Ok(Ok(connection)) =
            timeout(Duration::from_secs(5), endpoint.connect(to, NAME).expect("a good name")).await
        {
            return connection;
        }
    }
    panic!("nobody answers");
}

fn home(name: &str, nat: NatConfig) {
    sim::switch(name).subnet("192.168.178.0/24").make();
    sim::router(format!("{name}-router")).lan(name).nat(nat).make();
}

#[tokio::test]
async fn a_mapping_that_changes_moves_the_connection() {
    let (config, seen) = start_server();
    // A symmetric NAT draws a new port for each mapping.
    home("home", NatConfig::symmetric());
    let run = sim::node("laptop").switch("home").client(async move {
        let to = SocketAddr::new(sim::lookup("server"), PORT);
        let endpoint = client(config, to).expect("a free port");
        let connection = connect(&endpoint, to).await;
        for round in 0..3 {
            let text = vec![round; 20_000];
            assert!(say(&connection, &text).await.expect("an answer") == text, "round {round}");
            sleep(Duration::from_millis(100)).await;
            sim::restart_router("home-router");
        }
        connection.stats().frame_rx.path_challenge
    });
    let challenges = run.await.expect("it ends");
    let seen = seen.lock().expect("no panic").clone();
    let outer = sim::router_addresses("home-router")[0];
    assert!(seen.len() == 3 && seen.iter().all(|remote| remote.ip() == outer), "{seen:?}");
    assert!(challenges >= 2, "each new path was probed: {challenges}");
}

#[tokio::test]
async fn a_mapping_that_times_out_moves_the_connection() {
    let (config, seen) = start_server();
    home("home", NatConfig::symmetric());
    sim::update_nat("home-router", |nat| nat.udp_timeout = Duration::from_secs(10));
    let run = sim::node("laptop").switch("home").client(async move {
        let to = SocketAddr::new(sim::lookup("server"), PORT);
        let endpoint = client(config, to).expect("a free port");
        let connection = connect(&endpoint, to).await;
        assert_eq!(say(&connection, b"one").await.expect("an answer"), b"one");
        // Less than quinn's 30 s of idleness, more than the NAT's 10.
        sleep(Duration::from_secs(20)).await;
        assert!(sim::nat_mappings("home-router").is_empty());
        assert_eq!(say(&connection, b"two").await.expect("an answer"), b"two");
        sleep(Duration::from_millis(100)).await;
    });
    run.await.expect("it ends");
    assert_eq!(seen.lock().expect("no panic").len(), 2);
}

#[tokio::test]
async fn from_wireless_to_mobile_without_a_break() {
    let (config, seen) = start_server();
    home("wifi", NatConfig::port_restricted_cone());
    sim::switch("mobile").subnet("100.64.0.0/16").make();
    sim::router("mobile-router").lan("mobile").nat(NatConfig::symmetric()).make();
    let run = sim::node("phone").switch("wifi").client(async move {
        sim::connect("phone", "mobile");
        let to = SocketAddr::new(sim::lookup("server"), PORT);
        let endpoint = client(config, to).expect("a free port");
        let connection = connect(&endpoint, to).await;
        let speaking = tokio::spawn({
            let connection = connection.clone();
            async move {
                for round in 0..20u8 {
                    let text = vec![round; 3000];
                    assert!(say(&connection, &text).await.expect("an answer") == text, "round {round}");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        });
        sleep(Duration::from_secs(1)).await;
        // Out of reach of the wireless network: the system knows, and so does quinn's socket, which is bound to none.
        sim::disconnect("phone", "wifi");
        sim::set_default_route("phone", "mobile");
        speaking.await.expect("no panic");
        connection.remote_address()
    });
    run.await.expect("it ends");
    let ips: Vec<_> = seen.lock().expect("no panic").iter().map(SocketAddr::ip).collect();
    let routers = ["wifi-router", "mobile-router"].map(|router| sim::router_addresses(router)[0]);
    assert_eq!(ips, routers);
}

/// Tells each of two callers, by name, how it and the other look from outside.
async fn rendezvous() -> Result<(), Box<dyn std::error::Error>> {
    let socket = tokio::net::UdpSocket::bind(("0.0.0.0", RENDEZVOUS_PORT)).await?;
    let mut known: BTreeMap<Vec<u8>, SocketAddr> = BTreeMap::new();
    let mut buffer = [0; 64];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).await?;
        known.insert(buffer[..len].to_vec(), from);
        if let Some((_, other)) = known.iter().find(|(name, _)| **name != buffer[..len]) {
            socket.send_to(other.to_string().as_bytes(), from).await?;
        }
    }
}

/// A socket that has asked at the rendezvous, and where the other one is.
async fn meet(name: &str) -> io::Result<(UdpSocket, SocketAddr)> {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
    let mut buffer = [0; 64];
    loop {
        socket.send_to(name.as_bytes(), (sim::lookup("meeting"), RENDEZVOUS_PORT)).await?;
        if let Ok(Ok((len, _))) = timeout(Duration::from_millis(500), socket.recv_from(&mut buffer)).await {
            let text = std::str::from_utf8(&buffer[..len]).map_err(io::Error::other)?;
            return Ok((socket.into_std()?, text.parse().map_err(io::Error::other)?));
        }
    }
}

fn endpoint(socket: UdpSocket, config: Option<ServerConfig>) -> Endpoint {
    Endpoint::new(EndpointConfig::default(), config, socket, Arc::new(TokioRuntime)).expect("an endpoint")
}

/// Lets two peers behind these NATs try to reach each other; whether they did.
async fn punched(near: NatConfig, far: NatConfig) -> bool {
    sim::host("meeting", rendezvous);
    home("near", near);
    home("far", far);
    let identity = Identity::new();
    let (server_config, client_config) = (identity.server(&[ALPN]), identity.client(&[ALPN]));
    let far = sim::node("listener").switch("far").client(async move {
        let (socket, other) = meet("listener").await.expect("a meeting");
        let puncher = socket.try_clone().expect("a copy");
        let endpoint = endpoint(socket, Some(server_config));
        tokio::spawn(serve(endpoint.clone()));
        // What comes in must look like an answer.
        for _ in 0..40 {
            drop(puncher.send_to(b"punch", other));
            sleep(Duration::from_millis(250)).await;
        }
    });
    let near = sim::node("caller").switch("near").client(async move {
        let (socket, other) = meet("caller").await.expect("a meeting");
        let mut endpoint = endpoint(socket, None);
        endpoint.set_default_client_config(client_config);
        let connecting = endpoint.connect(other, NAME).expect("a good name");
        match timeout(Duration::from_secs(8), connecting).await {
            Ok(Ok(connection)) => {
                assert_eq!(say(&connection, b"through").await.expect("an answer"), b"through");
                true
            }
            _ => false,
        }
    });
    let outcome = near.await.expect("it ends");
    drop(far);
    outcome
}

#[tokio::test]
async fn holes_are_punched_where_mappings_do_not_depend_on_the_other_end() {
    assert!(punched(NatConfig::port_restricted_cone(), NatConfig::port_restricted_cone()).await);
}

#[tokio::test]
async fn a_symmetric_nat_reaches_one_that_filters_by_address_alone() {
    assert!(punched(NatConfig::symmetric(), NatConfig::restricted_cone()).await);
}

#[tokio::test]
async fn two_symmetric_nats_do_not_let_each_other_in() {
    assert!(!punched(NatConfig::symmetric(), NatConfig::symmetric()).await);
    assert!(sim::network_stats().filtered > 0);
}

#[tokio::test]
async fn a_symmetric_nat_does_not_reach_one_that_filters_by_port() {
    assert!(!punched(NatConfig::symmetric(), NatConfig::port_restricted_cone()).await);
}
