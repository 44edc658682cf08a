//! Topology: switches, routers, NATs, firewalls and several interfaces, as programs see them.
//!
//! Owns what ordinary sockets meet behind a router. Must not know how it is done. Invariant: every test runs twice for
//! each seed with equal traces (`SIM_TWICE=1` in CI).
#![cfg(sim)]

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sim::links::Latency;
use tokio::sim::{self, FirewallConfig, NatConfig, Protocol};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// Answers each datagram with the address that it came from, from two ports.
async fn reflector() -> Result<(), Box<dyn std::error::Error>> {
    let first = UdpSocket::bind("0.0.0.0:7000").await?;
    let second = UdpSocket::bind("0.0.0.0:7001").await?;
    let mut buffer = [0; 64];
    loop {
        let (len, from) = first.recv_from(&mut buffer).await?;
        let answer = from.to_string();
        match &buffer[..len] {
            b"from the other port" => second.send_to(answer.as_bytes(), from).await?,
            _ => first.send_to(answer.as_bytes(), from).await?,
        };
    }
}

/// Asks three times: the server may not have begun.
async fn ask(socket: &UdpSocket, server: &str, question: &[u8]) -> Option<SocketAddr> {
    let mut buffer = [0; 64];
    for _ in 0..3 {
        socket.send_to(question, server).await.expect("it is sent");
        if let Ok(received) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await {
            let (len, _) = received.expect("it is read");
            return Some(std::str::from_utf8(&buffer[..len]).expect("text").parse().expect("an address"));
        }
    }
    None
}

