//! Database servers for simulations.

pub mod engine;
pub mod mysql;
