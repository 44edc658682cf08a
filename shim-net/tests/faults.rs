//! The network inside the engine: faults, names, crashes, wakers, and that a seed repeats.
#![cfg(sim)]

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;
use std::time::Duration;

use real::io::{Interest, Ready};
use shim_net::control::{self, Latency, LinkConfig};
use shim_net::sys::{self, Addr, Direction, Domain, Kind, SendExtra, SocketId, reactor};
use shim_runtime::config::Config;
use shim_runtime::node::{Crash, NodeId, NodeMain, crash, spawn_node, start};
use shim_runtime::run::{MainRuntime, run};
use shim_runtime::time;

/// Runs `body` on the test's node, and gives the trace's hash.
fn simulate<F: Future<Output = ()>>(seed: u64, body: impl FnOnce() -> F) -> u64 {
    let config = Config { seed, ..Config::default() };
    let (result, report, summary) = run(config, MainRuntime::default(), body);
    assert!(result.is_ok(), "{report}");
    summary.trace_hash
}

async fn sleep(duration: Duration) {
    let until = time::now() + duration;
    poll_fn(|cx| {
        if time::now() >= until {
            return Poll::Ready(());
        }
        time::register(until, cx.waker());
        Poll::Pending
    })
    .await;
}

async fn millis(count: u64) {
    sleep(Duration::from_millis(count)).await;
}

fn node(name: &str) -> NodeId {
    spawn_node(name, NodeMain::Nothing)
}

/// A socket on `on`, bound to `port` of the wildcard address.
async fn bound(on: NodeId, kind: Kind, port: u16) -> SocketId {
    shim_runtime::node::spawn_on_node(on, async move {
        let id = sys::socket(Domain::Inet, kind).unwrap();
        sys::set_option(id, sys::Name::ReuseAddress, sys::Value::Int(1)).unwrap();
        sys::bind(id, &Addr::Inet(SocketAddr::from(([0, 0, 0, 0], port)))).unwrap();
        id
    })
    .await
    .unwrap()
}

fn address(of: NodeId, port: u16) -> SocketAddr {
    (control::addresses(of)[0], port).into()
}

async fn connect(to: SocketAddr) -> io::Result<SocketId> {
    let id = sys::socket(Domain::Inet, Kind::Stream)?;
    let begun = sys::connect(id, &Addr::Inet(to)).unwrap_err();
    assert_eq!(begun.raw_os_error(), Some(libc::EINPROGRESS));
    let wait = reactor::register(id, Interest::WRITABLE, Ready::EMPTY)?;
    poll_fn(|cx| reactor::poll_direction(wait, Direction::Write, cx)).await?;
    reactor::deregister(wait);
    sys::take_error(id)?.map_or(Ok(id), Err)
}

/// Calls `f` each time there is something to read at `id`, until it does not say that it would block.
async fn reading<R>(id: SocketId, mut f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let wait = reactor::register(id, Interest::READABLE, Ready::EMPTY)?;
    let result = loop {
        let told = poll_fn(|cx| reactor::poll_direction(wait, Direction::Read, cx)).await?;
        match f() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => reactor::clear(wait, told),
            result => break result,
        }
    };
    reactor::deregister(wait);
    result
}

/// A connection from the test's node to a listener on `to`: this end and that.
async fn connection(to: NodeId) -> (SocketId, SocketId) {
    let listener = bound(to, Kind::Stream, 80).await;
    sys::listen(listener, 16).unwrap();
    let near = connect(address(to, 80)).await.unwrap();
    let (far, _) = reading(listener, || sys::accept(listener)).await.unwrap();
    sys::close(listener);
    (near, far)
}

async fn read(id: SocketId) -> io::Result<Vec<u8>> {
    let mut space = [0; 1000];
    let len = reading(id, || sys::recv(id, &mut space, false)).await?;
    Ok(space[..len].to_vec())
}

fn send_to(id: SocketId, data: &[u8], to: SocketAddr) -> io::Result<usize> {
    sys::send_to(id, &[IoSlice::new(data)], Some(&Addr::Inet(to)), SendExtra::default())
}

/// All datagrams that wait at a socket.
fn drain(id: SocketId) -> Vec<Vec<u8>> {
    let mut space = [0; 2000];
    std::iter::from_fn(|| sys::recv(id, &mut space, false).ok().map(|len| space[..len].to_vec())).collect()
}

