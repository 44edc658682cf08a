//! The front as a program: configuration, listener, graceful end.

use std::sync::Arc;

use tokio::net::TcpListener;

use crate::stock::Stock;
use crate::{BoxError, api, setting};

/// Serves `LISTEN_ADDR` until the program is interrupted, keeping the stock in the store at `REDIS_URL`.
///
/// # Errors
///
/// When the address cannot be bound or the URL is malformed. An absent store is not an error: requests fail until
/// it is there.
#[tokio::main]
pub async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind(setting("LISTEN_ADDR", "127.0.0.1:3000")).await?;
    let redis_url = setting("REDIS_URL", "redis://127.0.0.1:6379");
    println!("front: listening at {}, store at {redis_url}", listener.local_addr()?);
    serve(listener, &redis_url, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await
}

/// Serves `listener` until `shutdown` completes and the last request is answered.
///
/// # Errors
///
/// When the URL is malformed.
pub async fn serve(
    listener: TcpListener,
    redis_url: &str,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), BoxError> {
    let stock = Arc::new(Stock::open(redis_url)?);
    axum::serve(listener, api::router(stock)).with_graceful_shutdown(shutdown).await?;
    Ok(())
}
