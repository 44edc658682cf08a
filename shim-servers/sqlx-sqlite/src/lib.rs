//! Nothing, in the place of sqlx 0.8's SQLite driver.
//!
//! Owns a name. Must not be used. Invariant: a program that wants the driver does not compile.

compile_error!("this takes the place of sqlx's SQLite driver, and a feature asks for the driver: leave the patch or the feature out");
