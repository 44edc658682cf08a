//! Messages over a stream: reading the client's, and collecting ours until they are sent.
//!
//! Owns both buffers. Must not know what messages mean. Invariant: a message is taken from the buffer whole or not at all, so that waiting for one
//! can be given up.

use std::io;

use bytes::BytesMut;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::engine::SqlError;

/// How much is collected before it is sent.
const FLUSH_BYTES: usize = 32 * 1024;

/// A stream of bytes in both directions, with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A stream of messages.
pub(crate) struct Messages {
    stream: Box<dyn Stream>,
    input: BytesMut,
    output: BytesMut,
    context: DecodeContext,
}

impl Messages {
    /// Messages of a stream whose first bytes were read before.
    pub(crate) fn new(stream: Box<dyn Stream>, first: &[u8], version: ProtocolVersion) -> Self {
        let mut context = DecodeContext::new(version);
        context.awaiting_frontend_ssl = false;
        Self { stream, input: BytesMut::from(first), output: BytesMut::new(), context }
    }

    /// The first message is behind: from now on each has its type before it.
    pub(crate) fn started(&mut self) {
        self.context.awaiting_frontend_startup = false;
    }

    /// The next message; `None` where the client is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping it.
    pub(crate) async fn read(&mut self) -> io::Result<Option<PgWireFrontendMessage>> {
        loop {
            let decoded = PgWireFrontendMessage::decode(&mut self.input, &self.context);
            if let Some(message) =
                decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?
            {
                return Ok(Some(message));
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the client has sent more already.
    pub(crate) fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    /// Collects a message; sends when much is collected.
    pub(crate) async fn send(&mut self, message: PgWireBackendMessage) -> io::Result<()> {
        self.push(&message)?;
        if self.output.len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Collects a message.
    pub(crate) fn push(&mut self, message: &PgWireBackendMessage) -> io::Result<()> {
        message
            .encode(&mut self.output)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }

    /// Collects a failure.
    pub(crate) fn push_error(&mut self, error: &SqlError) -> io::Result<()> {
        let severity = if error.fields.fatal { "FATAL" } else { "ERROR" };
        self.push(&PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields(severity, error))))
    }

    /// Collects a remark.
    pub(crate) fn push_notice(&mut self, severity: &str, notice: &SqlError) -> io::Result<()> {
        self.push(&PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields(severity, notice))))
    }

    /// Sends what is collected.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all_buf(&mut self.output).await?;
        }
        self.stream.flush().await
    }

    /// Sends what is collected, and says that no more comes.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }
}

/// The fields of a failure, each with its letter.
fn fields(severity: &str, error: &SqlError) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.condition.sqlstate().to_owned()),
        (b'M', error.message.clone()),
    ];
    let more = &error.fields;
    let texts = [
        (b'D', &more.detail),
        (b'H', &more.hint),
        (b's', &more.schema),
        (b't', &more.table),
        (b'c', &more.column),
        (b'n', &more.constraint),
    ];
    fields.extend(texts.into_iter().filter_map(|(letter, text)| text.clone().map(|text| (letter, text))));
    fields.extend(more.position.map(|position| (b'P', position.to_string())));
    fields
}
