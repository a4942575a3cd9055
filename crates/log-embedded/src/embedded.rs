//! The log and the state of a node without Kafka: one database, one commit.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millpond_log::{
    Appended, Cleaned, Error, Fetch, FetchLimit, Log, OffsetRange, Result, TopicConfig, TopicInfo, TopicPartition, Transaction,
};
use millpond_state::{Backend, Expiry, KeyRange, Reader, Snapshot, StoreConfig, StoreId, Visit, WriteSet};
use millpond_state_rocksdb::{Database, rocksdb};
use parking_lot::{Mutex, RwLock};

use crate::cache::Cache;
use crate::commit::Queue;
use crate::entries::Entries;
use crate::schemas::Schemas;
use crate::snapshot::EmbeddedSnapshot;
use crate::topics::{self, Table, find, out_of_range};

#[derive(Debug, Clone)]
pub struct Options {
    /// For the database and the decoded entries together.
    pub memory_bytes: usize,
    /// See [`millpond_state_rocksdb::Options::sync`].
    pub sync: bool,
    /// See [`millpond_state_rocksdb::Options::service_id`].
    pub service_id: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { memory_bytes: 384 << 20, sync: true, service_id: None }
    }
}

/// See the crate's documentation.
pub struct Embedded {
    pub(crate) entries: Arc<Entries>,
    /// Replaced when topics come and go.
    pub(crate) topics: RwLock<Arc<Table>>,
    pub(crate) queue: Queue,
    /// Held by whoever writes to topics.
    pub(crate) turn: Mutex<()>,
    /// Held while ends move, so that all partitions of a transaction are seen at once.
    pub(crate) publishing: RwLock<()>,
    pub(crate) subscribers: RwLock<Vec<Box<dyn Fn() + Send + Sync>>>,
    /// Something was deleted since room was last given back.
    pub(crate) has_garbage: AtomicBool,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").field("database", &self.entries.database).finish_non_exhaustive()
    }
}

pub(crate) fn storage(error: rocksdb::Error) -> Error {
    Error::Storage(error.into_string())
}

pub(crate) fn log_error(error: millpond_state::Error) -> Error {
    match error {
        millpond_state::Error::Log(error) => error,
        millpond_state::Error::Storage(message) | millpond_state::Error::Damaged(message) | millpond_state::Error::Foreign(message) => {
            Error::Storage(message)
        }
    }
}

impl Embedded {
    /// [`millpond_state::Error::Foreign`] when the directory is not ours, has another format or is in use.
    pub fn open(path: &Path, options: &Options) -> millpond_state::Result<Arc<Embedded>> {
        let cache_bytes = options.memory_bytes / 4;
        let database_options = millpond_state_rocksdb::Options {
            memory_bytes: options.memory_bytes - cache_bytes,
            sync: options.sync,
            service_id: options.service_id.clone(),
        };
        let database = Database::open(path, &database_options)?;
        let table = topics::load(&database)?;
        let schemas = Schemas::load(database.clone())?;
        Ok(Arc::new(Embedded {
            entries: Arc::new(Entries { database, schemas, cache: Mutex::new(Cache::new(cache_bytes)) }),
            topics: RwLock::new(Arc::new(table)),
            queue: Queue::default(),
            turn: Mutex::new(()),
            publishing: RwLock::new(()),
            subscribers: RwLock::default(),
            has_garbage: AtomicBool::new(false),
        }))
    }

    pub fn database(&self) -> &Arc<Database> {
        &self.entries.database
    }

    fn table(&self) -> Arc<Table> {
        self.topics.read().clone()
    }
}

