//! The table of commands.
//!
//! Owns names, numbers of arguments, flags and where keys stand, as COMMAND tells them to clients. Must not know what commands
//! do. Invariant: the names are in order.

use bytes::Bytes;

use super::call::{Answer, Call};
use super::cluster::{commands as cluster, migrate};
use super::commands::{
    bits, connection, expiry, hashes, hyperloglog, info, keys, lists, lists_moving, pubsub, scan, server,
    sets, sorted, sorted_pop, sorted_range, sorted_store, stream_groups, stream_info, stream_read, streams,
    strings, transaction,
};
use super::numbers::parse_integer;
use super::replication::commands as replication;

/// What executes a command.
pub(crate) type Handler = fn(&mut Call) -> Answer;

/// Where the keys of a command stand among its arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    None,
    /// First, last (from the end where it is negative), step.
    Range(i32, i32, i32),
    /// Behind their number, which is this argument.
    Numbered(usize),
    /// As `Numbered`, and the first argument.
    StoredNumbered(usize),
    /// The first half of what is behind STREAMS.
    Streams,
    /// The third argument, or what is behind KEYS.
    Migrated,
}

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// With the name; negative where there may be more.
    pub(crate) arity: i32,
    pub(crate) flags: &'static str,
    pub(crate) keys: Keys,
    pub(crate) categories: &'static str,
    pub(crate) handler: Handler,
}

const fn command(
    name: &'static str,
    arity: i32,
    flags: &'static str,
    keys: Keys,
    categories: &'static str,
    handler: Handler,
) -> Command {
    Command { name, arity, flags, keys, categories, handler }
}

impl Command {
    /// Whether it may have so many arguments, with its name.
    pub(crate) fn accepts(&self, count: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity > 0 { count == arity } else { count >= arity }
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|own| own == flag)
    }

    /// Whether it is executed, and not queued, between MULTI and EXEC.
    pub(crate) fn is_immediate(&self) -> bool {
        matches!(self.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
    }

    /// Whether a client of RESP2 may say it while it listens.
    pub(crate) fn is_for_listeners(&self) -> bool {
        matches!(
            self.name,
            "ping"
                | "subscribe"
                | "ssubscribe"
                | "unsubscribe"
                | "sunsubscribe"
                | "psubscribe"
                | "punsubscribe"
                | "quit"
                | "reset"
        )
    }

    /// The name, with the subcommand of a command that has some.
    pub(crate) fn full_name(&self, args: &[Bytes]) -> String {
        let has_subcommands = matches!(
            self.name,
            "client" | "cluster" | "command" | "config" | "debug" | "object" | "pubsub" | "xgroup" | "xinfo"
        );
        match args.get(1).filter(|_| has_subcommands) {
            Some(subcommand) => {
                format!("{}|{}", self.name, String::from_utf8_lossy(subcommand).to_lowercase())
            }
            None => self.name.to_owned(),
        }
    }

    /// First, last and step of its keys, as COMMAND tells them: zeros where they are elsewhere.
    pub(crate) fn key_range(&self) -> (i64, i64, i64) {
        match self.keys {
            Keys::Range(first, last, step) => (first.into(), last.into(), step.into()),
            Keys::StoredNumbered(_) => (1, 1, 1),
            Keys::Migrated => (3, 3, 1),
            _ => (0, 0, 0),
        }
    }

    /// The group that COMMAND DOCS tells.
    pub(crate) fn group(&self) -> &'static str {
        const GROUPS: &[(&str, &str)] = &[
            ("@string", "string"),
            ("@hash", "hash"),
            ("@list", "list"),
            ("@sortedset", "sorted-set"),
            ("@set", "set"),
            ("@stream", "stream"),
            ("@bitmap", "bitmap"),
            ("@pubsub", "pubsub"),
            ("@transaction", "transactions"),
            ("@connection", "connection"),
            ("@keyspace", "generic"),
        ];
        let found =
            GROUPS.iter().find(|(category, _)| self.categories.split(' ').any(|own| own == *category));
        found.map_or("server", |(_, group)| group)
    }

    /// The keys of a request.
    pub(crate) fn keys_in(&self, args: &[Bytes]) -> Vec<Bytes> {
        match self.keys {
            Keys::None => Vec::new(),
            Keys::Range(first, last, step) => {
                let last = if last < 0 { args.len() as i32 + last } else { last };
                let places = (first..=last).step_by(step as usize);
                places.filter_map(|place| args.get(place as usize).cloned()).collect()
            }
            Keys::Numbered(place) => numbered(args, place),
            Keys::StoredNumbered(place) => {
                args.get(1).cloned().into_iter().chain(numbered(args, place)).collect()
            }
            Keys::Streams => {
                let streams = args.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
                let rest = streams.map_or(&[][..], |place| &args[place + 1..]);
                rest[..rest.len() / 2].to_vec()
            }
            Keys::Migrated => match args.iter().position(|word| word.eq_ignore_ascii_case(b"KEYS")) {
                Some(place) if args.get(3).is_some_and(Bytes::is_empty) => args[place + 1..].to_vec(),
                _ => args.get(3).cloned().into_iter().collect(),
            },
        }
    }
}

