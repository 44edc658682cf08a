//! Database servers for simulations: real wire protocols over an embedded SQL engine.

pub mod engine;
pub mod mysql;
pub mod postgres;
pub mod sql;

pub use mysql::{MySql, mysql};
pub use postgres::{Authentication, Control, Postgres};

/// A PostgreSQL server with its default options, as a node's program.
pub fn postgres() -> impl Fn() -> postgres::Running + Clone + 'static {
    Postgres::new().host()
}