#[test]
fn a_partition_cuts_and_its_repair_lets_tcp_go_on() {
    simulate(1, || async {
        let (here, there) = (NodeId(0), node("server"));
        let (near, far) = connection(there).await;
        control::partition(&[here], &[there]);
        sys::send(near, b"hello").unwrap();
        millis(500).await;
        assert_eq!(sys::recv(far, &mut [0; 9], false).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(control::stats().cut >= 1);
        control::heal();
        assert_eq!(read(far).await.unwrap(), b"hello");
    });
}

#[test]
fn a_one_way_partition_leaves_the_way_back() {
    simulate(2, || async {
        let (here, there) = (NodeId(0), node("server"));
        let (a, b) = (bound(here, Kind::Datagram, 1).await, bound(there, Kind::Datagram, 2).await);
        control::partition_oneway(&[here], &[there]);
        send_to(a, b"lost", address(there, 2)).unwrap();
        send_to(b, b"back", address(here, 1)).unwrap();
        millis(10).await;
        assert_eq!(drain(b), Vec::<Vec<u8>>::new());
        assert_eq!(drain(a), [b"back"]);
        control::repair_oneway(&[here], &[there]);
        send_to(a, b"open", address(there, 2)).unwrap();
        millis(10).await;
        assert_eq!(drain(b), [b"open"]);
    });
}

#[test]
fn held_packets_arrive_in_order_after_release() {
    simulate(3, || async {
        let (here, there) = (NodeId(0), node("server"));
        let (a, b) = (bound(here, Kind::Datagram, 1).await, bound(there, Kind::Datagram, 2).await);
        control::hold(&[here], &[there]);
        for number in 0..20 {
            send_to(a, &[number], address(there, 2)).unwrap();
        }
        millis(1000).await;
        assert!(drain(b).is_empty());
        control::release(&[here], &[there]);
        millis(10).await;
        assert_eq!(drain(b), (0..20).map(|number| vec![number]).collect::<Vec<_>>());
        assert_eq!(control::stats().held, 20);
    });
}

#[test]
fn nobody_at_the_address_is_unreachable_after_three_seconds() {
    simulate(4, || async {
        let start = time::now();
        let error = connect("192.168.77.7:80".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EHOSTUNREACH));
        assert_eq!((time::now() - start).as_secs(), 3);
        assert!(control::stats().unroutable >= 1);
    });
}

#[test]
fn names_resolve_to_nodes() {
    simulate(5, || async {
        let server = node("server");
        assert_eq!(sys::lookup("SERVER").unwrap(), control::addresses(server));
        assert_eq!(sys::lookup("localhost").unwrap()[0], IpAddr::from([127, 0, 0, 1]));
        assert!(sys::lookup("nobody.example").is_err());
        control::register_name("nobody.example", server);
        assert_eq!(control::lookup("nobody.example"), control::addresses(server));
        control::set_addresses(server, vec!["10.9.8.7".parse().unwrap()]);
        assert_eq!(sys::lookup("server").unwrap(), ["10.9.8.7".parse::<IpAddr>().unwrap()]);
        let (near, far) = connection(server).await;
        assert_eq!(sys::peer_addr(near).unwrap(), Addr::Inet("10.9.8.7:80".parse().unwrap()));
        sys::send(far, b"x").unwrap();
        assert_eq!(read(near).await.unwrap(), b"x");
        assert!(control::netstat(server).contains("10.9.8.7:80"), "{}", control::netstat(server));
    });
}

