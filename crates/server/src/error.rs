//! What a client is told.

mod library;
mod place;

use datafusion::common::{SchemaError, Span};
use datafusion::error::DataFusionError;
use millpond_serving::Elsewhere;

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
    /// The connection ends with it.
    pub fatal: bool,
}

impl Error {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error { sqlstate, message: message.into(), detail: None, hint: None, position: None, context: None, fatal: false }
    }

    pub fn fatal(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error { fatal: true, ..Error::new(sqlstate, message) }
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

    /// At the place in `text`, a statement that begins at `offset`, of what the message names, unless a place is known.
    pub fn located(self, text: &str, offset: u32) -> Error {
        let placed = self.position.is_some() || self.context.is_some() || !self.sqlstate.starts_with(['2', '4']);
        match if placed { None } else { place::of(&self.message, text) } {
            Some(place) => self.at(offset + place),
            None => self,
        }
    }

    /// A statement that could not be planned: its positions count from the statement, which begins at `offset`.
    pub fn planned(error: millpond_planner::Error, offset: u32) -> Error {
        let position = error.position.map(|position| position.0 + offset);
        // Where the planner can only guess a class, it passes on what a library says.
        let guessed = matches!(error.sqlstate, "0A000" | "22P02" | "42000" | "42803" | "42804");
        match library::translate(&error.message).filter(|_| guessed) {
            Some(translated) => Error { position, ..translated },
            None if guessed => Error { position, hint: error.hint, ..Error::new(error.sqlstate, library::plain(&error.message)) },
            None => Error { position, hint: error.hint, ..Error::new(error.sqlstate, error.message) },
        }
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
            SchemaError::FieldNotFound { field, .. } => field.spans().first(),
            SchemaError::AmbiguousReference { field } => field.spans().first(),
            _ => None,
        },
        _ => None,
    }
}

impl From<millpond_sql::Error> for Error {
    fn from(error: millpond_sql::Error) -> Error {
        let position = error.position.map(|position| position.0);
        match library::translate(&error.message) {
            Some(translated) => Error { position, ..translated },
            None => Error { position, hint: error.hint, ..Error::new(error.sqlstate, error.message) },
        }
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
            millpond_serving::Error::Elsewhere(error) => Error::from(&error),
            stopped @ millpond_serving::Error::Stopped(_) => Error::new("58000", stopped.to_string()),
        }
    }
}

impl From<&Elsewhere> for Error {
    fn from(error: &Elsewhere) -> Error {
        Error { hint: error.hint().map(str::to_string), ..Error::new(error.sqlstate(), error.to_string()) }
    }
}

impl From<millpond_executor::Error> for Error {
    fn from(error: millpond_executor::Error) -> Error {
        match error {
            millpond_executor::Error::Catalog(error) => Error::from(error),
            millpond_executor::Error::Plan(error) => Error::planned(error, 0),
            millpond_executor::Error::State(error) => Error::from(error),
            millpond_executor::Error::Log(error) => Error::from(error),
            millpond_executor::Error::ShuttingDown => Error::fatal("57P03", "the server is shutting down"),
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
            error @ millpond_log::Error::Refused { .. } => Error::new("42501", error.to_string()),
            error @ (millpond_log::Error::Unfit { .. } | millpond_log::Error::Setting(_)) => Error::new("22023", error.to_string()),
            error @ millpond_log::Error::Unresolved(_) => {
                Error::new("08007", error.to_string()).hint("Look whether the rows are there before you write them again.")
            }
            error @ millpond_log::Error::Fenced(_) => Error::new("55000", error.to_string()),
            error @ (millpond_log::Error::Storage(_) | millpond_log::Error::Corrupt(_)) => Error::new("58030", error.to_string()),
            other => Error::internal(other),
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        if let Some(known) = schema_error(&error).and_then(named) {
            return known;
        }
        if let DataFusionError::External(root) = error.find_root()
            && let Some(elsewhere) = root.downcast_ref::<Elsewhere>()
        {
            return Error::from(elsewhere);
        }
        let text = error.strip_backtrace();
        let internal =
            || library::translate(&text).unwrap_or_else(|| Error::internal(library::plain(text.lines().next().unwrap_or_default())));
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
                    Err(_) => internal(),
                }
            }
            DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) | DataFusionError::Configuration(_) => internal(),
            DataFusionError::ArrowError(error, _) => match *error {
                arrow::error::ArrowError::ExternalError(error) => match error.downcast::<DataFusionError>() {
                    Ok(error) => Error::from(*error),
                    Err(_) => internal(),
                },
                error => library::translate(&text).unwrap_or_else(|| match error {
                    arrow::error::ArrowError::ArithmeticOverflow(message) => Error::new("22003", lower(&message)),
                    arrow::error::ArrowError::CastError(message) | arrow::error::ArrowError::ParseError(message) => {
                        Error::new("22P02", library::plain(&message))
                    }
                    other => Error::planned(DataFusionError::ArrowError(Box::new(other), None).into(), 0),
                }),
            },
            // The planner knows the names that are not found, and what is like them.
            other if schema_error(&other).is_some() => Error::planned(other.into(), 0),
            other => library::translate(&text).unwrap_or_else(|| Error::planned(other.into(), 0)),
        }
    }
}

fn schema_error(error: &DataFusionError) -> Option<&SchemaError> {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => schema_error(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(schema_error),
        DataFusionError::SchemaError(error, _) => Some(error),
        _ => None,
    }
}

/// A table's name that is wrong, though the library speaks of a column.
fn named(error: &SchemaError) -> Option<Error> {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let table = field.relation.as_ref()?;
            let known = valid_fields.iter().any(|valid| valid.relation.as_ref().is_some_and(|relation| relation.table() == table.table()));
            let message = format!("missing FROM-clause entry for table \"{}\"", table.table());
            (!known).then(|| Error::new("42P01", message))
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            let message = format!("table name \"{}\" specified more than once", qualifier.table());
            Some(Error::new("42712", message).hint("Give one of them another name with AS."))
        }
        _ => None,
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::from(DataFusionError::from(error))
    }
}

/// Without a capital at the beginning, unless the first word is all capitals.
fn lower(message: &str) -> String {
    let mut characters = message.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(message.chars().skip(1)).collect()
        }
        _ => message.to_string(),
    }
}

/// The SQLSTATE of a text that is no value of its type, by what reading it says.
pub fn invalid_text(reason: &str) -> &'static str {
    if reason.contains("out of range") || reason.contains("overflow") {
        "22003"
    } else if ["date", "time", "timestamp", "interval"].iter().any(|name| reason.contains(&format!("type {name}:"))) {
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
        assert_eq!(Error::planned(millpond_planner::Error::unsupported("ORDER BY is not"), 0).message, "ORDER BY is not");
        assert_eq!(Error::from(DataFusionError::Execution("Something broke.".into())).message, "something broke");
        assert_eq!(invalid_text("invalid input syntax for type timestamp: \"x\""), "22007");
        assert_eq!(invalid_text("value \"9999999999\" is out of range for type integer"), "22003");
    }
}
