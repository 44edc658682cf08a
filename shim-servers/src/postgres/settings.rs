//! Settings: `SET`, `SHOW`, and what they do.
//!
//! Owns the values of one session, and which of them a transaction gives back. Must not know messages. Invariant: a setting that this server has no
//! use for is kept and shown; one that it cannot obey is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::SERVER_VERSION;
use crate::engine::{Condition, Isolation, Result, Session, SqlError, TEMPORARY};

/// What there is from the beginning, by the name in lower case.
const DEFAULTS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("check_function_bodies", "on"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("integer_datetimes", "on"),
    ("intervalstyle", "postgres"),
    ("is_superuser", "on"),
    ("lc_collate", "C"),
    ("lc_ctype", "C.UTF-8"),
    ("lock_timeout", "0"),
    ("max_identifier_length", "63"),
    ("row_security", "on"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160004"),
    ("session_authorization", ""),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
];

/// Settings that the client is told of, by the name it knows.
const REPORTED: &[&str] = &[
    "application_name",
    "client_encoding",
    "DateStyle",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "IntervalStyle",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
    "TimeZone",
];

/// Settings that nobody can change.
const FIXED: &[&str] = &[
    "integer_datetimes",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_identifier_length",
    "server_encoding",
    "server_version",
    "server_version_num",
];

/// The settings of a session.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
    initial: BTreeMap<String, String>,
    /// What a rollback brings back.
    before: Option<BTreeMap<String, String>>,
    /// What the end of the transaction brings back, by name.
    local: BTreeMap<String, String>,
}

impl Settings {
    pub(crate) fn new(user: &str) -> Self {
        let mut values: BTreeMap<String, String> =
            DEFAULTS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        values.insert("session_authorization".to_owned(), user.to_owned());
        values.insert("in_hot_standby".to_owned(), "off".to_owned());
        Self { initial: values.clone(), values, before: None, local: BTreeMap::new() }
    }

    /// All values by name.
    pub(crate) fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// Sets one as the client's default.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.change(name, Some(value))?;
        self.initial = self.values.clone();
        Ok(())
    }

    /// What the client is told at its start, and when it changes.
    pub(crate) fn reported(&self) -> Vec<(&'static str, &str)> {
        let value =
            |name: &&'static str| self.values.get(&name.to_lowercase()).map(|value| (*name, value.as_str()));
        REPORTED.iter().filter_map(value).collect()
    }

    /// Changes a setting within or outside of a transaction.
    pub(crate) fn assign(&mut self, name: &str, value: Option<&str>, local: bool, open: bool) -> Result<()> {
        let name = name.to_lowercase();
        if open && self.before.is_none() {
            self.before = Some(self.values.clone());
        }
        let old = self.values.get(&name).cloned().unwrap_or_default();
        if local && !open {
            return Ok(());
        }
        self.change(&name, value)?;
        if local {
            self.local.entry(name).or_insert(old);
        } else {
            self.local.remove(&name);
        }
        Ok(())
    }

    /// All settings as they were at the beginning of the session.
    pub(crate) fn reset(&mut self) {
        self.values = self.initial.clone();
        self.local.clear();
    }

    fn change(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let name = name.to_lowercase();
        if FIXED.contains(&name.as_str()) {
            let message = format!("parameter \"{name}\" cannot be changed");
            return Err(SqlError::new(Condition::ObjectNotInPrerequisiteState, message));
        }
        let known = self.initial.contains_key(&name) || name.contains('.');
        if !known && !self.values.contains_key(&name) && !is_accepted(&name) {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(SqlError::new(Condition::UndefinedObject, message));
        }
        let Some(value) = value.map(str::to_owned).or_else(|| self.initial.get(&name).cloned()) else {
            self.values.remove(&name);
            return Ok(());
        };
        let value = check(&name, value)?;
        self.values.insert(name, value);
        Ok(())
    }

    /// The transaction is over: what was for it alone, or what it did, is undone.
    pub(crate) fn ended(&mut self, committed: bool) {
        let before = self.before.take();
        let local = std::mem::take(&mut self.local);
        match before {
            Some(before) if !committed => self.values = before,
            _ => self.values.extend(local),
        }
    }

    /// Makes the session obey.
    pub(crate) fn apply(&self, session: &mut Session) {
        session.lock_timeout = self.timeout("lock_timeout");
        session.statement_timeout = self.timeout("statement_timeout");
        session.idle_in_transaction_timeout = self.timeout("idle_in_transaction_session_timeout");
        session.default_read_only =
            self.values.get("default_transaction_read_only").is_some_and(|value| value == "on");
        session.default_isolation = self
            .values
            .get("default_transaction_isolation")
            .and_then(|text| isolation(text))
            .unwrap_or_default();
        let lock_timeout =
            session.lock_timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        session.shared.with(|state| {
            state.settings = self.values.clone();
            state.lock_timeout_ms = lock_timeout;
        });
    }

    fn timeout(&self, name: &str) -> Option<Duration> {
        let ms: u64 = milliseconds(self.values.get(name)?)?;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// Where names without a schema are looked for.
    pub(crate) fn search_path(&self, user: &str) -> Vec<String> {
        let text = self.values.get("search_path").map_or("public", String::as_str);
        let schemas = text.split(',').map(|part| part.trim().trim_matches(['"', '\'']));
        let schemas =
            schemas.map(|schema| if schema == "$user" { user.to_owned() } else { schema.to_owned() });
        let mut path: Vec<String> = schemas.collect();
        if !path.iter().any(|schema| schema == TEMPORARY) {
            path.insert(0, TEMPORARY.to_owned());
        }
        path
    }
}

