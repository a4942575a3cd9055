//! The [`Backend`] that tasks see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::{HashMap, HashSet};
use millpond_log::opaque::{Builder, Record};
use millpond_log::{Append, Appended, Entry, Log, TopicConfig, TopicPartition, Transaction};
use millpond_state::{Backend, Expiry, KeyRange, Reader, Result, Snapshot, StoreConfig, StoreId, Visit, WriteSet, Writes};
use millpond_state_rocksdb::Database;
use millpond_state_rocksdb::rocksdb::WriteBatch;
use parking_lot::{Mutex, RwLock};

use crate::damage::Damage;
use crate::restore::Position;
use crate::restoring::Restoring;
use crate::under_way::UnderWay;
use crate::{offsets, restore, snapshot, topics};

/// See the crate's documentation.
pub struct Changelogged {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) database: Arc<Database>,
    pub(crate) service_id: String,
    pub(crate) offsets: TopicPartition,
    stores: RwLock<HashMap<StoreId, Store>>,
    /// One changelog after the other is made.
    opening: Mutex<()>,
    taken_over: Mutex<Partitions>,
    /// How far the offsets topic has been brought in.
    pub(crate) reached: Mutex<u64>,
    /// Something of it was passed over that is needed by now: the next look begins at its start.
    pub(crate) passed_over: AtomicBool,
    /// The numbers of the stores' changelogs, as the offsets topic has them.
    pub(crate) numbers: Mutex<HashMap<String, u64>>,
    pub(crate) restoring: Restoring,
    damage: Arc<Damage>,
    under_way: UnderWay,
}

#[derive(Debug, Default)]
struct Partitions {
    /// They have everything, as long as their commits succeed.
    current: HashSet<(StoreId, u32)>,
    /// The log may have a commit of theirs that the database has not.
    behind: HashSet<(StoreId, u32)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub name: Arc<str>,
    /// `None`: it shares the offsets topic.
    pub changelog: Option<Changelog>,
}

#[derive(Debug, Clone)]
pub(crate) struct Changelog {
    pub topic: Arc<str>,
    /// Tells it from others that the store has had.
    pub number: u64,
}

impl std::fmt::Debug for Changelogged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Changelogged").field("log", &self.log).field("database", &self.database).finish_non_exhaustive()
    }
}

impl Changelogged {
    /// Brings in what the offsets topic has; the stores follow when they are opened.
    pub fn open(database: Arc<Database>, log: Arc<dyn Log>, service_id: &str) -> Result<Arc<Changelogged>> {
        let offsets = topics::offsets(service_id);
        log.ensure_kept_topic(&offsets, &TopicConfig::compact(1, Vec::new()))?;
        let backend = Changelogged {
            database,
            log,
            service_id: service_id.to_owned(),
            offsets: TopicPartition::new(offsets, 0),
            stores: RwLock::default(),
            opening: Mutex::new(()),
            taken_over: Mutex::default(),
            reached: Mutex::default(),
            passed_over: AtomicBool::new(false),
            numbers: Mutex::default(),
            restoring: Restoring::default(),
            damage: Arc::default(),
            under_way: UnderWay::default(),
        };
        backend.catch_up()?;
        Ok(Arc::new(backend))
    }

    /// `tell` is called when files of the database turn out to be damaged, once.
    pub fn on_damage(&self, tell: impl FnOnce(String) + Send + 'static) {
        self.damage.on(Box::new(tell));
    }

    /// Whether what the partition has is for others to change.
    pub(crate) fn is_foreign(&self, store: StoreId, partition: u32) -> bool {
        !self.taken_over.lock().current.contains(&(store, partition))
    }

    /// The log has these writes, or may have them, and the database has not.
    fn fall_behind(&self, writes: &WriteSet) {
        let mut taken_over = self.taken_over.lock();
        for writes in &writes.writes {
            taken_over.current.remove(&(writes.store, writes.partition));
            taken_over.behind.insert((writes.store, writes.partition));
        }
    }

