//! Aggregate over a stream: `GROUP BY k [WINDOW TUMBLING | HOPPING …]`.
//!
//! ```text
//!  rows ─► groups (k, window) ─► accumulators of the commit interval ──flush──► store[(k, window)] ─► changes −old +new
//!                                        ▲ state of groups not seen before in it      │
//!                                        └────────────────────────────────────────────┘
//!  before a repartition (Partial): rows ─► accumulators ──flush──► states;   behind it (Final): states ─► as above
//! ```
//!
//! AGG-1  a row for a closed window changes no state and is counted as late. Behind a partial a row stands for those it was combined of.
//! AGG-2  the accumulators of an interval hold the stored state of each of their groups, merged in before its first row.
//! AGG-3  rows come out at a flush, in the order in which their groups were first touched; with `EMIT FINAL` once, when the window closes.
//! AGG-4  how the input is cut into batches, and where commits fall, does not change the state.
//!
//! Where the result is a table, its rows may be read from the groups ([`super::table_rows`]); then those outlast their windows.

pub(crate) mod accumulators;
pub(crate) mod group_store;
pub(crate) mod groups;
pub(crate) mod input;
pub(crate) mod output;
pub(crate) mod shape;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMillisecondArray, UInt32Array};
use arrow::compute::{cast, take, take_arrays};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::row::Rows;
use millpond_state::WriteSet;
use millpond_state::window_key::SUFFIX_LEN;

use self::accumulators::{Accumulators, Calls};
use self::group_store::{GROUP, GroupStore};
use self::groups::Groups;
use self::input::{Arguments, Grouping, Values};
use self::output::{At, Updates};
use self::shape::Shape;
use super::late::{Late, LateRow, Of};
use super::row_codec::RowCodec;
use super::store::StoreHandle;
use super::window::{TimeWindows, bounds, push_bounds};
use super::{Context, Operator, nullable, record_batch};
use crate::topology::{AggregateSpec, Emit, Phase};
use crate::{Batch, Error, Result};

/// More groups than this are not held in memory: they are flushed before the commit.
pub const HELD_GROUPS_MAX: usize = 262_144;
/// The same before a repartition, where nothing but the log is saved by holding them: as many as a processor's caches hold.
pub const PARTIAL_GROUPS_MAX: usize = 16_384;

pub struct Aggregate {
    phase: Phase,
    emit: Emit,
    windows: Option<TimeWindows>,
    retention_ms: i64,
    /// How many columns the group has.
    group_columns: usize,
    /// `None` behind a partial: there the columns are evaluated already.
    rows: Option<(Grouping, Arguments)>,
    calls: Arc<Calls>,
    keys: RowCodec,
    /// Greatest rowtime, then the state columns.
    states: RowCodec,
    output: SchemaRef,
    store: Option<GroupStore>,
    held: Held,
    /// As many groups as the last time are likely to come.
    expected: usize,
    held_groups_max: usize,
    /// Scratch.
    key: Vec<u8>,
    indices: Vec<usize>,
}

/// The groups touched since the last flush; all but `sources` by group.
struct Held {
    groups: Groups,
    accumulators: Accumulators,
    /// Greatest rowtime.
    timestamps: Vec<i64>,
    stream_times: Vec<i64>,
    /// Where in the accumulators the group is: DataFusion wants each group that it counts to have a row or a state at once, so of the
    /// new groups of a batch those with a stored state come first.
    slots: Vec<usize>,
    /// Where the result is that was given last, of groups that had one.
    old: Vec<Option<At>>,
    /// What `old` points into, from 1 on: 0 is for the new results.
    sources: Vec<Vec<ArrayRef>>,
}

/// A batch, ready to be accumulated: a row for each window of a row.
struct Prepared {
    keys: Rows,
    /// Which row of `keys` each is; `None`: the same.
    rows: Option<Vec<u32>>,
    /// Empty without windows.
    starts: Vec<i64>,
    input: Input,
    timestamps: Int64Array,
    stream_times: Int64Array,
}

enum Input {
    Rows(Values),
    States(Vec<ArrayRef>),
}

