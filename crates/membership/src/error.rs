//! What can go wrong with a membership.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Try again: what was to be read or written is not.
    #[error(transparent)]
    Log(#[from] millpond_log::Error),
    /// Skip it: another version or another program wrote it.
    #[error("offset {offset} of the members' topic cannot be read: {reason}")]
    Record { offset: u64, reason: String },
    /// Do not start.
    #[error("the membership thread cannot be started: {0}")]
    Thread(std::io::Error),
}
