//! The crates below tokio, used directly: socket2 0.5 and 0.6, quinn-udp's batches, and event loops of mio.

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use quinn::udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use tokio::task::spawn_blocking;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(10);

/// Both releases of socket2 have these calls under the same names.
macro_rules! exercise {
    ($name:ident, $socket2:ident) => {
        mod $name {
            use super::*;
            use $socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

            fn address_of(socket: &Socket) -> SocketAddr {
                socket.local_addr().expect("bound").as_socket().expect("of IP")
            }

            pub(super) fn datagrams() -> io::Result<()> {
                let far = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
                far.set_reuse_address(true)?;
                far.set_recv_buffer_size(100_000)?;
                assert!(far.recv_buffer_size()? >= 100_000);
                far.bind(&LOOPBACK.into())?;
                far.set_read_timeout(Some(Duration::from_secs(5)))?;
                let near = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
                near.set_broadcast(true)?;
                assert!(near.broadcast()?);
                near.connect(&address_of(&far).into())?;
                assert_eq!(near.send_vectored(&[io::IoSlice::new(b"two "), io::IoSlice::new(b"parts")])?, 9);
                let mut buffer = [MaybeUninit::uninit(); 64];
                let (count, from) = far.peek_from(&mut buffer)?;
                assert_eq!((count, from.as_socket()), (9, Some(address_of(&near))));
                let (mut first, mut second) = ([MaybeUninit::uninit(); 4], [MaybeUninit::uninit(); 4]);
                let mut parts = [&mut first, &mut second].map(|part| $socket2::MaybeUninitSlice::new(part));
                let (count, flags, _) = far.recv_from_vectored(&mut parts)?;
                assert_eq!((count, flags.is_truncated()), (8, true));
                far.set_nonblocking(true)?;
                let error = far.recv_from(&mut buffer).expect_err("it was cut off");
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                Ok(())
            }

            pub(super) fn streams() -> io::Result<()> {
                let listener = Socket::new(Domain::IPV6, Type::STREAM, None)?;
                listener.set_only_v6(false)?;
                listener.bind(&"[::]:0".parse::<SocketAddr>().expect("an address").into())?;
                listener.listen(8)?;
                let port = address_of(&listener).port();
                let near = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
                let to: SockAddr = SocketAddr::new(LOOPBACK.ip(), port).into();
                near.connect_timeout(&to, Duration::from_secs(5))?;
                let (far, from) = listener.accept()?;
                let mapped = from.as_socket().expect("of IP");
                assert_eq!(mapped.ip().to_canonical(), LOOPBACK.ip());
                near.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(30)))?;
                near.set_linger(Some(Duration::from_secs(1)))?;
                assert_eq!(near.linger()?, Some(Duration::from_secs(1)));
                let mut near = near;
                near.write_all(b"over the fence")?;
                near.shutdown(std::net::Shutdown::Write)?;
                let mut text = String::new();
                let mut far: std::net::TcpStream = far.into();
                far.read_to_string(&mut text)?;
                assert_eq!(text, "over the fence");
                let unused = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                unused.bind(&LOOPBACK.into())?;
                let error = near_connect(&unused.local_addr()?).expect_err("nobody listens");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                Ok(())
            }

            fn near_connect(to: &SockAddr) -> io::Result<()> {
                Socket::new(Domain::IPV4, Type::STREAM, None)?.connect(to)
            }
        }
    };
}

exercise!(with_05, socket2_05);
exercise!(with_06, socket2_06);

#[tokio::test]
async fn socket2_of_both_releases() {
    for exercise in [with_05::datagrams, with_06::datagrams, with_05::streams, with_06::streams] {
        spawn_blocking(exercise).await.expect("no panic").expect("no error");
    }
}

/// A pair of sockets as quinn has them.
fn batching() -> io::Result<[(UdpSocket, UdpSocketState); 2]> {
    let make = || {
        let socket = UdpSocket::bind(LOOPBACK)?;
        let state = UdpSocketState::new((&socket).into())?;
        io::Result::Ok((socket, state))
    };
    Ok([make()?, make()?])
}

