//! Reading streams: XREAD and XREADGROUP, and waiting for entries.
//!
//! Owns what is new to a reader. Must not know who else waits. Invariant: an entry of a group is given to one consumer at a
//! time.

use bytes::Bytes;

use super::streams::{full_id, show};
use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::stream::{Consumer, Pending, StreamId};
use crate::redis::wire::{Protocol, Reply};

/// What a reader asks for.
struct Request {
    count: usize,
    /// Where the number of milliseconds stands.
    block: Option<usize>,
    without_acknowledging: bool,
    keys: Vec<Bytes>,
    /// Where the first name stands.
    ids_at: usize,
}

fn request(call: &Call, mut index: usize, command: &str) -> Result<Request, Stop> {
    let mut request =
        Request { count: usize::MAX, block: None, without_acknowledging: false, keys: Vec::new(), ids_at: 0 };
    let in_group = command == "XREADGROUP";
    while !call.ends_at(index) {
        if call.is(index, "BLOCK") && !call.ends_at(index + 1) {
            let ms = call.integer(index + 1).map_err(|_| "ERR timeout is not an integer or out of range")?;
            if ms < 0 {
                return Err("ERR timeout is negative".into());
            }
            request.block = Some(index + 1);
            index += 1;
        } else if call.is(index, "COUNT") && !call.ends_at(index + 1) {
            let count = call.integer(index + 1)?;
            request.count = if count <= 0 { usize::MAX } else { count as usize };
            index += 1;
        } else if call.is(index, "NOACK") && in_group {
            request.without_acknowledging = true;
        } else if call.is(index, "STREAMS") {
            let rest = call.args.len() - index - 1;
            if rest == 0 || !rest.is_multiple_of(2) {
                return Err("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
                    .into());
            }
            request.ids_at = index + 1 + rest / 2;
            request.keys = call.args[index + 1..request.ids_at].to_vec();
            return Ok(request);
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    Err(SYNTAX.into())
}

/// The answer: a map in RESP3, pairs in RESP2.
fn answer(call: &Call, found: Vec<(Bytes, Vec<Reply>)>) -> Reply {
    let client = call.state.clients.get(&call.client);
    let pairs = found.into_iter().map(|(key, entries)| (key.into(), Reply::Array(entries)));
    if client.is_some_and(|client| client.protocol == Protocol::Resp3) {
        return Reply::Map(pairs.collect());
    }
    Reply::Array(pairs.map(|(key, entries)| Reply::Array(vec![key, entries])).collect())
}

impl Call<'_> {
    fn wait_for_streams(&self, request: Request) -> Answer {
        let Some(block) = request.block else { return Ok(Reply::NullArray) };
        let ms = self.integer(block)? as u64;
        let wait = std::time::Duration::from_millis(ms);
        let deadline = (ms > 0).then(|| tokio::time::Instant::now() + wait);
        self.wait(request.keys, deadline, Reply::NullArray)
    }
}

pub(crate) fn xread(call: &mut Call) -> Answer {
    let request = request(call, 1, "XREAD")?;
    let mut found = Vec::new();
    for (number, key) in request.keys.iter().enumerate() {
        let place = request.ids_at + number;
        let last = call.stream(key)?.map_or(StreamId::ZERO, |stream| stream.last_id);
        let after = match call.args[place].as_ref() {
            b"$" => {
                // While it waits, this means what was last when it began.
                call.args[place] = last.to_string().into();
                last
            }
            b">" => {
                return Err(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                            <consumer> option."
                        .into(),
                );
            }
            text => full_id(text, 0)?,
        };
        let (Some(stream), Some(from)) = (call.stream(key)?, after.next()) else { continue };
        let entries: Vec<Reply> =
            stream.entries.range(from..).take(request.count).map(|(id, fields)| show(*id, fields)).collect();
        if !entries.is_empty() {
            found.push((key.clone(), entries));
        }
    }
    if found.is_empty() { call.wait_for_streams(request) } else { Ok(answer(call, found)) }
}

/// The error about a group that there is not.
pub(crate) fn no_group(key: &[u8], group: &[u8], tail: &str) -> Stop {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    format!("NOGROUP No such key '{key}' or consumer group '{group}'{tail}").into()
}

pub(crate) fn xreadgroup(call: &mut Call) -> Answer {
    if !call.is(1, "GROUP") {
        return Err(SYNTAX.into());
    }
    let (group, consumer) = (call.arg(2), call.arg(3));
    let request = request(call, 4, "XREADGROUP")?;
    let mut wanted = Vec::new();
    for (number, key) in request.keys.iter().enumerate() {
        if !call.stream(key)?.is_some_and(|stream| stream.groups.contains_key(&group)) {
            return Err(no_group(key, &group, " in XREADGROUP with GROUP option"));
        }
        wanted.push(match call.args[request.ids_at + number].as_ref() {
            b">" => None,
            b"$" => {
                return Err("ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history \
                            of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ \
                            ID would just return an empty result set."
                    .into());
            }
            text => Some(full_id(text, 0)?),
        });
    }
    let mut found = Vec::new();
    let mut has_history = false;
    for (key, after) in request.keys.iter().zip(wanted) {
        let entries = match after {
            Some(after) => {
                has_history = true;
                history(call, key, &group, &consumer, after, request.count)?
            }
            None => deliver(call, key, &group, &consumer, &request)?,
        };
        if after.is_some() || !entries.is_empty() {
            found.push((key.clone(), entries));
        }
    }
    if found.is_empty() && !has_history { call.wait_for_streams(request) } else { Ok(answer(call, found)) }
}

/// Entries that a consumer was given and did not acknowledge.
fn history(
    call: &mut Call,
    key: &Bytes,
    group: &Bytes,
    consumer: &Bytes,
    after: StreamId,
    count: usize,
) -> Result<Vec<Reply>, Stop> {
    let now_ms = call.at.now_ms;
    let Some(stream) = call.stream_mut(key)? else { return Ok(Vec::new()) };
    let Some(group) = stream.groups.get_mut(group) else { return Ok(Vec::new()) };
    let is_new = !group.consumers.contains_key(consumer);
    group.consumers.entry(consumer.clone()).or_default().seen_ms = now_ms;
    let Some(from) = after.next() else { return Ok(Vec::new()) };
    let own = group.pending.range(from..).filter(|(_, pending)| pending.consumer == *consumer);
    let entry = |id: &StreamId| match stream.entries.get(id) {
        Some(fields) => show(*id, fields),
        None => Reply::Array(vec![id.to_string().into(), Reply::NullArray]),
    };
    let found = own.take(count).map(|(id, _)| entry(id)).collect();
    if is_new {
        call.changes += 1;
    }
    Ok(found)
}

/// Gives new entries to a consumer.
fn deliver(
    call: &mut Call,
    key: &Bytes,
    group: &Bytes,
    consumer: &Bytes,
    request: &Request,
) -> Result<Vec<Reply>, Stop> {
    let now_ms = call.at.now_ms;
    let Some(stream) = call.stream_mut(key)? else { return Ok(Vec::new()) };
    let Some(state) = stream.groups.get(group) else { return Ok(Vec::new()) };
    let Some(from) = state.last_id.next() else { return Ok(Vec::new()) };
    let new: Vec<(StreamId, Vec<Bytes>)> =
        stream.entries.range(from..).take(request.count).map(|(id, fields)| (*id, fields.clone())).collect();
    let Some(last) = new.last().map(|(id, _)| *id) else {
        return Ok(Vec::new());
    };
    let read_before = state.entries_read.or_else(|| stream.read_until(state.last_id));
    let read = read_before.map(|read| read + new.len() as u64);
    let Some(state) = stream.groups.get_mut(group) else { return Ok(Vec::new()) };
    state.last_id = last;
    state.entries_read = read;
    state.consumers.entry(consumer.clone()).or_insert(Consumer { seen_ms: now_ms }).seen_ms = now_ms;
    if !request.without_acknowledging {
        for (id, _) in &new {
            let pending = Pending { consumer: consumer.clone(), delivered_ms: now_ms, deliveries: 1 };
            state.pending.insert(*id, pending);
        }
    }
    call.changes += 1;
    Ok(new.iter().map(|(id, fields)| show(*id, fields)).collect())
}