/// Settings of PostgreSQL that have no meaning here, and are taken.
fn is_accepted(name: &str) -> bool {
    [
        "work_mem",
        "maintenance_work_mem",
        "jit",
        "geqo",
        "max_parallel_workers_per_gather",
        "temp_buffers",
        "xmloption",
    ]
    .contains(&name)
        || name.starts_with("enable_")
        || name.starts_with("log_")
        || name.starts_with("tcp_")
}

/// The isolation of a name.
pub(crate) fn isolation(text: &str) -> Option<Isolation> {
    match text.to_lowercase().as_str() {
        "read committed" | "read uncommitted" => Some(Isolation::ReadCommitted),
        "repeatable read" => Some(Isolation::RepeatableRead),
        "serializable" => Some(Isolation::Serializable),
        _ => None,
    }
}

/// The name of an isolation.
pub(crate) fn isolation_name(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::ReadCommitted => "read committed",
        Isolation::RepeatableRead | Isolation::ConsistentRead => "repeatable read",
        Isolation::Serializable => "serializable",
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(unit_at);
    let number: u64 = number.trim().parse().ok()?;
    let factor = match unit {
        "" | "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// The value as it is kept, or why it cannot be.
fn check(name: &str, value: String) -> Result<String> {
    let refuse = || {
        let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
        Err(SqlError::new(Condition::InvalidParameterValue, message))
    };
    match name {
        "timezone" => {
            let utc = ["utc", "gmt", "etc/utc", "z", "zulu", "utc0", "0", "+00:00"];
            if !utc.contains(&value.to_lowercase().as_str()) {
                return Err(SqlError::unsupported(format!("the time zone \"{value}\" (there is UTC)")));
            }
        }
        "client_encoding" if !["utf8", "utf-8", "unicode"].contains(&value.to_lowercase().as_str()) => {
            return Err(SqlError::unsupported(format!("the encoding \"{value}\" (there is UTF8)")));
        }
        "datestyle" if !value.to_lowercase().starts_with("iso") => {
            return Err(SqlError::unsupported(format!("the DateStyle \"{value}\" (there is ISO)")));
        }
        "standard_conforming_strings" if value != "on" => return refuse(),
        "lock_timeout" | "statement_timeout" | "idle_in_transaction_session_timeout"
            if milliseconds(&value).is_none() =>
        {
            return refuse();
        }
        "default_transaction_isolation" if isolation(&value).is_none() => return refuse(),
        "default_transaction_read_only" => {
            return match value.to_lowercase().as_str() {
                "on" | "true" | "yes" | "1" => Ok("on".to_owned()),
                "off" | "false" | "no" | "0" => Ok("off".to_owned()),
                _ => refuse(),
            };
        }
        _ => {}
    }
    Ok(value)
}
