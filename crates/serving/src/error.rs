//! Why a query cannot be read or pushed.

use datafusion::error::DataFusionError;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The statement is at fault: tell the user.
    #[error(transparent)]
    Plan(#[from] millpond_planner::Error),
    /// Binding or execution failed; its spans count from the beginning of the message.
    #[error(transparent)]
    DataFusion(#[from] DataFusionError),
    #[error(transparent)]
    Engine(#[from] millpond_executor::Error),
    #[error(transparent)]
    State(#[from] millpond_state::Error),
    #[error(transparent)]
    Log(#[from] millpond_log::Error),
    /// A push query that was running and cannot go on.
    #[error("the query stopped: {0}")]
    Stopped(String),
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::DataFusion(error.into())
    }
}
