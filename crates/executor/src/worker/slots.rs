//! The partitions that a worker's tasks read. Tasks at the same position share one fetch, and one look at the partition's end.
//!
//! SLT-1  tasks that stood at the same position before a round stand at the same one behind it, though more comes while it lasts: where the first of
//!        them stopped, the others stop, also where that is where it stood.

use std::collections::HashMap;
use std::sync::Arc;

use millpond_log::{Fetch, FetchLimit, Fetched, Log, Result, TopicPartition};

use super::coalesce::coalesce;

/// What a fetch brings at most; one entry comes even when it is larger.
const FETCH_BYTES: usize = 8 << 20;

/// A slot's place in [`Slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotId(usize);

#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// The log counts, too: ephemeral queries have one of their own.
    by_partition: HashMap<(LogId, TopicPartition), usize>,
    slots: Vec<Option<Slot>>,
    /// Slots that were fetched from since [`Slots::forget_fetched`].
    fetched: Vec<usize>,
    /// How many turns there have been.
    turn: u64,
}

type LogId = usize;

/// What a fetch brought, for all that stand where it began.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub entries: Arc<[Fetched]>,
    /// Where to read on.
    pub next_offset: u64,
}

/// A fetch whose outcome others may share.
#[derive(Debug)]
struct Shareable {
    /// Where it began.
    from: u64,
    /// In which turn.
    turn: u64,
    /// `None`: there was nothing.
    fetch: Option<Shared>,
}

#[derive(Debug)]
struct Slot {
    log: Arc<dyn Log>,
    partition: TopicPartition,
    readers: usize,
    /// Whether one of them wanted headers.
    headers: bool,
    end: u64,
    fetches: Vec<Shareable>,
}

fn log_id(log: &Arc<dyn Log>) -> LogId {
    Arc::as_ptr(log).cast::<()>() as usize
}

impl Shared {
    fn of(fetch: Fetch) -> Shared {
        let (mut entries, next_offset) = (coalesce(fetch.entries), fetch.next_offset);
        // What no reader sees goes with the entry before it.
        if let Some(last) = entries.last_mut() {
            last.next_offset = next_offset;
        }
        Shared { entries: entries.into(), next_offset }
    }
}

impl Slots {
    /// The slot of a partition, for one more reader.
    pub fn acquire(&mut self, log: &Arc<dyn Log>, partition: &TopicPartition, headers: bool) -> Result<SlotId> {
        let key = (log_id(log), partition.clone());
        if let Some(index) = self.by_partition.get(&key) {
            let id = SlotId(*index);
            let slot = self.slot_mut(id);
            slot.readers += 1;
            if headers && !slot.headers {
                slot.headers = true;
                slot.fetches.clear();
            }
            return Ok(id);
        }
        let end = log.offsets(partition)?.end;
        let slot = Slot { log: Arc::clone(log), partition: partition.clone(), readers: 1, headers, end, fetches: Vec::new() };
        let index = match self.slots.iter().position(Option::is_none) {
            Some(index) => index,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[index] = Some(slot);
        self.by_partition.insert(key, index);
        Ok(SlotId(index))
    }

    pub fn release(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        slot.readers -= 1;
        if slot.readers == 0 {
            let key = (log_id(&slot.log), slot.partition.clone());
            self.by_partition.remove(&key);
            self.slots[id.0] = None;
        }
    }

    /// Where the partition ended when it was last looked at.
    pub fn end(&self, id: SlotId) -> u64 {
        self.slots[id.0].as_ref().map_or(0, |slot| slot.end)
    }

    pub fn partition(&self, id: SlotId) -> &TopicPartition {
        &self.slots[id.0].as_ref().expect("a slot is there as long as it has readers").partition
    }

    pub fn log(&self, id: SlotId) -> &Arc<dyn Log> {
        &self.slots[id.0].as_ref().expect("a slot is there as long as it has readers").log
    }

    /// Offsets of slots as those of partitions, each log's together.
    pub fn by_log(&self, offsets: impl Iterator<Item = (SlotId, u64)>) -> Vec<(Arc<dyn Log>, Vec<(TopicPartition, u64)>)> {
        let mut logs: HashMap<LogId, (Arc<dyn Log>, Vec<(TopicPartition, u64)>)> = HashMap::new();
        for (id, offset) in offsets {
            let log = self.log(id);
            let (_, offsets) = logs.entry(log_id(log)).or_insert_with(|| (Arc::clone(log), Vec::new()));
            offsets.push((self.partition(id).clone(), offset));
        }
        logs.into_values().collect()
    }

    pub fn records_between(&self, id: SlotId, from: u64, to: u64) -> u64 {
        self.log(id).records_between(self.partition(id), from, to)
    }

    /// Looks at the end of one partition.
    pub fn refresh(&mut self, id: SlotId) -> Result<()> {
        let slot = self.slot_mut(id);
        slot.end = slot.log.offsets(&slot.partition)?.end;
        Ok(())
    }

    /// What is known of one partition's end by now.
    pub fn reconsider(&mut self, id: SlotId) {
        let slot = self.slot_mut(id);
        if let Ok(end) = slot.log.known_end(&slot.partition) {
            slot.end = end;
        }
    }

    /// Looks at the end of every partition. One that cannot be looked at stays as it is: its readers will meet the error.
    pub fn refresh_all(&mut self) {
        for slot in self.slots.iter_mut().flatten() {
            if let Ok(end) = slot.log.known_end(&slot.partition) {
                slot.end = end;
            }
        }
    }

    /// What is fetched from now on is for another task.
    pub fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Up to about `rows_max` rows. `None`: nothing has come yet, or it is left for the next round (SLT-1).
    pub fn fetch(&mut self, id: SlotId, from: u64, rows_max: usize) -> Result<Option<Shared>> {
        let turn = self.turn;
        let slot = self.slot_mut(id);
        if let Some(shareable) = slot.fetches.iter().find(|shareable| shareable.from == from) {
            return Ok(shareable.fetch.clone());
        }
        let stopped =
            |shareable: &Shareable| shareable.fetch.as_ref().is_some_and(|fetch| fetch.next_offset == from) && shareable.turn != turn;
        if slot.fetches.iter().any(stopped) {
            return Ok(None);
        }
        let limit = FetchLimit { headers: slot.headers, ..FetchLimit::of(rows_max, FETCH_BYTES) };
        let fetch = slot.log.fetch_ready(&slot.partition, from, limit)?;
        let fetch = fetch.filter(|fetch| fetch.next_offset > from).map(Shared::of);
        if slot.readers > 1 {
            slot.fetches.push(Shareable { from, turn, fetch: fetch.clone() });
            self.fetched.push(id.0);
        }
        Ok(fetch)
    }

    /// What was fetched need not be held any more.
    pub fn forget_fetched(&mut self) {
        for index in self.fetched.drain(..) {
            if let Some(slot) = &mut self.slots[index] {
                slot.fetches.clear();
            }
        }
    }

    fn slot_mut(&mut self, id: SlotId) -> &mut Slot {
        self.slots[id.0].as_mut().expect("a slot is there as long as it has readers")
    }
}

#[cfg(test)]
mod tests {
    use millpond_log::{Append, Entry, MemoryLog, TopicConfig, Transaction, opaque};

