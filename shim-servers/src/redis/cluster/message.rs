//! What nodes say to each other.
//!
//! Owns the messages of the bus and their bytes: a length of four bytes, then postcard. Must not know what follows from them.
//! Invariant: each message carries who sends it and what it claims.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The largest message.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// A message.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Message {
    pub(crate) sender: String,
    /// Empty where the receiver is to look at the connection.
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) bus_port: u16,
    pub(crate) epoch: u64,
    /// Of a replica, its master's.
    pub(crate) config_epoch: u64,
    pub(crate) offset: i64,
    pub(crate) is_master: bool,
    pub(crate) master: Option<String>,
    /// Of a replica, its master's.
    pub(crate) slots: Vec<(u16, u16)>,
    pub(crate) is_paused: bool,
    pub(crate) is_forced: bool,
    pub(crate) kind: Kind,
}

/// What it is about.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Kind {
    Ping(Vec<Gossip>),
    Pong(Vec<Gossip>),
    Meet(Vec<Gossip>),
    Fail(String),
    Publish {
        channel: Bytes,
        message: Bytes,
        is_sharded: bool,
    },
    AskForVote,
    Vote,
    /// Somebody else has these slots by now.
    Update {
        owner: String,
        config_epoch: u64,
        slots: Vec<(u16, u16)>,
    },
    StartManualFailover,
}

impl Kind {
    /// Its name in CLUSTER INFO.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Kind::Ping(_) => "ping",
            Kind::Pong(_) => "pong",
            Kind::Meet(_) => "meet",
            Kind::Fail(_) => "fail",
            Kind::Publish { is_sharded: false, .. } => "publish",
            Kind::Publish { is_sharded: true, .. } => "publishshard",
            Kind::AskForVote => "auth-req",
            Kind::Vote => "auth-ack",
            Kind::Update { .. } => "update",
            Kind::StartManualFailover => "mfstart",
        }
    }
}

/// What a node tells of another one.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Gossip {
    pub(crate) id: String,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) bus_port: u16,
    pub(crate) is_master: bool,
    pub(crate) is_suspected: bool,
    pub(crate) is_failed: bool,
}

/// Writes a message behind what `out` holds.
pub(crate) fn encode(message: &Message, out: &mut BytesMut) {
    let body = postcard::to_stdvec(message).expect("invariant: each message can be written");
    out.put_u32(body.len() as u32);
    out.put_slice(&body);
}

/// Takes a message off `buffer`, if there is a whole one.
///
/// # Errors
/// For what is no message: the connection is of no more use.
pub(crate) fn decode(buffer: &mut BytesMut) -> Result<Option<Message>, String> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let size = u32::from_be_bytes(*head) as usize;
    if size > MAX_BYTES {
        return Err("the message is too large".into());
    }
    if buffer.len() < size + 4 {
        return Ok(None);
    }
    buffer.advance(4);
    let body = buffer.split_to(size);
    postcard::from_bytes(&body).map(Some).map_err(|error| error.to_string())
}
