//! What mirror types ask of a socket beside data: options, and how it looks in a debug print.
//!
//! Owns methods of the shared holder only. Must not know what an option does. Invariant: an option keeps the
//! unit that the kernel has, whatever the caller's type can say.

use std::fmt;
use std::io;
use std::time::Duration;

use super::socket::Socket;
use super::unix::unix_name;
use crate::sys::{self, Addr, Name, Value};

impl Socket {
    pub(crate) fn flag(&self, name: Name) -> io::Result<bool> {
        self.number(name).map(|value| value != 0)
    }

    pub(crate) fn set_flag(&self, name: Name, on: bool) -> io::Result<()> {
        self.set_number(name, on.into())
    }

    pub(crate) fn number(&self, name: Name) -> io::Result<u32> {
        match sys::option(self.id, name)? {
            Value::Int(value) => Ok(value as u32),
            other => panic!("invariant: {name:?} is a number, not {other:?}"),
        }
    }

    pub(crate) fn set_number(&self, name: Name, value: u32) -> io::Result<()> {
        sys::set_option(self.id, name, Value::Int(value as i32))
    }

    pub(crate) fn linger(&self) -> io::Result<Option<Duration>> {
        match sys::option(self.id, Name::Linger)? {
            Value::Linger(linger) => Ok(linger),
            other => panic!("invariant: SO_LINGER is a time, not {other:?}"),
        }
    }

    /// Sets `SO_LINGER`, whose unit is the second.
    pub(crate) fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let linger = linger.map(|time| Duration::from_secs(time.as_secs()));
        sys::set_option(self.id, Name::Linger, Value::Linger(linger))
    }

    /// The interface that the socket is tied to.
    pub(crate) fn device(&self) -> io::Result<Option<Vec<u8>>> {
        match sys::option(self.id, Name::BindToDevice)? {
            Value::Bytes(mut name) => {
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                Ok(Some(name).filter(|name| !name.is_empty()))
            }
            other => panic!("invariant: SO_BINDTODEVICE is a name, not {other:?}"),
        }
    }

    pub(crate) fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        sys::set_option(self.id, Name::BindToDevice, Value::Bytes(interface.unwrap_or_default().to_vec()))
    }
}

impl Socket {
    /// The addresses of the socket under the name of its type. Asks for no descriptor, and may be called
    /// where there is no simulation.
    pub(crate) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(name);
        if shim_runtime::in_simulation() {
            if let Ok(address) = sys::local_addr(self.id) {
                out.field("addr", &Shown(address));
            }
            if let Ok(address) = sys::peer_addr(self.id) {
                out.field("peer", &Shown(address));
            }
        }
        out.field("socket", &self.id.0).finish()
    }
}

/// An address as std shows it.
struct Shown(Addr);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Addr::Inet(address) => address.fmt(f),
            Addr::Unix(address) => unix_name(address.clone()).fmt(f),
            Addr::Netlink { port, groups } => write!(f, "port {port}, groups {groups:#x}"),
        }
    }
}
