//! Public paths of what tokio's signatures take from other crates: rustdoc tells where an item is defined, which is
//! often a private module.
//!
//! Must not guess: a name that is not known here is printed where it is defined, and the compiler says so.

/// Items that are re-exported one module up from where they are defined.
const REEXPORTED: &[(&str, &str)] = &[
    ("Future", "std::future::Future"),
    ("IntoFuture", "std::future::IntoFuture"),
    ("Iterator", "std::iter::Iterator"),
    ("IntoIterator", "std::iter::IntoIterator"),
    ("FromIterator", "std::iter::FromIterator"),
    ("Extend", "std::iter::Extend"),
    ("FnOnce", "std::ops::FnOnce"),
    ("FnMut", "std::ops::FnMut"),
    ("Fn", "std::ops::Fn"),
    ("Drop", "std::ops::Drop"),
    ("Deref", "std::ops::Deref"),
    ("DerefMut", "std::ops::DerefMut"),
    ("Add", "std::ops::Add"),
    ("AddAssign", "std::ops::AddAssign"),
    ("Sub", "std::ops::Sub"),
    ("SubAssign", "std::ops::SubAssign"),
    ("BitOr", "std::ops::BitOr"),
    ("BitOrAssign", "std::ops::BitOrAssign"),
    ("BitAnd", "std::ops::BitAnd"),
    ("BitAndAssign", "std::ops::BitAndAssign"),
    ("RangeBounds", "std::ops::RangeBounds"),
    ("RangeInclusive", "std::ops::RangeInclusive"),
    ("Range", "std::ops::Range"),
    ("UnwindSafe", "std::panic::UnwindSafe"),
    ("RefUnwindSafe", "std::panic::RefUnwindSafe"),
    ("Location", "std::panic::Location"),
    ("Context", "std::task::Context"),
    ("Waker", "std::task::Waker"),
    ("Poll", "std::task::Poll"),
    ("String", "std::string::String"),
    ("Vec", "std::vec::Vec"),
    ("Box", "std::boxed::Box"),
    ("Arc", "std::sync::Arc"),
    ("SocketAddr", "std::net::SocketAddr"),
    ("SocketAddrV4", "std::net::SocketAddrV4"),
    ("SocketAddrV6", "std::net::SocketAddrV6"),
    ("IpAddr", "std::net::IpAddr"),
    ("Ipv4Addr", "std::net::Ipv4Addr"),
    ("Ipv6Addr", "std::net::Ipv6Addr"),
    ("Shutdown", "std::net::Shutdown"),
    ("AsFd", "std::os::fd::AsFd"),
    ("AsRawFd", "std::os::fd::AsRawFd"),
    ("FromRawFd", "std::os::fd::FromRawFd"),
    ("IntoRawFd", "std::os::fd::IntoRawFd"),
    ("OwnedFd", "std::os::fd::OwnedFd"),
    ("BorrowedFd", "std::os::fd::BorrowedFd"),
    ("RawFd", "std::os::fd::RawFd"),
    ("Error", "std::error::Error"),
    ("Duration", "std::time::Duration"),
    ("Instant", "std::time::Instant"),
    ("NonZero", "std::num::NonZero"),
    ("MaybeUninit", "std::mem::MaybeUninit"),
    ("ExactSizeIterator", "std::iter::ExactSizeIterator"),
    ("FusedIterator", "std::iter::FusedIterator"),
];

/// Defining paths whose last name means something else than above.
const EXACT: &[(&str, &str)] = &[
    ("std::io::error::Error", "std::io::Error"),
    ("core::io::error::Error", "std::io::Error"),
    ("std::io::error::Result", "std::io::Result"),
    ("std::io::error::ErrorKind", "std::io::ErrorKind"),
    ("core::fmt::Error", "std::fmt::Error"),
    ("std::thread::id::ThreadId", "std::thread::ThreadId"),
    ("std::thread::local::AccessError", "std::thread::AccessError"),
    ("std::os::unix::net::addr::SocketAddr", "std::os::unix::net::SocketAddr"),
    ("std::os::unix::net::stream::UnixStream", "std::os::unix::net::UnixStream"),
    ("std::os::unix::net::listener::UnixListener", "std::os::unix::net::UnixListener"),
    ("std::os::unix::net::datagram::UnixDatagram", "std::os::unix::net::UnixDatagram"),
    ("std::net::tcp::TcpStream", "std::net::TcpStream"),
    ("std::net::tcp::TcpListener", "std::net::TcpListener"),
    ("std::net::udp::UdpSocket", "std::net::UdpSocket"),
    ("std::ffi::os_str::OsStr", "std::ffi::OsStr"),
    ("std::ffi::os_str::OsString", "std::ffi::OsString"),
    ("bytes::buf::buf_impl::Buf", "bytes::Buf"),
    ("bytes::buf::buf_mut::BufMut", "bytes::BufMut"),
    ("bytes::bytes::Bytes", "bytes::Bytes"),
    ("bytes::bytes_mut::BytesMut", "bytes::BytesMut"),
];

/// How a user writes the item that is defined at `defined`; `None` for traits that no user can name.
pub(crate) fn std_path(defined: &[&str]) -> Option<String> {
    let whole = defined.join("::");
    if let Some((_, public)) = EXACT.iter().find(|(known, _)| *known == whole) {
        return Some(format!("::{public}"));
    }
    let last = defined.last()?;
    if matches!(*last, "StructuralPartialEq" | "Freeze" | "UnsafeUnpin" | "UseCloned" | "CloneToUninit") {
        return None;
    }
    let own = defined.first()?;
    if *own == "tokio" {
        return None;
    }
    if !matches!(*own, "core" | "alloc" | "std") {
        return Some(format!("::{whole}"));
    }
    if let Some((_, public)) = REEXPORTED.iter().find(|(known, _)| known == last) {
        return Some(format!("::{public}"));
    }
    Some(format!("::std::{}", defined[1..].join("::")))
}
