//! `SENTINEL`: what clients and other sentinels ask.
//!
//! Owns the subcommands, their numbers of arguments and their errors. Must not know connections. Invariant: a subcommand that
//! is not known here is refused in Redis's words.

use std::net::IpAddr;

use bytes::Bytes;

use super::state::{Master, Phase, State, Who};
use super::{election, failover, report, settings};
use crate::redis::numbers::glob_matches;
use crate::redis::wire::Reply;

/// Name and number of arguments, `SENTINEL` itself counted; a negative one is the least number.
const SUBCOMMANDS: [(&str, i32); 20] = [
    ("ckquorum", 3),
    ("config", -4),
    ("debug", -2),
    ("failover", 3),
    ("flushconfig", 2),
    ("get-master-addr-by-name", 3),
    ("info-cache", -3),
    ("is-master-down-by-addr", 6),
    ("master", 3),
    ("masters", 2),
    ("monitor", 6),
    ("myid", 2),
    ("pending-scripts", 2),
    ("remove", 3),
    ("replicas", 3),
    ("reset", 3),
    ("sentinels", 3),
    ("set", -5),
    ("slaves", 3),
    ("simulate-failure", -3),
];

/// Whether `count` arguments are right for `arity`.
pub(super) fn fits(arity: i32, count: usize) -> bool {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    if arity < 0 { count >= -arity } else { count == arity }
}

pub(super) fn no_such_master() -> Reply {
    Reply::error("ERR No such master with that name")
}

impl State {
    /// Answers `SENTINEL …`.
    pub(super) fn sentinel(&mut self, request: &[Bytes]) -> Reply {
        let words: Vec<&str> =
            request.iter().map(|word| std::str::from_utf8(word).unwrap_or("\u{fffd}")).collect();
        let subcommand = words[1].to_ascii_lowercase();
        let Some((name, arity)) = SUBCOMMANDS.iter().find(|(name, _)| *name == subcommand) else {
            return Reply::error(format!("ERR unknown subcommand '{}'. Try SENTINEL HELP.", words[1]));
        };
        if !fits(*arity, words.len()) {
            return Reply::error(format!("ERR wrong number of arguments for 'sentinel|{name}' command"));
        }
        match *name {
            "myid" => Reply::bulk(&self.shared.id),
            "masters" => {
                let fields = |master: &Master| report::fields(master, &master.own, &self.shared);
                Reply::Array(self.masters.values().map(fields).collect())
            }
            "get-master-addr-by-name" => match self.masters.get(words[2]) {
                Some(master) => {
                    let address = master.current_address();
                    [address.ip().to_string(), address.port().to_string()].into_iter().collect()
                }
                None => Reply::NullArray,
            },
            "is-master-down-by-addr" => self.is_master_down(&words),
            "reset" => self.reset(words[2].as_bytes()),
            "flushconfig" => {
                self.shared.is_dirty = true;
                Reply::OK
            }
            "pending-scripts" => Reply::Array(Vec::new()),
            "monitor" => settings::monitor(self, &words),
            "config" => settings::config(self, &words),
            "debug" => settings::debug(&mut self.shared, &words),
            "info-cache" => self.info_cache(&words[2..]),
            "simulate-failure" => Reply::error("ERR Unknown failure simulation specified"),
            name => self.of_master(name, &words),
        }
    }

    /// The subcommands that name a master.
    fn of_master(&mut self, subcommand: &str, words: &[&str]) -> Reply {
        let shared = &mut self.shared;
        let Some(master) = self.masters.get_mut(words[2]) else { return no_such_master() };
        match subcommand {
            "master" => report::fields(master, &master.own, shared),
            "replicas" | "slaves" => {
                let announced = master.replicas.values().filter(|replica| replica.is_announced);
                Reply::Array(announced.map(|replica| report::fields(master, replica, shared)).collect())
            }
            "sentinels" => {
                let others = master.sentinels.values();
                Reply::Array(others.map(|other| report::fields(master, other, shared)).collect())
            }
            "ckquorum" => report::quorum(master),
            "failover" if master.failover.phase != Phase::None => {
                Reply::error("INPROG Failover already in progress")
            }
            "failover" if failover::best_replica(master, shared).is_none() => {
                Reply::error("NOGOODSLAVE No suitable replica to promote")
            }
            "failover" => {
                failover::start(master, true, shared);
                Reply::OK
            }
            "set" => settings::set(master, &words[3..], shared),
            _ => {
                shared.event("-monitor", master.describe(&Who::Master));
                let name = words[2].to_owned();
                if let Some(mut master) = self.masters.remove(&name) {
                    failover::forget_servers(&mut master, &mut self.shared);
                    for mut sentinel in master.sentinels.into_values() {
                        self.shared.close(&mut sentinel);
                    }
                }
                self.shared.is_dirty = true;
                Reply::OK
            }
        }
    }

    /// What we think of a master, and our vote where one is asked for.
    fn is_master_down(&mut self, words: &[&str]) -> Reply {
        let not_a_number = || Reply::error("ERR value is not an integer or out of range");
        let (Ok(port), Ok(epoch)) = (words[3].parse::<u16>(), words[4].parse::<u64>()) else {
            return not_a_number();
        };
        let Ok(ip) = words[2].parse::<IpAddr>() else {
            return [Reply::Integer(0), "*".into(), Reply::Integer(0)].into_iter().collect();
        };
        let shared = &mut self.shared;
        let is_it = |master: &&mut Master| (master.own.address.ip(), master.own.address.port()) == (ip, port);
        let (mut is_down, mut leader, mut leader_epoch) = (false, None, 0);
        if let Some(master) = self.masters.values_mut().find(is_it) {
            is_down = !shared.is_tilted && master.own.is_s_down;
            if words[5] != "*" {
                (leader, leader_epoch) = election::vote(master, epoch, words[5], shared);
            }
        }
        let leader = leader.unwrap_or_else(|| "*".to_owned());
        let leader_epoch = i64::try_from(leader_epoch).unwrap_or(i64::MAX);
        Reply::Array(vec![is_down.into(), leader.into(), Reply::Integer(leader_epoch)])
    }

    fn reset(&mut self, pattern: &[u8]) -> Reply {
        let mut count = 0_usize;
        let shared = &mut self.shared;
        for master in self.masters.values_mut() {
            if !glob_matches(pattern, master.name.as_bytes()) {
                continue;
            }
            failover::forget_servers(master, shared);
            for mut sentinel in std::mem::take(&mut master.sentinels).into_values() {
                shared.close(&mut sentinel);
            }
            shared.event("+reset-master", master.describe(&Who::Master));
            shared.is_dirty = true;
            count += 1;
        }
        count.into()
    }

    fn info_cache(&self, names: &[&str]) -> Reply {
        let mut all = Vec::new();
        for master in names.iter().filter_map(|name| self.masters.get(*name)) {
            let instances = std::iter::once(&master.own).chain(master.replicas.values());
            let cached = instances.map(|instance| {
                let age_ms = if instance.info_ms == 0 { 0 } else { self.shared.now - instance.info_ms };
                Reply::Array(vec![Reply::Integer(age_ms), instance.info.clone().into()])
            });
            all.push((Reply::bulk(&master.name), Reply::Array(cached.collect())));
        }
        Reply::Map(all)
    }
}
