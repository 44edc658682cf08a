//! An inventory: items with a stock, and orders that reserve some of it.
//!
//! Two programs. `front` serves HTTP and holds no state of its own; `store` is the redis server behind it. Each has
//! its `main` here, so that the binaries, and whoever wants to start a program by hand, call the same function:
//!
//! ```text
//! cargo run -p inventory --bin store &
//! cargo run -p inventory --bin front &
//! curl -X PUT  -H 'content-type: application/json' -d '{"stock": 10}' 127.0.0.1:3000/items/nails
//! curl -X POST -H 'content-type: application/json' -d '{"order": "a", "count": 2}' 127.0.0.1:3000/items/nails/orders
//! ```

pub mod api;
pub mod front;
pub mod stock;
pub mod store;

/// What a program ends with when it cannot go on.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The value of an environment variable, or its default.
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}
