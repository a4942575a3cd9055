//! What a statement or the server is told when the engine cannot.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Catalog(#[from] millpond_catalog::Error),
    #[error(transparent)]
    Plan(#[from] millpond_planner::Error),
    #[error(transparent)]
    Streams(#[from] millpond_streams::Error),
    #[error(transparent)]
    State(#[from] millpond_state::Error),
    #[error(transparent)]
    Log(#[from] millpond_log::Error),
    #[error(transparent)]
    Format(#[from] millpond_formats::Error),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    /// The commands topic holds something this version cannot read.
    #[error("the command log cannot be read: {0}")]
    Commands(String),
    /// A topic that exists does not fit what is declared.
    #[error("topic \"{topic}\" has {existing} partitions already, not {wanted}")]
    Partitions { topic: String, existing: u32, wanted: u32 },
    /// Rows that cannot be written.
    #[error("cannot write to \"{source_name}\": {reason}")]
    Rows { source_name: String, reason: String },
    /// `FLUSH` waits for a query that has failed.
    #[error("query \"{query}\" is {state} and will not catch up: {reason}")]
    NotRunning { query: String, state: String, reason: String },
    /// The system has no thread for a worker.
    #[error("a worker cannot be started: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl Error {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::Catalog(error) => error.sqlstate(),
            Error::Plan(error) => error.sqlstate,
            Error::Partitions { .. } => "42P16",
            Error::Rows { .. } => "22000",
            Error::Format(_) | Error::Arrow(_) => "22000",
            Error::NotRunning { .. } => "55000",
            Error::ShuttingDown => "57P01",
            Error::Commands(_) => "XX001",
            Error::State(_) | Error::Log(_) | Error::Thread(_) => "58030",
            Error::Streams(_) => "XX000",
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Catalog(error) => error.hint(),
            Error::Plan(error) => error.hint.clone(),
            Error::Partitions { existing, .. } => Some(format!("Write partitions = {existing}, or name another topic.")),
            Error::NotRunning { query, .. } => {
                Some(format!("See millpond.queries and millpond.processing_log; TERMINATE {query}; or PAUSE {query}; lets FLUSH pass."))
            }
            _ => None,
        }
    }
}
