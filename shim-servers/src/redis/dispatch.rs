//! The way of a request to its command: may it run here, now, and for this client?
//!
//! Owns these checks, in Redis's order, and transactions. Must not know what commands do. Invariant: a command that is refused
//! inside a transaction makes EXEC fail.

use bytes::{BufMut, Bytes, BytesMut};

use super::call::{Answer, Call, Origin, Stop, wrong_arity};
use super::client::{Blocked, ReplyMode, Role, Transaction};
use super::cluster::redirect::redirection;
use super::journal::{Circumstances, Grouping};
use super::state::{State, now_us};
use super::table::{COMMANDS, Command};
use super::wire::{Protocol, Reply};

/// The command of this name.
pub(crate) fn find_command(name: &[u8]) -> Option<&'static Command> {
    let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
    let found = COMMANDS.binary_search_by(|command| command.name.cmp(&name)).ok()?;
    COMMANDS.get(found)
}

/// Executes a request of a client, and sends the answer.
pub(crate) fn process(state: &mut State, id: u64, args: Vec<Bytes>) {
    let Some(client) = state.clients.get_mut(&id) else { return };
    client.used_ms = super::state::now_ms();
    if client.reply_mode == ReplyMode::SkipNext {
        client.reply_mode = ReplyMode::Skip;
    }
    let in_transaction = client.transaction.is_some();
    match check(state, id, &args) {
        Err(Stop::Error(error)) => {
            if let Some(transaction) =
                state.clients.get_mut(&id).and_then(|client| client.transaction.as_mut())
            {
                transaction.is_aborted = true;
            }
            let is_exec = args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"exec"));
            let ends = is_exec && in_transaction;
            if ends {
                abort(state, id);
            }
            let reply = match ends && !is_redirection(&error) {
                true => Reply::error(format!("EXECABORT Transaction discarded because of: {error}")),
                false => Reply::Error(error),
            };
            state.send_answer(id, &reply);
        }
        Err(Stop::Wait { .. }) => {}
        Ok(command) if in_transaction && !command.is_immediate() => {
            if let Some(transaction) =
                state.clients.get_mut(&id).and_then(|client| client.transaction.as_mut())
            {
                transaction.commands.push(args);
            }
            state.send_answer(id, &Reply::simple("QUEUED"));
        }
        Ok(command) => execute(state, id, command, args),
    }
    if let Some(client) = state.clients.get_mut(&id).filter(|client| client.reply_mode == ReplyMode::Skip) {
        client.reply_mode = ReplyMode::On;
    }
    state.serve_waiting();
}

/// Whether an error says that the request belongs elsewhere.
fn is_redirection(error: &str) -> bool {
    ["MOVED ", "ASK ", "CROSSSLOT ", "TRYAGAIN ", "CLUSTERDOWN "].iter().any(|code| error.starts_with(code))
}

fn execute(state: &mut State, id: u64, command: &'static Command, args: Vec<Bytes>) {
    let database = state.clients.get(&id).map_or(0, |client| client.database);
    let at = state.circumstances(database);
    state.show_monitors(id, database, command, &args);
    let answer = if command.name == "exec" {
        exec(state, id, at)
    } else {
        run(state, id, command, args, at, Origin::Client)
    };
    if let Some(client) = state.clients.get_mut(&id).filter(|_| command.name != "asking") {
        client.is_asking = false;
    }
    match answer {
        Ok(reply) => state.send_answer(id, &reply),
        Err(Stop::Error(error)) => state.send_answer(id, &Reply::Error(error)),
        Err(Stop::Wait { on, deadline, at_timeout }) => {
            state.start_waiting(id, Blocked { on, deadline, at_timeout });
        }
    }
}

/// Runs a command and records what it changed.
pub(crate) fn run(
    state: &mut State,
    client: u64,
    command: &'static Command,
    args: Vec<Bytes>,
    at: Circumstances,
    origin: Origin,
) -> Answer {
    state.stats.commands += 1;
    *state.stats.command_counts.entry(command.name).or_default() += 1;
    if let Some(client) = state.clients.get_mut(&client) {
        client.last_command = command.name.to_owned();
    }
    let random = fastrand::Rng::with_seed(at.seed);
    let mut call = Call { state, client, args, at, random, origin, changes: 0, recorded_as: None };
    let answer = (command.handler)(&mut call);
    let Call { state, args, changes, recorded_as, .. } = call;
    if changes > 0 && origin != Origin::Journal {
        state.record(at, recorded_as.as_deref().unwrap_or(&args));
        let offset = state.replication.offset;
        let end = state.journal.appended;
        if let Some(client) = state.clients.get_mut(&client) {
            client.written_offset = offset;
            client.outlet.push(end, 1, |_| {});
        }
    }
    answer
}

/// Applies a record of a journal: of the file, or of our master.
pub(crate) fn apply(state: &mut State, at: Circumstances, args: Vec<Bytes>) {
    let Some(command) = args.first().and_then(|name| find_command(name)) else { return };
    // It was executed once, with a reply that somebody heard: what it says here is of no interest.
    let _ = run(state, 0, command, args, at, Origin::Journal);
}

