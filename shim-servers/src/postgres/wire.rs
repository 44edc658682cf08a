//! Values on the wire, in text and in binary.
//!
//! Owns the binary format of every type. Must not know messages. Invariant: what is written in a format is what a client of PostgreSQL reads in it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::engine::{
    Catalog, Condition, Interval, Numeric, Result, SqlError, SqlType, Value, fields, format, from_element,
    parse, to_element,
};
use crate::sql::oids::{type_of_oid, type_oid};

/// Appends a value with its length; `binary` is the format.
pub(crate) fn write(ty: &SqlType, value: &Value, binary: bool, out: &mut BytesMut) -> Result<()> {
    if *value == Value::Null {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    if binary {
        write_binary(ty, value, out)?;
    } else {
        out.put_slice(format(ty, value)?.unwrap_or_default().as_bytes());
    }
    let length = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn write_binary(ty: &SqlType, value: &Value, out: &mut BytesMut) -> Result<()> {
    match (ty, value) {
        (SqlType::Bool, Value::Integer(truth)) => out.put_u8(u8::from(*truth != 0)),
        (SqlType::Int2, Value::Integer(number)) => out.put_i16(*number as i16),
        (SqlType::Int4 | SqlType::Date, Value::Integer(number)) => out.put_i32(*number as i32),
        (SqlType::Oid | SqlType::Regclass | SqlType::Regtype, Value::Integer(number)) => {
            out.put_u32(*number as u32)
        }
        (
            SqlType::Int8 | SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz,
            Value::Integer(number),
        ) => {
            out.put_i64(*number);
        }
        (SqlType::Float4, value) => out.put_f32(float(value)? as f32),
        (SqlType::Float8, value) => out.put_f64(float(value)?),
        (SqlType::Numeric(_), Value::Text(text)) => write_numeric(text, out)?,
        (SqlType::Uuid, Value::Text(text)) => {
            let hex = text.replace('-', "");
            let number = u128::from_str_radix(&hex, 16).map_err(SqlError::internal)?;
            out.put_u128(number);
        }
        (SqlType::Interval, Value::Text(kept)) => {
            let span = Interval::from_kept(kept)?;
            out.put_i64(span.us);
            out.put_i32(span.days);
            out.put_i32(span.months);
        }
        (SqlType::Jsonb, Value::Text(text)) => {
            out.put_u8(1);
            out.put_slice(text.as_bytes());
        }
        (SqlType::Array(element), Value::Text(json)) => write_array(element, json, out)?,
        (SqlType::Record, Value::Text(json)) => {
            let fields = fields(json)?;
            out.put_i32(fields.len() as i32);
            for (ty, value) in fields {
                out.put_u32(type_oid(&ty));
                write(&ty, &value, true, out)?;
            }
        }
        (SqlType::Void, _) => {}
        (_, Value::Blob(bytes)) => out.put_slice(bytes),
        (_, Value::Text(text)) => out.put_slice(text.as_bytes()),
        (ty, value) => {
            let message = format!("no binary output of {value:?} as {}", ty.display_name());
            return Err(SqlError::internal(message));
        }
    }
    Ok(())
}

fn float(value: &Value) -> Result<f64> {
    match value {
        Value::Real(number) => Ok(*number),
        Value::Integer(number) => Ok(*number as f64),
        other => Err(SqlError::internal(format!("{other:?} is no float"))),
    }
}

/// Groups of four decimal digits around the point, with the weight of the first.
fn write_numeric(text: &str, out: &mut BytesMut) -> Result<()> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('0');
    let padding = (4 - whole.len() % 4) % 4;
    let mut all = "0".repeat(padding) + whole;
    let weight = (all.len() / 4) as i16 - 1;
    all.push_str(fraction);
    all.push_str(&"0".repeat((4 - fraction.len() % 4) % 4));
    let mut groups = Vec::new();
    for group in all.as_bytes().chunks(4) {
        let text = std::str::from_utf8(group).map_err(SqlError::internal)?;
        groups.push(text.parse::<i16>().map_err(SqlError::internal)?);
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let weight = weight - leading as i16;
    let mut groups = &groups[leading..];
    while let [rest @ .., 0] = groups {
        groups = rest;
    }
    out.put_i16(groups.len() as i16);
    out.put_i16(if groups.is_empty() { 0 } else { weight });
    out.put_u16(if negative && !groups.is_empty() { 0x4000 } else { 0 });
    out.put_i16(fraction.len() as i16);
    groups.iter().for_each(|group| out.put_i16(*group));
    Ok(())
}

fn write_array(element: &SqlType, json: &str, out: &mut BytesMut) -> Result<()> {
    let items: Vec<serde_json::Value> = serde_json::from_str(json).map_err(SqlError::internal)?;
    out.put_i32(i32::from(!items.is_empty()));
    out.put_i32(i32::from(items.iter().any(serde_json::Value::is_null)));
    out.put_u32(type_oid(element));
    if !items.is_empty() {
        out.put_i32(items.len() as i32);
        out.put_i32(1);
    }
    for item in items {
        write(element, &from_element(element, &item), true, out)?;
    }
    Ok(())
}

/// Reads a parameter.
pub(crate) fn read(ty: &SqlType, data: Option<&Bytes>, binary: bool, catalog: &Catalog) -> Result<Value> {
    let Some(data) = data else { return Ok(Value::Null) };
    if binary {
        return read_binary(ty, data.clone(), catalog);
    }
    parse(ty, text(data)?)
}

fn text(data: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(data).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| {
        SqlError::new(Condition::InvalidTextRepresentation, "invalid byte sequence for encoding \"UTF8\"")
    })
}

fn read_binary(ty: &SqlType, mut data: Bytes, catalog: &Catalog) -> Result<Value> {
    let wrong = |ty: &SqlType| {
        let message = format!("incorrect binary data format in bind parameter of type {}", ty.display_name());
        SqlError::new(Condition::InvalidBinaryRepresentation, message)
    };
    let size = match ty {
        SqlType::Bool => Some(1),
        SqlType::Int2 => Some(2),
        SqlType::Int4
        | SqlType::Oid
        | SqlType::Float4
        | SqlType::Date
        | SqlType::Regclass
        | SqlType::Regtype => Some(4),
        SqlType::Int8 | SqlType::Float8 | SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz => {
            Some(8)
        }
        SqlType::Uuid | SqlType::Interval => Some(16),
        _ => None,
    };
    if size.is_some_and(|size| data.len() != size) {
        return Err(wrong(ty));
    }
    Ok(match ty {
        SqlType::Bool => Value::Integer(i64::from(data.get_u8() != 0)),
        SqlType::Int2 => Value::Integer(i64::from(data.get_i16())),
        SqlType::Int4 | SqlType::Date => Value::Integer(i64::from(data.get_i32())),
        SqlType::Oid | SqlType::Regclass | SqlType::Regtype => Value::Integer(i64::from(data.get_u32())),
        SqlType::Int8 | SqlType::Time | SqlType::Timestamp | SqlType::Timestamptz => {
            Value::Integer(data.get_i64())
        }
        SqlType::Float4 => real(f64::from(data.get_f32()))?,
        SqlType::Float8 => real(data.get_f64())?,
        SqlType::Numeric(_) => Value::Text(read_numeric(&mut data).ok_or_else(|| wrong(ty))??),
        SqlType::Uuid => {
            let hex = format!("{:032x}", data.get_u128());
            parse(&SqlType::Uuid, &hex)?
        }
        SqlType::Interval => {
            let us = data.get_i64();
            let days = data.get_i32();
            Value::Text(Interval { months: data.get_i32(), days, us }.kept())
        }
        SqlType::Jsonb => {
            if data.is_empty() || data.get_u8() != 1 {
                return Err(wrong(ty));
            }
            parse(ty, text(&data)?)?
        }
        SqlType::Bytea => Value::Blob(data.to_vec()),
        SqlType::Array(element) => read_array(element, data, catalog).ok_or_else(|| wrong(ty))??,
        ty => parse(ty, text(&data)?)?,
    })
}

fn real(number: f64) -> Result<Value> {
    if number.is_nan() {
        Err(SqlError::unsupported("a float that is not a number"))
    } else {
        Ok(Value::Real(number))
    }
}

fn read_numeric(data: &mut Bytes) -> Option<Result<String>> {
    if data.len() < 8 {
        return None;
    }
    let (count, weight, sign, scale) = (data.get_i16(), data.get_i16(), data.get_u16(), data.get_i16());
    if data.len() != usize::try_from(count).ok()? * 2 {
        return None;
    }
    if sign & 0xc000 == 0xc000 {
        return Some(Err(SqlError::unsupported("a numeric that is not finite")));
    }
    let groups: Vec<String> = (0..count).map(|_| format!("{:04}", data.get_i16())).collect();
    let weight = i32::from(weight);
    let group =
        |at: i32| usize::try_from(at).ok().and_then(|at| groups.get(at)).map_or("0000", String::as_str);
    let mut whole: String = (0..=weight).map(group).collect();
    whole = whole.trim_start_matches('0').to_owned();
    if whole.is_empty() {
        whole.push('0');
    }
    let scale = usize::try_from(scale).ok()?;
    let mut fraction: String = (weight + 1..weight + 1 + scale.div_ceil(4) as i32 + 1).map(group).collect();
    fraction.truncate(scale);
    let sign = if sign == 0x4000 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    let text = format!("{sign}{whole}{point}{fraction}");
    Some(Numeric::parse(&text).map(|number| number.to_string()))
}

fn read_array(element: &SqlType, mut data: Bytes, catalog: &Catalog) -> Option<Result<Value>> {
    if data.len() < 12 {
        return None;
    }
    let (dimensions, _, oid) = (data.get_i32(), data.get_i32(), data.get_u32());
    let own = type_of_oid(oid, catalog).unwrap_or_else(|| element.clone());
    if dimensions == 0 {
        return Some(Ok(Value::Text("[]".to_owned())));
    }
    if dimensions != 1 {
        return Some(Err(SqlError::unsupported("an array of more than one dimension")));
    }
    if data.len() < 8 {
        return None;
    }
    let (count, _) = (data.get_i32(), data.get_i32());
    let mut items = Vec::new();
    for _ in 0..count {
        if data.len() < 4 {
            return None;
        }
        let length = data.get_i32();
        let item = match usize::try_from(length) {
            Err(_) => Value::Null,
            Ok(length) if length <= data.len() => match read_binary(&own, data.split_to(length), catalog) {
                Ok(value) => value,
                Err(error) => return Some(Err(error)),
            },
            Ok(_) => return None,
        };
        items.push(to_element(&item));
    }
    Some(Ok(Value::Text(serde_json::Value::Array(items).to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(ty: &SqlType, text: &str) {
        let catalog = Catalog::default();
        let value = parse(ty, text).expect(text);
        let mut out = BytesMut::new();
        write(ty, &value, true, &mut out).expect(text);
        let data = out.freeze().slice(4..);
        assert_eq!(read(ty, Some(&data), true, &catalog).expect(text), value, "{text}");
    }

    #[test]
    fn binary_values_come_back() {
        for text in ["0", "-1.5", "12345.6789", "0.00012", "100000000", "99999999.0001", "-0.5", "10000"] {
            both_ways(&SqlType::Numeric(None), text);
        }
        both_ways(&SqlType::Uuid, "67e55044-10b1-426f-9247-bb680e5fe0c8");
        both_ways(&SqlType::Interval, "1 mon 2 days 00:00:03");
        both_ways(&SqlType::Jsonb, "{\"a\": [1, null]}");
        both_ways(&SqlType::Int4.array(), "{1,NULL,-3}");
        both_ways(&SqlType::Bytea.array(), "{\"\\\\x00ff\"}");
        both_ways(&SqlType::Timestamptz, "2024-05-06 07:08:09.1+00");
    }
}
