//! A log in memory: for tests, the topology driver and the simulation. What the conformance suite is first run against.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::compaction::{Compaction, Outcome};
use crate::{
    Appended, Cleaned, Cleanup, Entry, Error, Fetch, FetchLimit, Log, OffsetRange, Placed, Result, TopicConfig, TopicInfo, TopicPartition,
    Transaction,
};

type Notify = Box<dyn Fn() + Send + Sync>;

/// Keeps its topics as long as it lives.
#[derive(Default)]
pub struct MemoryLog {
    topics: Mutex<Topics>,
    subscribers: RwLock<Vec<Notify>>,
}

/// All topics at one moment; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    topics: BTreeMap<Arc<str>, Arc<Topic>>,
}

#[derive(Debug, Clone)]
struct Topic {
    config: TopicConfig,
    partitions: Vec<Arc<Partition>>,
}

#[derive(Debug, Clone, Default)]
struct Partition {
    start: u64,
    end: u64,
    entries: Vec<Stored>,
}

#[derive(Debug, Clone)]
struct Stored {
    placed: Placed,
    /// When a cleaning first met its tombstones.
    met_ms: Option<i64>,
}

impl std::fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLog").field("topics", &self.topics.lock().topics.keys()).finish_non_exhaustive()
    }
}

impl MemoryLog {
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    /// Appends, and runs `apply` at the moment the entries become visible; not when the transaction is refused.
    pub fn append_with(&self, transaction: Transaction, apply: impl FnOnce()) -> Result<Vec<Appended>> {
        let appended = {
            let mut topics = self.topics.lock();
            for append in &transaction.appends {
                topics.partition(&append.target)?;
                assert!(append.entry.rows() > 0, "an entry has at least one row");
            }
            let mut appended = Vec::with_capacity(transaction.appends.len());
            for append in transaction.appends {
                let base_offset = topics.partition_mut(&append.target)?.push(append.entry);
                let next_offset = topics.partition(&append.target)?.end;
                appended.push(Appended { target: append.target, base_offset, next_offset });
            }
            apply();
            appended
        };
        self.subscribers.read().iter().for_each(|notify| notify());
        Ok(appended)
    }

    /// All topics as they are, and what `also` gives at the same moment.
    pub fn view_with<T>(&self, also: impl FnOnce() -> T) -> (Topics, T) {
        let topics = self.topics.lock();
        (topics.clone(), also())
    }
}

impl Topics {
    fn topic(&self, name: &str) -> Result<&Topic> {
        self.topics.get(name).map(Arc::as_ref).ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    fn partition(&self, at: &TopicPartition) -> Result<&Partition> {
        let topic = self.topic(&at.topic)?;
        topic.partitions.get(at.partition as usize).map(Arc::as_ref).ok_or_else(|| unknown_partition(at, topic))
    }

    fn partition_mut(&mut self, at: &TopicPartition) -> Result<&mut Partition> {
        let topic = self.topics.get_mut(&at.topic).ok_or_else(|| Error::UnknownTopic(at.topic.to_string()))?;
        let unknown = unknown_partition(at, topic);
        Arc::make_mut(topic).partitions.get_mut(at.partition as usize).map(Arc::make_mut).ok_or(unknown)
    }

    pub fn offsets(&self, at: &TopicPartition) -> Result<OffsetRange> {
        let partition = self.partition(at)?;
        Ok(OffsetRange { start: partition.start, end: partition.end })
    }

    pub fn fetch(&self, at: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        let partition = self.partition(at)?;
        if from < partition.start || from > partition.end {
            return Err(out_of_range(at, from, partition));
        }
        let first = partition.entries.partition_point(|stored| stored.placed.next_offset <= from);
        let (mut fetched, mut rows, mut bytes) = (Vec::new(), 0, 0);
        for found in partition.entries[first..].iter().filter_map(|stored| stored.placed.fetch(from)) {
            rows += found.entry.rows();
            bytes += found.entry.bytes();
            if !fetched.is_empty() && (rows > limit.rows_max || bytes > limit.bytes_max) {
                break;
            }
            fetched.push(found);
        }
        Ok(Fetch::of(from, fetched))
    }
}

fn unknown_partition(at: &TopicPartition, topic: &Topic) -> Error {
    Error::UnknownPartition { topic: at.topic.to_string(), partition: at.partition, partitions: topic.config.partitions }
}

fn out_of_range(at: &TopicPartition, offset: u64, partition: &Partition) -> Error {
    OffsetRange { start: partition.start, end: partition.end }.out_of_range(at, offset)
}

impl Partition {
    /// Gives the entry's base offset.
    fn push(&mut self, entry: Entry) -> u64 {
        let base_offset = self.end;
        self.end += entry.rows() as u64;
        let placed = Placed { base_offset, next_offset: self.end, offsets: None, entry: Arc::new(entry) };
        self.entries.push(Stored { placed, met_ms: None });
        base_offset
    }

    fn trim(&mut self, entries: usize) -> u64 {
        self.entries.drain(..entries);
        if entries > 0 {
            self.start = self.entries.first().map_or(self.end, |stored| stored.placed.base_offset);
        }
        entries as u64
    }

