//! The mirror of Unix sockets as an application sees it, on simulated nodes.
//!
//! Owns behaviour that goes through `tokio::net`'s API only. Must not know the stack. Invariant: each test
//! runs twice for each seed, and both runs make the same decisions.
#![cfg(sim)]

mod common;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::path::Path;
use std::time::Duration;

use common::{both, each_seed, node, within};
use real::io::{AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use shim_net::mirror::unix::{self, SocketAddr};
use shim_net::mirror::{UnixDatagram, UnixListener, UnixSocket, UnixStream};
use shim_runtime::task;

const PATH: &str = "/run/app.sock";

#[test]
fn streams_connect_by_path() {
    each_seed(|| async {
        assert_eq!(UnixStream::connect(PATH).await.unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(PATH).unwrap();
        assert_eq!(UnixListener::bind(PATH).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(Path::new(PATH)));
        let server = task::spawn(async move {
            let (mut stream, from) = listener.accept().await.unwrap();
            assert!(from.is_unnamed() && stream.peer_addr().unwrap().is_unnamed());
            let mut data = Vec::new();
            stream.read_to_end(&mut data).await.unwrap();
            stream.write_all(&data).await.unwrap();
        });
        let mut stream = UnixStream::connect(PATH).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(Path::new(PATH)));
        let data = vec![3; 500_000];
        stream.write_all(&data).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut echoed = Vec::new();
        stream.read_to_end(&mut echoed).await.unwrap();
        assert_eq!(echoed, data);
        server.await.unwrap();
        assert_eq!(UnixStream::connect(PATH).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn abstract_names_belong_to_a_node() {
    each_seed(|| async {
        let listener = UnixListener::bind("\0name").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.as_abstract_name(), Some(&b"name"[..]));
        let std: std::os::unix::net::SocketAddr = address.into();
        assert_eq!(std.as_abstract_name(), Some(&b"name"[..]));
        let (stream, accepted) =
            both(UnixStream::connect_addr(&SocketAddr::from(std)), poll_fn(|cx| listener.poll_accept(cx)))
                .await;
        let (stream, (accepted, _)) = (stream.unwrap(), accepted.unwrap());
        assert_eq!(accepted.peer_cred().unwrap(), stream.peer_cred().unwrap());
        assert_eq!(stream.peer_cred().unwrap().pid(), Some(std::process::id() as unix::pid_t));
        let (tell, told) = real::sync::oneshot::channel();
        let tell = std::cell::Cell::new(Some(tell));
        node("other", move || {
            let tell = tell.take();
            async move {
                let error = UnixStream::connect("\0name").await.unwrap_err();
                tell.unwrap().send(error.kind()).unwrap();
                Ok(())
            }
        });
        assert_eq!(told.await.unwrap(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn pairs_split_and_say_would_block() {
    each_seed(|| async {
        let (mut a, b) = UnixStream::pair().unwrap();
        assert!(a.local_addr().unwrap().is_unnamed());
        let mut buffer = [0; 8];
        assert_eq!(b.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        {
            let (read, mut write) = a.split();
            write.write_all(b"hi").await.unwrap();
            assert!(within(Duration::from_millis(1), read.readable()).await.is_none());
        }
        b.readable().await.unwrap();
        let mut got = Vec::new();
        assert_eq!(b.try_read_buf(&mut got).unwrap(), 2);
        let (mut read, write) = b.into_split();
        let (other, kept) = UnixStream::pair().unwrap().0.into_split();
        let error = other.reunite(write).unwrap_err();
        let unix::ReuniteError(_, write) = error;
        drop(kept);
        drop(write);
        assert_eq!(a.read(&mut buffer).await.unwrap(), 0);
        while a.try_write(&[0; 4096]).is_ok() {}
        let reader = task::spawn(async move {
            let mut buffer = vec![0; 1 << 20];
            let mut total = 0;
            loop {
                match read.read(&mut buffer).await.unwrap() {
                    0 => return total,
                    len => total += len,
                }
            }
        });
        a.writable().await.unwrap();
        a.write_all(b"more").await.unwrap();
        drop(a);
        assert!(reader.await.unwrap() > 4096);
    });
}

#[test]
fn sockets_become_what_they_are_for() {
    each_seed(|| async {
        let text = |error: std::io::Error| error.to_string();
        let datagram = UnixSocket::new_datagram().unwrap();
        assert_eq!(text(datagram.listen(1).unwrap_err()), "listen cannot be called on a datagram socket");
        let datagram = UnixSocket::new_datagram().unwrap();
        let error = datagram.connect(PATH).await.unwrap_err();
        assert_eq!(text(error), "connect cannot be called on a datagram socket");
        let stream = UnixSocket::new_stream().unwrap();
        assert_eq!(text(stream.datagram().unwrap_err()), "datagram cannot be called on a stream socket");

        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(PATH).unwrap();
        let listener = socket.listen(0).unwrap();
        let _one = UnixSocket::new_stream().unwrap().connect(PATH).await.unwrap();
        // The backlog is full, and a non-blocking connect says so.
        let error = UnixSocket::new_stream().unwrap().connect(PATH).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        listener.accept().await.unwrap();
        UnixStream::connect(PATH).await.unwrap();

        let socket = UnixSocket::new_datagram().unwrap();
        socket.bind("/run/datagram").unwrap();
        let datagram = socket.datagram().unwrap();
        assert_eq!(datagram.local_addr().unwrap().as_pathname(), Some(Path::new("/run/datagram")));
    });
}

#[test]
fn datagrams_tell_who_sent_them() {
    each_seed(|| async {
        let server = UnixDatagram::bind("/run/server").unwrap();
        let client = UnixDatagram::bind("/run/client").unwrap();
        client.send_to(b"ask", "/run/server").await.unwrap();
        let mut buffer = [0; 16];
        let (len, from) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], from.as_pathname()), (&b"ask"[..], Some(Path::new("/run/client"))));
        client.connect("/run/server").unwrap();
        assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(Path::new("/run/server")));
        server.try_send_to(b"answer", "/run/client").unwrap();
        assert_eq!(client.recv(&mut buffer).await.unwrap(), 6);
        assert_eq!(client.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);

        UnixDatagram::unbound().unwrap().send_to(b"anonymous", "/run/server").await.unwrap();
        let mut space = ReadBuf::new(&mut buffer);
        let from = poll_fn(|cx| server.poll_recv_from(cx, &mut space)).await.unwrap();
        assert!(from.is_unnamed() && space.filled() == b"anonymous");

        poll_fn(|cx| client.poll_send(cx, b"x")).await.unwrap();
        poll_fn(|cx| client.poll_send_to(cx, b"yz", "/run/server")).await.unwrap();
        let mut got = Vec::with_capacity(16);
        assert_eq!(server.recv_buf(&mut got).await.unwrap(), 1);
        assert_eq!(server.try_recv_buf_from(&mut got).unwrap().0, 2);
        assert_eq!(got, b"xyz");
        let error = UnixDatagram::bind("\0abstract").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_full_datagram_queue_makes_senders_wait() {
    each_seed(|| async {
        let (a, b) = UnixDatagram::pair().unwrap();
        let mut sent = 0;
        while a.try_send(b"x").is_ok() {
            sent += 1;
        }
        let reader = task::spawn(async move {
            let mut seen = 0;
            while let Some(Ok(_)) = within(Duration::from_secs(1), b.recv(&mut [0; 4])).await {
                seen += 1;
            }
            seen
        });
        poll_fn(|cx| a.poll_send(cx, b"x")).await.unwrap();
        assert!(a.ready(Interest::WRITABLE).await.unwrap().is_writable());
        assert_eq!(reader.await.unwrap(), sent + 1);
        let (a, b) = UnixDatagram::pair().unwrap();
        b.shutdown(Shutdown::Read).unwrap();
        assert_eq!(a.send(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_sender_that_waits_before_it_is_refused_is_told_of_room() {
    each_seed(|| async {
        let (a, b) = UnixDatagram::pair().unwrap();
        while a.try_send(b"x").is_ok() {}
        let reader = task::spawn(async move {
            common::sleep(Duration::from_millis(5)).await;
            b.recv(&mut [0; 4]).await.unwrap();
            b
        });
        a.writable().await.unwrap();
        a.send(b"x").await.unwrap();
        reader.await.unwrap();
    });
}

#[test]
fn types_are_as_free_as_tokios() {
    fn free<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe + std::fmt::Debug>() {
    }
    fn descriptor<T: std::os::fd::AsFd + std::os::fd::AsRawFd>() {}
    fn raw<T: std::os::fd::FromRawFd + std::os::fd::IntoRawFd>() {}
    free::<UnixListener>();
    free::<UnixStream>();
    free::<UnixDatagram>();
    free::<UnixSocket>();
    free::<SocketAddr>();
    free::<unix::UCred>();
    free::<unix::ReadHalf<'_>>();
    free::<unix::WriteHalf<'_>>();
    free::<unix::OwnedReadHalf>();
    free::<unix::OwnedWriteHalf>();
    descriptor::<UnixListener>();
    descriptor::<UnixStream>();
    descriptor::<UnixDatagram>();
    descriptor::<UnixSocket>();
    raw::<UnixSocket>();
}
