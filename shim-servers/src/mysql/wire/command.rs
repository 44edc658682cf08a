//! What clients ask for: commands, and prepared statements with their parameters.
//!
//! Owns the way from bytes to commands. Must not answer. Invariant: a command that is not known is said to be unknown.

use std::collections::BTreeMap;

use mysql_common::constants::{ColumnFlags, ColumnType, Command as Code};
use mysql_common::io::ParseBuf;
use mysql_common::value::{BinValue, Value, ValueDeserializer};

/// A command of a client.
#[derive(Debug, PartialEq)]
pub(in super::super) enum Command<'a> {
    Quit,
    Ping,
    UseDatabase(&'a [u8]),
    Query(&'a [u8]),
    Prepare(&'a [u8]),
    Execute {
        id: u32,
        parameters: &'a [u8],
    },
    LongData {
        id: u32,
        parameter: u16,
        data: &'a [u8],
    },
    ResetStatement(u32),
    Close(u32),
    ResetConnection,
    /// The whole message.
    ChangeUser(&'a [u8]),
    Unknown,
}

impl Command<'_> {
    pub(in super::super) fn of(packet: &[u8]) -> Command<'_> {
        let Some((code, rest)) = packet.split_first() else { return Command::Unknown };
        let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        let command = match *code {
            code if code == Code::COM_QUIT as u8 => Some(Command::Quit),
            code if code == Code::COM_PING as u8 => Some(Command::Ping),
            code if code == Code::COM_INIT_DB as u8 => Some(Command::UseDatabase(rest)),
            code if code == Code::COM_QUERY as u8 => Some(Command::Query(rest)),
            code if code == Code::COM_STMT_PREPARE as u8 => Some(Command::Prepare(rest)),
            // Flags of a cursor, which this server does not give, and one iteration lie between.
            code if code == Code::COM_STMT_EXECUTE as u8 => {
                number(rest).and_then(|id| Some(Command::Execute { id, parameters: rest.get(9..)? }))
            }
            code if code == Code::COM_STMT_SEND_LONG_DATA as u8 => number(rest).and_then(|id| {
                let parameter = u16::from_le_bytes(*rest.get(4..)?.first_chunk()?);
                Some(Command::LongData { id, parameter, data: rest.get(6..)? })
            }),
            code if code == Code::COM_STMT_RESET as u8 => number(rest).map(Command::ResetStatement),
            code if code == Code::COM_STMT_CLOSE as u8 => number(rest).map(Command::Close),
            code if code == Code::COM_RESET_CONNECTION as u8 => Some(Command::ResetConnection),
            code if code == Code::COM_CHANGE_USER as u8 => Some(Command::ChangeUser(packet)),
            _ => None,
        };
        command.unwrap_or(Command::Unknown)
    }
}

/// A statement that a client has prepared.
#[derive(Debug, Default)]
pub(in super::super) struct Prepared {
    pub(in super::super) text: String,
    pub(in super::super) parameters: usize,
    /// The types of the last execution: the next one may leave them out.
    types: Vec<(ColumnType, ColumnFlags)>,
    /// What was sent ahead, by parameter.
    long_data: BTreeMap<u16, Vec<u8>>,
}

impl Prepared {
    pub(in super::super) fn new(text: &str, parameters: usize) -> Prepared {
        Prepared { text: text.to_owned(), parameters, ..Prepared::default() }
    }

    pub(in super::super) fn add_long_data(&mut self, parameter: u16, data: &[u8]) {
        self.long_data.entry(parameter).or_default().extend_from_slice(data);
    }

    pub(in super::super) fn forget_long_data(&mut self) {
        self.long_data.clear();
    }

    /// The values of an execution, with their types; nothing where the bytes are none.
    pub(in super::super) fn values(&mut self, bytes: &[u8]) -> Option<Vec<(Value, ColumnType)>> {
        let long_data = std::mem::take(&mut self.long_data);
        if self.parameters == 0 {
            return Some(Vec::new());
        }
        let (nulls, rest) = bytes.split_at_checked(self.parameters.div_ceil(8))?;
        let (are_types_new, mut rest) = rest.split_first()?;
        if *are_types_new == 1 {
            let (types, values) = rest.split_at_checked(self.parameters * 2)?;
            self.types = types.chunks(2).map(kind).collect::<Option<_>>()?;
            rest = values;
        }
        if self.types.len() != self.parameters {
            return None;
        }
        let mut rest = ParseBuf(rest);
        let mut values = Vec::with_capacity(self.parameters);
        for (at, (wire, flags)) in self.types.iter().copied().enumerate() {
            let is_null = nulls[at / 8] & (1 << (at % 8)) != 0;
            let value = match long_data.get(&(at as u16)) {
                Some(data) => Value::Bytes(data.clone()),
                None if is_null => Value::NULL,
                None => rest.parse::<ValueDeserializer<BinValue>>((wire, flags)).ok()?.0,
            };
            values.push((value, wire));
        }
        Some(values)
    }
}

/// A parameter's type, of those that have a form on the wire.
fn kind(bytes: &[u8]) -> Option<(ColumnType, ColumnFlags)> {
    let wire = ColumnType::try_from(bytes[0]).ok()?;
    let has_form = !matches!(
        wire,
        ColumnType::MYSQL_TYPE_TIMESTAMP2
            | ColumnType::MYSQL_TYPE_DATETIME2
            | ColumnType::MYSQL_TYPE_TIME2
            | ColumnType::MYSQL_TYPE_TYPED_ARRAY
            | ColumnType::MYSQL_TYPE_UNKNOWN
    );
    let flags = if bytes[1] & 0x80 == 0 { ColumnFlags::empty() } else { ColumnFlags::UNSIGNED_FLAG };
    has_form.then_some((wire, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_or_unknown() {
        assert_eq!(Command::of(b"\x03SELECT 1"), Command::Query(b"SELECT 1"));
        assert_eq!(Command::of(b"\x1f"), Command::ResetConnection);
        assert_eq!(Command::of(b"\x19\x07\0\0\0"), Command::Close(7));
        let execute = Command::Execute { id: 1, parameters: b"rest" };
        assert_eq!(Command::of(b"\x17\x01\0\0\0\0\x01\0\0\0rest"), execute);
        for unknown in [&b""[..], b"\x00", b"\x0c", b"\x1c\0", b"\x17\x01\0", b"\x18\x01\0\0\0", b"\xff"] {
            assert_eq!(Command::of(unknown), Command::Unknown, "{unknown:?}");
        }
    }

    #[test]
    fn types_are_remembered_and_long_data_is_not() {
        let mut prepared = Prepared::new("SELECT ?, ?", 2);
        // The second is NULL; the first an unsigned byte.
        let values = prepared.values(b"\x02\x01\x01\x80\xfd\0\xff").expect("values");
        assert_eq!(values[0], (Value::Int(255), ColumnType::MYSQL_TYPE_TINY));
        assert_eq!(values[1].0, Value::NULL);
        prepared.add_long_data(1, b"a");
        prepared.add_long_data(1, b"b");
        let values = prepared.values(b"\0\0\x01").expect("values");
        assert_eq!(values[0].0, Value::Int(1));
        assert_eq!(values[1].0, Value::Bytes(b"ab".to_vec()));
        assert!(prepared.values(b"\0\0\x01").is_none(), "the second value is missing");
        assert!(prepared.values(b"\0\x01\x11\0\x11\0").is_none(), "a type that has no form");
        assert!(Prepared::new("SELECT ?", 1).values(b"\0\0\x01").is_none(), "no types");
    }
}
