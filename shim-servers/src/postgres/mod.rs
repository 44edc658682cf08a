//! A PostgreSQL server: protocol 3, authentication, TLS, and the dialect.
//!
//! Owns what a client of PostgreSQL sees. Must not know SQLite. Invariant: a client is told that a transaction is committed after it is, and
//! never otherwise.

mod auth;
mod connection;
mod control;
mod copy;
mod copy_binary;
mod extended;
mod message;
mod parsing;
mod server;
mod settings;
mod simple;
mod startup;
mod system;
mod utility;
mod wire;

pub use control::Control;
pub use server::{Authentication, Postgres, Running};

/// What the server says it is.
pub const VERSION: &str = "PostgreSQL 16.4 (shim-servers) on a simulated machine, over SQLite";
/// The number of the version, as clients read it.
pub const SERVER_VERSION: &str = "16.4";
