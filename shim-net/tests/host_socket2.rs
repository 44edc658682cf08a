//! socket2 on simulated sockets: the options that hyper-util, redis, tonic and quinn set.
//!
//! Owns options, control messages and `poll`. Must not know the stack. Invariant: what both worlds can answer
//! is asserted in both.
#![cfg(sim)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

// The symbols are the crate's: it must be linked.
use shim_net as _;
use shim_runtime::config::Config;
use shim_runtime::run::{MainRuntime, run};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

fn simulate(body: fn()) {
    let config = Config { seed: 5, ..Config::default() };
    let (result, report, _) = run(config, MainRuntime::default(), || async move { body() });
    assert!(result.is_ok(), "{report}");
}

fn in_both_worlds(body: fn()) {
    body();
    simulate(body);
}

fn tcp() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap()
}

fn udp(domain: Domain) -> Socket {
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).unwrap()
}

fn local(port: u16) -> SockAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

#[test]
fn tcp_options_come_back() {
    in_both_worlds(|| {
        let socket = tcp();
        assert!(!socket.nonblocking().unwrap() && closes_on_exec(&socket));
        socket.set_nonblocking(true).unwrap();
        assert!(socket.nonblocking().unwrap());
        socket.set_tcp_nodelay(true).unwrap();
        assert!(socket.tcp_nodelay().unwrap());
        let alive = TcpKeepalive::new()
            .with_time(Duration::from_secs(11))
            .with_interval(Duration::from_secs(12))
            .with_retries(3);
        socket.set_tcp_keepalive(&alive).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(11));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(12));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        socket.set_tcp_user_timeout(None).unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        socket.set_tcp_user_timeout(Some(Duration::from_millis(1500))).unwrap();
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(1500)));
        socket.set_linger(Some(Duration::from_secs(3))).unwrap();
        assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(3)));
        socket.set_read_timeout(Some(Duration::from_millis(1200))).unwrap();
        assert_eq!(socket.read_timeout().unwrap(), Some(Duration::from_millis(1200)));
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        assert!(socket.reuse_address().unwrap() && socket.reuse_port().unwrap());
        socket.set_recv_buffer_size(10_000).unwrap();
        socket.set_send_buffer_size(10_000).unwrap();
        assert_eq!(
            (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()),
            (20_000, 20_000)
        );
        assert_eq!(socket.r#type().unwrap(), Type::STREAM);
        assert_eq!(socket.domain().unwrap(), Domain::IPV4);
        assert_eq!(socket.protocol().unwrap(), Some(Protocol::TCP));
        assert!(!socket.is_listener().unwrap());
        assert!(socket.take_error().unwrap().is_none());
        socket.bind(&local(0)).unwrap();
        socket.listen(8).unwrap();
        assert!(socket.is_listener().unwrap());
    });
}

