//! Why a query cannot be read or pushed.

use datafusion::error::DataFusionError;

use crate::Peer;

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
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
    /// A push query that was running and cannot go on.
    #[error("the query stopped: {0}")]
    Stopped(String),
}

/// Rows that are at another member of the service, or on their way to one, cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Elsewhere {
    /// Whoever asked for just these partitions is to look again who has them.
    #[error("partition {partition} of table \"{table}\" is not here")]
    NotHere { table: String, partition: u32 },
    /// It was waited for.
    #[error("partition {partition} of table \"{table}\" is not ready: it is being restored, or moved to another member")]
    NotReady { table: String, partition: u32 },
    /// Its statement is not through.
    #[error("the rows of table \"{table}\" cannot be read yet: the query that keeps them is being started")]
    NotStarted { table: String },
    /// Look again who has the rows.
    #[error("{peer} cannot be reached: {reason}")]
    Unreachable { peer: Peer, reason: String },
    /// It has other partitions, or another catalog, than it was taken to have: look again who has the rows.
    #[error("{peer} does not have what it is asked for: {reason}")]
    Disagrees { peer: Peer, reason: String },
    /// Some of its rows have been given on.
    #[error("the rows of {peer} broke off: {reason}")]
    BrokeOff { peer: Peer, reason: String },
    /// Its own error.
    #[error("{peer}: {message}")]
    Failed { peer: Peer, sqlstate: String, message: String },
}

impl Elsewhere {
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Elsewhere::NotHere { .. } | Elsewhere::NotReady { .. } | Elsewhere::NotStarted { .. } | Elsewhere::Disagrees { .. } => NOT_HERE,
            Elsewhere::Unreachable { .. } => "08001",
            Elsewhere::BrokeOff { .. } => "08006",
            Elsewhere::Failed { sqlstate, .. } if sqlstate == "53200" => "53200",
            Elsewhere::Failed { .. } => "58000",
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Elsewhere::NotHere { .. } => Some("RESET local_partitions to read it where it is."),
            Elsewhere::NotReady { .. } | Elsewhere::NotStarted { .. } | Elsewhere::Disagrees { .. } | Elsewhere::BrokeOff { .. } => {
                Some("Try again in a moment.")
            }
            Elsewhere::Unreachable { .. } => Some(
                "SELECT * FROM millpond.members shows who answers. What a member had that is gone, others take over: try again in a moment.",
            ),
            Elsewhere::Failed { .. } => None,
        }
    }

    /// Whether somebody else may have the rows by now, or the same member in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Elsewhere::NotReady { .. } | Elsewhere::Unreachable { .. } | Elsewhere::Disagrees { .. })
    }
}

/// The SQLSTATE that tells an asking member to look again who has the rows.
pub(crate) const NOT_HERE: &str = "57P03";

impl From<Error> for DataFusionError {
    fn from(error: Error) -> DataFusionError {
        match error {
            Error::DataFusion(error) => error,
            Error::Elsewhere(error) => error.into(),
            Error::State(error) => DataFusionError::External(Box::new(error)),
            Error::Log(error) => DataFusionError::External(Box::new(error)),
            other => DataFusionError::External(Box::new(other)),
        }
    }
}

impl From<Elsewhere> for DataFusionError {
    fn from(error: Elsewhere) -> DataFusionError {
        DataFusionError::External(Box::new(error))
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::DataFusion(error.into())
    }
}
