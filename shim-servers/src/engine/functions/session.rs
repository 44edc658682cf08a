//! Functions that read or change the session: clocks, sequences, locks, settings.
//!
//! Owns what a statement does beside its rows. Must not touch SQLite. Invariant: time and entropy are the machine's own,
//! by the calls that every program makes; a function that waits ends when its statement is stopped.

use std::time::Duration;

use tokio::runtime::Handle;

use super::super::advisory::AdvisoryKey;
use super::super::channels::Notification;
use super::super::error::{Condition, Result, SqlError};
use super::super::session::clock_us;
use super::super::shared::{Reason, Shared};
use super::super::types::Value;
use super::{Arguments, Stateful};

pub(super) const FUNCTIONS: &[(&str, Stateful)] = &[
    ("x_now", now),
    ("x_uuid", |_, _| Ok(uuid()?.into())),
    ("x_random", |_, _| Ok(Value::Real((random()? >> 11) as f64 / (1_u64 << 53) as f64))),
    ("x_nextval", next_value),
    ("x_currval", current_value),
    ("x_lastval", last_value),
    ("x_setval", set_value),
    ("x_advisory", advisory),
    ("x_sleep", sleep),
    ("x_notify", notify),
    ("x_setting", setting),
    ("x_set_config", set_config),
    ("x_system", |shared, a| Ok(shared.system_view(a.text(0)?)?.to_string().into())),
    ("x_pid", |shared, _| Ok(Value::Integer(i64::from(shared.id)))),
    ("x_txid", |shared, _| Ok(Value::Integer(shared.transaction_number()))),
    ("x_user", |shared, _| Ok(shared.user.clone().into())),
    ("x_database", |shared, _| Ok(shared.database.name.clone().into())),
    ("x_stop", stop),
    ("x_raise", |_, a| {
        let condition = Condition::from_sqlstate(a.text(0)?).unwrap_or(Condition::InternalError);
        Err(SqlError::new(condition, a.text(1)?))
    }),
];

fn now(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    Ok(Value::Integer(match arguments.text(0)? {
        "transaction" => shared.with(|state| state.transaction_us),
        "statement" => shared.with(|state| state.statement_us),
        _ => clock_us(),
    }))
}

fn random() -> Result<u64> {
    getrandom::u64().map_err(SqlError::internal)
}

fn uuid() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(SqlError::internal)?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// The number of a sequence, from the first argument.
fn oid(arguments: &Arguments) -> Result<u32> {
    u32::try_from(arguments.integer(0)?).map_err(SqlError::internal)
}

/// `x_nextval(number of the sequence)`
fn next_value(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let oid = oid(arguments)?;
    let found = shared.with(|state| {
        if state.replaying {
            return Ok(Err(state.last_numbers.get(&oid).copied().unwrap_or(0)));
        }
        let found = state.catalog.sequences.iter().find(|(_, sequence)| sequence.oid == oid);
        found.map(|(key, sequence)| Ok((key.1.clone(), sequence.clone()))).ok_or_else(|| {
            SqlError::new(Condition::UndefinedTable, format!("could not open relation with OID {oid}"))
        })
    })?;
    let number = match found {
        Ok((name, sequence)) => shared.database.sequences.next(&name, &sequence)?,
        Err(number) => number,
    };
    shared.with(|state| {
        state.last_numbers.insert(oid, number);
        state.last_sequence = Some(oid);
        state.used.insert(oid);
    });
    Ok(Value::Integer(number))
}

fn current_value(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let oid = oid(arguments)?;
    shared.with(|state| state.last_numbers.get(&oid).copied()).map(Value::Integer).ok_or_else(|| {
        let name = arguments.text(1).unwrap_or_default();
        let message = format!("currval of sequence \"{name}\" is not yet defined in this session");
        SqlError::new(Condition::ObjectNotInPrerequisiteState, message)
    })
}

fn last_value(shared: &Shared, _: &Arguments) -> Result<Value> {
    let number =
        shared.with(|state| state.last_sequence.and_then(|oid| state.last_numbers.get(&oid).copied()));
    number.map(Value::Integer).ok_or_else(|| {
        SqlError::new(Condition::ObjectNotInPrerequisiteState, "lastval is not yet defined in this session")
    })
}

