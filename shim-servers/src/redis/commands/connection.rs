//! Commands about the connection itself.
//!
//! Owns HELLO, AUTH, SELECT, CLIENT and the like. Must not know keys. Invariant: a client that has not given the password can
//! do nothing else.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::redis::call::{Answer, Call, SYNTAX, Stop, unknown_subcommand, wrong_arity};
use crate::redis::client::{Client, ReplyMode, Role};
use crate::redis::dispatch::abort;
use crate::redis::numbers::parse_integer;
use crate::redis::state::DATABASES;
use crate::redis::wire::{Protocol, Reply};

pub(crate) fn ping(call: &mut Call) -> Answer {
    if call.args.len() > 2 {
        return Err(wrong_arity("ping"));
    }
    let is_given = !call.ends_at(1);
    let text = call.arg(1);
    let client = call.client();
    if client.subscriptions() > 0 && client.protocol == Protocol::Resp2 {
        return Ok(Reply::Array(vec!["pong".into(), text.into()]));
    }
    Ok(if is_given { text.into() } else { Reply::simple("PONG") })
}

pub(crate) fn echo(call: &mut Call) -> Answer {
    Ok(call.arg(1).into())
}

pub(crate) fn quit(call: &mut Call) -> Answer {
    call.client().is_closing = true;
    Ok(Reply::OK)
}

pub(crate) fn select(call: &mut Call) -> Answer {
    let index = call.integer(1).map_err(|_| "ERR value is not an integer or out of range")?;
    if call.state.cluster.is_some() && index != 0 {
        return Err("ERR SELECT is not allowed in cluster mode".into());
    }
    let index = usize::try_from(index).ok().filter(|index| *index < DATABASES);
    call.client().database = index.ok_or("ERR DB index is out of range")?;
    Ok(Reply::OK)
}

/// Checks a name and password.
fn log_in(call: &mut Call, user: &[u8], password: &[u8]) -> Result<(), Stop> {
    let wanted = call.state.config.text("requirepass").to_owned();
    let is_right = user == b"default" && (wanted.is_empty() || wanted.as_bytes() == password);
    if !is_right {
        return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
    }
    call.client().is_authenticated = true;
    Ok(())
}

pub(crate) fn auth(call: &mut Call) -> Answer {
    match call.args.len() {
        2 if call.state.config.text("requirepass").is_empty() => {
            Err("ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?"
                .into())
        }
        2 => {
            let password = call.arg(1);
            log_in(call, b"default", &password).map(|()| Reply::OK)
        }
        3 => {
            let (user, password) = (call.arg(1), call.arg(2));
            log_in(call, &user, &password).map(|()| Reply::OK)
        }
        _ => Err(SYNTAX.into()),
    }
}

/// Whether a name is one line of printable characters without spaces.
fn is_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

pub(crate) fn hello(call: &mut Call) -> Answer {
    let mut protocol = call.client().protocol;
    let mut index = 1;
    if !call.ends_at(1) {
        let version = parse_integer(&call.args[1]);
        protocol = match version {
            None => return Err("ERR Protocol version is not an integer or out of range".into()),
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err("NOPROTO unsupported protocol version".into()),
        };
        index = 2;
    }
    let mut name = None;
    while !call.ends_at(index) {
        if call.is(index, "AUTH") && !call.ends_at(index + 2) {
            let (user, password) = (call.arg(index + 1), call.arg(index + 2));
            log_in(call, &user, &password)?;
            index += 3;
        } else if call.is(index, "SETNAME") && !call.ends_at(index + 1) {
            name = Some(call.arg(index + 1)).filter(|name| is_name(name));
            name.as_ref().ok_or(BAD_NAME)?;
            index += 2;
        } else {
            let option = String::from_utf8_lossy(&call.args[index]).into_owned();
            return Err(format!("ERR Syntax error in HELLO option '{option}'").into());
        }
    }
    if !call.client().is_authenticated {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                    AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                    version at the same time"
            .into());
    }
    let mode = if call.state.cluster.is_some() { "cluster" } else { "standalone" };
    let role = if call.state.is_replica() { "replica" } else { "master" };
    let client = call.client();
    if let Some(name) = name {
        client.name = name;
    }
    client.protocol = protocol;
    let version = if protocol == Protocol::Resp3 { 3 } else { 2 };
    let id = client.id as i64;
    Ok(Reply::Map(vec![
        ("server".into(), "redis".into()),
        ("version".into(), super::info::VERSION.into()),
        ("proto".into(), Reply::Integer(version)),
        ("id".into(), Reply::Integer(id)),
        ("mode".into(), mode.into()),
        ("role".into(), role.into()),
        ("modules".into(), Reply::Array(Vec::new())),
    ]))
}