impl Held {
    fn new(calls: &Arc<Calls>) -> Result<Held> {
        Ok(Held {
            groups: Groups::default(),
            accumulators: calls.accumulators()?,
            timestamps: Vec::new(),
            stream_times: Vec::new(),
            slots: Vec::new(),
            old: Vec::new(),
            sources: Vec::new(),
        })
    }

    fn reserve(&mut self, groups: usize) {
        self.groups.reserve(groups);
        self.timestamps.reserve(groups);
        self.stream_times.reserve(groups);
        self.slots.reserve(groups);
        self.old.reserve(groups);
    }
}

impl Prepared {
    fn len(&self) -> usize {
        self.timestamps.len()
    }
}

impl Aggregate {
    /// `store` is for the phases that keep something.
    pub fn new(spec: &AggregateSpec, input: &SchemaRef, output: &SchemaRef, store: Option<StoreHandle>) -> Result<Aggregate> {
        let windows = spec.window.as_ref().map(TimeWindows::new).transpose()?;
        if spec.emit == Emit::Final && windows.is_none() {
            return Err(Error::Topology("only windows can be emitted when they close".into()));
        }
        let retention_ms = spec.window.as_ref().map_or(i64::MAX, |window| window.retention_ms);
        if let Some(windows) = &windows
            && retention_ms < windows.size_ms.saturating_add(windows.grace_ms)
        {
            return Err(Error::Topology(format!("windows are retained for {retention_ms} ms only, less than their size and grace")));
        }
        let calls = Arc::new(Calls::new(&spec.aggregates)?);
        let shape = Shape::of(spec, output, windows.is_some(), calls.state_types().count())?;
        let rows = match spec.phase {
            Phase::Final => {
                shape.check_partial(input, &calls)?;
                None
            }
            Phase::Single | Phase::Partial => {
                Some((Grouping::new(&spec.group, &shape.group_types)?, Arguments::new(&spec.aggregates, input)?))
            }
        };
        let store = match (spec.phase, store) {
            (Phase::Partial, _) => None,
            (_, Some(handle)) => Some(GroupStore::new(handle, windows.is_some(), spec.emit == Emit::Final)?),
            (_, None) => return Err(Error::Topology("an aggregate without a store".into())),
        };
        let state_types = std::iter::once(DataType::Int64).chain(calls.state_types().cloned());
        Ok(Aggregate {
            phase: spec.phase,
            emit: spec.emit,
            windows,
            retention_ms,
            group_columns: shape.group_types.len(),
            rows,
            keys: RowCodec::new(shape.group_types)?,
            states: RowCodec::new(state_types.collect())?,
            output: nullable(output),
            store,
            held: Held::new(&calls)?,
            expected: 0,
            held_groups_max: if spec.phase == Phase::Partial { PARTIAL_GROUPS_MAX } else { HELD_GROUPS_MAX },
            calls,
            key: vec![GROUP],
            indices: Vec::new(),
        })
    }

    /// Its groups are a table's rows ([`super::table_rows`]): they stay.
    pub fn keeping_groups(mut self) -> Aggregate {
        if let Some(store) = &mut self.store {
            store.keep_groups();
        }
        self
    }

    /// Evaluates, judges and assigns windows. `None`: nothing is left.
    fn prepare(&self, batch: Batch, context: &mut Context<'_>) -> Result<Option<Prepared>> {
        let (batch, columns) = match &self.rows {
            Some((grouping, _)) => grouping.split(batch, context)?,
            None => {
                let columns = batch.rows.columns()[..self.group_columns].to_vec();
                (batch, columns)
            }
        };
        let (rows, starts) = self.assign(&batch, &columns, context)?;
        if rows.as_ref().map_or(batch.num_rows(), Vec::len) == 0 {
            return Ok(None);
        }
        let input = match &self.rows {
            Some((_, arguments)) => Input::Rows(arguments.evaluate(&batch, context)?),
            None => {
                let before = self.group_columns + if self.windows.is_some() { 2 } else { 0 };
                Input::States(batch.rows.columns()[before..].to_vec())
            }
        };
        let keys = self.keys.encode(&columns)?;
        let (mut timestamps, mut stream_times, mut input) = (batch.timestamps, batch.stream_times, input);
        if let Some(rows) = &rows {
            let rows = UInt32Array::from(rows.clone());
            timestamps = take(&timestamps, &rows, None)?.as_primitive::<Int64Type>().clone();
            stream_times = take(&stream_times, &rows, None)?.as_primitive::<Int64Type>().clone();
            input = match input {
                Input::Rows(values) => Input::Rows(values.take(&rows)?),
                Input::States(states) => Input::States(take_arrays(&states, &rows, None)?),
            };
        }
        Ok(Some(Prepared { keys, rows, starts, input, timestamps, stream_times }))
    }

