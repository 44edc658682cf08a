//! The mirror of UDP as an application sees it, on simulated nodes.
//!
//! Owns behaviour that goes through `tokio::net`'s API only. Must not know the stack. Invariant: each test
//! runs twice for each seed, and both runs make the same decisions.
#![cfg(sim)]

mod common;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{each_seed, node, within};
use real::io::{Interest, ReadBuf};
use shim_net::mirror::UdpSocket;
use shim_runtime::task;

async fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn echoes_between_nodes() {
    each_seed(|| async {
        node("server", || async {
            let socket = UdpSocket::bind("0.0.0.0:9").await?;
            let mut buffer = [0; 1500];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await?;
                socket.send_to(&buffer[..len], from).await?;
            }
        });
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let mut buffer = [0; 16];
        for number in 0..10u8 {
            loop {
                socket.send_to(&[number], "server:9").await.unwrap();
                let answer = within(Duration::from_secs(1), socket.recv_from(&mut buffer)).await;
                // The server may still be on its way up.
                if let Some(answer) = answer {
                    assert_eq!((answer.unwrap().0, buffer[0]), (1, number));
                    break;
                }
            }
        }
    });
}

#[test]
fn many_tasks_share_one_socket() {
    each_seed(|| async {
        let (socket, address) = bound().await;
        let socket = Arc::new(socket);
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let socket = Arc::clone(&socket);
            tasks.push(task::spawn(async move {
                let mut buffer = [0; 4];
                socket.recv(&mut buffer).await.unwrap()
            }));
        }
        let (sender, _) = bound().await;
        for len in 1..=4 {
            task::yield_now().await;
            sender.send_to(&[0; 4][..len], address).await.unwrap();
        }
        let mut total = 0;
        for task in tasks {
            total += task.await.unwrap();
        }
        assert_eq!(total, 10);
    });
}

