//! Brings into the database what the log has and it has not.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use millpond_log::opaque::Columns;
use millpond_log::{
    Append, Cleanup, Entry, Error as LogError, FetchLimit, OffsetRange, Payload, TopicConfig, TopicPartition, Transaction, opaque,
};
use millpond_state::{Backend, Error, KeyRange, Reader, Result, StoreConfig, StoreId, WriteSet, Writes};
use millpond_state_rocksdb::Family;
use millpond_state_rocksdb::rocksdb::WriteBatch;

use crate::backend::{Changelog, Changelogged, set_of};
use crate::offsets::{self, Of};
use crate::topics;

/// So much is applied at a time.
const STEP: FetchLimit = FetchLimit::of(65_536, 16 << 20);
const POSITION_PREFIX: &[u8] = b"changelog/";

/// How far the rows of a store's partition are in its changelog.
fn position_key(store: StoreId, partition: u32) -> Vec<u8> {
    [POSITION_PREFIX, &store.0.to_be_bytes(), &partition.to_be_bytes()].concat()
}

/// A place in a changelog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Of the changelog.
    pub number: u64,
    pub next: u64,
}

pub(crate) fn put_position(backend: &Changelogged, store: StoreId, partition: u32, position: Position, batch: &mut WriteBatch) {
    let value = [position.number.to_be_bytes(), position.next.to_be_bytes()].concat();
    batch.put_cf(backend.database.family(Family::Meta), position_key(store, partition), value);
}

fn position(backend: &Changelogged, store: StoreId, partition: u32) -> Result<Option<Position>> {
    let Some(value) = backend.database.meta(&position_key(store, partition))? else { return Ok(None) };
    match value.as_chunks::<8>() {
        ([number, next], []) => Ok(Some(Position { number: u64::from_be_bytes(*number), next: u64::from_be_bytes(*next) })),
        _ => Err(Error::Storage(format!("the position of store {} cannot be read", store.0))),
    }
}

pub(crate) fn forget_positions(backend: &Changelogged, store: StoreId) -> Result<()> {
    let meta = backend.database.family(Family::Meta);
    let mut batch = WriteBatch::default();
    batch.delete_range_cf(meta, position_key(store, 0), position_key(StoreId(store.0 + 1), 0));
    backend.database.write(batch)
}

/// Rows go from a changelog so long after they have expired: clocks may differ, and events be late.
const RETENTION_SLACK_MS: i64 = 86_400_000;

/// Makes a store's changelog, or finds it as it has to be.
pub(crate) fn ensure(backend: &Changelogged, store: &str, config: StoreConfig) -> Result<Changelog> {
    let topic = topics::changelog(&backend.service_id, store);
    let retention_ms = config.retention_ms.map(|retention_ms| retention_ms.saturating_add(RETENTION_SLACK_MS));
    let wanted = TopicConfig { cleanup: Cleanup::Compact { retention_ms }, ..TopicConfig::compact(config.partitions, Vec::new()) };
    let number_of = || backend.numbers.lock().get(store).copied();
    if number_of().is_some() && matches!(backend.log.topic(&topic), Err(LogError::UnknownTopic(_))) {
        // Another process may have dropped the store a moment ago.
        backend.catch_up()?;
        if number_of().is_some() {
            return Err(Error::Storage(format!(
                "its changelog \"{topic}\" is gone, and with it the rows that the query had: ALTER QUERY … RESET makes them anew from its sources"
            )));
        }
    }
    let known = match backend.log.create_topic(&topic, &wanted) {
        Ok(()) => None,
        Err(LogError::TopicExists(_)) => {
            check(&topic, &backend.log.topic(&topic)?.config, &wanted)?;
            if number_of().is_none() {
                // Another process may have made it a moment ago.
                backend.catch_up()?;
            }
            number_of()
        }
        Err(error) => return Err(error.into()),
    };
    let number = match known {
        Some(number) => number,
        None => number(backend, store)?,
    };
    Ok(Changelog { topic: topic.into(), number })
}

/// A new one for a changelog that is new, or whose maker was gone before it could give it one.
fn number(backend: &Changelogged, store: &str) -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let number = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let record =
        opaque::Record { key: Some(&offsets::changelog_key(store)), value: Some(&number.to_be_bytes()), timestamp_ms: 1, headers: &[] };
    let append = Append { target: backend.offsets.clone(), entry: Entry::opaque(opaque::batch([record])) };
    backend.log.append(Transaction { appends: vec![append] })?;
    backend.numbers.lock().insert(store.to_owned(), number);
    Ok(number)
}

