//! Requests: a stream of bytes, cut into them.
//!
//! Owns the framing of what clients send, and its errors. Must not know commands. Invariant: bytes that are not a whole
//! request stay in the buffer or in the decoder.

use bytes::{Buf, Bytes, BytesMut};

/// The longest inline request, and the longest line of a length.
const LINE_MAX_BYTES: usize = 64 * 1024;
/// The largest bulk string.
const BULK_MAX_BYTES: i64 = 512 * 1024 * 1024;

/// Cuts a stream of bytes into requests: arrays of strings, or lines that a person typed.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    arguments: Vec<Bytes>,
    missing: usize,
    bulk_bytes: Option<usize>,
}

impl RequestDecoder {
    /// The next request of `buffer`, if there is a whole one. Of a client that is not `authenticated`, only small ones.
    ///
    /// # Errors
    /// The text of the error that a server answers before it hangs up.
    pub fn decode(
        &mut self,
        buffer: &mut BytesMut,
        authenticated: bool,
    ) -> Result<Option<Vec<Bytes>>, String> {
        loop {
            if self.missing == 0 {
                let Some(first) = buffer.first() else { return Ok(None) };
                if *first != b'*' {
                    match inline(buffer)? {
                        Some(arguments) if arguments.is_empty() => continue,
                        other => return Ok(other),
                    }
                }
                let Some(line) = length_line(buffer, "mbulk count")? else { return Ok(None) };
                let count = number(&line).filter(|count| *count <= i64::from(i32::MAX));
                let count = count.ok_or("Protocol error: invalid multibulk length")?;
                if count > 10 && !authenticated {
                    return Err("Protocol error: unauthenticated multibulk length".into());
                }
                self.missing = usize::try_from(count).unwrap_or(0);
                continue;
            }
            if !self.argument(buffer, authenticated)? {
                return Ok(None);
            }
            if self.missing == 0 {
                return Ok(Some(std::mem::take(&mut self.arguments)));
            }
        }
    }

    /// Takes one argument off `buffer`, if it is there.
    fn argument(&mut self, buffer: &mut BytesMut, authenticated: bool) -> Result<bool, String> {
        let size = match self.bulk_bytes {
            Some(size) => size,
            None => {
                let Some(first) = buffer.first() else { return Ok(false) };
                if *first != b'$' {
                    return Err(format!("Protocol error: expected '$', got '{}'", char::from(*first)));
                }
                let Some(line) = length_line(buffer, "bulk count")? else { return Ok(false) };
                let size = number(&line).filter(|size| (0..=BULK_MAX_BYTES).contains(size));
                let size = size.ok_or("Protocol error: invalid bulk length")?;
                if size > 16384 && !authenticated {
                    return Err("Protocol error: unauthenticated bulk length".into());
                }
                self.bulk_bytes = Some(size as usize);
                size as usize
            }
        };
        if buffer.len() < size + 2 {
            buffer.reserve(size + 2 - buffer.len());
            return Ok(false);
        }
        self.arguments.push(buffer.split_to(size).freeze());
        buffer.advance(2);
        self.missing -= 1;
        self.bulk_bytes = None;
        Ok(true)
    }
}

fn length_line(buffer: &mut BytesMut, what: &str) -> Result<Option<Bytes>, String> {
    let Some(end) = buffer.iter().position(|byte| *byte == b'\r') else {
        return match buffer.len() > LINE_MAX_BYTES {
            true => Err(format!("Protocol error: too big {what} string")),
            false => Ok(None),
        };
    };
    if buffer.len() < end + 2 {
        return Ok(None);
    }
    let mut line = buffer.split_to(end + 2).freeze();
    line.truncate(end);
    Ok(Some(line.slice(1..)))
}

fn number(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn inline(buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, String> {
    let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
        return match buffer.len() > LINE_MAX_BYTES {
            true => Err("Protocol error: too big inline request".into()),
            false => Ok(None),
        };
    };
    let line = buffer.split_to(end + 1);
    let arguments = split_line(&line).ok_or("Protocol error: unbalanced quotes in request")?;
    Ok(Some(arguments))
}

/// The words of a line, with quotes and escapes as redis-cli has them; `None` where a quote is not closed.
pub fn split_line(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest {
            if !first.is_ascii_whitespace() {
                break;
            }
            rest = tail;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, tail) = word(rest)?;
        words.push(word);
        rest = tail;
    }
}

fn word(mut rest: &[u8]) -> Option<(Bytes, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word.into(), rest)),
            [first, ..] if first.is_ascii_whitespace() => return Some((word.into(), rest)),
            [quote @ (b'"' | b'\''), tail @ ..] => {
                rest = quoted(*quote, tail, &mut word)?;
                // After the closing quote there must be a space, or nothing.
                if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                    return None;
                }
                return Some((word.into(), rest));
            }
            [byte, tail @ ..] => {
                word.push(*byte);
                rest = tail;
            }
        }
    }
}

fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\\', b'x', high, low, tail @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
                word.push(digit(high) * 16 + digit(low));
                tail
            }
            [b'\\', b'\'', tail @ ..] if quote == b'\'' => {
                word.push(b'\'');
                tail
            }
            [b'\\', escaped, tail @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] if *byte == quote => return Some(tail),
            [byte, tail @ ..] => {
                word.push(*byte);
                tail
            }
        }
    }
}
