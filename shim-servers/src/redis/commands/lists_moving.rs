//! Lists that items move between, or that clients wait for.
//!
//! Owns the commands that take from the first list that has something. Must not know who else waits. Invariant: an item is in
//! one list, or was given to one client.

use bytes::Bytes;

use super::lists::End;
use crate::redis::call::{Answer, Call, Origin, SYNTAX, Stop};
use crate::redis::wire::Reply;

fn end(call: &Call, index: usize) -> Result<End, Stop> {
    if call.is(index, "LEFT") {
        Ok(End::Left)
    } else if call.is(index, "RIGHT") {
        Ok(End::Right)
    } else {
        Err(SYNTAX.into())
    }
}

/// Moves one item; `None` where there is none.
fn shift(call: &mut Call, from: End, to: End) -> Result<Option<Bytes>, Stop> {
    let (source, target) = (call.arg(1), call.arg(2));
    if call.list(&source)?.is_none() {
        return Ok(None);
    }
    call.list(&target)?;
    let Some(item) = call.list_mut(&source)?.and_then(|list| from.pop(list)) else { return Ok(None) };
    if source != target {
        call.shrunk('l', from.pop_event(), &source);
    }
    to.push(call.list_or_new(&target)?, item.clone());
    call.changed('l', to.push_event(), &target);
    Ok(Some(item))
}

pub(crate) fn lmove(call: &mut Call) -> Answer {
    let (from, to) = (end(call, 3)?, end(call, 4)?);
    Ok(shift(call, from, to)?.into())
}

pub(crate) fn rpoplpush(call: &mut Call) -> Answer {
    Ok(shift(call, End::Right, End::Left)?.into())
}

fn blocking_shift(call: &mut Call, from: End, to: End, timeout: usize) -> Answer {
    let deadline = call.deadline(timeout)?;
    match shift(call, from, to)? {
        Some(item) => Ok(item.into()),
        // A transaction, which cannot wait, is told otherwise than who waited in vain.
        None if call.origin != Origin::Client => Ok(Reply::Null),
        None => call.wait(vec![call.arg(1)], deadline, Reply::NullArray),
    }
}

pub(crate) fn blmove(call: &mut Call) -> Answer {
    let (from, to) = (end(call, 3)?, end(call, 4)?);
    blocking_shift(call, from, to, 5)
}

pub(crate) fn brpoplpush(call: &mut Call) -> Answer {
    blocking_shift(call, End::Right, End::Left, 3)
}

fn blocking_pop(call: &mut Call, from: End) -> Answer {
    let last = call.args.len() - 1;
    let deadline = call.deadline(last)?;
    let keys = call.args[1..last].to_vec();
    for key in &keys {
        if let Some(items) = call.pop_items(key, from, 1)? {
            return Ok([key.clone()].into_iter().chain(items).collect());
        }
    }
    call.wait(keys, deadline, Reply::NullArray)
}

pub(crate) fn blpop(call: &mut Call) -> Answer {
    blocking_pop(call, End::Left)
}

pub(crate) fn brpop(call: &mut Call) -> Answer {
    blocking_pop(call, End::Right)
}

/// The arguments of LMPOP from the number of keys on.
fn many(call: &Call, index: usize) -> Result<(Vec<Bytes>, End, i64), Stop> {
    let (keys, index) = call.numbered_keys(index, SYNTAX)?;
    let from = end(call, index)?;
    Ok((keys, from, call.pop_count(index + 1)?))
}

impl Call<'_> {
    /// The option COUNT of LMPOP and ZMPOP.
    pub(crate) fn pop_count(&self, index: usize) -> Result<i64, Stop> {
        if self.ends_at(index) {
            return Ok(1);
        }
        if !self.is(index, "COUNT") || self.args.len() != index + 2 {
            return Err(SYNTAX.into());
        }
        let count = self.integer(index + 1).ok().filter(|count| *count > 0);
        Ok(count.ok_or("ERR count should be greater than 0")?)
    }
}

fn pop_many(call: &mut Call, keys: &[Bytes], from: End, count: i64) -> Result<Option<Reply>, Stop> {
    for key in keys {
        if let Some(items) = call.pop_items(key, from, count)? {
            return Ok(Some(Reply::Array(vec![key.clone().into(), items.into_iter().collect()])));
        }
    }
    Ok(None)
}

pub(crate) fn lmpop(call: &mut Call) -> Answer {
    let (keys, from, count) = many(call, 1)?;
    Ok(pop_many(call, &keys, from, count)?.unwrap_or(Reply::NullArray))
}

pub(crate) fn blmpop(call: &mut Call) -> Answer {
    let deadline = call.deadline(1)?;
    let (keys, from, count) = many(call, 2)?;
    match pop_many(call, &keys, from, count)? {
        Some(reply) => Ok(reply),
        None => call.wait(keys, deadline, Reply::NullArray),
    }
}
