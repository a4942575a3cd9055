//! Runs queries: worker threads, the scheduler, the commit cycle, the lifecycle of queries.
//!
//! ```text
//!   statement ─► Engine::execute ─► commands topic ─► catalog snapshot ─► query (Starting ─► Running ⇄ Paused, Failed)
//!                                                                           │ tasks, one per sub-topology and partition
//!   worker 0..n:   fetch ─► process ─► … ─► commit interval ─► one transaction of all its tasks ─► notify readers
//! ```
//!
//! **Invariants.** No thread, connection or file handle belongs to a query. A task that fails stops its query only. What is committed
//! together is one `Backend::commit`.

mod append;
mod builders;
mod clean_up;
mod clock;
mod commands;
mod config;
mod counters;
mod elsewhere;
mod engine;
mod error;
mod figures;
mod flush;
mod gathering;
mod holdings;
mod housekeeping;
mod launch;
mod mailbox;
mod members;
mod processing_log;
mod progress;
mod push;
mod query;
mod reset;
mod retry;
mod runtime;
mod signal;
mod statements;
mod status;
mod topics;
mod worker;

pub use append::SourceWrite;
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{Config, MemberConfig};
pub use engine::{Engine, Storage};
pub use error::{Error, FailedQuery, Result};
pub use flush::Waiting;
pub use members::{Place, StoredTable};
pub use processing_log::{LineKind, LogLine};
pub use push::{Push, PushEvent};
pub use status::{QueryState, QueryStatus, TaskStatus};
