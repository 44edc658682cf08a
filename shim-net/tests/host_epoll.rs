//! `epoll` and `eventfd` of simulated sockets, and the same on the system's own.
//!
//! Owns what an event loop that is not tokio's sees. Must not know the stack. Invariant: each scenario passes in
//! a simulation and over the kernel.
#![cfg(sim)]
#![allow(unsafe_code, reason = "the system calls are what is tested")]
#![expect(
    clippy::disallowed_methods,
    reason = "the threads are those of a program that knows of no simulation"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use libc::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP, c_int,
};
// The symbols are the crate's: it must be linked.
use shim_net as _;
use shim_runtime::config::Config;
use shim_runtime::run::{MainRuntime, run};
use shim_runtime::task::spawn_blocking;

/// Runs a scenario over the kernel, and twice in a simulation.
fn both(scenario: fn()) {
    scenario();
    let once = || {
        let config = Config { seed: 7, ..Config::default() };
        let body = || async move { spawn_blocking(scenario).await.unwrap() };
        let (result, report, summary) = run(config, MainRuntime::default(), body);
        assert_eq!(summary.not_deterministic, Vec::<String>::new());
        assert!(result.is_ok(), "{report}");
        summary.trace_hash
    };
    let fresh = || std::thread::scope(|scope| scope.spawn(once).join().unwrap());
    assert_eq!(fresh(), fresh(), "a seed repeats");
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> Epoll {
        // SAFETY: the call has no pointers.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).unwrap();
        // SAFETY: the descriptor is new, and nobody else's.
        Epoll(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn ctl(&self, operation: c_int, fd: &impl AsRawFd, events: c_int, data: u64) -> Result<(), i32> {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the event is valid to read.
        let result =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) };
        check(result).map(drop).map_err(|error| error.raw_os_error().unwrap())
    }

    /// What is shown within `millis`, as pairs of data and events, by data.
    fn wait(&self, millis: c_int) -> Vec<(u64, c_int)> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: there is room for as many events as the call is told.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 8, millis) };
        let shown = &events[..check(count).unwrap() as usize];
        let mut shown: Vec<_> = shown.iter().map(|event| (event.u64, event.events as c_int)).collect();
        shown.sort_unstable();
        shown
    }
}

fn counter() -> File {
    // SAFETY: the call has no pointers.
    let fd: RawFd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).unwrap();
    // SAFETY: the descriptor is new, and nobody else's.
    unsafe { File::from_raw_fd(fd) }
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

#[test]
fn edges_are_shown_once_and_levels_always() {
    both(|| {
        let (near, mut far) = tcp_pair();
        let (by_edge, by_level) = (Epoll::new(), Epoll::new());
        by_edge.ctl(EPOLL_CTL_ADD, &near, EPOLLIN | EPOLLRDHUP | EPOLLET, 1).unwrap();
        by_level.ctl(EPOLL_CTL_ADD, &near, EPOLLIN, 2).unwrap();
        assert_eq!((by_edge.wait(0), by_level.wait(0)), (vec![], vec![]));
        far.write_all(b"a").unwrap();
        assert_eq!(by_edge.wait(-1), [(1, EPOLLIN)]);
        assert_eq!(by_edge.wait(0), []);
        assert_eq!((by_level.wait(0), by_level.wait(0)), (vec![(2, EPOLLIN)], vec![(2, EPOLLIN)]));
        far.write_all(b"b").unwrap();
        assert_eq!(by_edge.wait(-1), [(1, EPOLLIN)], "more bytes are an edge, though none was read");
        by_edge.ctl(EPOLL_CTL_MOD, &near, EPOLLIN | EPOLLRDHUP | EPOLLET, 3).unwrap();
        assert_eq!(by_edge.wait(0), [(3, EPOLLIN)], "a change looks at the level");
        drop(far);
        assert_eq!(by_edge.wait(-1), [(3, EPOLLIN | EPOLLRDHUP)]);
        by_edge.ctl(EPOLL_CTL_DEL, &near, 0, 0).unwrap();
        assert_eq!(by_edge.wait(0), []);
    });
}

