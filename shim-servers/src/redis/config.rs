//! The configuration: names, values, and which ones may change.
//!
//! Owns the parameters that matter here. Must not know what they do. Invariant: a value that is kept is one that Redis would
//! keep.

use std::collections::BTreeMap;

use super::numbers::glob_matches;

/// How a parameter is checked.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// `yes` or `no`.
    Switch,
    Number(i64, i64),
    /// Bytes, with `kb`, `mb`, `gb` behind the number.
    Memory,
    Text,
    Choice(&'static [&'static str]),
    /// Set when the server starts, and never after.
    Fixed,
}

const INT: Kind = Kind::Number(0, i32::MAX as i64);

/// Name, default, check.
const PARAMETERS: &[(&str, &str, Kind)] = &[
    ("appenddirname", "appendonlydir", Kind::Fixed),
    ("appendfilename", "appendonly.aof", Kind::Fixed),
    ("appendfsync", "everysec", Kind::Choice(&["everysec", "always", "no"])),
    ("appendonly", "no", Kind::Fixed),
    ("auto-aof-rewrite-min-size", "67108864", Kind::Memory),
    ("auto-aof-rewrite-percentage", "100", INT),
    ("bind", "* -::*", Kind::Fixed),
    (
        "client-output-buffer-limit",
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        Kind::Text,
    ),
    ("cluster-allow-pubsubshard-when-down", "yes", Kind::Switch),
    ("cluster-allow-reads-when-down", "no", Kind::Switch),
    ("cluster-allow-replica-migration", "yes", Kind::Switch),
    ("cluster-announce-hostname", "", Kind::Text),
    ("cluster-announce-ip", "", Kind::Text),
    ("cluster-announce-port", "0", Kind::Number(0, 65535)),
    ("cluster-config-file", "nodes.conf", Kind::Fixed),
    ("cluster-enabled", "no", Kind::Fixed),
    ("cluster-migration-barrier", "1", INT),
    ("cluster-node-timeout", "15000", INT),
    ("cluster-port", "0", Kind::Fixed),
    ("cluster-preferred-endpoint-type", "ip", Kind::Choice(&["ip", "hostname", "unknown-endpoint"])),
    ("cluster-replica-no-failover", "no", Kind::Switch),
    ("cluster-replica-validity-factor", "10", INT),
    ("cluster-require-full-coverage", "yes", Kind::Switch),
    ("databases", "16", Kind::Fixed),
    ("dbfilename", "dump.rdb", Kind::Text),
    ("dir", "/", Kind::Text),
    ("enable-debug-command", "yes", Kind::Fixed),
    ("hash-max-listpack-entries", "512", INT),
    ("hash-max-listpack-value", "64", INT),
    ("hz", "10", Kind::Number(1, 500)),
    ("latency-tracking", "yes", Kind::Switch),
    ("lazyfree-lazy-expire", "no", Kind::Switch),
    ("lazyfree-lazy-user-del", "no", Kind::Switch),
    ("list-max-listpack-size", "-2", Kind::Number(i32::MIN as i64, i32::MAX as i64)),
    ("loglevel", "notice", Kind::Choice(&["debug", "verbose", "notice", "warning"])),
    ("masterauth", "", Kind::Text),
    ("masteruser", "", Kind::Text),
    ("maxclients", "10000", Kind::Number(1, u32::MAX as i64)),
    ("maxmemory", "0", Kind::Memory),
    (
        "maxmemory-policy",
        "noeviction",
        Kind::Choice(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
    ),
    ("min-replicas-max-lag", "10", INT),
    ("min-replicas-to-write", "0", INT),
    ("notify-keyspace-events", "", Kind::Text),
    ("port", "6379", Kind::Fixed),
    ("proto-max-bulk-len", "536870912", Kind::Memory),
    ("protected-mode", "no", Kind::Switch),
    ("repl-backlog-size", "1048576", Kind::Memory),
    ("repl-backlog-ttl", "3600", INT),
    ("repl-diskless-sync", "yes", Kind::Switch),
    ("repl-diskless-sync-delay", "0", INT),
    ("repl-ping-replica-period", "10", Kind::Number(1, i32::MAX as i64)),
    ("repl-timeout", "60", Kind::Number(1, i32::MAX as i64)),
    ("replica-announce-ip", "", Kind::Text),
    ("replica-announce-port", "0", Kind::Number(0, 65535)),
    ("replica-announced", "yes", Kind::Switch),
    ("replica-priority", "100", INT),
    ("replica-read-only", "yes", Kind::Switch),
    ("replica-serve-stale-data", "yes", Kind::Switch),
    ("replicaof", "", Kind::Fixed),
    ("requirepass", "", Kind::Text),
    ("save", "", Kind::Text),
    ("set-max-intset-entries", "512", INT),
    ("slowlog-log-slower-than", "10000", Kind::Number(-1, i64::MAX)),
    ("slowlog-max-len", "128", INT),
    ("stop-writes-on-bgsave-error", "yes", Kind::Switch),
    ("stream-node-max-bytes", "4096", Kind::Memory),
    ("stream-node-max-entries", "100", INT),
    ("tcp-backlog", "511", Kind::Fixed),
    ("tcp-keepalive", "300", INT),
    ("timeout", "0", INT),
    ("zset-max-listpack-entries", "128", INT),
    ("zset-max-listpack-value", "64", INT),
];

/// Names that mean others.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("cluster-slave-no-failover", "cluster-replica-no-failover"),
    ("cluster-slave-validity-factor", "cluster-replica-validity-factor"),
    ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
    ("hash-max-ziplist-value", "hash-max-listpack-value"),
    ("list-max-ziplist-size", "list-max-listpack-size"),
    ("min-slaves-max-lag", "min-replicas-max-lag"),
    ("min-slaves-to-write", "min-replicas-to-write"),
    ("repl-ping-slave-period", "repl-ping-replica-period"),
    ("slave-announce-ip", "replica-announce-ip"),
    ("slave-announce-port", "replica-announce-port"),
    ("slave-priority", "replica-priority"),
    ("slave-read-only", "replica-read-only"),
    ("slave-serve-stale-data", "replica-serve-stale-data"),
    ("slaveof", "replicaof"),
    ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
    ("zset-max-ziplist-value", "zset-max-listpack-value"),
];