/// Connects, once the server listens.
async fn connected(server: &str) -> TcpStream {
    for _ in 0..100 {
        match TcpStream::connect(server).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("{server} does not listen");
}

fn home(name: &str, subnet: &str, nat: NatConfig) {
    sim::switch(name).subnet(subnet).make();
    sim::router(format!("{name}-router")).lan(name).nat(nat).make();
}

async fn from_all_over() -> std::io::Result<UdpSocket> {
    UdpSocket::bind("0.0.0.0:0").await
}

#[tokio::test]
async fn two_homes_with_equal_addresses_reach_one_server() {
    sim::host("server", reflector);
    let mut seen = Vec::new();
    for name in ["one", "other"] {
        home(name, "192.168.77.0/24", NatConfig::port_restricted_cone());
        let client = sim::node(format!("{name}-client")).switch(name).client(async {
            let socket = from_all_over().await.expect("it is bound");
            (ask(&socket, "server:7000", b"hello").await, sim::addresses("one-client"))
        });
        let (outer, inner) = client.await.expect("it ends");
        assert_eq!(inner[0], "192.168.77.2".parse::<IpAddr>().unwrap());
        let outer = outer.expect("an answer");
        assert_eq!(outer.ip(), sim::router_addresses(&format!("{name}-router"))[0]);
        assert_eq!(sim::nat_mappings(&format!("{name}-router")).len(), 1);
        seen.push(outer.ip());
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn nats_filter_and_forget() {
    sim::host("server", reflector);
    home("home", "10.9.0.0/16", NatConfig::port_restricted_cone());
    let client = sim::node("client").switch("home").client(async {
        let socket = from_all_over().await.expect("it is bound");
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
        assert!(ask(&socket, "server:7000", b"from the other port").await.is_none());
        sim::update_nat("home-router", |nat| nat.filtering = sim::Dependence::AddressDependent);
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
        assert!(ask(&socket, "server:7000", b"from the other port").await.is_some());
        let before = sim::nat_mappings("home-router");
        tokio::time::sleep(Duration::from_secs(301)).await;
        assert!(sim::nat_mappings("home-router").is_empty());
        ask(&socket, "server:7000", b"hello").await;
        assert_eq!(sim::nat_mappings("home-router"), before, "the port is kept where it is free");
        sim::restart_router("home-router");
        assert!(sim::nat_mappings("home-router").is_empty());
    });
    client.await.expect("it ends");
    assert!(sim::network_stats().filtered >= 1);
}

#[tokio::test]
async fn tcp_goes_through_a_nat_and_hangs_after_its_restart() {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    home("home", "192.168.178.0/24", NatConfig::symmetric());
    let client = sim::node("client").switch("home").client(async {
        let mut stream = connected("server:80").await;
        let text = vec![7; 300_000];
        let (mut reader, mut writer) = stream.split();
        let echoed = async {
            let mut back = vec![0; text.len()];
            reader.read_exact(&mut back).await.expect("it comes back");
            back
        };
        let (written, back) = tokio::join!(writer.write_all(&text), echoed);
        written.expect("it is written");
        assert_eq!(back, text);
        sim::restart_router("home-router");
        stream.write_all(b"lost").await.expect("the kernel takes it");
        let mut byte = [0];
        assert!(timeout(PATIENCE, stream.read(&mut byte)).await.is_err(), "nobody answers");
        sim::update_nat("home-router", |nat| nat.unknown_tcp = sim::UnknownTcp::Reset);
        let error = timeout(Duration::from_secs(120), stream.read(&mut byte)).await.expect("in time");
        assert_eq!(error.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
        // A new connection goes through.
        let mut again = TcpStream::connect("server:80").await.expect("it connects");
        again.write_all(b"x").await.expect("it is written");
        again.read_exact(&mut byte).await.expect("it comes back");
    });
    client.await.expect("it ends");
}

#[tokio::test]
async fn nobody_reaches_into_a_home_unless_the_firewall_lets_him() {
    sim::switch("office").subnet("2001:db8:7::/64").subnet("172.16.0.0/24").make();
    let firewall = FirewallConfig::stateful().allow_inbound(Protocol::Tcp, 22..=22);
    sim::router("gate").lan("office").firewall(firewall).make();
    sim::node("desk").switch("office").host(|| async {
        let ssh = TcpListener::bind("[::]:22").await?;
        let web = TcpListener::bind("[::]:80").await?;
        loop {
            let (mut stream, _) = tokio::select! {
                accepted = ssh.accept() => accepted?,
                accepted = web.accept() => accepted?,
            };
            stream.write_all(b"hello").await?;
        }
    });
    let mut text = String::new();
    for address in sim::addresses("desk") {
        let mut stream = connected(&SocketAddr::new(address, 22).to_string()).await;
        stream.read_to_string(&mut text).await.expect("it is read");
        assert!(timeout(PATIENCE, TcpStream::connect((address, 80))).await.is_err(), "it is dropped");
    }
    assert_eq!(text, "hellohello");
    let mut rejecting = FirewallConfig::stateful();
    rejecting.inbound_default = sim::Action::Reject;
    sim::set_firewall("gate", Some(rejecting));
    let refused = TcpStream::connect("desk:80").await.expect_err("it is refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    sim::set_firewall("gate", None);
    TcpStream::connect("desk:80").await.expect("nothing stands between");
}

#[tokio::test]
async fn a_node_may_have_a_firewall_of_its_own() {
    sim::host("server", || async {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            listener.accept().await?;
        }
    });
    connected("server:80").await;
    sim::set_firewall("server", Some(FirewallConfig::stateful()));
    assert!(timeout(PATIENCE, TcpStream::connect("server:80")).await.is_err(), "it is dropped");
    let mut rejecting = FirewallConfig::stateful();
    rejecting.inbound_default = sim::Action::Reject;
    sim::set_firewall("server", Some(rejecting));
    let refused = TcpStream::connect("server:80").await.expect_err("it is refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn what_a_node_may_not_send_is_refused_at_once() {
    let mut firewall = FirewallConfig::stateful();
    firewall.outbound_default = sim::Action::Reject;
    sim::set_firewall("test", Some(firewall));
    sim::host("server", reflector);
    let address = SocketAddr::new(sim::lookup("server"), 80);
    let started = sim::elapsed();
    let refused = TcpStream::connect(address).await.expect_err("it is refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(sim::elapsed() - started < Duration::from_millis(1), "nothing left the node");
}

#[tokio::test]
async fn a_phone_changes_from_wifi_to_mobile() {
    sim::host("server", reflector);
    home("wifi", "192.168.178.0/24", NatConfig::port_restricted_cone());
    home("mobile", "10.64.0.0/16", NatConfig::symmetric());
    let client = sim::node("phone").switch("wifi").switch("mobile").client(async {
        let socket = from_all_over().await.expect("it is bound");
        let first = ask(&socket, "server:7000", b"hello").await.expect("an answer");
        assert_eq!(first.ip(), sim::router_addresses("wifi-router")[0]);
        sim::set_default_route("phone", "mobile");
        let second = ask(&socket, "server:7000", b"hello").await.expect("an answer");
        assert_eq!(second.ip(), sim::router_addresses("mobile-router")[0]);
        sim::set_default_route("phone", "wifi");
        let bound = UdpSocket::bind((sim::addresses("phone")[0], 0)).await.expect("it is bound");
        assert!(ask(&bound, "server:7000", b"hello").await.is_some());
        sim::disconnect("phone", "wifi");
        assert_eq!(ask(&socket, "server:7000", b"hello").await.expect("an answer"), second);
        // Its address is gone, and with it the right to send from there.
        let gone = bound.send_to(b"hello", "server:7000").await.expect_err("no such address");
        assert_eq!(gone.raw_os_error(), Some(22));
        sim::disconnect("phone", "mobile");
        let nowhere = socket.send_to(b"hello", sim::lookup("server").to_string() + ":7000").await;
        assert_eq!(nowhere.expect_err("no way").kind(), ErrorKind::NetworkUnreachable);
        sim::connect("phone", "wifi");
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
    });
    client.await.expect("it ends");
}

#[tokio::test]
async fn neighbours_hear_each_other_and_hairpins_turn_round() {
    home("home", "192.168.178.0/24", NatConfig::full_cone());
    sim::host("server", reflector);
    let (to_other, heard) = tokio::sync::oneshot::channel();
    let printer = sim::node("printer").switch("home").client(async {
        let socket = UdpSocket::bind("0.0.0.0:9100").await.expect("it is bound");
        let outer = ask(&socket, "server:7000", b"who am I").await.expect("an answer");
        to_other.send(outer).expect("it waits");
        let mut seen = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(received) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await {
            seen.push(received.expect("it is read").1.ip());
        }
        seen
    });
    let laptop = sim::node("laptop").switch("home").client(async {
        let outer = heard.await.expect("the printer asks");
        let socket = from_all_over().await.expect("it is bound");
        socket.send_to(b"near", "printer:9100").await.expect("it is sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        socket.send_to(b"round", outer).await.expect("it is sent");
        tokio::time::sleep(Duration::from_millis(100)).await;
        sim::update_nat("home-router", |nat| nat.hairpinning = false);
        socket.send_to(b"lost", outer).await.expect("it is sent");
        sim::addresses("laptop")[0]
    });
    let (seen, near) = (printer.await.expect("it ends"), laptop.await.expect("it ends"));
    assert_eq!(seen, [near, sim::router_addresses("home-router")[0]]);
}

#[tokio::test]
async fn a_nat_behind_a_nat_and_a_line_that_all_share() {
    sim::switch("carrier").subnet("100.64.0.0/16").make();
    sim::router("carrier-router").lan("carrier").nat(NatConfig::symmetric()).make();
    sim::switch("home").subnet("192.168.178.0/24").make();
    sim::router("home-router").uplink("carrier").lan("home").nat(NatConfig::full_cone()).make();
    // One megabit per second for the home, whoever speaks with whom.
    sim::link("home-router", "carrier").bandwidth_bits_per_sec(1_000_000);
    let mut servers = Vec::new();
    for number in 0..2 {
        let name = format!("server-{number}");
        sim::host(&name, || async {
            let listener = TcpListener::bind("0.0.0.0:80").await?;
            let (mut stream, _) = listener.accept().await?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(&(all.len() as u64).to_be_bytes()).await?;
            Ok(())
        });
        servers.push(name);
    }
    let started = sim::elapsed();
    let clients: Vec<_> = servers
        .into_iter()
        .map(|server| {
            sim::node(format!("client-of-{server}")).switch("home").client(async move {
                let mut stream = connected(&format!("{server}:80")).await;
                stream.write_all(&[1; 125_000]).await.expect("it is written");
                stream.shutdown().await.expect("it is closed");
                assert_eq!(stream.read_u64().await.expect("an answer"), 125_000);
            })
        })
        .collect();
    for client in clients {
        client.await.expect("it ends");
    }
    // Two times a second's worth, and headers, over one line.
    let took = (sim::elapsed() - started).as_secs_f64();
    assert!((2.0..3.5).contains(&took), "{took} s");
}

#[tokio::test]
async fn rules_of_a_line_and_of_a_pair_begin_from_what_was_there() {
    let latency = Latency::Fixed(Duration::from_millis(10));
    let of_the_switch = latency.clone();
    sim::switch("lan").link(|link| link.latency = of_the_switch).make();
    sim::node("server").switch("lan").host(reflector);
    let client = sim::node("client").switch("lan").client(async move {
        let socket = from_all_over().await.expect("it is bound");
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
        // A rate for the cable, and no latency that nobody asked for.
        sim::link("client", "lan").bandwidth_bits_per_sec(1_000_000_000);
        let started = sim::elapsed();
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
        let took = sim::elapsed() - started;
        assert!(took.as_micros().abs_diff(20_000) < 100, "{took:?}");
        // Losses for two of the switch: its latency stays.
        sim::link("client", "server").loss(0.0).update(|link| assert_eq!(link.latency, latency));
    });
    client.await.expect("it ends");
}

#[tokio::test]
async fn a_cable_that_is_cut_cuts_all_its_ways() {
    sim::host("server", reflector);
    sim::switch("lan").make();
    sim::router("gate").lan("lan").make();
    let client = sim::node("client").switch("lan").client(async {
        let socket = from_all_over().await.expect("it is bound");
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
        sim::partition("client", "lan");
        assert!(ask(&socket, "server:7000", b"hello").await.is_none());
        sim::heal();
        assert!(ask(&socket, "server:7000", b"hello").await.is_some());
        sim::hold("gate", "server");
        socket.send_to(b"hello", "server:7000").await.expect("it is sent");
        tokio::time::sleep(PATIENCE).await;
        sim::release("gate", "server");
        let mut buffer = [0; 64];
        timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("it was kept").expect("it is read");
    });
    client.await.expect("it ends");
}

#[tokio::test]
async fn an_address_that_nobody_has_behind_a_router_is_told_of() {
    sim::switch("lan").subnet("10.3.0.0/24").make();
    sim::router("gate").lan("lan").make();
    let error = TcpStream::connect("10.3.0.99:80").await.expect_err("nobody has it");
    assert_eq!(error.kind(), ErrorKind::HostUnreachable);
}

#[tokio::test]
#[should_panic(expected = "there is no switch called \"lan\"; there are internet")]
async fn a_switch_that_is_not_there_is_named() {
    sim::connect("test", "lan");
}

#[tokio::test]
#[should_panic(expected = "is no network: its prefix length is out of range")]
async fn a_wrong_network_is_refused() {
    sim::switch("lan").subnet("10.0.0.0/33").make();
}
