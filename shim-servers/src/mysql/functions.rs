//! MySQL's functions that SQLite has not, or has otherwise. Their names begin with `my_`, and only the rewriter writes them.
//!
//! Owns their registration and what a session's functions read. Must not know statements. Invariant: time and entropy
//! are the machine's own, read once for each statement as MySQL does.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, NaiveDateTime, Timelike};
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::error::through_sqlite;
use super::temporal;
use super::types::{ColumnType, Refusal, rounded, spaced};
use crate::engine::Value;

/// What functions of a session read and write.
#[derive(Debug, Default)]
pub(super) struct SessionState {
    pub(super) connection_id: u32,
    pub(super) user: String,
    pub(super) database: String,
    /// When the statement began: microseconds since 1970.
    pub(super) statement_us: i64,
    /// What the statement that runs did.
    pub(super) done: Done,
    /// What `LAST_INSERT_ID()` says.
    pub(super) last_insert_id: i64,
    /// What `ROW_COUNT()` says.
    pub(super) row_count: i64,
    /// The names of its temporary tables.
    pub(super) temporary: std::collections::BTreeSet<String>,
}

/// What a statement did beside what SQLite counts.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// What AUTO_INCREMENT gave first, and what for the row at hand.
    first_generated: Option<i64>,
    generated: Option<i64>,
    /// What `LAST_INSERT_ID(…)` was told.
    told: Option<i64>,
    /// Rows that were there already: those that `ON DUPLICATE KEY UPDATE` changed, and those that stayed as they were.
    updated: u64,
    same: u64,
    /// The number of the last one that was changed.
    updated_id: Option<i64>,
}

impl Done {
    /// The row at hand is there already.
    fn update(&mut self, id: Option<i64>, is_changed: bool) {
        if self.generated.is_some() && self.generated == self.first_generated {
            self.first_generated = None;
        }
        if is_changed {
            self.updated += 1;
            self.updated_id = id;
        } else {
            self.same += 1;
        }
    }

    /// What MySQL counts where SQLite has changed so many rows.
    pub(super) fn affected(&self, changed: u64, counts_found: bool) -> u64 {
        let inserted = changed.saturating_sub(self.updated + self.same);
        inserted + self.updated * 2 + if counts_found { self.same } else { 0 }
    }

    /// What `LAST_INSERT_ID()` will say, if another than before.
    pub(super) fn last_insert_id(&self) -> Option<i64> {
        self.first_generated.or(self.told)
    }

    /// The number that the client is told.
    pub(super) fn number(&self) -> Option<i64> {
        self.last_insert_id().or(self.updated_id)
    }
}

/// A session's state, shared with its functions.
pub(super) type State = Arc<Mutex<SessionState>>;

impl SessionState {
    /// Under which name the numbers of a table's AUTO_INCREMENT are counted.
    pub(super) fn counter(&self, table: &str) -> String {
        if self.temporary.contains(table) {
            return format!("{}.{table} of {}", self.database, self.connection_id);
        }
        format!("{}.{table}", self.database)
    }
}

