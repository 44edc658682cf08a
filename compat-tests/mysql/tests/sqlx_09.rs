//! sqlx 0.9 against MySQL: a real MariaDB, and ours on a simulated machine.

/// The text of a statement that was put together.
macro_rules! dynamic {
    ($text:expr) => {
        ::sqlx::AssertSqlSafe($text)
    };
}

mod cases;

/// The release under the name that the tests use.
mod sqlx {
    pub(crate) use ::sqlx::*;
}

use ::sqlx::migrate::Migrator;