/// `x_setval(number of the sequence, value, whether it was given)`
fn set_value(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let (oid, value) = (oid(arguments)?, arguments.integer(1)?);
    let called = arguments.len() < 3 || arguments.integer(2)? != 0;
    shared.database.sequences.set(oid, value, called);
    shared.with(|state| {
        state.used.insert(oid);
        if called {
            state.last_numbers.insert(oid, value);
        }
    });
    Ok(Value::Integer(value))
}

/// `x_advisory(what, key …)`, where what is of `lock`, `try`, `unlock`, `all` with `shared` and `xact`.
fn advisory(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let what = arguments.text(0)?;
    let (locks, id) = (&shared.database.advisory, shared.id);
    if what == "all" {
        locks.release(id, false);
        return Ok(Value::Text(String::new()));
    }
    if (1..arguments.len()).any(|at| arguments.is_null(at)) {
        return Ok(Value::Null);
    }
    let key = match arguments.len() {
        2 => AdvisoryKey::One(arguments.integer(1)?),
        _ => AdvisoryKey::Two(arguments.integer(1)? as i32, arguments.integer(2)? as i32),
    };
    let (for_all, transaction) = (what.contains("shared"), what.contains("xact"));
    if what.contains("unlock") {
        return Ok(Value::Integer(i64::from(locks.unlock(id, key, for_all))));
    }
    if what.contains("try") {
        return Ok(Value::Integer(i64::from(locks.try_lock(id, key, for_all, transaction))));
    }
    let Some(granted) = locks.lock(id, key, for_all, transaction) else {
        return Ok(Value::Text(String::new()));
    };
    shared.wait_began();
    let lock_timeout = shared.with(|state| state.lock_timeout_ms).map(Duration::from_millis);
    let result = Handle::current().block_on(async {
        tokio::select! {
            biased;
            granted = granted => granted.map_err(SqlError::internal),
            reason = shared.stopped() => Err(reason.error()),
            () = limit(lock_timeout) => Err(Reason::LockTimeout.error()),
        }
    });
    shared.wait_ended();
    result.map(|()| Value::Text(String::new()))
}

async fn limit(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// `x_sleep(seconds)`
fn sleep(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let seconds = arguments.number(0)?.clamp(0.0, 1e9);
    Handle::current().block_on(async {
        tokio::select! {
            biased;
            reason = shared.stopped() => Err(reason.error()),
            () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => Ok(Value::Text(String::new())),
        }
    })
}

fn notify(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let (sender, channel) = (shared.id, arguments.text(0)?.to_owned());
    if channel.is_empty() {
        return Err(SqlError::new(Condition::InvalidParameterValue, "channel name cannot be empty"));
    }
    let payload = if arguments.is_null(1) { String::new() } else { arguments.text(1)?.to_owned() };
    shared.with(|state| {
        if !state.replaying {
            state.notifications.push(Notification { sender, channel, payload });
        }
    });
    Ok(Value::Text(String::new()))
}

/// `x_setting(name, whether a missing one is NULL)`
fn setting(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let name = arguments.text(0)?.to_lowercase();
    match shared.with(|state| state.settings.get(&name).cloned()) {
        Some(value) => Ok(value.into()),
        None if arguments.integer(1)? != 0 => Ok(Value::Null),
        None => {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            Err(SqlError::new(Condition::UndefinedObject, message))
        }
    }
}

/// `x_set_config(name, value, whether for the transaction only)`
fn set_config(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let (name, value) = (arguments.text(0)?.to_lowercase(), arguments.text(1)?.to_owned());
    let local = arguments.integer(2)? != 0;
    shared.with(|state| state.new_settings.push((name, value.clone(), local)));
    Ok(value.into())
}

/// `x_stop(kind, number of the session)`
fn stop(shared: &Shared, arguments: &Arguments) -> Result<Value> {
    let reason = if arguments.text(0)? == "terminate" { Reason::Terminate } else { Reason::UserRequest };
    let id = i32::try_from(arguments.integer(1)?).unwrap_or(0);
    let found = shared.database.cluster.upgrade().and_then(|cluster| cluster.backends.find(id));
    if let Some(found) = &found {
        found.cancel(reason);
    }
    Ok(Value::Integer(i64::from(found.is_some())))
}