pub(super) fn with<R>(state: &State, f: impl FnOnce(&mut SessionState) -> R) -> R {
    f(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The next numbers of AUTO_INCREMENT, of all tables of a database: a rolled back number is not given again.
#[derive(Debug, Default)]
pub(super) struct Counters {
    next: Mutex<std::collections::BTreeMap<String, i64>>,
}

impl Counters {
    /// The number for a row of `table`: what the user gave, or the next one; nothing below `least` was given before.
    fn number(&self, table: &str, given: Option<i64>, least: i64) -> i64 {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next.entry(table.to_owned()).or_insert(least);
        *next = (*next).max(least);
        let number = given.filter(|given| *given != 0).unwrap_or(*next);
        *next = (*next).max(number.saturating_add(1));
        number
    }

    /// Whether it is known where a table's numbers go on.
    pub(super) fn is_known(&self, table: &str) -> bool {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).contains_key(table)
    }

    /// A table's numbers go on here, unless they are further already.
    pub(super) fn begin(&self, table: &str, next: i64) {
        let mut all = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(table.to_owned()).or_insert(next);
        *own = (*own).max(next);
    }

    /// Forgets a table, which is gone or emptied.
    pub(super) fn forget(&self, table: &str) {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }
}

type Outcome = Result<Value, Refusal>;
type Pure = fn(&[Value]) -> Outcome;

fn arguments(context: &Context<'_>) -> Vec<Value> {
    let value = |at| match context.get_raw(at) {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    };
    (0..context.len()).map(value).collect()
}

/// As MySQL turns a value into text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// As MySQL turns a value into a number: what a text begins with.
fn real(value: &Value) -> f64 {
    match value {
        Value::Integer(number) => *number as f64,
        Value::Real(number) => *number,
        other => {
            let text = text(other);
            let text = text.trim();
            let end = text.find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c))).unwrap_or(text.len());
            text[..end].parse().unwrap_or(0.0)
        }
    }
}

fn whole(value: &Value) -> i64 {
    match value {
        Value::Integer(number) => *number,
        other => real(other).round() as i64,
    }
}

/// A point in time, or NULL where the text is none.
fn at_time(value: &Value, then: impl FnOnce(NaiveDateTime) -> Option<Value>) -> Outcome {
    Ok(temporal::parse_datetime(&text(value)).and_then(then).unwrap_or(Value::Null))
}

fn padded(arguments: &[Value], is_left: bool) -> Outcome {
    let own: Vec<char> = text(&arguments[0]).chars().collect();
    let (len, with) = (whole(&arguments[1]).max(0) as usize, text(&arguments[2]));
    if own.len() >= len {
        return Ok(Value::Text(own[..len].iter().collect()));
    }
    if with.is_empty() {
        return Ok(Value::Null);
    }
    let fill: String = with.chars().cycle().take(len - own.len()).collect();
    let own: String = own.into_iter().collect();
    Ok(Value::Text(if is_left { fill + &own } else { own + &fill }))
}

