//! Commands of publish and subscribe.
//!
//! Owns SUBSCRIBE and its kin. Must not know how messages travel. Invariant: each channel that is named is answered for itself.

use bytes::Bytes;

use crate::redis::call::{Answer, Call, unknown_subcommand, wrong_arity};
use crate::redis::client::Client;
use crate::redis::numbers::glob_matches;
use crate::redis::pubsub::{listen, unlisten};
use crate::redis::state::State;
use crate::redis::wire::Reply;

/// What is listened to.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Channel,
    Pattern,
    Shard,
}

impl Kind {
    fn names(self, client: &mut Client) -> &mut std::collections::BTreeSet<Bytes> {
        match self {
            Kind::Channel => &mut client.channels,
            Kind::Pattern => &mut client.patterns,
            Kind::Shard => &mut client.shard_channels,
        }
    }

    fn count(self, client: &Client) -> usize {
        match self {
            Kind::Shard => client.shard_channels.len(),
            _ => client.channels.len() + client.patterns.len(),
        }
    }

    fn listeners(
        self,
        state: &mut State,
    ) -> &mut std::collections::BTreeMap<Bytes, std::collections::BTreeSet<u64>> {
        match self {
            Kind::Channel => &mut state.subscriptions.channels,
            Kind::Pattern => &mut state.subscriptions.patterns,
            Kind::Shard => &mut state.subscriptions.shard_channels,
        }
    }
}

fn confirm(word: &'static str, name: Reply, count: usize) -> Reply {
    Reply::Push(vec![word.into(), name, count.into()])
}

fn start(call: &mut Call, kind: Kind, word: &'static str) -> Answer {
    let id = call.client;
    let mut replies = Vec::new();
    for name in call.args_from(1) {
        listen(kind.listeners(call.state), &name, id);
        let client = call.client();
        kind.names(client).insert(name.clone());
        replies.push(confirm(word, name.into(), kind.count(client)));
    }
    Ok(Reply::Several(replies))
}

fn stop(call: &mut Call, kind: Kind, word: &'static str) -> Answer {
    let id = call.client;
    let mut names = call.args_from(1);
    if names.is_empty() {
        names = kind.names(call.client()).iter().cloned().collect();
    }
    if names.is_empty() {
        return Ok(confirm(word, Reply::Null, kind.count(call.client())));
    }
    let mut replies = Vec::new();
    for name in names {
        unlisten(kind.listeners(call.state), &name, id);
        let client = call.client();
        kind.names(client).remove(&name);
        replies.push(confirm(word, name.into(), kind.count(client)));
    }
    Ok(Reply::Several(replies))
}

pub(crate) fn subscribe(call: &mut Call) -> Answer {
    start(call, Kind::Channel, "subscribe")
}

pub(crate) fn unsubscribe(call: &mut Call) -> Answer {
    stop(call, Kind::Channel, "unsubscribe")
}

pub(crate) fn psubscribe(call: &mut Call) -> Answer {
    start(call, Kind::Pattern, "psubscribe")
}

pub(crate) fn punsubscribe(call: &mut Call) -> Answer {
    stop(call, Kind::Pattern, "punsubscribe")
}

pub(crate) fn ssubscribe(call: &mut Call) -> Answer {
    start(call, Kind::Shard, "ssubscribe")
}

pub(crate) fn sunsubscribe(call: &mut Call) -> Answer {
    stop(call, Kind::Shard, "sunsubscribe")
}

pub(crate) fn publish(call: &mut Call) -> Answer {
    let (channel, message) = (call.arg(1), call.arg(2));
    let count = publish_to(call, &channel, &message, false);
    Ok(count.into())
}

pub(crate) fn spublish(call: &mut Call) -> Answer {
    let (channel, message) = (call.arg(1), call.arg(2));
    let count = publish_to(call, &channel, &message, true);
    Ok(count.into())
}

/// A client that publishes to itself hears the message after the reply.
fn publish_to(call: &mut Call, channel: &Bytes, message: &Bytes, is_sharded: bool) -> usize {
    let count = match is_sharded {
        true => call.state.publish_sharded(channel, message),
        false => call.state.publish(channel, message),
    };
    let word = if is_sharded { "SPUBLISH" } else { "PUBLISH" };
    let command = [Bytes::from_static(word.as_bytes()), channel.clone(), message.clone()];
    if call.state.cluster.is_some() {
        call.state.publish_on_bus(channel, message, is_sharded);
    } else if call.origin != crate::redis::call::Origin::Journal {
        call.state.tell_replicas(&command);
    }
    count
}

pub(crate) fn pubsub(call: &mut Call) -> Answer {
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    let most = if matches!(subcommand.as_str(), "channels" | "shardchannels") { 3 } else { usize::MAX };
    if call.args.len() > most {
        return Err(wrong_arity(&format!("pubsub|{subcommand}")));
    }
    let pattern = (!call.ends_at(2)).then(|| call.arg(2));
    let subscriptions = &call.state.subscriptions;
    let is_shown = |name: &&Bytes| pattern.as_ref().is_none_or(|pattern| glob_matches(pattern, name));
    let count_each = |listeners: &std::collections::BTreeMap<Bytes, std::collections::BTreeSet<u64>>| {
        let names = call.args_from(2);
        let count = |name: &Bytes| listeners.get(name).map_or(0, |clients| clients.len());
        Reply::Array(names.iter().flat_map(|name| [name.clone().into(), count(name).into()]).collect())
    };
    match subcommand.as_str() {
        "channels" => Ok(subscriptions.channels.keys().filter(is_shown).cloned().collect()),
        "shardchannels" => Ok(subscriptions.shard_channels.keys().filter(is_shown).cloned().collect()),
        "numsub" => Ok(count_each(&subscriptions.channels)),
        "shardnumsub" => Ok(count_each(&subscriptions.shard_channels)),
        "numpat" => Ok(subscriptions.patterns.len().into()),
        _ => Err(unknown_subcommand("PUBSUB", &call.args[1])),
    }
}
