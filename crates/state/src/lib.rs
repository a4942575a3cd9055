//! State stores: what operators keep between batches.
//!
//! A store is an ordered map of bytes, cut into partitions. Keys are Arrow row-encoded, so byte order is key order. What is
//! committed is in a [`Backend`]; what a task has changed since its last commit is in its [`Overlay`], and reaches the backend only
//! through [`Backend::commit`], together with the log transaction it belongs to (design D5).

mod byte_map;
pub mod conformance;
pub mod error;
pub mod memory;
pub mod overlay;
mod rows;
pub mod window_key;
mod writes;

use std::ops::ControlFlow;
use std::sync::Arc;

use millpond_log::{Appended, Fetch, FetchLimit, OffsetRange, TopicPartition, Transaction};

pub use error::{Error, Result};
pub use memory::MemoryBackend;
pub use overlay::Overlay;
pub use writes::{WriteSet, Writes};

/// A store's number in its backend; given by [`Backend::open_store`] for a stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreId(pub u32);

/// A range of keys: from `start` (inclusive) to `end` (exclusive; `None`: to the last).
#[derive(Debug, Clone, Copy)]
pub struct KeyRange<'a> {
    pub start: &'a [u8],
    pub end: Option<&'a [u8]>,
}

impl KeyRange<'_> {
    pub const ALL: KeyRange<'static> = KeyRange { start: &[], end: None };

    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start && self.end.is_none_or(|end| key < end)
    }

    /// No key can be in it.
    pub fn is_empty(&self) -> bool {
        self.end.is_some_and(|end| end <= self.start)
    }
}

/// The end of the range of all keys that start with `prefix`; `None`: to the last.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// How a store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// It has the partitions `0..partitions`.
    pub partitions: u32,
    /// A row that was not written for so long has expired, and need not be restored. `None`: all rows are.
    pub retention_ms: Option<i64>,
}

impl StoreConfig {
    /// Of rows that do not expire.
    pub fn keep(partitions: u32) -> StoreConfig {
        StoreConfig { partitions, retention_ms: None }
    }
}

/// What a scan shows its rows to, key and value, until it breaks.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Reads committed state, at one moment or as it is now. Rows that have expired ([`Expiry`]) are not seen.
pub trait Reader: Send + Sync {
    /// The values of `keys`, in their order.
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Calls `visit(key, value)` in key order until it breaks.
    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()>;
}

/// Committed state at one moment, and the log's committed records: at the same moment where one database keeps both, else as of when a
/// partition is first asked for.
pub trait Snapshot: Reader {
    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange>;

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch>;
}

/// When rows of a windowed store may be forgotten. Keys of windowed stores end in 16 bytes: the window's end, then
/// its start, each as 8 bytes big-endian of the milliseconds with the sign bit flipped (so byte order is time order).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// Rows whose window ended at or before this are gone for readers, and dropped by compaction.
    pub expired_before_ms: i64,
}

/// Committed state. One per process.
pub trait Backend: Reader {
    /// The store's id, the same for the same name ever after. It is made when there is none.
    fn open_store(&self, name: &str, config: StoreConfig) -> Result<StoreId>;

    /// The id of a store that is there.
    fn find_store(&self, name: &str) -> Option<StoreId>;

    /// For whoever is going to commit to the partition, while nobody else does: brings in what was committed to it and is not here.
    fn take_over(&self, store: StoreId, partition: u32) -> Result<()>;

    /// How much of what is to be brought in of the partition is here, in per cent; `None`: nothing is being brought in.
    fn restored_percent(&self, name: &str, partition: u32) -> Option<f64>;

    /// Another process may commit to the partition of that store from now on: what is here may be old until it is taken over again.
    fn let_go(&self, name: &str, partition: u32);

    /// Everything is let go, and other processes may have committed to it before.
    fn thrown_out(&self);

    /// Other processes have let go of partitions that are going to be taken over here: brings in what they have committed, and waits for what is
    /// under way.
    fn catch_up(&self) -> Result<()>;

    /// Brings in what can be seen of what others have committed. Waits for nothing that is under way.
    fn look(&self) -> Result<()>;

    /// Forgets the stores and their rows. Those that are not there may have rows elsewhere, which go, too.
    fn drop_stores(&self, names: &[&str]) -> Result<()>;

    /// Another process has dropped the store, and may have made it anew since: forgets what is here of it.
    fn forget_store(&self, name: &str) -> Result<()>;

    /// The topic that commits write the store's changes to: one that cannot be written to fails them.
    fn changelog_topic(&self, _: StoreId) -> Option<Arc<str>> {
        None
    }

    /// Names and ids of all stores.
    fn stores(&self) -> Result<Vec<(String, StoreId)>>;

    /// Appends to the log and applies the writes: both or neither, and readers see both at once.
    fn commit(&self, log: Transaction, writes: WriteSet) -> Result<Vec<Appended>>;

    /// The number of the commit that began last.
    fn commits_begun(&self) -> u64;

    /// Whether all commits up to that one have come to an end: what the log has of them, every later snapshot has.
    fn commits_finished(&self, begun: u64) -> bool;

    /// A consistent view for pull queries.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>>;

    /// Moves a windowed store's horizon for one partition; never backwards.
    fn set_expiry(&self, store: StoreId, partition: u32, expiry: Expiry);

    /// The horizon of a windowed store's partition, if it has one.
    fn expiry(&self, store: StoreId, partition: u32) -> Option<Expiry>;

    /// Approximate bytes of a store on disk.
    fn size_bytes(&self, store: StoreId) -> u64;
}