/// Whether a changelog that is there keeps what has to be restored; what it keeps beyond that does no harm.
fn check(topic: &str, found: &TopicConfig, wanted: &TopicConfig) -> Result<()> {
    let partitions = wanted.partitions;
    if found.partitions != partitions {
        let found = found.partitions;
        return Err(Error::Storage(format!(
            "its changelog \"{topic}\" has {found} partitions, not {partitions}: drop the query, or the topic"
        )));
    }
    if found.cleanup.keeps(wanted.cleanup) {
        return Ok(());
    }
    let settings = wanted.cleanup;
    Err(Error::Storage(format!("its changelog \"{topic}\" does not keep all rows that have to be restored: set its {settings}")))
}

/// A partition of a store with a changelog of its own.
pub(crate) fn partition(backend: &Changelogged, store: StoreId, changelog: &TopicPartition, number: u64) -> Result<()> {
    backend.log.settle(changelog)?;
    let OffsetRange { start, end } = backend.log.offsets(changelog)?;
    let reached = position(backend, store, changelog.partition)?;
    let mut next = match reached {
        Some(reached) if reached.number == number && (start..=end).contains(&reached.next) => reached.next,
        // The topic is another one now, or has gone on without us for too long: what is here is of no use.
        Some(reached) => {
            tracing::warn!(%changelog, reached = reached.next, start, end, "the state does not fit its changelog and is made anew from it");
            clear(backend, store, changelog.partition)?;
            start
        }
        None => start,
    };
    let mut rows = 0;
    // Where it was left behind the last commit, there is nothing to fetch.
    let end = if backend.log.may_lie_between(next, end) { end } else { next };
    let restore = (next < end).then(|| backend.restoring.begin((store, changelog.partition), next, end));
    while next < end {
        let fetch = backend.log.fetch(changelog, next, STEP)?;
        let mut writes = Writes::new(store, changelog.partition);
        for fetched in &fetch.entries {
            let records = records(changelog, &fetched.entry)?;
            for row in 0..records.timestamps.len() {
                let key = records.key(row).ok_or_else(|| corrupt(changelog))?;
                match records.value(row) {
                    Some(value) => writes.put(key, value),
                    None => writes.delete(key),
                }
            }
        }
        next = fetch.next_offset;
        rows += writes.len();
        let mut batch = WriteBatch::default();
        put_position(backend, store, changelog.partition, Position { number, next }, &mut batch);
        backend.database.commit(batch, &[&set_of(writes)])?;
        restore.iter().for_each(|restore| restore.reached(next));
    }
    if rows > 0 {
        tracing::info!(%changelog, rows, "restored from the changelog");
    }
    Ok(())
}

fn clear(backend: &Changelogged, store: StoreId, partition: u32) -> Result<()> {
    let mut keys = Writes::new(store, partition);
    backend.database.scan(store, partition, KeyRange::ALL, &mut |key, _| {
        keys.delete(key);
        std::ops::ControlFlow::Continue(())
    })?;
    backend.database.commit(WriteBatch::default(), &[&set_of(keys)])
}

/// What the offsets topic has got since this was last done, but of partitions that are written from here. What is not committed yet comes the next
/// time.
pub(crate) fn offsets(backend: &Changelogged) -> Result<()> {
    let mut reached = backend.reached.lock();
    if backend.passed_over.swap(false, Ordering::AcqRel) {
        *reached = 0;
    }
    let (changes, end) = changes(backend, *reached)?;
    apply(backend, changes, |store, partition| backend.is_foreign(store, partition))?;
    *reached = end;
    Ok(())
}

/// What the offsets topic has of one partition of a store that shares it.
pub(crate) fn shared_partition(backend: &Changelogged, name: &str, partition: u32) -> Result<()> {
    let wanted = (backend.database.open_store(name)?, partition);
    backend.log.settle(&backend.offsets)?;
    let (changes, _) = changes(backend, 0)?;
    apply(backend, changes, |store, partition| (store, partition) == wanted)
}