pub(crate) fn reset(call: &mut Call) -> Answer {
    let id = call.client;
    abort(call.state, id);
    call.state.subscriptions.forget(id);
    let needs_password = !call.state.config.text("requirepass").is_empty();
    let client = call.client();
    client.channels.clear();
    client.patterns.clear();
    client.shard_channels.clear();
    client.database = 0;
    client.name = Bytes::new();
    client.protocol = Protocol::Resp2;
    client.is_authenticated = !needs_password;
    client.is_asking = false;
    client.reads_replicas = false;
    client.is_monitor = false;
    client.no_evict = false;
    client.reply_mode = ReplyMode::On;
    Ok(Reply::simple("RESET"))
}

const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

pub(crate) fn asking(call: &mut Call) -> Answer {
    call.state.cluster.as_ref().ok_or(NO_CLUSTER)?;
    call.client().is_asking = true;
    Ok(Reply::OK)
}

pub(crate) fn readonly(call: &mut Call) -> Answer {
    call.state.cluster.as_ref().ok_or(NO_CLUSTER)?;
    call.client().reads_replicas = true;
    Ok(Reply::OK)
}

pub(crate) fn readwrite(call: &mut Call) -> Answer {
    call.state.cluster.as_ref().ok_or(NO_CLUSTER)?;
    call.client().reads_replicas = false;
    Ok(Reply::OK)
}

pub(crate) fn client(call: &mut Call) -> Answer {
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    let count = call.args.len();
    let arity = match subcommand.as_str() {
        "id" | "getname" | "info" | "unpause" | "getredir" | "trackinginfo" => 2..=2,
        "setname" | "no-evict" | "reply" => 3..=3,
        "list" => 2..=usize::MAX,
        "kill" | "tracking" => 3..=usize::MAX,
        "pause" | "unblock" => 3..=4,
        _ => return Err(unknown_subcommand("CLIENT", &call.args[1])),
    };
    if !arity.contains(&count) {
        return Err(wrong_arity(&format!("client|{subcommand}")));
    }
    match subcommand.as_str() {
        "id" => Ok(Reply::Integer(call.client().id as i64)),
        "getname" => {
            let name = call.client().name.clone();
            Ok(if name.is_empty() { Reply::Null } else { name.into() })
        }
        "setname" => {
            let name = call.arg(2);
            if !is_name(&name) {
                return Err(BAD_NAME.into());
            }
            call.client().name = name;
            Ok(Reply::OK)
        }
        "info" => {
            let now_ms = call.at.now_ms;
            Ok(Reply::Verbatim(format!("{}\n", call.client().describe(now_ms)).into()))
        }
        "list" => list(call),
        "kill" => kill(call),
        "no-evict" => {
            call.client().no_evict = switch(call, 2)?;
            Ok(Reply::OK)
        }
        "reply" => reply_mode(call),
        "pause" => pause(call),
        "unpause" => {
            call.state.pause.clients_until = None;
            call.state.pause.is_over.notify_waiters();
            Ok(Reply::OK)
        }
        "unblock" => unblock(call),
        "getredir" => Ok((-1).into()),
        _ => Err("ERR CLIENT TRACKING is not spoken by this server".into()),
    }
}

fn switch(call: &Call, index: usize) -> Result<bool, Stop> {
    if call.is(index, "ON") {
        Ok(true)
    } else if call.is(index, "OFF") {
        Ok(false)
    } else {
        Err(SYNTAX.into())
    }
}

fn reply_mode(call: &mut Call) -> Answer {
    let mode = if call.is(2, "ON") {
        ReplyMode::On
    } else if call.is(2, "OFF") {
        ReplyMode::Off
    } else if call.is(2, "SKIP") {
        ReplyMode::SkipNext
    } else {
        return Err(SYNTAX.into());
    };
    call.client().reply_mode = mode;
    Ok(if mode == ReplyMode::On { Reply::OK } else { Reply::nothing() })
}

/// What a client is called in TYPE.
fn type_name(client: &Client) -> &'static str {
    match client.role {
        Role::Replica(_) => "replica",
        Role::Normal if client.subscriptions() > 0 => "pubsub",
        Role::Normal => "normal",
    }
}

/// The type that is asked for.
fn wanted_type(call: &Call, index: usize) -> Result<String, Stop> {
    let name = String::from_utf8_lossy(&call.args[index]).to_lowercase();
    match name.as_str() {
        "slave" => Ok("replica".into()),
        "normal" | "master" | "replica" | "pubsub" => Ok(name),
        _ => Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(&call.args[index])).into()),
    }
}

