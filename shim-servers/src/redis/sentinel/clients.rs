//! Clients of a sentinel: who they are, what they subscribed to, and the commands that are about the connection.
//!
//! Owns the table of commands, and publishing. Must not know sockets: what a client hears goes into its channel. Invariant:
//! replies and messages reach a client in the order in which they were made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::commands::fits;
use super::state::Millis;
use crate::redis::numbers::glob_matches;
use crate::redis::wire::{Protocol, Reply};

/// What a client's connection is told to do.
#[derive(Debug)]
pub(super) enum Out {
    Say(Reply, Protocol),
    Close,
}

/// Name and number of arguments, the name counted; a negative one is the least number.
pub(super) const COMMANDS: [(&str, i32); 15] = [
    ("acl", -2),
    ("auth", -2),
    ("client", -2),
    ("command", -1),
    ("hello", -1),
    ("info", -1),
    ("ping", -1),
    ("psubscribe", -2),
    ("publish", 3),
    ("punsubscribe", -1),
    ("role", 1),
    ("sentinel", -2),
    ("shutdown", -1),
    ("subscribe", -2),
    ("unsubscribe", -1),
];

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Client {
    out: UnboundedSender<Out>,
    peer: SocketAddr,
    local: SocketAddr,
    since_ms: Millis,
    name: String,
    protocol: Protocol,
    is_authenticated: bool,
    channels: BTreeSet<Bytes>,
    patterns: BTreeSet<Bytes>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    all: BTreeMap<u64, Client>,
    next: u64,
    password: Option<String>,
}

/// What a request was for: the table's command, or a reply at once.
pub(super) enum Checked {
    Command(&'static str),
    Refused(Reply),
}

impl Clients {
    pub(super) fn new(password: Option<String>) -> Clients {
        Clients { password, ..Clients::default() }
    }

