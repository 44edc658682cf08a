//! Groups of consumers.
//!
//! Owns XGROUP, XACK, XPENDING, XCLAIM and XAUTOCLAIM. Must not know reading. Invariant: an entry that is pending belongs to a
//! consumer that is there.

use bytes::Bytes;

use super::stream_read::no_group;
use super::streams::{full_id, range_end, show};
use crate::redis::call::{Answer, Call, SYNTAX, Stop, unknown_subcommand, wrong_arity};
use crate::redis::stream::{Consumer, Group, Pending, Stream, StreamId};
use crate::redis::wire::Reply;

const NO_STREAM: &str = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                         the MKSTREAM option to create an empty stream automatically.";

pub(crate) fn xgroup(call: &mut Call) -> Answer {
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    let arity = match subcommand.as_str() {
        "create" => 5..=8,
        "setid" => 5..=7,
        "destroy" => 4..=4,
        "createconsumer" | "delconsumer" => 5..=5,
        _ => return Err(unknown_subcommand("XGROUP", &call.args[1])),
    };
    if !arity.contains(&call.args.len()) {
        return Err(wrong_arity(&format!("xgroup|{subcommand}")));
    }
    match subcommand.as_str() {
        "create" => create(call),
        "setid" => set_id(call),
        "destroy" => destroy(call),
        "createconsumer" => create_consumer(call),
        _ => delete_consumer(call),
    }
}

/// Where a group begins, and what it has read by then.
fn start(
    call: &Call,
    mut index: usize,
    stream: &Stream,
    makes: bool,
) -> Result<(StreamId, Option<u64>, bool), Stop> {
    let id = match call.args[index].as_ref() {
        b"$" => stream.last_id,
        text => full_id(text, 0)?,
    };
    let (mut makes_stream, mut read) = (false, None);
    index += 1;
    while !call.ends_at(index) {
        if makes && call.is(index, "MKSTREAM") {
            makes_stream = true;
            index += 1;
        } else if call.is(index, "ENTRIESREAD") && !call.ends_at(index + 1) {
            let count = call.integer(index + 1)?;
            if count < -1 {
                return Err("ERR value for ENTRIESREAD must be positive or -1".into());
            }
            read = u64::try_from(count).ok();
            index += 2;
        } else {
            let subcommand = String::from_utf8_lossy(&call.args[1]).into_owned();
            return Err(format!(
                "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try XGROUP HELP."
            )
            .into());
        }
    }
    Ok((id, read, makes_stream))
}

fn create(call: &mut Call) -> Answer {
    let (key, name) = (call.arg(2), call.arg(3));
    let old = call.stream(&key)?.cloned();
    let is_there = old.is_some();
    let (last_id, entries_read, makes_stream) = start(call, 4, &old.unwrap_or_default(), true)?;
    if !is_there && !makes_stream {
        return Err(NO_STREAM.into());
    }
    let stream = call.stream_or_new(&key)?;
    if stream.groups.contains_key(&name) {
        return Err("BUSYGROUP Consumer Group name already exists".into());
    }
    stream.groups.insert(name, Group { last_id, entries_read, ..Group::default() });
    if is_there {
        call.groups_changed("xgroup-create", &key);
    } else {
        call.changed('t', "xgroup-create", &key);
    }
    Ok(Reply::OK)
}

/// The group of a subcommand of XGROUP.
fn group<'a>(call: &'a mut Call, key: &Bytes, name: &Bytes) -> Result<&'a mut Group, Stop> {
    let stream = call.stream_mut(key)?.ok_or(NO_STREAM)?;
    stream.groups.get_mut(name).ok_or_else(|| {
        let (key, name) = (String::from_utf8_lossy(key), String::from_utf8_lossy(name));
        format!("NOGROUP No such consumer group '{name}' for key name '{key}'").into()
    })
}

fn set_id(call: &mut Call) -> Answer {
    let (key, name) = (call.arg(2), call.arg(3));
    group(call, &key, &name)?;
    let stream = call.stream(&key)?.cloned().unwrap_or_default();
    let (last_id, entries_read, _) = start(call, 4, &stream, false)?;
    let group = group(call, &key, &name)?;
    group.last_id = last_id;
    group.entries_read = entries_read;
    call.groups_changed("xgroup-setid", &key);
    Ok(Reply::OK)
}

fn destroy(call: &mut Call) -> Answer {
    let (key, name) = (call.arg(2), call.arg(3));
    let stream = call.stream_mut(&key)?.ok_or(NO_STREAM)?;
    if stream.groups.remove(&name).is_none() {
        return Ok(0.into());
    }
    call.groups_changed("xgroup-destroy", &key);
    Ok(1.into())
}

fn create_consumer(call: &mut Call) -> Answer {
    let (key, name, consumer) = (call.arg(2), call.arg(3), call.arg(4));
    let now_ms = call.at.now_ms;
    let group = group(call, &key, &name)?;
    if group.consumers.contains_key(&consumer) {
        return Ok(0.into());
    }
    group.consumers.insert(consumer, Consumer { seen_ms: now_ms });
    call.groups_changed("xgroup-createconsumer", &key);
    Ok(1.into())
}

