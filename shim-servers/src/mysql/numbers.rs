//! The numbers of MySQL's errors, and the states that belong to them.
//!
//! Owns [`ErrorKind`]. Must not know when which is right. Invariant: a number that is not in the table of states has the
//! general one.

/// An error's number. The names are MySQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorKind(pub(super) u16);

macro_rules! numbers {
    ($($name:ident = $number:literal),* $(,)?) => {
        impl ErrorKind {
            $(pub(super) const $name: ErrorKind = ErrorKind($number);)*
        }
    };
}

numbers! {
    ER_DB_CREATE_EXISTS = 1007,
    ER_DB_DROP_EXISTS = 1008,
    ER_DISK_FULL = 1021,
    ER_CON_COUNT_ERROR = 1040,
    ER_ACCESS_DENIED_ERROR = 1045,
    ER_UNKNOWN_COM_ERROR = 1047,
    ER_BAD_NULL_ERROR = 1048,
    ER_BAD_DB_ERROR = 1049,
    ER_TABLE_EXISTS_ERROR = 1050,
    ER_BAD_TABLE_ERROR = 1051,
    ER_NON_UNIQ_ERROR = 1052,
    ER_SERVER_SHUTDOWN = 1053,
    ER_BAD_FIELD_ERROR = 1054,
    ER_DUP_FIELDNAME = 1060,
    ER_DUP_KEYNAME = 1061,
    ER_DUP_ENTRY = 1062,
    ER_WRONG_FIELD_SPEC = 1063,
    ER_PARSE_ERROR = 1064,
    ER_EMPTY_QUERY = 1065,
    ER_MULTIPLE_PRI_KEY = 1068,
    ER_KEY_COLUMN_DOES_NOT_EXITS = 1072,
    ER_WRONG_AUTO_KEY = 1075,
    ER_CANT_DROP_FIELD_OR_KEY = 1091,
    ER_NO_SUCH_THREAD = 1094,
    ER_UNKNOWN_ERROR = 1105,
    ER_WRONG_VALUE_COUNT_ON_ROW = 1136,
    ER_NO_SUCH_TABLE = 1146,
    ER_NET_PACKET_TOO_LARGE = 1153,
    ER_UNKNOWN_SYSTEM_VARIABLE = 1193,
    ER_LOCK_WAIT_TIMEOUT = 1205,
    ER_WRONG_ARGUMENTS = 1210,
    ER_LOCK_DEADLOCK = 1213,
    ER_NOT_SUPPORTED_YET = 1235,
    ER_UNKNOWN_STMT_HANDLER = 1243,
    ER_INVALID_CHARACTER_STRING = 1300,
    ER_SP_DOES_NOT_EXIST = 1305,
    ER_QUERY_INTERRUPTED = 1317,
    ER_NO_DEFAULT_FOR_FIELD = 1364,
    ER_ROW_IS_REFERENCED_2 = 1451,
    ER_NO_REFERENCED_ROW_2 = 1452,
    ER_CANT_CHANGE_TX_ISOLATION = 1568,
    ER_WRONG_PARAMCOUNT_TO_NATIVE_FCT = 1582,
    ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION = 1792,
    ER_MALFORMED_PACKET = 1835,
    ER_QUERY_TIMEOUT = 3024,
    ER_LOCK_NOWAIT = 3572,
    ER_CHECK_CONSTRAINT_VIOLATED = 3819,
}

impl ErrorKind {
    /// The state of standard SQL that goes with it.
    pub(super) fn sqlstate(self) -> &'static str {
        match self.0 {
            1265 => "01000",
            1222 | 1242 => "21000",
            1136 => "21S01",
            1040 => "08004",
            1043 | 1047 | 1053 | 1153 => "08S01",
            1406 => "22001",
            1264 | 1690 => "22003",
            1292 => "22007",
            1365 => "22012",
            3140 | 3141 => "22032",
            1022 | 1048 | 1052 | 1062 | 1451 | 1452 => "23000",
            1568 => "25001",
            1792 => "25006",
            1045 => "28000",
            1046 => "3D000",
            1213 => "40001",
            1049 | 1061 | 1063 | 1064 | 1065 | 1068 | 1072 | 1075 | 1091 | 1235 | 1305 | 1582 | 3143 => {
                "42000"
            }
            1050 => "42S01",
            1051 | 1146 => "42S02",
            1060 => "42S21",
            1054 => "42S22",
            1317 => "70100",
            _ => "HY000",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_states() {
        assert_eq!(ErrorKind::ER_DUP_ENTRY.sqlstate(), "23000");
        assert_eq!(ErrorKind::ER_DUP_FIELDNAME.sqlstate(), "42S21");
        assert_eq!(ErrorKind::ER_CHECK_CONSTRAINT_VIOLATED.sqlstate(), "HY000");
    }
}