/// Everything that is there now, with its meta data.
fn receive((socket, state): &(UdpSocket, UdpSocketState)) -> io::Result<Vec<(RecvMeta, Vec<u8>)>> {
    let mut storage = vec![vec![0; 65_536]; BATCH_SIZE];
    let mut meta = vec![RecvMeta::default(); BATCH_SIZE];
    let mut buffers: Vec<_> = storage.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let count = state.recv(socket.into(), &mut buffers, &mut meta)?;
    Ok(meta
        .into_iter()
        .zip(storage)
        .take(count)
        .map(|(meta, data)| (meta, data[..meta.len].to_vec()))
        .collect())
}

#[tokio::test]
async fn a_batch_is_sent_by_one_call_and_received_by_one() -> io::Result<()> {
    let [near, far] = batching()?;
    assert_eq!((near.1.max_gso_segments(), near.1.gro_segments()), (64, 64));
    let contents: Vec<u8> = (0..10_500u32).map(|index| (index / 1000) as u8).collect();
    let transmit = Transmit {
        destination: far.0.local_addr()?,
        ecn: Some(EcnCodepoint::Ect0),
        contents: &contents,
        segment_size: Some(1000),
        src_ip: Some(LOOPBACK.ip()),
    };
    near.1.send((&near.0).into(), &transmit)?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let received = receive(&far)?;
    assert_eq!(received.len(), 1, "{:?}", received.iter().map(|(meta, _)| meta).collect::<Vec<_>>());
    let (meta, data) = &received[0];
    assert_eq!((meta.len, meta.stride, meta.ecn), (10_500, 1000, Some(EcnCodepoint::Ect0)));
    assert_eq!((meta.addr, meta.dst_ip), (near.0.local_addr()?, Some(LOOPBACK.ip())));
    assert!(*data == contents);
    // A socket that did not ask for batches gets datagrams.
    let plain = UdpSocket::bind(LOOPBACK)?;
    plain.set_nonblocking(true)?;
    near.1.send((&near.0).into(), &Transmit { destination: plain.local_addr()?, ..transmit })?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut sizes = Vec::new();
    let mut buffer = [0; 2000];
    while let Ok(count) = plain.recv(&mut buffer) {
        sizes.push(count);
    }
    assert_eq!(sizes, [[1000; 10].as_slice(), &[500]].concat());
    Ok(())
}

