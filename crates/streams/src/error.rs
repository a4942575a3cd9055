//! What stops a query.

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A row that fails does not come to this (it is counted and logged); these stop the task and its query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] millpond_state::Error),
    #[error(transparent)]
    Log(#[from] millpond_log::Error),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    #[error(transparent)]
    DataFusion(#[from] datafusion::error::DataFusionError),
    #[error(transparent)]
    Format(#[from] millpond_formats::Error),
    /// `ON ERROR stop`, and a record came that cannot be decoded or has no time.
    #[error("record {offset} of {topic}/{partition} cannot be decoded: {reason}")]
    Undecodable { topic: String, partition: u32, offset: u64, reason: String },
    /// A topology that cannot be built: the planner made a mistake.
    #[error("the topology is not sound: {0}")]
    Topology(String),
}
