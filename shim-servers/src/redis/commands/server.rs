//! Commands about the server.
//!
//! Owns CONFIG, COMMAND, DEBUG, SHUTDOWN and the like. Must not know keys. Invariant: what it does not speak is an error.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::redis::call::{Answer, Call, SYNTAX, unknown_subcommand, wrong_arity};
use crate::redis::config::Refused;
use crate::redis::config_file;
use crate::redis::dispatch::find_command;
use crate::redis::numbers::{glob_matches, parse_double};
use crate::redis::state::now_us;
use crate::redis::table::{COMMANDS, Command, Keys};
use crate::redis::wire::Reply;

pub(crate) fn time(_: &mut Call) -> Answer {
    let now_us = now_us();
    Ok([(now_us / 1_000_000).to_string(), (now_us % 1_000_000).to_string()].into_iter().collect())
}

pub(crate) fn config(call: &mut Call) -> Answer {
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    let count = call.args.len();
    match subcommand.as_str() {
        "get" if count >= 3 => {
            let mut found = std::collections::BTreeMap::new();
            for pattern in call.args_from(2) {
                found.extend(call.state.config.matching(&String::from_utf8_lossy(&pattern)));
            }
            let pair = |(name, value): (String, String)| (name.into(), value.into());
            Ok(Reply::Map(found.into_iter().map(pair).collect()))
        }
        "set" if count >= 4 && count.is_multiple_of(2) => set(call),
        "resetstat" if count == 2 => {
            call.state.stats = Default::default();
            Ok(Reply::OK)
        }
        "rewrite" if count == 2 && !call.state.config.is_on("appendonly") => {
            Err("ERR The server is running without a config file".into())
        }
        "rewrite" if count == 2 => match config_file::write(call.state) {
            Ok(()) => Ok(Reply::OK),
            Err(error) => Err(format!("ERR Rewriting config file: {error}").into()),
        },
        "get" | "set" | "resetstat" | "rewrite" => Err(wrong_arity(&format!("config|{subcommand}"))),
        _ => Err(unknown_subcommand("CONFIG", &call.args[1])),
    }
}

fn set(call: &mut Call) -> Answer {
    let mut config = call.state.config.clone();
    for pair in call.args_from(2).chunks(2) {
        let (name, value) = (String::from_utf8_lossy(&pair[0]), String::from_utf8_lossy(&pair[1]));
        let why = match config.set(&name, &value) {
            Ok(()) => continue,
            Err(Refused::Unknown) => {
                let error = format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
                return Err(error.into());
            }
            Err(Refused::Immutable) => "can't set immutable config".to_owned(),
            Err(Refused::Invalid(why)) => why,
        };
        return Err(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into());
    }
    call.state.config = config;
    Ok(Reply::OK)
}

