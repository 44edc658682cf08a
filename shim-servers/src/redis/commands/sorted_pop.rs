//! Taking the least or the greatest members of sorted sets, and waiting for them.
//!
//! Owns ZPOPMIN and its kin. Must not know who else waits. Invariant: a member is given to one client.

use bytes::Bytes;

use crate::redis::call::{Answer, Call, SYNTAX, Stop, wrong_arity};
use crate::redis::wire::Reply;

impl Call<'_> {
    /// Takes up to `count` members; `None` where there is no set.
    fn pop_members(
        &mut self,
        key: &Bytes,
        greatest: bool,
        count: i64,
    ) -> Result<Option<Vec<(Bytes, f64)>>, Stop> {
        let Some(set) = self.sorted_mut(key)? else { return Ok(None) };
        let own = |(score, member): (f64, &Bytes)| (member.clone(), score);
        let count = usize::try_from(count).unwrap_or(0);
        let popped: Vec<(Bytes, f64)> = match greatest {
            true => set.iter().rev().take(count).map(own).collect(),
            false => set.iter().take(count).map(own).collect(),
        };
        for (member, _) in &popped {
            set.remove(member);
        }
        if !popped.is_empty() {
            self.shrunk('z', if greatest { "zpopmax" } else { "zpopmin" }, key);
        }
        Ok(Some(popped))
    }
}

fn pop(call: &mut Call, greatest: bool) -> Answer {
    let key = call.arg(1);
    if call.args.len() > 3 {
        return Err(wrong_arity(if greatest { "zpopmax" } else { "zpopmin" }));
    }
    let has_count = !call.ends_at(2);
    let count = if has_count { call.integer(2).ok().filter(|count| *count >= 0) } else { Some(1) };
    let count = count.ok_or("ERR value is out of range, must be positive")?;
    let popped = call.pop_members(&key, greatest, count)?.unwrap_or_default();
    if !has_count {
        // Without a count, the pair is not put into an array of its own.
        let pair = |(member, score): (Bytes, f64)| [member.into(), Reply::Double(score)];
        return Ok(Reply::Array(popped.into_iter().flat_map(pair).collect()));
    }
    Ok(call.show_members(popped, true))
}

pub(crate) fn zpopmin(call: &mut Call) -> Answer {
    pop(call, false)
}

pub(crate) fn zpopmax(call: &mut Call) -> Answer {
    pop(call, true)
}

fn blocking_pop(call: &mut Call, greatest: bool) -> Answer {
    let last = call.args.len() - 1;
    let deadline = call.deadline(last)?;
    let keys = call.args[1..last].to_vec();
    for key in &keys {
        if let Some((member, score)) =
            call.pop_members(key, greatest, 1)?.and_then(|popped| popped.into_iter().next())
        {
            return Ok(Reply::Array(vec![key.clone().into(), member.into(), Reply::Double(score)]));
        }
    }
    call.wait(keys, deadline, Reply::NullArray)
}

pub(crate) fn bzpopmin(call: &mut Call) -> Answer {
    blocking_pop(call, false)
}

pub(crate) fn bzpopmax(call: &mut Call) -> Answer {
    blocking_pop(call, true)
}

fn many(call: &Call, index: usize) -> Result<(Vec<Bytes>, bool, i64), Stop> {
    let (keys, index) = call.numbered_keys(index, SYNTAX)?;
    let greatest = call.is(index, "MAX");
    if !greatest && !call.is(index, "MIN") {
        return Err(SYNTAX.into());
    }
    Ok((keys, greatest, call.pop_count(index + 1)?))
}

fn pop_many(call: &mut Call, keys: &[Bytes], greatest: bool, count: i64) -> Result<Option<Reply>, Stop> {
    for key in keys {
        if let Some(popped) = call.pop_members(key, greatest, count)? {
            let pair =
                |(member, score): (Bytes, f64)| Reply::Array(vec![member.into(), Reply::Double(score)]);
            let pairs = Reply::Array(popped.into_iter().map(pair).collect());
            return Ok(Some(Reply::Array(vec![key.clone().into(), pairs])));
        }
    }
    Ok(None)
}

pub(crate) fn zmpop(call: &mut Call) -> Answer {
    let (keys, greatest, count) = many(call, 1)?;
    Ok(pop_many(call, &keys, greatest, count)?.unwrap_or(Reply::NullArray))
}

pub(crate) fn bzmpop(call: &mut Call) -> Answer {
    let deadline = call.deadline(1)?;
    let (keys, greatest, count) = many(call, 2)?;
    match pop_many(call, &keys, greatest, count)? {
        Some(reply) => Ok(reply),
        None => call.wait(keys, deadline, Reply::NullArray),
    }
}
