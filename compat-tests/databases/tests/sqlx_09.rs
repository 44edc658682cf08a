//! sqlx 0.9 against PostgreSQL: a real one, and ours on a simulated machine.

mod cases;

/// The release under the name that the tests use.
mod sqlx {
    pub(crate) use ::sqlx::*;
}

use ::sqlx::migrate::Migrator;

/// The one value of a query that was put together.
async fn scalar_text(connection: &mut sqlx::PgConnection, query: String) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(connection).await
}
