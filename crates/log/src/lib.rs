//! The log: topics of partitions of records, written in transactions and read in batches.
//!
//! ```text
//!   partition   start                                   end
//!      │          ▼                                      ▼
//!      └──►   ┌───┬───┬─────────────┬───┬────────────┐
//!             │ 5 │ 6 │ 7 8 9 10 11 │12 │ 13 14 15   │  ◄── append: one entry = one batch
//!             └───┴───┴─────────────┴───┴────────────┘
//! ```
//!
//! What is promised:
//! - a transaction's entries become visible all or none, in every partition it writes before [`Log::append`] returns; a log that is spread over
//!   several machines may show them in one partition a moment before another;
//! - offsets in a partition grow, and never name another record later; compaction and trimming leave gaps;
//! - a fetch gives records in offset order and never one that is not committed.
//!
//! What is not promised: an order between partitions; that offsets are dense; that entries come back cut as they were appended.

pub mod compaction;
pub mod conformance;
pub mod entry;
pub mod error;
pub mod memory;
pub mod murmur2;
pub mod opaque;
pub mod placed;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub use entry::{Control, Entry, Payload};
pub use error::{Error, Result};
pub use memory::MemoryLog;
pub use opaque::opaque_schema;
pub use placed::Placed;

/// Whether a topic of that name lies between two sub-topologies of a query. Its records may be columns in any log.
pub fn is_repartition(topic: &str) -> bool {
    // A query's second one is `…-repartition-2`.
    let name = topic.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = if name.len() < topic.len() { name.strip_suffix('-').unwrap_or(topic) } else { name };
    name.starts_with("_millpond-") && name.ends_with("-repartition")
}

/// The machine's clock, milliseconds since 1970: the time of records that nobody else gives one.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: u32,
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Whole entries go, oldest first, when the newest timestamp in them is older than `retention_ms` or when the partition is larger
    /// than `retention_bytes` (its last entry stays). As in Kafka, age is judged by the records' timestamps. `None` keeps.
    Delete { retention_ms: Option<i64>, retention_bytes: Option<u64> },
    /// The last record of each key stays; a tombstone goes a day after the first cleaning that met it, so that a reader who is not
    /// further behind than that has seen it. A partition's newest entry is left alone. Key columns: `TopicConfig::key_columns`. With
    /// `retention_ms`, entries go by age, too, as they do with `Delete`.
    Compact { retention_ms: Option<i64> },
}

impl Cleanup {
    /// Whether all is kept that `wanted` keeps. What is kept beyond that does no harm.
    pub fn keeps(self, wanted: Cleanup) -> bool {
        let as_long = |found: Option<i64>, wanted: Option<i64>| found.is_none_or(|found| wanted.is_some_and(|wanted| found >= wanted));
        match (self, wanted) {
            (Cleanup::Compact { retention_ms: found }, Cleanup::Compact { retention_ms: wanted }) => as_long(found, wanted),
            (
                Cleanup::Delete { retention_ms: found_ms, retention_bytes: found_bytes },
                Cleanup::Delete { retention_ms: wanted_ms, retention_bytes: wanted_bytes },
            ) => {
                let bytes = found_bytes.is_none_or(|found| wanted_bytes.is_some_and(|wanted| found >= wanted));
                as_long(found_ms, wanted_ms) && bytes
            }
            _ => false,
        }
    }
}

/// As Kafka's settings of a topic.
impl std::fmt::Display for Cleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cleanup::Compact { retention_ms: None } => f.write_str("cleanup.policy=compact"),
            Cleanup::Compact { retention_ms: Some(retention_ms) } => {
                write!(f, "cleanup.policy=compact,delete and retention.ms={retention_ms}")
            }
            Cleanup::Delete { retention_ms, retention_bytes } => {
                let bytes = retention_bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
                write!(f, "cleanup.policy=delete, retention.ms={} and retention.bytes={bytes}", retention_ms.unwrap_or(-1))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    pub partitions: u32,
    pub cleanup: Cleanup,
    /// For a compacted topic of columns: the names of the columns that are its key.
    pub key_columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    pub name: Arc<str>,
    pub config: TopicConfig,
}

/// The committed records of a partition: `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset still there.
    pub start: u64,
    /// One past the last committed record: what the next append gets.
    pub end: u64,
}

/// Entries to be appended together.
#[derive(Debug, Default)]
pub struct Transaction {
    pub appends: Vec<Append>,
}

