//! The blocking clients, on threads for blocking work: synchronous sockets of std beside a server on tasks.

use std::time::Duration;

use compat_tests::redis_server::RedisServer;
use redis::{Client, Commands, RedisResult};
use tokio::task::spawn_blocking;

#[tokio::test]
async fn a_blocking_connection_of_redis() -> RedisResult<()> {
    let server = RedisServer::start().await.expect("the server starts");
    let client = Client::open(server.url())?;
    let blocking = spawn_blocking(move || {
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(20))?;
        let () = connection.set("greeting", "hello")?;
        let missing: Option<String> = connection.get("missing")?;
        assert_eq!(missing, None);
        connection.get::<_, String>("greeting")
    });
    assert_eq!(blocking.await.expect("no panic")?, "hello");
    Ok(())
}

#[tokio::test]
async fn a_blocking_read_runs_into_its_time_out() -> RedisResult<()> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = silent.local_addr().expect("bound");
    let blocking = spawn_blocking(move || {
        use std::io::Read;
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        #[expect(clippy::disallowed_methods, reason = "the client blocks, so its clock is std's")]
        let started = std::time::Instant::now();
        let error = stream.read(&mut [0; 8]).expect_err("nobody writes");
        std::io::Result::Ok((error.kind(), started.elapsed()))
    });
    let (kind, elapsed) = blocking.await.expect("no panic").expect("connects");
    assert_eq!(kind, std::io::ErrorKind::WouldBlock);
    assert!(elapsed >= Duration::from_millis(90), "gave up after {elapsed:?}");
    Ok(())
}

/// This client brings a runtime of its own to the thread it is used on.
#[tokio::test]
async fn the_blocking_client_of_mini_redis() {
    let server = RedisServer::start().await.expect("the server starts");
    let address = server.address();
    let blocking = spawn_blocking(move || {
        let mut client = mini_redis::blocking_client::connect(address).expect("connects");
        client.set("greeting", "hello".into()).expect("answers");
        client.get("greeting").expect("answers")
    });
    assert_eq!(blocking.await.expect("no panic").as_deref(), Some(&b"hello"[..]));
    server.stop().await;
}
