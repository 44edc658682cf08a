//! An unmodified `mini-redis` server on a task, which can be stopped and started again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running server. Dropping it stops the server as well, without waiting for it.
#[derive(Debug)]
pub struct RedisServer {
    address: SocketAddr,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<mini_redis::Result<()>>,
}

impl RedisServer {
    /// Starts a server on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// What `bind` answers.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve(listener)
    }

    /// Starts a server on `address`, which a server that was stopped may have used before.
    ///
    /// # Errors
    ///
    /// What `bind` answers.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        Self::serve(listen_again(address).await?)
    }

    fn serve(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (shutdown, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(mini_redis::server::run(listener, async {
            let _ = stopped.await;
        }));
        Ok(Self { address, shutdown, task })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as the `redis` crate wants it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Stops the server: it closes the listener and each connection, and this returns when it has.
    pub async fn stop(self) {
        drop(self.shutdown);
        self.task.await.expect("the server does not panic").expect("the server does not fail");
    }
}

/// Binds `address` again after an earlier listener is gone. Connections that the earlier one accepted may take
/// a moment to close, so this tries for a while.
///
/// # Errors
///
/// What `bind` answers in the end.
pub async fn listen_again(address: SocketAddr) -> io::Result<TcpListener> {
    let mut attempts_left = 100;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts_left > 0 => {
                attempts_left -= 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}
