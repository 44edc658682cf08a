//! RESP, both versions of it: what a server says, and how it is written.
//!
//! Owns replies and their bytes. Must not know commands, keys, or what a reply means. Invariant: each reply can be written in
//! both versions.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::numbers::format_double;

pub use super::link::{Link, LinkReader, LinkWriter};
pub use super::request::{RequestDecoder, split_line};

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// The one that each connection begins with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A status, such as `OK`.
    Simple(Cow<'static, str>),
    /// An error with its code, as in `ERR syntax error`.
    Error(Cow<'static, str>),
    /// A signed number of 64 bits.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// Nothing, where a string could be.
    Null,
    /// Nothing, where an array could be.
    NullArray,
    /// Several replies, as one.
    Array(Vec<Reply>),
    /// Pairs; a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// An array whose order says nothing; an array in RESP2.
    Set(Vec<Reply>),
    /// A floating point number; a string in RESP2.
    Double(f64),
    /// A truth value; 1 or 0 in RESP2.
    Boolean(bool),
    /// A message that no request asked for; an array in RESP2.
    Push(Vec<Reply>),
    /// Text for people; a string in RESP2.
    Verbatim(Bytes),
    /// One reply after the other, none of them inside of another.
    Several(Vec<Reply>),
}

impl Reply {
    /// The status `OK`.
    pub const OK: Reply = Reply::Simple(Cow::Borrowed("OK"));

    /// A status.
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Simple(text.into())
    }

    /// An error; `text` begins with its code.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Error(text.into())
    }

    /// A string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// No reply at all.
    pub fn nothing() -> Reply {
        Reply::Several(Vec::new())
    }

    /// The bytes of a status, a string or a text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Reply::Simple(text) => Some(text.as_bytes()),
            Reply::Bulk(bytes) | Reply::Verbatim(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text of a status, a string or an error, where it is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Reply::Error(text) => Some(text),
            _ => std::str::from_utf8(self.as_bytes()?).ok(),
        }
    }

    /// A number, also one that is written as a string.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Reply::Integer(number) => Some(*number),
            _ => self.as_text()?.parse().ok(),
        }
    }

    /// The items of an array, a set or a push.
    pub fn as_array(&self) -> Option<&[Reply]> {
        match self {
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Some(items),
            _ => None,
        }
    }

    /// An error's text, code and all.
    pub fn as_error(&self) -> Option<&str> {
        match self {
            Reply::Error(text) => Some(text),
            _ => None,
        }
    }

    /// Writes the reply behind what `out` holds.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        let is_resp3 = protocol == Protocol::Resp3;
        match self {
            Reply::Simple(text) => line(out, b'+', text.as_bytes()),
            Reply::Error(text) => line(out, b'-', text.replace(['\r', '\n'], " ").as_bytes()),
            Reply::Integer(number) => line(out, b':', number.to_string().as_bytes()),
            Reply::Bulk(bytes) => bulk(out, bytes),
            Reply::Null if is_resp3 => out.put_slice(b"_\r\n"),
            Reply::Null => out.put_slice(b"$-1\r\n"),
            Reply::NullArray if is_resp3 => out.put_slice(b"_\r\n"),
            Reply::NullArray => out.put_slice(b"*-1\r\n"),
            Reply::Array(items) => list(out, b'*', items, protocol),
            Reply::Set(items) => list(out, if is_resp3 { b'~' } else { b'*' }, items, protocol),
            Reply::Push(items) => list(out, if is_resp3 { b'>' } else { b'*' }, items, protocol),
            Reply::Map(pairs) => {
                let (sign, count) = if is_resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
                line(out, sign, count.to_string().as_bytes());
                for (key, value) in pairs {
                    key.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
            Reply::Double(number) if is_resp3 => line(out, b',', format_double(*number).as_bytes()),
            Reply::Double(number) => bulk(out, format_double(*number).as_bytes()),
            Reply::Boolean(truth) if is_resp3 => line(out, b'#', if *truth { b"t" } else { b"f" }),
            Reply::Boolean(truth) => line(out, b':', if *truth { b"1" } else { b"0" }),
            Reply::Verbatim(text) if is_resp3 => {
                line(out, b'=', (text.len() + 4).to_string().as_bytes());
                out.put_slice(b"txt:");
                out.put_slice(text);
                out.put_slice(b"\r\n");
            }
            Reply::Verbatim(text) => bulk(out, text),
            Reply::Several(replies) => replies.iter().for_each(|reply| reply.encode(protocol, out)),
        }
    }
}

impl From<i64> for Reply {
    fn from(number: i64) -> Reply {
        Reply::Integer(number)
    }
}

impl From<i32> for Reply {
    fn from(number: i32) -> Reply {
        Reply::Integer(number.into())
    }
}

impl From<usize> for Reply {
    fn from(number: usize) -> Reply {
        Reply::Integer(number as i64)
    }
}

impl From<bool> for Reply {
    fn from(truth: bool) -> Reply {
        Reply::Integer(i64::from(truth))
    }
}

impl From<Bytes> for Reply {
    fn from(bytes: Bytes) -> Reply {
        Reply::Bulk(bytes)
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Reply {
        Reply::bulk(text)
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Reply {
        Reply::Bulk(text.into())
    }
}

impl<T: Into<Reply>> From<Option<T>> for Reply {
    fn from(value: Option<T>) -> Reply {
        value.map_or(Reply::Null, Into::into)
    }
}

impl<T: Into<Reply>> FromIterator<T> for Reply {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Reply {
        Reply::Array(items.into_iter().map(Into::into).collect())
    }
}

fn line(out: &mut BytesMut, sign: u8, text: &[u8]) {
    out.put_u8(sign);
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    line(out, b'$', bytes.len().to_string().as_bytes());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

fn list(out: &mut BytesMut, sign: u8, items: &[Reply], protocol: Protocol) {
    line(out, sign, items.len().to_string().as_bytes());
    items.iter().for_each(|item| item.encode(protocol, out));
}

/// Writes a request, as clients send it, behind what `out` holds.
pub fn encode_request<A: AsRef<[u8]>>(arguments: &[A], out: &mut BytesMut) {
    line(out, b'*', arguments.len().to_string().as_bytes());
    arguments.iter().for_each(|argument| bulk(out, argument.as_ref()));
}
