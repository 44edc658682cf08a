//! Hashes.
//!
//! Owns the commands on fields. Must not know other types. Invariant: fields keep the order in which they came.

use bytes::Bytes;
use indexmap::IndexMap;

use crate::redis::call::{Answer, Call, NOT_INTEGER, SYNTAX, Stop, wrong_arity};
use crate::redis::commands::strings::decimal_sum;
use crate::redis::numbers::parse_integer;
use crate::redis::wire::{Protocol, Reply};

fn set_fields(call: &mut Call, command: &str) -> Result<usize, Stop> {
    if !call.args.len().is_multiple_of(2) {
        return Err(wrong_arity(command));
    }
    let key = call.arg(1);
    let pairs = call.args_from(2);
    let hash = call.hash_or_new(&key)?;
    let mut added = 0;
    for pair in pairs.chunks(2) {
        added += usize::from(hash.insert(pair[0].clone(), pair[1].clone()).is_none());
    }
    call.changed('h', "hset", &key);
    Ok(added)
}

pub(crate) fn hset(call: &mut Call) -> Answer {
    Ok(set_fields(call, "hset")?.into())
}

pub(crate) fn hmset(call: &mut Call) -> Answer {
    set_fields(call, "hmset")?;
    Ok(Reply::OK)
}

pub(crate) fn hsetnx(call: &mut Call) -> Answer {
    let (key, field, value) = (call.arg(1), call.arg(2), call.arg(3));
    let hash = call.hash_or_new(&key)?;
    if hash.contains_key(&field) {
        return Ok(0.into());
    }
    hash.insert(field, value);
    call.changed('h', "hset", &key);
    Ok(1.into())
}

pub(crate) fn hget(call: &mut Call) -> Answer {
    let (key, field) = (call.arg(1), call.arg(2));
    Ok(call.hash(&key)?.and_then(|hash| hash.get(&field)).cloned().into())
}

pub(crate) fn hmget(call: &mut Call) -> Answer {
    let (key, fields) = (call.arg(1), call.args_from(2));
    let hash = call.hash(&key)?;
    Ok(fields.iter().map(|field| hash.and_then(|hash| hash.get(field)).cloned()).collect())
}

pub(crate) fn hdel(call: &mut Call) -> Answer {
    let (key, fields) = (call.arg(1), call.args_from(2));
    let Some(hash) = call.hash_mut(&key)? else { return Ok(0.into()) };
    let removed = fields.iter().filter(|field| hash.shift_remove(*field).is_some()).count();
    if removed > 0 {
        call.shrunk('h', "hdel", &key);
    }
    Ok(removed.into())
}

pub(crate) fn hlen(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.hash(&key)?.map_or(0, IndexMap::len).into())
}

pub(crate) fn hstrlen(call: &mut Call) -> Answer {
    let (key, field) = (call.arg(1), call.arg(2));
    Ok(call.hash(&key)?.and_then(|hash| hash.get(&field)).map_or(0, Bytes::len).into())
}

pub(crate) fn hexists(call: &mut Call) -> Answer {
    let (key, field) = (call.arg(1), call.arg(2));
    Ok(call.hash(&key)?.is_some_and(|hash| hash.contains_key(&field)).into())
}

pub(crate) fn hkeys(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.hash(&key)?.into_iter().flat_map(IndexMap::keys).cloned().collect())
}

pub(crate) fn hvals(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.hash(&key)?.into_iter().flat_map(IndexMap::values).cloned().collect())
}

pub(crate) fn hgetall(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let pairs = call.hash(&key)?.into_iter().flatten();
    Ok(Reply::Map(pairs.map(|(field, value)| (field.clone().into(), value.clone().into())).collect()))
}

pub(crate) fn hincrby(call: &mut Call) -> Answer {
    let (key, field) = (call.arg(1), call.arg(2));
    let step = call.integer(3)?;
    let old = match call.hash(&key)?.and_then(|hash| hash.get(&field)) {
        Some(text) => parse_integer(text).ok_or("ERR hash value is not an integer")?,
        None => 0,
    };
    let sum = old.checked_add(step).ok_or("ERR increment or decrement would overflow")?;
    call.hash_or_new(&key)?.insert(field, sum.to_string().into());
    call.changed('h', "hincrby", &key);
    Ok(sum.into())
}

pub(crate) fn hincrbyfloat(call: &mut Call) -> Answer {
    let (key, field, step) = (call.arg(1), call.arg(2), call.arg(3));
    let old = call.hash(&key)?.and_then(|hash| hash.get(&field)).cloned();
    let sum: Bytes = decimal_sum(old.as_ref(), &step, "ERR hash value is not a float")?.into();
    call.hash_or_new(&key)?.insert(field, sum.clone());
    call.changed('h', "hincrbyfloat", &key);
    Ok(sum.into())
}

pub(crate) fn hrandfield(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let hash = call.hash(&key)?.cloned().unwrap_or_default();
    if call.ends_at(2) {
        if hash.is_empty() {
            return Ok(Reply::Null);
        }
        let index = call.random.usize(0..hash.len());
        return Ok(hash.get_index(index).map(|(field, _)| field.clone()).into());
    }
    let count = call.integer(2).map_err(|_| NOT_INTEGER)?;
    let with_values = call.is(3, "WITHVALUES");
    if call.args.len() > 4 || (!call.ends_at(3) && !with_values) {
        return Err(SYNTAX.into());
    }
    let chosen = choose(&mut call.random, hash.len(), count);
    let pairs = chosen.into_iter().filter_map(|index| hash.get_index(index));
    if !with_values {
        return Ok(pairs.map(|(field, _)| field.clone()).collect());
    }
    if call.client().protocol == Protocol::Resp3 {
        let pair =
            |(field, value): (&Bytes, &Bytes)| Reply::Array(vec![field.clone().into(), value.clone().into()]);
        return Ok(Reply::Array(pairs.map(pair).collect()));
    }
    Ok(pairs.flat_map(|(field, value)| [field.clone(), value.clone()]).collect())
}

/// Places out of `length`: different ones for a positive count, any for a negative one.
pub(crate) fn choose(random: &mut fastrand::Rng, length: usize, count: i64) -> Vec<usize> {
    if length == 0 {
        return Vec::new();
    }
    if count < 0 {
        return (0..count.unsigned_abs()).map(|_| random.usize(0..length)).collect();
    }
    let mut places: Vec<usize> = (0..length).collect();
    if (count as usize) < length {
        random.shuffle(&mut places);
        places.truncate(count as usize);
    }
    places
}
