//! Sockets that are opened or configured outside tokio: by std, by socket2, and by `TcpSocket`.
//!
//! Servers bind through `std::net` and clients set options through socket2; a socket must be the same socket
//! whichever way it is held.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

const ANY_PORT: &str = "127.0.0.1:0";

fn any_port() -> SocketAddr {
    ANY_PORT.parse().expect("a well-formed address")
}

/// One exchange in each direction, and an orderly end.
async fn exchange(client: TcpStream, listener: &TcpListener) {
    let server = async {
        let (mut server, peer) = listener.accept().await.expect("accepts");
        let mut question = [0; 4];
        server.read_exact(&mut question).await.expect("the question");
        assert_eq!(&question, b"ping");
        server.write_all(b"pong").await.expect("the answer");
        peer
    };
    let client = async {
        let mut client = client;
        client.write_all(b"ping").await.expect("the question");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.expect("the answer");
        assert_eq!(answer, b"pong");
        client.local_addr().expect("connected")
    };
    let (peer, local) = tokio::join!(server, client);
    assert_eq!(peer, local);
}

#[tokio::test]
async fn a_listener_of_std_serves_in_tokio() {
    let listener = std::net::TcpListener::bind(ANY_PORT).expect("a free port");
    listener.set_nonblocking(true).expect("an open socket");
    let address = listener.local_addr().expect("bound");
    let listener = TcpListener::from_std(listener).expect("non-blocking");
    assert_eq!(listener.local_addr().expect("bound"), address);
    exchange(TcpStream::connect(address).await.expect("connects"), &listener).await;
}

#[tokio::test]
async fn a_listener_goes_to_std_and_back() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let listener = listener.into_std().expect("registered");
    assert_eq!(listener.local_addr().expect("bound"), address);
    let listener = TcpListener::from_std(listener).expect("still non-blocking");
    exchange(TcpStream::connect(address).await.expect("connects"), &listener).await;
}

#[tokio::test]
async fn a_connected_stream_goes_to_std_and_back() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stream = TcpStream::connect(address).await.expect("connects");
    let local = stream.local_addr().expect("connected");
    let stream = stream.into_std().expect("registered");
    assert_eq!(stream.local_addr().expect("connected"), local);
    assert_eq!(stream.peer_addr().expect("connected"), address);
    stream.set_nodelay(true).expect("a TCP socket");
    let stream = TcpStream::from_std(stream).expect("still non-blocking");
    assert!(stream.nodelay().expect("a TCP socket"));
    exchange(stream, &listener).await;
}

#[tokio::test]
async fn bytes_wait_while_a_stream_changes_hands() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (mut client, (server, _)) = (client.expect("connects"), server.expect("accepts"));
    client.write_all(b"early").await.expect("there is room");
    server.readable().await.expect("it came");

    let server = server.into_std().expect("registered");
    let mut peeked = [0; 16];
    assert_eq!(server.peek(&mut peeked).expect("something is there"), 5);
    let mut server = TcpStream::from_std(server).expect("still non-blocking");
    drop(client);
    let mut read = String::new();
    server.read_to_string(&mut read).await.expect("an orderly end");
    assert_eq!(read, "early");
}

#[tokio::test]
async fn datagram_sockets_of_std() {
    let first = std::net::UdpSocket::bind(ANY_PORT).expect("a free port");
    first.set_nonblocking(true).expect("an open socket");
    let first = UdpSocket::from_std(first).expect("non-blocking");
    let second = UdpSocket::bind(ANY_PORT).await.expect("a free port");
    let (first_address, second_address) =
        (first.local_addr().expect("bound"), second.local_addr().expect("bound"));

    first.send_to(b"hello", second_address).await.expect("there is room");
    let mut buffer = [0; 16];
    let (length, from) = second.recv_from(&mut buffer).await.expect("it came");
    assert_eq!((&buffer[..length], from), (&b"hello"[..], first_address));

    let second = UdpSocket::from_std(second.into_std().expect("registered")).expect("still non-blocking");
    second.connect(first_address).await.expect("no packet is sent for this");
    second.send(b"back").await.expect("there is room");
    // Longer than the buffer: the rest of a datagram is lost.
    second.send(b"cut short").await.expect("there is room");
    let (length, from) = first.recv_from(&mut buffer).await.expect("it came");
    assert_eq!((&buffer[..length], from), (&b"back"[..], second_address));
    let mut small = [0; 3];
    assert_eq!(first.recv(&mut small).await.expect("it came"), 3);
    assert_eq!(&small, b"cut");
}

