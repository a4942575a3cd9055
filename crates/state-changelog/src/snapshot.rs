//! Stores at one moment. The log's ends are those of when they are first asked for: it has no moment in common with the stores.

use std::sync::Arc;

use hashbrown::HashMap;
use millpond_log::{Fetch, FetchLimit, Log, OffsetRange, TopicPartition};
use millpond_state::{KeyRange, Reader, Result, Snapshot, StoreId, Visit};
use parking_lot::Mutex;

use crate::damage::Damage;

pub(crate) struct Moment {
    stores: millpond_state_rocksdb::Moment,
    log: Arc<dyn Log>,
    ranges: Mutex<HashMap<TopicPartition, OffsetRange>>,
    damage: Arc<Damage>,
}

impl Moment {
    pub fn new(stores: millpond_state_rocksdb::Moment, log: Arc<dyn Log>, damage: Arc<Damage>) -> Moment {
        Moment { stores, log, ranges: Mutex::default(), damage }
    }
}

impl Reader for Moment {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.damage.look(self.stores.get_many(store, partition, keys))
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        self.damage.look(self.stores.scan(store, partition, range, visit))
    }
}

impl Snapshot for Moment {
    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        if let Some(range) = self.ranges.lock().get(partition) {
            return Ok(*range);
        }
        let range = self.log.offsets(partition)?;
        Ok(*self.ranges.lock().entry(partition.clone()).or_insert(range))
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        let range = self.offsets(partition)?;
        range.check(partition, from)?;
        let end = range.end;
        if from == end {
            return Ok(Fetch::of(from, Vec::new()));
        }
        let mut fetch = self.log.fetch(partition, from, limit)?;
        // What came after the moment is not of it.
        fetch.entries.retain(|fetched| fetched.base_offset < end);
        if let Some(last) = fetch.entries.last_mut()
            && last.next_offset > end
        {
            let rows = (0..last.entry.rows()).take_while(|row| last.offset(*row) < end).count();
            last.entry = Arc::new(last.entry.slice(0, rows));
            last.offsets = last.offsets.as_ref().map(|offsets| Arc::from(&offsets[..rows]));
            last.next_offset = end;
        }
        fetch.next_offset = fetch.next_offset.min(end);
        Ok(fetch)
    }
}
