//! Strings.
//!
//! Owns the commands that read and write whole strings and numbers in them. Must not know bits. Invariant: a string that is
//! changed in place keeps its time of expiry.

use bigdecimal::BigDecimal;
use bytes::{Bytes, BytesMut};

use crate::redis::call::{Answer, Call, NOT_FLOAT, NOT_INTEGER, SYNTAX, Stop, wrong_arity};
use crate::redis::numbers::{format_decimal, parse_decimal, parse_integer, round_to_long_double};
use crate::redis::value::Value;
use crate::redis::wire::Reply;

/// The longest string.
const MAX_BYTES: i64 = 512 * 1024 * 1024;
const TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

impl Call<'_> {
    /// Gives a string new content, and leaves its time of expiry.
    pub(crate) fn rewrite(&mut self, key: &Bytes, content: impl Into<Bytes>) -> Result<(), Stop> {
        *self.string_or_new(key)? = content.into();
        Ok(())
    }

    /// A time of expiry: `unit` and `base` say what the number means.
    fn expiry(&self, index: usize, word: &str) -> Result<i64, Stop> {
        let number = self.integer(index)?;
        let command = String::from_utf8_lossy(&self.args[0]).to_lowercase();
        let invalid = || Stop::from(format!("ERR invalid expire time in '{command}' command"));
        if number <= 0 {
            return Err(invalid());
        }
        let ms = if word.starts_with('P') { Some(number) } else { number.checked_mul(1000) };
        let ms = if word.ends_with("AT") { ms } else { ms.and_then(|ms| ms.checked_add(self.at.now_ms)) };
        ms.ok_or_else(invalid)
    }
}

pub(crate) fn get(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.string(&key)?.cloned().into())
}

/// The options of SET.
#[derive(Default)]
struct SetOptions {
    only_new: bool,
    only_old: bool,
    gets: bool,
    keeps_expiry: bool,
    expires_at_ms: Option<i64>,
}

