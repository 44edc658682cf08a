//! The commands, by what they work on.
//!
//! Owns what each command does. Must not know connections, files or sockets. Invariant: a command that depends on time or chance
//! takes both from its circumstances, so that it does the same when it is applied again.

pub(crate) mod bits;
pub(crate) mod connection;
pub(crate) mod expiry;
pub(crate) mod hashes;
pub(crate) mod hyperloglog;
pub(crate) mod info;
pub(crate) mod keys;
pub(crate) mod lists;
pub(crate) mod lists_moving;
pub(crate) mod pubsub;
pub(crate) mod scan;
pub(crate) mod server;
pub(crate) mod sets;
pub(crate) mod sorted;
pub(crate) mod sorted_pop;
pub(crate) mod sorted_range;
pub(crate) mod sorted_store;
pub(crate) mod stream_groups;
pub(crate) mod stream_info;
pub(crate) mod stream_read;
pub(crate) mod streams;
pub(crate) mod strings;
pub(crate) mod transaction;

pub(crate) use keys::dump;
