//! Sets.
//!
//! Owns the commands on members, and on several sets at once. Must not know other types. Invariant: sets of integers are shown
//! in their order.

use bytes::Bytes;
use indexmap::IndexSet;

use super::hashes::choose;
use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::value::{Value, members};
use crate::redis::wire::Reply;

pub(crate) fn sadd(call: &mut Call) -> Answer {
    let (key, new) = (call.arg(1), call.args_from(2));
    let set = call.set_or_new(&key)?;
    let added = new.into_iter().filter(|member| set.insert(member.clone())).count();
    if added > 0 {
        call.changed('s', "sadd", &key);
    }
    Ok(added.into())
}

pub(crate) fn srem(call: &mut Call) -> Answer {
    let (key, old) = (call.arg(1), call.args_from(2));
    let Some(set) = call.set_mut(&key)? else { return Ok(0.into()) };
    let removed = old.iter().filter(|member| set.shift_remove(*member)).count();
    if removed > 0 {
        call.shrunk('s', "srem", &key);
    }
    Ok(removed.into())
}

pub(crate) fn scard(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.set(&key)?.map_or(0, IndexSet::len).into())
}

pub(crate) fn sismember(call: &mut Call) -> Answer {
    let (key, member) = (call.arg(1), call.arg(2));
    Ok(call.set(&key)?.is_some_and(|set| set.contains(&member)).into())
}

pub(crate) fn smismember(call: &mut Call) -> Answer {
    let (key, wanted) = (call.arg(1), call.args_from(2));
    let set = call.set(&key)?;
    Ok(wanted.iter().map(|member| set.is_some_and(|set| set.contains(member))).collect())
}

pub(crate) fn smembers(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let found = call.set(&key)?.map(members).unwrap_or_default();
    Ok(Reply::Set(found.into_iter().map(Reply::Bulk).collect()))
}

pub(crate) fn smove(call: &mut Call) -> Answer {
    let (from, to, member) = (call.arg(1), call.arg(2), call.arg(3));
    if !call.is_there(&from) {
        return Ok(0.into());
    }
    call.set(&to)?;
    let Some(set) = call.set_mut(&from)? else { return Ok(0.into()) };
    if from == to {
        return Ok(set.contains(&member).into());
    }
    if !set.shift_remove(&member) {
        return Ok(0.into());
    }
    call.shrunk('s', "srem", &from);
    if call.set_or_new(&to)?.insert(member) {
        call.changed('s', "sadd", &to);
    }
    Ok(1.into())
}

pub(crate) fn spop(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let count = match call.ends_at(2) {
        true => None,
        false => Some(call.integer(2).ok().filter(|count| *count >= 0).ok_or(NOT_POSITIVE)?),
    };
    if call.args.len() > 3 {
        return Err(SYNTAX.into());
    }
    let set = call.set(&key)?.cloned().unwrap_or_default();
    let chosen = choose(&mut call.random, set.len(), count.unwrap_or(1));
    let popped: Vec<Bytes> = chosen.into_iter().filter_map(|index| set.get_index(index).cloned()).collect();
    if let Some(set) = call.set_mut(&key)? {
        for member in &popped {
            set.shift_remove(member);
        }
    }
    if !popped.is_empty() {
        call.shrunk('s', "spop", &key);
    }
    Ok(match count {
        None => popped.into_iter().next().into(),
        Some(_) => Reply::Set(popped.into_iter().map(Reply::Bulk).collect()),
    })
}

const NOT_POSITIVE: &str = "ERR value is out of range, must be positive";

pub(crate) fn srandmember(call: &mut Call) -> Answer {
    let key = call.arg(1);
    if call.args.len() > 3 {
        return Err(SYNTAX.into());
    }
    let count = if call.ends_at(2) { None } else { Some(call.integer(2)?) };
    let set = call.set(&key)?.cloned().unwrap_or_default();
    let chosen = choose(&mut call.random, set.len(), count.unwrap_or(1));
    let mut found = chosen.into_iter().filter_map(|index| set.get_index(index).cloned());
    Ok(match count {
        None => found.next().into(),
        Some(_) => found.collect(),
    })
}

/// How several sets become one.
#[derive(Clone, Copy)]
enum Combination {
    Difference,
    Intersection,
    Union,
}

fn combine(call: &mut Call, keys: &[Bytes], how: Combination) -> Result<IndexSet<Bytes>, Stop> {
    let mut sets = Vec::with_capacity(keys.len());
    for key in keys {
        sets.push(call.set(key)?.cloned().unwrap_or_default());
    }
    let mut sets = sets.into_iter();
    let first = sets.next().unwrap_or_default();
    Ok(sets.fold(first, |mut all, set| {
        match how {
            Combination::Difference => all.retain(|member| !set.contains(member)),
            Combination::Intersection => all.retain(|member| set.contains(member)),
            Combination::Union => all.extend(set),
        }
        all
    }))
}

fn combined(call: &mut Call, how: Combination) -> Answer {
    let keys = call.args_from(1);
    let set = combine(call, &keys, how)?;
    Ok(Reply::Set(members(&set).into_iter().map(Reply::Bulk).collect()))
}

fn combined_store(call: &mut Call, how: Combination, event: &str) -> Answer {
    let (target, keys) = (call.arg(1), call.args_from(2));
    let set = combine(call, &keys, how)?;
    let count = set.len();
    call.put_result(&target, Value::Set(set), 's', event);
    Ok(count.into())
}

pub(crate) fn sdiff(call: &mut Call) -> Answer {
    combined(call, Combination::Difference)
}

pub(crate) fn sinter(call: &mut Call) -> Answer {
    combined(call, Combination::Intersection)
}

pub(crate) fn sunion(call: &mut Call) -> Answer {
    combined(call, Combination::Union)
}

pub(crate) fn sdiffstore(call: &mut Call) -> Answer {
    combined_store(call, Combination::Difference, "sdiffstore")
}

pub(crate) fn sinterstore(call: &mut Call) -> Answer {
    combined_store(call, Combination::Intersection, "sinterstore")
}

pub(crate) fn sunionstore(call: &mut Call) -> Answer {
    combined_store(call, Combination::Union, "sunionstore")
}

pub(crate) fn sintercard(call: &mut Call) -> Answer {
    let (keys, mut index) =
        call.numbered_keys(1, "ERR Number of keys can't be greater than number of args")?;
    let mut limit = 0;
    while !call.ends_at(index) {
        if !call.is(index, "LIMIT") || call.ends_at(index + 1) {
            return Err(SYNTAX.into());
        }
        let given = call.integer(index + 1).ok().filter(|limit| *limit >= 0);
        limit = given.ok_or("ERR LIMIT can't be negative")?;
        index += 2;
    }
    let count = combine(call, &keys, Combination::Intersection)?.len();
    Ok(if limit > 0 { count.min(limit as usize) } else { count }.into())
}

impl Call<'_> {
    /// Keys behind their number, and where the arguments go on.
    pub(crate) fn numbered_keys(
        &self,
        index: usize,
        too_many: &'static str,
    ) -> Result<(Vec<Bytes>, usize), Stop> {
        let count = self.integer(index).ok().filter(|count| *count > 0);
        let count = count.ok_or("ERR numkeys should be greater than 0")?;
        let end = index.saturating_add(1).saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        let keys = self.args.get(index + 1..end);
        let keys = keys.ok_or(too_many)?;
        Ok((keys.to_vec(), end))
    }
}
