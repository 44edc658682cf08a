//! One command that is being executed: its arguments, its client, and the keys of its database.
//!
//! Owns the way of commands to the state. Must not know the commands. Invariant: a key whose time is over is not seen, and a
//! collection that became empty is gone.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use tokio::time::Instant;

use super::client::{BlockedOn, Client};
use super::journal::Circumstances;
use super::keyspace::Entry;
use super::numbers::{parse_double, parse_integer};
use super::state::State;
use super::stream::Stream;
use super::value::{SortedSet, Value};
use super::wire::Reply;

/// Why a command has no reply yet.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed. The text begins with the error's code.
    Error(Cow<'static, str>),
    /// Its client waits.
    Wait { on: BlockedOn, deadline: Option<Instant>, at_timeout: Reply },
}

impl From<&'static str> for Stop {
    fn from(text: &'static str) -> Stop {
        Stop::Error(text.into())
    }
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Error(text.into())
    }
}

/// What a command comes to.
pub(crate) type Answer = Result<Reply, Stop>;

/// Where a command came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// A client, which may wait.
    Client,
    /// A client's transaction, which may not.
    Transaction,
    /// A journal: our own from the disk, or our master's.
    Journal,
}

pub(crate) const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub(crate) const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
pub(crate) const NOT_FLOAT: &str = "ERR value is not a valid float";
pub(crate) const SYNTAX: &str = "ERR syntax error";
pub(crate) const NO_KEY: &str = "ERR no such key";

/// A command that is being executed.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) client: u64,
    pub(crate) args: Vec<Bytes>,
    pub(crate) at: Circumstances,
    pub(crate) random: fastrand::Rng,
    pub(crate) origin: Origin,
    /// How many things it changed.
    pub(crate) changes: usize,
    /// What is recorded in its place.
    pub(crate) recorded_as: Option<Vec<Bytes>>,
}

/// Three ways to a value of one type.
macro_rules! typed {
    ($read:ident, $write:ident, $make:ident, $variant:ident, $type:ty, $new:expr) => {
        impl Call<'_> {
            /// The value of a key, if it is there.
            pub(crate) fn $read(&mut self, key: &Bytes) -> Result<Option<&$type>, Stop> {
                match self.value(key) {
                    None => Ok(None),
                    Some(Value::$variant(value)) => Ok(Some(value)),
                    Some(_) => Err(WRONG_TYPE.into()),
                }
            }

            /// The value of a key, to be changed, if it is there.
            pub(crate) fn $write(&mut self, key: &Bytes) -> Result<Option<&mut $type>, Stop> {
                match self.value_mut(key) {
                    None => Ok(None),
                    Some(Value::$variant(value)) => Ok(Some(value)),
                    Some(_) => Err(WRONG_TYPE.into()),
                }
            }

            /// The value of a key, which is made where it is not there.
            pub(crate) fn $make(&mut self, key: &Bytes) -> Result<&mut $type, Stop> {
                if !self.is_there(key) {
                    self.put(key, Value::$variant($new), None);
                }
                self.$write(key)?.ok_or_else(|| NO_KEY.into())
            }
        }
    };
}

typed!(string, string_mut, string_or_new, String, Bytes, Bytes::new());
typed!(list, list_mut, list_or_new, List, VecDeque<Bytes>, VecDeque::new());
typed!(set, set_mut, set_or_new, Set, IndexSet<Bytes>, IndexSet::new());
typed!(hash, hash_mut, hash_or_new, Hash, IndexMap<Bytes, Bytes>, IndexMap::new());
typed!(sorted, sorted_mut, sorted_or_new, Sorted, SortedSet, SortedSet::default());
typed!(stream, stream_mut, stream_or_new, Stream, Stream, Box::default());

