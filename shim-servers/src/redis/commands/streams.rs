//! Streams: entries.
//!
//! Owns the commands that add, read and remove entries. Must not know groups. Invariant: an entry's name is greater than all
//! that were given before.

use bytes::Bytes;

use crate::redis::call::{Answer, Call, NO_KEY, SYNTAX, Stop, wrong_arity};
use crate::redis::stream::{Stream, StreamId};
use crate::redis::wire::Reply;

pub(crate) const BAD_ID: &str = "ERR Invalid stream ID specified as stream command argument";

/// A name that is written out.
pub(crate) fn full_id(text: &[u8], sequence: u64) -> Result<StreamId, Stop> {
    StreamId::parse(text, sequence).ok_or_else(|| BAD_ID.into())
}

/// One entry, as it is shown.
pub(crate) fn show(id: StreamId, fields: &[Bytes]) -> Reply {
    Reply::Array(vec![id.to_string().into(), fields.iter().cloned().collect()])
}

/// How a stream is cut.
#[derive(Clone, Copy)]
enum Cut {
    Length(usize),
    Id(StreamId),
}

/// How much goes, whether roughly, and how much at most.
struct Trim {
    cut: Cut,
    is_rough: bool,
    limit: Option<usize>,
}

/// Reads MAXLEN or MINID from `index` on; says where the arguments go on.
fn trim_option(call: &Call, mut index: usize) -> Result<(Trim, usize), Stop> {
    let by_length = call.is(index, "MAXLEN");
    index += 1;
    let is_rough = call.is(index, "~");
    if is_rough || call.is(index, "=") {
        index += 1;
    }
    if call.ends_at(index) {
        return Err(SYNTAX.into());
    }
    let cut = if by_length {
        let length = call.integer(index)?;
        Cut::Length(usize::try_from(length).map_err(|_| "ERR The MAXLEN argument must be >= 0.")?)
    } else {
        Cut::Id(full_id(&call.args[index], 0)?)
    };
    index += 1;
    let mut limit = None;
    if call.is(index, "LIMIT") && !call.ends_at(index + 1) {
        let given = call.integer(index + 1)?;
        limit = Some(usize::try_from(given).map_err(|_| "ERR The LIMIT argument must be >= 0.")?);
        if !is_rough {
            return Err("ERR syntax error, LIMIT cannot be used without the special ~ option".into());
        }
        index += 2;
    }
    Ok((Trim { cut, is_rough, limit }, index))
}

impl Trim {
    /// Cuts, and says how many entries went. A rough cut takes whole nodes of Redis's, of 100 entries.
    fn apply(&self, stream: &mut Stream) -> usize {
        let surplus = match self.cut {
            Cut::Length(length) => stream.entries.len().saturating_sub(length),
            Cut::Id(least) => stream.entries.range(..least).count(),
        };
        let surplus = if self.is_rough {
            let limit = self.limit.map_or(10_000, |limit| if limit == 0 { usize::MAX } else { limit });
            (surplus / 100 * 100).min(limit)
        } else {
            surplus
        };
        for _ in 0..surplus {
            stream.entries.pop_first();
        }
        surplus
    }
}

/// The name of a new entry: `*`, `ms-*`, or written out.
fn new_id(call: &Call, text: &[u8], last: StreamId, is_empty_key: bool) -> Result<StreamId, Stop> {
    let too_small = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    let exhausted = "ERR The stream has exhausted the last possible ID, unable to add more items";
    if text == b"*" {
        let now = StreamId { ms: call.at.now_ms as u64, sequence: 0 };
        return if now > last { Ok(now) } else { last.next().ok_or_else(|| exhausted.into()) };
    }
    if let Some(ms) = text.strip_suffix(b"-*") {
        let ms = full_id(ms, 0)?.ms;
        let first = u64::from(ms == 0 && (last == StreamId::ZERO || is_empty_key));
        return match ms.cmp(&last.ms) {
            std::cmp::Ordering::Less => Err(too_small.into()),
            std::cmp::Ordering::Equal if last != StreamId::ZERO => {
                let next = last.sequence.checked_add(1).ok_or(too_small)?;
                Ok(StreamId { ms, sequence: next })
            }
            _ => Ok(StreamId { ms, sequence: first }),
        };
    }
    let id = full_id(text, 0)?;
    if id <= last { Err(too_small.into()) } else { Ok(id) }
}

pub(crate) fn xadd(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let (mut only_old, mut trim) = (false, None);
    let mut index = 2;
    loop {
        if call.is(index, "NOMKSTREAM") {
            only_old = true;
            index += 1;
        } else if call.is(index, "MAXLEN") || call.is(index, "MINID") {
            let (found, next) = trim_option(call, index)?;
            trim = Some(found);
            index = next;
        } else {
            break;
        }
    }
    let id_text = call.arg(index);
    let is_automatic = id_text.as_ref() == b"*" || id_text.ends_with(b"-*");
    let is_zero = !is_automatic && !call.ends_at(index) && full_id(&id_text, 0)? == StreamId::ZERO;
    let fields = call.args_from(index + 1);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd"));
    }
    if is_zero {
        return Err("ERR The ID specified in XADD must be greater than 0-0".into());
    }
    let last = match call.stream(&key)? {
        Some(stream) => Some(stream.last_id),
        None if only_old => return Ok(Reply::Null),
        None => None,
    };
    let id = new_id(call, &id_text, last.unwrap_or_default(), last.is_none())?;
    let stream = call.stream_or_new(&key)?;
    stream.entries.insert(id, fields);
    stream.last_id = id;
    stream.entries_added += 1;
    let trimmed = trim.is_some_and(|trim| trim.apply(stream) > 0);
    call.changed('t', "xadd", &key);
    if trimmed {
        call.state.notify(call.at.database, 't', "xtrim", &key);
    }
    Ok(id.to_string().into())
}