fn delete_consumer(call: &mut Call) -> Answer {
    let (key, name, consumer) = (call.arg(2), call.arg(3), call.arg(4));
    let group = group(call, &key, &name)?;
    let before = group.pending.len();
    if group.consumers.remove(&consumer).is_none() {
        return Ok(0.into());
    }
    group.pending.retain(|_, pending| pending.consumer != consumer);
    let lost = before - group.pending.len();
    call.groups_changed("xgroup-delconsumer", &key);
    Ok(lost.into())
}

pub(crate) fn xack(call: &mut Call) -> Answer {
    let (key, name) = (call.arg(1), call.arg(2));
    let texts = call.args_from(3);
    let Some(stream) = call.stream_mut(&key)? else { return Ok(0.into()) };
    let Some(group) = stream.groups.get_mut(&name) else { return Ok(0.into()) };
    let mut done = 0_usize;
    let ids: Result<Vec<StreamId>, Stop> = texts.iter().map(|text| full_id(text, 0)).collect();
    for id in ids? {
        done += usize::from(group.pending.remove(&id).is_some());
    }
    if done > 0 {
        call.groups_changed("xack", &key);
    }
    Ok(done.into())
}

pub(crate) fn xpending(call: &mut Call) -> Answer {
    let (key, name) = (call.arg(1), call.arg(2));
    let now_ms = call.at.now_ms;
    let mut index = 3;
    let mut idle_ms = 0;
    if call.is(3, "IDLE") {
        idle_ms = call.integer(4)?;
        index = 5;
    }
    let is_summary = call.args.len() == 3;
    let rest = call.args.len().saturating_sub(index);
    if !is_summary && !(3..=4).contains(&rest) {
        return Err(SYNTAX.into());
    }
    let wanted = if is_summary {
        None
    } else {
        let count = call.integer(index + 2)?.max(0) as usize;
        let (start, end) = (range_end(&call.args[index], true)?, range_end(&call.args[index + 1], false)?);
        Some((start, end, count, (rest == 4).then(|| call.arg(index + 3))))
    };
    let group = call.stream(&key)?.and_then(|stream| stream.groups.get(&name));
    let group = group.ok_or_else(|| no_group(&key, &name, ""))?;
    let Some((start, end, count, consumer)) = wanted else { return Ok(summary(group)) };
    if start > end {
        return Ok(Reply::Array(Vec::new()));
    }
    let found = group.pending.range(start..=end).filter(|(_, pending)| {
        now_ms - pending.delivered_ms >= idle_ms
            && consumer.as_ref().is_none_or(|consumer| pending.consumer == *consumer)
    });
    let line = |(id, pending): (&StreamId, &Pending)| {
        Reply::Array(vec![
            id.to_string().into(),
            pending.consumer.clone().into(),
            (now_ms - pending.delivered_ms).max(0).into(),
            (pending.deliveries as i64).into(),
        ])
    };
    Ok(Reply::Array(found.take(count).map(line).collect()))
}

fn summary(group: &Group) -> Reply {
    let (Some(first), Some(last)) = (group.pending.keys().next(), group.pending.keys().next_back()) else {
        return Reply::Array(vec![0.into(), Reply::Null, Reply::Null, Reply::NullArray]);
    };
    let count = |consumer: &Bytes| group.pending.values().filter(|one| one.consumer == *consumer).count();
    let consumers = group.consumers.keys().map(|consumer| (consumer, count(consumer)));
    let line = |(consumer, count): (&Bytes, usize)| {
        Reply::Array(vec![consumer.clone().into(), count.to_string().into()])
    };
    let consumers = consumers.filter(|(_, count)| *count > 0).map(line).collect();
    Reply::Array(vec![
        group.pending.len().into(),
        first.to_string().into(),
        last.to_string().into(),
        Reply::Array(consumers),
    ])
}

/// The options of XCLAIM.
#[derive(Default)]
struct Claim {
    delivered_ms: i64,
    deliveries: Option<u64>,
    is_forced: bool,
    only_ids: bool,
    last_id: Option<StreamId>,
}

fn claim_options(call: &Call, mut index: usize) -> Result<Claim, Stop> {
    let now_ms = call.at.now_ms;
    let mut claim = Claim { delivered_ms: now_ms, ..Claim::default() };
    while !call.ends_at(index) {
        let has_value = !call.ends_at(index + 1);
        if call.is(index, "FORCE") {
            claim.is_forced = true;
        } else if call.is(index, "JUSTID") {
            claim.only_ids = true;
        } else if call.is(index, "IDLE") && has_value {
            let idle = call.integer(index + 1).map_err(|_| "ERR Invalid IDLE option argument for XCLAIM")?;
            claim.delivered_ms = now_ms - idle;
            index += 1;
        } else if call.is(index, "TIME") && has_value {
            claim.delivered_ms =
                call.integer(index + 1).map_err(|_| "ERR Invalid TIME option argument for XCLAIM")?;
            index += 1;
        } else if call.is(index, "RETRYCOUNT") && has_value {
            let count = call.integer(index + 1).ok().and_then(|count| u64::try_from(count).ok());
            claim.deliveries = Some(count.ok_or("ERR Invalid RETRYCOUNT option argument for XCLAIM")?);
            index += 1;
        } else if call.is(index, "LASTID") && has_value {
            claim.last_id = Some(full_id(&call.args[index + 1], 0)?);
            index += 1;
        } else {
            let option = String::from_utf8_lossy(&call.args[index]).into_owned();
            return Err(format!("ERR Unrecognized XCLAIM option '{option}'").into());
        }
        index += 1;
    }
    claim.delivered_ms = claim.delivered_ms.clamp(0, now_ms);
    Ok(claim)
}