#[tokio::test]
async fn datagrams_of_several_calls_are_received_by_one() -> io::Result<()> {
    let [near, far] = batching()?;
    for (number, ecn) in [None, Some(EcnCodepoint::Ect1), Some(EcnCodepoint::Ce)].into_iter().enumerate() {
        let contents = vec![number as u8; 100 + number];
        let transmit = Transmit {
            destination: far.0.local_addr()?,
            ecn,
            contents: &contents,
            segment_size: None,
            src_ip: None,
        };
        near.1.send((&near.0).into(), &transmit)?;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    let received = receive(&far)?;
    let seen: Vec<_> = received.iter().map(|(meta, _)| (meta.len, meta.stride, meta.ecn)).collect();
    let (ect1, ce) = (Some(EcnCodepoint::Ect1), Some(EcnCodepoint::Ce));
    assert_eq!(seen, [(100, 100, None), (101, 101, ect1), (102, 102, ce)]);
    Ok(())
}

const LISTENER: Token = Token(0);
const DATAGRAMS: Token = Token(1);
const WAKER: Token = Token(2);

/// An event loop that echoes streams and datagrams until it is woken, as programs write them that use mio alone.
struct EchoLoop {
    poll: Poll,
    listener: mio::net::TcpListener,
    datagrams: mio::net::UdpSocket,
    streams: BTreeMap<usize, (mio::net::TcpStream, Vec<u8>)>,
    next: usize,
}

impl EchoLoop {
    fn new() -> io::Result<EchoLoop> {
        let poll = Poll::new()?;
        let mut listener = mio::net::TcpListener::bind(LOOPBACK)?;
        let mut datagrams = mio::net::UdpSocket::bind(LOOPBACK)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        poll.registry().register(&mut datagrams, DATAGRAMS, Interest::READABLE)?;
        Ok(EchoLoop { poll, listener, datagrams, streams: BTreeMap::new(), next: 3 })
    }

    /// Runs; how many connections it had.
    fn run(mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(64);
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                match event.token() {
                    WAKER => return Ok(self.next - 3),
                    LISTENER => self.accept()?,
                    DATAGRAMS => self.echo_datagrams()?,
                    Token(place) => self.echo_stream(place)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Some((mut stream, _)) = unless_blocked(self.listener.accept())? {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(self.next), interest)?;
            self.streams.insert(self.next, (stream, Vec::new()));
            self.next += 1;
        }
        Ok(())
    }

    fn echo_datagrams(&mut self) -> io::Result<()> {
        let mut buffer = [0; 2000];
        while let Some((count, from)) = unless_blocked(self.datagrams.recv_from(&mut buffer))? {
            self.datagrams.send_to(&buffer[..count], from)?;
        }
        Ok(())
    }

    fn echo_stream(&mut self, place: usize) -> io::Result<()> {
        let Some((stream, pending)) = self.streams.get_mut(&place) else { return Ok(()) };
        let mut buffer = [0; 4096];
        let ended = loop {
            match unless_blocked(stream.read(&mut buffer))? {
                Some(0) => break true,
                Some(count) => pending.extend_from_slice(&buffer[..count]),
                None => break false,
            }
        };
        while !pending.is_empty() {
            match unless_blocked(stream.write(pending))? {
                Some(count) => drop(pending.drain(..count)),
                None => break,
            }
        }
        if ended && pending.is_empty() {
            let (mut stream, _) = self.streams.remove(&place).expect("it was there");
            self.poll.registry().deregister(&mut stream)?;
        }
        Ok(())
    }
}

fn unless_blocked<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn an_event_loop_of_mio_serves_tokio() -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let echo = EchoLoop::new()?;
    let (stream_address, datagram_address) = (echo.listener.local_addr()?, echo.datagrams.local_addr()?);
    let waker = mio::Waker::new(echo.poll.registry(), WAKER)?;
    let running = spawn_blocking(|| echo.run());
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..5u8 {
        clients.spawn(async move {
            let stream = tokio::net::TcpStream::connect(stream_address).await?;
            let (mut reader, mut writer) = stream.into_split();
            let text = vec![number; 150_000];
            let expected = text.clone();
            let sending = tokio::spawn(async move {
                writer.write_all(&text).await?;
                writer.shutdown().await
            });
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).await?;
            sending.await.expect("no panic")?;
            assert!(answer == expected, "client {number}: {} bytes came back", answer.len());
            let socket = tokio::net::UdpSocket::bind(LOOPBACK).await?;
            socket.send_to(&[number; 50], datagram_address).await?;
            let mut buffer = [0; 100];
            let (count, from) = socket.recv_from(&mut buffer).await?;
            assert_eq!((&buffer[..count], from), (&[number; 50][..], datagram_address));
            io::Result::Ok(())
        });
    }
    while let Some(done) = tokio::time::timeout(PATIENCE, clients.join_next()).await.expect("in time") {
        done.expect("no panic")?;
    }
    waker.wake()?;
    assert_eq!(running.await.expect("no panic")?, 5);
    Ok(())
}

#[tokio::test]
async fn a_client_of_mio_connects_and_is_refused() -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await?;
    let address = listener.local_addr()?;
    let client = spawn_blocking(move || {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(8);
        let mut stream = mio::net::TcpStream::connect(address)?;
        poll.registry().register(&mut stream, Token(7), Interest::WRITABLE)?;
        poll.poll(&mut events, Some(PATIENCE))?;
        assert!(events.iter().any(|event| event.token() == Token(7) && event.is_writable()));
        assert!(stream.take_error()?.is_none());
        assert_eq!(stream.peer_addr()?, address);
        stream.write_all(b"hello")?;
        // Nothing happens for a while.
        poll.registry().reregister(&mut stream, Token(8), Interest::READABLE)?;
        poll.poll(&mut events, Some(Duration::from_millis(30)))?;
        assert!(events.iter().all(|event| !event.is_readable()));
        let unused = std::net::TcpListener::bind(LOOPBACK)?;
        let nowhere = unused.local_addr()?;
        drop(unused);
        let mut stream = mio::net::TcpStream::connect(nowhere)?;
        poll.registry().register(&mut stream, Token(9), Interest::WRITABLE)?;
        poll.poll(&mut events, Some(PATIENCE))?;
        let error = stream.take_error()?.expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        io::Result::Ok(())
    });
    let (mut stream, _) = listener.accept().await?;
    let mut text = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut text).await?;
    assert_eq!(&text, b"hello");
    client.await.expect("no panic")
}
