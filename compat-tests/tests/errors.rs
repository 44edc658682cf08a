//! What sockets answer when things go wrong: each failure by its `ErrorKind` and by its number.
//!
//! The real operating system is the oracle. Whatever this file asserts, it was seen there first.
#![cfg(target_os = "linux")]

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use compat_tests::sockets::{assert_error, pair, wait_until_broken};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

const EPIPE: i32 = 32;
const ECONNRESET: i32 = 104;
const ENOTCONN: i32 = 107;
const ECONNREFUSED: i32 = 111;

/// A loopback port that nobody listens at.
async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("the listener's address")
}

/// Closes so that the peer gets RST instead of FIN.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("linger can be set");
    drop(stream);
}

#[tokio::test]
async fn connecting_to_a_closed_port() {
    let address = closed_port().await;
    assert_error(TcpStream::connect(address).await, ErrorKind::ConnectionRefused, ECONNREFUSED);
}

#[tokio::test]
async fn connecting_tries_each_address_and_reports_the_last_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let open = listener.local_addr().expect("the listener's address");
    let closed = closed_port().await;
    let stream = TcpStream::connect(&[closed, open][..]).await.expect("the second address is good");
    assert_eq!(stream.peer_addr().expect("connected"), open);
    assert_error(TcpStream::connect(&[closed, closed][..]).await, ErrorKind::ConnectionRefused, ECONNREFUSED);

    let error = TcpStream::connect(&[][..]).await.expect_err("there is nothing to try");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::InvalidInput, None));
}

#[tokio::test]
async fn a_reset_while_reading() {
    let (mut client, server) = pair().await;
    reset(server);
    assert_error(client.read(&mut [0; 8]).await, ErrorKind::ConnectionReset, ECONNRESET);
    // The error is reported once; after it the stream is at its end, and writing has no one to go to.
    assert_eq!(client.read(&mut [0; 8]).await.expect("the error was taken"), 0);
    assert_error(client.write(b"x").await, ErrorKind::BrokenPipe, EPIPE);
}

#[tokio::test]
async fn a_reset_does_not_discard_what_came_before() {
    let (mut client, mut server) = pair().await;
    server.write_all(b"last words").await.expect("there is room");
    client.readable().await.expect("something came");
    reset(server);
    wait_until_broken(&client).await;
    let mut buffer = [0; 64];
    assert_eq!(client.read(&mut buffer).await.expect("data goes before the error"), 10);
    assert_eq!(&buffer[..10], b"last words");
    assert_error(client.read(&mut [0; 64]).await, ErrorKind::ConnectionReset, ECONNRESET);
}

#[tokio::test]
async fn closing_with_unread_data_resets() {
    let (mut client, server) = pair().await;
    client.write_all(b"ignored").await.expect("there is room");
    server.readable().await.expect("it came");
    drop(server);
    assert_error(client.read(&mut [0; 8]).await, ErrorKind::ConnectionReset, ECONNRESET);
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_large_transfer() {
    let (mut client, mut server) = pair().await;
    let writer = tokio::spawn(async move {
        let chunk = vec![7; 64 * 1024];
        loop {
            if let Err(error) = client.write_all(&chunk).await {
                return error;
            }
        }
    });
    server.read_exact(&mut vec![0; 1_000_000]).await.expect("the writer does not stop");
    reset(server);
    let error =
        timeout(Duration::from_secs(20), writer).await.expect("the writer notices").expect("no panic");
    // Blocked in a write it is told of the reset; between two writes it finds a broken pipe.
    assert!(matches!(error.raw_os_error(), Some(ECONNRESET | EPIPE)), "{error:?}");
}

#[tokio::test]
async fn writing_after_the_peer_closed() {
    let (mut client, server) = pair().await;
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.expect("an orderly end"), 0);
    // The peer's FIN alone does not forbid writing. Its answer to the data, RST, does.
    assert_eq!(client.write(b"x").await.expect("the first write is taken"), 1);
    wait_until_broken(&client).await;
    assert_error(client.write(b"x").await, ErrorKind::BrokenPipe, EPIPE);
}

#[tokio::test]
async fn writing_after_shutting_down() {
    let (mut client, mut server) = pair().await;
    client.shutdown().await.expect("connected");
    assert_error(client.write(b"x").await, ErrorKind::BrokenPipe, EPIPE);
    // Half closed: the other direction still works.
    server.write_all(b"still here").await.expect("the client reads on");
    drop(server);
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.expect("an orderly end");
    assert_eq!(rest, "still here");
}

#[tokio::test]
async fn reading_too_little() {
    let (mut client, mut server) = pair().await;
    server.write_all(b"abc").await.expect("there is room");
    drop(server);
    let error = client.read_exact(&mut [0; 4]).await.expect_err("only three bytes come");
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::UnexpectedEof, None));
}

#[tokio::test]
async fn trying_when_nothing_is_ready() {
    let (client, _server) = pair().await;
    let error = client.try_read(&mut [0; 8]).expect_err("nothing was sent");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let error = udp.try_recv_from(&mut [0; 8]).expect_err("nothing was sent");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_full_socket_does_not_take_more() {
    let (client, _server) = pair().await;
    let chunk = vec![0; 64 * 1024];
    let mut taken = 0;
    loop {
        client.writable().await.expect("connected");
        match client.try_write(&chunk) {
            Ok(length) => taken += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 1 << 28, "nobody reads, and {taken} bytes were taken");
    }
    assert!(taken > 0);
    // Two looks, because a loopback peer may make room once more while its buffer grows.
    let blocked = timeout(Duration::from_millis(100), async {
        loop {
            client.writable().await.expect("connected");
            let _ = client.try_write(&chunk);
        }
    });
    assert!(blocked.await.is_err());
}

#[tokio::test]
async fn a_peer_that_left_has_no_address() {
    let (client, server) = pair().await;
    assert!(client.peer_addr().is_ok());
    reset(server);
    wait_until_broken(&client).await;
    assert_error(client.peer_addr(), ErrorKind::NotConnected, ENOTCONN);
    assert!(client.local_addr().is_ok());
}

#[tokio::test]
async fn nobody_accepts_in_time() {
    // A listener that never accepts: connecting works as long as the backlog has room, and then it hangs.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = socket.local_addr().expect("bound");
    let _listener = socket.listen(1).expect("bound");
    let mut connected = Vec::new();
    let gave_up = loop {
        match timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            Ok(Ok(stream)) => connected.push(stream),
            Ok(Err(error)) => panic!("{error}"),
            Err(elapsed) => break io::Error::from(elapsed),
        }
    };
    assert_eq!(connected.len(), 2, "a backlog of one holds two");
    assert_eq!((gave_up.kind(), gave_up.raw_os_error()), (ErrorKind::TimedOut, None));
}
