//! Sorted sets: members and their scores.
//!
//! Owns the commands on single members. Must not know ranges. Invariant: a score is never NaN.

use bytes::Bytes;

use super::hashes::choose;
use crate::redis::call::{Answer, Call, NOT_FLOAT, SYNTAX, Stop};
use crate::redis::numbers::parse_double;
use crate::redis::value::SortedSet;
use crate::redis::wire::{Protocol, Reply};

const NAN: &str = "ERR resulting score is not a number (NaN)";

/// The options of ZADD.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    only_new: bool,
    only_old: bool,
    only_greater: bool,
    only_less: bool,
    counts_changes: bool,
    adds: bool,
}

fn add_options(call: &Call) -> Result<(AddOptions, usize), Stop> {
    let mut options = AddOptions::default();
    let mut index = 2;
    loop {
        if call.is(index, "NX") {
            options.only_new = true;
        } else if call.is(index, "XX") {
            options.only_old = true;
        } else if call.is(index, "GT") {
            options.only_greater = true;
        } else if call.is(index, "LT") {
            options.only_less = true;
        } else if call.is(index, "CH") {
            options.counts_changes = true;
        } else if call.is(index, "INCR") {
            options.adds = true;
        } else {
            break;
        }
        index += 1;
    }
    let given = call.args.len() - index.min(call.args.len());
    if given == 0 || !given.is_multiple_of(2) {
        return Err(SYNTAX.into());
    }
    if options.only_new && options.only_old {
        return Err("ERR XX and NX options at the same time are not compatible".into());
    }
    let limits =
        usize::from(options.only_new) + usize::from(options.only_greater) + usize::from(options.only_less);
    if limits > 1 {
        return Err("ERR GT, LT, and/or NX options at the same time are not compatible".into());
    }
    if options.adds && given > 2 {
        return Err("ERR INCR option supports a single increment-element pair".into());
    }
    Ok((options, index))
}

/// What became of one member.
enum Added {
    Left,
    New(f64),
    Changed(f64),
    Same(f64),
}

fn add_one(set: &mut SortedSet, options: AddOptions, member: Bytes, score: f64) -> Result<Added, Stop> {
    let Some(old) = set.score(&member) else {
        if options.only_old {
            return Ok(Added::Left);
        }
        set.insert(member, score);
        return Ok(Added::New(score));
    };
    if options.only_new {
        return Ok(Added::Left);
    }
    let score = if options.adds { old + score } else { score };
    if score.is_nan() {
        return Err(NAN.into());
    }
    if (options.only_less && score >= old) || (options.only_greater && score <= old) {
        return Ok(Added::Left);
    }
    if score == old {
        return Ok(Added::Same(score));
    }
    set.insert(member, score);
    Ok(Added::Changed(score))
}

pub(crate) fn zadd(call: &mut Call) -> Answer {
    let (options, index) = add_options(call)?;
    add(call, options, index)
}

fn add(call: &mut Call, options: AddOptions, index: usize) -> Answer {
    let key = call.arg(1);
    let mut pairs = Vec::new();
    for pair in call.args_from(index).chunks(2) {
        pairs.push((parse_double(&pair[0]).ok_or(NOT_FLOAT)?, pair[1].clone()));
    }
    if call.sorted(&key)?.is_none() && options.only_old {
        return Ok(if options.adds { Reply::Null } else { 0.into() });
    }
    let set = call.sorted_or_new(&key)?;
    let (mut added, mut changed, mut result) = (0_i64, 0_i64, Reply::Null);
    for (score, member) in pairs {
        let done = match add_one(set, options, member, score) {
            Ok(done) => done,
            Err(error) => {
                call.tidy(&key);
                return Err(error);
            }
        };
        match done {
            Added::Left => {}
            Added::New(_) => added += 1,
            Added::Changed(_) => changed += 1,
            Added::Same(_) => {}
        }
        if let Added::New(score) | Added::Changed(score) | Added::Same(score) = done {
            result = Reply::Double(score);
        }
    }
    if added + changed > 0 {
        call.changed('z', if options.adds { "zincr" } else { "zadd" }, &key);
    }
    call.tidy(&key);
    if options.adds {
        return Ok(result);
    }
    Ok(if options.counts_changes { added + changed } else { added }.into())
}

