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

pub(crate) const SYNTAX_ERROR: &str = "42601";
pub(crate) const FEATURE_NOT_SUPPORTED: &str = "0A000";
pub(crate) const INVALID_PARAMETER_VALUE: &str = "22023";
pub(crate) const STATEMENT_TOO_COMPLEX: &str = "54001";
pub(crate) const UNDEFINED_COLUMN: &str = "42703";
pub(crate) const UNDEFINED_OBJECT: &str = "42704";
pub(crate) const UNDEFINED_SCHEMA: &str = "3F000";

impl Error {
    pub(crate) fn new(sqlstate: &'static str, message: impl Into<String>, position: Position) -> Self {
        Self { sqlstate, message: message.into(), hint: None, position: Some(position) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