#[derive(Debug, Clone)]
pub struct Append {
    pub target: TopicPartition,
    pub entry: Entry,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl TopicConfig {
    /// Keeps everything.
    pub fn keep(partitions: u32) -> TopicConfig {
        TopicConfig { partitions, cleanup: Cleanup::Delete { retention_ms: None, retention_bytes: None }, key_columns: Vec::new() }
    }

    /// Keeps the last record of each key; no `key_columns` for a topic of opaque records.
    pub fn compact(partitions: u32, key_columns: Vec<String>) -> TopicConfig {
        TopicConfig { partitions, cleanup: Cleanup::Compact { retention_ms: None }, key_columns }
    }
}

impl OffsetRange {
    /// Fails unless a reader can stand at `offset`: in the range, or at its end.
    pub fn check(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        let OffsetRange { start, end } = *self;
        if (start..=end).contains(&offset) { Ok(()) } else { Err(self.out_of_range(partition, offset)) }
    }

    /// That `offset` is not in the range.
    pub fn out_of_range(&self, partition: &TopicPartition, offset: u64) -> Error {
        let OffsetRange { start, end } = *self;
        Error::OffsetOutOfRange { topic: partition.topic.to_string(), partition: partition.partition, offset, start, end }
    }
}

impl FetchLimit {
    /// Everything there is: for small topics that are read whole.
    pub const NONE: FetchLimit = FetchLimit::of(usize::MAX, usize::MAX).with_headers();

    /// Without headers.
    pub const fn of(rows_max: usize, bytes_max: usize) -> FetchLimit {
        FetchLimit { rows_max, bytes_max, headers: false }
    }

    pub const fn with_headers(self) -> FetchLimit {
        FetchLimit { headers: true, ..self }
    }
}

/// Where an [`Append`] of a transaction went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    pub target: TopicPartition,
    pub base_offset: u64,
    /// Who has read what was appended reads on here.
    pub next_offset: u64,
}

/// An entry as read: what was appended, or the part of it from the wanted offset on.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub base_offset: u64,
    /// Offsets of the rows when they are not `base_offset..` (a compacted entry).
    pub offsets: Option<Arc<[u64]>>,
    /// Where to read on: one past the last offset of the entry.
    pub next_offset: u64,
    pub entry: Arc<Entry>,
}

impl Fetch {
    /// With nothing hidden behind the last entry.
    pub fn of(from: u64, entries: Vec<Fetched>) -> Fetch {
        let next_offset = entries.last().map_or(from, |last| last.next_offset);
        Fetch { entries, next_offset }
    }
}

impl Fetched {
    pub fn offset(&self, row: usize) -> u64 {
        match &self.offsets {
            Some(offsets) => offsets[row],
            None => self.base_offset + row as u64,
        }
    }
}

/// What a fetch brings.
#[derive(Debug, Clone, Default)]
pub struct Fetch {
    /// Oldest first.
    pub entries: Vec<Fetched>,
    /// Where to read on: behind the last entry, and behind offsets that no reader sees a record at.
    pub next_offset: u64,
}

/// How many rows and bytes a fetch may bring; at least one entry comes when there is one.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimit {
    pub rows_max: usize,
    pub bytes_max: usize,
    /// Whether whoever fetches reads the records' headers. To look for them costs as much as the rest of a small record, so a log need not
    /// give them to who does not.
    pub headers: bool,
}