pub(crate) fn zincrby(call: &mut Call) -> Answer {
    add(call, AddOptions { adds: true, ..AddOptions::default() }, 2)
}

pub(crate) fn zrem(call: &mut Call) -> Answer {
    let (key, members) = (call.arg(1), call.args_from(2));
    let Some(set) = call.sorted_mut(&key)? else { return Ok(0.into()) };
    let removed = members.iter().filter(|member| set.remove(member).is_some()).count();
    if removed > 0 {
        call.shrunk('z', "zrem", &key);
    }
    Ok(removed.into())
}

pub(crate) fn zcard(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.sorted(&key)?.map_or(0, SortedSet::len).into())
}

pub(crate) fn zscore(call: &mut Call) -> Answer {
    let (key, member) = (call.arg(1), call.arg(2));
    let score = call.sorted(&key)?.and_then(|set| set.score(&member));
    Ok(score.map_or(Reply::Null, Reply::Double))
}

pub(crate) fn zmscore(call: &mut Call) -> Answer {
    let (key, members) = (call.arg(1), call.args_from(2));
    let set = call.sorted(&key)?;
    let score = |member: &Bytes| set.and_then(|set| set.score(member)).map_or(Reply::Null, Reply::Double);
    Ok(Reply::Array(members.iter().map(score).collect()))
}

fn rank_of(call: &mut Call, from_end: bool) -> Answer {
    let (key, member) = (call.arg(1), call.arg(2));
    let Some(set) = call.sorted(&key)? else { return Ok(Reply::Null) };
    let rank = set.rank(&member);
    Ok(rank.map(|rank| if from_end { set.len() - 1 - rank } else { rank }).into())
}

pub(crate) fn zrank(call: &mut Call) -> Answer {
    rank_of(call, false)
}

pub(crate) fn zrevrank(call: &mut Call) -> Answer {
    rank_of(call, true)
}

pub(crate) fn zrandmember(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let set = call.sorted(&key)?.cloned().unwrap_or_default();
    let pairs: Vec<(Bytes, f64)> = set.iter().map(|(score, member)| (member.clone(), score)).collect();
    if call.ends_at(2) {
        let chosen = choose(&mut call.random, pairs.len(), 1);
        return Ok(chosen.first().map(|index| pairs[*index].0.clone()).into());
    }
    let count = call.integer(2)?;
    let with_scores = call.is(3, "WITHSCORES");
    if call.args.len() > 4 || (!call.ends_at(3) && !with_scores) {
        return Err(SYNTAX.into());
    }
    let chosen = choose(&mut call.random, pairs.len(), count);
    let chosen = chosen.into_iter().map(|index| pairs[index].clone()).collect();
    Ok(call.show_members(chosen, with_scores))
}

impl Call<'_> {
    /// Members, with their scores where they are wanted: in pairs in RESP3, one after the other in RESP2.
    pub(crate) fn show_members(&mut self, members: Vec<(Bytes, f64)>, with_scores: bool) -> Reply {
        if !with_scores {
            return members.into_iter().map(|(member, _)| member).collect();
        }
        let pairs = members.into_iter().map(|(member, score)| [member.into(), Reply::Double(score)]);
        let is_resp3 =
            self.state.clients.get(&self.client).is_some_and(|client| client.protocol == Protocol::Resp3);
        if is_resp3 {
            return Reply::Array(pairs.map(|pair| Reply::Array(pair.into())).collect());
        }
        Reply::Array(pairs.flatten().collect())
    }
}
