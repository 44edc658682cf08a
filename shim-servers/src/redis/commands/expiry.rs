//! Times of expiry.
//!
//! Owns EXPIRE, TTL and their kin. Must not know types of values. Invariant: a time that is over takes the key away at once.

use crate::redis::call::{Answer, Call, Stop};
use crate::redis::wire::Reply;

/// A command of this family: is its number in seconds, does it count from now?
#[derive(Clone, Copy)]
struct Form {
    unit_ms: i64,
    is_absolute: bool,
    name: &'static str,
}

/// Under which conditions the time is set.
#[derive(Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

fn conditions(call: &Call) -> Result<Conditions, Stop> {
    let mut found = Conditions::default();
    for index in 3..call.args.len() {
        if call.is(index, "NX") {
            found.only_without = true;
        } else if call.is(index, "XX") {
            found.only_with = true;
        } else if call.is(index, "GT") {
            found.only_later = true;
        } else if call.is(index, "LT") {
            found.only_earlier = true;
        } else {
            let option = String::from_utf8_lossy(&call.args[index]).into_owned();
            return Err(format!("ERR Unsupported option {option}").into());
        }
    }
    if found.only_without && (found.only_with || found.only_later || found.only_earlier) {
        return Err("ERR NX and XX, GT or LT options at the same time are not compatible".into());
    }
    if found.only_later && found.only_earlier {
        return Err("ERR GT and LT options at the same time are not compatible".into());
    }
    Ok(found)
}

fn set_expiry(call: &mut Call, form: Form) -> Answer {
    let key = call.arg(1);
    let conditions = conditions(call)?;
    let number = call.integer(2)?;
    let base = if form.is_absolute { 0 } else { call.at.now_ms };
    let at_ms = number.checked_mul(form.unit_ms).and_then(|ms| ms.checked_add(base));
    let at_ms =
        at_ms.ok_or_else(|| Stop::from(format!("ERR invalid expire time in '{}' command", form.name)))?;
    let Some(old) = call.entry(&key).map(|entry| entry.expires_at_ms) else { return Ok(0.into()) };
    let is_refused = (conditions.only_without && old.is_some())
        || (conditions.only_with && old.is_none())
        || (conditions.only_later && old.is_none_or(|old| at_ms <= old))
        || (conditions.only_earlier && old.is_some_and(|old| at_ms >= old));
    if is_refused {
        return Ok(0.into());
    }
    if at_ms <= call.at.now_ms {
        call.remove(&key);
        call.changed('g', "del", &key);
    } else {
        call.state.databases[call.at.database].set_expiry(&key, Some(at_ms));
        call.changed('g', "expire", &key);
    }
    Ok(1.into())
}

pub(crate) fn expire(call: &mut Call) -> Answer {
    set_expiry(call, Form { unit_ms: 1000, is_absolute: false, name: "expire" })
}

pub(crate) fn pexpire(call: &mut Call) -> Answer {
    set_expiry(call, Form { unit_ms: 1, is_absolute: false, name: "pexpire" })
}

pub(crate) fn expireat(call: &mut Call) -> Answer {
    set_expiry(call, Form { unit_ms: 1000, is_absolute: true, name: "expireat" })
}

pub(crate) fn pexpireat(call: &mut Call) -> Answer {
    set_expiry(call, Form { unit_ms: 1, is_absolute: true, name: "pexpireat" })
}

/// When a key goes: -2 for no key, -1 for never.
fn remaining(call: &mut Call, unit_ms: i64, is_absolute: bool) -> Answer {
    let key = call.arg(1);
    let now_ms = call.at.now_ms;
    let number = match call.entry(&key).map(|entry| entry.expires_at_ms) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let ms = if is_absolute { at } else { (at - now_ms).max(0) };
            // Half a second and more is a second, as TTL has it.
            if unit_ms > 1 { (ms + unit_ms / 2) / unit_ms } else { ms }
        }
    };
    Ok(Reply::Integer(number))
}

pub(crate) fn ttl(call: &mut Call) -> Answer {
    remaining(call, 1000, false)
}

pub(crate) fn pttl(call: &mut Call) -> Answer {
    remaining(call, 1, false)
}

pub(crate) fn expiretime(call: &mut Call) -> Answer {
    remaining(call, 1000, true)
}

pub(crate) fn pexpiretime(call: &mut Call) -> Answer {
    remaining(call, 1, true)
}

pub(crate) fn persist(call: &mut Call) -> Answer {
    let key = call.arg(1);
    if call.entry(&key).is_none_or(|entry| entry.expires_at_ms.is_none()) {
        return Ok(0.into());
    }
    call.state.databases[call.at.database].set_expiry(&key, None);
    call.changed('g', "persist", &key);
    Ok(1.into())
}
