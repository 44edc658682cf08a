//! A small client of RESP2, for what servers say to each other.
//!
//! Owns one connection. Must not know what is said. Invariant: bytes that are not a whole reply stay in the buffer, so that
//! dropping a future of this file loses nothing.

use std::io;

use bytes::BytesMut;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, ToSocketAddrs};

use super::wire::{Reply, encode_request};

/// A connection to a server that speaks RESP2: our own client, for what servers say to each other.
#[derive(Debug)]
pub struct Link {
    reader: LinkReader,
    writer: LinkWriter,
}

/// The half of a [`Link`] that hears.
#[derive(Debug)]
pub struct LinkReader {
    stream: OwnedReadHalf,
    buffer: BytesMut,
}

/// The half of a [`Link`] that speaks.
#[derive(Debug)]
pub struct LinkWriter {
    stream: OwnedWriteHalf,
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// Those of a TCP connection.
    pub async fn connect(address: impl ToSocketAddrs) -> io::Result<Link> {
        Link::new(TcpStream::connect(address).await?)
    }

    /// Over a stream that is there.
    ///
    /// # Errors
    /// Where the stream is gone already.
    pub fn new(stream: TcpStream) -> io::Result<Link> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let reader = LinkReader { stream: reader, buffer: BytesMut::new() };
        Ok(Link { reader, writer: LinkWriter { stream: writer } })
    }

    /// The stream below, for its addresses.
    pub fn stream(&self) -> &TcpStream {
        self.reader.stream.as_ref()
    }

    /// Sends one request.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        self.writer.send(arguments).await
    }

    /// The next reply or message. An error of the server is a [`Reply::Error`].
    ///
    /// # Errors
    /// Those of the stream; `UnexpectedEof` at its end, `InvalidData` for what is not RESP2.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn receive(&mut self) -> io::Result<Reply> {
        self.reader.receive().await
    }

    /// Sends one request and waits for its reply, without a time limit.
    ///
    /// # Errors
    /// As [`Link::receive`].
    pub async fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        self.send(arguments).await?;
        self.receive().await
    }

    /// Both halves, for two tasks.
    pub fn split(self) -> (LinkReader, LinkWriter) {
        (self.reader, self.writer)
    }
}

impl LinkReader {
    /// As [`Link::receive`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn receive(&mut self) -> io::Result<Reply> {
        loop {
            match decode_bytes_mut(&mut self.buffer) {
                Ok(Some((frame, ..))) => return Ok(reply(frame)),
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl LinkWriter {
    /// As [`Link::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<()> {
        let mut request = BytesMut::new();
        encode_request(arguments, &mut request);
        self.stream.write_all(&request).await
    }
}

fn reply(frame: BytesFrame) -> Reply {
    match frame {
        BytesFrame::SimpleString(text) => Reply::simple(String::from_utf8_lossy(&text).into_owned()),
        BytesFrame::Error(text) => Reply::error(text.to_string()),
        BytesFrame::Integer(number) => Reply::Integer(number),
        BytesFrame::BulkString(bytes) => Reply::Bulk(bytes),
        BytesFrame::Array(items) => Reply::Array(items.into_iter().map(reply).collect()),
        BytesFrame::Null => Reply::Null,
    }
}