pub(crate) fn xlen(call: &mut Call) -> Answer {
    let key = call.arg(1);
    Ok(call.stream(&key)?.map_or(0, |stream| stream.entries.len()).into())
}

/// An end of a range: `-`, `+`, a name, or one that is left out of it.
pub(crate) fn range_end(text: &[u8], is_start: bool) -> Result<StreamId, Stop> {
    match text {
        b"-" => return Ok(StreamId::ZERO),
        b"+" => return Ok(StreamId::MAX),
        _ => {}
    }
    let sequence = if is_start { 0 } else { u64::MAX };
    let Some(rest) = text.strip_prefix(b"(") else { return full_id(text, sequence) };
    let id = full_id(rest, sequence)?;
    match is_start {
        true => id.next().ok_or_else(|| "ERR invalid start ID for the interval".into()),
        false => id.previous().ok_or_else(|| "ERR invalid end ID for the interval".into()),
    }
}

fn entries(call: &mut Call, backwards: bool) -> Answer {
    let key = call.arg(1);
    let (least, most) = if backwards { (3, 2) } else { (2, 3) };
    let (start, end) = (range_end(&call.args[least], true)?, range_end(&call.args[most], false)?);
    let mut count = usize::MAX;
    if call.args.len() > 4 {
        if call.args.len() != 6 || !call.is(4, "COUNT") {
            return Err(SYNTAX.into());
        }
        count = call.integer(5)?.max(0) as usize;
    }
    let Some(stream) = call.stream(&key)? else { return Ok(Reply::Array(Vec::new())) };
    if count == 0 || start > end {
        return Ok(if count == 0 { Reply::NullArray } else { Reply::Array(Vec::new()) });
    }
    let found = stream.entries.range(start..=end).map(|(id, fields)| show(*id, fields));
    let found = if backwards { found.rev().take(count).collect() } else { found.take(count).collect() };
    Ok(Reply::Array(found))
}

pub(crate) fn xrange(call: &mut Call) -> Answer {
    entries(call, false)
}

pub(crate) fn xrevrange(call: &mut Call) -> Answer {
    entries(call, true)
}

pub(crate) fn xdel(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let ids: Result<Vec<StreamId>, Stop> = call.args_from(2).iter().map(|text| full_id(text, 0)).collect();
    let ids = ids?;
    let Some(stream) = call.stream_mut(&key)? else { return Ok(0.into()) };
    let removed = ids.into_iter().filter(|id| stream.delete(*id)).count();
    if removed > 0 {
        call.changed('t', "xdel", &key);
    }
    Ok(removed.into())
}

pub(crate) fn xtrim(call: &mut Call) -> Answer {
    let key = call.arg(1);
    if !call.is(2, "MAXLEN") && !call.is(2, "MINID") {
        return Err(SYNTAX.into());
    }
    let (trim, end) = trim_option(call, 2)?;
    if !call.ends_at(end) {
        return Err(SYNTAX.into());
    }
    let Some(stream) = call.stream_mut(&key)? else { return Ok(0.into()) };
    let removed = trim.apply(stream);
    if removed > 0 {
        call.changed('t', "xtrim", &key);
    }
    Ok(removed.into())
}

pub(crate) fn xsetid(call: &mut Call) -> Answer {
    let (key, id) = (call.arg(1), full_id(&call.args[2], 0)?);
    let (mut added, mut deleted) = (None, None);
    let mut index = 3;
    while !call.ends_at(index) {
        if call.is(index, "ENTRIESADDED") && !call.ends_at(index + 1) {
            let count = call.integer(index + 1)?;
            added = Some(u64::try_from(count).map_err(|_| "ERR entries_added must be positive")?);
        } else if call.is(index, "MAXDELETEDID") && !call.ends_at(index + 1) {
            deleted = Some(full_id(&call.args[index + 1], 0)?);
        } else {
            return Err(SYNTAX.into());
        }
        index += 2;
    }
    let stream = call.stream_mut(&key)?.ok_or(NO_KEY)?;
    if stream.entries.keys().next_back().is_some_and(|last| id < *last) {
        return Err("ERR The ID specified in XSETID is smaller than the target stream top item".into());
    }
    stream.last_id = id;
    stream.entries_added = added.unwrap_or(stream.entries_added);
    stream.max_deleted_id = deleted.unwrap_or(stream.max_deleted_id);
    call.changed('t', "xsetid", &key);
    Ok(Reply::OK)
}