    /// The windows of the rows, in the form of [`Prepared`].
    fn assign(&self, batch: &Batch, groups: &[ArrayRef], context: &mut Context<'_>) -> Result<(Option<Vec<u32>>, Vec<i64>)> {
        let Some(windows) = &self.windows else {
            return Ok((None, Vec::new()));
        };
        let closed_end = self.store.as_ref().map_or(i64::MIN, GroupStore::closed_end);
        if self.rows.is_some() {
            let assigned = windows.assign(batch.timestamps.values(), batch.stream_times.values(), closed_end);
            assigned.late.report(Of::Row, batch, groups, context)?;
            return Ok((assigned.rows, assigned.starts));
        }
        // Behind a partial, which has judged the rows: they are late only when a window was closed because a channel was idle.
        let starts = cast(batch.rows.column(self.group_columns), &DataType::Int64)?;
        let starts = starts.as_primitive::<Int64Type>().values();
        let is_open = |start: &i64| windows.end(*start) > closed_end;
        if starts.iter().all(is_open) {
            return Ok((None, starts.to_vec()));
        }
        let open: Vec<u32> = (0..starts.len() as u32).filter(|row| is_open(&starts[*row as usize])).collect();
        let mut late = Late::default();
        for (row, start) in starts.iter().enumerate() {
            if !is_open(start) {
                let closed = !windows.is_late(*start, batch.stream_times.value(row));
                late.push(LateRow { row, start: *start, closed });
            }
        }
        late.report(Of::Combined, batch, groups, context)?;
        let starts = open.iter().map(|row| starts[*row as usize]).collect();
        Ok((Some(open), starts))
    }

    /// Takes rows from `from` on into the accumulators: all, or with `once` those before a group comes again. Gives where it stopped.
    fn accumulate(&mut self, prepared: &Prepared, from: usize, once: bool) -> Result<usize> {
        let held = &mut self.held;
        let first_new = held.groups.len();
        if first_new == 0 {
            held.reserve(self.expected);
        }
        self.indices.clear();
        let (timestamps, stream_times) = (prepared.timestamps.values(), prepared.stream_times.values());
        let mut to = prepared.len();
        for row in from..prepared.len() {
            self.key.truncate(1);
            let source = prepared.rows.as_ref().map_or(row, |rows| rows[row] as usize);
            self.key.extend_from_slice(prepared.keys.row(source).as_ref());
            if let Some(windows) = &self.windows {
                let start = prepared.starts[row];
                push_bounds(&mut self.key, start, windows.end(start));
            }
            let (group, new) = held.groups.intern(&self.key);
            if new {
                held.timestamps.push(timestamps[row]);
                held.stream_times.push(stream_times[row]);
            } else if once {
                to = row;
                break;
            } else {
                held.timestamps[group] = held.timestamps[group].max(timestamps[row]);
                held.stream_times[group] = held.stream_times[group].max(stream_times[row]);
            }
            self.indices.push(group);
        }
        self.load(first_new)?;
        self.indices.iter_mut().for_each(|group| *group = self.held.slots[*group]);
        let total = self.held.groups.len();
        let held = &mut self.held;
        let all = from == 0 && to == prepared.len();
        match &prepared.input {
            Input::Rows(values) if all => held.accumulators.update(values, &self.indices, total)?,
            Input::Rows(values) => held.accumulators.update(&values.slice(from, to - from), &self.indices, total)?,
            Input::States(states) => {
                let states: Vec<ArrayRef> = states.iter().map(|column| column.slice(from, to - from)).collect();
                held.accumulators.merge(&states, &self.indices, total)?;
            }
        }
        Ok(to)
    }

