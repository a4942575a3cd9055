//! The topics: names and configurations on disk, ids and offsets in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millpond_log::{Cleanup, Error, OffsetRange, Result, TopicConfig, TopicInfo, TopicPartition};
use millpond_state_rocksdb::rocksdb::{ReadOptions, WriteBatch};
use millpond_state_rocksdb::{Database, Family};
use parking_lot::Mutex;

use crate::embedded::{log_error, storage};

const NAME_PREFIX: &[u8] = b"topic/";
const NEXT_ID_KEY: &[u8] = b"next topic";
const START_PREFIX: &[u8] = b"start/";

/// All topics at one moment.
pub type Table = BTreeMap<Arc<str>, Arc<Topic>>;

#[derive(Debug)]
pub struct Topic {
    /// Never given twice, so that a topic made again has nothing of the one before.
    pub id: u32,
    pub info: TopicInfo,
    pub partitions: Box<[Partition]>,
}

/// What is published of a partition.
#[derive(Debug, Default)]
pub struct Partition {
    start: AtomicU64,
    end: AtomicU64,
    /// How the last cleaning of a compacted topic left it.
    pub compacted: Mutex<Option<Compacted>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compacted {
    pub end: u64,
    pub rows: u64,
    /// When the first of its tombstones may go.
    pub tombstones_due_ms: Option<i64>,
}

impl Partition {
    pub fn range(&self) -> OffsetRange {
        OffsetRange { start: self.start(), end: self.end() }
    }

    pub fn start(&self) -> u64 {
        self.start.load(Ordering::SeqCst)
    }

    pub fn end(&self) -> u64 {
        self.end.load(Ordering::SeqCst)
    }

    pub fn publish_start(&self, start: u64) {
        self.start.store(start, Ordering::SeqCst);
    }

    pub fn publish_end(&self, end: u64) {
        self.end.store(end, Ordering::SeqCst);
    }
}

impl Topic {
    fn new(id: u32, name: &str, config: TopicConfig) -> Topic {
        let partitions = (0..config.partitions).map(|_| Partition::default()).collect();
        Topic { id, info: TopicInfo { name: name.into(), config }, partitions }
    }

    pub fn partition(&self, partition: u32) -> Result<&Partition> {
        let partitions = self.info.config.partitions;
        let unknown = || Error::UnknownPartition { topic: self.info.name.to_string(), partition, partitions };
        self.partitions.get(partition as usize).ok_or_else(unknown)
    }
}

/// The topic of that name.
pub fn find<'a>(table: &'a Table, name: &str) -> Result<&'a Arc<Topic>> {
    table.get(name).ok_or_else(|| Error::UnknownTopic(name.to_owned()))
}

pub fn out_of_range(at: &TopicPartition, offset: u64, range: OffsetRange) -> Error {
    range.out_of_range(at, offset)
}

/// The key of the entry whose last offset it is; also where the entries from that offset on begin.
pub fn entry_key(topic: u32, partition: u32, last_offset: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&topic.to_be_bytes());
    key[4..8].copy_from_slice(&partition.to_be_bytes());
    key[8..].copy_from_slice(&last_offset.to_be_bytes());
    key
}

pub fn last_offset(key: &[u8]) -> Result<u64> {
    key.last_chunk::<8>().map(|offset| u64::from_be_bytes(*offset)).ok_or_else(|| Error::Corrupt("an entry's key is short".to_owned()))
}

/// Bounds of a partition's entries.
pub fn partition_bounds(topic: u32, partition: u32) -> [[u8; 16]; 2] {
    let behind = match partition.checked_add(1) {
        Some(partition) => entry_key(topic, partition, 0),
        None => entry_key(topic + 1, 0, 0),
    };
    [entry_key(topic, partition, 0), behind]
}

fn start_key(topic: u32, partition: u32) -> Vec<u8> {
    [START_PREFIX, &entry_key(topic, partition, 0)[..8]].concat()
}

/// The offset behind the last entry that `options` shows; `None` without entries.
pub fn end_of(database: &Database, topic: u32, partition: u32, mut options: ReadOptions) -> Result<Option<u64>> {
    let [first, behind] = partition_bounds(topic, partition);
    options.set_iterate_lower_bound(first);
    options.set_iterate_upper_bound(behind);
    let mut entries = database.rocks().raw_iterator_cf_opt(database.family(Family::Log), options);
    entries.seek_to_last();
    let end = entries.key().map(last_offset).transpose()?.map(|last| last + 1);
    entries.status().map_err(storage)?;
    Ok(end)
}

/// The start that `options` shows.
pub fn start_of(database: &Database, topic: u32, partition: u32, options: &ReadOptions) -> Result<u64> {
    let found = database.rocks().get_cf_opt(database.family(Family::Meta), start_key(topic, partition), options).map_err(storage)?;
    found.map_or(Ok(0), |start| start[..].try_into().map(u64::from_be_bytes).map_err(|_| Error::Corrupt("a start".to_owned())))
}

pub fn put_start(database: &Database, batch: &mut WriteBatch, topic: u32, partition: u32, start: u64) {
    batch.put_cf(database.family(Family::Meta), start_key(topic, partition), start.to_be_bytes());
}