fn numbered(args: &[Bytes], place: usize) -> Vec<Bytes> {
    let count = args.get(place).and_then(|count| parse_integer(count)).unwrap_or(0).max(0) as usize;
    args.iter().skip(place + 1).take(count).cloned().collect()
}

/// All commands.
#[rustfmt::skip]
pub(crate) static COMMANDS: &[Command] = &[
    command("append", 3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::append),
    command("asking", 1, "fast", Keys::None, "@fast @connection", connection::asking),
    command("auth", -2, "noscript,loading,stale,fast,no_auth,allow_busy", Keys::None, "@fast @connection", connection::auth),
    command("bgrewriteaof", 1, "admin,noscript,no_async_loading", Keys::None, "@admin @slow @dangerous", server::bgrewriteaof),
    command("bgsave", -1, "admin,noscript,no_async_loading", Keys::None, "@admin @slow @dangerous", server::bgsave),
    command("bitcount", -2, "readonly", Keys::Range(1, 1, 1), "@read @bitmap @slow", bits::bitcount),
    command("bitop", -4, "write,denyoom", Keys::Range(2, -1, 1), "@write @bitmap @slow", bits::bitop),
    command("bitpos", -3, "readonly", Keys::Range(1, 1, 1), "@read @bitmap @slow", bits::bitpos),
    command("blmove", 6, "write,denyoom,noscript,blocking", Keys::Range(1, 2, 1), "@write @list @slow @blocking", lists_moving::blmove),
    command("blmpop", -5, "write,blocking,movablekeys", Keys::Numbered(2), "@write @list @slow @blocking", lists_moving::blmpop),
    command("blpop", -3, "write,noscript,blocking", Keys::Range(1, -2, 1), "@write @list @slow @blocking", lists_moving::blpop),
    command("brpop", -3, "write,noscript,blocking", Keys::Range(1, -2, 1), "@write @list @slow @blocking", lists_moving::brpop),
    command("brpoplpush", 4, "write,denyoom,noscript,blocking", Keys::Range(1, 2, 1), "@write @list @slow @blocking", lists_moving::brpoplpush),
    command("bzmpop", -5, "write,blocking,movablekeys", Keys::Numbered(2), "@write @sortedset @slow @blocking", sorted_pop::bzmpop),
    command("bzpopmax", -3, "write,noscript,blocking,fast", Keys::Range(1, -2, 1), "@write @sortedset @fast @blocking", sorted_pop::bzpopmax),
    command("bzpopmin", -3, "write,noscript,blocking,fast", Keys::Range(1, -2, 1), "@write @sortedset @fast @blocking", sorted_pop::bzpopmin),
    command("client", -2, "noscript,loading,stale", Keys::None, "@slow", connection::client),
    command("cluster", -2, "stale", Keys::None, "@slow", cluster::cluster),
    command("command", -1, "loading,stale", Keys::None, "@slow @connection", server::command),
    command("config", -2, "admin,noscript,loading,stale", Keys::None, "@slow", server::config),
    command("copy", -3, "write,denyoom", Keys::Range(1, 2, 1), "@keyspace @write @slow", keys::copy),
    command("dbsize", 1, "readonly,fast", Keys::None, "@keyspace @read @fast", keys::dbsize),
    command("debug", -2, "admin,noscript,loading,stale", Keys::None, "@admin @slow @dangerous", server::debug),
    command("decr", 2, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::decr),
    command("decrby", 3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::decrby),
    command("del", -2, "write", Keys::Range(1, -1, 1), "@keyspace @write @slow", keys::del),
    command("discard", 1, "noscript,loading,stale,fast,allow_busy", Keys::None, "@fast @transaction", transaction::discard),
    command("dump", 2, "readonly", Keys::Range(1, 1, 1), "@keyspace @read @slow", keys::dump_command),
    command("echo", 2, "loading,stale,fast", Keys::None, "@fast @connection", connection::echo),
    command("eval", -3, "noscript,stale,skip_monitor,no_mandatory_keys,movablekeys", Keys::Numbered(2), "@slow @scripting", server::refused_script),
    command("eval_ro", -3, "readonly,noscript,stale,skip_monitor,no_mandatory_keys,movablekeys", Keys::Numbered(2), "@slow @scripting", server::refused_script),
    command("evalsha", -3, "noscript,stale,skip_monitor,no_mandatory_keys,movablekeys", Keys::Numbered(2), "@slow @scripting", server::refused_script),
    command("evalsha_ro", -3, "readonly,noscript,stale,skip_monitor,no_mandatory_keys,movablekeys", Keys::Numbered(2), "@slow @scripting", server::refused_script),
    command("exec", 1, "noscript,loading,stale,skip_slowlog", Keys::None, "@slow @transaction", transaction::exec),
    command("exists", -2, "readonly,fast", Keys::Range(1, -1, 1), "@keyspace @read @fast", keys::exists),
    command("expire", -3, "write,fast", Keys::Range(1, 1, 1), "@keyspace @write @fast", expiry::expire),
    command("expireat", -3, "write,fast", Keys::Range(1, 1, 1), "@keyspace @write @fast", expiry::expireat),
    command("expiretime", 2, "readonly,fast", Keys::Range(1, 1, 1), "@keyspace @read @fast", expiry::expiretime),
    command("fcall", -3, "noscript,stale,skip_monitor,no_mandatory_keys,movablekeys", Keys::Numbered(2), "@slow @scripting", server::refused_script),
    command("fcall_ro", -3, "readonly,noscript,stale,skip_monitor,no_mandatory_keys,movablekeys", Keys::Numbered(2), "@slow @scripting", server::refused_script),
    command("flushall", -1, "write", Keys::None, "@keyspace @write @slow @dangerous", keys::flushall),
    command("flushdb", -1, "write", Keys::None, "@keyspace @write @slow @dangerous", keys::flushdb),
    command("function", -2, "noscript", Keys::None, "@slow", server::refused_script),
    command("get", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @string @fast", strings::get),
    command("getbit", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @bitmap @fast", bits::getbit),
    command("getdel", 2, "write,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::getdel),
    command("getex", -2, "write,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::getex),
    command("getrange", 4, "readonly", Keys::Range(1, 1, 1), "@read @string @slow", strings::getrange),
    command("getset", 3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::getset),
    command("hdel", -3, "write,fast", Keys::Range(1, 1, 1), "@write @hash @fast", hashes::hdel),
    command("hello", -1, "noscript,loading,stale,fast,no_auth,allow_busy", Keys::None, "@fast @connection", connection::hello),
    command("hexists", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @hash @fast", hashes::hexists),
    command("hget", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @hash @fast", hashes::hget),
    command("hgetall", 2, "readonly", Keys::Range(1, 1, 1), "@read @hash @slow", hashes::hgetall),
    command("hincrby", 4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @hash @fast", hashes::hincrby),
    command("hincrbyfloat", 4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @hash @fast", hashes::hincrbyfloat),
    command("hkeys", 2, "readonly", Keys::Range(1, 1, 1), "@read @hash @slow", hashes::hkeys),
    command("hlen", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @hash @fast", hashes::hlen),
    command("hmget", -3, "readonly,fast", Keys::Range(1, 1, 1), "@read @hash @fast", hashes::hmget),
    command("hmset", -4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @hash @fast", hashes::hmset),
    command("hrandfield", -2, "readonly", Keys::Range(1, 1, 1), "@read @hash @slow", hashes::hrandfield),
    command("hscan", -3, "readonly", Keys::Range(1, 1, 1), "@read @hash @slow", scan::hscan),
    command("hset", -4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @hash @fast", hashes::hset),
    command("hsetnx", 4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @hash @fast", hashes::hsetnx),
    command("hstrlen", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @hash @fast", hashes::hstrlen),
    command("hvals", 2, "readonly", Keys::Range(1, 1, 1), "@read @hash @slow", hashes::hvals),
    command("incr", 2, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::incr),
    command("incrby", 3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::incrby),
    command("incrbyfloat", 3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::incrbyfloat),
    command("info", -1, "loading,stale", Keys::None, "@slow @dangerous", info::info),
    command("keys", 2, "readonly", Keys::None, "@keyspace @read @slow @dangerous", keys::keys),
    command("lastsave", 1, "loading,stale,fast", Keys::None, "@admin @fast @dangerous", server::lastsave),
    command("lindex", 3, "readonly", Keys::Range(1, 1, 1), "@read @list @slow", lists::lindex),
    command("linsert", 5, "write,denyoom", Keys::Range(1, 1, 1), "@write @list @slow", lists::linsert),
    command("llen", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @list @fast", lists::llen),
    command("lmove", 5, "write,denyoom", Keys::Range(1, 2, 1), "@write @list @slow", lists_moving::lmove),
    command("lmpop", -4, "write,movablekeys", Keys::Numbered(1), "@write @list @slow", lists_moving::lmpop),
    command("lpop", -2, "write,fast", Keys::Range(1, 1, 1), "@write @list @fast", lists::lpop),
    command("lpos", -3, "readonly", Keys::Range(1, 1, 1), "@read @list @slow", lists::lpos),
    command("lpush", -3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @list @fast", lists::lpush),
    command("lpushx", -3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @list @fast", lists::lpushx),
    command("lrange", 4, "readonly", Keys::Range(1, 1, 1), "@read @list @slow", lists::lrange),
    command("lrem", 4, "write", Keys::Range(1, 1, 1), "@write @list @slow", lists::lrem),
    command("lset", 4, "write,denyoom", Keys::Range(1, 1, 1), "@write @list @slow", lists::lset),
    command("ltrim", 4, "write", Keys::Range(1, 1, 1), "@write @list @slow", lists::ltrim),
    command("mget", -2, "readonly,fast", Keys::Range(1, -1, 1), "@read @string @fast", strings::mget),
    command("migrate", -6, "write,movablekeys", Keys::Migrated, "@keyspace @write @slow @dangerous", migrate::migrate),
    command("monitor", 1, "admin,noscript,loading,stale", Keys::None, "@admin @slow @dangerous", server::monitor),
    command("move", 3, "write,fast", Keys::Range(1, 1, 1), "@keyspace @write @fast", keys::move_key),
    command("mset", -3, "write,denyoom", Keys::Range(1, -1, 2), "@write @string @slow", strings::mset),
    command("msetnx", -3, "write,denyoom", Keys::Range(1, -1, 2), "@write @string @slow", strings::msetnx),
    command("multi", 1, "noscript,loading,stale,fast,allow_busy", Keys::None, "@fast @transaction", transaction::multi),
    command("object", -2, "readonly", Keys::Range(2, 2, 1), "@slow", keys::object),
    command("persist", 2, "write,fast", Keys::Range(1, 1, 1), "@keyspace @write @fast", expiry::persist),
    command("pexpire", -3, "write,fast", Keys::Range(1, 1, 1), "@keyspace @write @fast", expiry::pexpire),
    command("pexpireat", -3, "write,fast", Keys::Range(1, 1, 1), "@keyspace @write @fast", expiry::pexpireat),
    command("pexpiretime", 2, "readonly,fast", Keys::Range(1, 1, 1), "@keyspace @read @fast", expiry::pexpiretime),
    command("pfadd", -2, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @hyperloglog @fast", hyperloglog::pfadd),
    command("pfcount", -2, "readonly", Keys::Range(1, -1, 1), "@read @hyperloglog @slow", hyperloglog::pfcount),
    command("pfmerge", -2, "write,denyoom", Keys::Range(1, -1, 1), "@write @hyperloglog @slow", hyperloglog::pfmerge),
    command("ping", -1, "fast", Keys::None, "@fast @connection", connection::ping),
    command("psetex", 4, "write,denyoom", Keys::Range(1, 1, 1), "@write @string @slow", strings::psetex),
    command("psubscribe", -2, "pubsub,noscript,loading,stale", Keys::None, "@pubsub @slow", pubsub::psubscribe),
    command("psync", -3, "admin,noscript,no_async_loading,no_multi", Keys::None, "@admin @slow @dangerous", replication::psync),
    command("pttl", 2, "readonly,fast", Keys::Range(1, 1, 1), "@keyspace @read @fast", expiry::pttl),
    command("publish", 3, "pubsub,loading,stale,fast", Keys::None, "@pubsub @fast", pubsub::publish),
    command("pubsub", -2, "pubsub,loading,stale", Keys::None, "@slow", pubsub::pubsub),
    command("punsubscribe", -1, "pubsub,noscript,loading,stale", Keys::None, "@pubsub @slow", pubsub::punsubscribe),
    command("quit", -1, "noscript,loading,stale,fast,no_auth,allow_busy", Keys::None, "@fast @connection", connection::quit),
    command("randomkey", 1, "readonly", Keys::None, "@keyspace @read @slow", keys::randomkey),
    command("readonly", 1, "loading,stale,fast", Keys::None, "@fast @connection", connection::readonly),
    command("readwrite", 1, "loading,stale,fast", Keys::None, "@fast @connection", connection::readwrite),
    command("rename", 3, "write", Keys::Range(1, 2, 1), "@keyspace @write @slow", keys::rename),
    command("renamenx", 3, "write,fast", Keys::Range(1, 2, 1), "@keyspace @write @fast", keys::renamenx),
    command("replconf", -1, "admin,noscript,loading,stale,allow_busy", Keys::None, "@admin @slow @dangerous", replication::replconf),
    command("replicaof", 3, "admin,noscript,stale,no_async_loading", Keys::None, "@admin @slow @dangerous", replication::replicaof),
    command("reset", 1, "noscript,loading,stale,fast,no_auth,allow_busy", Keys::None, "@fast @connection", connection::reset),
    command("restore", -4, "write,denyoom", Keys::Range(1, 1, 1), "@keyspace @write @slow @dangerous", keys::restore),
    command("restore-asking", -4, "write,denyoom,asking", Keys::Range(1, 1, 1), "@keyspace @write @slow @dangerous", keys::restore),
    command("role", 1, "noscript,loading,stale,fast", Keys::None, "@admin @fast @dangerous", replication::role),
    command("rpop", -2, "write,fast", Keys::Range(1, 1, 1), "@write @list @fast", lists::rpop),
    command("rpoplpush", 3, "write,denyoom", Keys::Range(1, 2, 1), "@write @list @slow", lists_moving::rpoplpush),
    command("rpush", -3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @list @fast", lists::rpush),
    command("rpushx", -3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @list @fast", lists::rpushx),
    command("sadd", -3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @set @fast", sets::sadd),
    command("save", 1, "admin,noscript,no_async_loading,no_multi", Keys::None, "@admin @slow @dangerous", server::save),
    command("scan", -2, "readonly", Keys::None, "@keyspace @read @slow", scan::scan),
    command("scard", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @set @fast", sets::scard),
    command("script", -2, "noscript", Keys::None, "@slow", server::refused_script),
    command("sdiff", -2, "readonly", Keys::Range(1, -1, 1), "@read @set @slow", sets::sdiff),
    command("sdiffstore", -3, "write,denyoom", Keys::Range(1, -1, 1), "@write @set @slow", sets::sdiffstore),
    command("select", 2, "loading,stale,fast", Keys::None, "@fast @connection", connection::select),
    command("set", -3, "write,denyoom", Keys::Range(1, 1, 1), "@write @string @slow", strings::set),
    command("setbit", 4, "write,denyoom", Keys::Range(1, 1, 1), "@write @bitmap @slow", bits::setbit),
    command("setex", 4, "write,denyoom", Keys::Range(1, 1, 1), "@write @string @slow", strings::setex),
    command("setnx", 3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @string @fast", strings::setnx),
    command("setrange", 4, "write,denyoom", Keys::Range(1, 1, 1), "@write @string @slow", strings::setrange),
    command("shutdown", -1, "admin,noscript,loading,stale,no_multi,allow_busy", Keys::None, "@admin @slow @dangerous", server::shutdown),
    command("sinter", -2, "readonly", Keys::Range(1, -1, 1), "@read @set @slow", sets::sinter),
    command("sintercard", -3, "readonly,movablekeys", Keys::Numbered(1), "@read @set @slow", sets::sintercard),
    command("sinterstore", -3, "write,denyoom", Keys::Range(1, -1, 1), "@write @set @slow", sets::sinterstore),
    command("sismember", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @set @fast", sets::sismember),
    command("slaveof", 3, "admin,noscript,stale,no_async_loading", Keys::None, "@admin @slow @dangerous", replication::replicaof),
    command("smembers", 2, "readonly", Keys::Range(1, 1, 1), "@read @set @slow", sets::smembers),
    command("smismember", -3, "readonly,fast", Keys::Range(1, 1, 1), "@read @set @fast", sets::smismember),
    command("smove", 4, "write,fast", Keys::Range(1, 2, 1), "@write @set @fast", sets::smove),
    command("spop", -2, "write,fast", Keys::Range(1, 1, 1), "@write @set @fast", sets::spop),
    command("spublish", 3, "pubsub,loading,stale,fast", Keys::Range(1, 1, 1), "@pubsub @fast", pubsub::spublish),
    command("srandmember", -2, "readonly", Keys::Range(1, 1, 1), "@read @set @slow", sets::srandmember),
    command("srem", -3, "write,fast", Keys::Range(1, 1, 1), "@write @set @fast", sets::srem),
    command("sscan", -3, "readonly", Keys::Range(1, 1, 1), "@read @set @slow", scan::sscan),
    command("ssubscribe", -2, "pubsub,noscript,loading,stale", Keys::Range(1, -1, 1), "@pubsub @slow", pubsub::ssubscribe),
    command("strlen", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @string @fast", strings::strlen),
    command("subscribe", -2, "pubsub,noscript,loading,stale", Keys::None, "@pubsub @slow", pubsub::subscribe),
    command("substr", 4, "readonly", Keys::Range(1, 1, 1), "@read @string @slow", strings::getrange),
    command("sunion", -2, "readonly", Keys::Range(1, -1, 1), "@read @set @slow", sets::sunion),
    command("sunionstore", -3, "write,denyoom", Keys::Range(1, -1, 1), "@write @set @slow", sets::sunionstore),
    command("sunsubscribe", -1, "pubsub,noscript,loading,stale", Keys::Range(1, -1, 1), "@pubsub @slow", pubsub::sunsubscribe),
    command("swapdb", 3, "write,fast", Keys::None, "@keyspace @write @fast @dangerous", keys::swapdb),
    command("time", 1, "loading,stale,fast", Keys::None, "@fast", server::time),
    command("touch", -2, "readonly,fast", Keys::Range(1, -1, 1), "@keyspace @read @fast", keys::exists),
    command("ttl", 2, "readonly,fast", Keys::Range(1, 1, 1), "@keyspace @read @fast", expiry::ttl),
    command("type", 2, "readonly,fast", Keys::Range(1, 1, 1), "@keyspace @read @fast", keys::type_of),
    command("unlink", -2, "write,fast", Keys::Range(1, -1, 1), "@keyspace @write @fast", keys::del),
    command("unsubscribe", -1, "pubsub,noscript,loading,stale", Keys::None, "@pubsub @slow", pubsub::unsubscribe),
    command("unwatch", 1, "noscript,loading,stale,fast,allow_busy", Keys::None, "@fast @transaction", transaction::unwatch),
    command("wait", 3, "noscript", Keys::None, "@slow @connection", replication::wait),
    command("watch", -2, "noscript,loading,stale,fast,allow_busy", Keys::Range(1, -1, 1), "@fast @transaction", transaction::watch),
    command("xack", -4, "write,fast", Keys::Range(1, 1, 1), "@write @stream @fast", stream_groups::xack),
    command("xadd", -5, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @stream @fast", streams::xadd),
    command("xautoclaim", -6, "write,fast", Keys::Range(1, 1, 1), "@write @stream @fast", stream_groups::xautoclaim),
    command("xclaim", -6, "write,fast", Keys::Range(1, 1, 1), "@write @stream @fast", stream_groups::xclaim),
    command("xdel", -3, "write,fast", Keys::Range(1, 1, 1), "@write @stream @fast", streams::xdel),
    command("xgroup", -2, "write,denyoom", Keys::Range(2, 2, 1), "@slow", stream_groups::xgroup),
    command("xinfo", -2, "readonly", Keys::Range(2, 2, 1), "@slow", stream_info::xinfo),
    command("xlen", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @stream @fast", streams::xlen),
    command("xpending", -3, "readonly", Keys::Range(1, 1, 1), "@read @stream @slow", stream_groups::xpending),
    command("xrange", -4, "readonly", Keys::Range(1, 1, 1), "@read @stream @slow", streams::xrange),
    command("xread", -4, "readonly,blocking,movablekeys", Keys::Streams, "@read @stream @slow @blocking", stream_read::xread),
    command("xreadgroup", -7, "write,blocking,movablekeys", Keys::Streams, "@write @stream @slow @blocking", stream_read::xreadgroup),
    command("xrevrange", -4, "readonly", Keys::Range(1, 1, 1), "@read @stream @slow", streams::xrevrange),
    command("xsetid", -3, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @stream @fast", streams::xsetid),
    command("xtrim", -4, "write", Keys::Range(1, 1, 1), "@write @stream @slow", streams::xtrim),
    command("zadd", -4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @sortedset @fast", sorted::zadd),
    command("zcard", 2, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted::zcard),
    command("zcount", 4, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted_range::zcount),
    command("zdiff", -3, "readonly,movablekeys", Keys::Numbered(1), "@read @sortedset @slow", sorted_store::zdiff),
    command("zdiffstore", -4, "write,denyoom,movablekeys", Keys::StoredNumbered(2), "@write @sortedset @slow", sorted_store::zdiffstore),
    command("zincrby", 4, "write,denyoom,fast", Keys::Range(1, 1, 1), "@write @sortedset @fast", sorted::zincrby),
    command("zinter", -3, "readonly,movablekeys", Keys::Numbered(1), "@read @sortedset @slow", sorted_store::zinter),
    command("zintercard", -3, "readonly,movablekeys", Keys::Numbered(1), "@read @sortedset @slow", sorted_store::zintercard),
    command("zinterstore", -4, "write,denyoom,movablekeys", Keys::StoredNumbered(2), "@write @sortedset @slow", sorted_store::zinterstore),
    command("zlexcount", 4, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted_range::zlexcount),
    command("zmpop", -4, "write,movablekeys", Keys::Numbered(1), "@write @sortedset @slow", sorted_pop::zmpop),
    command("zmscore", -3, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted::zmscore),
    command("zpopmax", -2, "write,fast", Keys::Range(1, 1, 1), "@write @sortedset @fast", sorted_pop::zpopmax),
    command("zpopmin", -2, "write,fast", Keys::Range(1, 1, 1), "@write @sortedset @fast", sorted_pop::zpopmin),
    command("zrandmember", -2, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted::zrandmember),
    command("zrange", -4, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted_range::zrange),
    command("zrangebylex", -4, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted_range::zrangebylex),
    command("zrangebyscore", -4, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted_range::zrangebyscore),
    command("zrangestore", -5, "write,denyoom", Keys::Range(1, 2, 1), "@write @sortedset @slow", sorted_range::zrangestore),
    command("zrank", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted::zrank),
    command("zrem", -3, "write,fast", Keys::Range(1, 1, 1), "@write @sortedset @fast", sorted::zrem),
    command("zremrangebylex", 4, "write", Keys::Range(1, 1, 1), "@write @sortedset @slow", sorted_range::zremrangebylex),
    command("zremrangebyrank", 4, "write", Keys::Range(1, 1, 1), "@write @sortedset @slow", sorted_range::zremrangebyrank),
    command("zremrangebyscore", 4, "write", Keys::Range(1, 1, 1), "@write @sortedset @slow", sorted_range::zremrangebyscore),
    command("zrevrange", -4, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted_range::zrevrange),
    command("zrevrangebylex", -4, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted_range::zrevrangebylex),
    command("zrevrangebyscore", -4, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", sorted_range::zrevrangebyscore),
    command("zrevrank", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted::zrevrank),
    command("zscan", -3, "readonly", Keys::Range(1, 1, 1), "@read @sortedset @slow", scan::zscan),
    command("zscore", 3, "readonly,fast", Keys::Range(1, 1, 1), "@read @sortedset @fast", sorted::zscore),
    command("zunion", -3, "readonly,movablekeys", Keys::Numbered(1), "@read @sortedset @slow", sorted_store::zunion),
    command("zunionstore", -4, "write,denyoom,movablekeys", Keys::StoredNumbered(2), "@write @sortedset @slow", sorted_store::zunionstore),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order() {
        assert!(COMMANDS.is_sorted_by_key(|command| command.name));
    }

    #[test]
    fn keys_are_found_where_they_stand() {
        let keys = |text: &str| {
            let args: Vec<Bytes> = text.split(' ').map(|word| Bytes::from(word.to_owned())).collect();
            let command = super::super::dispatch::find_command(&args[0]).expect("there is such a command");
            command
                .keys_in(&args)
                .iter()
                .map(|key| String::from_utf8_lossy(key).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(keys("mset a 1 b 2"), ["a", "b"]);
        assert_eq!(keys("blpop a b 0"), ["a", "b"]);
        assert_eq!(keys("zunionstore d 2 a b weights 1 2"), ["d", "a", "b"]);
        assert_eq!(keys("xread count 1 streams a b 0 0"), ["a", "b"]);
    }
}
