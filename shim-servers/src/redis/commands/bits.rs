//! Bits of strings.
//!
//! Owns the commands that read and write single bits. Must not know numbers. Invariant: bit 0 is the highest one of the first
//! byte.

use bytes::Bytes;

use super::strings::range;
use crate::redis::call::{Answer, Call, SYNTAX, Stop};
use crate::redis::value::Value;

const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";

fn offset(call: &Call, index: usize) -> Result<usize, Stop> {
    let offset = call.integer(index).ok().filter(|offset| (0..(1 << 32)).contains(offset));
    Ok(offset.ok_or(BAD_OFFSET)? as usize)
}

fn bit(content: &[u8], offset: usize) -> u8 {
    content.get(offset / 8).map_or(0, |byte| (byte >> (7 - offset % 8)) & 1)
}

pub(crate) fn getbit(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let offset = offset(call, 2)?;
    Ok(i64::from(call.string(&key)?.map_or(0, |content| bit(content, offset))).into())
}

pub(crate) fn setbit(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let offset = offset(call, 2)?;
    let new = call.integer(3).ok().filter(|bit| (0..=1).contains(bit));
    let new = new.ok_or("ERR bit is not an integer or out of range")? as u8;
    let mut content = call.string(&key)?.cloned().unwrap_or_default().to_vec();
    content.resize(content.len().max(offset / 8 + 1), 0);
    let old = bit(&content, offset);
    let mask = 1 << (7 - offset % 8);
    if new == 1 {
        content[offset / 8] |= mask;
    } else {
        content[offset / 8] &= !mask;
    }
    call.rewrite(&key, content)?;
    call.changed('$', "setbit", &key);
    Ok(i64::from(old).into())
}

/// The bits that a range means, which may be given in bytes or in bits.
fn bits(call: &Call, index: usize, length: usize) -> Result<Option<(usize, usize)>, Stop> {
    let in_bits = call.is(index + 2, "BIT");
    if !call.ends_at(index + 2) && !in_bits && !call.is(index + 2, "BYTE") {
        return Err(SYNTAX.into());
    }
    if call.ends_at(index) {
        return Ok((length > 0).then_some((0, length * 8)));
    }
    let start = call.integer(index)?;
    let end = if call.ends_at(index + 1) { -1 } else { call.integer(index + 1)? };
    if in_bits {
        return Ok(range(start, end, length * 8));
    }
    Ok(range(start, end, length).map(|(from, to)| (from * 8, to * 8)))
}

pub(crate) fn bitcount(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let Some(content) = call.string(&key)?.cloned() else { return Ok(0.into()) };
    if call.args.len() == 3 || call.args.len() > 5 {
        return Err(SYNTAX.into());
    }
    let found = bits(call, 2, content.len())?;
    let count = found.map_or(0, |(from, to)| (from..to).filter(|offset| bit(&content, *offset) == 1).count());
    Ok(count.into())
}

pub(crate) fn bitpos(call: &mut Call) -> Answer {
    let key = call.arg(1);
    let wanted = call.integer(2)?;
    if !(0..=1).contains(&wanted) {
        return Err("ERR The bit argument must be 1 or 0.".into());
    }
    if call.args.len() > 6 {
        return Err(SYNTAX.into());
    }
    let has_end = !call.ends_at(4);
    let Some(content) = call.string(&key)?.cloned() else {
        return Ok(if wanted == 1 { -1 } else { 0 }.into());
    };
    let Some((from, to)) = bits(call, 3, content.len())? else { return Ok((-1).into()) };
    let found = (from..to).find(|offset| i64::from(bit(&content, *offset)) == wanted);
    // Without an end, there are zeros behind the string.
    let behind = (wanted == 0 && !has_end).then_some(to);
    Ok(found.or(behind).map_or(-1, |offset| offset as i64).into())
}

pub(crate) fn bitop(call: &mut Call) -> Answer {
    let operation = String::from_utf8_lossy(&call.args[1]).to_uppercase();
    let (target, keys) = (call.arg(2), call.args_from(3));
    let combine: fn(u8, u8) -> u8 = match operation.as_str() {
        "AND" => |first, second| first & second,
        "OR" => |first, second| first | second,
        "XOR" => |first, second| first ^ second,
        "NOT" if keys.len() == 1 => |first, _| !first,
        "NOT" => return Err("ERR BITOP NOT must be called with a single source key.".into()),
        _ => return Err(SYNTAX.into()),
    };
    let mut sources = Vec::new();
    for key in &keys {
        sources.push(call.string(key)?.cloned().unwrap_or_default());
    }
    let length = sources.iter().map(Bytes::len).max().unwrap_or(0);
    let byte = |source: &Bytes, index: usize| source.get(index).copied().unwrap_or(0);
    let result: Vec<u8> = (0..length)
        .map(|index| {
            let first = byte(&sources[0], index);
            match sources.len() {
                1 if operation == "NOT" => !first,
                _ => sources[1..].iter().fold(first, |all, source| combine(all, byte(source, index))),
            }
        })
        .collect();
    if result.is_empty() {
        if call.remove(&target).is_some() {
            call.changed('g', "del", &target);
        }
    } else {
        call.put(&target, Value::String(result.into()), None);
        call.changed('$', "set", &target);
    }
    Ok(length.into())
}
