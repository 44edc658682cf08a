//! Lists, one at a time.
//!
//! Owns the commands on the items of one list. Must not know waiting. Invariant: a list that lost its last item is gone.

use std::collections::VecDeque;

use bytes::Bytes;

use super::strings::range;
use crate::redis::call::{Answer, Call, NO_KEY, SYNTAX, Stop, wrong_arity};
use crate::redis::wire::Reply;

/// An end of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Left,
    Right,
}

impl End {
    pub(crate) fn push_event(self) -> &'static str {
        if self == End::Left { "lpush" } else { "rpush" }
    }

    pub(crate) fn pop_event(self) -> &'static str {
        if self == End::Left { "lpop" } else { "rpop" }
    }

    pub(crate) fn push(self, list: &mut VecDeque<Bytes>, item: Bytes) {
        match self {
            End::Left => list.push_front(item),
            End::Right => list.push_back(item),
        }
    }

    pub(crate) fn pop(self, list: &mut VecDeque<Bytes>) -> Option<Bytes> {
        match self {
            End::Left => list.pop_front(),
            End::Right => list.pop_back(),
        }
    }
}

fn push(call: &mut Call, end: End, only_old: bool) -> Answer {
    let (key, items) = (call.arg(1), call.args_from(2));
    if only_old && call.list(&key)?.is_none() {
        return Ok(0.into());
    }
    let list = call.list_or_new(&key)?;
    items.into_iter().for_each(|item| end.push(list, item));
    let length = list.len();
    call.changed('l', end.push_event(), &key);
    Ok(length.into())
}

pub(crate) fn lpush(call: &mut Call) -> Answer {
    push(call, End::Left, false)
}

pub(crate) fn rpush(call: &mut Call) -> Answer {
    push(call, End::Right, false)
}

pub(crate) fn lpushx(call: &mut Call) -> Answer {
    push(call, End::Left, true)
}

pub(crate) fn rpushx(call: &mut Call) -> Answer {
    push(call, End::Right, true)
}

fn pop(call: &mut Call, end: End) -> Answer {
    let key = call.arg(1);
    if call.args.len() > 3 {
        return Err(wrong_arity(end.pop_event()));
    }
    let count = match call.ends_at(2) {
        true => None,
        false => {
            let count = call.integer(2).ok().filter(|count| *count >= 0);
            Some(count.ok_or("ERR value is out of range, must be positive")?)
        }
    };
    let popped = call.pop_items(&key, end, count.unwrap_or(1))?;
    Ok(match (count, popped) {
        (None, Some(items)) => items.into_iter().next().into(),
        (None, None) => Reply::Null,
        (Some(_), None) => Reply::NullArray,
        (Some(_), Some(items)) => items.into_iter().collect(),
    })
}

impl Call<'_> {
    /// Takes up to `count` items; `None` where there is no list.
    pub(crate) fn pop_items(
        &mut self,
        key: &Bytes,
        end: End,
        count: i64,
    ) -> Result<Option<Vec<Bytes>>, Stop> {
        let Some(list) = self.list_mut(key)? else { return Ok(None) };
        let popped: Vec<Bytes> = (0..count).map_while(|_| end.pop(list)).collect();
        if !popped.is_empty() {
            self.shrunk('l', end.pop_event(), key);
        }
        Ok(Some(popped))
    }
}

pub(crate) fn lpop(call: &mut Call) -> Answer {
    pop(call, End::Left)
}

pub(crate) fn rpop(call: &mut Call) -> Answer {
    pop(call, End::Right)
}

pub(crate) fn llen(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.list(&key)?.map_or(0, VecDeque::len).into())
}

/// The place that an index means.
fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index + length as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

pub(crate) fn lindex(call: &mut Call) -> Answer {
    let key = call.arg(1);
    if call.list(&key)?.is_none() {
        return Ok(Reply::Null);
    }
    let index = call.integer(2)?;
    let item = call.list(&key)?.and_then(|list| list.get(place(index, list.len())?));
    Ok(item.cloned().into())
}

