//! How the engine runs.

use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Config {
    /// Worker threads.
    pub workers: usize,
    pub commit_interval: Duration,
    pub service_id: String,
}
