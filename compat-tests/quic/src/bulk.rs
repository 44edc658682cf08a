//! A bulk transfer over one stream: what throughput is measured with.
//!
//! Must not know links. Invariant: the time ends when the receiver has everything, not when the sender has let go.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use quinn::{Connection, ServerConfig, TransportConfig, VarInt};
use tokio::time::Instant;

use crate::endpoints;

/// How much each write hands over.
const CHUNK_BYTES: usize = 64 * 1024;

/// How much may be on its way: more than any of the links here holds.
const WINDOW_BYTES: u32 = 8 << 20;

/// Lets a transfer be as fast as the link.
pub fn widen(transport: &mut TransportConfig) {
    let window = VarInt::from_u32(WINDOW_BYTES);
    transport.stream_receive_window(window).receive_window(window).send_window(WINDOW_BYTES.into());
}

/// Receives what comes over one connection after the other, on `port` of all addresses.
///
/// # Errors
/// Those of the port, and of a connection that did not come to be.
pub async fn serve(config: ServerConfig, port: u16) -> io::Result<()> {
    let endpoint = endpoints::server(config, SocketAddr::from(([0, 0, 0, 0], port)))?;
    while let Some(incoming) = endpoint.accept().await {
        // A connection ends when its client leaves: that is no failure of ours.
        let _ = receive(&incoming.await?).await;
    }
    Ok(())
}

/// Sends `bytes` on a stream of its own, and waits until the peer says that it has them all; how long that took.
///
/// # Errors
/// Where the connection ends before.
pub async fn send(connection: &Connection, bytes: u64) -> io::Result<Duration> {
    let started = Instant::now();
    let (mut sender, mut receiver) = connection.open_bi().await?;
    let chunk = vec![7; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(CHUNK_BYTES as u64);
        sender.write_all(&chunk[..part as usize]).await?;
        left -= part;
    }
    sender.finish().map_err(io::Error::other)?;
    let answer = receiver.read_to_end(8).await.map_err(io::Error::other)?;
    let received = answer.try_into().map(u64::from_be_bytes);
    if received != Ok(bytes) {
        return Err(io::Error::other(format!("the peer has {received:?} of {bytes} bytes")));
    }
    Ok(started.elapsed())
}

/// Receives the streams of `connection`, one after the other, and answers each with how much came.
///
/// # Errors
/// How the connection ended.
pub async fn receive(connection: &Connection) -> io::Result<()> {
    loop {
        let (mut sender, mut receiver) = connection.accept_bi().await?;
        let mut bytes = 0;
        while let Some(chunk) = receiver.read_chunk(CHUNK_BYTES, true).await? {
            bytes += chunk.bytes.len() as u64;
        }
        sender.write_all(&u64::to_be_bytes(bytes)).await?;
        sender.finish().map_err(io::Error::other)?;
    }
}
