//! `std::net` on simulated sockets, and the same on the system's own.
//!
//! Owns blocking calls, copies of descriptors and random files. Must not know the stack. Invariants: what both
//! worlds can answer is asserted in both; two runs of a seed make the same decisions.
#![cfg(sim)]
#![expect(
    clippy::disallowed_methods,
    reason = "the threads and the clock are those of a program that knows of no simulation"
)]

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

// The symbols are the crate's: it must be linked.
use shim_net as _;
use shim_runtime::config::Config;
use shim_runtime::run::{MainRuntime, run};
use shim_runtime::task::spawn_blocking;

/// Runs `body` on the test's node; what it gave, and the trace's hash.
///
/// Each run is on a thread of its own, because std's hash maps ask for entropy once for each thread.
fn simulate<T: Send, F: Future<Output = T>>(seed: u64, body: impl FnOnce() -> F + Send) -> (T, u64) {
    let simulation = || {
        let config = Config { seed, ..Config::default() };
        let (result, report, summary) = run(config, MainRuntime::default(), body);
        assert_eq!(summary.not_deterministic, Vec::<String>::new());
        match result {
            Ok(value) => (value, summary.trace_hash),
            Err(_) => panic!("{report}"),
        }
    };
    std::thread::scope(|scope| scope.spawn(simulation).join().unwrap())
}

/// Runs a blocking closure in a simulation, twice.
fn simulate_blocking<T: Send + 'static>(body: fn() -> T) -> T {
    let once = || simulate(7, || async move { spawn_blocking(body).await.unwrap() });
    let (first, second) = (once(), once());
    assert_eq!(first.1, second.1, "a seed repeats");
    first.0
}

/// Runs `f` beside the caller: in a simulation on one of its threads.
fn beside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Box<dyn FnOnce() -> T> {
    if shim_runtime::in_simulation() {
        let handle = spawn_blocking(f);
        return Box::new(move || shim_runtime::runtime::Handle::current().block_on(handle).unwrap());
    }
    let handle = std::thread::spawn(f);
    Box::new(move || handle.join().unwrap())
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, from) = listener.accept().unwrap();
    assert_eq!(from, near.local_addr().unwrap());
    assert_eq!(near.peer_addr().unwrap(), far.local_addr().unwrap());
    (near, far)
}

/// The blocking echo of a megabyte, which is more than any buffer takes at once.
fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let server = beside(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let mut stream = TcpStream::connect(to).unwrap();
    let sent: Vec<u8> = (0..8_000_000u32).map(|number| number as u8).collect();
    stream.write_all(&sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert!(back == sent);
    server();
}

#[test]
fn blocking_echo() {
    echo();
    simulate_blocking(echo);
}

fn vectored_and_peek() {
    let (mut near, mut far) = tcp_pair();
    assert_eq!(
        near.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")]).unwrap(),
        5
    );
    let mut seen = [0; 2];
    assert_eq!(far.peek(&mut seen).unwrap(), 2);
    let (mut a, mut b) = ([0; 1], [0; 9]);
    let count = far.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]).unwrap();
    assert_eq!((count, &seen, &a, &b[..4]), (5, b"ab", b"a", &b"bcde"[..]));
    drop(near);
    assert_eq!(far.read(&mut a).unwrap(), 0);
}

#[test]
fn vectors_and_peeking() {
    vectored_and_peek();
    simulate_blocking(vectored_and_peek);
}