pub(crate) fn lset(call: &mut Call) -> Answer {
    let (key, item) = (call.arg(1), call.arg(3));
    if call.list(&key)?.is_none() {
        return Err(NO_KEY.into());
    }
    let index = call.integer(2)?;
    let list = call.list_mut(&key)?.ok_or(NO_KEY)?;
    let length = list.len();
    let slot = place(index, length).and_then(|index| list.get_mut(index));
    *slot.ok_or("ERR index out of range")? = item;
    call.changed('l', "lset", &key);
    Ok(Reply::OK)
}

pub(crate) fn lrange(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let Some(list) = call.list(&key)? else { return Ok(Reply::Array(Vec::new())) };
    let Some((from, to)) = range(start, end, list.len()) else { return Ok(Reply::Array(Vec::new())) };
    Ok(list.range(from..to).cloned().collect())
}

pub(crate) fn ltrim(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let Some(list) = call.list_mut(&key)? else { return Ok(Reply::OK) };
    match range(start, end, list.len()) {
        Some((from, to)) => {
            list.truncate(to);
            list.drain(..from);
        }
        None => list.clear(),
    }
    call.shrunk('l', "ltrim", &key);
    Ok(Reply::OK)
}

pub(crate) fn lrem(call: &mut Call) -> Answer {
    let (key, item) = (call.arg(1), call.arg(3));
    let count = call.integer(2)?;
    let Some(list) = call.list_mut(&key)? else { return Ok(0.into()) };
    let mut left = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let before = list.len();
    let mut keep = |candidate: &Bytes| {
        let goes = left > 0 && *candidate == item;
        left -= u64::from(goes);
        !goes
    };
    if count < 0 {
        let kept: Vec<Bytes> = list.drain(..).rev().filter(|item| keep(item)).collect();
        list.extend(kept.into_iter().rev());
    } else {
        list.retain(|item| keep(item));
    }
    let removed = before - list.len();
    if removed > 0 {
        call.shrunk('l', "lrem", &key);
    }
    Ok(removed.into())
}

pub(crate) fn linsert(call: &mut Call) -> Answer {
    let behind = call.is(2, "AFTER");
    if !behind && !call.is(2, "BEFORE") {
        return Err(SYNTAX.into());
    }
    let (key, pivot, item) = (call.arg(1), call.arg(3), call.arg(4));
    let Some(list) = call.list_mut(&key)? else { return Ok(0.into()) };
    let Some(found) = list.iter().position(|candidate| *candidate == pivot) else { return Ok((-1).into()) };
    list.insert(found + usize::from(behind), item);
    let length = list.len();
    call.changed('l', "linsert", &key);
    Ok(length.into())
}

pub(crate) fn lpos(call: &mut Call) -> Answer {
    let (key, item) = (call.arg(1), call.arg(2));
    let (mut rank, mut count, mut most) = (1_i64, None, 0);
    let mut index = 3;
    while !call.ends_at(index) {
        if call.ends_at(index + 1) {
            return Err(SYNTAX.into());
        }
        let not_negative =
            |error: &'static str| call.integer(index + 1).ok().filter(|n| *n >= 0).ok_or(Stop::from(error));
        if call.is(index, "RANK") {
            rank = call.integer(index + 1)?;
            if rank == 0 {
                return Err(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                            or use negative to start from the end of the list"
                        .into(),
                );
            }
        } else if call.is(index, "COUNT") {
            count = Some(not_negative("ERR COUNT can't be negative")?);
        } else if call.is(index, "MAXLEN") {
            most = not_negative("ERR MAXLEN can't be negative")?;
        } else {
            return Err(SYNTAX.into());
        }
        index += 2;
    }
    let list = call.list(&key)?.cloned().unwrap_or_default();
    let most = if most == 0 { usize::MAX } else { most as usize };
    let wanted = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count as usize,
    };
    let skipped = rank.unsigned_abs() as usize - 1;
    let matching = |(_, candidate): &(usize, &Bytes)| **candidate == item;
    let places: Vec<usize> = if rank > 0 {
        let all = list.iter().enumerate().take(most).filter(matching);
        all.map(|(place, _)| place).skip(skipped).take(wanted).collect()
    } else {
        let all = list.iter().enumerate().rev().take(most).filter(matching);
        all.map(|(place, _)| place).skip(skipped).take(wanted).collect()
    };
    Ok(match count {
        None => places.into_iter().next().into(),
        Some(_) => places.into_iter().collect(),
    })
}
