//! Keys, whatever they hold.
//!
//! Owns the commands that delete, copy, rename and show keys. Must not know types of values. Invariant: a payload of DUMP is
//! refused unless it is whole.

use bytes::Bytes;

use crate::redis::call::{Answer, Call, NO_KEY, SYNTAX, wrong_arity};
use crate::redis::keyspace::{Database, Entry};
use crate::redis::numbers::{glob_matches, parse_integer};
use crate::redis::state::{DATABASES, State};
use crate::redis::value::Value;
use crate::redis::wire::Reply;

/// What a payload of our own form begins with: real Redis refuses it, as we refuse its.
const DUMP_MARK: &[u8] = b"shim\x01";

/// A value as text that [`restore`] reads.
pub(crate) fn dump(value: &Value) -> Bytes {
    let body = postcard::to_stdvec(value).expect("invariant: each value can be written");
    let mut payload = DUMP_MARK.to_vec();
    payload.extend_from_slice(&body);
    payload.extend_from_slice(&checksum(&body).to_le_bytes());
    payload.into()
}

fn undump(payload: &[u8]) -> Option<Value> {
    let (body, sum) = payload.strip_prefix(DUMP_MARK)?.split_last_chunk::<8>()?;
    if u64::from_le_bytes(*sum) != checksum(body) {
        return None;
    }
    postcard::from_bytes(body).ok()
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(crate) fn dump_command(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.value(&key).map(dump).into())
}

