//! What sqlx promises of a PostgreSQL server: the same tests for each of its releases.
//!
//! Owns no release: `super::sqlx` is the one that is tested. Must not know the world. Invariant: everything that is asserted here is true of a real
//! server too.

pub(crate) mod pools;
pub(crate) mod statements;
pub(crate) mod transactions;
pub(crate) mod types;

use compat_databases::Server;

use super::sqlx::{Connection, PgConnection};

/// A server and a connection to it; nothing where there is no server.
pub(crate) async fn connected() -> Option<(Server, PgConnection)> {
    let server = compat_databases::postgres().await?;
    let connection = PgConnection::connect(&server.url()).await.expect("the server lets us in");
    Some((server, connection))
}
