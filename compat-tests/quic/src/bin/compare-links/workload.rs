//! The transfers that are measured: ordinary code over quinn and tokio, the same in both worlds.
//!
//! Must not know the link. Invariant: a transfer's time begins with an established connection, and ends when the
//! receiver has said that it has everything.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use compat_quic::bulk;
use compat_quic::endpoints::{ALPN, client};
use compat_quic::identity::{Identity, NAME};
use quinn::{TransportConfig, VarInt};
use socket2_06::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

/// Who sends, and how it controls congestion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Case {
    QuinnCubic,
    QuinnBbr,
    TcpCubic,
    TcpReno,
}

pub(crate) const PORT: u16 = 4433;

impl Case {
    pub(crate) const ALL: [Case; 4] = [Case::QuinnCubic, Case::QuinnBbr, Case::TcpCubic, Case::TcpReno];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::QuinnCubic => "quinn-cubic",
            Case::QuinnBbr => "quinn-bbr",
            Case::TcpCubic => "tcp-cubic",
            Case::TcpReno => "tcp-reno",
        }
    }

    /// The kernel's name of the algorithm.
    fn tcp_algorithm(self) -> Option<&'static [u8]> {
        match self {
            Case::TcpCubic => Some(b"cubic"),
            Case::TcpReno => Some(b"reno"),
            _ => None,
        }
    }

    fn transport(self) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        bulk::widen(&mut transport);
        match self {
            Case::QuinnBbr => {
                transport.congestion_controller_factory(Arc::new(quinn::congestion::BbrConfig::default()))
            }
            _ => transport.congestion_controller_factory(Arc::new(quinn::congestion::CubicConfig::default())),
        };
        Arc::new(transport)
    }

    /// Receives at [`PORT`] until it is dropped.
    pub(crate) async fn serve(self, identity: &Identity) -> io::Result<()> {
        if self.tcp_algorithm().is_some() {
            let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                let mut buffer = vec![0; 256 * 1024];
                while stream.read(&mut buffer).await? > 0 {}
                stream.write_all(&[1]).await?;
            }
        }
        let mut config = identity.server(&[ALPN]);
        config.transport_config(self.transport());
        bulk::serve(config, PORT).await
    }

    /// Sends `bytes` to a receiver at `address`; how long that took, and what the sender says about it.
    pub(crate) async fn transfer(
        self,
        identity: &Identity,
        address: SocketAddr,
        bytes: u64,
    ) -> io::Result<(Duration, String)> {
        if let Some(algorithm) = self.tcp_algorithm() {
            return tcp(algorithm, address, bytes).await;
        }
        let mut config = identity.client(&[ALPN]);
        config.transport_config(self.transport());
        let endpoint = client(config, address)?;
        let connection = loop {
            let connecting = endpoint.connect(address, NAME).map_err(io::Error::other)?;
            // The receiver may not have begun.
            match tokio::time::timeout(Duration::from_millis(500), connecting).await {
                Ok(connection) => break connection?,
                Err(_) => continue,
            }
        };
        let took = bulk::send(&connection, bytes).await?;
        let path = connection.stats().path;
        let remark = format!(
            "{} sent, {} lost, {} congestion events, rtt {:.1} ms, mtu {}",
            path.sent_packets,
            path.lost_packets,
            path.congestion_events,
            path.rtt.as_secs_f64() * 1e3,
            path.current_mtu,
        );
        connection.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
        Ok((took, remark))
    }
}

async fn tcp(algorithm: &[u8], address: SocketAddr, bytes: u64) -> io::Result<(Duration, String)> {
    let mut stream = loop {
        let socket = TcpSocket::new_v4()?;
        SockRef::from(&socket).set_tcp_congestion(algorithm)?;
        match socket.connect(address).await {
            Ok(stream) => break stream,
            // The receiver may not have begun.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
    };
    let started = Instant::now();
    let chunk = vec![7; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(chunk.len() as u64);
        stream.write_all(&chunk[..part as usize]).await?;
        left -= part;
    }
    stream.shutdown().await?;
    stream.read_exact(&mut [0]).await?;
    let took = started.elapsed();
    let name = SockRef::from(&stream).tcp_congestion()?;
    Ok((took, String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned()))
}
