//! `tokio::io`: the real traits and utilities; the standard streams are the simulation's.
//!
//! Must not wrap a trait: trait identity across crates depends on the real ones. Invariant: nothing here
//! reaches the real runtime's blocking pool or reactor.

pub use real::io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

#[cfg(feature = "net")]
pub use real::io::{Interest, Ready};

#[cfg(all(unix, feature = "net"))]
pub use shim_net::mirror::unix_io as unix;

#[cfg(feature = "io-util")]
pub use real::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader, BufStream, BufWriter, Chain,
    DuplexStream, Empty, Join, Lines, Repeat, SimplexStream, Sink, Split, Take, copy, copy_bidirectional,
    copy_bidirectional_with_sizes, copy_buf, duplex, empty, join, repeat, simplex, sink,
};
#[cfg(feature = "io-util")]
pub use real::io::{ReadHalf, WriteHalf, split};

pub use std::io::{Error, ErrorKind, Result, SeekFrom};

#[cfg(feature = "io-std")]
pub use shim_fs::mirror::standard::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
