//! Several sorted sets as one.
//!
//! Owns ZUNION, ZINTER, ZDIFF and their storing forms. Must not know ranges. Invariant: a plain set counts as one whose scores
//! are all 1.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::redis::call::{Answer, Call, SYNTAX, Stop, WRONG_TYPE};
use crate::redis::numbers::parse_double;
use crate::redis::value::{SortedSet, Value};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Combination {
    Difference,
    Intersection,
    Union,
}

/// How two scores become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Least,
    Greatest,
}

impl Aggregate {
    fn of(self, first: f64, second: f64) -> f64 {
        match self {
            Aggregate::Sum => {
                // Infinities of both signs come to nothing.
                let sum = first + second;
                if sum.is_nan() { 0.0 } else { sum }
            }
            Aggregate::Least => first.min(second),
            Aggregate::Greatest => first.max(second),
        }
    }
}

/// What a command says.
struct Request {
    keys: Vec<Bytes>,
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    limit: usize,
}

fn request(call: &Call, index: usize, how: Combination, stores: bool, counts: bool) -> Result<Request, Stop> {
    let count = call.integer(index)?;
    if count < 1 {
        let name = String::from_utf8_lossy(&call.args[0]).to_lowercase();
        return Err(format!("ERR at least 1 input key is needed for '{name}' command").into());
    }
    let end = index.saturating_add(1).saturating_add(count as usize);
    let keys = call.args.get(index + 1..end).ok_or(SYNTAX)?.to_vec();
    let weights = vec![1.0; keys.len()];
    let mut request = Request { keys, weights, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
    let mut index = end;
    while !call.ends_at(index) {
        if call.is(index, "WEIGHTS") && how != Combination::Difference && !counts {
            for weight in &mut request.weights {
                index += 1;
                let text = call.args.get(index).ok_or(SYNTAX)?;
                *weight = parse_double(text).ok_or("ERR weight value is not a float")?;
            }
        } else if call.is(index, "AGGREGATE") && how != Combination::Difference && !counts {
            index += 1;
            request.aggregate = match () {
                () if call.is(index, "SUM") => Aggregate::Sum,
                () if call.is(index, "MIN") => Aggregate::Least,
                () if call.is(index, "MAX") => Aggregate::Greatest,
                () => return Err(SYNTAX.into()),
            };
        } else if call.is(index, "WITHSCORES") && !stores && !counts {
            request.with_scores = true;
        } else if call.is(index, "LIMIT") && counts && !call.ends_at(index + 1) {
            index += 1;
            let limit = call.integer(index).ok().filter(|limit| *limit >= 0);
            request.limit = limit.ok_or("ERR LIMIT can't be negative")? as usize;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    Ok(request)
}

/// The members of a set, sorted or not.
fn scores(call: &mut Call, key: &Bytes) -> Result<BTreeMap<Bytes, f64>, Stop> {
    Ok(match call.value(key) {
        None => BTreeMap::new(),
        Some(Value::Sorted(set)) => set.iter().map(|(score, member)| (member.clone(), score)).collect(),
        Some(Value::Set(set)) => set.iter().map(|member| (member.clone(), 1.0)).collect(),
        Some(_) => return Err(WRONG_TYPE.into()),
    })
}

fn combine(call: &mut Call, request: &Request, how: Combination) -> Result<SortedSet, Stop> {
    let mut sets = Vec::new();
    for (key, weight) in request.keys.iter().zip(&request.weights) {
        let weighted = scores(call, key)?.into_iter().map(|(member, score)| {
            let score = score * weight;
            (member, if score.is_nan() { 0.0 } else { score })
        });
        sets.push(weighted.collect::<BTreeMap<Bytes, f64>>());
    }
    let mut sets = sets.into_iter();
    let mut all = sets.next().unwrap_or_default();
    for set in sets {
        match how {
            Combination::Difference => all.retain(|member, _| !set.contains_key(member)),
            Combination::Intersection => all.retain(|member, score| {
                set.get(member).is_some_and(|other| {
                    *score = request.aggregate.of(*score, *other);
                    true
                })
            }),
            Combination::Union => {
                for (member, score) in set {
                    let old = all.get(&member).copied();
                    all.insert(member, old.map_or(score, |old| request.aggregate.of(old, score)));
                }
            }
        }
    }
    Ok(all.into_iter().collect::<Vec<_>>().into())
}

fn show(call: &mut Call, how: Combination) -> Answer {
    let request = request(call, 1, how, false, false)?;
    let set = combine(call, &request, how)?;
    let members = set.iter().map(|(score, member)| (member.clone(), score)).collect();
    Ok(call.show_members(members, request.with_scores))
}

fn store(call: &mut Call, how: Combination, event: &str) -> Answer {
    let request = request(call, 2, how, true, false)?;
    let set = combine(call, &request, how)?;
    let (target, count) = (call.arg(1), set.len());
    call.put_result(&target, Value::Sorted(set), 'z', event);
    Ok(count.into())
}

pub(crate) fn zunion(call: &mut Call) -> Answer {
    show(call, Combination::Union)
}

pub(crate) fn zinter(call: &mut Call) -> Answer {
    show(call, Combination::Intersection)
}

pub(crate) fn zdiff(call: &mut Call) -> Answer {
    show(call, Combination::Difference)
}

pub(crate) fn zunionstore(call: &mut Call) -> Answer {
    store(call, Combination::Union, "zunionstore")
}

pub(crate) fn zinterstore(call: &mut Call) -> Answer {
    store(call, Combination::Intersection, "zinterstore")
}

pub(crate) fn zdiffstore(call: &mut Call) -> Answer {
    store(call, Combination::Difference, "zdiffstore")
}

pub(crate) fn zintercard(call: &mut Call) -> Answer {
    let request = request(call, 1, Combination::Intersection, false, true)?;
    let count = combine(call, &request, Combination::Intersection)?.len();
    Ok(if request.limit > 0 { count.min(request.limit) } else { count }.into())
}
