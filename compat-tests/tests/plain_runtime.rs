//! Runtimes that a program makes itself, outside of `#[tokio::test]`: the same in both worlds.
//!
//! Owns what holds around `block_on`. Must not ask for the simulation. Invariant: time that a runtime slept has
//! passed for whoever called it.
#![allow(clippy::disallowed_methods, reason = "threads of a program are what is tested")]

use std::io::{Read as _, Write as _};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;

const NAP: Duration = Duration::from_millis(60);

#[test]
fn time_passes_for_the_caller_too() {
    let outside = Instant::now();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = Instant::now();
    runtime.block_on(async { tokio::time::sleep(NAP).await });
    assert!(before.elapsed() >= NAP);
    let between = Instant::now();
    assert!(between >= before + NAP);
    drop(runtime);
    assert!(outside.elapsed() >= NAP, "the clock goes on from where the runtime left it");
    assert!(Instant::now() >= between);
    // And the other way about: it is not far ahead.
    assert!(outside.elapsed() < Duration::from_secs(30));
}

#[test]
fn tasks_go_on_from_one_block_on_to_the_next() {
    let runtime = Runtime::new().expect("a runtime");
    let task = runtime.spawn(async {
        tokio::time::sleep(NAP).await;
        7
    });
    runtime.block_on(tokio::task::yield_now());
    assert_eq!(runtime.block_on(task).expect("it ends"), 7);
}

#[test]
fn two_runtimes_of_a_thread_reach_each_other() {
    let one = Runtime::new().expect("a runtime");
    let other = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = one.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = one.spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("somebody connects");
        stream.write_all(b"hello").await.expect("connected");
    });
    let answer = other.block_on(async move {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it is sent");
        answer
    });
    assert_eq!(answer, "hello");
    one.block_on(server).expect("it ends");
}

/// A listener of std, bound before there is a runtime, whose thread serves a client of the runtime.
#[test]
fn a_thread_serves_by_a_listener_that_is_older_than_the_runtime() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let mut question = [0; 4];
        stream.read_exact(&mut question).expect("it is sent");
        stream.write_all(b"hello").expect("connected");
    });
    let answer = runtime.block_on(async move {
        let mut stream = TcpStream::connect(address).await.expect("somebody listens");
        stream.write_all(b"who?").await.expect("connected");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it is sent");
        answer
    });
    assert_eq!(answer, "hello");
    server.join().expect("it ends");
}

/// The thread is still reading past the end when the test is over, as a server that nobody stops does.
#[test]
fn a_thread_that_reads_past_the_end_lets_the_others_go_on() {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let _server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        while stream.read(&mut [0; 16]).is_ok() {}
    });
    runtime.block_on(async move {
        let stream = TcpStream::connect(address).await.expect("somebody listens");
        drop(stream);
        tokio::time::sleep(NAP).await;
    });
}

#[test]
fn a_runtime_is_current_where_it_was_entered() {
    assert!(Handle::try_current().is_err());
    let runtime = Runtime::new().expect("a runtime");
    {
        let _entered = runtime.enter();
        let task = tokio::spawn(async { 3 });
        assert_eq!(Handle::current().block_on(task).expect("it ends"), 3);
    }
    assert!(Handle::try_current().is_err());
}

#[test]
fn a_runtime_that_is_dropped_drops_its_tasks() {
    struct OnDrop(std::sync::mpsc::Sender<()>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.send(()).expect("the test waits");
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let guard = OnDrop(sender);
    let task = runtime.spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    receiver.recv_timeout(Duration::from_secs(1)).expect("the task was dropped");
    assert!(task.is_finished());
}

#[test]
#[should_panic(expected = "Cannot start a runtime from within a runtime")]
fn blocking_inside_a_task_is_refused() {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { Handle::current().block_on(async {}) });
}
