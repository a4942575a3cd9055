//! Entries read from the cache and from the disk.

use std::sync::Arc;

use millpond_log::{Error, FetchLimit, Fetched, Placed, Result};
use millpond_state_rocksdb::rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions};
use millpond_state_rocksdb::{Database, Family, Moment};
use parking_lot::Mutex;

use crate::cache::{Cache, Gathered};
use crate::coalesce::coalesce;
use crate::codec::Head;
use crate::embedded::storage;
use crate::schemas::Schemas;
use crate::topics::{entry_key, last_offset, partition_bounds};

/// What it takes to read an entry: shared by the log and its snapshots.
#[derive(Debug)]
pub struct Entries {
    pub database: Arc<Database>,
    pub schemas: Schemas,
    pub cache: Mutex<Cache>,
}

/// An entry's head as it lies on disk.
pub struct Found {
    pub last_offset: u64,
    pub head: Head,
    /// The payload, when it is small.
    inline: Vec<u8>,
}

impl Found {
    /// Its value in `log` with the time its tombstones were met.
    pub fn marked(&self, met_ms: i64) -> Vec<u8> {
        let mut head = self.head.clone();
        head.met_ms = Some(met_ms);
        let mut value = head.encode();
        value.extend_from_slice(&self.inline);
        value
    }

    pub fn base_offset(&self) -> u64 {
        (self.last_offset + 1).saturating_sub(u64::from(self.head.span))
    }
}

/// The entries of one partition at one moment.
pub struct Cursor<'a> {
    entries: &'a Entries,
    moment: &'a Moment,
    place: (u32, u32),
    /// The cache's, before the moment was taken; `None` keeps nothing there.
    generation: Option<u64>,
    rows: DBRawIteratorWithThreadMode<'a, DB>,
}

impl Entries {
    pub fn cursor<'a>(&'a self, topic: u32, partition: u32, moment: &'a Moment) -> Cursor<'a> {
        let mut options: ReadOptions = moment.read_options();
        let [first, behind] = partition_bounds(topic, partition);
        options.set_iterate_lower_bound(first);
        options.set_iterate_upper_bound(behind);
        let rows = self.database.rocks().raw_iterator_cf_opt(self.database.family(Family::Log), options);
        Cursor { entries: self, moment, place: (topic, partition), generation: None, rows }
    }

    /// The entries of `from..end`; `moment` gives the view that is read when the cache does not have them all. It must not be older than
    /// the call when the cache is to `keep` what is read.
    pub fn fetch<'m>(
        &self,
        (topic, partition): (u32, u32),
        from: u64,
        end: u64,
        limit: FetchLimit,
        keep: bool,
        moment: impl FnOnce() -> std::borrow::Cow<'m, Arc<Moment>>,
    ) -> Result<Vec<Fetched>> {
        let mut gathered = Gathered::new(from, limit);
        if from >= end {
            return Ok(gathered.fetched);
        }
        let generation = {
            let cache = self.cache.lock();
            cache.gather(topic, partition, end, &mut gathered);
            cache.generation
        };
        if gathered.is_full || gathered.next >= end {
            return coalesce(gathered.fetched);
        }
        let moment = moment();
        let mut cursor = self.cursor(topic, partition, &moment);
        cursor.generation = keep.then_some(generation);
        cursor.seek(gathered.next);
        while let Some(found) = cursor.found()? {
            if found.last_offset >= end {
                break;
            }
            let (placed, bytes) = cursor.read(&found)?;
            gathered.take(&placed, bytes);
            if gathered.is_full {
                break;
            }
            cursor.next();
        }
        coalesce(gathered.fetched)
    }
}

impl Cursor<'_> {
    /// To the entry with that offset, or the next one.
    pub fn seek(&mut self, offset: u64) {
        self.rows.seek(entry_key(self.place.0, self.place.1, offset));
    }

    pub fn seek_to_last(&mut self) {
        self.rows.seek_to_last();
    }

    pub fn next(&mut self) {
        self.rows.next();
    }

    pub fn previous(&mut self) {
        self.rows.prev();
    }

    /// The entry it stands at.
    pub fn found(&self) -> Result<Option<Found>> {
        let Some((key, value)) = self.rows.item() else {
            self.rows.status().map_err(storage)?;
            return Ok(None);
        };
        let (head, inline) = Head::decode(value)?;
        Ok(Some(Found { last_offset: last_offset(key)?, head, inline: inline.to_vec() }))
    }

    /// The entry with its rows, and its bytes in memory.
    pub fn read(&self, found: &Found) -> Result<(Placed, usize)> {
        let (topic, partition) = self.place;
        if let Some(cached) = self.entries.cache.lock().get(topic, partition, found.last_offset) {
            return Ok(cached);
        }
        let entry = if found.head.in_blob() {
            let key = entry_key(topic, partition, found.last_offset);
            let database = &self.entries.database;
            let options = self.moment.read_options();
            let payload = database.rocks().get_pinned_cf_opt(database.family(Family::Blobs), key, &options).map_err(storage)?;
            let payload = payload.ok_or_else(|| Error::Corrupt(format!("the rows up to offset {} are missing", found.last_offset)))?;
            found.head.entry(&payload, &self.entries.schemas)?
        } else {
            found.head.entry(&found.inline, &self.entries.schemas)?
        };
        let base_offset = found.base_offset();
        let offsets = found.head.offsets.as_ref().map(|offsets| offsets.iter().map(|offset| base_offset + u64::from(*offset)).collect());
        let bytes = entry.bytes();
        let placed = Placed { base_offset, next_offset: found.last_offset + 1, offsets, entry: Arc::new(entry) };
        if let Some(generation) = self.generation {
            let mut cache = self.entries.cache.lock();
            if cache.generation == generation {
                cache.insert(topic, partition, placed.clone(), bytes);
            }
        }
        Ok((placed, bytes))
    }
}
