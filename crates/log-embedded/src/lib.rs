//! The embedded log: topics in the data directory's RocksDB, beside the state, so that a commit of both is one write.
//!
//! ```text
//!   commit ─► encode ─► queue ─► whoever has the turn: offsets, ONE WriteBatch for all that wait ─► ends published ─► notify
//!                                                                                  │
//!   fetch ─► cache (decoded entries) ─► log and blobs ◄────────────────────────────┘
//! ```
//! EMB-1  what a reader sees of a partition ends where the last published commit ended; a write that failed was never published.
//! EMB-2  an entry's key holds its last offset, so the end of a partition is its last key, now or in a snapshot; hence the newest entry
//!        of a partition is never rewritten, and a partition whose entries have all gone has its end saved as its start.
//! EMB-3  a partition's start moves before its entries go: a reader who finds a gap looks at the start again.

mod cache;
mod clean;
mod coalesce;
mod codec;
mod commit;
pub mod embedded;
mod entries;
mod schemas;
mod snapshot;
mod topics;

pub use embedded::{Embedded, Options};
