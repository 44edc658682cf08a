//! Ranges of sorted sets: by rank, by score, by member.
//!
//! Owns what a range means and the commands that read, keep or remove one. Must not know single members. Invariant: a range is
//! taken in the order of the set, and turned round afterwards.

use bytes::Bytes;

use super::strings::range;
use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::numbers::parse_double;
use crate::redis::value::{SortedSet, Value};

/// What is in a range.
#[derive(Clone, Debug)]
enum Range {
    Rank(i64, i64),
    Score(Limit<f64>, Limit<f64>),
    Member(Edge, Edge),
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug)]
struct Limit<T> {
    value: T,
    is_open: bool,
}

/// One end of a range of members.
#[derive(Clone, Debug)]
enum Edge {
    Least,
    Most,
    At(Limit<Box<[u8]>>),
}

fn limit(text: &[u8]) -> Result<Limit<f64>, Stop> {
    let (is_open, number) = match text {
        [b'(', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let value = parse_double(number).ok_or("ERR min or max is not a float")?;
    Ok(Limit { value, is_open })
}

fn edge(text: &[u8]) -> Result<Edge, Stop> {
    match text {
        b"-" => Ok(Edge::Least),
        b"+" => Ok(Edge::Most),
        [b'(', rest @ ..] => Ok(Edge::At(Limit { value: rest.into(), is_open: true })),
        [b'[', rest @ ..] => Ok(Edge::At(Limit { value: rest.into(), is_open: false })),
        _ => Err("ERR min or max not valid string range item".into()),
    }
}

impl Range {
    fn scores(least: &[u8], most: &[u8]) -> Result<Range, Stop> {
        Ok(Range::Score(limit(least)?, limit(most)?))
    }

    fn members(least: &[u8], most: &[u8]) -> Result<Range, Stop> {
        Ok(Range::Member(edge(least)?, edge(most)?))
    }

    /// What is in the range, the smallest first; ranks count from the end of a set that is read backwards.
    fn take(&self, set: &SortedSet, from_end: bool) -> Vec<(Bytes, f64)> {
        let all = set.iter().map(|(score, member)| (member.clone(), score));
        match self {
            Range::Rank(start, end) => {
                let Some((from, to)) = range(*start, *end, set.len()) else { return Vec::new() };
                let (from, to) = if from_end { (set.len() - to, set.len() - from) } else { (from, to) };
                all.skip(from).take(to - from).collect()
            }
            Range::Score(least, most) => all
                .skip_while(|(_, score)| *score < least.value || (least.is_open && *score == least.value))
                .take_while(|(_, score)| *score < most.value || (!most.is_open && *score == most.value))
                .collect(),
            Range::Member(least, most) => {
                // Meant for sets whose scores are all the same; in another one it ends where the order breaks.
                let is_in_reach = set.iter().next_back().is_some_and(|(_, last)| least.is_below(last))
                    && set.iter().next().is_some_and(|(_, first)| most.is_above(first));
                let all = all.take_while(|_| is_in_reach).skip_while(|(member, _)| !least.is_below(member));
                all.take_while(|(member, _)| most.is_above(member)).collect()
            }
        }
    }
}

impl Edge {
    fn is_below(&self, member: &[u8]) -> bool {
        match self {
            Edge::Least => true,
            Edge::Most => false,
            Edge::At(limit) => *member > *limit.value || (!limit.is_open && *member == *limit.value),
        }
    }

    fn is_above(&self, member: &[u8]) -> bool {
        match self {
            Edge::Least => false,
            Edge::Most => true,
            Edge::At(limit) => *member < *limit.value || (!limit.is_open && *member == *limit.value),
        }
    }
}

/// A command that reads a range.
#[derive(Clone, Copy, Eq, PartialEq)]
enum By {
    /// The options say.
    Options,
    Rank,
    Score,
    Member,
}

/// The options of a range.
struct Options {
    by: By,
    from_end: bool,
    with_scores: bool,
    skip: i64,
    limit: i64,
}

fn options(call: &Call, mut index: usize, by: By, from_end: bool, stores: bool) -> Result<Options, Stop> {
    let is_free = by == By::Options;
    let mut options = Options { by, from_end, with_scores: false, skip: 0, limit: -1 };
    let mut has_limit = false;
    while !call.ends_at(index) {
        if call.is(index, "WITHSCORES") && !stores {
            options.with_scores = true;
        } else if call.is(index, "LIMIT") && !call.ends_at(index + 2) {
            has_limit = true;
            options.skip = call.integer(index + 1)?;
            options.limit = call.integer(index + 2)?;
            index += 2;
        } else if call.is(index, "BYSCORE") && is_free {
            options.by = By::Score;
        } else if call.is(index, "BYLEX") && is_free {
            options.by = By::Member;
        } else if call.is(index, "REV") && is_free {
            options.from_end = true;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    if options.by == By::Options {
        options.by = By::Rank;
    }
    if has_limit && options.by == By::Rank {
        return Err(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into()
        );
    }
    if options.with_scores && options.by == By::Member {
        return Err("ERR syntax error, WITHSCORES not supported in combination with BYLEX".into());
    }
    Ok(options)
}

/// The members that a command means; its key is argument `at`.
fn selected(
    call: &mut Call,
    at: usize,
    by: By,
    from_end: bool,
    stores: bool,
) -> Result<(Vec<(Bytes, f64)>, bool), Stop> {
    let options = options(call, at + 3, by, from_end, stores)?;
    let (first, second) = (call.arg(at + 1), call.arg(at + 2));
    let (least, most) = if options.from_end { (&second, &first) } else { (&first, &second) };
    let range = match options.by {
        By::Score => Range::scores(least, most)?,
        By::Member => Range::members(least, most)?,
        _ => Range::Rank(call.integer(at + 1)?, call.integer(at + 2)?),
    };
    let key = call.arg(at);
    let Some(set) = call.sorted(&key)? else { return Ok((Vec::new(), options.with_scores)) };
    let mut found = range.take(set, options.from_end);
    if options.from_end {
        found.reverse();
    }
    if options.skip < 0 {
        found.clear();
    }
    let skipped = found.into_iter().skip(usize::try_from(options.skip).unwrap_or(0));
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    Ok((skipped.take(limit).collect(), options.with_scores))
}

fn read(call: &mut Call, by: By, from_end: bool) -> Answer {
    let (found, with_scores) = selected(call, 1, by, from_end, false)?;
    Ok(call.show_members(found, with_scores))
}

pub(crate) fn zrange(call: &mut Call) -> Answer {
    read(call, By::Options, false)
}

pub(crate) fn zrevrange(call: &mut Call) -> Answer {
    read(call, By::Rank, true)
}

pub(crate) fn zrangebyscore(call: &mut Call) -> Answer {
    read(call, By::Score, false)
}

pub(crate) fn zrevrangebyscore(call: &mut Call) -> Answer {
    read(call, By::Score, true)
}

pub(crate) fn zrangebylex(call: &mut Call) -> Answer {
    read(call, By::Member, false)
}

pub(crate) fn zrevrangebylex(call: &mut Call) -> Answer {
    read(call, By::Member, true)
}

pub(crate) fn zrangestore(call: &mut Call) -> Answer {
    let target = call.arg(1);
    let (found, _) = selected(call, 2, By::Options, false, true)?;
    let count = found.len();
    call.put_result(&target, Value::Sorted(found.into()), 'z', "zrangestore");
    Ok(count.into())
}

fn count(call: &mut Call, range: &Range) -> Answer {
    let key = call.arg(1);
    Ok(call.sorted(&key)?.map_or(0, |set| range.take(set, false).len()).into())
}

pub(crate) fn zcount(call: &mut Call) -> Answer {
    let range = Range::scores(&call.args[2], &call.args[3])?;
    count(call, &range)
}

pub(crate) fn zlexcount(call: &mut Call) -> Answer {
    let range = Range::members(&call.args[2], &call.args[3])?;
    count(call, &range)
}

fn remove(call: &mut Call, range: &Range, event: &str) -> Answer {
    let key = call.arg(1);
    let Some(set) = call.sorted_mut(&key)? else { return Ok(0.into()) };
    let found = range.take(set, false);
    for (member, _) in &found {
        set.remove(member);
    }
    if !found.is_empty() {
        call.shrunk('z', event, &key);
    }
    Ok(found.len().into())
}

pub(crate) fn zremrangebyrank(call: &mut Call) -> Answer {
    let range = Range::Rank(call.integer(2)?, call.integer(3)?);
    remove(call, &range, "zremrangebyrank")
}

pub(crate) fn zremrangebyscore(call: &mut Call) -> Answer {
    let range = Range::scores(&call.args[2], &call.args[3])?;
    remove(call, &range, "zremrangebyscore")
}

pub(crate) fn zremrangebylex(call: &mut Call) -> Answer {
    let range = Range::members(&call.args[2], &call.args[3])?;
    remove(call, &range, "zremrangebylex")
}