pub fn load(database: &Database) -> Result<Table> {
    let mut table = Table::new();
    for (key, value) in database.metas(NAME_PREFIX).map_err(log_error)? {
        let name = std::str::from_utf8(&key[NAME_PREFIX.len()..]).map_err(|error| Error::Corrupt(error.to_string()))?;
        let (id, config) = decode_config(&value).ok_or_else(|| Error::Corrupt(format!("the configuration of topic \"{name}\"")))?;
        let topic = Topic::new(id, name, config);
        for (number, partition) in topic.partitions.iter().enumerate() {
            let start = start_of(database, id, number as u32, &ReadOptions::default())?;
            partition.publish_start(start);
            partition.publish_end(end_of(database, id, number as u32, ReadOptions::default())?.unwrap_or(start));
        }
        table.insert(topic.info.name.clone(), Arc::new(topic));
    }
    Ok(table)
}

/// Writes a new topic. One at a time.
pub fn create(database: &Database, name: &str, config: &TopicConfig) -> Result<Topic> {
    let next = database.meta(NEXT_ID_KEY).map_err(log_error)?;
    let id = next.and_then(|id| id[..].try_into().ok()).map_or(1, u32::from_be_bytes);
    let meta = database.family(Family::Meta);
    let mut batch = WriteBatch::default();
    batch.put_cf(meta, NEXT_ID_KEY, (id + 1).to_be_bytes());
    batch.put_cf(meta, [NAME_PREFIX, name.as_bytes()].concat(), encode_config(id, config));
    database.write(batch).map_err(log_error)?;
    Ok(Topic::new(id, name, config.clone()))
}

/// Deletes a topic and its entries.
pub fn delete(database: &Database, topic: &Topic) -> Result<()> {
    let [first, behind] = [entry_key(topic.id, 0, 0), entry_key(topic.id + 1, 0, 0)];
    let mut batch = WriteBatch::default();
    batch.delete_cf(database.family(Family::Meta), [NAME_PREFIX, topic.info.name.as_bytes()].concat());
    batch.delete_range_cf(database.family(Family::Meta), start_key(topic.id, 0), start_key(topic.id + 1, 0));
    batch.delete_range_cf(database.family(Family::Log), first, behind);
    batch.delete_range_cf(database.family(Family::Blobs), first, behind);
    database.write(batch).map_err(log_error)
}

/// id(4) partitions(4), then 0 retention(1+8) retention bytes(1+8), or 1, or 2 retention(8); then the key columns: length(4) name.
fn encode_config(id: u32, config: &TopicConfig) -> Vec<u8> {
    let mut bytes = [id.to_be_bytes(), config.partitions.to_be_bytes()].concat();
    match config.cleanup {
        Cleanup::Delete { retention_ms, retention_bytes } => {
            bytes.push(0);
            for number in [retention_ms.map(i64::to_be_bytes), retention_bytes.map(u64::to_be_bytes)] {
                bytes.push(u8::from(number.is_some()));
                bytes.extend_from_slice(&number.unwrap_or_default());
            }
        }
        Cleanup::Compact { retention_ms: None } => bytes.push(1),
        Cleanup::Compact { retention_ms: Some(retention_ms) } => {
            bytes.push(2);
            bytes.extend_from_slice(&retention_ms.to_be_bytes());
        }
    }
    for column in &config.key_columns {
        bytes.extend_from_slice(&(column.len() as u32).to_be_bytes());
        bytes.extend_from_slice(column.as_bytes());
    }
    bytes
}

fn decode_config(bytes: &[u8]) -> Option<(u32, TopicConfig)> {
    let (id, rest) = bytes.split_first_chunk::<4>()?;
    let (partitions, rest) = rest.split_first_chunk::<4>()?;
    let (cleanup, mut rest) = rest.split_first()?;
    let mut optional = || -> Option<Option<[u8; 8]>> {
        let (is_some, after) = rest.split_first()?;
        let (number, after) = after.split_first_chunk::<8>()?;
        rest = after;
        Some((*is_some != 0).then_some(*number))
    };
    let cleanup = match cleanup {
        0 => Cleanup::Delete { retention_ms: optional()?.map(i64::from_be_bytes), retention_bytes: optional()?.map(u64::from_be_bytes) },
        1 => Cleanup::Compact { retention_ms: None },
        2 => {
            let (retention_ms, after) = rest.split_first_chunk::<8>()?;
            rest = after;
            Cleanup::Compact { retention_ms: Some(i64::from_be_bytes(*retention_ms)) }
        }
        _ => return None,
    };
    let mut key_columns = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        key_columns.push(String::from_utf8(name.to_vec()).ok()?);
        rest = after;
    }
    let partitions = u32::from_be_bytes(*partitions);
    Some((u32::from_be_bytes(*id), TopicConfig { partitions, cleanup, key_columns }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_come_back() {
        let delete = |retention_ms, retention_bytes| Cleanup::Delete { retention_ms, retention_bytes };
        let compact = |retention_ms| Cleanup::Compact { retention_ms };
        for cleanup in [delete(None, None), delete(Some(-1), None), delete(None, Some(9)), compact(None), compact(Some(9))] {
            let config = TopicConfig { partitions: 7, cleanup, key_columns: vec!["a".to_owned(), "größe".to_owned()] };
            let bytes = encode_config(3, &config);
            assert_eq!(decode_config(&bytes), Some((3, config)));
            assert_eq!(decode_config(&bytes[..bytes.len() - 1]), None);
        }
    }
}
