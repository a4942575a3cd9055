//! Committed state in memory, over the in-memory log: for tests, the topology driver and the simulation.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use millpond_log::memory::Topics;
use millpond_log::{Appended, Fetch, FetchLimit, Log, MemoryLog, OffsetRange, TopicPartition, Transaction};
use parking_lot::RwLock;

use crate::{Backend, Expiry, KeyRange, Reader, Result, Snapshot, StoreConfig, StoreId, Visit, WriteSet, window_key};

/// Its [`MemoryBackend::log`] and its stores change together.
#[derive(Debug, Default)]
pub struct MemoryBackend {
    log: Arc<MemoryLog>,
    stores: RwLock<Stores>,
}

type Rows = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// All stores at one moment; cheap to clone.
#[derive(Debug, Clone, Default)]
struct Stores {
    ids: BTreeMap<String, StoreId>,
    next_id: u32,
    partitions: BTreeMap<(StoreId, u32), Arc<Rows>>,
    expiries: BTreeMap<(StoreId, u32), Expiry>,
}

impl MemoryBackend {
    pub fn new() -> MemoryBackend {
        MemoryBackend::default()
    }

    pub fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }
}

impl Stores {
    fn apply(&mut self, writes: WriteSet) {
        for writes in &writes.writes {
            let rows = Arc::make_mut(self.partitions.entry((writes.store, writes.partition)).or_default());
            for (key, value) in writes.iter() {
                match value {
                    Some(value) => rows.insert(key.into(), value.into()),
                    None => rows.remove(key),
                };
            }
        }
        for (store, partition, expiry) in writes.expiries {
            self.set_expiry(store, partition, expiry);
        }
    }

    /// Expired rows are hidden and stay: nothing here runs long enough to need them gone.
    fn set_expiry(&mut self, store: StoreId, partition: u32, expiry: Expiry) {
        let now = self.expiries.entry((store, partition)).or_insert(expiry);
        now.expired_before_ms = now.expired_before_ms.max(expiry.expired_before_ms);
    }

    fn is_visible(&self, store: StoreId, partition: u32) -> impl Fn(&[u8]) -> bool + use<> {
        let expiry = self.expiries.get(&(store, partition)).copied();
        move |key| expiry.is_none_or(|expiry| !window_key::is_expired(key, expiry))
    }

    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let visible = self.is_visible(store, partition);
        let Some(rows) = self.partitions.get(&(store, partition)) else { return vec![None; keys.len()] };
        keys.iter().map(|key| rows.get(*key).filter(|_| visible(key)).map(|value| value.to_vec())).collect()
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) {
        let visible = self.is_visible(store, partition);
        let Some(rows) = self.partitions.get(&(store, partition)).filter(|_| !range.is_empty()) else { return };
        let bounds = (Bound::Included(range.start), range.end.map_or(Bound::Unbounded, Bound::Excluded));
        for (key, value) in rows.range::<[u8], _>(bounds) {
            if visible(key) && visit(key, value).is_break() {
                return;
            }
        }
    }
}

impl Reader for MemoryBackend {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.stores.read().get_many(store, partition, keys))
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        // Over a copy, so that the visitor may read or commit.
        let stores = self.stores.read().clone();
        stores.scan(store, partition, range, visit);
        Ok(())
    }
}

impl Backend for MemoryBackend {
    fn open_store(&self, name: &str, _config: StoreConfig) -> Result<StoreId> {
        let mut stores = self.stores.write();
        if let Some(id) = stores.ids.get(name) {
            return Ok(*id);
        }
        stores.next_id += 1;
        let id = StoreId(stores.next_id);
        stores.ids.insert(name.to_owned(), id);
        Ok(id)
    }

    fn find_store(&self, name: &str) -> Option<StoreId> {
        self.stores.read().ids.get(name).copied()
    }

    fn take_over(&self, _store: StoreId, _partition: u32) -> Result<()> {
        Ok(())
    }

    // Rows are here only, and nobody else's.
    fn restored_percent(&self, _name: &str, _partition: u32) -> Option<f64> {
        None
    }

    fn let_go(&self, _name: &str, _partition: u32) {}

    fn thrown_out(&self) {}

    fn catch_up(&self) -> Result<()> {
        Ok(())
    }

    fn look(&self) -> Result<()> {
        Ok(())
    }

    fn drop_stores(&self, names: &[&str]) -> Result<()> {
        let mut stores = self.stores.write();
        for id in names.iter().filter_map(|name| stores.ids.remove(*name)).collect::<Vec<_>>() {
            stores.partitions.retain(|(store, _), _| *store != id);
            stores.expiries.retain(|(store, _), _| *store != id);
        }
        Ok(())
    }

    fn forget_store(&self, name: &str) -> Result<()> {
        self.drop_stores(&[name])
    }

    fn stores(&self) -> Result<Vec<(String, StoreId)>> {
        Ok(self.stores.read().ids.iter().map(|(name, id)| (name.clone(), *id)).collect())
    }

    fn commit(&self, log: Transaction, writes: WriteSet) -> Result<Vec<Appended>> {
        Ok(self.log.append_with(log, || self.stores.write().apply(writes))?)
    }

    // The log and the stores have a commit at once.
    fn commits_begun(&self) -> u64 {
        0
    }

    fn commits_finished(&self, _begun: u64) -> bool {
        true
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        let (topics, stores) = self.log.view_with(|| self.stores.read().clone());
        Ok(Arc::new(Moment { topics, stores }))
    }

    fn set_expiry(&self, store: StoreId, partition: u32, expiry: Expiry) {
        self.stores.write().set_expiry(store, partition, expiry);
    }

    fn expiry(&self, store: StoreId, partition: u32) -> Option<Expiry> {
        self.stores.read().expiries.get(&(store, partition)).copied()
    }

    fn size_bytes(&self, store: StoreId) -> u64 {
        let stores = self.stores.read();
        let partitions = stores.partitions.range((store, 0)..=(store, u32::MAX));
        partitions.flat_map(|(_, rows)| rows.iter()).map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }
}

#[derive(Debug)]
struct Moment {
    topics: Topics,
    stores: Stores,
}

impl Reader for Moment {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.stores.get_many(store, partition, keys))
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        self.stores.scan(store, partition, range, visit);
        Ok(())
    }
}

impl Snapshot for Moment {
    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        Ok(self.topics.offsets(partition)?)
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        Ok(self.topics.fetch(partition, from, limit)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> ((), Arc<MemoryBackend>, Arc<dyn Log>) {
        let backend = Arc::new(MemoryBackend::new());
        let log = backend.log();
        ((), backend, log)
    }

    crate::state_conformance!(new());
    crate::state_moment_conformance!(new());
}
