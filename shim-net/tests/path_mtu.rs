//! Links that take only small packets: ICMP "too big", what TCP and UDP make of it, black holes, fragments.
//!
//! Owns no world of its own. Must not know the stack's inner state: what it asserts is what programs see. Invariant: each
//! test runs over several seeds, each twice.
#![cfg(sim)]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::{both, each_seed, node, sleep};
use real::io::{AsyncReadExt, AsyncWriteExt};
use shim_net::control::{self, LinkConfig};
use shim_net::mirror::{TcpListener, TcpStream};
use shim_net::sys::{self, Addr, Domain, Kind, Name, SocketId, Value};
use shim_runtime::node::{NodeId, NodeMain, spawn_node, spawn_on_node};
use shim_runtime::time;

const TEST: NodeId = NodeId(0);

fn narrow(to: NodeId, mtu: usize, change: impl FnOnce(&mut LinkConfig)) {
    control::update_link(TEST, to, |link| {
        link.mtu_bytes = Some(mtu);
        link.clamp_mss = false;
        change(link);
    });
}

/// The IPv4 address of a node, or that of IPv6.
fn address(of: NodeId, v6: bool, port: u16) -> SocketAddr {
    let ip = control::addresses(of).into_iter().find(|ip| ip.is_ipv6() == v6).unwrap();
    (ip, port).into()
}

/// A server that says how many bytes it got until the end.
fn counting_server() -> NodeId {
    node("server", || async {
        let listener = TcpListener::bind("[::]:80").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(&(all.len() as u64).to_be_bytes()).await?;
        }
    })
}

async fn upload(to: SocketAddr, bytes: usize) -> u64 {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&vec![1; bytes]).await.unwrap();
    stream.shutdown().await.unwrap();
    stream.read_u64().await.unwrap()
}

#[test]
fn tcp_learns_the_size_and_remembers_it_for_ten_minutes() {
    each_seed(|| async {
        let server = counting_server();
        sleep(Duration::from_millis(1)).await;
        for v6 in [false, true] {
            narrow(server, 1300, |_| ());
            let before = control::stats().too_big;
            assert_eq!(upload(address(server, v6, 80), 300_000).await, 300_000);
            let learned = control::stats().too_big;
            assert!(learned > before, "the first segments are too big");
            assert_eq!(upload(address(server, v6, 80), 300_000).await, 300_000);
            assert_eq!(control::stats().too_big, learned, "the second connection knows");
            sleep(Duration::from_secs(601)).await;
            assert_eq!(upload(address(server, v6, 80), 300_000).await, 300_000);
            assert!(control::stats().too_big > learned, "it is forgotten");
        }
    });
}

