//! sqlx 0.8 against PostgreSQL: a real one, and ours on a simulated machine.

mod cases;

/// The release under the name that the tests use, with what its facade has only together with its SQLite driver.
mod sqlx {
    pub(crate) use sqlx_08::*;

    pub(crate) mod migrate {
        pub(crate) use sqlx_core_08::migrate::MigrateError;
    }
}

use sqlx_core_08::migrate::Migrator;

/// The one value of a query that was put together.
async fn scalar_text(connection: &mut sqlx::PgConnection, query: String) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(&query).fetch_one(connection).await
}
