//! Mirror of `tokio::net::unix`, without pipes (issue 3).
//!
//! Owns the way between tokio's addresses and the simulation's. Must not know the network. Invariant: a
//! socket is seen by its own node only.

pub(crate) mod datagram;
pub(crate) mod listener;
pub mod pipe;
pub(crate) mod socket;
mod socketaddr;
mod split;
mod split_owned;
pub(crate) mod stream;
mod ucred;

pub use socketaddr::SocketAddr;
pub(crate) use socketaddr::{address_of, path_address, sender, unix, unix_name};
pub use split::{ReadHalf, WriteHalf};
pub use split_owned::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use ucred::UCred;

/// The number of a user.
#[expect(non_camel_case_types, reason = "the name is tokio's")]
pub type uid_t = u32;

/// The number of a group.
#[expect(non_camel_case_types, reason = "the name is tokio's")]
pub type gid_t = u32;

/// The number of a process.
#[expect(non_camel_case_types, reason = "the name is tokio's")]
pub type pid_t = i32;