fn about(command: &Command) -> Reply {
    let (first, last, step) = command.key_range();
    let words = |text: &'static str, separator: char| {
        let words = text.split(separator).filter(|word| !word.is_empty());
        Reply::Set(words.map(Reply::simple).collect())
    };
    Reply::Array(vec![
        command.name.into(),
        i64::from(command.arity).into(),
        words(command.flags, ','),
        first.into(),
        last.into(),
        step.into(),
        words(command.categories, ' '),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

pub(crate) fn command(call: &mut Call) -> Answer {
    if call.ends_at(1) {
        return Ok(Reply::Array(COMMANDS.iter().map(about).collect()));
    }
    let subcommand = String::from_utf8_lossy(&call.args[1]).to_lowercase();
    match subcommand.as_str() {
        "count" => Ok(COMMANDS.len().into()),
        "info" => {
            let names = call.args_from(2);
            if names.is_empty() {
                return Ok(Reply::Array(COMMANDS.iter().map(about).collect()));
            }
            Ok(Reply::Array(names.iter().map(|name| find_command(name).map_or(Reply::Null, about)).collect()))
        }
        "list" if call.args.len() == 2 => Ok(COMMANDS.iter().map(|command| command.name).collect()),
        "list" if call.is(2, "FILTERBY") && call.is(3, "PATTERN") && call.args.len() == 5 => {
            let pattern = call.arg(4);
            let named = COMMANDS.iter().map(|command| command.name);
            Ok(named.filter(|name| glob_matches(&pattern, name.as_bytes())).collect())
        }
        "list" => Err(SYNTAX.into()),
        "docs" => {
            let names = call.args_from(2);
            let shown = COMMANDS.iter().filter(|command| {
                names.is_empty()
                    || names.iter().any(|name| name.eq_ignore_ascii_case(command.name.as_bytes()))
            });
            let doc = |command: &Command| {
                let group = Reply::from(command.group());
                (command.name.into(), Reply::Map(vec![("group".into(), group)]))
            };
            Ok(Reply::Map(shown.map(doc).collect()))
        }
        "getkeys" if call.args.len() > 3 => keys_of(&call.args_from(2)),
        "getkeys" => Err(wrong_arity("command|getkeys")),
        _ => Err(unknown_subcommand("COMMAND", &call.args[1])),
    }
}

fn keys_of(args: &[Bytes]) -> Answer {
    let command = args.first().and_then(|name| find_command(name)).ok_or("ERR Invalid command specified")?;
    if !command.accepts(args.len()) {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    if matches!(command.keys, Keys::None) {
        return Err("ERR The command has no key arguments".into());
    }
    Ok(command.keys_in(args).into_iter().collect())
}

pub(crate) fn debug(call: &mut Call) -> Answer {
    if call.is(1, "SLEEP") && call.args.len() == 3 {
        let seconds = parse_double(&call.args[2]).filter(|seconds| (0.0..1e9).contains(seconds));
        let seconds = seconds.ok_or("ERR value is not a valid float")?;
        call.state.pause.all_until = Some(Instant::now() + Duration::from_secs_f64(seconds));
        return Ok(Reply::OK);
    }
    if call.is(1, "SET-ACTIVE-EXPIRE") && call.args.len() == 3 {
        call.state.expires_actively = call.integer(2)? != 0;
        return Ok(Reply::OK);
    }
    if call.is(1, "CHANGE-REPL-ID") {
        let mut random = call.state.random.fork();
        call.state.replication.take_new_name(&mut random);
        return Ok(Reply::OK);
    }
    Err(unknown_subcommand("DEBUG", &call.args[1]))
}

pub(crate) fn shutdown(call: &mut Call) -> Answer {
    for index in 1..call.args.len() {
        let is_known = ["NOSAVE", "SAVE", "NOW", "FORCE"].iter().any(|word| call.is(index, word));
        if call.is(index, "ABORT") {
            return Err("ERR No shutdown in progress.".into());
        }
        if !is_known {
            return Err(SYNTAX.into());
        }
    }
    call.state.is_shutting_down = true;
    Ok(Reply::nothing())
}

pub(crate) fn monitor(call: &mut Call) -> Answer {
    call.client().is_monitor = true;
    Ok(Reply::OK)
}

pub(crate) fn lastsave(call: &mut Call) -> Answer {
    Ok((call.state.last_save_ms / 1000).into())
}

pub(crate) fn bgrewriteaof(call: &mut Call) -> Answer {
    if !call.state.journal.is_kept {
        return Err("ERR this server keeps no append only file".into());
    }
    call.state.journal.wants_rewrite = true;
    call.state.journal.ready.notify_one();
    Ok(Reply::simple("Background append only file rewriting started"))
}

/// There is no file beside the append-only one: what SAVE promises is true already where that is kept.
fn save_file(call: &mut Call) -> Result<(), crate::redis::call::Stop> {
    if !call.state.journal.is_kept {
        return Err(
            "ERR this server keeps no RDB file, and was not given a folder for an append only one".into()
        );
    }
    call.state.last_save_ms = call.at.now_ms;
    call.state.journal.wants_rewrite = true;
    call.state.journal.ready.notify_one();
    Ok(())
}

pub(crate) fn save(call: &mut Call) -> Answer {
    save_file(call)?;
    Ok(Reply::OK)
}

pub(crate) fn bgsave(call: &mut Call) -> Answer {
    save_file(call)?;
    Ok(Reply::simple("Background saving started"))
}

pub(crate) fn refused_script(_: &mut Call) -> Answer {
    Err("ERR scripts and functions are not spoken by this server".into())
}
