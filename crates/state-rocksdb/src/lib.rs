//! One RocksDB for a node: all stores of all queries, and in embedded mode the log, too.
//!
//! ```text
//!   meta    what is in here: format, service, names of stores and topics, horizons of windowed stores
//!   state   store id (4) partition (4) key ──► value
//!   log     topic id (4) partition (4) last offset (8) ──► entry's head, and its rows when they are few
//!   blobs   the same key ──► the rows of larger entries; the values lie in blob files and are not compacted again and again
//! ```
//!
//! All stores share the family `state`, instead of a family for each (design D6): a family has write buffers of its own, so a thousand
//! queries would cost gigabytes or flush tiny files all the time; and the number of files would grow with the queries. Dropping a store is
//! one range tombstone. A row is looked up by its whole key, so the filter blocks hold whole keys: a prefix filter would only know
//! (store, partition), which nearly every file has.
//!
//! **Memory.** One block cache and one write buffer manager, charged to it, keep to `Options::memory_bytes`.
//!
//! **Expired rows** are hidden from readers by the horizon of their (store, partition) and dropped when a compaction meets them.

pub mod database;
mod families;
mod format;
mod horizon;
pub mod moment;
mod rows;
mod stores;

pub use database::{Database, Options};
pub use families::Family;
pub use moment::Moment;
pub use rocksdb;