#[tokio::test]
async fn options_are_kept() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
    assert!(!stream.nodelay().expect("a TCP socket"));
    stream.set_nodelay(true).expect("a TCP socket");

    let socket = SockRef::from(&stream);
    assert!(socket.tcp_nodelay().expect("a TCP socket"));
    assert!(!socket.keepalive().expect("a TCP socket"));
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(5));
    socket.set_tcp_keepalive(&probes).expect("a TCP socket");
    assert!(socket.keepalive().expect("a TCP socket"));
    assert_eq!(socket.tcp_keepalive_time().expect("a TCP socket"), Duration::from_secs(30));
    assert_eq!(socket.tcp_keepalive_interval().expect("a TCP socket"), Duration::from_secs(5));

    assert_eq!(socket.linger().expect("an open socket"), None);
    socket.set_linger(Some(Duration::from_secs(3))).expect("an open socket");
    assert_eq!(socket.linger().expect("an open socket"), Some(Duration::from_secs(3)));

    // The kernel may give more than it was asked for, and does.
    socket.set_recv_buffer_size(32 * 1024).expect("an open socket");
    assert!(socket.recv_buffer_size().expect("an open socket") >= 32 * 1024);
    socket.set_send_buffer_size(32 * 1024).expect("an open socket");
    assert!(socket.send_buffer_size().expect("an open socket") >= 32 * 1024);

    assert_eq!(stream.ttl().expect("an IPv4 socket"), 64);
    stream.set_ttl(17).expect("an IPv4 socket");
    assert_eq!(stream.ttl().expect("an IPv4 socket"), 17);
    assert_eq!(socket.r#type().expect("an open socket"), Type::STREAM);
    assert!(stream.take_error().expect("an open socket").is_none());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn options_that_only_linux_has() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
    let socket = SockRef::from(&stream);
    socket.set_tcp_user_timeout(Some(Duration::from_secs(7))).expect("a TCP socket");
    assert_eq!(socket.tcp_user_timeout().expect("a TCP socket"), Some(Duration::from_secs(7)));
    socket.set_tcp_user_timeout(None).expect("a TCP socket");
    assert_eq!(socket.tcp_user_timeout().expect("a TCP socket"), None);
    assert_eq!(socket.domain().expect("an open socket"), Domain::IPV4);
    assert_eq!(socket.protocol().expect("an open socket"), Some(Protocol::TCP));
    assert!(!socket.is_listener().expect("an open socket"));
    assert!(SockRef::from(&listener).is_listener().expect("an open socket"));
}

#[tokio::test]
async fn a_listener_made_by_socket2() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_reuse_address(true).expect("not bound yet");
    socket.set_nonblocking(true).expect("an open socket");
    socket.bind(&SockAddr::from(any_port())).expect("a free port");
    socket.listen(16).expect("bound");
    let address = socket.local_addr().expect("bound").as_socket().expect("an IP address");
    let listener = TcpListener::from_std(socket.into()).expect("non-blocking");
    exchange(TcpStream::connect(address).await.expect("connects"), &listener).await;
}

/// The way of hyper-util's connector: a socket of socket2, connected by tokio.
#[tokio::test]
async fn a_socket_of_socket2_connects_in_tokio() {
    let listener = TcpListener::bind(ANY_PORT).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_nonblocking(true).expect("an open socket");
    socket.set_tcp_nodelay(true).expect("a TCP socket");
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(address).await.expect("connects");
    assert!(stream.nodelay().expect("a TCP socket"));
    exchange(stream, &listener).await;
}

#[tokio::test]
async fn a_tcp_socket_binds_before_it_connects() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("not bound yet");
    assert!(socket.reuseaddr().expect("an open socket"));
    socket.bind(any_port()).expect("a free port");
    let listener = socket.listen(16).expect("bound");
    let address = listener.local_addr().expect("bound");

    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_nodelay(true).expect("a TCP socket");
    socket.set_keepalive(true).expect("a TCP socket");
    assert!(socket.keepalive().expect("a TCP socket"));
    socket.set_recv_buffer_size(64 * 1024).expect("not connected yet");
    assert!(socket.recv_buffer_size().expect("an open socket") >= 64 * 1024);
    socket.bind(any_port()).expect("a free port");
    let local = socket.local_addr().expect("bound");
    let stream = socket.connect(address).await.expect("connects");
    assert_eq!(stream.local_addr().expect("connected"), local);
    exchange(stream, &listener).await;
}

#[cfg(unix)]
#[tokio::test]
async fn two_listeners_share_a_port() {
    let bind = |address: SocketAddr| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseport(true).expect("not bound yet");
        socket.bind(address).and_then(|()| socket.listen(64))
    };
    let first = bind(any_port()).expect("a free port");
    let address = first.local_addr().expect("bound");
    let second = bind(address).expect("both asked to share");

    let mut streams = Vec::new();
    for _ in 0..32 {
        streams.push(TcpStream::connect(address).await.expect("connects"));
    }
    let (mut first_count, mut second_count) = (0, 0);
    while first_count + second_count < 32 {
        tokio::select! {
            accepted = first.accept() => { accepted.expect("accepts"); first_count += 1; }
            accepted = second.accept() => { accepted.expect("accepts"); second_count += 1; }
        }
    }
    assert!(first_count > 0 && second_count > 0, "{first_count} and {second_count}");
}

#[tokio::test]
async fn a_wildcard_listener_hears_every_local_address() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    for target in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9)] {
        let stream = TcpStream::connect((target, port)).await.expect("connects");
        let (accepted, _) = listener.accept().await.expect("accepts");
        // The accepted side knows which address was called.
        assert_eq!(accepted.local_addr().expect("connected"), SocketAddr::from((target, port)));
        drop(stream);
    }
}