impl Call<'_> {
    /// An argument; the command's name is number 0.
    pub(crate) fn arg(&self, index: usize) -> Bytes {
        self.args.get(index).cloned().unwrap_or_default()
    }

    /// The arguments from `index` on.
    pub(crate) fn args_from(&self, index: usize) -> Vec<Bytes> {
        self.args.get(index..).unwrap_or_default().to_vec()
    }

    /// Whether an argument is this word, in whatever case.
    pub(crate) fn is(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|argument| argument.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Whether the arguments end before this one.
    pub(crate) fn ends_at(&self, index: usize) -> bool {
        index >= self.args.len()
    }

    pub(crate) fn integer(&self, index: usize) -> Result<i64, Stop> {
        let argument = self.args.get(index).ok_or(SYNTAX)?;
        parse_integer(argument).ok_or_else(|| NOT_INTEGER.into())
    }

    /// A time limit in seconds; zero is none.
    pub(crate) fn deadline(&self, index: usize) -> Result<Option<Instant>, Stop> {
        let seconds = self.args.get(index).and_then(|argument| parse_double(argument));
        let seconds = seconds.ok_or("ERR timeout is not a float or out of range")?;
        if seconds < 0.0 {
            return Err("ERR timeout is negative".into());
        }
        if seconds > 1e12 {
            return Err("ERR timeout is out of range".into());
        }
        let wait = Duration::from_millis((seconds * 1000.0).ceil() as u64);
        Ok((seconds > 0.0).then(|| Instant::now() + wait))
    }

    /// Lets the client wait for one of these keys; in a transaction it has its answer at once.
    pub(crate) fn wait(&self, keys: Vec<Bytes>, deadline: Option<Instant>, at_timeout: Reply) -> Answer {
        if self.origin != Origin::Client {
            return Ok(at_timeout);
        }
        let on = BlockedOn::Keys { database: self.at.database, keys, command: self.args.clone() };
        Err(Stop::Wait { on, deadline, at_timeout })
    }

    /// The client whose command this is.
    ///
    /// # Panics
    /// For a command that comes from the journal.
    pub(crate) fn client(&mut self) -> &mut Client {
        self.state.clients.get_mut(&self.client).expect("invariant: a command of a client has one")
    }

    /// Whether this server hides what is expired, and waits until its master takes it away.
    fn hides_expired(&self) -> bool {
        self.state.is_replica()
    }

    /// Whether a key is there. One whose time is over is taken away.
    pub(crate) fn is_there(&mut self, key: &Bytes) -> bool {
        let Some(entry) = self.state.databases[self.at.database].find(key) else { return false };
        let is_over = entry.expires_at_ms.is_some_and(|at| at <= self.at.now_ms);
        if !is_over || self.origin == Origin::Journal {
            return true;
        }
        if !self.hides_expired() {
            let key = key.clone();
            self.state.expire(self.at, &key);
        }
        false
    }

    /// A key with all that is known of it.
    pub(crate) fn entry(&mut self, key: &Bytes) -> Option<&Entry> {
        if !self.is_there(key) {
            return None;
        }
        self.state.databases[self.at.database].find(key)
    }

    pub(crate) fn value(&mut self, key: &Bytes) -> Option<&Value> {
        if !self.is_there(key) {
            self.state.stats.misses += 1;
            return None;
        }
        self.state.stats.hits += 1;
        let now_ms = self.at.now_ms;
        let database = &mut self.state.databases[self.at.database];
        database.set_used(key, now_ms);
        database.find(key).map(|entry| &entry.value)
    }

    pub(crate) fn value_mut(&mut self, key: &Bytes) -> Option<&mut Value> {
        if !self.is_there(key) {
            return None;
        }
        let now_ms = self.at.now_ms;
        let database = &mut self.state.databases[self.at.database];
        database.set_used(key, now_ms);
        database.find_mut(key)
    }

    /// Gives a key a value, in place of whatever it had.
    pub(crate) fn put(&mut self, key: &Bytes, value: Value, expires_at_ms: Option<i64>) {
        let entry = Entry { value, expires_at_ms, used_ms: self.at.now_ms };
        self.state.databases[self.at.database].insert(key.clone(), entry);
    }

    /// Gives a key a collection that a command made; an empty one takes the key away.
    pub(crate) fn put_result(&mut self, key: &Bytes, value: Value, class: char, event: &str) {
        if !value.is_empty() {
            self.put(key, value, None);
            self.changed(class, event, key);
        } else if self.remove(key).is_some() {
            self.changed('g', "del", key);
        }
    }

    /// Takes a key away. The caller says what that was.
    pub(crate) fn remove(&mut self, key: &Bytes) -> Option<Entry> {
        if !self.is_there(key) {
            return None;
        }
        self.state.databases[self.at.database].remove(key)
    }

    /// Something about a key was changed. `class` and `event` are those of keyspace notifications.
    pub(crate) fn changed(&mut self, class: char, event: &str, key: &Bytes) {
        self.changes += 1;
        let database = self.at.database;
        self.state.touch_watched(database, key);
        self.state.waiting.key_changed(database, key);
        self.state.notify(database, class, event, key);
    }

    /// As [`Call::changed`], for a change of which a transaction that watches the key need not know: one of a stream's groups.
    pub(crate) fn groups_changed(&mut self, event: &str, key: &Bytes) {
        self.changes += 1;
        let database = self.at.database;
        self.state.waiting.key_changed(database, key);
        self.state.notify(database, 't', event, key);
    }

    /// As [`Call::changed`], for a collection that may have become empty.
    pub(crate) fn shrunk(&mut self, class: char, event: &str, key: &Bytes) {
        self.changed(class, event, key);
        let database = &mut self.state.databases[self.at.database];
        if database.find(key).is_some_and(|entry| entry.value.is_empty()) {
            database.remove(key);
            self.state.notify(self.at.database, 'g', "del", key);
        }
    }

    /// Takes away what a command made and did not fill.
    pub(crate) fn tidy(&mut self, key: &Bytes) {
        let database = &mut self.state.databases[self.at.database];
        if database.find(key).is_some_and(|entry| entry.value.is_empty()) {
            database.remove(key);
        }
    }
}

/// An error about the number of arguments.
pub(crate) fn wrong_arity(command: &str) -> Stop {
    Stop::Error(format!("ERR wrong number of arguments for '{command}' command").into())
}

/// An error about a subcommand that there is not.
pub(crate) fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Stop {
    let subcommand = String::from_utf8_lossy(subcommand);
    Stop::Error(format!("ERR unknown subcommand '{subcommand:.128}'. Try {command} HELP.").into())
}
