//! Why a statement cannot be planned.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use millpond_sql::Position;

pub type Result<T> = std::result::Result<T, Error>;

/// What the user is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub sqlstate: &'static str,
    /// Lower case, without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
    /// In the statement's message.
    pub position: Option<Position>,
}

impl Error {
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error { sqlstate, message: message.into(), hint: None, position: None }
    }

    /// A shape that cannot stream.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new("0A000", message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// `offset` is in characters from 0.
    pub fn at(mut self, offset: u32) -> Error {
        self.position = Some(Position(offset + 1));
        self
    }
}

impl From<millpond_catalog::Error> for Error {
    fn from(error: millpond_catalog::Error) -> Error {
        Error { sqlstate: error.sqlstate(), hint: error.hint(), message: error.to_string(), position: None }
    }
}

impl From<millpond_sql::Error> for Error {
    fn from(error: millpond_sql::Error) -> Error {
        Error { sqlstate: error.sqlstate, message: error.message, hint: error.hint, position: error.position }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        match error {
            DataFusionError::SchemaError(error, _) => schema_error(&error),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Error::from(*inner),
            DataFusionError::Collection(mut errors) if !errors.is_empty() => Error::from(errors.swap_remove(0)),
            DataFusionError::Shared(inner) => from_text(&inner.to_string()),
            DataFusionError::NotImplemented(message) => Error::unsupported(lower(&message)),
            DataFusionError::Plan(message) => from_text(&message),
            DataFusionError::SQL(error, _) => Error::new("42601", lower(&error.to_string())),
            DataFusionError::ArrowError(error, _) => from_text(&error.to_string()),
            other => from_text(&other.strip_backtrace()),
        }
    }
}

fn schema_error(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let candidates: Vec<String> = valid_fields.iter().map(|field| field.name.clone()).collect();
            let error = Error::new("42703", format!("column \"{}\" does not exist", field.name));
            match millpond_catalog::snapshot::similar(&field.name, candidates.iter()) {
                Some(similar) => error.hint(format!("Perhaps you meant \"{similar}\".")),
                None => error,
            }
        }
        SchemaError::AmbiguousReference { field } => Error::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
            .hint("Put the source's name or alias before it."),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new("42701", format!("column name \"{name}\" is given twice")).hint("Give one of them another name with AS.")
        }
    }
}

/// DataFusion says most things in text only.
fn from_text(message: &str) -> Error {
    let message = strip(message);
    let sqlstate = if message.contains("table '") && message.contains("not found") {
        let name = message.split('\'').nth(1).and_then(|name| name.rsplit('.').next()).unwrap_or_default();
        return Error::new("42P01", format!("relation \"{name}\" does not exist")).hint("SHOW STREAMS and SHOW TABLES list what there is.");
    } else if message.contains("Invalid function") || message.contains("not found as function") {
        let name = message.split('\'').nth(1).unwrap_or_default();
        let error = Error::new("42883", format!("function {name} does not exist"));
        if name.eq_ignore_ascii_case("explode") {
            return error.hint("Write unnest(array).");
        }
        return match message.split("Did you mean '").nth(1).and_then(|rest| rest.split('\'').next()) {
            Some(similar) => error.hint(format!("Perhaps you meant {similar}.")),
            None => error.hint("SHOW FUNCTIONS lists the functions there are."),
        };
    } else if message.contains("Divide by zero") {
        return Error::new("22012", "division by zero");
    } else if message.contains("Cannot cast string") || message.contains("Error parsing") || message.contains("Parser error") {
        "22P02"
    } else if message.contains("coerce") || message.contains("Cannot infer common") || message.contains("Unsupported CAST") {
        "42804"
    } else if message.contains("not projected") || message.contains("GROUP BY") || message.contains("group by") {
        "42803"
    } else if message.contains("not supported") || message.contains("unsupported") || message.contains("Unsupported") {
        "0A000"
    } else {
        "42000"
    };
    Error::new(sqlstate, lower(&message))
}

/// Without the library's prefixes and stack.
fn strip(message: &str) -> String {
    let mut message = message.trim();
    for prefix in ["Error during planning: ", "Arrow error: ", "Execution error: ", "SQL error: ", "type_coercion\ncaused by\n"] {
        message = message.strip_prefix(prefix).unwrap_or(message);
    }
    message.lines().next().unwrap_or_default().to_string()
}

/// Postgres' form: no capital at the beginning (but for acronyms), no full stop at the end.
fn lower(message: &str) -> String {
    let message = strip(message);
    let message = message.trim_end_matches('.');
    let mut characters = message.chars();
    match (characters.next(), characters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(message.chars().skip(1)).collect()
        }
        _ => message.to_string(),
    }
}