    /// Gives the groups from `first_new` on their slots and merges in what is stored of them (AGG-2).
    fn load(&mut self, first_new: usize) -> Result<()> {
        let total = self.held.groups.len();
        let held = &mut self.held;
        held.old.resize(total, None);
        held.slots.extend(first_new..total);
        let Some(store) = self.store.as_ref().filter(|_| first_new < total) else {
            return Ok(());
        };
        let keys: Vec<&[u8]> = (first_new..total).map(|group| held.groups.key(group)).collect();
        let found = store.get_groups(&keys)?;
        let (known, unknown): (Vec<usize>, Vec<usize>) = (first_new..total).partition(|group| found[group - first_new].is_some());
        if known.is_empty() {
            return Ok(());
        }
        for (offset, group) in known.iter().chain(&unknown).enumerate() {
            held.slots[*group] = first_new + offset;
        }
        let columns = self.states.decode(found.iter().flatten().map(Vec::as_slice))?;
        let (timestamps, states) = (columns[0].as_primitive::<Int64Type>(), &columns[1..]);
        let counted = first_new + known.len();
        let slots: Vec<usize> = (first_new..counted).collect();
        held.accumulators.merge(states, &slots, counted)?;
        let source = held.sources.len() as u32 + 1;
        for (row, group) in known.iter().enumerate() {
            held.timestamps[*group] = held.timestamps[*group].max(timestamps.value(row));
            held.old[*group] = Some(At { source, row: row as u32 });
        }
        if self.emit != Emit::Final {
            held.sources.push(self.calls.evaluate(states, known.len())?);
        }
        Ok(())
    }

    /// Empties the accumulators: states go to the store, or on to the final phase; results are forwarded.
    fn release(&mut self, context: &mut Context<'_>) -> Result<()> {
        if self.held.groups.len() == 0 {
            return Ok(());
        }
        self.expected = self.held.groups.len();
        let Held { groups, accumulators, timestamps, stream_times, slots, old, sources } =
            std::mem::replace(&mut self.held, Held::new(&self.calls)?);
        let mut states = accumulators.states()?;
        if slots.iter().enumerate().any(|(group, slot)| group != *slot) {
            let slots = UInt32Array::from_iter_values(slots.iter().map(|slot| *slot as u32));
            states = take_arrays(&states, &slots, None)?;
        }
        if self.phase == Phase::Partial {
            let batch = self.partial(&groups, states, timestamps, stream_times)?;
            context.forward(batch);
            return Ok(());
        }
        if self.emit != Emit::Final {
            let batch = self.updates(&groups, &states, &timestamps, &stream_times, &old, sources)?;
            context.forward(batch);
        }
        let mut columns = vec![Arc::new(Int64Array::from(timestamps)) as ArrayRef];
        columns.extend(states);
        let values = self.states.encode(&columns)?;
        if let Some(store) = &mut self.store {
            for ((key, value), old) in groups.iter().zip(&values).zip(&old) {
                if old.is_none() {
                    store.open(key);
                }
                store.put_group(key, value.as_ref());
            }
        }
        Ok(())
    }

    fn partial(&self, groups: &Groups, states: Vec<ArrayRef>, timestamps: Vec<i64>, stream_times: Vec<i64>) -> Result<Batch> {
        let mut columns = self.group_columns(groups.iter())?;
        if self.windows.is_some() {
            let (starts, ends): (Vec<i64>, Vec<i64>) = groups.iter().map(bounds).unzip();
            columns.push(Arc::new(TimestampMillisecondArray::from(starts)));
            columns.push(Arc::new(TimestampMillisecondArray::from(ends)));
        }
        columns.extend(states);
        Ok(Batch {
            rows: record_batch(&self.output, columns, groups.len())?,
            timestamps: Int64Array::from(timestamps),
            stream_times: Int64Array::from(stream_times),
            changes: None,
            tombstones: None,
        })
    }

