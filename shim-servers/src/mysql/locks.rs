//! `GET_LOCK` and its kin, and `SLEEP`: functions that wait.
//!
//! Owns how they wait: on a thread of the blocking pool, and no longer than the statement lives. Must not know tables.
//! Invariant: a lock that was not got is not held.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use tokio::runtime::Handle;

use crate::engine::{AdvisoryKey, Shared};

/// The number of a name: FNV-1a, which is the same everywhere.
fn key(name: &str) -> AdvisoryKey {
    let hash = name.to_lowercase().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    AdvisoryKey::One(hash as i64)
}

fn patience(seconds: f64) -> Option<Duration> {
    // Less than nothing is for ever.
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(1e9)))
}

async fn after(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Waits for a lock; whether it was got.
fn get_lock(shared: &Shared, name: &str, seconds: f64) -> bool {
    let locks = &shared.database.advisory;
    let Some(granted) = locks.lock(shared.id, key(name), false, false) else { return true };
    let got = Handle::current().block_on(async {
        tokio::select! {
            biased;
            granted = granted => granted.is_ok(),
            _ = shared.stopped() => false,
            () = after(patience(seconds)) => false,
        }
    });
    if !got {
        // It may have come in the same moment.
        locks.unlock(shared.id, key(name), false);
    }
    got
}

/// Gives a connection these functions.
pub(super) fn register(connection: &Connection, shared: &Arc<Shared>) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8;
    let own = Arc::clone(shared);
    connection.create_scalar_function("my_get_lock", 2, flags, move |context| {
        let (name, seconds) = (context.get::<String>(0)?, context.get::<f64>(1)?);
        Ok(i64::from(get_lock(&own, &name, seconds)))
    })?;
    let own = Arc::clone(shared);
    connection.create_scalar_function("my_release_lock", 1, flags, move |context| {
        let name = context.get::<String>(0)?;
        Ok(i64::from(own.database.advisory.unlock(own.id, key(&name), false)))
    })?;
    let own = Arc::clone(shared);
    connection.create_scalar_function("my_release_all_locks", 0, flags, move |_| {
        own.database.advisory.release(own.id, false);
        Ok(0_i64)
    })?;
    let own = Arc::clone(shared);
    connection.create_scalar_function("my_sleep", 1, flags, move |context| {
        let seconds = context.get::<f64>(0)?;
        let was_stopped = Handle::current().block_on(async {
            tokio::select! {
                biased;
                _ = own.stopped() => true,
                () = after(patience(seconds)) => false,
            }
        });
        Ok(i64::from(was_stopped))
    })?;
    connection.create_scalar_function("my_version", 0, flags, |_| Ok(super::VERSION.to_owned()))
}
