//! Database servers for simulations.

pub mod engine;
