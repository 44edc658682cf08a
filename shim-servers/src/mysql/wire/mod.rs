//! MySQL's protocol: packets over a stream, which may be secured.
//!
//! Owns the bytes of messages, by mysql_common's definitions. Must not know sessions or SQL. Invariant: what was written is
//! sent in order, at the latest when it is flushed.

pub(super) mod answer;
mod column;
pub(super) mod command;
pub(super) mod greeting;
pub(super) mod value;

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use mysql_common::proto::codec::PacketCodec;
use mysql_common::proto::codec::error::PacketCodecError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// `max_allowed_packet`, in bytes.
pub(super) const MAX_PACKET: usize = 64 << 20;

/// Answers are sent in pieces of this size, in bytes.
const PIECE: usize = 64 << 10;

/// A first packet that is larger is no greeting.
const MAX_GREETING: usize = 64 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Both directions of a connection, in packets.
pub(super) struct Packets {
    stream: Box<dyn Stream>,
    codec: PacketCodec,
    received: BytesMut,
    to_send: BytesMut,
}

impl Packets {
    pub(super) fn new(stream: TcpStream) -> Packets {
        let mut codec = PacketCodec::default();
        codec.max_allowed_packet = MAX_PACKET;
        Packets { stream: Box::new(stream), codec, received: BytesMut::new(), to_send: BytesMut::new() }
    }

    /// The next packet; nothing where the client has gone.
    ///
    /// # Errors
    /// `InvalidData` for what is no packet, or one that is too large.
    pub(super) async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut packet = Vec::new();
        loop {
            if self.codec.decode(&mut self.received, &mut packet).map_err(no_packet)? {
                return Ok(Some(packet));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                let is_clean = self.received.is_empty() && packet.is_empty();
                return if is_clean { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The next packet, and not one byte after it: those may be the beginning of TLS.
    pub(super) async fn read_alone(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        if length > MAX_GREETING {
            return Err(no_packet(PacketCodecError::PacketTooLarge));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        self.received.extend_from_slice(&header);
        self.received.extend_from_slice(&body);
        let mut packet = Vec::new();
        self.codec.decode(&mut self.received, &mut packet).map_err(no_packet)?;
        Ok(packet)
    }

    /// A packet of the answer.
    pub(super) fn write(&mut self, mut packet: &[u8]) -> io::Result<()> {
        self.codec.encode(&mut packet, &mut self.to_send).map_err(no_packet)
    }

    /// Sends what is enough for a piece, so that a slow client slows the query.
    pub(super) async fn send_pieces(&mut self) -> io::Result<()> {
        if self.to_send.len() < PIECE { Ok(()) } else { self.flush().await }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all_buf(&mut self.to_send).await?;
        self.stream.flush().await
    }

    /// The next packet is a command: packets are counted anew.
    pub(super) fn begin_command(&mut self) {
        self.codec.reset_seq_id();
    }

    /// Goes on under TLS.
    pub(super) async fn secure(self, config: &Arc<ServerConfig>) -> io::Result<Packets> {
        let Packets { stream, codec, received, to_send } = self;
        let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
        Ok(Packets { stream: Box::new(stream), codec, received, to_send })
    }
}

fn no_packet(error: PacketCodecError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