/// Functions that are NULL where an argument is.
const STRICT: &[(&str, usize, Pure)] = &[
    ("my_left", 2, |a| Ok(Value::Text(text(&a[0]).chars().take(whole(&a[1]).max(0) as usize).collect()))),
    ("my_right", 2, |a| {
        let own: Vec<char> = text(&a[0]).chars().collect();
        let from = own.len().saturating_sub(whole(&a[1]).max(0) as usize);
        Ok(Value::Text(own[from..].iter().collect()))
    }),
    ("my_lpad", 3, |a| padded(a, true)),
    ("my_rpad", 3, |a| padded(a, false)),
    ("my_repeat", 2, |a| Ok(Value::Text(text(&a[0]).repeat(whole(&a[1]).clamp(0, 1 << 20) as usize)))),
    ("my_reverse", 1, |a| Ok(Value::Text(text(&a[0]).chars().rev().collect()))),
    ("my_div", 2, |a| {
        let (left, right) = (real(&a[0]), real(&a[1]));
        Ok(if right == 0.0 { Value::Null } else { Value::Integer((left / right).trunc() as i64) })
    }),
    ("my_truncate", 2, |a| {
        let scale = 10f64.powi(whole(&a[1]) as i32);
        Ok(Value::Real((real(&a[0]) * scale).trunc() / scale))
    }),
    ("my_number", 1, |a| Ok(Value::Real(real(&a[0])))),
    ("my_signed", 1, |a| Ok(Value::Integer(whole(&a[0])))),
    ("my_decimal", 2, |a| {
        let text = match &a[0] {
            Value::Text(_) | Value::Blob(_) => real(&a[0]).to_string(),
            other => text(other),
        };
        Ok(rounded(&text, whole(&a[1]).clamp(0, 30) as u16).map_or(Value::Null, Value::Text))
    }),
    ("my_date", 1, |a| at_time(&a[0], |at| Some(Value::Text(at.format("%Y-%m-%d").to_string())))),
    ("my_time", 1, |a| at_time(&a[0], |at| Some(Value::Text(at.format("%H:%M:%S").to_string())))),
    ("my_datetime", 1, |a| at_time(&a[0], |at| Some(Value::Text(temporal::stored(at))))),
    ("my_part", 2, |a| {
        let unit = text(&a[0]);
        at_time(&a[1], |at| {
            let format = match unit.as_str() {
                "YEAR" => "%Y",
                "MONTH" => "%-m",
                "DAY" => "%-d",
                "HOUR" => "%-H",
                "MINUTE" => "%-M",
                "SECOND" => "%-S",
                "DAYOFYEAR" => "%-j",
                "WEEKDAY" => "%u",
                _ => return Some(Value::Integer(i64::from(at.nanosecond() / 1000))),
            };
            let number: i64 = at.format(format).to_string().parse().ok()?;
            Some(Value::Integer(if unit == "WEEKDAY" { number - 1 } else { number }))
        })
    }),
    ("my_datediff", 2, |a| {
        let to = temporal::parse_datetime(&text(&a[1]));
        at_time(&a[0], |from| Some(Value::Integer((from.date() - to?.date()).num_days())))
    }),
    ("my_timestampdiff", 3, |a| {
        let to = temporal::parse_datetime(&text(&a[2]));
        at_time(&a[1], |from| temporal::difference(&text(&a[0]), from, to?).map(Value::Integer))
    }),
    ("my_date_move", 3, |a| {
        let (amount, unit) = (real(&a[1]), text(&a[2]));
        let is_day =
            text(&a[0]).len() == 10 && matches!(unit.as_str(), "YEAR" | "QUARTER" | "MONTH" | "WEEK" | "DAY");
        at_time(&a[0], |at| {
            let moved = temporal::moved(at, amount, &unit)?;
            let text = if is_day { moved.format("%Y-%m-%d").to_string() } else { temporal::stored(moved) };
            Some(Value::Text(text))
        })
    }),
    ("my_date_format", 2, |a| at_time(&a[0], |at| Some(Value::Text(temporal::formatted(at, &text(&a[1])))))),
    ("my_unix_of", 1, |a| at_time(&a[0], |at| Some(Value::Integer(at.and_utc().timestamp())))),
    ("my_from_unix", 1, |a| {
        let micros = (real(&a[0]) * 1e6).round() as i64;
        let at = DateTime::from_timestamp_micros(micros);
        Ok(at.map_or(Value::Null, |at| Value::Text(temporal::stored(at.naive_utc()))))
    }),
    ("my_json", 1, |a| {
        let text = text(&a[0]);
        let parsed: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        Ok(Value::Text(parsed.map_or(text, |json| spaced(&json))))
    }),
    ("my_json_unquote", 1, |a| {
        let text = text(&a[0]);
        let unquoted = serde_json::from_str::<String>(&text).ok().filter(|_| text.starts_with('"'));
        Ok(Value::Text(unquoted.unwrap_or(text)))
    }),
    ("my_hex", 1, |a| {
        let bytes = match &a[0] {
            Value::Integer(number) => return Ok(Value::Text(format!("{number:X}"))),
            Value::Blob(bytes) => bytes.clone(),
            other => text(other).into_bytes(),
        };
        Ok(Value::Text(bytes.iter().map(|byte| format!("{byte:02X}")).collect()))
    }),
];

