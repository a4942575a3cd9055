//! The engine: topologies of operators, run by tasks, over batches. Pure and synchronous: no clock, no threads, no I/O but through
//! what a task is given.
//!
//! ```text
//!  query ─► Topology ─► SubTopology ─► Task (query/sub-topology/partition)
//!                                        │ fetched batches in, one at a time
//!                                        ▼
//!                    source ─► filter ─► project ─► … ─► sink | repartition sink
//!                                        │
//!                                        ▼ at a commit: appends, state writes, positions
//! ```
//!
//! **Time (design D16, ADR 0003).** Each input partition of a source is a *channel* with a running maximum of timestamps, its stream
//! time. A row is late by the stream time of its own channel at its own place, carried along as [`Batch::stream_times`]; a window
//! closes by the minimum over all channels that are not idle. So neither depends on how fast the inputs were read.

pub mod batch;
pub mod driver;
pub mod error;
pub mod expression;
pub mod operator;
pub mod task;
pub mod time;
pub mod topology;

pub use batch::Batch;
pub use error::{Error, Result};
pub use operator::Operator;
pub use task::Task;
pub use topology::{SubTopology, Topology};
