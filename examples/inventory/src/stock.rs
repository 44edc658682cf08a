//! What is in stock, and for whom. The store knows only GET and SET, so each item is one document under one key,
//! and whoever changes it holds the item's lock.
//!
//! Invariant: for each item, what is left and what is reserved add up to what was delivered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncCommands, Client, RedisError};
use serde::{Deserialize, Serialize};

/// One item, as it is stored and shown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Item {
    /// How many nobody has reserved yet.
    pub left: u32,
    /// How many each order has reserved.
    pub reserved: BTreeMap<String, u32>,
}

/// Why the stock did not do what it was asked to.
#[derive(Debug)]
pub enum StockError {
    /// No such item was ever delivered.
    UnknownItem,
    /// There are too few for this order.
    SoldOut {
        /// How many there are.
        left: u32,
    },
    /// The store did not answer. Whether it did what it was asked to is not known.
    Unavailable(RedisError),
    /// The store holds something that is no item.
    Malformed(serde_json::Error),
}

/// All items, in a store that only this process writes to.
pub struct Stock {
    store: ConnectionManager,
    locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Stock {
    /// The stock in the store at `redis_url`, which need not be there yet.
    ///
    /// A command that is not answered in time stays ahead of the next one on the same connection: a later read sees
    /// what an earlier write did, even when nobody heard the answer to that write.
    ///
    /// # Errors
    ///
    /// When the URL is malformed.
    pub fn open(redis_url: &str) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(10)))
            .set_number_of_retries(3)
            .set_max_delay(Duration::from_millis(200));
        let store = ConnectionManager::new_lazy_with_config(Client::open(redis_url)?, config)?;
        Ok(Self { store, locks: Mutex::default() })
    }

    /// What is there of `item`.
    ///
    /// # Errors
    ///
    /// When the item is unknown or the store does not answer.
    pub async fn show(&self, item: &str) -> Result<Item, StockError> {
        let document: Option<String> = self.store.clone().get(key(item)).await?;
        let document = document.ok_or(StockError::UnknownItem)?;
        serde_json::from_str(&document).map_err(StockError::Malformed)
    }

    /// Declares that there are `count` of `item`, and that nobody has reserved any.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    pub async fn deliver(&self, item: &str, count: u32) -> Result<(), StockError> {
        let lock = self.lock(item);
        let _guard = lock.lock().await;
        self.save(item, &Item { left: count, reserved: BTreeMap::new() }).await
    }

    /// Reserves `count` of `item` for `order`, and says how many are left. An order that was already served is not
    /// served again.
    ///
    /// # Errors
    ///
    /// When there are not enough, or the item is unknown, or the store does not answer.
    pub async fn reserve(&self, item: &str, order: &str, count: u32) -> Result<u32, StockError> {
        // The mistake: a repeated order is recognised before the lock is taken, so that it need not wait, and not
        // once more under the lock. When the customer repeats an order that is still under way, both pass.
        if cfg!(feature = "bug") && self.show(item).await?.reserved.contains_key(order) {
            return Ok(self.show(item).await?.left);
        }

        let lock = self.lock(item);
        let _guard = lock.lock().await;
        let mut document = self.show(item).await?;
        if cfg!(not(feature = "bug")) && document.reserved.contains_key(order) {
            return Ok(document.left);
        }
        document.left =
            document.left.checked_sub(count).ok_or(StockError::SoldOut { left: document.left })?;
        document.reserved.insert(order.to_owned(), count);
        self.save(item, &document).await?;
        Ok(document.left)
    }

    async fn save(&self, item: &str, document: &Item) -> Result<(), StockError> {
        let document = serde_json::to_string(document).map_err(StockError::Malformed)?;
        Ok(self.store.clone().set(key(item), document).await?)
    }

    fn lock(&self, item: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().expect("nobody panics with this lock held");
        locks.entry(item.to_owned()).or_default().clone()
    }
}

fn key(item: &str) -> String {
    format!("item:{item}")
}

impl From<RedisError> for StockError {
    fn from(error: RedisError) -> Self {
        Self::Unavailable(error)
    }
}

impl fmt::Display for StockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownItem => write!(formatter, "no such item"),
            Self::SoldOut { left } => write!(formatter, "only {left} left"),
            Self::Unavailable(error) => write!(formatter, "the store is not available: {error}"),
            Self::Malformed(error) => write!(formatter, "the store holds no item under this name: {error}"),
        }
    }
}

impl std::error::Error for StockError {}
