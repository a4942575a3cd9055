//! Entries that wait for their turn, in the order of the log.

use std::collections::VecDeque;

use arrow::array::Int64Array;

use crate::operator::source::{Arrival, Content};
use crate::operator::{Counters, Incident};

/// Those of one channel; or of all channels of an input, where their order does not matter.
#[derive(Default)]
pub(super) struct Lane {
    waiting: VecDeque<Waiting>,
}

pub(super) struct Waiting {
    arrival: Arrival,
    base_offset: u64,
    /// Of each row: what it is merged by. An announcement has none.
    times: Int64Array,
    /// How many of its rows are taken.
    taken: usize,
    /// What it counts for in [`super::input::WAITING_BYTES_MAX`].
    bytes: usize,
}

/// What a turn brings.
pub(super) struct Taken {
    pub(super) content: Content,
    pub(super) incidents: Vec<Incident>,
    pub(super) counters: Counters,
}

/// What a lane brings to it.
pub(super) struct Part {
    pub(super) taken: Taken,
    /// Of the rows taken.
    pub(super) times: Int64Array,
    /// Up to here the lane is taken.
    pub(super) next_offset: u64,
    /// Of the entry, if this was all of it.
    pub(super) bytes: usize,
}

impl Waiting {
    pub(super) fn new(arrival: Arrival, base_offset: u64, times: Int64Array, bytes: usize) -> Waiting {
        Waiting { arrival, base_offset, times, taken: 0, bytes }
    }

    /// Of the first row that is not taken.
    fn offset(&self) -> u64 {
        match &self.arrival.content {
            Content::Records(records) if self.taken > 0 => records.offsets.value(self.taken) as u64,
            // Rows of it that could not be decoded are not told yet.
            _ => self.base_offset,
        }
    }

    fn time_ms(&self) -> Option<i64> {
        self.times.values().get(self.taken).copied()
    }
}

impl Lane {
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether what is next is no row.
    pub(super) fn is_timeless(&self) -> bool {
        self.waiting.front().is_some_and(|first| first.time_ms().is_none())
    }

    /// The first offset that waits.
    pub(super) fn offset(&self) -> Option<u64> {
        self.waiting.front().map(Waiting::offset)
    }

    /// Of the next row.
    pub(super) fn time_ms(&self) -> Option<i64> {
        self.waiting.front().and_then(Waiting::time_ms)
    }

    /// Of the last row of the entry that is next.
    pub(super) fn last_time_ms(&self) -> Option<i64> {
        self.waiting.front().and_then(|first| first.times.values().last().copied())
    }

    /// Takes rows of the first entry, as far as `until_ms`, or what has no rows. `None`: there is none within.
    pub(super) fn take(&mut self, until_ms: Option<i64>) -> Option<Part> {
        let first = self.waiting.front_mut()?;
        let from = first.taken;
        let times = &first.times.values()[from..];
        let rows = until_ms.map_or(times.len(), |until_ms| times.iter().take_while(|time_ms| **time_ms <= until_ms).count());
        if rows == 0 && !times.is_empty() {
            return None;
        }
        let content = match &first.arrival.content {
            Content::Records(records) if rows < records.num_rows() => Content::Records(records.slice(from, rows)),
            content => content.clone(),
        };
        let (incidents, counters) = (std::mem::take(&mut first.arrival.incidents), std::mem::take(&mut first.arrival.counters));
        let times = first.times.slice(from, rows);
        first.taken += rows;
        let (next_offset, bytes) = if first.taken == first.times.len() {
            let whole = (first.arrival.next_offset, first.bytes);
            self.waiting.pop_front();
            whole
        } else {
            (first.offset(), 0)
        };
        Some(Part { taken: Taken { content, incidents, counters }, times, next_offset, bytes })
    }
}
