//! What goes wrong in SQL, with what a client is told about it.
//!
//! Owns the conditions, named as PostgreSQL's appendix on error codes names them. Must not know how a protocol writes
//! them down. Invariant: every failure of a statement is one of these, and each has one SQLSTATE.

use std::fmt;

/// The result of everything that a statement does.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

macro_rules! conditions {
    ($($name:ident $code:literal,)*) => {
        /// The kind of a failure; the SQL standard's classes and PostgreSQL's names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is named as in PostgreSQL's appendix on error codes")]
        pub enum Condition {
            $($name,)*
        }

        impl Condition {
            /// The five characters that stand for it on the wire.
            pub fn sqlstate(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The condition of a code, where it is one of these.
            pub fn from_sqlstate(code: &str) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

conditions! {
    Warning "01000",
    ConnectionFailure "08006",
    ProtocolViolation "08P01",
    FeatureNotSupported "0A000",
    StringDataRightTruncation "22001",
    NumericValueOutOfRange "22003",
    NullValueNotAllowed "22004",
    InvalidDatetimeFormat "22007",
    DatetimeFieldOverflow "22008",
    DivisionByZero "22012",
    InvalidEscapeSequence "22025",
    InvalidParameterValue "22023",
    InvalidTextRepresentation "22P02",
    InvalidBinaryRepresentation "22P03",
    BadCopyFileFormat "22P04",
    InvalidRegularExpression "2201B",
    InvalidRowCountInLimitClause "2201W",
    ArraySubscriptError "2202E",
    NotNullViolation "23502",
    ForeignKeyViolation "23503",
    UniqueViolation "23505",
    CheckViolation "23514",
    ActiveSqlTransaction "25001",
    NoActiveSqlTransaction "25P01",
    ReadOnlySqlTransaction "25006",
    InFailedSqlTransaction "25P02",
    IdleInTransactionSessionTimeout "25P03",
    InvalidSqlStatementName "26000",
    GeneratedAlways "428C9",
    InvalidAuthorizationSpecification "28000",
    InvalidPassword "28P01",
    DependentObjectsStillExist "2BP01",
    InvalidCursorName "34000",
    InvalidSavepointSpecification "3B001",
    InvalidCatalogName "3D000",
    InvalidSchemaName "3F000",
    CardinalityViolation "21000",
    SerializationFailure "40001",
    DeadlockDetected "40P01",
    SyntaxError "42601",
    InvalidColumnReference "42P10",
    UndefinedColumn "42703",
    UndefinedFunction "42883",
    UndefinedTable "42P01",
    UndefinedParameter "42P02",
    UndefinedObject "42704",
    DuplicateColumn "42701",
    DuplicateDatabase "42P04",
    DuplicatePreparedStatement "42P05",
    DuplicateSchema "42P06",
    DuplicateTable "42P07",
    DuplicateAlias "42712",
    DuplicateObject "42710",
    AmbiguousColumn "42702",
    AmbiguousFunction "42725",
    GroupingError "42803",
    DatatypeMismatch "42804",
    WrongObjectType "42809",
    CannotCoerce "42846",
    IndeterminateDatatype "42P18",
    InvalidTableDefinition "42P16",
    InvalidForeignKey "42830",
    DiskFull "53100",
    TooManyConnections "53300",
    ObjectNotInPrerequisiteState "55000",
    ObjectInUse "55006",
    LockNotAvailable "55P03",
    QueryCanceled "57014",
    AdminShutdown "57P01",
    CannotConnectNow "57P03",
    IoError "58030",
    InternalError "XX000",
    DataCorrupted "XX001",
}

/// What a client is told beside the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// More about this case.
    pub detail: Option<String>,
    /// What could be done.
    pub hint: Option<String>,
    /// Where in the statement, in characters, from 1.
    pub position: Option<usize>,
    /// The schema of the table.
    pub schema: Option<String>,
    /// The table that it is about.
    pub table: Option<String>,
    /// The column that it is about.
    pub column: Option<String>,
    /// The constraint that was broken.
    pub constraint: Option<String>,
    /// The columns of the constraint, in its order; for dialects that name keys otherwise.
    pub columns: Vec<String>,
    /// Whether the connection ends with it.
    pub fatal: bool,
}

/// A failure of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// What kind it is.
    pub condition: Condition,
    /// PostgreSQL's words for it.
    pub message: String,
    /// The rest, boxed since most results are good.
    pub fields: Box<Fields>,
}

impl SqlError {
    /// A failure of this kind with this message.
    pub fn new(condition: Condition, message: impl Into<String>) -> Self {
        Self { condition, message: message.into(), fields: Box::default() }
    }

    /// What this server does not do, by name.
    pub fn unsupported(construct: impl fmt::Display) -> Self {
        Self::new(Condition::FeatureNotSupported, format!("{construct} is not supported by this server"))
    }

    /// A mistake of ours or a state that cannot be.
    pub fn internal(what: impl fmt::Display) -> Self {
        Self::new(Condition::InternalError, what.to_string())
    }

    /// The same with a detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.fields.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.fields.hint = Some(hint.into());
        self
    }

    /// The same with a place in the statement, in characters from 1.
    #[must_use]
    pub fn position(mut self, position: usize) -> Self {
        self.fields.position = (position > 0).then_some(position);
        self
    }

    /// The same, where it ends the connection.
    #[must_use]
    pub fn fatal(mut self) -> Self {
        self.fields.fatal = true;
        self
    }

    /// The same about a table of a schema.
    #[must_use]
    pub fn table(mut self, schema: &str, table: &str) -> Self {
        self.fields.schema = Some(schema.to_owned());
        self.fields.table = Some(table.to_owned());
        self
    }

    /// The same about a column.
    #[must_use]
    pub fn column(mut self, column: &str) -> Self {
        self.fields.column = Some(column.to_owned());
        self
    }

    /// The same about a constraint.
    #[must_use]
    pub fn constraint(mut self, constraint: &str) -> Self {
        self.fields.constraint = Some(constraint.to_owned());
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.condition.sqlstate())
    }
}

impl std::error::Error for SqlError {}

/// How an [`SqlError`] passes through SQLite, which keeps only text: an SQL function fails with it.
pub(crate) fn through_sqlite(error: &SqlError) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(
        format!("\u{1}{}\u{1}{}", error.condition.sqlstate(), error.message).into(),
    )
}

/// Finds what [`through_sqlite`] hid.
pub(crate) fn from_function(message: &str) -> Option<SqlError> {
    let mut parts = message.strip_prefix('\u{1}')?.splitn(2, '\u{1}');
    let condition = Condition::from_sqlstate(parts.next()?)?;
    Some(SqlError::new(condition, parts.next()?))
}