fn list(call: &mut Call) -> Answer {
    let mut wanted: Option<String> = None;
    let mut ids: Option<Vec<u64>> = None;
    if call.is(2, "TYPE") && call.args.len() == 4 {
        wanted = Some(wanted_type(call, 3)?);
    } else if call.is(2, "ID") && call.args.len() > 3 {
        let parsed = call.args_from(3).iter().map(|id| parse_integer(id).filter(|id| *id > 0)).collect();
        let parsed: Option<Vec<i64>> = parsed;
        ids = Some(parsed.ok_or("ERR Invalid client ID")?.into_iter().map(|id| id as u64).collect());
    } else if call.args.len() > 2 {
        return Err(SYNTAX.into());
    }
    let now_ms = call.at.now_ms;
    let shown = call.state.clients.values().filter(|client| {
        wanted.as_ref().is_none_or(|wanted| type_name(client) == wanted)
            && ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
    });
    let lines: String = shown.map(|client| client.describe(now_ms) + "\n").collect();
    Ok(Reply::Verbatim(lines.into()))
}

/// Which clients CLIENT KILL means.
#[derive(Default)]
struct Victims {
    id: Option<u64>,
    address: Option<String>,
    local_address: Option<String>,
    type_name: Option<String>,
    user: Option<String>,
    spares_caller: bool,
}

fn kill(call: &mut Call) -> Answer {
    let own = call.client;
    if call.args.len() == 3 {
        let address = String::from_utf8_lossy(&call.args[2]).into_owned();
        let found = call.state.clients.values().find(|client| client.peer.to_string() == address);
        let id = found.map(|client| client.id).ok_or("ERR No such client")?;
        end(call, id);
        return Ok(Reply::OK);
    }
    let mut victims = Victims { spares_caller: true, ..Victims::default() };
    let mut index = 2;
    while !call.ends_at(index) {
        if call.ends_at(index + 1) {
            return Err(SYNTAX.into());
        }
        let text = String::from_utf8_lossy(&call.args[index + 1]).into_owned();
        if call.is(index, "ID") {
            let id = call.integer(index + 1).ok().filter(|id| *id > 0);
            victims.id = Some(id.ok_or("ERR client-id should be greater than 0")? as u64);
        } else if call.is(index, "ADDR") {
            victims.address = Some(text);
        } else if call.is(index, "LADDR") {
            victims.local_address = Some(text);
        } else if call.is(index, "TYPE") {
            victims.type_name = Some(wanted_type(call, index + 1)?);
        } else if call.is(index, "USER") {
            victims.user = Some(text);
        } else if call.is(index, "SKIPME") {
            victims.spares_caller = match text.to_lowercase().as_str() {
                "yes" => true,
                "no" => false,
                _ => return Err(SYNTAX.into()),
            };
        } else {
            return Err(SYNTAX.into());
        }
        index += 2;
    }
    if let Some(user) = victims.user.as_ref().filter(|user| *user != "default") {
        return Err(format!("ERR No such user '{user}'").into());
    }
    let is_meant = |client: &&Client| {
        victims.id.is_none_or(|id| client.id == id)
            && victims.address.as_ref().is_none_or(|address| client.peer.to_string() == *address)
            && victims.local_address.as_ref().is_none_or(|address| client.local.to_string() == *address)
            && victims.type_name.as_ref().is_none_or(|name| type_name(client) == name)
            && !(victims.spares_caller && client.id == own)
    };
    let ids: Vec<u64> = call.state.clients.values().filter(is_meant).map(|client| client.id).collect();
    ids.iter().for_each(|id| end(call, *id));
    Ok(ids.len().into())
}

/// Ends a connection: one's own after the reply, another one at once.
fn end(call: &mut Call, id: u64) {
    if id == call.client {
        call.client().is_closing = true;
    } else {
        call.state.kill(id);
    }
}

fn pause(call: &mut Call) -> Answer {
    let ms = call.integer(2).ok().filter(|ms| *ms >= 0);
    let ms = ms.ok_or("ERR timeout is not an integer or out of range")?;
    let only_writes = match call.ends_at(3) {
        true => false,
        false if call.is(3, "WRITE") => true,
        false if call.is(3, "ALL") => false,
        false => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let until = Instant::now() + Duration::from_millis(ms as u64);
    call.state.pause.clients_until = Some((until, only_writes));
    Ok(Reply::OK)
}

fn unblock(call: &mut Call) -> Answer {
    let by_error = call.is(3, "ERROR");
    if !call.ends_at(3) && !by_error && !call.is(3, "TIMEOUT") {
        return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into());
    }
    let id = call.integer(2)? as u64;
    if call.state.clients.get(&id).is_none_or(|client| client.blocked.is_none()) {
        return Ok(0.into());
    }
    if by_error {
        call.state.stop_waiting(id);
        call.state.send(id, &Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
    } else {
        call.state.time_out(id);
    }
    Ok(1.into())
}
