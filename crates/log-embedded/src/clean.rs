//! Retention and compaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millpond_log::compaction::{Compaction, Outcome, TOMBSTONE_MS};
use millpond_log::{Cleaned, Cleanup, Result, TopicPartition};
use millpond_state_rocksdb::Family;
use millpond_state_rocksdb::rocksdb::WriteBatch;

use crate::Embedded;
use crate::codec;
use crate::embedded::log_error;
use crate::entries::Found;
use crate::topics::{Compacted, Topic, entry_key, find, out_of_range, put_start};

/// A compaction writes what it has so far beyond this.
const STAGED_BYTES_MAX: usize = 64 << 20;

impl Embedded {
    pub(crate) fn clean_topics(&self, now_ms: i64) -> Result<Cleaned> {
        let table = self.topics.read().clone();
        let mut cleaned = Cleaned::default();
        for topic in table.values() {
            for partition in 0..topic.info.config.partitions {
                match topic.info.config.cleanup {
                    Cleanup::Delete { retention_ms: None, retention_bytes: None } => {}
                    Cleanup::Delete { retention_ms, retention_bytes } => {
                        cleaned.entries_deleted += self.retain(topic, partition, retention_ms, retention_bytes, now_ms)?;
                    }
                    Cleanup::Compact { retention_ms } => {
                        if retention_ms.is_some() {
                            cleaned.entries_deleted += self.retain(topic, partition, retention_ms, None, now_ms)?;
                        }
                        cleaned.rows_compacted += self.compact(topic, partition, now_ms)?;
                    }
                }
            }
        }
        if self.has_garbage.swap(false, Ordering::SeqCst) {
            self.entries.database.reclaim().map_err(log_error)?;
        }
        Ok(cleaned)
    }

    pub(crate) fn trim_partition(&self, at: &TopicPartition, before: u64) -> Result<()> {
        let topic = find(&self.topics.read(), &at.topic)?.clone();
        let range = topic.partition(at.partition)?.range();
        if before > range.end {
            return Err(out_of_range(at, before, range));
        }
        self.delete_before(&topic, at.partition, before)
    }

