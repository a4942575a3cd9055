//! What can go wrong with a store.

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Log(#[from] millpond_log::Error),
    /// The store below failed (a full disk, a broken file). Nothing of the commit is there; it can be tried again.
    #[error("the state store cannot be written or read: {0}")]
    Storage(String),
    /// What the store below has in its files is not what it has written.
    #[error("the state's files are damaged: {0}")]
    Damaged(String),
    /// The data directory is not ours or of another format.
    #[error("the data directory cannot be used: {0}")]
    Foreign(String),
}
