//! This process, as the others would know it.

use std::time::SystemTime;

/// What a process says of itself in `millpond.members`.
#[derive(Debug, Clone)]
pub struct Member {
    pub service: String,
    /// Where it listens for the Postgres protocol.
    pub address: String,
    pub http: String,
    pub version: &'static str,
    pub started: SystemTime,
    pub workers: usize,
}