fn time_limits() {
    let (mut near, far) = tcp_pair();
    near.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(near.read_timeout().unwrap(), Some(Duration::from_millis(200)));
    let begun = Instant::now();
    assert_eq!(near.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(begun.elapsed() >= Duration::from_millis(199));
    near.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
    let filled = loop {
        if let Err(error) = near.write(&[0; 1 << 20]) {
            break error;
        }
    };
    assert_eq!(filled.kind(), ErrorKind::WouldBlock);
    drop(far);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(udp.recv(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn time_limits_end_a_wait() {
    time_limits();
    simulate_blocking(time_limits);
    let begun = Instant::now();
    simulate_blocking(|| {
        let (mut near, _far) = tcp_pair();
        near.set_read_timeout(Some(Duration::from_secs(3600))).unwrap();
        assert_eq!(near.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
    assert!(begun.elapsed() < Duration::from_secs(60), "the wait is virtual");
}

fn nonblocking() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let mut stream =
        TcpStream::connect_timeout(&listener.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    assert_eq!(udp.recv_from(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn nonblocking_calls_do_not_wait() {
    nonblocking();
    simulate_blocking(nonblocking);
}

fn refused() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(TcpStream::connect(free).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let limited = TcpStream::connect_timeout(&free, Duration::from_secs(5));
    assert_eq!(limited.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let again = TcpListener::bind(taken.local_addr().unwrap());
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    let (near, far) = tcp_pair();
    drop(far);
    let mut near = near;
    let ended = (0..100).find_map(|_| near.write(b"x").err()).unwrap();
    assert!(matches!(ended.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{ended}");
}

#[test]
fn errors_are_the_systems() {
    refused();
    simulate_blocking(refused);
}

fn datagrams() {
    let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let to: SocketAddr = b.local_addr().unwrap();
    a.send_to(b"hello", to).unwrap();
    let mut short = [0; 3];
    assert_eq!(b.peek_from(&mut short).unwrap(), (3, a.local_addr().unwrap()));
    let mut space = [0; 9];
    assert_eq!(b.recv_from(&mut space).unwrap(), (5, a.local_addr().unwrap()));
    a.connect(to).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    b.send(b"back").unwrap();
    assert_eq!((a.recv(&mut space).unwrap(), &space[..4]), (4, &b"back"[..]));
    assert_eq!(a.peer_addr().unwrap(), to);
    let v6 = UdpSocket::bind("[::1]:0").unwrap();
    v6.send_to(b"six", v6.local_addr().unwrap()).unwrap();
    assert_eq!(v6.recv_from(&mut space).unwrap(), (3, v6.local_addr().unwrap()));
}

#[test]
fn datagrams_come_whole() {
    datagrams();
    simulate_blocking(datagrams);
}

fn copies() {
    let (near, mut far) = tcp_pair();
    let mut copy = near.try_clone().unwrap();
    assert_ne!(copy.as_raw_fd(), near.as_raw_fd());
    drop(near);
    copy.write_all(b"still open").unwrap();
    drop(copy);
    let mut all = String::new();
    far.read_to_string(&mut all).unwrap();
    assert_eq!(all, "still open");
    // A number that is given on is the same socket, and closes it.
    let (near, mut far) = tcp_pair();
    // SAFETY: the number is given up by one owner and taken by the other.
    let owned = unsafe { OwnedFd::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(near)) };
    drop(owned);
    assert_eq!(far.read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn a_copy_keeps_a_socket_open() {
    copies();
    simulate_blocking(copies);
}

fn unix(path: &str) {
    let listener = UnixListener::bind(path).unwrap();
    assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(path.as_ref()));
    let mut near = UnixStream::connect(path).unwrap();
    let (mut far, from) = listener.accept().unwrap();
    assert!(from.is_unnamed());
    near.write_all(b"one").unwrap();
    drop(near);
    let mut all = String::new();
    far.read_to_string(&mut all).unwrap();
    assert_eq!(all, "one");
    drop(listener);
    std::fs::remove_file(path).unwrap();
    let (a, b) = UnixDatagram::pair().unwrap();
    a.send(b"two").unwrap();
    let mut space = [0; 9];
    let (count, from) = b.recv_from(&mut space).unwrap();
    assert!(count == 3 && from.is_unnamed());
    let (mut a, mut b) = UnixStream::pair().unwrap();
    a.write_all(b"x").unwrap();
    b.read_exact(&mut space[..1]).unwrap();
}

#[test]
fn unix_sockets() {
    let folder = std::env::temp_dir();
    unix(folder.join(format!("shim-host-{}.sock", std::process::id())).to_str().unwrap());
    simulate_blocking(|| unix("/run/app.sock"));
}

fn random_file() -> [u8; 16] {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn random_files_are_the_simulations() {
    assert_ne!(random_file(), random_file());
    let first = simulate_blocking(random_file);
    assert_eq!(first, simulate_blocking(random_file));
    let other = simulate(8, || async { random_file() }).0;
    assert_ne!(first, other);
}

#[test]
fn other_files_are_the_nodes() {
    let path = std::env::temp_dir().join(format!("shim-host-{}.txt", std::process::id()));
    let text = simulate(1, || {
        let path = path.clone();
        async move {
            std::fs::write(&path, "text").unwrap();
            std::fs::read_to_string(&path).unwrap()
        }
    });
    assert_eq!(text.0, "text");
    assert!(!path.exists(), "a simulation wrote to the machine");
}

#[test]
fn a_poll_may_block_and_others_go_on() {
    simulate(3, || async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let client = spawn_blocking(move || TcpStream::connect(to).unwrap().write_all(b"hi").unwrap());
        // On the driver's own thread, in the middle of a poll.
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        client.await.unwrap();
    });
}

#[test]
fn a_socket_may_outlive_its_simulation() {
    let (listener, _) = simulate(4, || async { TcpListener::bind("127.0.0.1:0").unwrap() });
    // It is a kernel socket now, bound to nothing; its owner closes it.
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(listener);
}

/// A hundred bytes by turns: each end waits for the other, again and again.
fn turns() {
    let (mut near, mut far) = tcp_pair();
    let other = beside(move || {
        let mut byte = [0];
        for _ in 0..100 {
            far.read_exact(&mut byte).unwrap();
            far.write_all(&byte).unwrap();
        }
    });
    let mut byte = [0];
    for number in 0..100 {
        near.write_all(&[number]).unwrap();
        near.read_exact(&mut byte).unwrap();
        assert_eq!(byte, [number]);
    }
    other();
}

#[test]
fn both_ends_wait_by_turns() {
    turns();
    simulate_blocking(turns);
}

#[test]
fn sockets_go_to_std_and_back() {
    use real::io::{AsyncReadExt, AsyncWriteExt};
    simulate(11, || async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let number = listener.as_raw_fd();
        let listener = shim_net::mirror::TcpListener::from_std(listener).unwrap();
        assert_eq!(listener.as_raw_fd(), number);
        let near = shim_net::mirror::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        // As redis does it: out, an option, and in again.
        let near = near.into_std().unwrap();
        near.set_nodelay(true).unwrap();
        assert_eq!((&near).read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let mut near = shim_net::mirror::TcpStream::from_std(near).unwrap();
        assert!(near.nodelay().unwrap());
        near.write_all(b"out and in").await.unwrap();
        // A copy through the descriptor keeps the socket open.
        let copy = std::os::fd::AsFd::as_fd(&near).try_clone_to_owned().unwrap();
        let mut text = [0; 10];
        far.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"out and in");
        drop((copy, near));
        assert_eq!(far.read(&mut text).await.unwrap(), 0);
    });
}

#[test]
fn listeners_from_outside_come_in() {
    use real::io::{AsyncReadExt, AsyncWriteExt};

    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    let copy = outside.try_clone().unwrap();
    let address = outside.local_addr().unwrap();
    simulate(12, || async move {
        outside.set_nonblocking(true).unwrap();
        let number = outside.as_raw_fd();
        let listener = shim_net::mirror::TcpListener::from_std(outside).unwrap();
        assert_eq!((listener.local_addr().unwrap(), listener.as_raw_fd()), (address, number));
        let mut near = shim_net::mirror::TcpStream::connect(address).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"within").await.unwrap();
        let mut text = [0; 6];
        far.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"within");
    });
    drop(copy);
}

#[test]
fn streams_of_the_system_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outside = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    simulate(12, || async {
        outside.set_nonblocking(true).unwrap();
        let refused = shim_net::mirror::TcpStream::from_std(outside).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("its peer is not in the simulation"), "{refused}");
    });
}
