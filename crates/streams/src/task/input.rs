//! An input of a task: where it is read, and the rows that wait for their turn.
//!
//! ```text
//!               ┌─► channel 0   3 5 9 │ 12 13
//!  entries of ──┼─► channel 1   4 6             ─►  3 4 5 6, then channel 1 has to bring more
//!  the log      └─► channel 2   7 8
//! ```
//! How the rows of several channels stand in a repartition topic depends on which upstream task was faster. A task that reads streams and
//! tables takes them in the order of their times; elsewhere that order does not matter, and they are taken as they stand. A row's time is
//! its stream time (`Batch::stream_times`): so a channel's rows keep their order, and a row that is out of order keeps the place that it
//! had before the repartition.
//!
//! INP-1  a row is taken once each other channel has a later one here, has announced a later time, is idle, or has brought what was on its
//!        way when the row came. While more than [`WAITING_BYTES_MAX`] wait, the earliest row is taken all the same.
//! INP-2  rows that were taken before others that stand before them in the log are not taken again when the log is read again.

use std::borrow::Cow;
use std::sync::Arc;

use millpond_log::{Fetched, Placed};

use super::lane::{Lane, Part, Taken, Waiting};
use super::position::{Saved, SavedChannel};
use crate::Result;
use crate::operator::Counters;
use crate::operator::source::{Arrival, Content, Records};
use crate::operator::stream_source::running_max;
use crate::time::{Channels, Head, Next};
use crate::topology::OnDataLoss;

/// About so much of an input waits for a channel that brings nothing. Beyond, the earliest rows are taken without it: should it bring
/// earlier ones after all, they meet a table that is younger than they are.
pub const WAITING_BYTES_MAX: usize = 64 << 20;

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
    pub on_data_loss: OnDataLoss,
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
    on_data_loss: OnDataLoss,
    idle_timeout_ms: Option<i64>,
    /// How far each has come with the rows that are taken.
    pub(super) channels: Channels,
    /// For each channel: what stands before is taken.
    next_offsets: Vec<u64>,
    fetch_offset: Option<u64>,
    /// Everything has come that was on its way when the input stood here, and no other input has brought anything since.
    ended: Option<u64>,
    /// One for each channel, or one for all.
    lanes: Vec<Lane>,
    /// Of what waits, where there are several lanes.
    bytes: usize,
}

/// What a queue needs to know of its topic.
pub(super) struct Description {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) node: usize,
    pub(super) id: String,
    pub(super) table: bool,
    /// Of a repartition topic: how many tasks write to it, each of them a channel. Other topics are one channel.
    pub(super) upstream_partitions: Option<u32>,
    pub(super) on_data_loss: OnDataLoss,
    pub(super) idle_timeout_ms: Option<i64>,
}

/// Which rows can be taken: from one on, up to another. Rows of the same time are in the order of their lanes.
struct Reach {
    first: (i64, usize),
    last: (i64, usize),
}

impl Reach {
    /// How far a lane is within it, inclusive.
    fn until_ms(&self, lane: usize) -> i64 {
        let (time_ms, last) = self.last;
        if lane <= last { time_ms } else { time_ms.saturating_sub(1) }
    }
}

impl Queue {
    pub(super) fn new(description: Description, saved: Option<&Saved>) -> Queue {
        let Description { topic, partition, node, id, table, upstream_partitions, on_data_loss, idle_timeout_ms } = description;
        let count = upstream_partitions.unwrap_or(1) as usize;
        let (mut channels, mut next_offsets) = (Channels::new(count), vec![0; count]);
        if let Some(saved) = saved {
            channels.restore(saved.channels.iter().map(|saved| saved.channel));
            for (next_offset, saved) in next_offsets.iter_mut().zip(&saved.channels) {
                *next_offset = saved.next_offset.unwrap_or(0);
            }
        }
        Queue {
            topic,
            partition,
            node,
            id,
            table,
            repartition: upstream_partitions.is_some(),
            on_data_loss,
            idle_timeout_ms,
            channels,
            next_offsets,
            fetch_offset: saved.map(|saved| saved.next_offset),
            ended: None,
            lanes: vec![Lane::default()],
            bytes: 0,
        }
    }