    /// What the database has of the store.
    fn forget_copy(&self, name: &str) -> Result<()> {
        if let Some(id) = self.database.find_store(name) {
            self.stores.write().remove(&id);
            let mut taken_over = self.taken_over.lock();
            taken_over.current.retain(|(store, _)| *store != id);
            taken_over.behind.retain(|(store, _)| *store != id);
            drop(taken_over);
            restore::forget_positions(self, id)?;
        }
        self.database.drop_store(name)
    }

    /// The partitions of the store that are written from here.
    pub(crate) fn own_partitions(&self, store: StoreId) -> Vec<u32> {
        let taken_over = self.taken_over.lock();
        taken_over.current.iter().filter(|(of, _)| *of == store).map(|(_, partition)| *partition).collect()
    }

    /// The records that the writes are, and behind each of them what it is the changelog of, with its number.
    fn records(&self, writes: &WriteSet) -> (Vec<Append>, Vec<(StoreId, u32, u64)>) {
        let timestamp_ms = millpond_log::now_ms();
        let stores = self.stores.read();
        let (mut appends, mut of, mut shared) = (Vec::new(), Vec::new(), Builder::default());
        for writes in &writes.writes {
            let Some(store) = stores.get(&writes.store) else { continue };
            match &store.changelog {
                Some(Changelog { topic, number }) => {
                    let mut rows = Builder::with_room(writes.len(), writes.sizes());
                    writes.iter().for_each(|(key, value)| rows.push(Record { key: Some(key), value, timestamp_ms, headers: &[] }));
                    let target = TopicPartition { topic: Arc::clone(topic), partition: writes.partition };
                    appends.push(Append { target, entry: Entry::opaque(rows.finish()) });
                    of.push((writes.store, writes.partition, *number));
                }
                None => {
                    for (key, value) in writes.iter() {
                        let key = offsets::row_key(&store.name, writes.partition, key);
                        shared.push(Record { key: Some(&key), value, timestamp_ms, headers: &[] });
                    }
                }
            }
        }
        for (store, partition, expiry) in &writes.expiries {
            let Some(store) = stores.get(store) else { continue };
            let key = offsets::horizon_key(&store.name, *partition);
            shared.push(Record { key: Some(&key), value: Some(&offsets::horizon_value(*expiry)), timestamp_ms, headers: &[] });
        }
        if shared.rows() > 0 {
            appends.push(Append { target: self.offsets.clone(), entry: Entry::opaque(shared.finish()) });
        }
        (appends, of)
    }
}

impl Reader for Changelogged {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.damage.look(self.database.get_many(store, partition, keys))
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        self.damage.look(self.database.scan(store, partition, range, visit))
    }
}

impl Backend for Changelogged {
    fn open_store(&self, name: &str, config: StoreConfig) -> Result<StoreId> {
        let id = self.database.open_store(name)?;
        if self.stores.read().contains_key(&id) {
            return Ok(id);
        }
        let _opening = self.opening.lock();
        // Another task may have opened it meanwhile.
        if self.stores.read().contains_key(&id) {
            return Ok(id);
        }
        let shared = topics::is_shared(name);
        let changelog = if shared { None } else { Some(self.damage.look(restore::ensure(self, name, config))?) };
        self.stores.write().insert(id, Store { name: name.into(), changelog });
        Ok(id)
    }

    fn find_store(&self, name: &str) -> Option<StoreId> {
        self.database.find_store(name)
    }

    fn take_over(&self, store: StoreId, partition: u32) -> Result<()> {
        let place = (store, partition);
        let Some(Store { name, changelog }) = self.stores.read().get(&store).cloned() else { return Ok(()) };
        let (current, behind) = {
            let taken_over = self.taken_over.lock();
            (taken_over.current.contains(&place), taken_over.behind.contains(&place))
        };
        match changelog {
            _ if current => return Ok(()),
            Some(Changelog { topic, number }) => {
                self.damage.look(restore::partition(self, store, &TopicPartition { topic, partition }, number))?;
            }
            // The last look at the topic may have passed over what was to be its own.
            None if behind => self.damage.look(restore::shared_partition(self, &name, partition))?,
            None => {}
        }
        // Whoever brings in others' offsets at the moment is through before there are new ones from here.
        let _offsets = self.reached.lock();
        let mut taken_over = self.taken_over.lock();
        taken_over.behind.remove(&place);
        taken_over.current.insert(place);
        Ok(())
    }

