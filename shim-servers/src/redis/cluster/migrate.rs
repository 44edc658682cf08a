//! MIGRATE: keys on their way to another server.
//!
//! Owns the conversation with the other server. Must not know slots. Invariant: a key is deleted here after the other server
//! said that it has it, and nobody sees it in between: meanwhile this server executes nothing else.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::client::BlockedOn;
use crate::redis::server::Server;
use crate::redis::state::State;
use crate::redis::wire::{Link, Reply};

/// What is to be moved, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Migration {
    host: String,
    port: u16,
    database: usize,
    target_database: i64,
    keys: Vec<Bytes>,
    limit: Duration,
    copies: bool,
    replaces: bool,
    login: Vec<Bytes>,
}

pub(crate) fn migrate(call: &mut Call) -> Answer {
    let port = call
        .integer(2)
        .ok()
        .and_then(|port| u16::try_from(port).ok())
        .ok_or("ERR Invalid TCP port specified")?;
    let ms = call.integer(5)?;
    let mut migration = Migration {
        host: String::from_utf8_lossy(&call.args[1]).into_owned(),
        port,
        database: call.at.database,
        target_database: call.integer(4)?,
        keys: vec![call.arg(3)],
        limit: Duration::from_millis(if ms <= 0 { 1_000 } else { ms as u64 }),
        copies: false,
        replaces: false,
        login: Vec::new(),
    };
    let mut index = 6;
    while !call.ends_at(index) {
        if call.is(index, "COPY") {
            migration.copies = true;
        } else if call.is(index, "REPLACE") {
            migration.replaces = true;
        } else if call.is(index, "AUTH") && !call.ends_at(index + 1) {
            migration.login = vec![call.arg(index + 1)];
            index += 1;
        } else if call.is(index, "AUTH2") && !call.ends_at(index + 2) {
            migration.login = vec![call.arg(index + 1), call.arg(index + 2)];
            index += 2;
        } else if call.is(index, "KEYS") {
            if !call.args[3].is_empty() {
                return Err(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string"
                        .into(),
                );
            }
            migration.keys = call.args_from(index + 1);
            break;
        } else {
            return Err(SYNTAX.into());
        }
        index += 1;
    }
    let mut keys = std::mem::take(&mut migration.keys);
    keys.retain(|key| call.is_there(key));
    if keys.is_empty() {
        return Ok(Reply::simple("NOKEY"));
    }
    if call.origin != crate::redis::call::Origin::Client {
        return Err("ERR MIGRATE inside a transaction is not spoken by this server".into());
    }
    migration.keys = keys;
    call.state.pause.all_until = Some(Instant::now() + migration.limit * 4);
    call.client().migration = Some(migration);
    Err(Stop::Wait { on: BlockedOn::Migration, deadline: None, at_timeout: Reply::Null })
}

/// Lets the others go on, however it ends.
struct Paused<'a>(&'a Server);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.with(|state| {
            state.pause.all_until = None;
            state.pause.is_over.notify_waiters();
        });
    }
}

/// Moves the keys, and answers the client.
pub(crate) async fn perform(server: &Server, client: u64, migration: Migration) {
    let _paused = Paused(server);
    let requests = server.with(|state| requests(state, &migration));
    let mut moved = Vec::new();
    let failure = match talk(&migration, &requests, &mut moved).await {
        Ok(refused) => refused,
        Err(what) => Some(format!("IOERR error or timeout {what} target instance")),
    };
    server.with(|state| {
        if !migration.copies && !moved.is_empty() {
            let at = state.circumstances(migration.database);
            let mut command = vec![Bytes::from_static(b"DEL")];
            for key in &moved {
                state.databases[migration.database].remove(key);
                state.touch_watched(migration.database, key);
            }
            command.extend(moved);
            state.record(at, &command);
        }
        state.stop_waiting(client);
        let reply = failure.map_or(Reply::OK, Reply::error);
        state.send_answer(client, &reply);
    });
}

/// One request for each key that makes it there.
fn requests(state: &State, migration: &Migration) -> Vec<(Bytes, Vec<Bytes>)> {
    let word = if state.cluster.is_some() { "RESTORE-ASKING" } else { "RESTORE" };
    let now_ms = crate::redis::state::now_ms();
    let request = |key: &Bytes| {
        let entry = state.databases[migration.database].find(key)?;
        let ttl_ms = entry.expires_at_ms.map_or(0, |at| (at - now_ms).max(1));
        let mut words = vec![
            Bytes::from_static(word.as_bytes()),
            key.clone(),
            ttl_ms.to_string().into(),
            crate::redis::commands::dump(&entry.value),
        ];
        if migration.replaces {
            words.push(Bytes::from_static(b"REPLACE"));
        }
        Some((key.clone(), words))
    };
    migration.keys.iter().filter_map(request).collect()
}

/// Sends the keys. Says which ones arrived, and what the other server had against the rest.
async fn talk(
    migration: &Migration,
    requests: &[(Bytes, Vec<Bytes>)],
    moved: &mut Vec<Bytes>,
) -> Result<Option<String>, &'static str> {
    let connecting = Link::connect((migration.host.as_str(), migration.port));
    let link = timeout(migration.limit, connecting).await.map_err(|_| "connecting to the")?;
    let mut link = link.map_err(|_| "connecting to the")?;
    let mut refused = None;
    let mut before = Vec::new();
    if !migration.login.is_empty() {
        before.push([&[Bytes::from_static(b"AUTH")], &migration.login[..]].concat());
    }
    if migration.target_database != 0 {
        before.push(vec![Bytes::from_static(b"SELECT"), migration.target_database.to_string().into()]);
    }
    for words in before {
        let reply = ask(&mut link, &words, migration.limit).await?;
        if let Some(error) = reply.as_error() {
            return Ok(Some(format!("ERR Target instance replied with error: {error}")));
        }
    }
    for (key, words) in requests {
        let reply = ask(&mut link, words, migration.limit).await?;
        match reply.as_error() {
            None => moved.push(key.clone()),
            Some(error) => {
                refused.get_or_insert(format!("ERR Target instance replied with error: {error}"));
            }
        }
    }
    Ok(refused)
}

async fn ask(link: &mut Link, words: &[Bytes], limit: Duration) -> Result<Reply, &'static str> {
    timeout(limit, link.call(words)).await.map_err(|_| "reading from")?.map_err(|_| "reading from")
}
