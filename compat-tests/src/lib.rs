//! Real, unmodified libraries, in both worlds. The tests are in `tests/`; here is what several of them share:
//! servers to talk to, and certificates.
//!
//! It must not know which world it runs in: everything here is ordinary code over `tokio`.

pub mod certificate;
pub mod echo;
pub mod proxy;
pub mod redis_server;
pub mod sockets;
pub mod tshark;
