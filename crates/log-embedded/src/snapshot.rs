//! State and log at one moment.

use std::borrow::Cow;
use std::sync::Arc;

use millpond_log::{Fetch, FetchLimit, OffsetRange, TopicPartition};
use millpond_state::{KeyRange, Reader, Result, Snapshot, StoreId, Visit};
use millpond_state_rocksdb::Moment;

use crate::entries::Entries;
use crate::topics::{Table, Topic, end_of, find, out_of_range, start_of};

/// Its offsets are read from the same RocksDB snapshot as its rows (EMB-2), so taking one waits for nobody.
#[derive(Debug)]
pub struct EmbeddedSnapshot {
    pub entries: Arc<Entries>,
    pub moment: Arc<Moment>,
    pub topics: Arc<Table>,
}

impl EmbeddedSnapshot {
    fn topic(&self, at: &TopicPartition) -> millpond_log::Result<&Topic> {
        let topic = find(&self.topics, &at.topic)?;
        topic.partition(at.partition)?;
        Ok(topic)
    }

    fn range(&self, topic: u32, partition: u32) -> millpond_log::Result<OffsetRange> {
        let start = start_of(&self.entries.database, topic, partition, &self.moment.read_options())?;
        let end = end_of(&self.entries.database, topic, partition, self.moment.read_options())?;
        Ok(OffsetRange { start, end: end.unwrap_or(start) })
    }
}

impl Snapshot for EmbeddedSnapshot {
    fn offsets(&self, at: &TopicPartition) -> Result<OffsetRange> {
        Ok(self.range(self.topic(at)?.id, at.partition)?)
    }

    fn fetch(&self, at: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        let topic = self.topic(at)?.id;
        let range = self.range(topic, at.partition)?;
        if from < range.start || from > range.end {
            return Err(out_of_range(at, from, range).into());
        }
        let fetched = self.entries.fetch((topic, at.partition), from, range.end, limit, false, || Cow::Borrowed(&self.moment))?;
        Ok(Fetch::of(from, fetched))
    }
}

impl Reader for EmbeddedSnapshot {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.moment.get_many(store, partition, keys)
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        self.moment.scan(store, partition, range, visit)
    }
}
