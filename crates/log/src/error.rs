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
    /// Another process has taken this one's place, or may have: nothing of the transaction is there.
    #[error("this process does not run it any more: {0}")]
    Fenced(String),
    /// Rights are missing: nothing of the transaction is there.
    #[error("{}permission denied: {reason}", of(topic))]
    Refused { topic: Option<String>, reason: String },
    /// A record or a name that the log can never take: nothing of the transaction is there.
    #[error("topic \"{topic}\" does not take it: {reason}")]
    Unfit { topic: String, reason: String },
    /// Whether the transaction is there is not known.
    #[error("it is not known whether the transaction was committed: {0}")]
    Unresolved(String),
    #[error("{0}")]
    Setting(String),
    /// Bytes that this version did not write, or that changed since.
    #[error("the log holds an entry that cannot be read: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// The topic that is at fault: whoever does not use it need not mind.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Error::UnknownTopic(topic) | Error::UnknownPartition { topic, .. } | Error::Unfit { topic, .. } => Some(topic),
            Error::Refused { topic, .. } => topic.as_deref(),
            _ => None,
        }
    }
}

fn of(topic: &Option<String>) -> String {
    topic.as_ref().map(|topic| format!("topic \"{topic}\": ")).unwrap_or_default()
}