/// The parameters and their values.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    values: BTreeMap<&'static str, String>,
}

/// Why a parameter was not set: what follows its name in the error.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    Unknown,
    Immutable,
    Invalid(String),
}

impl Default for Config {
    fn default() -> Config {
        let values = PARAMETERS.iter().map(|(name, default, _)| (*name, (*default).to_owned())).collect();
        Config { values }
    }
}

fn proper_name(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    other.map_or(name, |(_, proper)| (*proper).to_owned())
}

impl Config {
    /// A text, by its own name.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// A number, by its own name.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Whether a switch is on, by its own name.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }

    /// Names and values that match the pattern, by all their names.
    pub(crate) fn matching(&self, pattern: &str) -> Vec<(String, String)> {
        let pattern = pattern.to_ascii_lowercase();
        let own = self.values.iter().map(|(name, value)| (*name, value));
        let others = OTHER_NAMES.iter().filter_map(|(other, name)| Some((*other, self.values.get(name)?)));
        own.chain(others)
            .filter(|(name, _)| glob_matches(pattern.as_bytes(), name.as_bytes()))
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .collect()
    }

    /// What has another value than its default, and may change.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let may_change =
            PARAMETERS.iter().filter(|(name, _, kind)| !matches!(kind, Kind::Fixed) && *name != "dir");
        may_change.filter_map(|(name, default, _)| {
            let value = self.text(name);
            (value != *default).then_some((*name, value))
        })
    }

    /// Sets what may not change while the server runs.
    pub(crate) fn fix(&mut self, name: &'static str, value: impl Into<String>) {
        self.values.insert(name, value.into());
    }

    /// Sets a parameter as CONFIG SET does.
    ///
    /// # Errors
    /// Where there is no such parameter, or no such value of it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        let name = proper_name(name);
        let found = PARAMETERS.iter().find(|(known, ..)| *known == name);
        let (name, _, kind) = found.ok_or(Refused::Unknown)?;
        let value = checked(*kind, value)?;
        self.values.insert(name, value);
        Ok(())
    }
}

fn checked(kind: Kind, value: &str) -> Result<String, Refused> {
    let invalid = |why: &str| Err(Refused::Invalid(why.to_owned()));
    match kind {
        Kind::Fixed => Err(Refused::Immutable),
        Kind::Text => Ok(value.to_owned()),
        Kind::Switch => match value.to_ascii_lowercase().as_str() {
            lower @ ("yes" | "no") => Ok(lower.to_owned()),
            _ => invalid("argument must be 'yes' or 'no'"),
        },
        Kind::Choice(choices) => match choices.iter().find(|choice| choice.eq_ignore_ascii_case(value)) {
            Some(choice) => Ok((*choice).to_owned()),
            None => {
                let names = choices.join(", ");
                Err(Refused::Invalid(format!("argument(s) must be one of the following: {names}")))
            }
        },
        Kind::Number(least, most) => match value.parse::<i64>() {
            Err(_) => invalid("argument couldn't be parsed into an integer"),
            Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
            Ok(_) => Err(Refused::Invalid(format!("argument must be between {least} and {most} inclusive"))),
        },
        Kind::Memory => match memory(value) {
            Some(bytes) => Ok(bytes.to_string()),
            None => invalid("argument must be a memory value"),
        },
    }
}

fn memory(value: &str) -> Option<u64> {
    let lower = value.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|last: char| !last.is_ascii_digit());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1_000_000,
        "mb" => 1024 * 1024,
        "g" => 1_000_000_000,
        "gb" => 1024 * 1024 * 1024,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
