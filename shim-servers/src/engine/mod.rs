//! The SQL engine: databases, sessions and transactions over SQLite, and the types and errors that dialects share.
//!
//! Owns every lock and every file. Must not know a wire protocol, nor how a dialect is parsed. Invariant: whoever holds
//! SQLite's write transaction holds the database's write lock, and gives it back only after SQLite has ended.

mod advisory;
mod catalog;
mod channels;
mod database;
mod error;
mod functions;
mod numeric;
mod rows;
mod schema;
mod sequences;
mod session;
mod shared;
mod temporary;
mod text;
mod times;
mod transaction;
mod types;
mod violation;

pub use advisory::{Advisory, AdvisoryKey};
pub use catalog::{
    Catalog, Column, Constraint, EnumType, Generated, Index, Key, OnCommit, Relation, RelationKind, Sequence,
};
pub(crate) use catalog::{quote, sqlite_name};
pub use channels::{Channels, Notification};
pub use database::{Cluster, Database};
pub use error::{Condition, Result, SqlError};
pub use numeric::Numeric;
pub use rows::{Batch, Rows};
pub use schema::Step;
pub use sequences::Sequences;
pub use session::{Access, Session, Work};
pub use shared::{Backends, Reason, Shared, State, SystemView};
pub use temporary::TEMPORARY;
pub(crate) use text::{fields, from_element, to_element};
pub use text::{format, parse};
pub use times::Interval;
pub use transaction::{Isolation, Status};
pub use types::{SqlType, Value};
