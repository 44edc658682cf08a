//! The server on a node of its own.
//!
//! Owns the node `db`. Must not know clients. Invariant: the server listens when a test is given its address.

use std::time::Duration;

use shim_servers::mysql::MySql;
use tokio::net::TcpStream;

/// When a statement that makes 160,000 rows has begun and is not done.
pub const MEANWHILE: Duration = Duration::from_millis(8);

/// The name of the node.
pub const HOST: &str = "db";

/// The address of a server with its defaults.
pub async fn database() -> Option<String> {
    Some(database_of(MySql::new()).await)
}

/// The address of `server`, once it listens.
///
/// # Panics
/// Where it does not within ten seconds.
pub async fn database_of(server: MySql) -> String {
    tokio::sim::host(HOST, server.host());
    for _ in 0..1_000 {
        if TcpStream::connect((HOST, 3306)).await.is_ok() {
            return format!("mysql://root@{HOST}:3306/test");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server does not listen");
}
