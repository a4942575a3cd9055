//! An input of a task: where it is read, and the rows that wait for their turn.

use std::collections::VecDeque;
use std::sync::Arc;

use millpond_log::Control;

use crate::operator::source::{Arrival, Content, Records};
use crate::operator::{Counters, Incident};
use crate::time::{Head, Next};

/// A partition that a task reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub topic: Arc<str>,
    pub partition: u32,
    /// Where to fetch on, behind what waits in the task. `None`: it was never read.
    pub next_offset: Option<u64>,
    /// The first offset whose row is not taken: what a commit writes. Differs from `next_offset` while rows wait in the task.
    pub position: Option<u64>,
    /// The id of its source node.
    pub node: String,
    pub table: bool,
    /// After so long without rows the caller is to say [`crate::Task::set_idle`]. `None`: never.
    pub idle_timeout_ms: Option<i64>,
}

pub(super) struct Queue {
    pub(super) topic: Arc<str>,
    partition: u32,
    pub(super) node: usize,
    id: String,
    pub(super) table: bool,
    pub(super) repartition: bool,
    idle_timeout_ms: Option<i64>,
    /// The first offset whose row is not taken.
    position: Option<u64>,
    fetch_offset: Option<u64>,
    /// The last fetch brought nothing, and no other input has brought anything since.
    pub(super) at_end: bool,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    arrival: Arrival,
    /// How many of its rows are taken.
    taken: usize,
}

/// What a turn brings.
pub(super) enum Taken {
    Rows { records: Records, incidents: Vec<Incident>, counters: Counters },
    Control { channel: usize, control: Control },
}

/// What a queue needs to know of its topic.
pub(super) struct Description {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) node: usize,
    pub(super) id: String,
    pub(super) table: bool,
    pub(super) repartition: bool,
    pub(super) idle_timeout_ms: Option<i64>,
}

impl Queue {
    pub(super) fn new(description: Description, position: Option<u64>) -> Queue {
        let Description { topic, partition, node, id, table, repartition, idle_timeout_ms } = description;
        let (fetch_offset, waiting) = (position, VecDeque::new());
        Queue { topic, partition, node, id, table, repartition, idle_timeout_ms, position, fetch_offset, at_end: false, waiting }
    }

    pub(super) fn input(&self) -> Input {
        Input {
            topic: self.topic.clone(),
            partition: self.partition,
            next_offset: self.fetch_offset,
            position: self.position,
            node: self.id.clone(),
            table: self.table,
            idle_timeout_ms: self.idle_timeout_ms,
        }
    }

    pub(super) fn position(&self) -> Option<u64> {
        self.position
    }

    pub(super) fn seek(&mut self, offset: u64) {
        assert!(self.waiting.is_empty(), "fetched rows of {}/{} would be skipped", self.topic, self.partition);
        self.position = Some(offset);
        self.fetch_offset = Some(offset);
    }

    /// There is no row before `offset` but those that wait.
    pub(super) fn pass(&mut self, offset: u64) {
        self.fetch_offset = Some(offset);
        match self.waiting.back_mut() {
            Some(last) => last.arrival.next_offset = offset,
            None => self.position = Some(offset),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, arrival: Arrival, base_offset: u64) {
        let expected = self.fetch_offset.unwrap_or(0);
        assert!(base_offset >= expected, "{}/{} was fetched from {base_offset}, not from {expected}", self.topic, self.partition);
        self.fetch_offset = Some(arrival.next_offset);
        self.waiting.push_back(Waiting { arrival, taken: 0 });
    }

    /// Whether what is next is no row.
    pub(super) fn timeless(&self) -> bool {
        self.waiting.front().is_some_and(|waiting| match &waiting.arrival.content {
            Content::Records(records) => records.num_rows() == 0,
            Content::Control { .. } => true,
        })
    }

    pub(super) fn head(&self) -> Head {
        let next = match self.waiting.front().map(|waiting| (&waiting.arrival.content, waiting.taken)) {
            Some((Content::Records(records), taken)) => Next::Row { time_ms: records.batch.timestamps.value(taken) },
            _ if self.at_end => Next::None,
            _ => Next::Behind,
        };
        Head { next, table: self.table }
    }

    /// Takes rows of the first entry that waits, as far as `until_ms`; there must be one, and a row of it within.
    pub(super) fn take(&mut self, until_ms: Option<i64>) -> Taken {
        let waiting = self.waiting.front_mut().expect("a turn is given to an input that has rows");
        let from = waiting.taken;
        let taken = match &waiting.arrival.content {
            Content::Control { channel, control } => Taken::Control { channel: *channel, control: *control },
            Content::Records(records) => {
                let times = &records.batch.timestamps.values()[from..];
                let rows = until_ms.map_or(times.len(), |until_ms| times.iter().take_while(|time_ms| **time_ms <= until_ms).count());
                assert!(rows > 0 || times.is_empty(), "a turn brings a row");
                waiting.taken += rows;
                Taken::Rows {
                    records: if rows == records.num_rows() { records.clone() } else { records.slice(from, rows) },
                    incidents: std::mem::take(&mut waiting.arrival.incidents),
                    counters: std::mem::take(&mut waiting.arrival.counters),
                }
            }
        };
        self.position = match &waiting.arrival.content {
            Content::Records(records) if waiting.taken < records.num_rows() => Some(records.offsets.value(waiting.taken) as u64),
            _ => {
                let next_offset = waiting.arrival.next_offset;
                self.waiting.pop_front();
                Some(next_offset)
            }
        };
        taken
    }
}
