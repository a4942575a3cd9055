//! How the engine runs.

use std::sync::Arc;
use std::time::Duration;

use millpond_membership::Group;

#[derive(Debug, Clone)]
pub struct Config {
    /// Worker threads.
    pub workers: usize,
    /// Whether one of them runs everything unless more are faster.
    pub gather: bool,
    pub commit_interval: Duration,
    pub service_id: String,
    /// `None`: the process is alone, and runs everything.
    pub member: Option<MemberConfig>,
}

/// One of several processes of a service.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// Names the process; the same when it is started again.
    pub instance: String,
    /// `host:port` of its SQL port, as the others reach it.
    pub address: String,
    /// The group of the service's processes. The log refuses what a process writes that is out of it.
    pub group: Arc<dyn Group>,
}