    use super::*;

    #[test]
    fn readers_at_the_same_place_share_a_fetch() {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::default());
        log.create_topic("t", &TopicConfig::keep(1)).unwrap();
        let target = TopicPartition::new("t", 0);
        let mut slots = Slots::default();
        let (a, b) = (slots.acquire(&log, &target, false).unwrap(), slots.acquire(&log, &target, false).unwrap());
        assert_eq!((a, slots.end(a)), (b, 0));
        assert!(slots.fetch(a, 0, usize::MAX).unwrap().is_none());
        let record = opaque::Record { key: None, value: None, timestamp_ms: 0, headers: &[] };
        let entry = Entry::opaque(opaque::batch([record]));
        log.append(Transaction { appends: vec![Append { target: target.clone(), entry }] }).unwrap();
        slots.refresh_all();
        assert_eq!(slots.end(a), 1);
        assert!(slots.fetch(b, 0, usize::MAX).unwrap().is_none(), "there was nothing for the other");
        slots.forget_fetched();
        let [one, other] = [a, b].map(|slot| slots.fetch(slot, 0, usize::MAX).unwrap().unwrap().entries);
        assert!(Arc::ptr_eq(&one, &other));
        slots.release(b);
        assert_eq!(slots.acquire(&log, &target, true).unwrap(), a);
        let with_headers = slots.fetch(a, 0, usize::MAX).unwrap().unwrap().entries;
        assert!(!Arc::ptr_eq(&one, &with_headers), "what was fetched for others may be without them");
        slots.begin_turn();
        let record = opaque::Record { key: None, value: None, timestamp_ms: 1, headers: &[] };
        log.append(Transaction { appends: vec![Append { target: target.clone(), entry: Entry::opaque(opaque::batch([record])) }] })
            .unwrap();
        slots.refresh_all();
        assert!(slots.fetch(b, 1, usize::MAX).unwrap().is_none(), "the one before has stopped there");
        slots.forget_fetched();
        assert!(slots.fetch(b, 1, usize::MAX).unwrap().is_some());
        slots.forget_fetched();
        slots.release(a);
        slots.release(b);
        assert!(slots.by_partition.is_empty());
        assert_eq!(slots.acquire(&log, &target, false).unwrap(), a, "its place is taken again");
    }
}
