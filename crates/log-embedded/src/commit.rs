//! Commits: whoever has the turn writes everything that waits, so that many small commits share one write to the disk.

use std::sync::Arc;

use hashbrown::HashMap;
use millpond_log::{Appended, Entry, Placed, TopicPartition, Transaction};
use millpond_state::{Error, Result, WriteSet};
use millpond_state_rocksdb::Family;
use millpond_state_rocksdb::rocksdb::WriteBatch;
use parking_lot::Mutex;

use crate::Embedded;
use crate::codec::{self, Encoded};
use crate::topics::{Topic, entry_key, find};

/// Commits that wait for the turn.
#[derive(Debug, Default)]
pub struct Queue(Mutex<Vec<Arc<Waiting>>>);

#[derive(Debug)]
struct Waiting {
    work: Mutex<Option<Work>>,
    outcome: Mutex<Option<Result<Vec<Appended>>>>,
}

#[derive(Debug)]
struct Work {
    appends: Vec<Prepared>,
    writes: WriteSet,
}

#[derive(Debug)]
struct Prepared {
    target: TopicPartition,
    entry: Entry,
    encoded: Encoded,
}

/// An entry with its place, to be published once it is written.
struct Written {
    topic: Arc<Topic>,
    partition: u32,
    placed: Placed,
}

impl Embedded {
    pub(crate) fn commit_transaction(&self, log: Transaction, writes: WriteSet) -> Result<Vec<Appended>> {
        let mut appends = Vec::with_capacity(log.appends.len());
        for append in log.appends {
            assert!(append.entry.rows() > 0, "an entry has at least one row");
            let (entry, encoded) = codec::encode(append.entry, &self.entries.schemas)?;
            appends.push(Prepared { target: append.target, entry, encoded });
        }
        let waiting = Arc::new(Waiting { work: Mutex::new(Some(Work { appends, writes })), outcome: Mutex::new(None) });
        self.queue.0.lock().push(waiting.clone());
        {
            let _turn = self.turn.lock();
            if waiting.outcome.lock().is_none() {
                let together = std::mem::take(&mut *self.queue.0.lock());
                self.write_together(&together);
            }
        }
        let outcome = waiting.outcome.lock().take().expect("whoever has the turn settles all that wait");
        if outcome.is_ok() {
            self.subscribers.read().iter().for_each(|notify| notify());
        }
        outcome
    }

    /// Has the turn.
    fn write_together(&self, together: &[Arc<Waiting>]) {
        let mut batch = WriteBatch::default();
        let mut ends = HashMap::new();
        let (mut written, mut writes, mut settled) = (Vec::new(), Vec::new(), Vec::new());
        for waiting in together {
            let Some(work) = waiting.work.lock().take() else { continue };
            match self.check(&work) {
                Ok(topics) => {
                    let appended = self.stage(work.appends, topics, &mut ends, &mut batch, &mut written);
                    writes.push(work.writes);
                    settled.push((waiting, appended));
                }
                Err(error) => *waiting.outcome.lock() = Some(Err(error.into())),
            }
        }
        let result = self.entries.database.commit(batch, &writes.iter().collect::<Vec<_>>());
        if result.is_ok() {
            self.publish(written);
        }
        for (waiting, appended) in settled {
            *waiting.outcome.lock() = Some(match &result {
                Ok(()) => Ok(appended),
                Err(error) => Err(Error::Storage(match error {
                    Error::Storage(message) => message.clone(),
                    other => other.to_string(),
                })),
            });
        }
    }

    /// Refuses appends to what is not there.
    fn check(&self, work: &Work) -> millpond_log::Result<Vec<Arc<Topic>>> {
        let table = self.topics.read();
        let mut topics = Vec::with_capacity(work.appends.len());
        for append in &work.appends {
            let topic = find(&table, &append.target.topic)?;
            topic.partition(append.target.partition)?;
            topics.push(topic.clone());
        }
        Ok(topics)
    }

    fn stage(
        &self,
        appends: Vec<Prepared>,
        topics: Vec<Arc<Topic>>,
        ends: &mut HashMap<(u32, u32), u64>,
        batch: &mut WriteBatch,
        written: &mut Vec<Written>,
    ) -> Vec<Appended> {
        let database = &self.entries.database;
        let mut appended = Vec::with_capacity(appends.len());
        for (Prepared { target, entry, encoded }, topic) in appends.into_iter().zip(topics) {
            let partition = target.partition;
            let end = ends.entry((topic.id, partition)).or_insert_with(|| topic.partitions[partition as usize].end());
            let base_offset = *end;
            *end += entry.rows() as u64;
            let key = entry_key(topic.id, partition, *end - 1);
            let (head, blob) = encoded.values();
            batch.put_cf(database.family(Family::Log), key, head);
            if let Some(blob) = blob {
                batch.put_cf(database.family(Family::Blobs), key, blob);
            }
            let placed = Placed { base_offset, next_offset: *end, offsets: None, entry: Arc::new(entry) };
            written.push(Written { topic, partition, placed });
            appended.push(Appended { target, base_offset, next_offset: *end });
        }
        appended
    }

    /// Lets readers see what is written: all partitions at once.
    fn publish(&self, written: Vec<Written>) {
        if written.is_empty() {
            return;
        }
        {
            let mut cache = self.entries.cache.lock();
            for written in &written {
                let bytes = written.placed.entry.bytes();
                cache.insert(written.topic.id, written.partition, written.placed.clone(), bytes);
            }
        }
        let _publishing = self.publishing.write();
        for written in written {
            written.topic.partitions[written.partition as usize].publish_end(written.placed.next_offset);
        }
    }
}