    fn updates(
        &self,
        groups: &Groups,
        states: &[ArrayRef],
        timestamps: &[i64],
        stream_times: &[i64],
        old: &[Option<At>],
        mut sources: Vec<Vec<ArrayRef>>,
    ) -> Result<Batch> {
        sources.insert(0, self.calls.evaluate(states, groups.len())?);
        let mut updates = Updates::default();
        for group in 0..groups.len() {
            let bounds = self.bounds(groups.key(group));
            let (timestamp, stream_time) = (timestamps[group], stream_times[group]);
            if let Some(at) = old[group] {
                updates.push(-1, group, bounds, at, timestamp, stream_time);
            }
            updates.push(1, group, bounds, At { source: 0, row: group as u32 }, timestamp, stream_time);
        }
        updates.into_batch(&self.output, self.windows.is_some(), &self.group_columns(groups.iter())?, &sources)
    }

    fn bounds(&self, key: &[u8]) -> (i64, i64) {
        if self.windows.is_some() { bounds(key) } else { (0, 0) }
    }

    fn group_columns<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let tail = if self.windows.is_some() { SUFFIX_LEN } else { 0 };
        self.keys.decode(keys.map(|key| &key[1..key.len() - tail]))
    }

    /// `EMIT FINAL`: gives the windows that end at or before `end`, and forgets them.
    fn close(&mut self, end: i64, stream_time: i64, context: &mut Context<'_>) -> Result<()> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let keys = store.close_until(end)?;
        for keys in keys.chunks(HELD_GROUPS_MAX) {
            let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let found = store.get_many(&slices)?;
            // A window that was retained for too short a time is not there any more.
            let slices: Vec<&[u8]> = slices.iter().zip(&found).filter_map(|(key, value)| value.is_some().then_some(*key)).collect();
            if slices.is_empty() {
                continue;
            }
            slices.iter().for_each(|key| store.delete(key));
            let columns = self.states.decode(found.iter().flatten().map(Vec::as_slice))?;
            let timestamps = columns[0].as_primitive::<Int64Type>();
            let sources = [self.calls.evaluate(&columns[1..], slices.len())?];
            let mut updates = Updates::default();
            for (row, key) in slices.iter().enumerate() {
                // At the end of a quiet stream there is no later time than the window's own.
                let time = if stream_time == i64::MAX { bounds(key).1 } else { stream_time };
                updates.push(1, row, bounds(key), At { source: 0, row: row as u32 }, timestamps.value(row), time);
            }
            let tail = SUFFIX_LEN;
            let columns = self.keys.decode(slices.iter().map(|key| &key[1..key.len() - tail]))?;
            context.forward(updates.into_batch(&self.output, true, &columns, &sources)?);
        }
        Ok(())
    }
}

impl Operator for Aggregate {
    fn layout(&self) -> Option<String> {
        self.store.as_ref().map(|_| format!("{};{}", self.keys.layout(), self.states.layout()))
    }

    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let Some(prepared) = self.prepare(batch, context)? else {
            return Ok(());
        };
        if self.emit == Emit::EveryUpdate {
            let mut from = 0;
            while from < prepared.len() {
                from = self.accumulate(&prepared, from, true)?;
                self.release(context)?;
            }
            return Ok(());
        }
        self.accumulate(&prepared, 0, false)?;
        if self.held.groups.len() > self.held_groups_max {
            self.release(context)?;
        }
        Ok(())
    }

    fn advance(&mut self, stream_time_ms: i64, context: &mut Context<'_>) -> Result<()> {
        let Some(windows) = self.windows.filter(|_| self.store.is_some()) else {
            return Ok(());
        };
        if self.emit == Emit::Final {
            let end = stream_time_ms.saturating_sub(windows.grace_ms);
            let end = if stream_time_ms == i64::MAX { i64::MAX } else { end };
            if self.held.groups.iter().any(|key| bounds(key).1 <= end) {
                self.release(context)?;
            }
            if self.store.as_ref().is_some_and(|store| store.has_open_until(end)) {
                self.close(end, stream_time_ms, context)?;
            }
        }
        // At the end of a quiet stream, windows close but time stands still.
        if stream_time_ms < i64::MAX
            && let Some(store) = &mut self.store
        {
            store.expire(stream_time_ms.saturating_sub(self.retention_ms).saturating_add(windows.size_ms));
        }
        Ok(())
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.release(context)
    }

    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        if let Some(store) = &mut self.store {
            store.write(writes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