    pub(super) fn join(
        &mut self,
        out: UnboundedSender<Out>,
        peer: SocketAddr,
        local: SocketAddr,
        now: Millis,
    ) -> u64 {
        self.next += 1;
        let client = Client {
            out,
            peer,
            local,
            since_ms: now,
            name: String::new(),
            protocol: Protocol::Resp2,
            is_authenticated: self.password.is_none(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
        };
        self.all.insert(self.next, client);
        self.next
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.all.remove(&id);
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn say(&self, id: u64, reply: Reply) {
        if let Some(client) = self.all.get(&id) {
            // A client that is gone hears nothing.
            let _ = client.out.send(Out::Say(reply, client.protocol));
        }
    }

    pub(super) fn close(&mut self, id: u64) {
        if let Some(client) = self.all.remove(&id) {
            let _ = client.out.send(Out::Close);
        }
    }

    /// Tells all who subscribed.
    pub(super) fn publish(&self, channel: &str, message: &str) {
        for client in self.all.values() {
            let text = |text: &str| Reply::bulk(text);
            if client.channels.contains(channel.as_bytes()) {
                let push = vec![text("message"), text(channel), text(message)];
                let _ = client.out.send(Out::Say(Reply::Push(push), client.protocol));
            }
            for pattern in client.patterns.iter().filter(|pattern| glob_matches(pattern, channel.as_bytes()))
            {
                let push = vec![text("pmessage"), pattern.clone().into(), text(channel), text(message)];
                let _ = client.out.send(Out::Say(Reply::Push(push), client.protocol));
            }
        }
    }

    /// Finds the command, and whether this client may ask for it.
    pub(super) fn check(&self, id: u64, request: &[Bytes]) -> Checked {
        let asked = String::from_utf8_lossy(&request[0]);
        let name = asked.to_ascii_lowercase();
        let Some((name, arity)) = COMMANDS.iter().find(|(known, _)| *known == name) else {
            let mut text = format!("ERR unknown command '{asked:.128}', with args beginning with: ");
            for argument in &request[1..] {
                if text.len() > 128 + asked.len() {
                    break;
                }
                text.push_str(&format!("'{:.128}' ", String::from_utf8_lossy(argument)));
            }
            return Checked::Refused(Reply::error(text));
        };
        if !fits(*arity, request.len()) {
            let text = format!("ERR wrong number of arguments for '{name}' command");
            return Checked::Refused(Reply::error(text));
        }
        let Some(client) = self.all.get(&id) else { return Checked::Refused(Reply::nothing()) };
        if !client.is_authenticated && !["auth", "hello"].contains(name) {
            return Checked::Refused(Reply::error("NOAUTH Authentication required."));
        }
        let is_subscriber = !client.channels.is_empty() || !client.patterns.is_empty();
        let is_allowed = *name == "ping" || name.ends_with("subscribe");
        if is_subscriber && client.protocol == Protocol::Resp2 && !is_allowed {
            let allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";
            let text = format!("ERR Can't execute '{name}': only {allowed} are allowed in this context");
            return Checked::Refused(Reply::error(text));
        }
        Checked::Command(name)
    }

    /// Answers a command that is about the connection.
    pub(super) fn answer(&mut self, id: u64, name: &str, request: &[Bytes], now: Millis) -> Reply {
        match name {
            "client" => return self.client(id, request, now),
            "command" => return command(request),
            "acl" => return acl(request),
            _ => {}
        }
        let password = self.password.clone();
        let Some(client) = self.all.get_mut(&id) else { return Reply::nothing() };
        match name {
            "ping" => client.ping(request),
            "hello" => client.hello(id, request, password.as_deref()),
            "auth" => client.auth(&request[1..], password.as_deref()),
            "subscribe" | "psubscribe" => client.subscribe(name, &request[1..]),
            _ => client.unsubscribe(name, &request[1..]),
        }
    }

    fn client(&mut self, id: u64, request: &[Bytes], now: Millis) -> Reply {
        let words: Vec<String> =
            request[1..].iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let options: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let subcommand = words[0].to_ascii_lowercase();
        let line = |id: &u64, client: &Client| client.line(*id, now);
        match (subcommand.as_str(), options.as_slice()) {
            ("id", []) => Reply::Integer(id as i64),
            ("getname", []) => match self.all.get(&id).filter(|client| !client.name.is_empty()) {
                Some(client) => Reply::bulk(&client.name),
                None => Reply::Null,
            },
            ("setname", [name]) => {
                if !name.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
                    let text = "ERR Client names cannot contain spaces, newlines or special characters.";
                    return Reply::error(text);
                }
                if let Some(client) = self.all.get_mut(&id) {
                    client.name = (*name).to_owned();
                }
                Reply::OK
            }
            ("list", []) => Reply::Verbatim(
                self.all.iter().map(|(id, client)| line(id, client)).collect::<String>().into(),
            ),
            ("info", []) => {
                Reply::Verbatim(self.all.get(&id).map(|client| line(&id, client)).unwrap_or_default().into())
            }
            ("kill", options) => self.kill(id, options),
            ("id" | "getname" | "setname" | "info" | "list", _) => {
                Reply::error(format!("ERR wrong number of arguments for 'client|{subcommand}' command"))
            }
            _ => Reply::error(format!("ERR unknown subcommand '{}'. Try CLIENT HELP.", words[0])),
        }
    }

    /// `CLIENT KILL` with filters, or with an address alone.
    fn kill(&mut self, own: u64, options: &[&str]) -> Reply {
        let (filters, is_old_form): (Vec<(String, String)>, bool) = match options {
            [address] => (vec![("addr".to_owned(), (*address).to_owned())], true),
            _ => {
                let pair = |pair: &[&str]| {
                    (pair[0].to_ascii_lowercase(), pair.get(1).copied().unwrap_or("").to_owned())
                };
                (options.chunks(2).map(pair).collect(), false)
            }
        };
        let mut spares_own = !is_old_form;
        for (name, value) in &filters {
            match name.as_str() {
                "skipme" => spares_own = !value.eq_ignore_ascii_case("no"),
                "id" | "addr" | "laddr" | "type" => {}
                _ => return Reply::error("ERR syntax error"),
            }
        }
        let is_meant = |id: u64, client: &Client| {
            filters.iter().all(|(name, value)| match name.as_str() {
                "id" => value.parse() == Ok(id),
                "addr" => client.peer.to_string() == *value,
                "laddr" => client.local.to_string() == *value,
                "type" => client.kind().eq_ignore_ascii_case(value),
                _ => true,
            })
        };
        let all =
            self.all.iter().filter(|(id, client)| is_meant(**id, client) && !(spares_own && **id == own));
        let meant: Vec<u64> = all.map(|(id, _)| *id).collect();
        if is_old_form && meant.is_empty() {
            return Reply::error("ERR No such client");
        }
        for id in meant.iter().filter(|id| **id != own) {
            self.close(*id);
        }
        if is_old_form { Reply::OK } else { meant.len().into() }
    }
}

impl Client {
    fn kind(&self) -> &'static str {
        if self.channels.is_empty() && self.patterns.is_empty() { "normal" } else { "pubsub" }
    }

    fn line(&self, id: u64, now: Millis) -> String {
        format!(
            "id={id} addr={} laddr={} fd=0 name={} age={} idle=0 flags=N db=0 sub={} psub={} ssub=0 multi=-1 resp={}\n",
            self.peer,
            self.local,
            self.name,
            (now - self.since_ms) / 1_000,
            self.channels.len(),
            self.patterns.len(),
            if self.protocol == Protocol::Resp3 { 3 } else { 2 }
        )
    }

    fn ping(&self, request: &[Bytes]) -> Reply {
        let is_subscriber = self.kind() == "pubsub" && self.protocol == Protocol::Resp2;
        match request {
            [_] if is_subscriber => ["pong", ""].into_iter().collect(),
            [_, text] if is_subscriber => Reply::Array(vec!["pong".into(), text.clone().into()]),
            [_] => Reply::simple("PONG"),
            [_, text] => text.clone().into(),
            _ => Reply::error("ERR wrong number of arguments for 'ping' command"),
        }
    }

