//! COPY's binary format.
//!
//! Owns its header, its rows and its end. Must not know where rows come from. Invariant: a value in it is what the binary format of the wire has for its type.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::wire;
use crate::engine::{Catalog, Condition, Result, SqlError, SqlType, Value};

/// What every file begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// The bit of the flags that says that rows have object numbers, which no table has.
const HAS_OIDS: u32 = 1 << 16;

fn wrong(message: impl Into<String>) -> SqlError {
    SqlError::new(Condition::BadCopyFileFormat, message)
}

/// Signature, no flags, no extension.
pub(super) fn header() -> BytesMut {
    let mut out = BytesMut::from(SIGNATURE);
    out.put_u32(0);
    out.put_u32(0);
    out
}

/// Appends a row.
pub(super) fn put_row<'a>(
    values: impl ExactSizeIterator<Item = (&'a SqlType, &'a Value)>,
    out: &mut BytesMut,
) -> Result<()> {
    out.put_i16(values.len() as i16);
    for (ty, value) in values {
        wire::write(ty, value, true, out)?;
    }
    Ok(())
}

/// Appends what comes after the last row.
pub(super) fn put_trailer(out: &mut BytesMut) {
    out.put_i16(-1);
}

/// All rows of a file whose columns have these types.
pub(super) fn rows(data: Vec<u8>, types: &[SqlType], catalog: &Catalog) -> Result<Vec<Vec<Value>>> {
    let mut data = Bytes::from(data);
    if !data.starts_with(SIGNATURE) {
        return Err(wrong("COPY file signature not recognized"));
    }
    data.advance(SIGNATURE.len());
    if data.len() < 8 {
        return Err(wrong("invalid COPY file header (missing flags)"));
    }
    let (flags, extension) = (data.get_u32(), data.get_u32() as usize);
    if flags & HAS_OIDS != 0 {
        return Err(wrong("invalid COPY file header (WITH OIDS)"));
    }
    if data.len() < extension {
        return Err(wrong("invalid COPY file header (wrong length)"));
    }
    data.advance(extension);
    let mut rows = Vec::new();
    loop {
        // A file without its end is taken, as PostgreSQL does.
        if data.is_empty() {
            return Ok(rows);
        }
        if data.len() < 2 {
            return Err(wrong("unexpected EOF in COPY data"));
        }
        let count = data.get_i16();
        if count == -1 {
            if data.is_empty() {
                return Ok(rows);
            }
            return Err(wrong("received copy data after EOF marker"));
        }
        if usize::try_from(count).ok() != Some(types.len()) {
            let message = format!("row field count is {count}, expected {}", types.len());
            return Err(wrong(message));
        }
        let values = types.iter().map(|ty| value(&mut data, ty, catalog));
        rows.push(values.collect::<Result<_>>()?);
    }
}

fn value(data: &mut Bytes, ty: &SqlType, catalog: &Catalog) -> Result<Value> {
    if data.len() < 4 {
        return Err(wrong("unexpected EOF in COPY data"));
    }
    match data.get_i32() {
        -1 => Ok(Value::Null),
        length => {
            let length = usize::try_from(length).map_err(|_| wrong("invalid field size"))?;
            if data.len() < length {
                return Err(wrong("unexpected EOF in COPY data"));
            }
            wire::read(ty, Some(&data.split_to(length)), true, catalog)
        }
    }
}
