//! Waiting for a socket: readiness, `try_*`, closures, peeks and the budget.
//!
//! Owns behaviour that goes through `tokio::net`'s API only. Must not know the stack. Invariant: each test
//! runs twice for each seed, and both runs make the same decisions.
#![cfg(sim)]

mod common;

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::{both, each_seed, tcp_pair, within};
use real::io::{AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};
use shim_runtime::task;

#[test]
fn try_operations_say_would_block_and_readiness_comes_back() {
    each_seed(|| async {
        let (a, b) = tcp_pair().await;
        let mut buffer = [0; 8];
        assert_eq!(b.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(a.try_write(b"one").unwrap(), 3);
        b.readable().await.unwrap();
        assert_eq!(b.try_read(&mut buffer).unwrap(), 3);
        assert_eq!(b.try_read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);

        assert_eq!(a.try_write_vectored(&[IoSlice::new(b"t"), IoSlice::new(b"wo")]).unwrap(), 3);
        assert!(b.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap().is_writable());
        b.readable().await.unwrap();
        let (mut first, mut second) = ([0; 1], [0; 9]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(b.try_read_vectored(&mut buffers).unwrap(), 3);
        assert_eq!((&first, &second[..2]), (b"t", &b"wo"[..]));

        a.try_write(b"three").unwrap();
        b.readable().await.unwrap();
        let mut collected = b"<".to_vec();
        assert_eq!(b.try_read_buf(&mut collected).unwrap(), 5);
        assert_eq!(collected, b"<three");
        drop(a);
        b.readable().await.unwrap();
        assert_eq!(b.try_read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn what_a_closure_finds_not_ready_is_hidden_until_the_next_event() {
    each_seed(|| async {
        let (a, b) = tcp_pair().await;
        a.try_write(b"x").unwrap();
        // An accepted stream counts as readable from the beginning: the reactor's news must be there.
        common::sleep(Duration::from_millis(1)).await;
        b.readable().await.unwrap();
        let blocked = || Err::<(), _>(io::Error::from(ErrorKind::WouldBlock));
        assert_eq!(b.try_io(Interest::READABLE, blocked).unwrap_err().kind(), ErrorKind::WouldBlock);
        // Not called: the socket is not known to be ready.
        let error = b.try_io::<()>(Interest::READABLE, || panic!("called")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(within(Duration::from_millis(50), b.readable()).await.is_none());
        a.try_write(b"y").unwrap();
        b.readable().await.unwrap();

        let mut calls = 0;
        let read = b.async_io(Interest::READABLE, || {
            calls += 1;
            if calls == 1 { Err(ErrorKind::WouldBlock.into()) } else { Ok(calls) }
        });
        let later = async {
            shim_runtime::task::yield_now().await;
            a.try_write(b"z").unwrap();
        };
        assert_eq!(both(read, later).await.0.unwrap(), 2);
    });
}

#[test]
fn a_dropped_wait_takes_no_other_one_with_it() {
    each_seed(|| async {
        let (a, b) = tcp_pair().await;
        let b = Arc::new(b);
        let waiting = {
            let b = Arc::clone(&b);
            async move {
                // Two waits of one task: the first is dropped after the second was polled.
                let mut second = pin!(b.readable());
                let mut first = Some(Box::pin(b.readable()));
                poll_fn(|cx| {
                    if second.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(());
                    }
                    if let Some(mut first) = first.take() {
                        assert!(first.as_mut().poll(cx).is_pending());
                    }
                    Poll::Pending
                })
                .await;
            }
        };
        let waiting = task::spawn(waiting);
        task::yield_now().await;
        common::sleep(Duration::from_millis(5)).await;
        a.try_write(b"x").unwrap();
        waiting.await.unwrap();
    });
}

#[test]
fn peeks_leave_the_data() {
    each_seed(|| async {
        let (mut a, mut b) = tcp_pair().await;
        a.write_all(b"peek").await.unwrap();
        let mut buffer = [0; 4];
        assert_eq!(b.peek(&mut buffer[..2]).await.unwrap(), 2);
        let mut space = [0; 4];
        let mut space = ReadBuf::new(&mut space);
        assert_eq!(poll_fn(|cx| b.poll_peek(cx, &mut space)).await.unwrap(), 4);
        let (mut read, _write) = b.split();
        assert_eq!(read.peek(&mut buffer).await.unwrap(), 4);
        read.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"peek");
    });
}

#[test]
fn a_task_that_never_waits_yields_when_its_budget_is_spent() {
    each_seed(|| async {
        let (mut a, mut b) = tcp_pair().await;
        a.write_all(&[7; 1000]).await.unwrap();
        b.readable().await.unwrap();
        let mut polls = 0;
        let mut reading = pin!(async {
            for _ in 0..1000 {
                b.read_u8().await.unwrap();
            }
        });
        poll_fn(|cx| {
            polls += 1;
            reading.as_mut().poll(cx)
        })
        .await;
        assert!(polls >= 8, "{polls} polls for 1000 reads");
    });
}
