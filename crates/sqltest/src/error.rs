//! What a statement of a test came to, in one line that `statement error` can match.

use std::fmt;

use tokio_postgres::error::ErrorPosition;

/// Printed as `42703: column "amont" does not exist (hint: Perhaps you meant "amount".) (at 8)`.
#[derive(Debug)]
pub enum Error {
    /// The server refused the statement.
    Sql { state: String, message: String, detail: Option<String>, hint: Option<String>, position: Option<u32> },
    /// The connection broke, or the server did not start again.
    Broken(String),
}

impl Error {
    pub fn state(&self) -> Option<String> {
        match self {
            Error::Sql { state, .. } => Some(state.clone()),
            Error::Broken(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sql { state, message, detail, hint, position } => {
                write!(f, "{state}: {message}")?;
                if let Some(detail) = detail {
                    write!(f, " (detail: {detail})")?;
                }
                if let Some(hint) = hint {
                    write!(f, " (hint: {hint})")?;
                }
                if let Some(position) = position {
                    write!(f, " (at {position})")?;
                }
                Ok(())
            }
            Error::Broken(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Error::Broken(format!("connection: {error:?}"));
        };
        Error::Sql {
            state: db.code().code().to_string(),
            message: db.message().to_string(),
            detail: db.detail().map(str::to_string),
            hint: db.hint().map(str::to_string),
            position: match db.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                _ => None,
            },
        }
    }
}
