//! sqlx 0.8 against MySQL: a real MariaDB, and ours on a simulated machine.

/// The text of a statement that was put together.
macro_rules! dynamic {
    ($text:expr) => {
        &*$text
    };
}

mod cases;

/// The release under the name that the tests use.
mod sqlx {
    pub(crate) use sqlx_08::*;
}

use sqlx_core_08::migrate::Migrator;