    fn restored_percent(&self, name: &str, partition: u32) -> Option<f64> {
        self.restoring.percent(self.database.find_store(name)?, partition)
    }

    fn let_go(&self, name: &str, partition: u32) {
        if let Some(store) = self.database.find_store(name) {
            self.taken_over.lock().current.remove(&(store, partition));
        }
    }

    fn thrown_out(&self) {
        // Also what belongs to queries that have ended meanwhile: others write it by now, and nothing of that is to be taken back.
        self.taken_over.lock().current.clear();
        // As long as partitions were taken to be written from here, what others wrote of them was passed over.
        self.passed_over.store(true, Ordering::Release);
    }

    fn catch_up(&self) -> Result<()> {
        self.log.settle(&self.offsets)?;
        self.damage.look(restore::offsets(self))
    }

    fn look(&self) -> Result<()> {
        self.damage.look(restore::offsets(self))
    }

    fn drop_stores(&self, names: &[&str]) -> Result<()> {
        for name in names.iter().filter(|name| !topics::is_shared(name)) {
            self.log.remove_topic(&topics::changelog(&self.service_id, name))?;
        }
        restore::forget(self, names)?;
        names.iter().try_for_each(|name| self.forget_copy(name))
    }

    /// What was committed from here after the other process had dropped the store is taken back.
    fn forget_store(&self, name: &str) -> Result<()> {
        let taken_back = restore::take_back(self, name);
        self.forget_copy(name)?;
        // With it goes what has been brought in of the one that was made anew.
        self.passed_over.store(true, Ordering::Release);
        taken_back
    }

    fn changelog_topic(&self, store: StoreId) -> Option<Arc<str>> {
        self.stores.read().get(&store).and_then(|store| store.changelog.as_ref()).map(|changelog| Arc::clone(&changelog.topic))
    }

    fn stores(&self) -> Result<Vec<(String, StoreId)>> {
        Ok(self.database.stores())
    }

    fn commit(&self, log: Transaction, writes: WriteSet) -> Result<Vec<Appended>> {
        let _under_way = self.under_way.begin();
        let (records, of) = self.records(&writes);
        let mut transaction = log;
        let outputs = transaction.appends.len();
        transaction.appends.extend(records);
        let mut appended = self.log.append(transaction).inspect_err(|error| {
            if matches!(error, millpond_log::Error::Unresolved(_)) {
                self.fall_behind(&writes);
            }
        })?;
        let changelogs = appended.split_off(outputs);
        let mut batch = WriteBatch::default();
        for (appended, (store, partition, number)) in changelogs.iter().zip(&of) {
            let position = Position { number: *number, next: appended.next_offset };
            restore::put_position(self, *store, *partition, position, &mut batch);
        }
        self.damage.look(self.database.commit(batch, &[&writes])).inspect_err(|_| self.fall_behind(&writes))?;
        Ok(appended)
    }

    fn commits_begun(&self) -> u64 {
        self.under_way.begun()
    }

    fn commits_finished(&self, begun: u64) -> bool {
        self.under_way.finished(begun)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(snapshot::Moment::new(self.database.snapshot(), Arc::clone(&self.log), Arc::clone(&self.damage))))
    }

    fn set_expiry(&self, store: StoreId, partition: u32, expiry: Expiry) {
        self.database.set_expiry(store, partition, expiry);
    }

    fn expiry(&self, store: StoreId, partition: u32) -> Option<Expiry> {
        self.database.expiry(store, partition)
    }

    fn size_bytes(&self, store: StoreId) -> u64 {
        self.database.size_bytes(store)
    }
}

/// One store's changes as a set.
pub(crate) fn set_of(writes: Writes) -> WriteSet {
    let mut set = WriteSet::default();
    set.push(writes);
    set
}
