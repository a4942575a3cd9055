//! Storage that fails when it is told to: commits that are refused, partitions whose records are not to be seen yet.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use millpond_log::{Appended, Cleaned, Fetch, FetchLimit, Log, OffsetRange, TopicConfig, TopicInfo, TopicPartition, Transaction};
use millpond_state::{Backend, Expiry, KeyRange, Reader, Snapshot, StoreConfig, StoreId, WriteSet};

#[derive(Debug, Default)]
pub struct Faults {
    refuse_commits: AtomicBool,
    refuse_catch_up: AtomicBool,
    refuse_drops: AtomicBool,
    /// How the names of stores begin whose changelogs do not take anything.
    refused_changelogs: Mutex<Option<String>>,
    held_back: Mutex<BTreeSet<TopicPartition>>,
    fetched: Mutex<BTreeSet<TopicPartition>>,
    expanded: Mutex<BTreeSet<String>>,
    /// How the names of stores begin that are not taken over; told of each change.
    restored: (Mutex<Option<String>>, Condvar),
}

impl Faults {
    /// As a full disk does.
    pub fn refuse_commits(&self, refuse: bool) {
        self.refuse_commits.store(refuse, Ordering::SeqCst);
    }

    /// What others have committed cannot be brought in.
    pub fn refuse_catch_up(&self, refuse: bool) {
        self.refuse_catch_up.store(refuse, Ordering::SeqCst);
    }

    /// Stores cannot be dropped.
    pub fn refuse_drops(&self, refuse: bool) {
        self.refuse_drops.store(refuse, Ordering::SeqCst);
    }

    /// Commits that write to stores whose names begin so are refused by their changelogs, until it is called with another one.
    pub fn refuse_changelogs(&self, of: Option<&str>) {
        *self.refused_changelogs.lock().unwrap() = of.map(str::to_owned);
    }

    fn refuses_changelog(&self, name: &str) -> bool {
        self.refused_changelogs.lock().unwrap().as_ref().is_some_and(|of| name.starts_with(of))
    }

    /// Stores whose names begin so are not taken over until it is called with another one.
    pub fn hold_up_restore(&self, of: Option<&str>) {
        *self.restored.0.lock().unwrap() = of.map(str::to_owned);
        self.restored.1.notify_all();
    }

    fn restore(&self, name: &str) {
        let held_up = |of: &mut Option<String>| of.as_ref().is_some_and(|of| name.starts_with(of));
        drop(self.restored.1.wait_while(self.restored.0.lock().unwrap(), held_up).unwrap());
    }

    /// The partition looks empty until it is released.
    pub fn hold_back(&self, partition: TopicPartition) {
        self.held_back.lock().unwrap().insert(partition);
    }

    /// Whether something was fetched from the partition, or it was tried.
    pub fn was_fetched_from(&self, partition: &TopicPartition) -> bool {
        self.fetched.lock().unwrap().contains(partition)
    }

    fn holds_back(&self, partition: &TopicPartition) -> bool {
        self.held_back.lock().unwrap().contains(partition)
    }

    /// Topics that have a partition more from now on.
    pub fn expand(&self, topics: &[&str]) {
        *self.expanded.lock().unwrap() = topics.iter().map(|topic| (*topic).to_owned()).collect();
    }

    pub fn release(&self, partition: &TopicPartition) {
        self.held_back.lock().unwrap().remove(partition);
    }
}

#[derive(Debug)]
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    faults: Arc<Faults>,
}

impl FaultyLog {
    pub fn new(inner: Arc<dyn Log>, faults: Arc<Faults>) -> FaultyLog {
        FaultyLog { inner, faults }
    }
}

impl Log for FaultyLog {
    fn create_topic(&self, name: &str, config: &TopicConfig) -> millpond_log::Result<()> {
        self.inner.create_topic(name, config)
    }

    fn delete_topic(&self, name: &str) -> millpond_log::Result<()> {
        self.inner.delete_topic(name)
    }

    fn topics(&self) -> millpond_log::Result<Vec<TopicInfo>> {
        self.inner.topics()
    }

    fn topic(&self, name: &str) -> millpond_log::Result<TopicInfo> {
        let mut topic = self.inner.topic(name)?;
        topic.config.partitions += u32::from(self.faults.expanded.lock().unwrap().contains(name));
        Ok(topic)
    }

    fn offsets(&self, partition: &TopicPartition) -> millpond_log::Result<OffsetRange> {
        let range = self.inner.offsets(partition)?;
        Ok(if self.faults.holds_back(partition) { OffsetRange { end: range.start, ..range } } else { range })
    }

