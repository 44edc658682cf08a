//! The SQL functions and collations that SQLite is given; their names begin with `x_`, and only planners write them.
//!
//! Owns their registration and what every one of them does with NULL. Must not know a dialect's names. Invariant: a
//! function that fails says so with a condition of SQL, which arrives at the client.

mod aggregates;
mod cast;
mod json;
mod math;
mod session;
mod strings;

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::error::{Result, SqlError, through_sqlite};
use super::numeric;
use super::shared::Shared;
use super::types::{SqlType, Value};

/// The arguments of a call.
pub(crate) struct Arguments(Vec<Value>);

impl Arguments {
    fn of(context: &Context<'_>) -> Self {
        let values = (0..context.len()).map(|at| match context.get_raw(at) {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        });
        Self(values.collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn value(&self, at: usize) -> &Value {
        self.0.get(at).unwrap_or(&Value::Null)
    }

    pub(crate) fn is_null(&self, at: usize) -> bool {
        *self.value(at) == Value::Null
    }

    pub(crate) fn text(&self, at: usize) -> Result<&str> {
        match self.value(at) {
            Value::Text(text) => Ok(text),
            other => Err(SqlError::internal(format!("argument {at} is no text: {other:?}"))),
        }
    }

    pub(crate) fn integer(&self, at: usize) -> Result<i64> {
        match self.value(at) {
            Value::Integer(number) => Ok(*number),
            other => Err(SqlError::internal(format!("argument {at} is no integer: {other:?}"))),
        }
    }

    pub(crate) fn number(&self, at: usize) -> Result<f64> {
        match self.value(at) {
            Value::Real(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as f64),
            Value::Text(text) => Ok(numeric::Numeric::parse(text)?.to_f64()),
            other => Err(SqlError::internal(format!("argument {at} is no number: {other:?}"))),
        }
    }

    pub(crate) fn ty(&self, at: usize) -> Result<SqlType> {
        let code = self.text(at)?;
        SqlType::from_code(code).ok_or_else(|| SqlError::internal(format!("no type has the code {code}")))
    }
}

/// A function whose result depends on its arguments alone.
pub(crate) type Pure = fn(&Arguments) -> Result<Value>;

/// A function of the session.
pub(crate) type Stateful = fn(&Shared, &Arguments) -> Result<Value>;

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// Gives a connection all functions and collations.
pub(crate) fn register(connection: &Connection, shared: &Arc<Shared>) -> rusqlite::Result<()> {
    connection.create_collation("numeric", numeric::compare)?;
    let strict = [math::FUNCTIONS, strings::FUNCTIONS, json::STRICT].concat();
    let check = |shared: &Shared| match shared.overdue() {
        Some(reason) => Err(through_sqlite(&reason.error())),
        None => Ok(()),
    };
    for (name, function) in strict {
        let shared = Arc::clone(shared);
        connection.create_scalar_function(name, -1, PURE, move |context| {
            check(&shared)?;
            let arguments = Arguments::of(context);
            if (0..arguments.len()).any(|at| arguments.is_null(at)) {
                return Ok(Value::Null);
            }
            function(&arguments).map_err(|error| through_sqlite(&error))
        })?;
    }
    for (name, function) in [cast::FUNCTIONS, json::LENIENT].concat() {
        let shared = Arc::clone(shared);
        connection.create_scalar_function(name, -1, PURE, move |context| {
            check(&shared)?;
            function(&Arguments::of(context)).map_err(|error| through_sqlite(&error))
        })?;
    }
    for (name, function) in session::FUNCTIONS {
        let shared = Arc::clone(shared);
        connection.create_scalar_function(*name, -1, FunctionFlags::SQLITE_UTF8, move |context| {
            function(&shared, &Arguments::of(context)).map_err(|error| through_sqlite(&error))
        })?;
    }
    aggregates::register(connection)
}
