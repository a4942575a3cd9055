//! What a format, a pattern or a zone refuses before any record is seen.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Native records are columns in the log; nothing is to be encoded.
    #[error("format native has no byte form")]
    NoBytes,
    #[error("format none holds no columns, not {columns}")]
    NoColumns { columns: usize },
    #[error("format kafka holds one column, not {columns}")]
    OneColumn { columns: usize },
    #[error("format {format} cannot hold column \"{column}\" of type {data_type}: it holds {holds}")]
    Type { format: &'static str, column: String, data_type: String, holds: &'static str },
    /// The caller asked for a column that the side does not have.
    #[error("column {index} is wanted, but there are {columns}")]
    Wanted { index: usize, columns: usize },
    #[error("invalid date pattern '{pattern}': {reason}")]
    Pattern { pattern: String, reason: String },
    /// A text that does not fit its pattern, or is no ISO date or time.
    #[error("cannot read '{text}' as {wanted}: {reason}")]
    Timestamp { text: String, wanted: String, reason: String },
    #[error("unknown time zone '{0}'")]
    Zone(String),
}
