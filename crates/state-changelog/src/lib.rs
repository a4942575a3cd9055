//! State in RocksDB whose changes are records of a log: what is lost on this machine, the log still has (design D5, D6).
//!
//! ```text
//!   commit      one log transaction: appends ++ changelog records ++ offsets records
//!                  └─► then one RocksDB batch: rows, and how far each changelog is in them
//!   take_over   how far the rows are < end of the changelog? the records between are applied
//!   catch_up    what the offsets topic has got of partitions that others commit to
//! ```
//!
//! CLG-1  RocksDB never has what the log has not committed.
//! CLG-2  a partition that was taken over has everything that the log had committed to it before.
//! CLG-3  whoever commits to a partition is alone in it, and took it over after the last other one stopped.
//!        Several processes pass it on with `let_go` by the one, then `catch_up` and `take_over` by the other.
//! CLG-4  a commit that the log has, or may have, and RocksDB has not, is brought in when its partitions are taken over again.
//!
//! **Topics.** `_millpond-<service>-<store>-changelog`, compacted (of stores whose rows expire also cut by age), a partition for each of the
//! store's: key and value are the row's, no value deletes it. Small stores that every task has (positions, counters) share `_millpond-<service>-offsets`, compacted, one partition, with the key
//! `store \0 partition (4, big-endian) key`; horizons of windowed stores are there too, with the key `\0 store \0 partition (4)`.

mod backend;
mod damage;
mod offsets;
mod restore;
mod restoring;
mod snapshot;
mod topics;
mod under_way;

pub use backend::Changelogged;
