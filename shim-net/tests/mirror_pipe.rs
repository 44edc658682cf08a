//! `tokio::net::unix::pipe` and `tokio::io::unix::AsyncFd` over simulated descriptors.
//!
//! Owns behaviour that goes through tokio's API only. Must not know the stack. Invariant: each test runs twice for
//! each seed, and both runs make the same decisions.
#![cfg(sim)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{both, each_seed, within};
use real::io::{AsyncReadExt, AsyncWriteExt, Interest, Ready};
use shim_net::mirror::unix::pipe;
use shim_net::mirror::unix_io::AsyncFd;
use shim_runtime::task;

#[test]
fn a_pipe_carries_bytes_and_their_end() {
    each_seed(|| async {
        let (mut sender, mut receiver) = pipe::pipe().unwrap();
        let mut text = Vec::new();
        let writing = async {
            sender.write_all(&[7; 200_000]).await.unwrap();
            drop(sender);
        };
        both(writing, receiver.read_to_end(&mut text)).await.1.unwrap();
        assert_eq!(text, [7; 200_000]);
        let (sender, receiver) = pipe::pipe().unwrap();
        sender.writable().await.unwrap();
        drop(receiver);
        assert_eq!(sender.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_pipe_is_full_at_sixteen_pages() {
    each_seed(|| async {
        let (sender, receiver) = pipe::pipe().unwrap();
        sender.writable().await.unwrap();
        let mut count = 0;
        while let Ok(len) = sender.try_write(&[1; 3000]) {
            assert_eq!(len, 3000, "what fits a page is never torn");
            count += 1;
        }
        assert_eq!(count, 16, "as Linux, which fills a page with one piece");
        assert!(within(Duration::from_millis(5), sender.writable()).await.is_none());
        receiver.readable().await.unwrap();
        assert_eq!(receiver.try_read(&mut [0; 3000]).unwrap(), 3000);
        sender.writable().await.unwrap();
    });
}

#[test]
fn ends_go_out_and_come_back() {
    each_seed(|| async {
        let (sender, receiver) = pipe::pipe().unwrap();
        let mut file = std::fs::File::from(sender.into_blocking_fd().unwrap());
        let reading = task::spawn_blocking(move || {
            let mut text = [0; 5];
            let mut file = std::fs::File::from(receiver.into_blocking_fd().unwrap());
            file.read_exact(&mut text).unwrap();
            (text, file)
        });
        file.write_all(b"hello").unwrap();
        let (text, end) = reading.await.unwrap();
        assert_eq!(&text, b"hello");
        let refused = pipe::Sender::from_file(end.try_clone().unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "not in O_WRONLY or O_RDWR access mode");
        let mut receiver = pipe::Receiver::from_file(end).unwrap();
        let mut sender = pipe::Sender::from_file(file).unwrap();
        sender.write_all(b"again").await.unwrap();
        let mut text = [0; 5];
        receiver.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"again");
    });
}

#[test]
fn a_watched_descriptor_is_told_of_edges() {
    each_seed(|| async {
        let (near, mut far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        #[expect(deprecated, reason = "the safe way is the old one")]
        let watched = AsyncFd::new(near).unwrap();
        assert!(within(Duration::from_millis(5), watched.readable()).await.is_none());
        far.write_all(b"one").unwrap();
        common::sleep(Duration::from_millis(1)).await;
        let mut guard = watched.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap();
        assert!(guard.ready().is_writable());
        assert_eq!(guard.try_io(|inner| inner.get_ref().read(&mut [0; 9])).unwrap().unwrap(), 3);
        let mut guard = watched.readable().await.unwrap();
        let blocked = guard.try_io(|inner| inner.get_ref().read(&mut [0; 9]));
        assert!(blocked.is_err(), "there was one piece only");
        assert_eq!(guard.ready(), Ready::EMPTY);
        assert!(within(Duration::from_millis(5), watched.readable()).await.is_none());
        drop(far);
        assert!(watched.readable().await.unwrap().ready().is_read_closed());
        assert_eq!(watched.into_inner().read(&mut [0; 9]).unwrap(), 0);
    });
}

#[test]
fn what_cannot_be_watched_is_refused_as_by_epoll() {
    each_seed(|| async {
        #[expect(deprecated, reason = "the safe way is the old one")]
        let watch = |fd| AsyncFd::new(fd).map(drop).unwrap_err();
        assert_eq!(watch(-1).raw_os_error(), Some(libc::EBADF));
        let folder = std::fs::File::open("/").unwrap();
        assert_eq!(watch(folder.as_raw_fd()).raw_os_error(), Some(libc::EPERM));
        let mounts = std::fs::File::open("/proc/self/mounts").unwrap();
        let refused = watch(mounts.as_fd().as_raw_fd());
        assert!(refused.to_string().contains("SUPPORT.md"), "{refused}");
    });
}
