//! The store as a program: mini-redis.

use tokio::net::TcpListener;

use crate::{BoxError, setting};

/// Serves `STORE_ADDR` until the program is interrupted. What it stores does not outlive it.
///
/// # Errors
///
/// When the address cannot be bound.
#[tokio::main]
pub async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind(setting("STORE_ADDR", "127.0.0.1:6379")).await?;
    println!("store: listening at {}", listener.local_addr()?);
    mini_redis::server::run(listener, tokio::signal::ctrl_c()).await
}
