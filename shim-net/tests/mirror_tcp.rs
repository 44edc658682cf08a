//! The mirror of TCP as an application sees it, on simulated nodes.
//!
//! Owns behaviour that goes through `tokio::net`'s API only. Must not know the stack. Invariant: each test
//! runs twice for each seed, and both runs make the same decisions.
#![cfg(sim)]

mod common;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use common::{both, each_seed, node, tcp_pair, within};
use real::io::{AsyncReadExt, AsyncWriteExt};
use shim_net::mirror::{TcpListener, TcpSocket, TcpStream, lookup_host};
use shim_runtime::task;

#[test]
fn echoes_between_nodes() {
    each_seed(|| async {
        node("server", || async {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                task::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    real::io::copy(&mut read, &mut write).await.unwrap();
                });
            }
        });
        let mut clients = Vec::new();
        for number in 0..5u8 {
            clients.push(task::spawn(async move {
                let mut stream = loop {
                    match TcpStream::connect("server:7").await {
                        Ok(stream) => break stream,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
                    }
                };
                let data = vec![number; 100_000];
                let (mut read, mut write) = stream.split();
                let mut echoed = Vec::new();
                let (sent, received) = both(
                    async {
                        write.write_all(&data).await?;
                        write.shutdown().await
                    },
                    read.read_to_end(&mut echoed),
                )
                .await;
                sent.unwrap();
                assert_eq!(received.unwrap(), data.len());
                assert_eq!(echoed, data);
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
    });
}

#[test]
fn addresses_are_those_of_the_nodes() {
    each_seed(|| async {
        let (a, b) = tcp_pair().await;
        assert_eq!(a.peer_addr().unwrap(), b.local_addr().unwrap());
        assert_eq!(b.peer_addr().unwrap(), a.local_addr().unwrap());
        let text = format!("{a:?}");
        assert!(
            text.starts_with("TcpStream { addr: 127.0.0.1:") && text.contains("peer: 127.0.0.1:"),
            "{text}"
        );
        let listener = TcpListener::bind("[::]:80").await.unwrap();
        assert_eq!(listener.local_addr().unwrap(), "[::]:80".parse().unwrap());
        assert_eq!(TcpListener::bind("[::]:80").await.unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn names_are_resolved_as_std_does() {
    each_seed(|| async {
        node("db", || async { Ok(()) });
        let found: Vec<SocketAddr> = lookup_host("db:5432").await.unwrap().collect();
        assert!(found.iter().all(|address| address.port() == 5432));
        assert!(found.len() == 2 && found[0].is_ipv4() && found[1].is_ipv6(), "{found:?}");
        let local: Vec<SocketAddr> = lookup_host(("localhost", 1)).await.unwrap().collect();
        assert!(local.contains(&"127.0.0.1:1".parse().unwrap()));
        let literal: Vec<SocketAddr> = lookup_host(String::from("[::1]:9")).await.unwrap().collect();
        assert_eq!(literal, ["[::1]:9".parse().unwrap()]);

        let text = |error: io::Error| (error.kind(), error.to_string());
        let bad = lookup_host("nothing").await.map(drop).unwrap_err();
        assert_eq!(text(bad), (ErrorKind::InvalidInput, "invalid socket address".to_owned()));
        let bad = lookup_host("db:http").await.map(drop).unwrap_err();
        assert_eq!(text(bad), (ErrorKind::InvalidInput, "invalid port value".to_owned()));
        let bad = lookup_host("nobody:1").await.map(drop).unwrap_err();
        assert!(bad.to_string().starts_with("failed to lookup address information"));
        let none: &[SocketAddr] = &[];
        let bad = TcpStream::connect(none).await.unwrap_err();
        assert_eq!(text(bad), (ErrorKind::InvalidInput, "could not resolve to any address".to_owned()));
    });
}

#[test]
fn connect_tries_one_address_after_the_other() {
    each_seed(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refused: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let stream = TcpStream::connect(&[refused, good][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = TcpStream::connect(&[refused, refused][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn owned_halves_end_their_direction_and_reunite() {
    each_seed(|| async {
        let (a, mut b) = tcp_pair().await;
        let (read, mut write) = a.into_split();
        write.write_all(b"x").await.unwrap();
        let stream = read.reunite(write).unwrap();
        let (mut read, write) = stream.into_split();
        let (c, _d) = tcp_pair().await;
        let (other, _) = c.into_split();
        let error = other.reunite(write).unwrap_err();
        assert_eq!(error.to_string(), "tried to reunite halves that are not from the same socket");
        drop(error);
        // The write half went with the error: that direction is over.
        let mut text = Vec::new();
        b.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"x");
        b.write_all(b"still open").await.unwrap();
        b.shutdown().await.unwrap();
        text.clear();
        read.read_to_end(&mut text).await.unwrap();
        assert_eq!(text, b"still open");

        let (a, b) = tcp_pair().await;
        let (mut read, write) = a.into_split();
        assert_eq!(read.local_addr().unwrap(), b.peer_addr().unwrap());
        write.forget();
        // An accepted stream counts as readable until a call says otherwise.
        assert_eq!(b.try_read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(within(Duration::from_millis(50), b.readable()).await.is_none());
        b.try_write(b"!").unwrap();
        assert_eq!(read.read_u8().await.unwrap(), b'!');
        drop(read);
        b.readable().await.unwrap();
    });
}

#[test]
#[expect(deprecated, reason = "they are part of the interface")]
fn options_are_kept() {
    each_seed(|| async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_keepalive(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.set_recv_buffer_size(40_000).unwrap();
        socket.set_send_buffer_size(30_000).unwrap();
        socket.set_tos_v4(16).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_linger(Some(Duration::from_millis(2500))).unwrap();
        assert!(socket.keepalive().unwrap() && socket.reuseport().unwrap() && socket.nodelay().unwrap());
        assert!(!socket.reuseaddr().unwrap());
        assert_eq!(
            (socket.recv_buffer_size().unwrap(), socket.send_buffer_size().unwrap()),
            (80_000, 60_000)
        );
        assert_eq!((socket.tos().unwrap(), socket.linger().unwrap()), (16, Some(Duration::from_secs(2))));
        assert_eq!(socket.device().unwrap(), None);
        socket.bind_device(Some(b"eth0")).unwrap();
        assert_eq!(socket.device().unwrap().as_deref(), Some(&b"eth0"[..]));
        assert_eq!(socket.local_addr().unwrap(), "0.0.0.0:0".parse().unwrap());
        socket.bind("127.0.0.1:4000".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        listener.set_ttl(9).unwrap();
        assert_eq!(listener.ttl().unwrap(), 9);

        let stream = TcpSocket::new_v4().unwrap().connect("127.0.0.1:4000".parse().unwrap()).await.unwrap();
        assert!(!stream.nodelay().unwrap());
        stream.set_nodelay(true).unwrap();
        stream.set_quickack(false).unwrap();
        stream.set_zero_linger().unwrap();
        stream.set_ttl(3).unwrap();
        assert!(stream.nodelay().unwrap() && !stream.quickack().unwrap());
        assert_eq!((stream.linger().unwrap(), stream.ttl().unwrap()), (Some(Duration::ZERO), 3));
        assert!(stream.take_error().unwrap().is_none());
        let (mut accepted, _) = listener.accept().await.unwrap();
        drop(stream);
        assert_eq!(accepted.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn sockets_close_with_their_node_and_not_twice() {
    each_seed(|| async {
        let server = node("server", || async {
            let listener = TcpListener::bind("0.0.0.0:80").await?;
            let (_held, _) = listener.accept().await?;
            std::future::pending::<()>().await;
            Ok(())
        });
        let mut stream = common::connect("server:80").await;
        common::sleep(Duration::from_millis(100)).await;
        shim_runtime::node::crash(server, shim_runtime::node::Crash::Process);
        let outcome = stream.read(&mut [0; 1]).await;
        assert!(matches!(outcome, Ok(0)) || outcome.is_err(), "{outcome:?}");
        assert_eq!(TcpStream::connect("server:80").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn without_a_runtime_there_is_tokios_panic() {
    // A socket needs none yet; whoever waits for it does.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let panic = std::panic::catch_unwind(|| socket.listen(1)).unwrap_err();
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    assert_eq!(
        text.unwrap(),
        "there is no reactor running, must be called from the context of a Tokio 1.x runtime"
    );
}

#[test]
fn types_are_as_free_as_tokios() {
    fn free<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe + std::fmt::Debug>() {
    }
    fn descriptor<T: std::os::fd::AsFd + std::os::fd::AsRawFd>() {}
    fn raw<T: std::os::fd::FromRawFd + std::os::fd::IntoRawFd>() {}
    fn send<T: Send>(_: T) {}
    use shim_net::mirror::tcp;
    free::<TcpListener>();
    free::<TcpStream>();
    free::<TcpSocket>();
    free::<tcp::ReadHalf<'_>>();
    free::<tcp::WriteHalf<'_>>();
    free::<tcp::OwnedReadHalf>();
    free::<tcp::OwnedWriteHalf>();
    free::<tcp::ReuniteError>();
    descriptor::<TcpListener>();
    descriptor::<TcpStream>();
    descriptor::<TcpSocket>();
    raw::<TcpSocket>();
    send(TcpStream::connect("a:1"));
    send(TcpListener::bind(("a", 1)));
    send(lookup_host("a:1"));
}