pub(crate) fn xclaim(call: &mut Call) -> Answer {
    let (key, name, consumer) = (call.arg(1), call.arg(2), call.arg(3));
    let now_ms = call.at.now_ms;
    let is_there = call.stream(&key)?.is_some_and(|stream| stream.groups.contains_key(&name));
    if !is_there {
        return Err(no_group(&key, &name, ""));
    }
    let idle_ms = call.integer(4).map_err(|_| "ERR Invalid min-idle-time argument for XCLAIM")?.max(0);
    let ids: Vec<StreamId> = call.args_from(5).iter().map_while(|text| StreamId::parse(text, 0)).collect();
    if ids.is_empty() {
        full_id(&call.arg(5), 0)?;
    }
    let claim = claim_options(call, 5 + ids.len())?;
    let Some(stream) = call.stream_mut(&key)? else { return Ok(Reply::Array(Vec::new())) };
    let Some(mut group) = stream.groups.get(&name).cloned() else { return Ok(Reply::Array(Vec::new())) };
    if let Some(last_id) = claim.last_id {
        group.last_id = group.last_id.max(last_id);
    }
    let mut claimed = Vec::new();
    for id in ids {
        let Some(fields) = stream.entries.get(&id) else {
            group.pending.remove(&id);
            continue;
        };
        let old = group.pending.get(&id).cloned();
        let Some(old) = old.or_else(|| {
            let new = Pending { consumer: consumer.clone(), delivered_ms: 0, deliveries: 0 };
            claim.is_forced.then_some(new)
        }) else {
            continue;
        };
        if now_ms - old.delivered_ms < idle_ms {
            continue;
        }
        let deliveries = claim.deliveries.unwrap_or(old.deliveries + u64::from(!claim.only_ids));
        let pending = Pending { consumer: consumer.clone(), delivered_ms: claim.delivered_ms, deliveries };
        group.pending.insert(id, pending);
        // A consumer comes to be with the first entry that it gets.
        group.consumers.entry(consumer.clone()).or_default().seen_ms = now_ms;
        claimed.push(if claim.only_ids { id.to_string().into() } else { show(id, fields) });
    }
    stream.groups.insert(name, group);
    call.groups_changed("xclaim", &key);
    Ok(Reply::Array(claimed))
}

pub(crate) fn xautoclaim(call: &mut Call) -> Answer {
    let (key, name, consumer) = (call.arg(1), call.arg(2), call.arg(3));
    let now_ms = call.at.now_ms;
    let idle_ms = call.integer(4).map_err(|_| "ERR Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = range_end(&call.args[5], true)?;
    let (mut count, mut only_ids) = (100, false);
    let mut index = 6;
    while !call.ends_at(index) {
        if call.is(index, "COUNT") && !call.ends_at(index + 1) {
            let given = call.integer(index + 1).ok().filter(|count| *count > 0);
            count = given.ok_or("ERR COUNT must be > 0")? as usize;
            index += 1;
        } else if call.is(index, "JUSTID") {
            only_ids = true;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    let group = call.stream(&key)?.and_then(|stream| stream.groups.get(&name)).cloned();
    let mut group = group.ok_or_else(|| no_group(&key, &name, ""))?;
    let Some(stream) = call.stream_mut(&key)? else { return Ok(Reply::Array(Vec::new())) };
    let candidates: Vec<StreamId> = group.pending.range(start..).map(|(id, _)| *id).collect();
    let (mut claimed, mut deleted, mut next) = (Vec::new(), Vec::new(), StreamId::ZERO);
    let mut attempts = count.saturating_mul(10);
    for id in candidates {
        if attempts == 0 || claimed.len() >= count {
            next = id;
            break;
        }
        attempts -= 1;
        let Some(fields) = stream.entries.get(&id) else {
            group.pending.remove(&id);
            deleted.push(Reply::from(id.to_string()));
            continue;
        };
        let Some(pending) = group.pending.get_mut(&id).filter(|one| now_ms - one.delivered_ms >= idle_ms)
        else {
            continue;
        };
        pending.consumer = consumer.clone();
        pending.delivered_ms = now_ms;
        pending.deliveries += u64::from(!only_ids);
        group.consumers.entry(consumer.clone()).or_default().seen_ms = now_ms;
        claimed.push(if only_ids { id.to_string().into() } else { show(id, fields) });
    }
    stream.groups.insert(name, group);
    call.groups_changed("xautoclaim", &key);
    Ok(Reply::Array(vec![next.to_string().into(), Reply::Array(claimed), Reply::Array(deleted)]))
}