/// Gives a connection all functions.
pub(super) fn register(
    connection: &Connection,
    state: &State,
    counters: &Arc<Counters>,
) -> rusqlite::Result<()> {
    let pure =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_collation("moment", temporal::order)?;
    for (name, count, function) in STRICT {
        connection.create_scalar_function(*name, *count as i32, pure, move |context| {
            let arguments = arguments(context);
            if arguments.contains(&Value::Null) {
                return Ok(Value::Null);
            }
            function(&arguments).map_err(through_sqlite)
        })?;
    }
    connection.create_scalar_function("my_concat", -1, pure, |context| {
        let arguments = arguments(context);
        let has_null = arguments.contains(&Value::Null);
        Ok(if has_null { Value::Null } else { Value::Text(arguments.iter().map(text).collect()) })
    })?;
    // my_store(type, column, value)
    connection.create_scalar_function("my_store", 3, pure, |context| {
        let arguments = arguments(context);
        let ty: ColumnType = serde_json::from_str(&text(&arguments[0]))
            .map_err(|error| rusqlite::Error::UserFunctionError(Box::new(error)))?;
        ty.store(arguments[2].clone(), &text(&arguments[1])).map_err(through_sqlite)
    })?;
    let plain = FunctionFlags::SQLITE_UTF8;
    // my_auto(table, given, least)
    let (own, counters) = (Arc::clone(state), Arc::clone(counters));
    connection.create_scalar_function("my_auto", 3, plain, move |context| {
        let arguments = arguments(context);
        let given = if arguments[1] == Value::Null { None } else { Some(whole(&arguments[1])) };
        let table = with(&own, |state| state.counter(&text(&arguments[0])));
        let number = counters.number(&table, given, whole(&arguments[2]));
        let is_generated = given.is_none_or(|given| given == 0);
        with(&own, |state| {
            state.done.generated = is_generated.then_some(number);
            state.done.first_generated = state.done.first_generated.or(state.done.generated);
        });
        Ok(Value::Integer(number))
    })?;
    // my_updated(value, number of the row, whether it changes)
    let own = Arc::clone(state);
    connection.create_scalar_function("my_updated", 3, plain, move |context| {
        let arguments = arguments(context);
        let id = if let Value::Integer(id) = arguments[1] { Some(id) } else { None };
        with(&own, |state| state.done.update(id, whole(&arguments[2]) != 0));
        Ok(arguments[0].clone())
    })?;
    register_session(connection, state, plain)
}

type Read = fn(&mut SessionState, &[Value]) -> Value;

/// Functions of the session.
const SESSION: &[(&str, Read)] = &[
    ("my_now", |state, a| Value::Text(now(state, a.first().map_or(0, whole)))),
    ("my_today", |state, _| Value::Text(now(state, 0)[..10].to_owned())),
    ("my_time_now", |state, _| Value::Text(now(state, 0)[11..].to_owned())),
    ("my_unix", |state, _| Value::Integer(state.statement_us / 1_000_000)),
    ("my_database", |state, _| Value::Text(state.database.clone())),
    ("my_user", |state, _| Value::Text(format!("{}@%", state.user))),
    ("my_connection_id", |state, _| Value::Integer(state.connection_id.into())),
    ("my_row_count", |state, _| Value::Integer(state.row_count)),
    ("my_last_insert_id", |state, a| {
        if let Some(value) = a.first() {
            state.last_insert_id = whole(value);
            state.done.told = Some(state.last_insert_id);
        }
        Value::Integer(state.last_insert_id)
    }),
];

fn now(state: &SessionState, digits: i64) -> String {
    let step = 10_i64.pow(6 - digits.clamp(0, 6) as u32);
    let at = DateTime::from_timestamp_micros(state.statement_us / step * step).unwrap_or_default();
    temporal::stored(at.naive_utc())
}

fn register_session(connection: &Connection, state: &State, flags: FunctionFlags) -> rusqlite::Result<()> {
    for (name, read) in SESSION {
        let state = Arc::clone(state);
        connection.create_scalar_function(*name, -1, flags, move |context| {
            let arguments = arguments(context);
            Ok(with(&state, |state| read(state, &arguments)))
        })?;
    }
    Ok(())
}
