//! Mirror of `ToSocketAddrs`: what can be turned into addresses, and how.
//!
//! Owns the sealed trait and its one future. Must not know how names are found. Invariant: an address that
//! is spelled out is ready at once; a name takes one turn of the scheduler, as it leaves the thread with
//! tokio.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use crate::sys;

/// What stands for one address or more; mirrors tokio's trait, and is sealed as it is.
pub trait ToSocketAddrs: sealed::Resolve {}

pub(crate) mod sealed {
    //! What only this crate may call or implement.

    /// The way from a value to its addresses.
    pub trait Resolve {
        #[doc(hidden)]
        fn resolve(&self, _: Internal) -> super::Resolving;
    }

    /// Nobody else can make one.
    #[derive(Debug)]
    pub struct Internal;
}

use sealed::{Internal, Resolve};

/// The addresses of `value`.
pub(crate) fn to_socket_addrs(value: impl ToSocketAddrs) -> Resolving {
    value.resolve(Internal)
}

/// Calls `f` with one address after the other until it succeeds.
///
/// # Errors
/// The last error, or that there was no address.
pub(crate) async fn first_that<R>(
    addresses: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut last = None;
    for address in to_socket_addrs(addresses).await? {
        match f(address) {
            Ok(result) => return Ok(result),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

/// The error where a name has no address at all.
pub(crate) fn no_address() -> io::Error {
    invalid("could not resolve to any address")
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The future of all [`ToSocketAddrs`].
#[derive(Debug)]
pub struct Resolving(State);

#[derive(Debug)]
enum State {
    Known(Vec<SocketAddr>),
    /// A name, which has had its turn or not.
    Name {
        host: String,
        port: u16,
        turned: bool,
    },
    Failed(Option<io::Error>),
}

impl Resolving {
    fn known(address: impl Into<SocketAddr>) -> Resolving {
        Resolving(State::Known(vec![address.into()]))
    }

    fn host(host: &str, port: u16) -> Resolving {
        match host.parse::<IpAddr>() {
            Ok(ip) => Resolving::known((ip, port)),
            Err(_) => Resolving(State::Name { host: host.to_owned(), port, turned: false }),
        }
    }

    fn text(text: &str) -> Resolving {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Resolving::known(address);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Resolving(State::Failed(Some(invalid("invalid socket address"))));
        };
        match port.parse() {
            Ok(port) => Resolving::host(host, port),
            Err(_) => Resolving(State::Failed(Some(invalid("invalid port value")))),
        }
    }
}

impl Future for Resolving {
    type Output = io::Result<vec::IntoIter<SocketAddr>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            State::Known(addresses) => Ok(std::mem::take(addresses).into_iter()),
            State::Failed(error) => Err(error.take().expect("polled after it was ready")),
            State::Name { turned: turned @ false, .. } => {
                *turned = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            State::Name { host, port, .. } => {
                let at_port = |ip| SocketAddr::new(ip, *port);
                sys::lookup(host).map(|found| found.into_iter().map(at_port).collect::<Vec<_>>().into_iter())
            }
        })
    }
}

/// Implements the pair of traits for a type.
macro_rules! resolve {
    ($($type:ty, $value:ident => $resolving:expr;)*) => {$(
        impl ToSocketAddrs for $type {}

        impl Resolve for $type {
            fn resolve(&self, _: Internal) -> Resolving {
                let $value = self;
                $resolving
            }
        }
    )*};
}

resolve! {
    SocketAddr, address => Resolving::known(*address);
    SocketAddrV4, address => Resolving::known(*address);
    SocketAddrV6, address => Resolving::known(*address);
    (IpAddr, u16), address => Resolving::known(*address);
    (Ipv4Addr, u16), address => Resolving::known(*address);
    (Ipv6Addr, u16), address => Resolving::known(*address);
    &[SocketAddr], addresses => Resolving(State::Known(addresses.to_vec()));
    str, text => Resolving::text(text);
    String, text => Resolving::text(text);
    (&str, u16), pair => Resolving::host(pair.0, pair.1);
    (String, u16), pair => Resolving::host(&pair.0, pair.1);
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: ToSocketAddrs + ?Sized> Resolve for &T {
    fn resolve(&self, _: Internal) -> Resolving {
        (**self).resolve(Internal)
    }
}