/// Whether a command may run.
fn check(state: &mut State, id: u64, args: &[Bytes]) -> Result<&'static Command, Stop> {
    let name = args.first().cloned().unwrap_or_default();
    let Some(command) = find_command(&name) else { return Err(unknown(&name, args)) };
    if !command.accepts(args.len()) {
        return Err(wrong_arity(command.name));
    }
    let Some(client) = state.clients.get(&id) else { return Err("ERR no client".into()) };
    if !client.is_authenticated && !command.has("no_auth") {
        return Err("NOAUTH Authentication required.".into());
    }
    let queued = || client.transaction.iter().flat_map(|transaction| &transaction.commands);
    let is_exec = command.name == "exec";
    let queues_write = || {
        queued().any(|args| args.first().and_then(|name| find_command(name)).is_some_and(|c| c.has("write")))
    };
    let is_write = command.has("write") || (is_exec && queues_write());
    let is_ours = matches!(client.role, Role::Normal);
    if is_ours && let Some(error) = redirection(state, client, command, args) {
        return Err(error.into());
    }
    if is_write && is_ours && !state.is_replica() && !state.has_enough_replicas() {
        return Err("NOREPLICAS Not enough good replicas to write.".into());
    }
    if is_write && state.is_replica() && state.config.is_on("replica-read-only") {
        return Err("READONLY You can't write against a read only replica.".into());
    }
    let is_listening = client.subscriptions() > 0 && client.protocol == Protocol::Resp2;
    if is_listening && !command.is_for_listeners() {
        return Err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
             this context",
            command.full_name(args)
        )
        .into());
    }
    let is_stale = state.is_replica() && !state.replication.is_link_up();
    if is_stale && !state.config.is_on("replica-serve-stale-data") && !command.has("stale") {
        let error = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
        return Err(error.into());
    }
    if client.transaction.is_some() && command.has("no_multi") {
        return Err("ERR Command not allowed inside a transaction".into());
    }
    Ok(command)
}

fn unknown(name: &[u8], args: &[Bytes]) -> Stop {
    let mut shown = String::new();
    for argument in args.iter().skip(1) {
        if shown.len() >= 128 {
            break;
        }
        let room = 128 - shown.len();
        let part = &argument[..argument.len().min(room)];
        shown.push_str(&format!("'{}' ", String::from_utf8_lossy(part)));
    }
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
    format!("ERR unknown command '{name}', with args beginning with: {shown}").into()
}

/// Ends a transaction without executing it.
pub(crate) fn abort(state: &mut State, id: u64) -> Option<Transaction> {
    state.unwatch(id);
    state.clients.get_mut(&id)?.transaction.take()
}

/// Executes the commands of a transaction.
fn exec(state: &mut State, id: u64, at: Circumstances) -> Answer {
    let is_broken = state.watches_expired(id);
    let Some(client) = state.clients.get_mut(&id) else { return Err("ERR no client".into()) };
    if client.transaction.is_none() {
        return Err("ERR EXEC without MULTI".into());
    }
    let is_stale = client.is_stale || is_broken;
    let Some(transaction) = abort(state, id) else { return Err("ERR EXEC without MULTI".into()) };
    if transaction.is_aborted {
        return Err("EXECABORT Transaction discarded because of previous errors.".into());
    }
    if is_stale {
        return Ok(Reply::NullArray);
    }
    state.journal.grouping = Grouping::Pending;
    let mut replies = Vec::with_capacity(transaction.commands.len());
    let mut last = at;
    for args in transaction.commands {
        let Some(command) = args.first().and_then(|name| find_command(name)) else { continue };
        let database = state.clients.get(&id).map_or(0, |client| client.database);
        last = Circumstances { now_ms: at.now_ms, ..state.circumstances(database) };
        state.show_monitors(id, database, command, &args);
        replies.push(match run(state, id, command, args, last, Origin::Transaction) {
            Ok(reply) => reply,
            Err(Stop::Error(error)) => Reply::Error(error),
            Err(Stop::Wait { at_timeout, .. }) => at_timeout,
        });
    }
    state.close_group(last);
    Ok(Reply::Array(replies))
}

impl State {
    /// Sends the answer to a request, unless the client does not want to hear it.
    pub(crate) fn send_answer(&mut self, id: u64, reply: &Reply) {
        if let Reply::Error(error) = reply {
            self.stats.errors += 1;
            let code = error.split(' ').next().unwrap_or_default().to_owned();
            *self.stats.error_counts.entry(code).or_default() += 1;
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        let after = std::mem::take(&mut client.after_reply);
        if client.reply_mode == ReplyMode::On {
            self.send(id, reply);
        }
        after.iter().for_each(|reply| self.send(id, reply));
    }

    /// Whether a key that a client watches ran out of time since.
    fn watches_expired(&self, id: u64) -> bool {
        let now_ms = super::state::now_ms();
        let Some(client) = self.clients.get(&id) else { return false };
        client.watched.iter().any(|(database, key)| {
            let entry = self.databases[*database].find(key);
            entry.and_then(|entry| entry.expires_at_ms).is_some_and(|at| at <= now_ms)
        })
    }

    /// Shows a command to clients that said MONITOR.
    fn show_monitors(&self, id: u64, database: usize, command: &Command, args: &[Bytes]) {
        let is_private = command.has("skip_monitor") || command.has("admin");
        let Some(client) = self.clients.get(&id) else { return };
        if is_private || !self.clients.values().any(|client| client.is_monitor) {
            return;
        }
        let now_us = now_us();
        let is_secret = matches!(command.name, "auth" | "hello");
        let mut line = BytesMut::new();
        line.put_slice(format!("{}.{:06}", now_us / 1_000_000, now_us % 1_000_000).as_bytes());
        line.put_slice(format!(" [{database} {}]", client.peer).as_bytes());
        for (index, argument) in args.iter().enumerate() {
            let shown = if is_secret && index > 0 { &b"(redacted)"[..] } else { argument };
            line.put_slice(format!(" \"{}\"", shown.escape_ascii()).as_bytes());
        }
        let line = Reply::simple(String::from_utf8_lossy(&line).into_owned());
        for monitor in self.clients.values().filter(|client| client.is_monitor) {
            self.send(monitor.id, &line);
        }
    }
}