#[test]
fn a_one_shot_entry_is_silent_until_it_is_armed_again() {
    both(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let epoll = Epoll::new();
        epoll.ctl(EPOLL_CTL_ADD, &socket, EPOLLOUT | EPOLLONESHOT, 1).unwrap();
        assert_eq!((epoll.wait(0), epoll.wait(0)), (vec![(1, EPOLLOUT)], vec![]));
        epoll.ctl(EPOLL_CTL_MOD, &socket, EPOLLOUT | EPOLLONESHOT, 2).unwrap();
        assert_eq!(epoll.wait(0), [(2, EPOLLOUT)]);
    });
}

#[test]
fn lists_refuse_as_linux_does() {
    both(|| {
        let (epoll, socket) = (Epoll::new(), UdpSocket::bind("127.0.0.1:0").unwrap());
        assert_eq!(epoll.ctl(EPOLL_CTL_MOD, &socket, EPOLLIN, 0), Err(libc::ENOENT));
        assert_eq!(epoll.ctl(EPOLL_CTL_DEL, &socket, 0, 0), Err(libc::ENOENT));
        epoll.ctl(EPOLL_CTL_ADD, &socket, EPOLLIN, 0).unwrap();
        assert_eq!(epoll.ctl(EPOLL_CTL_ADD, &socket, EPOLLIN, 0), Err(libc::EEXIST));
        drop(socket);
        assert_eq!(epoll.wait(0), [], "a closed socket is not watched");
        let begin = Instant::now();
        assert_eq!(epoll.wait(20), []);
        assert!(begin.elapsed() >= Duration::from_millis(20));
    });
}

#[test]
fn another_thread_ends_a_wait() {
    both(|| {
        let (epoll, waker) = (Epoll::new(), counter());
        epoll.ctl(EPOLL_CTL_ADD, &waker, EPOLLIN | EPOLLET, 9).unwrap();
        let copy = waker.try_clone().unwrap();
        let other = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            (&copy).write_all(&1_u64.to_ne_bytes()).unwrap();
        });
        assert_eq!(epoll.wait(-1), [(9, EPOLLIN)]);
        assert_eq!(epoll.wait(0), []);
        (&waker).write_all(&2_u64.to_ne_bytes()).unwrap();
        assert_eq!(epoll.wait(-1), [(9, EPOLLIN)], "each write is an edge");
        let mut value = [0; 8];
        (&waker).read_exact(&mut value).unwrap();
        assert_eq!(u64::from_ne_bytes(value), 3);
        other.join().unwrap();
    });
}

#[test]
fn a_listener_is_accepted_from_by_an_event_loop() {
    both(|| {
        let (epoll, listener) = (Epoll::new(), TcpListener::bind("127.0.0.1:0").unwrap());
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        epoll.ctl(EPOLL_CTL_ADD, &listener, EPOLLIN | EPOLLET, 5).unwrap();
        let client = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            let mut answer = String::new();
            TcpStream::connect(address).unwrap().read_to_string(&mut answer).unwrap();
            answer
        });
        assert_eq!(epoll.wait(-1), [(5, EPOLLIN)]);
        listener.accept().unwrap().0.write_all(b"hello").unwrap();
        assert_eq!(client.join().unwrap(), "hello");
    });
}

#[test]
fn a_listener_from_outside_joins_sockets_of_the_world() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let scenario = move || {
        let (epoll, waker, address) = (Epoll::new(), counter(), listener.local_addr().unwrap());
        epoll.ctl(EPOLL_CTL_ADD, &waker, EPOLLIN | EPOLLET, 1).unwrap();
        epoll.ctl(EPOLL_CTL_ADD, &listener, EPOLLIN | EPOLLET, 2).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!(epoll.wait(-1), [(2, EPOLLIN)]);
        listener.accept().unwrap();
    };
    let (result, report, _) = run(Config::default(), MainRuntime::default(), || async move {
        spawn_blocking(scenario).await.unwrap();
    });
    assert!(result.is_ok(), "{report}");
}