    fn auth(&mut self, credentials: &[Bytes], password: Option<&str>) -> Reply {
        let (user, given) = match credentials {
            [_] if password.is_none() => {
                return Reply::error(
                    "ERR AUTH <password> called without any password configured for the default user. Are you \
                     sure your configuration is correct?",
                );
            }
            [given] => (&b"default"[..], given),
            [user, given] => (&user[..], given),
            _ => return Reply::error("ERR syntax error"),
        };
        let is_right = user == b"default" && password.is_none_or(|password| password.as_bytes() == given);
        self.is_authenticated |= is_right;
        match is_right {
            true => Reply::OK,
            false => Reply::error("WRONGPASS invalid username-password pair or user is disabled."),
        }
    }

    fn hello(&mut self, id: u64, request: &[Bytes], password: Option<&str>) -> Reply {
        let mut rest = &request[1..];
        let mut protocol = self.protocol;
        if let [version, tail @ ..] = rest {
            protocol = match &version[..] {
                b"2" => Protocol::Resp2,
                b"3" => Protocol::Resp3,
                other if std::str::from_utf8(other).is_ok_and(|text| text.parse::<i64>().is_ok()) => {
                    return Reply::error("NOPROTO unsupported protocol version");
                }
                _ => {
                    return Reply::error("ERR Protocol version is not an integer or out of range");
                }
            };
            rest = tail;
        }
        while let [option, tail @ ..] = rest {
            let option = String::from_utf8_lossy(option).to_ascii_lowercase();
            rest = match (option.as_str(), tail) {
                ("auth", [user, given, tail @ ..]) => {
                    let refused = self.auth(&[user.clone(), given.clone()], password);
                    if refused.as_error().is_some() {
                        return refused;
                    }
                    tail
                }
                ("setname", [name, tail @ ..]) => {
                    self.name = String::from_utf8_lossy(name).into_owned();
                    tail
                }
                _ => return Reply::error(format!("ERR Syntax error in HELLO option '{option}'")),
            };
        }
        if !self.is_authenticated {
            return Reply::error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> \
                 AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                 version at the same time",
            );
        }
        self.protocol = protocol;
        let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
        Reply::Map(vec![
            ("server".into(), "redis".into()),
            ("version".into(), super::VERSION.into()),
            ("proto".into(), Reply::Integer(number)),
            ("id".into(), Reply::Integer(id as i64)),
            ("mode".into(), "sentinel".into()),
            ("modules".into(), Reply::Array(Vec::new())),
        ])
    }

    fn subscribe(&mut self, kind: &str, names: &[Bytes]) -> Reply {
        let mut replies = Vec::new();
        for name in names {
            let set = if kind == "subscribe" { &mut self.channels } else { &mut self.patterns };
            set.insert(name.clone());
            let count = self.channels.len() + self.patterns.len();
            replies.push(Reply::Push(vec![kind.into(), name.clone().into(), count.into()]));
        }
        Reply::Several(replies)
    }

    fn unsubscribe(&mut self, kind: &str, names: &[Bytes]) -> Reply {
        let set = if kind == "unsubscribe" { &self.channels } else { &self.patterns };
        let all: Vec<Bytes> = set.iter().cloned().collect();
        let names = if names.is_empty() { &all } else { names };
        let mut replies = Vec::new();
        for name in names {
            let set = if kind == "unsubscribe" { &mut self.channels } else { &mut self.patterns };
            set.remove(name);
            let count = self.channels.len() + self.patterns.len();
            replies.push(Reply::Push(vec![kind.into(), name.clone().into(), count.into()]));
        }
        if replies.is_empty() {
            let count = self.channels.len() + self.patterns.len();
            replies.push(Reply::Push(vec![kind.into(), Reply::Null, count.into()]));
        }
        Reply::Several(replies)
    }
}

fn command(request: &[Bytes]) -> Reply {
    let entry = |(name, arity): &(&str, i32)| {
        let zero = || Reply::Integer(0);
        let flags = Reply::Set(Vec::new());
        Reply::Array(vec![(*name).into(), Reply::Integer(i64::from(*arity)), flags, zero(), zero(), zero()])
    };
    let subcommand = request.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
    match subcommand.as_deref() {
        None => Reply::Array(COMMANDS.iter().map(entry).collect()),
        Some("count") => COMMANDS.len().into(),
        Some("list") => COMMANDS.iter().map(|(name, _)| *name).collect(),
        Some(other) => Reply::error(format!("ERR unknown subcommand '{other}'. Try COMMAND HELP.")),
    }
}

fn acl(request: &[Bytes]) -> Reply {
    let subcommand = String::from_utf8_lossy(&request[1]).to_ascii_lowercase();
    match subcommand.as_str() {
        "whoami" => "default".into(),
        other => Reply::error(format!("ERR unknown subcommand '{other}'. Try ACL HELP.")),
    }
}