fn set_options(call: &Call) -> Result<SetOptions, Stop> {
    let mut options = SetOptions::default();
    let mut expiry = None;
    let mut index = 3;
    while !call.ends_at(index) {
        let has_expiry = expiry.is_some() || options.keeps_expiry;
        let unit = ["EX", "PX", "EXAT", "PXAT"].into_iter().find(|word| call.is(index, word));
        if call.is(index, "NX") && !options.only_old {
            options.only_new = true;
        } else if call.is(index, "XX") && !options.only_new {
            options.only_old = true;
        } else if call.is(index, "GET") {
            options.gets = true;
        } else if call.is(index, "KEEPTTL") && !has_expiry {
            options.keeps_expiry = true;
        } else if let Some(word) = unit.filter(|_| !has_expiry && !call.ends_at(index + 1)) {
            expiry = Some((index + 1, word));
            index += 1;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    // The number is read after all words were.
    options.expires_at_ms = expiry.map(|(index, word)| call.expiry(index, word)).transpose()?;
    Ok(options)
}

pub(crate) fn set(call: &mut Call) -> Answer {
    let options = set_options(call)?;
    let (key, content) = (call.arg(1), call.arg(2));
    let old = if options.gets { call.string(&key)?.cloned() } else { None };
    let is_there = call.is_there(&key);
    if (options.only_new && is_there) || (options.only_old && !is_there) {
        return Ok(if options.gets { old.into() } else { Reply::Null });
    }
    let kept =
        if options.keeps_expiry { call.entry(&key).and_then(|entry| entry.expires_at_ms) } else { None };
    store(call, &key, content, options.expires_at_ms.or(kept));
    if options.expires_at_ms.is_some() {
        call.state.notify(call.at.database, 'g', "expire", &key);
    }
    Ok(if options.gets { old.into() } else { Reply::OK })
}

/// Writes a whole string. One that should have gone already goes at once.
fn store(call: &mut Call, key: &Bytes, content: Bytes, expires_at_ms: Option<i64>) {
    call.put(key, Value::String(content), expires_at_ms);
    call.changed('$', "set", key);
    if expires_at_ms.is_some_and(|at| at <= call.at.now_ms) {
        call.state.databases[call.at.database].remove(key);
    }
}

pub(crate) fn setnx(call: &mut Call) -> Answer {
    let key = call.arg(1);
    if call.is_there(&key) {
        return Ok(0.into());
    }
    let content = call.arg(2);
    store(call, &key, content, None);
    Ok(1.into())
}

fn set_with_expiry(call: &mut Call, word: &str) -> Answer {
    let expires_at_ms = call.expiry(2, word)?;
    let (key, content) = (call.arg(1), call.arg(3));
    store(call, &key, content, Some(expires_at_ms));
    call.state.notify(call.at.database, 'g', "expire", &key);
    Ok(Reply::OK)
}

pub(crate) fn setex(call: &mut Call) -> Answer {
    set_with_expiry(call, "EX")
}

pub(crate) fn psetex(call: &mut Call) -> Answer {
    set_with_expiry(call, "PX")
}

pub(crate) fn getset(call: &mut Call) -> Answer {
    let (key, content) = (call.arg(1), call.arg(2));
    let old = call.string(&key)?.cloned();
    store(call, &key, content, None);
    Ok(old.into())
}

pub(crate) fn getdel(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let old = call.string(&key)?.cloned();
    if old.is_some() {
        call.remove(&key);
        call.changed('g', "del", &key);
    }
    Ok(old.into())
}

pub(crate) fn getex(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let mut expires_at_ms = None;
    let mut index = 2;
    while !call.ends_at(index) {
        let unit = ["EX", "PX", "EXAT", "PXAT"].into_iter().find(|word| call.is(index, word));
        if expires_at_ms.is_some() {
            return Err(SYNTAX.into());
        }
        if call.is(index, "PERSIST") {
            expires_at_ms = Some(None);
        } else if let Some(word) = unit.filter(|_| !call.ends_at(index + 1)) {
            expires_at_ms = Some(Some(call.expiry(index + 1, word)?));
            index += 1;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    let Some(content) = call.string(&key)?.cloned() else { return Ok(Reply::Null) };
    let had_expiry = call.entry(&key).is_some_and(|entry| entry.expires_at_ms.is_some());
    match expires_at_ms {
        Some(Some(at)) if at <= call.at.now_ms => {
            call.remove(&key);
            call.changed('g', "del", &key);
        }
        Some(Some(at)) => {
            call.state.databases[call.at.database].set_expiry(&key, Some(at));
            call.changed('g', "expire", &key);
        }
        Some(None) if had_expiry => {
            call.state.databases[call.at.database].set_expiry(&key, None);
            call.changed('g', "persist", &key);
        }
        _ => {}
    }
    Ok(content.into())
}

pub(crate) fn mget(call: &mut Call) -> Answer {
    let keys = call.args_from(1);
    Ok(keys.iter().map(|key| call.string(key).ok().flatten().cloned()).collect())
}

fn set_many(call: &mut Call) -> Result<(), Stop> {
    for pair in call.args_from(1).chunks(2) {
        store(call, &pair[0], pair[1].clone(), None);
    }
    Ok(())
}

pub(crate) fn mset(call: &mut Call) -> Answer {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity("mset"));
    }
    set_many(call)?;
    Ok(Reply::OK)
}

pub(crate) fn msetnx(call: &mut Call) -> Answer {
    if call.args.len().is_multiple_of(2) {
        return Err(wrong_arity("msetnx"));
    }
    let keys = call.args_from(1);
    if keys.iter().step_by(2).any(|key| call.is_there(key)) {
        return Ok(0.into());
    }
    set_many(call)?;
    Ok(1.into())
}

pub(crate) fn append(call: &mut Call) -> Answer {
    let (key, tail) = (call.arg(1), call.arg(2));
    let mut content = BytesMut::from(&call.string(&key)?.cloned().unwrap_or_default()[..]);
    if (content.len() + tail.len()) as i64 > MAX_BYTES {
        return Err(TOO_LONG.into());
    }
    content.extend_from_slice(&tail);
    let length = content.len();
    call.rewrite(&key, content)?;
    call.changed('$', "append", &key);
    Ok(length.into())
}

pub(crate) fn strlen(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.string(&key)?.map_or(0, Bytes::len).into())
}

/// A range with ends that count from the end where they are negative; `None` where nothing is in it.
pub(crate) fn range(start: i64, end: i64, length: usize) -> Option<(usize, usize)> {
    let length = length as i64;
    let from_end = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
    let start = from_end(start).max(0);
    let end = from_end(end).min(length - 1);
    (start <= end && start < length).then(|| (start as usize, end as usize + 1))
}

pub(crate) fn getrange(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let content = call.string(&key)?.cloned().unwrap_or_default();
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let length = content.len() as i64;
    // An end that is before the beginning means the first byte.
    let end = if end < 0 { (end.saturating_add(length)).max(0) } else { end };
    let found = range(start, end, content.len());
    Ok(found.map_or_else(Bytes::new, |(from, to)| content.slice(from..to)).into())
}

pub(crate) fn setrange(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let offset = call.integer(2)?;
    let patch = call.arg(3);
    if offset < 0 {
        return Err("ERR offset is out of range".into());
    }
    let old = call.string(&key)?.cloned().unwrap_or_default();
    if patch.is_empty() {
        return Ok(old.len().into());
    }
    if offset.saturating_add(patch.len() as i64) > MAX_BYTES {
        return Err(TOO_LONG.into());
    }
    let (start, end) = (offset as usize, offset as usize + patch.len());
    let mut content = old.to_vec();
    content.resize(content.len().max(end), 0);
    content[start..end].copy_from_slice(&patch);
    let length = content.len();
    call.rewrite(&key, content)?;
    call.changed('$', "setrange", &key);
    Ok(length.into())
}

fn add(call: &mut Call, step: i64) -> Answer {
    let key = call.arg(1);
    let old = match call.string(&key)? {
        Some(content) => parse_integer(content).ok_or(NOT_INTEGER)?,
        None => 0,
    };
    let sum = old.checked_add(step).ok_or("ERR increment or decrement would overflow")?;
    call.rewrite(&key, sum.to_string())?;
    call.changed('$', "incrby", &key);
    Ok(sum.into())
}

pub(crate) fn incr(call: &mut Call) -> Answer {
    add(call, 1)
}

pub(crate) fn decr(call: &mut Call) -> Answer {
    add(call, -1)
}

pub(crate) fn incrby(call: &mut Call) -> Answer {
    let step = call.integer(2)?;
    add(call, step)
}

pub(crate) fn decrby(call: &mut Call) -> Answer {
    let step = call.integer(2)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(call, step)
}

/// The sum of two decimal numbers, as the server writes it.
pub(crate) fn decimal_sum(
    old: Option<&Bytes>,
    step: &Bytes,
    not_a_number: &'static str,
) -> Result<String, Stop> {
    let old = match old {
        Some(text) => round_to_long_double(&parse_decimal(text).ok_or(not_a_number)?),
        None => BigDecimal::from(0),
    };
    let step = round_to_long_double(&parse_decimal(step).ok_or(NOT_FLOAT)?);
    Ok(format_decimal(&round_to_long_double(&(old + step))))
}

pub(crate) fn incrbyfloat(call: &mut Call) -> Answer {
    let (key, step) = (call.arg(1), call.arg(2));
    let old = call.string(&key)?.cloned();
    let sum: Bytes = decimal_sum(old.as_ref(), &step, NOT_FLOAT)?.into();
    call.rewrite(&key, sum.clone())?;
    call.changed('$', "incrbyfloat", &key);
    Ok(sum.into())
}
