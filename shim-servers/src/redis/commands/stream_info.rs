//! What is known of a stream.
//!
//! Owns XINFO. Must not change anything. Invariant: what it shows is what the commands go by.

use super::streams::show;
use crate::redis::call::{Answer, Call, NO_KEY, SYNTAX, unknown_subcommand, wrong_arity};
use crate::redis::stream::{Group, Stream};
use crate::redis::wire::Reply;

pub(crate) fn xinfo(call: &mut Call) -> Answer {
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    let arity = match subcommand.as_str() {
        "stream" => 3..=6,
        "groups" => 3..=3,
        "consumers" => 4..=4,
        _ => return Err(unknown_subcommand("XINFO", &call.args[1])),
    };
    if !arity.contains(&call.args.len()) {
        return Err(wrong_arity(&format!("xinfo|{subcommand}")));
    }
    let (key, name, now_ms) = (call.arg(2), call.arg(3), call.at.now_ms);
    if subcommand == "stream" && call.args.len() > 3 {
        return if call.is(3, "FULL") {
            Err("ERR XINFO STREAM FULL is not spoken by this server".into())
        } else {
            Err(SYNTAX.into())
        };
    }
    let stream = call.stream(&key)?.ok_or(NO_KEY)?;
    match subcommand.as_str() {
        "stream" => Ok(about(stream)),
        "groups" => Ok(Reply::Array(
            stream.groups.iter().map(|(name, group)| about_group(stream, name, group)).collect(),
        )),
        _ => {
            let group = stream.groups.get(&name).ok_or_else(|| {
                let (key, name) = (String::from_utf8_lossy(&key), String::from_utf8_lossy(&name));
                format!("NOGROUP No such consumer group '{name}' for key name '{key}'")
            })?;
            Ok(Reply::Array(consumers(group, now_ms)))
        }
    }
}

fn about(stream: &Stream) -> Reply {
    let entry = |found: Option<(&crate::redis::stream::StreamId, &Vec<bytes::Bytes>)>| {
        found.map_or(Reply::Null, |(id, fields)| show(*id, fields))
    };
    let first_id = stream.entries.keys().next().copied().unwrap_or_default();
    let nodes = stream.entries.len().div_ceil(100);
    Reply::Map(vec![
        ("length".into(), stream.entries.len().into()),
        ("radix-tree-keys".into(), nodes.into()),
        ("radix-tree-nodes".into(), (nodes + 1).into()),
        ("last-generated-id".into(), stream.last_id.to_string().into()),
        ("max-deleted-entry-id".into(), stream.max_deleted_id.to_string().into()),
        ("entries-added".into(), (stream.entries_added as i64).into()),
        ("recorded-first-entry-id".into(), first_id.to_string().into()),
        ("groups".into(), stream.groups.len().into()),
        ("first-entry".into(), entry(stream.entries.first_key_value())),
        ("last-entry".into(), entry(stream.entries.last_key_value())),
    ])
}

fn about_group(stream: &Stream, name: &bytes::Bytes, group: &Group) -> Reply {
    let number = |number: Option<u64>| number.map(|number| number as i64).into();
    Reply::Map(vec![
        ("name".into(), name.clone().into()),
        ("consumers".into(), group.consumers.len().into()),
        ("pending".into(), group.pending.len().into()),
        ("last-delivered-id".into(), group.last_id.to_string().into()),
        ("entries-read".into(), number(group.entries_read)),
        ("lag".into(), number(stream.lag(group))),
    ])
}

fn consumers(group: &Group, now_ms: i64) -> Vec<Reply> {
    let pending = |name: &bytes::Bytes| group.pending.values().filter(|one| one.consumer == *name).count();
    let about = |(name, consumer): (&bytes::Bytes, &crate::redis::stream::Consumer)| {
        Reply::Map(vec![
            ("name".into(), name.clone().into()),
            ("pending".into(), pending(name).into()),
            ("idle".into(), (now_ms - consumer.seen_ms).max(0).into()),
        ])
    };
    group.consumers.iter().map(about).collect()
}