    /// From now on rows of different channels are taken in the order of their times.
    pub(super) fn merge_channels(&mut self) {
        self.lanes.resize_with(self.next_offsets.len().max(1), Lane::default);
    }

    pub(super) fn input(&self) -> Input {
        Input {
            topic: self.topic.clone(),
            partition: self.partition,
            next_offset: self.fetch_offset,
            position: self.position(),
            node: self.id.clone(),
            table: self.table,
            on_data_loss: self.on_data_loss,
            idle_timeout_ms: self.idle_timeout_ms,
        }
    }

    /// What a commit writes; `None`: it was never read.
    pub(super) fn saved(&self) -> Option<Saved> {
        let position = self.position()?;
        let channels = self.channels.iter().zip(&self.next_offsets);
        let channels = channels.map(|(channel, next)| SavedChannel { channel, next_offset: Some(*next).filter(|next| *next > position) });
        Some(Saved { next_offset: position, channels: channels.collect() })
    }

    /// The first offset whose row is not taken.
    fn position(&self) -> Option<u64> {
        self.lanes.iter().filter_map(Lane::offset).min().or(self.fetch_offset)
    }

    pub(super) fn seek(&mut self, offset: u64) {
        let behind = self.is_empty() || self.fetch_offset.is_some_and(|next| next <= offset);
        assert!(behind, "fetched rows of {}/{} would be read again", self.topic, self.partition);
        (self.fetch_offset, self.ended) = (Some(offset), None);
    }

