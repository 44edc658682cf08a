//! QUIC libraries and what is below them, unmodified, in both worlds. The tests are in `tests/`; here is what several of
//! them share: identities, endpoints, a server that echoes, bulk transfers.
//!
//! It must not know which world it runs in: everything here is ordinary code over quinn and `tokio`.

pub mod bulk;
pub mod echo;
pub mod endpoints;
pub mod identity;
