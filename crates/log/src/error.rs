//! What can go wrong with a log.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("topic \"{0}\" already exists")]
    TopicExists(String),
    #[error("topic \"{0}\" does not exist")]
    UnknownTopic(String),
    #[error("topic \"{topic}\" has {partitions} partitions, not a partition {partition}")]
    UnknownPartition { topic: String, partition: u32, partitions: u32 },
    #[error("offset {offset} of {topic}/{partition} is not within {start}..={end}")]
    OffsetOutOfRange { topic: String, partition: u32, offset: u64, start: u64, end: u64 },
    /// The store below failed (a full disk, a broken file): nothing of the transaction is there; it can be tried again.
    #[error("the log cannot be written or read: {0}")]
    Storage(String),
    /// Bytes that this version did not write, or that changed since.
    #[error("the log holds an entry that cannot be read: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}
