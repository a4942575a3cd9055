//! What is wrong with a statement's text, and where.

/// A place in the text of a message, counted in characters from 1, as the Postgres protocol wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(pub u32);

/// A statement that cannot be parsed (SQLSTATE 42601 unless `sqlstate` says otherwise).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub sqlstate: &'static str,
    /// Lower case, without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    pub position: Option<Position>,
}
