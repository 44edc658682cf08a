//! HyperLogLog: how many different things there were, roughly.
//!
//! Owns the registers, in a string of Redis's dense form. Must not know what is counted. Invariant: the estimate is the one that
//! Redis gives for the same things.

use bytes::Bytes;

use crate::redis::call::{Answer, Call, Stop};
use crate::redis::wire::Reply;

/// How many bits of a hash choose a register, and how many are left.
const INDEX_BITS: u32 = 14;
const REST_BITS: usize = 64 - INDEX_BITS as usize;
const REGISTERS: usize = 1 << INDEX_BITS;
const HEADER_BYTES: usize = 16;
const REGISTER_BITS: usize = 6;
const BYTES: usize = HEADER_BYTES + REGISTERS * REGISTER_BITS / 8;

/// Registers, one byte each.
type Registers = Vec<u8>;

/// The hash of Redis's choice: MurmurHash2 for 64 bits, by Austin Appleby.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 0xadc8_3b19 ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut part = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        part ^= part >> 47;
        hash = (hash ^ part.wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(FACTOR);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(FACTOR);
    hash ^ (hash >> 47)
}

/// Counts one thing. Says whether that changed a register.
fn add(registers: &mut Registers, thing: &[u8]) -> bool {
    let hash = hash(thing);
    let index = (hash & (REGISTERS as u64 - 1)) as usize;
    let run = ((hash >> INDEX_BITS) | (1 << REST_BITS)).trailing_zeros() as u8 + 1;
    let is_new = registers[index] < run;
    registers[index] = registers[index].max(run);
    is_new
}

fn unpack(content: &[u8]) -> Option<Registers> {
    if content.len() != BYTES || !content.starts_with(b"HYLL") {
        return None;
    }
    let body = &content[HEADER_BYTES..];
    let register = |index: usize| {
        let bit = index * REGISTER_BITS;
        let low = u16::from(body[bit / 8]);
        let high = u16::from(body.get(bit / 8 + 1).copied().unwrap_or(0));
        (((high << 8) | low) >> (bit % 8)) as u8 & 0x3f
    };
    Some((0..REGISTERS).map(register).collect())
}

fn pack(registers: &Registers) -> Bytes {
    let mut content = vec![0; BYTES];
    content[..4].copy_from_slice(b"HYLL");
    for (index, register) in registers.iter().enumerate() {
        let bit = index * REGISTER_BITS;
        let (place, shifted) = (HEADER_BYTES + bit / 8, u16::from(*register) << (bit % 8));
        content[place] |= shifted as u8;
        if let Some(next) = content.get_mut(place + 1) {
            *next |= (shifted >> 8) as u8;
        }
    }
    content.into()
}

/// Otmar Ertl's estimate, from how many registers have each value.
fn estimate(registers: &Registers) -> i64 {
    let mut counts = [0_u32; 64];
    registers.iter().for_each(|register| counts[usize::from(*register)] += 1);
    let all = REGISTERS as f64;
    let mut z = all * tau((all - f64::from(counts[REST_BITS + 1])) / all);
    for count in counts[1..=REST_BITS].iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += all * sigma(f64::from(counts[0]) / all);
    (0.5 / std::f64::consts::LN_2 * all * all / z).round() as i64
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

/// The registers of a key, if it is there.
fn registers(call: &mut Call, key: &Bytes) -> Result<Option<Registers>, Stop> {
    let Some(content) = call.string(key)? else { return Ok(None) };
    let found = unpack(content).ok_or("WRONGTYPE Key is not a valid HyperLogLog string value.")?;
    Ok(Some(found))
}

/// The greatest of each register of several keys.
fn merged(call: &mut Call, keys: &[Bytes]) -> Result<Registers, Stop> {
    let mut all = vec![0; REGISTERS];
    for key in keys {
        for (place, register) in all.iter_mut().zip(registers(call, key)?.unwrap_or_default()) {
            *place = register.max(*place);
        }
    }
    Ok(all)
}

pub(crate) fn pfadd(call: &mut Call) -> Answer {
    let (key, things) = (call.arg(1), call.args_from(2));
    let old = registers(call, &key)?;
    let is_new = old.is_none();
    let mut registers = old.unwrap_or_else(|| vec![0; REGISTERS]);
    let is_changed = things.iter().fold(is_new, |is_changed, thing| add(&mut registers, thing) || is_changed);
    if is_changed {
        call.rewrite(&key, pack(&registers))?;
        call.changed('$', "pfadd", &key);
    }
    Ok(is_changed.into())
}

pub(crate) fn pfcount(call: &mut Call) -> Answer {
    let keys = call.args_from(1);
    Ok(estimate(&merged(call, &keys)?).into())
}

pub(crate) fn pfmerge(call: &mut Call) -> Answer {
    let (target, keys) = (call.arg(1), call.args_from(1));
    let registers = merged(call, &keys)?;
    call.rewrite(&target, pack(&registers))?;
    call.changed('$', "pfadd", &target);
    Ok(Reply::OK)
}