    /// Deletes whole entries that end at or before the offset.
    fn delete_before(&self, topic: &Arc<Topic>, partition: u32, before: u64) -> Result<()> {
        let _turn = self.turn.lock();
        let published = topic.partition(partition)?;
        if !self.is_current(topic) || before <= published.start() {
            return Ok(());
        }
        let database = &self.entries.database;
        let moment = database.snapshot();
        let mut cursor = self.entries.cursor(topic.id, partition, &moment);
        cursor.seek(before);
        // What compaction has left may begin behind the offset it covered first; nothing was there to be read.
        let start = cursor.found()?.map_or(published.end(), |first| first.base_offset().min(before));
        let [first, behind] = [entry_key(topic.id, partition, 0), entry_key(topic.id, partition, before)];
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(database.family(Family::Log), first, behind);
        batch.delete_range_cf(database.family(Family::Blobs), first, behind);
        put_start(database, &mut batch, topic.id, partition, start);
        let start_before = published.start();
        published.publish_start(start);
        if let Err(error) = database.write(batch) {
            published.publish_start(start_before);
            return Err(log_error(error));
        }
        self.entries.cache.lock().trim(topic.id, partition, before);
        self.has_garbage.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn is_current(&self, topic: &Arc<Topic>) -> bool {
        self.topics.read().get(&topic.info.name).is_some_and(|current| Arc::ptr_eq(current, topic))
    }

    /// Gives how many entries went.
    fn retain(
        &self,
        topic: &Arc<Topic>,
        partition: u32,
        retention_ms: Option<i64>,
        retention_bytes: Option<u64>,
        now_ms: i64,
    ) -> Result<u64> {
        let end = topic.partition(partition)?.end();
        let moment = self.entries.database.snapshot();
        let bytes_of = |found: &Found| u64::from(found.head.payload_bytes);
        let mut bytes = 0;
        if retention_bytes.is_some() {
            let mut all = self.entries.cursor(topic.id, partition, &moment);
            all.seek(0);
            while let Some(found) = all.found()? {
                bytes += bytes_of(&found);
                all.next();
            }
        }
        let mut cursor = self.entries.cursor(topic.id, partition, &moment);
        cursor.seek(0);
        let (mut before, mut entries) = (0, 0);
        while let Some(found) = cursor.found()?.filter(|found| found.last_offset < end) {
            let newest_ms = found.head.max_timestamp_ms;
            let too_old = newest_ms.zip(retention_ms).is_some_and(|(newest, retention)| newest < now_ms.saturating_sub(retention));
            let is_last = found.last_offset + 1 == end;
            let too_many = !is_last && retention_bytes.is_some_and(|retention| bytes > retention);
            if !too_old && !too_many {
                break;
            }
            bytes = bytes.saturating_sub(bytes_of(&found));
            before = found.last_offset + 1;
            entries += 1;
            cursor.next();
        }
        if entries > 0 {
            self.delete_before(topic, partition, before)?;
        }
        Ok(entries)
    }

    /// Gives how many rows went.
    fn compact(&self, topic: &Arc<Topic>, partition: u32, now_ms: i64) -> Result<u64> {
        let published = topic.partition(partition)?;
        let end = published.end();
        let last = *published.compacted.lock();
        if last.is_some_and(|last| !is_due(last, end, now_ms)) {
            return Ok(0);
        }
        let moment = self.entries.database.snapshot();
        let mut compaction = Compaction::new(&topic.info.config.key_columns, now_ms);
        let mut cursor = self.entries.cursor(topic.id, partition, &moment);
        cursor.seek_to_last();
        let (mut staged, mut staged_bytes) = (Vec::new(), 0);
        let (mut compacted, mut gone, mut is_newest) = (Compacted { end, ..Compacted::default() }, 0, true);
        while let Some(found) = cursor.found()? {
            let (placed, bytes) = cursor.read(&found)?;
            let rows = placed.entry.rows() as u64;
            let outcome = if std::mem::take(&mut is_newest) {
                compaction.newest(&placed.entry).map(|()| Outcome::Keep)?
            } else {
                compaction.older(&placed.entry, found.head.met_ms)?
            };
            let (left, met_ms) = match &outcome {
                Outcome::Keep => (rows, found.head.met_ms),
                Outcome::Mark => (rows, Some(now_ms)),
                Outcome::Rewrite { entry, marked, .. } => (entry.rows() as u64, if *marked { Some(now_ms) } else { found.head.met_ms }),
                Outcome::Remove => (0, None),
            };
            gone += rows - left;
            compacted.rows += left;
            let due = met_ms.map(|met| met.saturating_add(TOMBSTONE_MS)).filter(|due| *due > now_ms);
            compacted.tombstones_due_ms = compacted.tombstones_due_ms.into_iter().chain(due).min();
            if outcome != Outcome::Keep {
                staged_bytes += bytes;
                staged.push((found, outcome));
            }
            if staged_bytes > STAGED_BYTES_MAX && !compaction.tombstones_gone() {
                staged_bytes = 0;
                self.rewrite(topic, partition, now_ms, std::mem::take(&mut staged))?;
            }
            cursor.previous();
        }
        self.rewrite(topic, partition, now_ms, staged)?;
        *published.compacted.lock() = Some(compacted);
        Ok(gone)
    }

    /// Writes what a compaction has decided: all of it or nothing.
    fn rewrite(&self, topic: &Arc<Topic>, partition: u32, now_ms: i64, staged: Vec<(Found, Outcome)>) -> Result<()> {
        if staged.is_empty() {
            return Ok(());
        }
        let database = &self.entries.database;
        let (log, blobs) = (database.family(Family::Log), database.family(Family::Blobs));
        let mut batch = WriteBatch::default();
        let mut changed = Vec::with_capacity(staged.len());
        for (found, outcome) in staged {
            let key = entry_key(topic.id, partition, found.last_offset);
            changed.push((found.last_offset, found.base_offset()));
            match outcome {
                Outcome::Keep => {}
                Outcome::Mark => batch.put_cf(log, key, found.marked(now_ms)),
                Outcome::Remove => {
                    batch.delete_cf(log, key);
                    batch.delete_cf(blobs, key);
                }
                Outcome::Rewrite { entry, kept, marked } => {
                    let (_, mut encoded) = codec::encode(entry, &self.entries.schemas)?;
                    let before = found.head.offsets.as_deref();
                    encoded.head.offsets = Some(kept.iter().map(|row| before.map_or(*row as u32, |offsets| offsets[*row])).collect());
                    encoded.head.span = found.head.span;
                    encoded.head.met_ms = if marked { Some(now_ms) } else { found.head.met_ms };
                    let (head, blob) = encoded.values();
                    batch.put_cf(log, key, head);
                    match blob {
                        Some(blob) => batch.put_cf(blobs, key, blob),
                        None => batch.delete_cf(blobs, key),
                    }
                }
            }
        }
        let _turn = self.turn.lock();
        let start = topic.partition(partition)?.start();
        if !self.is_current(topic) || changed.iter().any(|(_, base_offset)| *base_offset < start) {
            // It was deleted or trimmed meanwhile: the next cleaning looks again.
            return Ok(());
        }
        database.write(batch).map_err(log_error)?;
        let mut cache = self.entries.cache.lock();
        changed.iter().for_each(|(last_offset, _)| cache.remove(topic.id, partition, *last_offset));
        self.has_garbage.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// Worth the reading: half as much again has come, or a tombstone may go.
fn is_due(last: Compacted, end: u64, now_ms: i64) -> bool {
    end - last.end > last.rows / 2 || last.tombstones_due_ms.is_some_and(|due| due <= now_ms)
}
