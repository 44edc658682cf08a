//! A TCP proxy that a test can make silent, or cut: the faults that ordinary code can inject in either world.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Passes bytes between its clients and one upstream address. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    silent: watch::Sender<bool>,
    cut: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// What `bind` answers.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let (silent, silence) = watch::channel(false);
        let (cut, cuts) = watch::channel(0);
        let counter = accepted.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(client, upstream, silence.clone(), cuts.clone()));
            }
        });
        Ok(Self { address, accepted, silent, cut, task })
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted so far.
    pub fn accepted_count(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// While silent, nothing passes in either direction, and connections stay open.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Closes every connection that exists now.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    client: TcpStream,
    upstream: SocketAddr,
    silence: watch::Receiver<bool>,
    mut cuts: watch::Receiver<u64>,
) {
    cuts.mark_unchanged();
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let both = async {
        tokio::join!(
            forward(client_read, server_write, silence.clone()),
            forward(server_read, client_write, silence.clone()),
        )
    };
    tokio::select! {
        _ = both => {}
        _ = cuts.changed() => {}
    }
}

/// Copies until the source ends, and then tells the target so.
async fn forward(mut source: OwnedReadHalf, mut target: OwnedWriteHalf, mut silence: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = source.read(&mut buffer).await {
        if silence.wait_for(|silent| !*silent).await.is_err()
            || target.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
    let _ = target.shutdown().await;
}
