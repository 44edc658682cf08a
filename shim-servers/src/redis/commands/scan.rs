//! Walks in steps: SCAN and its kin.
//!
//! Owns cursors. Must not know how values are kept. Invariant: what is there from the first step to the last is shown.

use bytes::Bytes;

use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::keyspace::place_of;
use crate::redis::numbers::{format_double, glob_matches};
use crate::redis::value::members;
use crate::redis::wire::Reply;

/// The options of a step.
struct Step {
    cursor: u64,
    count: usize,
    pattern: Option<Bytes>,
    type_name: Option<String>,
}

fn step(call: &Call, cursor: usize, with_type: bool) -> Result<Step, Stop> {
    let text = std::str::from_utf8(&call.args[cursor]).ok();
    let number = text.and_then(|text| text.parse().ok()).ok_or("ERR invalid cursor")?;
    let mut step = Step { cursor: number, count: 10, pattern: None, type_name: None };
    let mut index = cursor + 1;
    while !call.ends_at(index) {
        if call.ends_at(index + 1) {
            return Err(SYNTAX.into());
        }
        if call.is(index, "COUNT") {
            let count = call.integer(index + 1)?;
            step.count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
        } else if call.is(index, "MATCH") {
            step.pattern = Some(call.arg(index + 1));
        } else if call.is(index, "TYPE") && with_type {
            step.type_name = Some(String::from_utf8_lossy(&call.args[index + 1]).to_lowercase());
        } else {
            return Err(SYNTAX.into());
        }
        index += 2;
    }
    Ok(step)
}

impl Step {
    fn matches(&self, text: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| glob_matches(pattern, text))
    }

    /// The items of a collection that this step shows, and the next cursor. A small collection is shown at once.
    fn items<T>(&self, all: Vec<(Bytes, T)>, limit: usize) -> (u64, Vec<(Bytes, T)>) {
        if all.len() <= limit {
            return (0, all);
        }
        let mut placed: Vec<(u64, (Bytes, T))> = all
            .into_iter()
            .map(|item| (place_of(&item.0), item))
            .filter(|(at, _)| *at >= self.cursor)
            .collect();
        placed.sort_by(|first, second| (first.0, &first.1.0).cmp(&(second.0, &second.1.0)));
        let next = placed.get(self.count).map_or(0, |(at, _)| *at);
        let shown = placed.into_iter().take_while(|(at, _)| next == 0 || *at < next);
        (next, shown.map(|(_, item)| item).collect())
    }
}

fn answer(cursor: u64, items: Vec<Bytes>) -> Answer {
    Ok(Reply::Array(vec![cursor.to_string().into(), items.into_iter().collect()]))
}

pub(crate) fn scan(call: &mut Call) -> Answer {
    let step = step(call, 1, true)?;
    let database = &call.state.databases[call.at.database];
    let (next, found) = database.walk(step.cursor, step.count);
    let is_wanted = |name: &str| step.type_name.as_ref().is_none_or(|wanted| wanted == name);
    let found: Vec<Bytes> = found
        .into_iter()
        .filter(|(key, entry)| step.matches(key) && is_wanted(entry.value.type_name()))
        .map(|(key, _)| key.clone())
        .collect();
    let seen = found.into_iter().filter(|key| call.is_there(key)).collect();
    answer(next, seen)
}

pub(crate) fn sscan(call: &mut Call) -> Answer {
    let (key, step) = (call.arg(1), step(call, 2, false)?);
    let all = call.set(&key)?.map(members).unwrap_or_default();
    let (next, items) = step.items(all.into_iter().map(|member| (member, ())).collect(), 512);
    answer(next, items.into_iter().map(|(member, ())| member).filter(|member| step.matches(member)).collect())
}

pub(crate) fn hscan(call: &mut Call) -> Answer {
    let (key, step) = (call.arg(1), step(call, 2, false)?);
    let all = call.hash(&key)?.into_iter().flatten();
    let all = all.map(|(field, value)| (field.clone(), value.clone())).collect();
    let (next, items) = step.items(all, 512);
    let items = items.into_iter().filter(|(field, _)| step.matches(field));
    answer(next, items.flat_map(|(field, value)| [field, value]).collect())
}

pub(crate) fn zscan(call: &mut Call) -> Answer {
    let (key, step) = (call.arg(1), step(call, 2, false)?);
    let all: Vec<(Bytes, f64)> = match call.sorted(&key)? {
        Some(sorted) => sorted.iter().map(|(score, member)| (member.clone(), score)).collect(),
        None => Vec::new(),
    };
    let (next, items) = step.items(all, 128);
    let items = items.into_iter().filter(|(member, _)| step.matches(member));
    answer(next, items.flat_map(|(member, score)| [member, format_double(score).into()]).collect())
}