#[test]
fn connected_sockets_hear_of_a_closed_port() {
    each_seed(|| async {
        let (gone, address) = bound().await;
        drop(gone);
        let (socket, _) = bound().await;
        assert_eq!(socket.send(b"x").await.unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        socket.connect(address).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        socket.send(b"x").await.unwrap();
        let error = socket.recv(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let none: &[SocketAddr] = &[];
        let error = socket.send_to(b"x", none).await.unwrap_err();
        assert_eq!(error.to_string(), "no addresses to send data to");
    });
}

#[test]
fn peeks_leave_the_datagram() {
    each_seed(|| async {
        let (a, from) = bound().await;
        let (b, address) = bound().await;
        assert_eq!(b.try_peek_sender().unwrap_err().kind(), ErrorKind::WouldBlock);
        a.writable().await.unwrap();
        a.try_send_to(b"datagram", address).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(b.peek(&mut buffer[..4]).await.unwrap(), 4);
        assert_eq!(b.peek_from(&mut buffer).await.unwrap(), (8, from));
        assert_eq!(b.peek_sender().await.unwrap(), from);
        assert_eq!(b.try_peek(&mut buffer).unwrap(), 8);
        assert_eq!(b.try_peek_from(&mut buffer).unwrap(), (8, from));
        assert_eq!(b.try_peek_sender().unwrap(), from);
        assert_eq!(poll_fn(|cx| b.poll_peek_sender(cx)).await.unwrap(), from);
        let mut space = [0; 4];
        let mut space = ReadBuf::new(&mut space);
        assert_eq!(poll_fn(|cx| b.poll_peek_from(cx, &mut space)).await.unwrap(), from);
        space.clear();
        poll_fn(|cx| b.poll_peek(cx, &mut space)).await.unwrap();
        assert_eq!(space.filled(), b"data");
        space.clear();
        assert_eq!(poll_fn(|cx| b.poll_recv_from(cx, &mut space)).await.unwrap(), from);
        // The rest of the datagram is lost.
        assert_eq!(space.filled(), b"data");
        assert_eq!(b.try_recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn receives_at_the_end_of_a_buffer() {
    each_seed(|| async {
        let (a, from) = bound().await;
        let (b, address) = bound().await;
        let mut buffer = Vec::with_capacity(64);
        for data in [&b"one"[..], b"two", b"three", b"four"] {
            a.send_to(data, address).await.unwrap();
        }
        assert_eq!(b.recv_buf(&mut buffer).await.unwrap(), 3);
        assert_eq!(b.recv_buf_from(&mut buffer).await.unwrap(), (3, from));
        assert_eq!(b.try_recv_buf(&mut buffer).unwrap(), 5);
        assert_eq!(b.try_recv_buf_from(&mut buffer).unwrap(), (4, from));
        assert_eq!(buffer, b"onetwothreefour");
        assert_eq!(b.try_recv_buf(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn poll_functions_wake_the_last_task() {
    each_seed(|| async {
        let (a, _) = bound().await;
        let (b, address) = bound().await;
        let waiting = task::spawn(async move {
            poll_fn(|cx| b.poll_recv_ready(cx)).await.unwrap();
            let mut space = [0; 4];
            let mut space = ReadBuf::new(&mut space);
            poll_fn(|cx| b.poll_recv(cx, &mut space)).await.unwrap();
            space.filled().len()
        });
        common::sleep(Duration::from_millis(1)).await;
        poll_fn(|cx| a.poll_send_ready(cx)).await.unwrap();
        assert_eq!(poll_fn(|cx| a.poll_send_to(cx, b"abc", address)).await.unwrap(), 3);
        assert_eq!(waiting.await.unwrap(), 3);
        let ready = a.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap();
        assert!(ready.is_writable() && !ready.is_readable());
    });
}

#[test]
fn options_are_kept() {
    each_seed(|| async {
        let (socket, _) = bound().await;
        let broadcast: SocketAddr = "255.255.255.255:9".parse().unwrap();
        assert_eq!(socket.send_to(b"x", broadcast).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        socket.set_broadcast(true).unwrap();
        assert!(socket.broadcast().unwrap());
        assert!(socket.multicast_loop_v4().unwrap());
        socket.set_multicast_loop_v4(false).unwrap();
        socket.set_multicast_ttl_v4(4).unwrap();
        socket.set_ttl(5).unwrap();
        socket.set_tos_v4(8).unwrap();
        assert!(!socket.multicast_loop_v4().unwrap());
        assert_eq!((socket.multicast_ttl_v4().unwrap(), socket.ttl().unwrap()), (4, 5));
        assert_eq!(socket.tos_v4().unwrap(), 8);
        socket.join_multicast_v4([224, 0, 0, 7].into(), [0, 0, 0, 0].into()).unwrap();
        socket.leave_multicast_v4([224, 0, 0, 7].into(), [0, 0, 0, 0].into()).unwrap();
        assert_eq!(socket.device().unwrap(), None);
        assert!(socket.take_error().unwrap().is_none());
        let text = format!("{socket:?}");
        assert!(text.starts_with("UdpSocket { addr: 127.0.0.1:"), "{text}");
        let socket = UdpSocket::bind("[::1]:0").await.unwrap();
        socket.set_tclass_v6(3).unwrap();
        socket.set_multicast_loop_v6(false).unwrap();
        assert_eq!((socket.tclass_v6().unwrap(), socket.multicast_loop_v6().unwrap()), (3, false));
    });
}

#[test]
fn an_address_is_not_shared() {
    each_seed(|| async {
        let (_socket, address) = bound().await;
        assert_eq!(UdpSocket::bind(address).await.unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn the_type_is_as_free_as_tokios() {
    fn free<T: Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    fn descriptor<T: std::os::fd::AsFd + std::os::fd::AsRawFd>(_: &T) {}
    fn send<T: Send>(_: T) {}
    each_seed(|| async {
        let (socket, address) = bound().await;
        free(&socket);
        let _ = descriptor::<UdpSocket>;
        send(socket.recv(&mut [0; 1]));
        send(socket.send_to(b"x", address));
        send(socket.async_io(Interest::READABLE, || Ok(())));
        send(socket.ready(Interest::READABLE));
    });
}