    fn append(&self, transaction: Transaction) -> millpond_log::Result<Vec<Appended>> {
        self.inner.append(transaction)
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> millpond_log::Result<Fetch> {
        self.inner.fetch(partition, from, limit)
    }

    fn fetch_ready(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> millpond_log::Result<Option<Fetch>> {
        self.faults.fetched.lock().unwrap().insert(partition.clone());
        if self.faults.holds_back(partition) { Ok(None) } else { self.inner.fetch_ready(partition, from, limit) }
    }

    fn settle(&self, partition: &TopicPartition) -> millpond_log::Result<()> {
        self.inner.settle(partition)
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> millpond_log::Result<()> {
        self.inner.trim(before)
    }

    fn clean(&self, now_ms: i64) -> millpond_log::Result<Cleaned> {
        self.inner.clean(now_ms)
    }

    fn subscribe(&self, notify: Box<dyn Fn() + Send + Sync>) {
        self.inner.subscribe(notify);
    }
}

pub struct FaultyState {
    inner: Arc<dyn Backend>,
    faults: Arc<Faults>,
}

impl FaultyState {
    pub fn new(inner: Arc<dyn Backend>, faults: Arc<Faults>) -> FaultyState {
        FaultyState { inner, faults }
    }

    fn name(&self, store: StoreId) -> millpond_state::Result<Option<String>> {
        Ok(self.inner.stores()?.into_iter().find_map(|(name, id)| (id == store).then_some(name)))
    }
}

fn refuse(fault: &AtomicBool) -> millpond_state::Result<()> {
    if fault.load(Ordering::SeqCst) { Err(millpond_state::Error::Storage("refused by the test".to_owned())) } else { Ok(()) }
}

fn changelog(store: &str) -> String {
    format!("{store}-changelog")
}

impl Reader for FaultyState {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> millpond_state::Result<Vec<Option<Vec<u8>>>> {
        self.inner.get_many(store, partition, keys)
    }

    fn scan(
        &self,
        store: StoreId,
        partition: u32,
        range: KeyRange<'_>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> millpond_state::Result<()> {
        self.inner.scan(store, partition, range, visit)
    }
}

impl Backend for FaultyState {
    fn open_store(&self, name: &str, config: StoreConfig) -> millpond_state::Result<StoreId> {
        self.inner.open_store(name, config)
    }

    fn find_store(&self, name: &str) -> Option<StoreId> {
        self.inner.find_store(name)
    }

    fn take_over(&self, store: StoreId, partition: u32) -> millpond_state::Result<()> {
        if let Some(name) = self.name(store)? {
            self.faults.restore(&name);
        }
        self.inner.take_over(store, partition)
    }

    fn restored_percent(&self, name: &str, partition: u32) -> Option<f64> {
        self.inner.restored_percent(name, partition)
    }

    fn let_go(&self, name: &str, partition: u32) {
        self.inner.let_go(name, partition);
    }

    fn thrown_out(&self) {
        self.inner.thrown_out();
    }

    fn catch_up(&self) -> millpond_state::Result<()> {
        refuse(&self.faults.refuse_catch_up)?;
        self.inner.catch_up()
    }

    fn look(&self) -> millpond_state::Result<()> {
        self.inner.look()
    }

    fn drop_stores(&self, names: &[&str]) -> millpond_state::Result<()> {
        refuse(&self.faults.refuse_drops)?;
        self.inner.drop_stores(names)
    }

    fn forget_store(&self, name: &str) -> millpond_state::Result<()> {
        self.inner.forget_store(name)
    }

    fn changelog_topic(&self, store: StoreId) -> Option<Arc<str>> {
        Some(changelog(&self.name(store).ok()??).into())
    }

    fn stores(&self) -> millpond_state::Result<Vec<(String, StoreId)>> {
        self.inner.stores()
    }

    fn commit(&self, log: Transaction, writes: WriteSet) -> millpond_state::Result<Vec<Appended>> {
        if self.faults.refuse_commits.load(Ordering::SeqCst) {
            return Err(millpond_state::Error::Storage("no space left on device".to_owned()));
        }
        for written in &writes.writes {
            if let Some(name) = self.name(written.store)?.filter(|name| self.faults.refuses_changelog(name)) {
                let refused = millpond_log::Error::Refused { topic: Some(changelog(&name)), reason: "no right to write".to_owned() };
                return Err(refused.into());
            }
        }
        self.inner.commit(log, writes)
    }

    fn commits_begun(&self) -> u64 {
        self.inner.commits_begun()
    }

    fn commits_finished(&self, begun: u64) -> bool {
        self.inner.commits_finished(begun)
    }

    fn snapshot(&self) -> millpond_state::Result<Arc<dyn Snapshot>> {
        self.inner.snapshot()
    }

    fn set_expiry(&self, store: StoreId, partition: u32, expiry: Expiry) {
        self.inner.set_expiry(store, partition, expiry);
    }

    fn expiry(&self, store: StoreId, partition: u32) -> Option<Expiry> {
        self.inner.expiry(store, partition)
    }

    fn size_bytes(&self, store: StoreId) -> u64 {
        self.inner.size_bytes(store)
    }
}
