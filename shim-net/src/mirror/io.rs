//! `AsyncRead` and `AsyncWrite` of streams and of their halves.
//!
//! Owns one macro. Must not know which kind of stream it is. Invariant: a half passes on what the stream
//! does, and ends only its own direction.

/// Implements the traits for a type; `whole` for a stream, `read` and `write` for a half of one, whose field
/// that leads to the stream is named.
macro_rules! stream_io {
    ($type:ty, whole) => {
        stream_io!($type, read);
        stream_io!($type, write);
    };
    ($type:ty, read $(, $field:tt)?) => {
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self$(.$field)?.poll_read_shared(cx, buf)
            }
        }
    };
    ($type:ty, write $(, $field:tt)?) => {
        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self$(.$field)?.poll_write_shared(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self$(.$field)?.poll_write_vectored_shared(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Does nothing: what was written is the kernel's.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends the direction to the peer.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.get_mut().end_writing())
            }
        }
    };
}