#[test]
fn udp_options_of_quinn() {
    in_both_worlds(|| {
        for (domain, options) in [
            (
                Domain::IPV4,
                &[
                    (libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
                    (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
                    (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
                ][..],
            ),
            (
                Domain::IPV6,
                &[
                    (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
                    (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
                    (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
                    (libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1),
                    (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1),
                ][..],
            ),
        ] {
            let socket = udp(domain);
            for (level, option, value) in options {
                assert_eq!(set(&socket, *level, *option, *value), 0, "{level} {option}");
                assert_eq!(get(&socket, *level, *option), *value, "{level} {option}");
            }
        }
        let socket = udp(Domain::IPV6);
        socket.set_only_v6(false).unwrap();
        assert!(!socket.only_v6().unwrap());
        let socket = udp(Domain::IPV4);
        socket.set_broadcast(true).unwrap();
        socket.set_ttl_v4(9).unwrap();
        assert!(socket.broadcast().unwrap() && socket.ttl_v4().unwrap() == 9);
        socket.set_multicast_loop_v4(false).unwrap();
        assert!(!socket.multicast_loop_v4().unwrap());
    });
}

fn closes_on_exec(socket: &Socket) -> bool {
    // SAFETY: the call has no pointers.
    unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}

fn set(socket: &Socket, level: i32, option: i32, value: i32) -> i32 {
    // SAFETY: the value is valid to read for its size.
    unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), 4) }
}

fn get(socket: &Socket, level: i32, option: i32) -> i32 {
    let (mut value, mut len) = (-1, 4);
    // SAFETY: the value is valid to write for its size.
    let result =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut len) };
    assert_eq!((result, len), (0, 4));
    value
}

#[test]
fn connecting_without_waiting() {
    in_both_worlds(|| {
        let listener = tcp();
        listener.bind(&local(0)).unwrap();
        listener.listen(8).unwrap();
        let to = listener.local_addr().unwrap();
        let socket = tcp();
        socket.connect_timeout(&to, Duration::from_secs(5)).unwrap();
        let (mut far, from) = listener.accept().unwrap();
        assert_eq!(from.as_socket(), socket.local_addr().unwrap().as_socket());
        assert!(closes_on_exec(&far));
        (&socket).write_all(b"abc").unwrap();
        let mut waiting = 0;
        // SAFETY: the number is valid to write.
        assert_eq!(unsafe { libc::ioctl(far.as_raw_fd(), libc::FIONREAD, &raw mut waiting) }, 0);
        assert_eq!(waiting, 3);
        drop(socket);
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        let other = tcp();
        other.set_nonblocking(true).unwrap();
        let begun = other.connect(&to).unwrap_err();
        assert_eq!(begun.raw_os_error(), Some(libc::EINPROGRESS));
    });
}

#[test]
fn what_is_not_simulated_is_refused() {
    simulate(|| {
        assert_eq!(
            Socket::new(Domain::IPV4, Type::RAW, None).unwrap_err().raw_os_error(),
            Some(libc::ESOCKTNOSUPPORT)
        );
        assert_eq!(
            Socket::new(Domain::PACKET, Type::RAW, None).unwrap_err().raw_os_error(),
            Some(libc::EAFNOSUPPORT)
        );
        let socket = tcp();
        assert_eq!(set(&socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, 1), -1);
        let bound = socket.bind(&SockAddr::unix("/x").unwrap()).unwrap_err();
        assert_eq!(bound.raw_os_error(), Some(libc::EINVAL), "as Linux: it is shorter than one of IPv4");
        let unix = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let missing = unix.connect(&SockAddr::unix("/nowhere").unwrap()).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

/// A datagram with its control messages, as quinn-udp sends and receives them.
#[test]
fn control_messages() {
    in_both_worlds(|| {
        for (domain, address) in [(Domain::IPV4, "127.0.0.1:0"), (Domain::IPV6, "[::1]:0")] {
            let v4 = domain == Domain::IPV4;
            let socket = udp(domain);
            socket.bind(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
            let (level, tos, info, receive_tos, receive_info) = match v4 {
                true => {
                    (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_PKTINFO, libc::IP_RECVTOS, libc::IP_PKTINFO)
                }
                false => (
                    libc::IPPROTO_IPV6,
                    libc::IPV6_TCLASS,
                    libc::IPV6_PKTINFO,
                    libc::IPV6_RECVTCLASS,
                    libc::IPV6_RECVPKTINFO,
                ),
            };
            assert_eq!(set(&socket, level, receive_tos, 1), 0);
            assert_eq!(set(&socket, level, receive_info, 1), 0);
            let to = socket.local_addr().unwrap();
            send_with_ecn(&socket, &to, level, tos);
            let found = receive_control(&socket);
            assert_eq!(found.len(), 2, "{found:?}");
            let ecn = found.iter().find(|message| (message.0, message.1) == (level, tos)).unwrap();
            assert_eq!(ecn.2[0], 2);
            assert_eq!(ecn.2.len(), if v4 { 1 } else { 4 });
            let own = found.iter().find(|message| (message.0, message.1) == (level, info)).unwrap();
            assert!(if v4 { own.2[8..12] == [127, 0, 0, 1] } else { own.2[15] == 1 });
        }
    });
}

fn send_with_ecn(socket: &Socket, to: &SockAddr, level: i32, kind: i32) {
    let mut control = [0u64; 8];
    let mut data = *b"datagram";
    let mut vector = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: all that the message points to lives until the call returns.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_name = to.as_ptr().cast_mut().cast();
        message.msg_namelen = to.len();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(2);
        assert_eq!(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0), 8);
    }
}

fn receive_control(socket: &Socket) -> Vec<(i32, i32, Vec<u8>)> {
    let mut control = [0u64; 16];
    let mut name = [0u64; 16];
    let mut data = [0u8; 4];
    let mut vector = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut found = Vec::new();
    // SAFETY: all that the message points to lives until the call returns.
    unsafe {
        let mut entry: libc::mmsghdr = std::mem::zeroed();
        entry.msg_hdr.msg_name = name.as_mut_ptr().cast();
        entry.msg_hdr.msg_namelen = size_of_val(&name) as u32;
        entry.msg_hdr.msg_iov = &raw mut vector;
        entry.msg_hdr.msg_iovlen = 1;
        entry.msg_hdr.msg_control = control.as_mut_ptr().cast();
        entry.msg_hdr.msg_controllen = size_of_val(&control);
        assert_eq!(libc::recvmmsg(socket.as_raw_fd(), &raw mut entry, 1, 0, std::ptr::null_mut()), 1);
        let message = &raw const entry.msg_hdr;
        // The datagram was longer than the buffer.
        assert_eq!((entry.msg_len, (*message).msg_flags & libc::MSG_TRUNC), (4, libc::MSG_TRUNC));
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(one) = header.as_ref() {
            let len = one.cmsg_len - libc::CMSG_LEN(0) as usize;
            let bytes = std::slice::from_raw_parts(libc::CMSG_DATA(header), len).to_vec();
            found.push((one.cmsg_level, one.cmsg_type, bytes));
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    found
}

#[test]
fn poll_is_by_level() {
    in_both_worlds(|| {
        let (a, b) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let mut entry = libc::pollfd { fd: b.as_raw_fd(), events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        // SAFETY: the entry is valid to write.
        let mut poll = |timeout| (unsafe { libc::poll(&raw mut entry, 1, timeout) }, entry.revents);
        assert_eq!(poll(0), (1, libc::POLLOUT));
        (&a).write_all(b"x").unwrap();
        assert_eq!(poll(1000), (1, libc::POLLIN | libc::POLLOUT));
        (&b).read_exact(&mut [0]).unwrap();
        // By level: nothing is left, though it was shown before, and nobody has said that it would block.
        assert_eq!(poll(0), (1, libc::POLLOUT));
        drop(a);
        let (count, shown) = poll(1000);
        assert!(count == 1 && shown & libc::POLLHUP != 0, "{shown:#x}");
    });
}