/// By key; without a value the key is gone.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn apply(backend: &Changelogged, changes: Changes, is_wanted: impl Fn(StoreId, u32) -> bool) -> Result<()> {
    let mut set = WriteSet::default();
    for (key, value) in changes {
        let corrupt = || corrupt(&backend.offsets);
        let of = offsets::read(&key).ok_or_else(corrupt)?;
        let (store, partition) = match of {
            Of::Row { store, partition, .. } | Of::Horizon { store, partition } => (store, partition),
            Of::Changelog { store } => {
                match value {
                    Some(value) => {
                        // There is one of that name, wherever its rows are.
                        backend.database.open_store(store)?;
                        backend.numbers.lock().insert(store.to_owned(), offsets::read_changelog(&value).ok_or_else(corrupt)?)
                    }
                    None => backend.numbers.lock().remove(store),
                };
                continue;
            }
        };
        let id = match (backend.database.find_store(store), &value) {
            (Some(id), _) => id,
            (None, Some(_)) => backend.database.open_store(store)?,
            (None, None) => continue,
        };
        if !is_wanted(id, partition) {
            continue;
        }
        match (of, value) {
            (Of::Row { key, .. }, value) => {
                let mut writes = Writes::new(id, partition);
                match value {
                    Some(value) => writes.put(key, &value),
                    None => writes.delete(key),
                }
                set.push(writes);
            }
            (Of::Horizon { .. }, Some(value)) => {
                set.expiries.push((id, partition, offsets::read_horizon(&value).ok_or_else(corrupt)?));
            }
            _ => {}
        }
    }
    backend.database.commit(WriteBatch::default(), &[&set])
}

/// The last change of each key of the offsets topic from `next` on, or from its beginning where that is later; and where it ends.
fn changes(backend: &Changelogged, next: u64) -> Result<(Changes, u64)> {
    let topic = &backend.offsets;
    let OffsetRange { start, end } = backend.log.offsets(topic)?;
    let (mut next, mut changes) = (next.max(start), Changes::new());
    while next < end {
        let fetch = backend.log.fetch(topic, next, STEP)?;
        next = fetch.next_offset;
        for fetched in &fetch.entries {
            let records = records(topic, &fetched.entry)?;
            for row in 0..records.timestamps.len() {
                let key = records.key(row).ok_or_else(|| corrupt(topic))?;
                changes.insert(key.to_vec(), records.value(row).map(<[u8]>::to_vec));
            }
        }
    }
    Ok((changes, next))
}

/// Takes what the offsets topic has of stores back.
pub(crate) fn forget(backend: &Changelogged, stores: &[&str]) -> Result<()> {
    if stores.is_empty() {
        return Ok(());
    }
    let is_of = |key: &[u8]| match offsets::read(key) {
        Some(Of::Row { store, .. } | Of::Horizon { store, .. } | Of::Changelog { store }) => stores.contains(&store),
        None => false,
    };
    backend.log.settle(&backend.offsets)?;
    let (changes, _) = changes(backend, 0)?;
    let keys: Vec<Vec<u8>> = changes.into_iter().filter(|(key, value)| value.is_some() && is_of(key)).map(|(key, _)| key).collect();
    delete(backend, &keys)?;
    let mut numbers = backend.numbers.lock();
    numbers.retain(|store, _| !stores.contains(&store.as_str()));
    Ok(())
}

/// Takes back what the offsets topic has of the partitions of a store that are written from here.
pub(crate) fn take_back(backend: &Changelogged, name: &str) -> Result<()> {
    let Some(store) = backend.database.find_store(name) else { return Ok(()) };
    let mut keys = Vec::new();
    for partition in backend.own_partitions(store) {
        if topics::is_shared(name) {
            backend.database.scan(store, partition, KeyRange::ALL, &mut |key, _| {
                keys.push(offsets::row_key(name, partition, key));
                std::ops::ControlFlow::Continue(())
            })?;
        }
        if backend.database.expiry(store, partition).is_some() {
            keys.push(offsets::horizon_key(name, partition));
        }
    }
    delete(backend, &keys)
}

/// Deletes rows of the offsets topic.
fn delete(backend: &Changelogged, keys: &[Vec<u8>]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let gone = keys.iter().map(|key| opaque::Record { key: Some(key), value: None, timestamp_ms: 1, headers: &[] });
    let append = Append { target: backend.offsets.clone(), entry: Entry::opaque(opaque::batch(gone)) };
    backend.log.append(Transaction { appends: vec![append] })?;
    Ok(())
}

fn records<'a>(topic: &TopicPartition, entry: &'a Entry) -> Result<Columns<'a>> {
    match &entry.payload {
        Payload::Opaque(rows) => Ok(Columns::of(rows)?),
        _ => Err(corrupt(topic)),
    }
}

fn corrupt(topic: &TopicPartition) -> Error {
    Error::Log(LogError::Corrupt(format!("{topic} has a record that Millpond did not write")))
}