pub(crate) fn restore(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let (mut replaces, mut is_absolute) = (false, false);
    let mut index = 4;
    while !call.ends_at(index) {
        if call.is(index, "REPLACE") {
            replaces = true;
        } else if call.is(index, "ABSTTL") {
            is_absolute = true;
        } else if (call.is(index, "IDLETIME") || call.is(index, "FREQ")) && !call.ends_at(index + 1) {
            call.integer(index + 1)?;
            index += 1;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    if !replaces && call.is_there(&key) {
        return Err("BUSYKEY Target key name already exists.".into());
    }
    let ttl_ms = call.integer(2)?;
    if ttl_ms < 0 {
        return Err("ERR Invalid TTL value, must be >= 0".into());
    }
    let payload = call.arg(3);
    let value = undump(&payload).ok_or("ERR DUMP payload version or checksum are wrong")?;
    let base = if is_absolute { 0 } else { call.at.now_ms };
    let expires_at_ms = (ttl_ms > 0).then(|| ttl_ms.saturating_add(base));
    call.put(&key, value, expires_at_ms);
    call.changed('g', "restore", &key);
    // What should have gone already goes at once, but for a copy that somebody else decides about.
    if expires_at_ms.is_some_and(|at| at <= call.at.now_ms) {
        call.is_there(&key);
    }
    Ok(Reply::OK)
}

pub(crate) fn del(call: &mut Call) -> Answer {
    let keys = call.args_from(1);
    let mut removed = 0;
    for key in &keys {
        if call.remove(key).is_some() {
            call.changed('g', "del", key);
            removed += 1;
        }
    }
    Ok(removed.into())
}

pub(crate) fn exists(call: &mut Call) -> Answer {
    let keys = call.args_from(1);
    Ok(keys.iter().filter(|key| call.value(key).is_some()).count().into())
}

pub(crate) fn type_of(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let name = call.entry(&key).map_or("none", |entry| entry.value.type_name());
    Ok(Reply::simple(name))
}

pub(crate) fn keys(call: &mut Call) -> Answer {
    let pattern = call.arg(1);
    let now_ms = call.at.now_ms;
    let is_seen = |entry: &Entry| entry.expires_at_ms.is_none_or(|at| at > now_ms);
    let database = &call.state.databases[call.at.database];
    let found = database.iter().filter(|(key, entry)| is_seen(entry) && glob_matches(&pattern, key));
    Ok(found.map(|(key, _)| key.clone()).collect())
}

pub(crate) fn randomkey(call: &mut Call) -> Answer {
    for _ in 0..100 {
        let count = call.state.databases[call.at.database].len();
        if count == 0 {
            return Ok(Reply::Null);
        }
        let index = call.random.usize(0..count);
        let key = call.state.databases[call.at.database].key_at(index).cloned();
        if let Some(key) = key.filter(|key| call.is_there(key)) {
            return Ok(key.into());
        }
    }
    Ok(Reply::Null)
}

pub(crate) fn dbsize(call: &mut Call) -> Answer {
    Ok(call.state.databases[call.at.database].len().into())
}

fn rename_to(call: &mut Call, only_new: bool) -> Answer {
    let (from, to) = (call.arg(1), call.arg(2));
    if !call.is_there(&from) {
        return Err(NO_KEY.into());
    }
    let is_taken = call.is_there(&to);
    if from == to {
        return Ok(if only_new { 0.into() } else { Reply::OK });
    }
    if only_new && is_taken {
        return Ok(0.into());
    }
    if let Some(entry) = call.remove(&from) {
        call.state.databases[call.at.database].insert(to.clone(), entry);
    }
    call.changed('g', "rename_from", &from);
    call.changed('g', "rename_to", &to);
    Ok(if only_new { 1.into() } else { Reply::OK })
}

pub(crate) fn rename(call: &mut Call) -> Answer {
    rename_to(call, false)
}

pub(crate) fn renamenx(call: &mut Call) -> Answer {
    rename_to(call, true)
}

/// The number of a database, as an argument.
fn database(text: &[u8]) -> Option<usize> {
    usize::try_from(parse_integer(text)?).ok().filter(|number| *number < DATABASES)
}

/// Puts an entry into another database, if the key is free there or may be replaced.
fn put_elsewhere(
    call: &mut Call,
    target: usize,
    key: &Bytes,
    entry: Entry,
    replaces: bool,
    event: &str,
) -> bool {
    let own = std::mem::replace(&mut call.at.database, target);
    let is_free = replaces || !call.is_there(key);
    if is_free {
        call.state.databases[target].insert(key.clone(), entry);
        call.changed('g', event, key);
    }
    call.at.database = own;
    is_free
}

pub(crate) fn move_key(call: &mut Call) -> Answer {
    let key = call.arg(1);
    if call.state.cluster.is_some() {
        return Err("ERR MOVE is not allowed in cluster mode".into());
    }
    let target = database(&call.arg(2)).ok_or("ERR DB index is out of range")?;
    if target == call.at.database {
        return Err("ERR source and destination objects are the same".into());
    }
    let Some(entry) = call.entry(&key).cloned() else { return Ok(0.into()) };
    if !put_elsewhere(call, target, &key, entry, false, "move_to") {
        return Ok(0.into());
    }
    call.remove(&key);
    call.changed('g', "move_from", &key);
    Ok(1.into())
}

pub(crate) fn copy(call: &mut Call) -> Answer {
    let (from, to) = (call.arg(1), call.arg(2));
    let (mut target, mut replaces) = (call.at.database, false);
    let mut index = 3;
    while !call.ends_at(index) {
        if call.is(index, "REPLACE") {
            replaces = true;
        } else if call.is(index, "DB") && !call.ends_at(index + 1) {
            target = database(&call.arg(index + 1)).ok_or("ERR DB index is out of range")?;
            index += 1;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    if call.state.cluster.is_some() && target > 0 {
        return Err("ERR Copying to another database is not allowed in cluster mode".into());
    }
    if target == call.at.database && from == to {
        return Err("ERR source and destination objects are the same".into());
    }
    let Some(entry) = call.entry(&from).cloned() else { return Ok(0.into()) };
    Ok(put_elsewhere(call, target, &to, entry, replaces, "copy_to").into())
}

pub(crate) fn object(call: &mut Call) -> Answer {
    let name = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    if !matches!(name.as_str(), "encoding" | "idletime" | "refcount" | "freq") {
        return Err(crate::redis::call::unknown_subcommand("OBJECT", &call.args[1]));
    }
    if call.args.len() != 3 {
        return Err(wrong_arity(&format!("object|{name}")));
    }
    let (key, now_ms) = (call.arg(2), call.at.now_ms);
    let Some(entry) = call.entry(&key) else { return Ok(Reply::Null) };
    match name.as_str() {
        "encoding" => Ok(entry.value.encoding().into()),
        "idletime" => Ok(((now_ms - entry.used_ms) / 1000).into()),
        "refcount" => Ok(1.into()),
        _ => Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                  switching between policies at runtime LRU and LFU data will take some time to adjust."
            .into()),
    }
}

/// The option of FLUSHALL and FLUSHDB: both ways come to the same here.
fn flush_option(call: &Call) -> Result<(), crate::redis::call::Stop> {
    let is_known = call.is(1, "SYNC") || call.is(1, "ASYNC");
    if call.args.len() > 2 || (call.args.len() == 2 && !is_known) { Err(SYNTAX.into()) } else { Ok(()) }
}

pub(crate) fn flushdb(call: &mut Call) -> Answer {
    flush_option(call)?;
    let number = call.at.database;
    call.state.touch_all_watched(|state, database, key| {
        database == number && state.databases[database].find(key).is_some()
    });
    call.state.databases[number].clear();
    call.changes += 1;
    Ok(Reply::OK)
}

pub(crate) fn flushall(call: &mut Call) -> Answer {
    flush_option(call)?;
    call.state.touch_all_watched(|state, database, key| state.databases[database].find(key).is_some());
    call.state.databases.iter_mut().for_each(Database::clear);
    call.changes += 1;
    Ok(Reply::OK)
}

pub(crate) fn swapdb(call: &mut Call) -> Answer {
    if call.state.cluster.is_some() {
        return Err("ERR SWAPDB is not allowed in cluster mode".into());
    }
    let first = parse_integer(&call.args[1]).ok_or("ERR invalid first DB index")?;
    let second = parse_integer(&call.args[2]).ok_or("ERR invalid second DB index")?;
    let index = |number: i64| usize::try_from(number).ok().filter(|number| *number < DATABASES);
    let (first, second) = index(first).zip(index(second)).ok_or("ERR DB index is out of range")?;
    let exists = |state: &State, database: usize, key: &Bytes| {
        (database == first || database == second)
            && (state.databases[first].find(key).is_some() || state.databases[second].find(key).is_some())
    };
    call.state.touch_all_watched(exists);
    call.state.databases.swap(first, second);
    call.changes += 1;
    Ok(Reply::OK)
}
