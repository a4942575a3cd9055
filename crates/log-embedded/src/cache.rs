//! Decoded entries, so that a partition that many queries read is decoded once.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;
use millpond_log::{FetchLimit, Fetched, Placed};

/// Entries by (topic id, partition) and last offset. The oldest in here go first: readers at the end of a partition want what has just
/// been appended, and those behind follow one another.
#[derive(Debug)]
pub struct Cache {
    bytes_max: usize,
    bytes: usize,
    partitions: HashMap<(u32, u32), BTreeMap<u64, Cached>>,
    order: VecDeque<(u32, u32, u64)>,
    /// Grows when entries are taken out because they have changed: what was read before that is not put in afterwards.
    pub generation: u64,
}

#[derive(Debug)]
struct Cached {
    placed: Placed,
    bytes: usize,
}

/// What a fetch has so far.
#[derive(Debug)]
pub struct Gathered {
    pub fetched: Vec<Fetched>,
    /// Where to go on.
    pub next: u64,
    pub is_full: bool,
    limit: FetchLimit,
    rows: usize,
    bytes: usize,
}

impl Gathered {
    pub fn new(from: u64, limit: FetchLimit) -> Gathered {
        Gathered { fetched: Vec::new(), next: from, is_full: false, limit, rows: 0, bytes: 0 }
    }

    /// Takes the entry's rows from `next` on, unless that would be too much.
    pub fn take(&mut self, placed: &Placed, bytes: usize) {
        if let Some(fetched) = placed.fetch(self.next) {
            let rows = self.rows.saturating_add(fetched.entry.rows());
            let bytes = self.bytes.saturating_add(bytes);
            if !self.fetched.is_empty() && (rows > self.limit.rows_max || bytes > self.limit.bytes_max) {
                self.is_full = true;
                return;
            }
            (self.rows, self.bytes) = (rows, bytes);
            self.fetched.push(fetched);
        }
        self.next = placed.next_offset;
    }
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache { bytes_max, bytes: 0, partitions: HashMap::new(), order: VecDeque::new(), generation: 0 }
    }

    /// Takes entries up to `end` as long as the next one is here.
    pub fn gather(&self, topic: u32, partition: u32, end: u64, gathered: &mut Gathered) {
        let Some(entries) = self.partitions.get(&(topic, partition)) else { return };
        for cached in entries.range(gathered.next..end).map(|(_, cached)| cached) {
            if cached.placed.base_offset > gathered.next {
                // Either it is not here or compaction has left a gap: the disk knows.
                return;
            }
            gathered.take(&cached.placed, cached.bytes);
            if gathered.is_full {
                return;
            }
        }
    }

    pub fn get(&self, topic: u32, partition: u32, last_offset: u64) -> Option<(Placed, usize)> {
        let cached = self.partitions.get(&(topic, partition))?.get(&last_offset)?;
        Some((cached.placed.clone(), cached.bytes))
    }

    pub fn insert(&mut self, topic: u32, partition: u32, placed: Placed, bytes: usize) {
        if bytes > self.bytes_max / 4 {
            return;
        }
        let last_offset = placed.next_offset - 1;
        match self.partitions.entry((topic, partition)).or_default().insert(last_offset, Cached { placed, bytes }) {
            Some(before) => self.bytes -= before.bytes,
            None => self.order.push_back((topic, partition, last_offset)),
        }
        self.bytes += bytes;
        while self.bytes > self.bytes_max {
            let Some((topic, partition, last_offset)) = self.order.pop_front() else { return };
            self.evict(topic, partition, last_offset);
        }
    }

    /// The entry has changed on disk.
    pub fn remove(&mut self, topic: u32, partition: u32, last_offset: u64) {
        self.generation += 1;
        self.evict(topic, partition, last_offset);
    }

    /// Its place in the order may stay: should it come back it goes a little early.
    fn evict(&mut self, topic: u32, partition: u32, last_offset: u64) {
        let Some(entries) = self.partitions.get_mut(&(topic, partition)) else { return };
        if let Some(cached) = entries.remove(&last_offset) {
            self.bytes -= cached.bytes;
        }
        if entries.is_empty() {
            self.partitions.remove(&(topic, partition));
        }
    }

    /// Forgets what lies before an offset.
    pub fn trim(&mut self, topic: u32, partition: u32, before: u64) {
        self.generation += 1;
        let Some(entries) = self.partitions.get_mut(&(topic, partition)) else { return };
        let kept = entries.split_off(&before);
        self.bytes -= std::mem::replace(entries, kept).values().map(|cached| cached.bytes).sum::<usize>();
        if entries.is_empty() {
            self.partitions.remove(&(topic, partition));
        }
    }

    pub fn remove_topic(&mut self, topic: u32, partitions: u32) {
        self.generation += 1;
        for partition in 0..partitions {
            let entries = self.partitions.remove(&(topic, partition)).unwrap_or_default();
            self.bytes -= entries.values().map(|cached| cached.bytes).sum::<usize>();
        }
        self.order.retain(|(cached, ..)| *cached != topic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_log::{Control, Entry};
    use std::sync::Arc;

    fn placed(offset: u64) -> Placed {
        let entry = Arc::new(Entry::control(0, Control { stream_time_ms: 0, idle: false }));
        Placed { base_offset: offset, next_offset: offset + 1, offsets: None, entry }
    }

    #[test]
    fn it_keeps_to_its_bytes_and_gives_runs_without_gaps() {
        let mut cache = Cache::new(100);
        for offset in 0..20 {
            cache.insert(1, 0, placed(offset), 10);
        }
        assert_eq!((cache.bytes, cache.partitions[&(1, 0)].len()), (100, 10));
        let gather = |cache: &Cache, from, end| {
            let mut gathered = Gathered::new(from, FetchLimit::of(4, usize::MAX));
            cache.gather(1, 0, end, &mut gathered);
            (gathered.fetched.len(), gathered.next)
        };
        assert_eq!(gather(&cache, 5, 20), (0, 5), "it is not here");
        assert_eq!(gather(&cache, 12, 20), (4, 16));
        assert_eq!(gather(&cache, 12, 13), (1, 13));
        cache.remove(1, 0, 14);
        assert_eq!(gather(&cache, 12, 20), (2, 14));
        cache.trim(1, 0, 19);
        assert_eq!(cache.bytes, 10);
        cache.remove_topic(1, 1);
        assert_eq!((cache.bytes, cache.order.len()), (0, 0));
    }
}
