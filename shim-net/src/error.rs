//! Error numbers: what the simulated kernel answers, and the way to `io::Error`.
//!
//! Owns [`Errno`]. Must not know sockets. Invariant: an error that an application can meet carries the
//! number that Linux would give, so that `ErrorKind` and `raw_os_error` come out as outside.

use std::io;

/// A Linux error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

/// What a system call of the simulated kernel returns.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident)*) => {
        #[expect(missing_docs, reason = "the names are POSIX's")]
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*
        }
    };
}

errnos! {
    EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF ECONNABORTED ECONNREFUSED ECONNRESET
    EDESTADDRREQ EHOSTUNREACH EINPROGRESS EINVAL EISCONN EMFILE EMSGSIZE ENETDOWN ENETUNREACH ENOBUFS ENOENT
    ENOPROTOOPT ENOTCONN ENOTSOCK EOPNOTSUPP EPERM EPIPE EPROTONOSUPPORT EPROTOTYPE ETIMEDOUT
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0)
    }
}