#[test]
fn a_dead_process_closes_and_a_dead_machine_is_silent() {
    simulate(6, || async {
        let server = node("server");
        let (near, far) = connection(server).await;
        crash(server, Crash::Process);
        assert_eq!(read(near).await.unwrap(), b"");
        assert_eq!(sys::send(far, b"from the grave").unwrap_err().raw_os_error(), Some(libc::ENETDOWN));
        assert_eq!(connect(address(server, 80)).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);

        start(server);
        let (near, _far) = connection(server).await;
        crash(server, Crash::Machine);
        sys::send(near, b"hello?").unwrap();
        millis(2000).await;
        assert_eq!(sys::recv(near, &mut [0; 9], false).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(control::stats().dead_host > 0);
        start(server);
        assert_eq!(read(near).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn links_corrupt_duplicate_limit_and_bound_the_size() {
    simulate(7, || async {
        let (here, there) = (NodeId(0), node("server"));
        let (a, b) = (bound(here, Kind::Datagram, 1).await, bound(there, Kind::Datagram, 2).await);
        control::update_link(here, there, |link| (link.corrupt, link.duplicate) = (1.0, 1.0));
        send_to(a, &[0; 100], address(there, 2)).unwrap();
        millis(10).await;
        let got = drain(b);
        assert_eq!((got.len(), control::stats().corrupted, control::stats().duplicated), (2, 1, 1));
        assert_eq!(got[0].iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);

        let latency = Latency::Fixed(Duration::from_millis(1));
        control::set_link(
            here,
            there,
            LinkConfig { latency, bandwidth_bps: Some(8_000_000), ..LinkConfig::default() },
        );
        let start = time::now();
        (0..10).for_each(|_| assert!(send_to(a, &[0; 972], address(there, 2)).is_ok()));
        let mut left = 10;
        while left > 0 {
            reading(b, || Ok(())).await.unwrap();
            left -= drain(b).len();
        }
        assert_eq!((time::now() - start).as_millis(), 11, "ten packets of a millisecond, and the latency");

        control::update_link(here, there, |link| link.mtu_bytes = Some(500));
        send_to(a, &[0; 600], address(there, 2)).unwrap();
        let forbid = sys::Value::Int(libc::IP_PMTUDISC_DO);
        sys::set_option(a, sys::Name::MtuDiscover, forbid).unwrap();
        send_to(a, &[0; 601], address(there, 2)).unwrap();
        millis(10).await;
        assert_eq!(drain(b).len(), 1, "fragments arrive, what forbids them does not");
        assert_eq!(control::stats().too_big, 1);
        let (near, far) = connection(there).await;
        sys::send(near, &[1; 5000]).unwrap();
        let mut got = 0;
        while got < 5000 {
            got += read(far).await.unwrap().len();
        }
        assert_eq!(sys::option(near, sys::Name::MaxSegment).unwrap(), sys::Value::Int(460));
    });
}

#[test]
fn a_broadcast_reaches_every_node() {
    simulate(8, || async {
        let nodes = [node("a"), node("b"), node("c")];
        let mut sockets = Vec::new();
        for on in nodes {
            sockets.push(bound(on, Kind::Datagram, 9).await);
        }
        let sender = bound(NodeId(0), Kind::Datagram, 0).await;
        sys::set_option(sender, sys::Name::Broadcast, sys::Value::Int(1)).unwrap();
        send_to(sender, b"all", "255.255.255.255:9".parse().unwrap()).unwrap();
        millis(5).await;
        for socket in sockets {
            assert_eq!(drain(socket), [b"all"]);
        }
    });
}

#[test]
fn every_waiter_is_woken_and_cleared_bits_stay_hidden_until_an_event() {
    simulate(9, || async {
        let receiver = bound(NodeId(0), Kind::Datagram, 5).await;
        let to: SocketAddr = "127.0.0.1:5".parse().unwrap();
        let wait = move || async move {
            reading(receiver, || Ok(())).await.unwrap();
        };
        let waiters: Vec<_> = (0..3).map(|_| shim_runtime::node::spawn_on_node(NodeId(0), wait())).collect();
        millis(1).await;
        let sender = bound(NodeId(0), Kind::Datagram, 0).await;
        send_to(sender, b"1", to).unwrap();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        let wait = reactor::register(receiver, Interest::READABLE, Ready::EMPTY).unwrap();
        let told = || reactor::told(wait, Interest::READABLE);
        assert!(told().ready.is_empty(), "the reactor tells at its turn");
        millis(1).await;
        assert!(told().ready.is_readable());
        reactor::clear(wait, told());
        assert!(told().ready.is_empty());
        send_to(sender, b"2", to).unwrap();
        millis(1).await;
        assert!(told().ready.is_readable());
    });
}

#[test]
fn a_seed_repeats_and_another_does_not() {
    let life = || async {
        let lossy = LinkConfig { loss: 0.1, duplicate: 0.1, reorder: 0.1, ..LinkConfig::default() };
        control::set_default_link(lossy);
        let server = node("server");
        let (near, far) = connection(server).await;
        let mut got = 0;
        let mut sent = 0;
        while got < 200_000 {
            if sent < 200_000 {
                sent += sys::send(near, &vec![1; 200_000 - sent]).unwrap_or(0);
            }
            got += read(far).await.unwrap().len();
        }
        let stats = control::stats();
        assert!(stats.lost > 0 && stats.duplicated > 0, "{stats:?}");
    };
    // On fresh threads: std draws its hash keys once for each thread, and the trace has every draw.
    #[expect(clippy::disallowed_methods, reason = "the threads are the harness's, outside of any run")]
    let hash = |seed| std::thread::spawn(move || simulate(seed, life)).join().unwrap();
    assert_eq!(hash(11), hash(11));
    assert_ne!(hash(11), hash(12));
}