impl Log for Embedded {
    fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        assert!(config.partitions > 0, "a topic has at least one partition");
        let _turn = self.turn.lock();
        if self.topics.read().contains_key(name) {
            return Err(Error::TopicExists(name.to_owned()));
        }
        let topic = topics::create(&self.entries.database, name, config)?;
        Arc::make_mut(&mut self.topics.write()).insert(topic.info.name.clone(), Arc::new(topic));
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        let _turn = self.turn.lock();
        let topic = find(&self.topics.read(), name)?.clone();
        topics::delete(&self.entries.database, &topic)?;
        Arc::make_mut(&mut self.topics.write()).remove(name);
        self.entries.cache.lock().remove_topic(topic.id, topic.info.config.partitions);
        self.has_garbage.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        Ok(self.table().values().map(|topic| topic.info.clone()).collect())
    }

    fn topic(&self, name: &str) -> Result<TopicInfo> {
        Ok(find(&self.topics.read(), name)?.info.clone())
    }

    fn offsets(&self, at: &TopicPartition) -> Result<OffsetRange> {
        let table = self.topics.read();
        let partition = find(&table, &at.topic)?.partition(at.partition)?;
        let _published = self.publishing.read();
        Ok(partition.range())
    }

    fn append(&self, transaction: Transaction) -> Result<Vec<Appended>> {
        self.commit_transaction(transaction, WriteSet::default()).map_err(log_error)
    }

    fn fetch(&self, at: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        let topic = find(&self.topics.read(), &at.topic)?.clone();
        let partition = topic.partition(at.partition)?;
        let range = {
            let _published = self.publishing.read();
            partition.range()
        };
        if from < range.start || from > range.end {
            return Err(out_of_range(at, from, range));
        }
        let moment = || Cow::Owned(Arc::new(self.entries.database.snapshot()));
        let fetched = self.entries.fetch((topic.id, at.partition), from, range.end, limit, true, moment)?;
        // Trimmed meanwhile: what was found may begin behind a gap (EMB-3).
        if from < partition.start() {
            return Err(out_of_range(at, from, partition.range()));
        }
        Ok(Fetch::of(from, fetched))
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()> {
        before.iter().map(|(partition, before)| self.trim_partition(partition, *before)).fold(Ok(()), Result::and)
    }

    fn clean(&self, now_ms: i64) -> Result<Cleaned> {
        self.clean_topics(now_ms)
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.subscribers.write().push(notify);
    }
}

impl Reader for Embedded {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> millpond_state::Result<Vec<Option<Vec<u8>>>> {
        self.entries.database.get_many(store, partition, keys)
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> millpond_state::Result<()> {
        self.entries.database.scan(store, partition, range, visit)
    }
}

impl Backend for Embedded {
    fn open_store(&self, name: &str, _config: StoreConfig) -> millpond_state::Result<StoreId> {
        self.entries.database.open_store(name)
    }

    fn find_store(&self, name: &str) -> Option<StoreId> {
        self.entries.database.find_store(name)
    }

    /// There is no other place to commit to.
    fn take_over(&self, _store: StoreId, _partition: u32) -> millpond_state::Result<()> {
        Ok(())
    }

    // Rows are here only, and nobody else's.
    fn restored_percent(&self, _name: &str, _partition: u32) -> Option<f64> {
        None
    }

    fn let_go(&self, _name: &str, _partition: u32) {}

    fn thrown_out(&self) {}

    fn catch_up(&self) -> millpond_state::Result<()> {
        Ok(())
    }

    fn look(&self) -> millpond_state::Result<()> {
        Ok(())
    }

    fn drop_stores(&self, names: &[&str]) -> millpond_state::Result<()> {
        names.iter().try_for_each(|name| self.entries.database.drop_store(name))?;
        self.has_garbage.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn forget_store(&self, name: &str) -> millpond_state::Result<()> {
        self.drop_stores(&[name])
    }

    fn stores(&self) -> millpond_state::Result<Vec<(String, StoreId)>> {
        Ok(self.entries.database.stores())
    }

    fn commit(&self, log: Transaction, writes: WriteSet) -> millpond_state::Result<Vec<Appended>> {
        self.commit_transaction(log, writes)
    }

    // The log and the stores have a commit at once.
    fn commits_begun(&self) -> u64 {
        0
    }

    fn commits_finished(&self, _begun: u64) -> bool {
        true
    }

    fn snapshot(&self) -> millpond_state::Result<Arc<dyn Snapshot>> {
        let moment = Arc::new(self.entries.database.snapshot());
        Ok(Arc::new(EmbeddedSnapshot { entries: self.entries.clone(), moment, topics: self.table() }))
    }

    fn set_expiry(&self, store: StoreId, partition: u32, expiry: Expiry) {
        self.entries.database.set_expiry(store, partition, expiry);
    }

    fn expiry(&self, store: StoreId, partition: u32) -> Option<Expiry> {
        self.entries.database.expiry(store, partition)
    }

    fn size_bytes(&self, store: StoreId) -> u64 {
        self.entries.database.size_bytes(store)
    }
}
