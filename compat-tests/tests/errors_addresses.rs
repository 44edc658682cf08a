//! What names, addresses, datagrams and Unix sockets answer when things go wrong: each failure by its
//! `ErrorKind` and by its number.
//!
//! The real operating system is the oracle. Whatever this file asserts, it was seen there first.
#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use compat_tests::sockets::{assert_error, assert_number};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixListener, UnixStream};

const EINVAL: i32 = 22;
const ENOENT: i32 = 2;
const EDESTADDRREQ: i32 = 89;
const EMSGSIZE: i32 = 90;
const EISCONN: i32 = 106;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;
const ENOTCONN: i32 = 107;
const ECONNREFUSED: i32 = 111;

/// An address of the documentation range: no machine owns it.
const NOT_OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[tokio::test]
async fn looking_up_an_unknown_name() {
    let error = TcpStream::connect("no-such-host.invalid:80").await.expect_err("the name does not exist");
    // The resolver's errors are not the system's: they have no number, and a kind that std does not name.
    assert_eq!(error.raw_os_error(), None, "{error}");
    assert!(error.to_string().starts_with("failed to lookup address information"), "{error}");
    assert!(tokio::net::lookup_host("no-such-host.invalid:80").await.is_err());
}

#[tokio::test]
async fn addresses_that_do_not_parse() {
    for bad in ["localhost", "localhost:http", "localhost:70000"] {
        let error = TcpStream::connect(bad).await.expect_err(bad);
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::InvalidInput, None), "{bad}: {error}");
    }
}

#[tokio::test]
async fn binding_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the listener's address");
    assert_error(TcpListener::bind(address).await, ErrorKind::AddrInUse, EADDRINUSE);
    // The wildcard address covers this one as well.
    let wildcard = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    assert_error(TcpListener::bind(wildcard).await, ErrorKind::AddrInUse, EADDRINUSE);

    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = udp.local_addr().expect("the socket's address");
    assert_error(UdpSocket::bind(address).await, ErrorKind::AddrInUse, EADDRINUSE);
    drop(udp);
    UdpSocket::bind(address).await.expect("free again");
}

#[tokio::test]
async fn binding_an_address_of_another_machine() {
    assert_error(TcpListener::bind((NOT_OURS, 0)).await, ErrorKind::AddrNotAvailable, EADDRNOTAVAIL);
    assert_error(UdpSocket::bind((NOT_OURS, 0)).await, ErrorKind::AddrNotAvailable, EADDRNOTAVAIL);
}

#[tokio::test]
async fn binding_one_socket_twice() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let again = socket.bind("127.0.0.1:0".parse().expect("an address"));
    assert_error(again, ErrorKind::InvalidInput, EINVAL);
}

#[tokio::test]
async fn datagrams_that_cannot_be_sent() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    assert_number(udp.send(b"to whom?").await, EDESTADDRREQ);
    assert_error(udp.peer_addr(), ErrorKind::NotConnected, ENOTCONN);
    let target = udp.local_addr().expect("the socket's address");
    let too_large = vec![0; 70_000];
    assert_number(udp.send_to(&too_large, target).await, EMSGSIZE);
}

#[tokio::test]
async fn a_datagram_to_a_closed_port_is_refused() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let target = gone.local_addr().expect("the socket's address");
    drop(gone);
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    // Only a connected socket is told.
    udp.send_to(b"x", target).await.expect("sending is all that was asked");
    udp.connect(target).await.expect("no packet is sent for this");
    udp.send(b"x").await.expect("sending is all that was asked");
    assert_error(udp.recv(&mut [0; 8]).await, ErrorKind::ConnectionRefused, ECONNREFUSED);
}

#[tokio::test]
async fn connecting_a_listening_socket() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("the listener's address");
    let socket = socket2::Socket::from(socket);
    assert_number(socket.connect(&address.into()), EISCONN);
}

#[tokio::test]
async fn unix_sockets_without_a_listener() {
    let directory = std::env::temp_dir().join(format!("compat-errors-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a scratch folder");
    let path = directory.join("socket");
    assert_error(UnixStream::connect(&path).await, ErrorKind::NotFound, ENOENT);
    let listener = UnixListener::bind(&path).expect("the path is free");
    assert_error(UnixListener::bind(&path), ErrorKind::AddrInUse, EADDRINUSE);
    UnixStream::connect(&path).await.expect("somebody listens");
    drop(listener);
    // The file outlives its listener.
    assert_error(UnixStream::connect(&path).await, ErrorKind::ConnectionRefused, ECONNREFUSED);
    assert_error(UnixListener::bind(&path), ErrorKind::AddrInUse, EADDRINUSE);
    std::fs::remove_dir_all(&directory).expect("the scratch folder is ours");
}