#[test]
fn a_way_that_becomes_narrow_slows_a_connection_but_does_not_stop_it() {
    each_seed(|| async {
        let server = counting_server();
        sleep(Duration::from_millis(1)).await;
        let mut stream = TcpStream::connect(address(server, false, 80)).await.unwrap();
        stream.write_all(&[1; 50_000]).await.unwrap();
        narrow(server, 1000, |link| link.loss = 0.02);
        stream.write_all(&[1; 50_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read_u64().await.unwrap(), 100_000);
        assert!(control::stats().too_big > 0);
    });
}

#[test]
fn a_black_hole_swallows_large_segments_and_clamping_avoids_it() {
    each_seed(|| async {
        let server = counting_server();
        sleep(Duration::from_millis(1)).await;
        let to = address(server, false, 80);
        narrow(server, 1300, |link| (link.icmp_too_big, link.clamp_mss) = (false, true));
        assert_eq!(upload(to, 5_000).await, 5_000);
        assert_eq!(control::stats().too_big, 0);
        narrow(server, 1300, |link| link.icmp_too_big = false);
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&[1; 5_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        let start = time::now();
        let answer = both(
            async { stream.read_u64().await.map_err(|error| error.kind()) },
            sleep(Duration::from_secs(1)),
        );
        let (answer, ()) = answer.await;
        assert_eq!(answer, Err(std::io::ErrorKind::TimedOut), "nothing gets through");
        assert!(time::now() - start > Duration::from_secs(60));
    });
}

/// A datagram socket of this node or another, bound to `port`.
async fn datagrams(on: NodeId, v6: bool, port: u16) -> SocketId {
    let make = async move {
        let id = sys::socket(if v6 { Domain::Inet6 } else { Domain::Inet }, Kind::Datagram).unwrap();
        let ip: IpAddr = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        sys::bind(id, &Addr::Inet(SocketAddr::new(ip, port))).unwrap();
        id
    };
    spawn_on_node(on, make).await.unwrap()
}

fn set(socket: SocketId, name: Name, value: i32) {
    sys::set_option(socket, name, Value::Int(value)).unwrap();
}

/// Sends so many bytes; else the number of the error.
fn send(socket: SocketId, bytes: usize) -> Result<usize, i32> {
    sys::send(socket, &vec![0; bytes]).map_err(|error| error.raw_os_error().unwrap())
}

/// How long the datagrams are that have arrived.
fn arrived(socket: SocketId) -> Vec<usize> {
    let mut space = [0; 8000];
    std::iter::from_fn(|| sys::recv(socket, &mut space, false).ok()).collect()
}

const TOO_LONG: Result<usize, i32> = Err(libc::EMSGSIZE);

#[test]
fn datagrams_that_forbid_fragments_are_refused_once_the_way_is_known() {
    each_seed(|| async {
        let server = spawn_node("server", NodeMain::Nothing);
        let (far, near) = (datagrams(server, false, 5).await, datagrams(TEST, false, 0).await);
        narrow(server, 1000, |_| ());
        let mtu = || sys::option(near, Name::Mtu);
        assert_eq!(mtu().unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
        sys::connect(near, &Addr::Inet(address(server, false, 5))).unwrap();
        assert_eq!(mtu().unwrap(), Value::Int(1500));
        set(near, Name::MtuDiscover, libc::IP_PMTUDISC_DO);
        assert_eq!(send(near, 1200), Ok(1200));
        sleep(Duration::from_millis(10)).await;
        // The error that came is told once; then the size itself is refused.
        assert_eq!(send(near, 10), TOO_LONG);
        assert_eq!(mtu().unwrap(), Value::Int(1000));
        assert_eq!(send(near, 973), TOO_LONG);
        assert_eq!(send(near, 972), Ok(972));
        // Who probes may send what the interface takes, and hears of what does not get through.
        set(near, Name::MtuDiscover, libc::IP_PMTUDISC_PROBE);
        assert_eq!(send(near, 1472), Ok(1472));
        assert_eq!(send(near, 1473), TOO_LONG);
        sleep(Duration::from_millis(10)).await;
        assert_eq!(send(near, 1), TOO_LONG);
        // Who lets it be sends fragments.
        set(near, Name::MtuDiscover, libc::IP_PMTUDISC_DONT);
        let sent = control::stats().sent;
        assert_eq!(send(near, 4000), Ok(4000));
        assert_eq!(control::stats().sent - sent, 5, "4,008 bytes in parts of 976");
        sleep(Duration::from_millis(10)).await;
        assert_eq!(arrived(far), [972, 4000]);
        assert_eq!(control::stats().too_big, 2);
    });
}

#[test]
fn senders_of_ipv6_cut_what_routers_may_not() {
    each_seed(|| async {
        let server = spawn_node("server", NodeMain::Nothing);
        let (far, near) = (datagrams(server, true, 5).await, datagrams(TEST, true, 0).await);
        narrow(server, 1400, |_| ());
        sys::connect(near, &Addr::Inet(address(server, true, 5))).unwrap();
        assert_eq!(send(near, 1452), Ok(1452));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(send(near, 1452), TOO_LONG, "of the first one");
        assert_eq!(send(near, 1452), Ok(1452));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(arrived(far), [1452]);
        assert_eq!(sys::option(near, Name::MtuV6).unwrap(), Value::Int(1400));
        assert_eq!(control::stats().too_big, 1);
    });
}

#[test]
fn one_lost_fragment_loses_the_datagram() {
    each_seed(|| async {
        let server = spawn_node("server", NodeMain::Nothing);
        let (far, near) = (datagrams(server, false, 5).await, datagrams(TEST, false, 0).await);
        let share = 0.1;
        control::update_link(TEST, server, |link| link.loss = share);
        sys::connect(near, &Addr::Inet(address(server, false, 5))).unwrap();
        let (count, mut whole) = (400, 0);
        for _ in 0..count {
            // 7,408 bytes: six fragments at an interface's 1,500.
            send(near, 7400).unwrap();
            sleep(Duration::from_millis(2)).await;
            whole += arrived(far).len();
        }
        let survives = (1.0f64 - share).powi(6);
        let expected = survives * f64::from(count);
        let deviation = (expected * (1.0 - survives)).sqrt();
        assert!((whole as f64 - expected).abs() < 4.0 * deviation, "{whole}, not {expected}");
    });
}