/// See the crate's documentation for what is promised.
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Fails with [`Error::TopicExists`] when there is one of that name.
    fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()>;

    /// As [`Log::create_topic`]; one that is there stays as it is.
    fn ensure_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        match self.create_topic(name, config) {
            Err(Error::TopicExists(_)) => Ok(()),
            made => made,
        }
    }

    /// As [`Log::ensure_topic`], for a topic that what is written there must not be lost from: [`Error::Setting`] says what is wrong with one that is
    /// there.
    fn ensure_kept_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        let found = match self.create_topic(name, config) {
            Err(Error::TopicExists(_)) => self.topic(name)?.config,
            made => return made,
        };
        if found.partitions != config.partitions {
            return Err(Error::Setting(format!("topic \"{name}\" has {} partitions, not {}", found.partitions, config.partitions)));
        }
        if !found.cleanup.keeps(config.cleanup) {
            return Err(Error::Setting(format!("topic \"{name}\" does not keep all that is needed of it: set its {}", config.cleanup)));
        }
        Ok(())
    }

    /// The topic and its records. Readers get [`Error::UnknownTopic`] from then on.
    fn delete_topic(&self, name: &str) -> Result<()>;

    /// As [`Log::delete_topic`], also where there is none.
    fn remove_topic(&self, name: &str) -> Result<()> {
        match self.delete_topic(name) {
            Err(Error::UnknownTopic(_)) => Ok(()),
            gone => gone,
        }
    }

    /// All topics, by name.
    fn topics(&self) -> Result<Vec<TopicInfo>>;

    fn topic(&self, name: &str) -> Result<TopicInfo>;

    /// How many partitions the topic has: what [`Log::topic`] says, for whoever wants no more.
    fn partitions(&self, topic: &str) -> Result<u32> {
        Ok(self.topic(topic)?.config.partitions)
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange>;

    /// Where the partition ends as far as is known without asking far away: subscribers hear when it is known better. It may be beyond
    /// what is committed.
    fn known_end(&self, partition: &TopicPartition) -> Result<u64> {
        Ok(self.offsets(partition)?.end)
    }

    /// All entries or none. Empty entries are refused by an assertion.
    fn append(&self, transaction: Transaction) -> Result<Vec<Appended>>;

    /// Entries from `from` on: not all there are, perhaps, but before the end [`Fetch::next_offset`] is greater than `from`.
    /// [`Error::OffsetOutOfRange`] below the start or beyond the end.
    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch>;

    /// As [`Log::fetch`], for whoever has other things to do than to wait. `None`: nothing has come from afar yet; subscribers hear when
    /// something has.
    fn fetch_ready(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Option<Fetch>> {
        self.fetch(partition, from, limit).map(Some)
    }

    /// Forgets of each partition whole entries before the offset, which is one up to the end: for repartition topics, whose only reader has
    /// committed there. One that cannot be trimmed does not keep the others, and is told of when they are done.
    fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()>;

    /// Applies each topic's [`Cleanup`] as of `now_ms`.
    fn clean(&self, now_ms: i64) -> Result<Cleaned>;

    /// How many records lie between two offsets of the partition, at most.
    fn records_between(&self, _partition: &TopicPartition, from: u64, to: u64) -> u64 {
        to.saturating_sub(from)
    }

    /// Whether a record may lie between two offsets of a partition that nothing but transactions write to.
    fn may_lie_between(&self, from: u64, to: u64) -> bool {
        from < to
    }

    /// Waits until all transactions that have written to the partition are over, those of former processes and of unknown outcome
    /// ([`Error::Unresolved`]), too: what is read then is all there is.
    fn settle(&self, _partition: &TopicPartition) -> Result<()> {
        Ok(())
    }

    /// Tells those who look from outside how far a query has committed its inputs: the next offset of each. Nothing depends on it.
    fn publish_progress(&self, _query: &str, _positions: &[(TopicPartition, u64)]) -> Result<()> {
        Ok(())
    }

    /// Called after every committed transaction, from the thread that committed, and when something has come that [`Log::fetch_ready`] had
    /// not; must be quick.
    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>);
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    pub entries_deleted: u64,
    pub rows_compacted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_was_wanted_may_be_kept() {
        let compact = |retention_ms| Cleanup::Compact { retention_ms };
        let delete = |retention_ms, retention_bytes| Cleanup::Delete { retention_ms, retention_bytes };
        assert!(compact(None).keeps(compact(Some(1))) && compact(Some(2)).keeps(compact(Some(1))));
        assert!(!compact(Some(1)).keeps(compact(Some(2))) && !compact(Some(1)).keeps(compact(None)));
        assert!(delete(None, None).keeps(delete(Some(1), Some(1))) && delete(Some(2), Some(2)).keeps(delete(Some(2), Some(1))));
        assert!(!delete(Some(2), None).keeps(delete(None, None)) && !delete(None, Some(2)).keeps(delete(None, None)));
        assert!(!delete(None, None).keeps(compact(None)) && !compact(None).keeps(delete(None, None)));
    }

    #[test]
    fn repartition_topics_are_known_by_their_names() {
        let is = ["_millpond-s-q-repartition", "_millpond-s-q-repartition-2", "_millpond-s-q-repartition-17"];
        let is_not = ["q-repartition", "_millpond-s-q-repartition2", "_millpond-s-q-repartition-", "_millpond-s-q-changelog-2", ""];
        assert!(is.into_iter().all(is_repartition) && !is_not.into_iter().any(is_repartition));
    }
}
