//! What clients are told: that it is done, what failed, which columns come, that the rows are over.
//!
//! Owns the bytes of these packets. Must not send them. Invariant: an answer ends with exactly one packet that tells the
//! session's state, or with an error.

use bytes::BufMut;
use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::BufMutExt;
use mysql_common::packets::Column;

use super::super::error::MyError;

/// A statement is done.
pub(in super::super) fn done(affected_rows: u64, last_insert_id: u64, status: StatusFlags) -> Vec<u8> {
    ok(0x00, affected_rows, last_insert_id, status)
}

fn ok(header: u8, affected_rows: u64, last_insert_id: u64, status: StatusFlags) -> Vec<u8> {
    let mut packet = vec![header];
    packet.put_lenenc_int(affected_rows);
    packet.put_lenenc_int(last_insert_id);
    packet.put_u16_le(status.bits());
    // No warnings.
    packet.put_u16_le(0);
    packet
}

/// The rows are over.
pub(in super::super) fn end_of_rows(capabilities: CapabilityFlags, status: StatusFlags) -> Vec<u8> {
    if capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF) {
        ok(0xfe, 0, 0, status)
    } else {
        end_of_columns(status)
    }
}

fn end_of_columns(status: StatusFlags) -> Vec<u8> {
    let mut packet = vec![0xfe, 0, 0];
    packet.put_u16_le(status.bits());
    packet
}

/// A statement failed.
pub(in super::super) fn error(error: &MyError) -> Vec<u8> {
    let mut packet = vec![0xff];
    packet.put_u16_le(error.kind.0);
    packet.put_u8(b'#');
    packet.put_slice(error.kind.sqlstate().as_bytes());
    packet.put_slice(error.message.as_bytes());
    packet
}

/// Rows with these columns come.
pub(in super::super) fn columns<'a>(
    all: impl ExactSizeIterator<Item = &'a Column>,
    capabilities: CapabilityFlags,
    status: StatusFlags,
) -> Vec<Vec<u8>> {
    let mut count = Vec::new();
    count.put_lenenc_int(all.len() as u64);
    let mut packets = vec![count];
    packets.extend(definitions(all, capabilities, status));
    packets
}

/// A statement is prepared under this number.
pub(in super::super) fn prepared<'a>(
    id: u32,
    parameters: impl ExactSizeIterator<Item = &'a Column>,
    columns: impl ExactSizeIterator<Item = &'a Column>,
    capabilities: CapabilityFlags,
    status: StatusFlags,
) -> Vec<Vec<u8>> {
    let mut first = vec![0];
    first.put_u32_le(id);
    first.put_u16_le(columns.len() as u16);
    first.put_u16_le(parameters.len() as u16);
    // A filler, and no warnings.
    first.put_slice(&[0, 0, 0]);
    let mut packets = vec![first];
    packets.extend(definitions(parameters, capabilities, status));
    packets.extend(definitions(columns, capabilities, status));
    packets
}

/// Definitions of columns, with their end for those who want it.
fn definitions<'a>(
    all: impl ExactSizeIterator<Item = &'a Column>,
    capabilities: CapabilityFlags,
    status: StatusFlags,
) -> Vec<Vec<u8>> {
    let has_end = all.len() > 0 && !capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF);
    let mut packets: Vec<Vec<u8>> = all.map(definition).collect();
    if has_end {
        packets.push(end_of_columns(status));
    }
    packets
}

/// Not the library's own form, which has the length before the character set.
fn definition(column: &Column) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.put_lenenc_str(b"def");
    packet.put_lenenc_str(column.schema_ref());
    packet.put_lenenc_str(column.table_ref());
    packet.put_lenenc_str(column.org_table_ref());
    packet.put_lenenc_str(column.name_ref());
    packet.put_lenenc_str(column.org_name_ref());
    // The length of what follows.
    packet.put_u8(12);
    packet.put_u16_le(column.character_set());
    packet.put_u32_le(column.column_length());
    packet.put_u8(column.column_type() as u8);
    packet.put_u16_le(column.flags().bits());
    packet.put_u8(column.decimals());
    packet.put_u16_le(0);
    packet
}

#[cfg(test)]
mod tests {
    use mysql_common::constants::ColumnType;
    use mysql_common::io::ParseBuf;

    use super::*;

    #[test]
    fn a_definition_is_read_as_it_was_written() {
        let column = Column::new(ColumnType::MYSQL_TYPE_VAR_STRING)
            .with_schema(b"test")
            .with_table(b"t")
            .with_org_table(b"t")
            .with_name(b"called")
            .with_org_name(b"name")
            .with_character_set(255)
            .with_column_length(80)
            .with_decimals(3);
        let bytes = definition(&column);
        assert_eq!(ParseBuf(&bytes).parse::<Column>(()).expect("a column"), column);
    }
}
