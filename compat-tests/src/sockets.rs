//! Sockets over the loopback interface, and what a failed operation on one must say.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

/// Both ends of one connection: the client's, and the server's.
///
/// # Panics
///
/// When the loopback interface does not work.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the listener's address");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.expect("connects"), server.expect("accepts").0)
}

/// Asserts that `outcome` is an error of this kind and of this number of the system.
///
/// # Panics
///
/// When it is not.
#[track_caller]
pub fn assert_error<T>(outcome: io::Result<T>, kind: ErrorKind, number: i32) {
    match outcome {
        Ok(_) => panic!("succeeded, where error {number} ({kind}) was expected"),
        Err(error) => assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(number)), "{error}"),
    }
}

/// Asserts the number alone, for errors whose kind std does not let programs name.
///
/// # Panics
///
/// When `outcome` is not an error of this number.
#[track_caller]
pub fn assert_number<T>(outcome: io::Result<T>, number: i32) {
    match outcome {
        Ok(_) => panic!("succeeded, where error {number} was expected"),
        Err(error) => assert_eq!(error.raw_os_error(), Some(number), "{error}"),
    }
}

/// Waits until the peer's reset has arrived, without taking its error.
///
/// # Panics
///
/// When no reset arrives.
pub async fn wait_until_broken(stream: &TcpStream) {
    for _ in 0..2000 {
        if stream.peer_addr().is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("no reset came");
}

/// Connects to `address`, as `host:port`, again and again until somebody accepts.
///
/// # Panics
///
/// When nobody does for a minute.
pub async fn connect_when_up(address: &str) -> TcpStream {
    let connecting = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), connecting).await.expect("a server comes up")
}