    /// There is no row before `offset` but those that wait.
    pub(super) fn pass(&mut self, offset: u64) {
        self.fetch_offset = Some(offset);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty)
    }

    /// Whether more has to be read before a row can be taken.
    pub(super) fn wants(&self) -> bool {
        self.reach().is_none()
    }

    /// Where it is read on, if it takes what is not in its topic: rows that would have to wait could not be read again.
    pub(super) fn receives(&self) -> Option<u64> {
        self.fetch_offset.filter(|_| self.repartition && self.lanes.len() == 1 && self.is_empty())
    }

    /// What was on its way when the input stood at `offset` has come.
    pub(super) fn release(&mut self, offset: u64) {
        self.ended = self.ended.max(Some(offset));
    }

    /// A fetch brought nothing, and nothing is on its way.
    pub(super) fn set_end(&mut self) {
        self.release(self.fetch_offset.unwrap_or(0));
    }

    /// Another input brought something that is younger than what is known of this one's end.
    pub(super) fn forget_end(&mut self) {
        self.ended = None;
    }

    /// What of an entry is not taken yet, if anything.
    pub(super) fn untaken<'a>(&self, fetched: &'a Fetched) -> Option<Cow<'a, Fetched>> {
        let channel = place(fetched.entry.channel, self.next_offsets.len());
        let taken = self.next_offsets.get(channel).is_some_and(|next| fetched.base_offset < *next);
        if !taken {
            return Some(Cow::Borrowed(fetched));
        }
        let Fetched { base_offset, offsets, next_offset, entry } = fetched.clone();
        Placed { base_offset, offsets, next_offset, entry }.fetch(self.next_offsets[channel]).map(Cow::Owned)
    }

    /// `arrival` is what was decoded of `fetched`.
    pub(super) fn push(&mut self, arrival: Arrival, fetched: &Fetched) {
        let (base_offset, expected) = (fetched.base_offset, self.fetch_offset.unwrap_or(0));
        assert!(base_offset >= expected, "{}/{} was fetched from {base_offset}, not from {expected}", self.topic, self.partition);
        self.fetch_offset = Some(arrival.next_offset);
        let (mut times, mut bytes) = (arrival.content.stream_times(), 0);
        if self.lanes.len() > 1 {
            // They may fall where an upstream task has several sources. The rows keep their order all the same.
            times = running_max(&times, &mut { i64::MIN });
            bytes = fetched.entry.bytes();
        }
        self.bytes += bytes;
        let lane = place(fetched.entry.channel, self.lanes.len());
        self.lanes[lane].push(Waiting::new(arrival, base_offset, times, bytes));
    }

    /// Whether what is next is no row.
    pub(super) fn timeless(&self) -> bool {
        self.lanes.iter().any(Lane::is_timeless)
    }

    pub(super) fn head(&self) -> Head {
        let next = match self.reach() {
            Some(reach) => Next::Row { time_ms: reach.first.0 },
            // After its end nothing waits that could not be taken.
            None if self.ended.is_some_and(|ended| ended >= self.fetch_offset.unwrap_or(0)) => Next::None,
            None => Next::Behind,
        };
        Head { next, table: self.table }
    }

    /// `None`: no row is here, or a channel may bring an earlier one (INP-1).
    fn reach(&self) -> Option<Reach> {
        let lanes = self.lanes.iter().enumerate();
        let first = lanes.clone().filter_map(|(lane, rows)| Some((rows.time_ms()?, lane))).min()?;
        if self.lanes.len() == 1 {
            return Some(Reach { first, last: (i64::MAX, 0) });
        }
        let released = self.bytes >= WAITING_BYTES_MAX || self.ended.is_some_and(|ended| self.lanes[first.1].offset() < Some(ended));
        let lasts = lanes.filter_map(|(lane, rows)| {
            let time_ms = rows.last_time_ms().or_else(|| {
                let live = self.channels.get(lane).filter(|channel| !channel.idle && !released)?;
                // Its next row has at least the time that it has announced.
                Some(live.time_ms.unwrap_or(i64::MIN))
            });
            Some((time_ms?, lane))
        });
        let last = lasts.min()?;
        (first <= last).then_some(Reach { first, last })
    }

    /// Takes what has no time, or rows as far as `until_ms`; there must be one.
    pub(super) fn take(&mut self, until_ms: Option<i64>) -> Result<Taken> {
        let mut parts = Vec::new();
        if self.lanes.len() == 1 {
            parts.extend(self.take_of(0, until_ms));
        } else if let Some(lane) = self.lanes.iter().position(Lane::is_timeless) {
            parts.extend(self.take_of(lane, None));
        } else if let Some(reach) = self.reach() {
            for lane in 0..self.lanes.len() {
                let within_ms = reach.until_ms(lane);
                parts.extend(self.take_of(lane, Some(until_ms.map_or(within_ms, |until_ms| until_ms.min(within_ms)))));
            }
        }
        let taken = merge(parts)?;
        match &taken.content {
            Content::Control { channel, control } => self.channels.announce(*channel, *control),
            Content::Records(records) => {
                if let Some(stream_time_ms) = records.last_stream_time_ms().filter(|_| !self.repartition) {
                    self.channels.observe(0, stream_time_ms);
                }
            }
        }
        Ok(taken)
    }

    fn take_of(&mut self, lane: usize, until_ms: Option<i64>) -> Option<Part> {
        let part = self.lanes[lane].take(until_ms)?;
        self.bytes -= part.bytes;
        if self.lanes.len() > 1 {
            self.next_offsets[lane] = part.next_offset;
        }
        Some(part)
    }
}

/// Where a channel has its place. One that the topology does not know shares that of the last.
fn place(channel: u32, places: usize) -> usize {
    (channel as usize).min(places.saturating_sub(1))
}

/// The parts' rows in the order of their times; those of the same time in the order of the parts.
fn merge(mut parts: Vec<Part>) -> Result<Taken> {
    if parts.len() <= 1 {
        return Ok(parts.pop().expect("a turn is given to an input that has something for it").taken);
    }
    let times: Vec<i64> = parts.iter().flat_map(|part| part.times.values().iter().copied()).collect();
    let mut order: Vec<u32> = (0..times.len() as u32).collect();
    order.sort_by_key(|row| times[*row as usize]);
    let (mut rows, mut incidents, mut counters) = (Vec::with_capacity(parts.len()), Vec::new(), Counters::default());
    for Part { taken, .. } in parts {
        incidents.extend(taken.incidents);
        counters += taken.counters;
        if let Content::Records(records) = taken.content {
            rows.push(records);
        }
    }
    Ok(Taken { content: Content::Records(Records::interleave(&rows, &order.into())?), incidents, counters })
}