    /// How many of the oldest entries [`Cleanup::Delete`] takes.
    fn overdue(&self, retention_ms: Option<i64>, retention_bytes: Option<u64>, now_ms: i64) -> usize {
        let old = |stored: &&Stored| match (stored.placed.entry.payload.max_timestamp_ms(), retention_ms) {
            (Some(newest), Some(retention)) => newest < now_ms.saturating_sub(retention),
            _ => false,
        };
        let too_old = self.entries.iter().take_while(old).count();
        let mut bytes: u64 = self.entries[too_old..].iter().map(|stored| stored.placed.entry.bytes() as u64).sum();
        let too_many = self.entries[too_old..]
            .iter()
            .take(self.entries.len().saturating_sub(too_old + 1))
            .take_while(|stored| {
                let over = retention_bytes.is_some_and(|retention| bytes > retention);
                bytes -= stored.placed.entry.bytes() as u64;
                over
            })
            .count();
        too_old + too_many
    }

    /// Gives how many rows went.
    fn compact(&mut self, key_columns: &[String], now_ms: i64) -> Result<u64> {
        let mut compaction = Compaction::new(key_columns, now_ms);
        let mut older = std::mem::take(&mut self.entries);
        let Some(newest) = older.pop() else { return Ok(0) };
        compaction.newest(&newest.placed.entry)?;
        self.entries.push(newest);
        let mut gone = 0;
        while let Some(mut stored) = older.pop() {
            let before = stored.placed.entry.rows();
            match compaction.older(&stored.placed.entry, stored.met_ms)? {
                Outcome::Keep => {}
                Outcome::Mark => stored.met_ms = Some(now_ms),
                Outcome::Rewrite { entry, kept, marked } => {
                    stored.placed = stored.placed.rewritten(entry, &kept);
                    stored.met_ms = if marked { Some(now_ms) } else { stored.met_ms };
                    gone += (before - stored.placed.entry.rows()) as u64;
                }
                Outcome::Remove => {
                    gone += before as u64;
                    continue;
                }
            }
            self.entries.push(stored);
        }
        self.entries.reverse();
        Ok(gone)
    }
}

impl Log for MemoryLog {
    fn create_topic(&self, name: &str, config: &TopicConfig) -> Result<()> {
        assert!(config.partitions > 0, "a topic has at least one partition");
        let mut topics = self.topics.lock();
        if topics.topics.contains_key(name) {
            return Err(Error::TopicExists(name.to_owned()));
        }
        let partitions = (0..config.partitions).map(|_| Arc::default()).collect();
        topics.topics.insert(name.into(), Arc::new(Topic { config: config.clone(), partitions }));
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<()> {
        self.topics.lock().topics.remove(name).map(|_| ()).ok_or_else(|| Error::UnknownTopic(name.to_owned()))
    }

    fn topics(&self) -> Result<Vec<TopicInfo>> {
        let topics = self.topics.lock();
        Ok(topics.topics.iter().map(|(name, topic)| TopicInfo { name: name.clone(), config: topic.config.clone() }).collect())
    }

    fn topic(&self, name: &str) -> Result<TopicInfo> {
        let topics = self.topics.lock();
        Ok(TopicInfo { name: name.into(), config: topics.topic(name)?.config.clone() })
    }

    fn offsets(&self, partition: &TopicPartition) -> Result<OffsetRange> {
        self.topics.lock().offsets(partition)
    }

    fn append(&self, transaction: Transaction) -> Result<Vec<Appended>> {
        self.append_with(transaction, || ())
    }

    fn fetch(&self, partition: &TopicPartition, from: u64, limit: FetchLimit) -> Result<Fetch> {
        self.topics.lock().fetch(partition, from, limit)
    }

    fn trim(&self, before: &[(TopicPartition, u64)]) -> Result<()> {
        let mut topics = self.topics.lock();
        let mut trim = |at: &TopicPartition, before: u64| {
            let partition = topics.partition_mut(at)?;
            if before > partition.end {
                return Err(out_of_range(at, before, partition));
            }
            let entries = partition.entries.partition_point(|stored| stored.placed.next_offset <= before);
            partition.trim(entries);
            Ok(())
        };
        before.iter().map(|(at, before)| trim(at, *before)).fold(Ok(()), Result::and)
    }

    fn clean(&self, now_ms: i64) -> Result<Cleaned> {
        let mut topics = self.topics.lock();
        let mut cleaned = Cleaned::default();
        for topic in topics.topics.values_mut().map(Arc::make_mut) {
            for partition in topic.partitions.iter_mut().map(Arc::make_mut) {
                match topic.config.cleanup {
                    Cleanup::Delete { retention_ms, retention_bytes } => {
                        let entries = partition.overdue(retention_ms, retention_bytes, now_ms);
                        cleaned.entries_deleted += partition.trim(entries);
                    }
                    Cleanup::Compact { retention_ms } => {
                        let entries = partition.overdue(retention_ms, None, now_ms);
                        cleaned.entries_deleted += partition.trim(entries);
                        cleaned.rows_compacted += partition.compact(&topic.config.key_columns, now_ms)?;
                    }
                }
            }
        }
        Ok(cleaned)
    }

    fn subscribe(&self, notify: Notify) {
        self.subscribers.write().push(notify);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::log_conformance!(((), Arc::new(MemoryLog::new())));
    crate::log_local_conformance!(((), Arc::new(MemoryLog::new())));

    #[test]
    fn what_is_applied_with_an_append_is_not_applied_when_it_is_refused() {
        let log = MemoryLog::new();
        let target = TopicPartition::new("t", 0);
        let append = || {
            let entry = Entry::control(0, crate::Control { stream_time_ms: 0, idle: false });
            Transaction { appends: vec![crate::Append { target: target.clone(), entry }] }
        };
        let mut applied = 0;
        log.append_with(append(), || applied += 1).unwrap_err();
        assert_eq!(applied, 0);
        log.create_topic("t", &TopicConfig::keep(1)).unwrap();
        log.append_with(append(), || applied += 1).unwrap();
        assert_eq!(applied, 1);
    }
}
