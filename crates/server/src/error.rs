//! What a client is told.

use datafusion::common::Span;
use datafusion::error::DataFusionError;

pub type Result<T> = std::result::Result<T, Error>;

/// An error as PostgreSQL reports one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub sqlstate: &'static str,
    /// Lower case, without a full stop.
    pub message: String,
    pub detail: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
    /// In characters from 1, in the whole message.
    pub position: Option<u32>,
    /// Where it happened (`COPY t, line 3`).
    pub context: Option<String>,
}

impl Error {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error { sqlstate, message: message.into(), detail: None, hint: None, position: None, context: None }
    }

    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new("0A000", message)
    }

    pub fn internal(message: impl std::fmt::Display) -> Error {
        Error::new("XX000", message.to_string())
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    pub fn context(mut self, context: impl Into<String>) -> Error {
        self.context = Some(context.into());
        self
    }

    /// `offset` is in characters from 0; a position that is known already stays.
    pub fn at(mut self, offset: u32) -> Error {
        self.position = self.position.or(Some(offset + 1));
        self
    }

    /// At the first place of `spans` in `message`.
    pub fn spanned(mut self, message: &str, line: u64, column: u64) -> Error {
        if self.position.is_none() {
            self.position = millpond_sql::position::of(message, line, column).map(|position| position.0);
        }
        self
    }

    /// A statement that could not be planned: its positions count from the statement, which begins at `offset`.
    pub fn planned(error: millpond_planner::Error, offset: u32) -> Error {
        let position = error.position.map(|position| position.0 + offset);
        Error { position, hint: error.hint, ..Error::new(error.sqlstate, error.message) }
    }

    /// A query that could not be bound; its spans are places in `message`.
    pub fn bound(error: millpond_serving::Error, message: &str) -> Error {
        let span = match &error {
            millpond_serving::Error::DataFusion(error) => span(error),
            _ => None,
        };
        let error = Error::from(error);
        match span {
            Some(span) => error.spanned(message, span.start.line, span.start.column),
            None => error,
        }
    }
}

fn span(error: &DataFusionError) -> Option<Span> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => diagnostic.span.or_else(|| span(inner)),
        DataFusionError::Context(_, inner) => span(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(span),
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            datafusion::common::SchemaError::FieldNotFound { field, .. } => field.spans().first(),
            datafusion::common::SchemaError::AmbiguousReference { field } => field.spans().first(),
            _ => None,
        },
        _ => None,
    }
}

impl From<millpond_sql::Error> for Error {
    fn from(error: millpond_sql::Error) -> Error {
        let position = error.position.map(|position| position.0);
        Error { position, hint: error.hint, ..Error::new(error.sqlstate, error.message) }
    }
}

impl From<millpond_catalog::Error> for Error {
    fn from(error: millpond_catalog::Error) -> Error {
        Error { hint: error.hint(), ..Error::new(error.sqlstate(), error.to_string()) }
    }
}

impl From<millpond_serving::Error> for Error {
    fn from(error: millpond_serving::Error) -> Error {
        match error {
            millpond_serving::Error::Plan(error) => Error::planned(error, 0),
            millpond_serving::Error::DataFusion(error) => Error::from(error),
            millpond_serving::Error::Engine(error) => Error::from(error),
            millpond_serving::Error::State(error) => Error::from(error),
            millpond_serving::Error::Log(error) => Error::from(error),
            stopped @ millpond_serving::Error::Stopped(_) => Error::new("58000", stopped.to_string()),
        }
    }
}

impl From<millpond_executor::Error> for Error {
    fn from(error: millpond_executor::Error) -> Error {
        match error {
            millpond_executor::Error::Catalog(error) => Error::from(error),
            millpond_executor::Error::Plan(error) => Error::planned(error, 0),
            millpond_executor::Error::State(error) => Error::from(error),
            millpond_executor::Error::Log(error) => Error::from(error),
            millpond_executor::Error::ShuttingDown => Error::new("57P03", "the server is shutting down"),
            other => Error { hint: other.hint(), ..Error::new(other.sqlstate(), other.to_string()) },
        }
    }
}

impl From<millpond_state::Error> for Error {
    fn from(error: millpond_state::Error) -> Error {
        match error {
            millpond_state::Error::Log(error) => Error::from(error),
            other => Error::new("58030", other.to_string()),
        }
    }
}

impl From<millpond_log::Error> for Error {
    fn from(error: millpond_log::Error) -> Error {
        match error {
            error @ millpond_log::Error::UnknownTopic(_) => {
                Error::new("42P01", error.to_string()).hint("SHOW TOPICS lists the topics there are.")
            }
            error @ millpond_log::Error::TopicExists(_) => Error::new("42P07", error.to_string()),
            error @ (millpond_log::Error::Storage(_) | millpond_log::Error::Corrupt(_)) => Error::new("58030", error.to_string()),
            other => Error::internal(other),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        match error {
            DataFusionError::ResourcesExhausted(_) => Error::new("53200", "the query needs more memory than there is")
                .hint("Select fewer rows, or give the server more with --memory."),
            DataFusionError::External(error) => {
                let error = match error.downcast::<millpond_state::Error>() {
                    Ok(error) => return Error::from(*error),
                    Err(error) => error,
                };
                match error.downcast::<millpond_log::Error>() {
                    Ok(error) => Error::from(*error),
                    Err(error) => Error::internal(error),
                }
            }
            error @ (DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) | DataFusionError::Configuration(_)) => {
                Error::internal(error.strip_backtrace().lines().next().unwrap_or_default())
            }
            DataFusionError::ArrowError(error, _) => match *error {
                arrow::error::ArrowError::DivideByZero => Error::new("22012", "division by zero"),
                arrow::error::ArrowError::ArithmeticOverflow(message) => Error::new("22003", lower(&message)),
                arrow::error::ArrowError::CastError(message) | arrow::error::ArrowError::ParseError(message) => {
                    Error::new("22P02", lower(&message))
                }
                arrow::error::ArrowError::ExternalError(error) => match error.downcast::<DataFusionError>() {
                    Ok(error) => Error::from(*error),
                    Err(error) => Error::internal(error),
                },
                other => Error::planned(DataFusionError::ArrowError(Box::new(other), None).into(), 0),
            },
            other => Error::planned(other.into(), 0),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::from(DataFusionError::from(error))
    }
}

/// Without a capital at the beginning.
fn lower(message: &str) -> String {
    let mut characters = message.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// The SQLSTATE of a text that is no value of its type, by what reading it says.
pub fn invalid_text(reason: &str) -> &'static str {
    if reason.contains("out of range") || reason.contains("overflow") {
        "22003"
    } else if ["date", "time", "timestamp"].iter().any(|name| reason.contains(&format!("type {name}:"))) {
        "22007"
    } else {
        "22P02"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn library_errors_get_their_class() {
        assert_eq!(Error::from(arrow::error::ArrowError::DivideByZero).sqlstate, "22012");
        assert_eq!(Error::from(DataFusionError::ResourcesExhausted("x".into())).sqlstate, "53200");
        assert_eq!(Error::from(arrow::error::ArrowError::CastError("Cannot cast 'a'".into())).message, "cannot cast 'a'");
        assert_eq!(invalid_text("invalid input syntax for type timestamp: \"x\""), "22007");
        assert_eq!(invalid_text("value \"9999999999\" is out of range for type integer"), "22003");
    }
}
