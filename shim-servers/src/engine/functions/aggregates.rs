//! Aggregates that SQLite lacks: exact sums and averages, and JSON of typed values.
//!
//! Owns their states. Must not know types beyond their codes. Invariant: an aggregate of no rows is NULL.

use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::super::error::through_sqlite;
use super::super::numeric::Numeric;

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

/// An exact sum, or the average of what was summed.
struct Sum {
    average: bool,
}

/// The sum as text, since the state may not refer to anything that unwinding could break, and the count.
type State = (Option<String>, i64);

impl Aggregate<State, Option<String>> for Sum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<State> {
        Ok((None, 0))
    }

    fn step(&self, context: &mut Context<'_>, (sum, count): &mut State) -> rusqlite::Result<()> {
        let number = match context.get_raw(0) {
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => return Ok(()),
        };
        let number = Numeric::parse(&number).map_err(|error| through_sqlite(&error))?;
        let before =
            sum.as_deref().map(Numeric::parse).transpose().map_err(|error| through_sqlite(&error))?;
        *sum = Some(before.map_or(number.clone(), |before| before.add(&number)).to_string());
        *count += 1;
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, state: Option<State>) -> rusqlite::Result<Option<String>> {
        let Some((Some(sum), count)) = state else { return Ok(None) };
        if !self.average {
            return Ok(Some(sum));
        }
        let quotient = Numeric::parse(&sum).and_then(|sum| sum.divide(&Numeric::parse(&count.to_string())?));
        quotient.map(|quotient| Some(quotient.to_string())).map_err(|error| through_sqlite(&error))
    }
}

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_aggregate_function("x_sum", 1, FLAGS, Sum { average: false })?;
    connection.create_aggregate_function("x_avg", 1, FLAGS, Sum { average: true })
}
