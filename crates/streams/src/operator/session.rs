//! Session windows over a stream: `GROUP BY k WINDOW SESSION (gap)`.
//!
//! ```text
//!  rows ─► sessions of the key ─► pieces: accumulators of the commit interval ──flush──► store[(k, session)] ─► changes −replaced +new
//!                ▲ sessions not seen before in it                                              │
//!                └─────────────────────────────────────────────────────────────────────────────┘
//! ```
//! A row's session is decided at once; its values are only added to a *piece*. Sessions that become one are a list of pieces, put together
//! at the flush, so that rows are accumulated a batch at a time whatever merges.
//!
//! SES-1  a row within the gap (inclusive) of a session belongs to it, and sessions that share a row are one.
//! SES-2  a session that ends before `stream time - gap - grace`, as a row sees it, is over: the row does not join it, not even one that
//!        joins younger sessions, too. A row is late when the session it would belong to is over; it changes nothing then.
//! SES-3  each session that was given before and is changed is taken back under its old bounds, before what takes its place.

mod sessions;

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::Rows;
use millpond_state::window_key::{SUFFIX_LEN, encode_ms};
use millpond_state::{KeyRange, WriteSet};

use self::sessions::Sessions;
use super::aggregate::HELD_GROUPS_MAX;
use super::aggregate::accumulators::{Accumulators, Calls};
use super::aggregate::group_store::{GROUP, GroupStore};
use super::aggregate::groups::Groups;
use super::aggregate::input::{Arguments, Grouping};
use super::aggregate::output::{At, Updates};
use super::aggregate::shape::Shape;
use super::late::{Late, LateRow, Of};
use super::row_codec::RowCodec;
use super::store::StoreHandle;
use super::window::{bounds, push_bounds};
use super::{Context, Operator, nullable};
use crate::topology::{AggregateSpec, Emit, Phase, WindowKind};
use crate::{Batch, Error, Result};

pub struct SessionAggregate {
    gap_ms: i64,
    grace_ms: i64,
    retention_ms: i64,
    emit: Emit,
    grouping: Grouping,
    arguments: Arguments,
    calls: Arc<Calls>,
    keys: RowCodec,
    /// The session's end, then the state columns.
    states: RowCodec,
    output: SchemaRef,
    store: GroupStore,
    held: Held,
}

/// What was touched since the last flush.
struct Held {
    keys: Groups,
    /// By key.
    sessions: Vec<Sessions>,
    accumulators: Accumulators,
    pieces: usize,
    stored: Vec<Stored>,
    /// Results of the stored sessions, from 1 on: 0 is for the new ones.
    sources: Vec<Vec<ArrayRef>>,
    /// No changed session ends before this, nor one in the store that it takes the place of.
    earliest_end: i64,
}

/// A session as it is in the store.
struct Stored {
    start: i64,
    end: i64,
    result: At,
}

impl Held {
    fn new(calls: &Arc<Calls>) -> Result<Held> {
        Ok(Held {
            keys: Groups::default(),
            sessions: Vec::new(),
            accumulators: calls.accumulators()?,
            pieces: 0,
            stored: Vec::new(),
            sources: Vec::new(),
            earliest_end: i64::MAX,
        })
    }
}

impl SessionAggregate {
    pub fn new(spec: &AggregateSpec, input: &SchemaRef, output: &SchemaRef, store: StoreHandle) -> Result<SessionAggregate> {
        let Some((WindowKind::Session { gap_ms }, window)) = spec.window.map(|window| (window.kind, window)) else {
            return Err(Error::Topology("a session aggregate without a session window".into()));
        };
        if spec.phase != Phase::Single || gap_ms <= 0 || window.grace_ms < 0 {
            return Err(Error::Topology(format!(
                "sessions with a gap of {gap_ms} ms, grace {} ms, in phase {:?}",
                window.grace_ms, spec.phase
            )));
        }
        let retention_ms = window.retention_ms;
        if retention_ms < gap_ms.saturating_add(window.grace_ms) {
            return Err(Error::Topology(format!("sessions are retained for {retention_ms} ms only, less than their gap and grace")));
        }
        let calls = Arc::new(Calls::new(&spec.aggregates)?);
        let shape = Shape::of(spec, output, true, calls.state_types().count())?;
        let state_types = std::iter::once(DataType::Int64).chain(calls.state_types().cloned());
        Ok(SessionAggregate {
            gap_ms,
            grace_ms: window.grace_ms,
            retention_ms,
            emit: spec.emit,
            grouping: Grouping::new(&spec.group, &shape.group_types)?,
            arguments: Arguments::new(&spec.aggregates, input)?,
            keys: RowCodec::new(shape.group_types)?,
            states: RowCodec::new(state_types.collect())?,
            output: nullable(output),
            store: GroupStore::new(store, true, spec.emit == Emit::Final)?,
            held: Held::new(&calls)?,
            calls,
        })
    }

    /// Takes the rows `from..` in: all, or where every update is given those before a key comes again. Gives where it stopped.
    /// Those that come too late go to `late`, by their place in `batch`.
    fn accumulate(&mut self, batch: &Batch, keys: &Rows, from: usize, late: &mut Late, context: &mut Context<'_>) -> Result<usize> {
        let once = self.emit == Emit::EveryUpdate;
        let mut of_row = Vec::with_capacity(batch.num_rows() - from);
        let mut key = vec![GROUP];
        for row in from..batch.num_rows() {
            key.truncate(1);
            key.extend_from_slice(keys.row(row).as_ref());
            let (number, new) = self.held.keys.intern(&key);
            if new {
                self.held.sessions.push(Sessions::default());
            } else if once {
                break;
            }
            of_row.push(number);
        }
        let batch = batch.slice(from, of_row.len());
        self.load(&batch, &of_row)?;
        self.place(&batch, &of_row, context, |row| late.push(LateRow { row: from + row.row, ..row }))?;
        Ok(from + of_row.len())
    }

    /// Loads the stored sessions that the rows may touch, as far as they are not here yet.
    fn load(&mut self, batch: &Batch, of_row: &[usize]) -> Result<()> {
        let mut wanted: Vec<(usize, i64)> = Vec::new();
        let mut earliest = vec![i64::MAX; self.held.keys.len()];
        for (time, key) in batch.timestamps.values().iter().zip(of_row) {
            if earliest[*key] == i64::MAX {
                wanted.push((*key, 0));
            }
            earliest[*key] = earliest[*key].min(time.saturating_sub(self.gap_ms));
        }
        wanted.iter_mut().for_each(|(key, from)| *from = earliest[*key]);
        wanted.retain(|(key, from)| self.held.sessions[*key].loaded_from.is_none_or(|loaded| *from < loaded));
        let mut found: Vec<(usize, i64, i64)> = Vec::new();
        let mut values: Vec<Vec<u8>> = Vec::new();
        for (key, from) in wanted {
            let mut start = self.held.keys.key(key).to_vec();
            let mut end = start.clone();
            start.extend_from_slice(&encode_ms(from));
            match self.held.sessions[key].loaded_from {
                Some(loaded) => end.extend_from_slice(&encode_ms(loaded)),
                None => end.extend_from_slice(&[u8::MAX; SUFFIX_LEN]),
            }
            self.store.scan(KeyRange { start: &start, end: Some(&end) }, &mut |stored, value| {
                let (start, end) = bounds(stored);
                found.push((key, start, end));
                values.push(value.to_vec());
                ControlFlow::Continue(())
            })?;
            self.held.sessions[key].loaded_from = Some(from);
        }
        if found.is_empty() {
            return Ok(());
        }
        let columns = self.states.decode(values.iter().map(Vec::as_slice))?;
        let held = &mut self.held;
        let pieces: Vec<usize> = (held.pieces..held.pieces + found.len()).collect();
        held.pieces += found.len();
        held.accumulators.merge(&columns[1..], &pieces, held.pieces)?;
        let source = held.sources.len() as u32 + 1;
        for (row, ((key, start, end), piece)) in found.into_iter().zip(&pieces).enumerate() {
            held.sessions[key].load(start, end, *piece as u32, held.stored.len() as u32);
            held.stored.push(Stored { start, end, result: At { source, row: row as u32 } });
        }
        if self.emit != Emit::Final {
            held.sources.push(self.calls.evaluate(&columns[1..], pieces.len())?);
        }
        Ok(())
    }

    /// Decides where each row belongs and accumulates those that are not late.
    fn place(&mut self, batch: &Batch, of_row: &[usize], context: &mut Context<'_>, mut late: impl FnMut(LateRow)) -> Result<()> {
        let closed_end = self.store.closed_end();
        let reach = self.gap_ms.saturating_add(self.grace_ms);
        let (mut rows, mut pieces): (Vec<u32>, Vec<usize>) = (Vec::with_capacity(of_row.len()), Vec::with_capacity(of_row.len()));
        let held = &mut self.held;
        for (row, key) in of_row.iter().enumerate() {
            let (time, stream_time) = (batch.timestamps.value(row), batch.stream_times.value(row));
            let over_before = stream_time.saturating_sub(reach);
            let open_from = over_before.max(closed_end.saturating_add(1));
            match held.sessions[*key].place(time, stream_time, self.gap_ms, held.pieces as u32, open_from) {
                Ok(piece) => {
                    held.pieces = held.pieces.max(piece as usize + 1);
                    // What the row's session takes the place of ends within the gap before it, or later.
                    held.earliest_end = held.earliest_end.min(time.saturating_sub(self.gap_ms));
                    rows.push(row as u32);
                    pieces.push(piece as usize);
                }
                Err((start, end)) => late(LateRow { row, start, closed: end >= over_before }),
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let kept = if rows.len() == batch.num_rows() { batch.clone() } else { batch.take(&UInt32Array::from(rows))? };
        let values = self.arguments.evaluate(&kept, context)?;
        self.held.accumulators.update(&values, &pieces, self.held.pieces)
    }

    /// Puts the changed sessions together, stores them and forwards what has changed.
    fn release(&mut self, context: &mut Context<'_>) -> Result<()> {
        let Held { keys, sessions, accumulators, pieces, stored, sources, .. } = std::mem::replace(&mut self.held, Held::new(&self.calls)?);
        let changed: Vec<_> = sessions
            .iter()
            .enumerate()
            .flat_map(|(key, sessions)| sessions.sessions.iter().filter(|session| session.changed).map(move |session| (key, session)))
            .collect();
        if pieces == 0 || changed.is_empty() {
            return Ok(());
        }
        let (mut of_piece, mut of_session): (Vec<u32>, Vec<usize>) = (Vec::new(), Vec::new());
        for (number, (_, session)) in changed.iter().enumerate() {
            of_piece.extend(&session.pieces);
            of_session.extend(session.pieces.iter().map(|_| number));
        }
        let pieces = UInt32Array::from(of_piece);
        let states: Result<Vec<ArrayRef>> = accumulators.states()?.iter().map(|column| Ok(take(column, &pieces, None)?)).collect();
        let mut states = states?;
        if of_session.len() > changed.len() {
            let mut merged = self.calls.accumulators()?;
            merged.merge(&states, &of_session, changed.len())?;
            states = merged.states()?;
        }

        let ends = Int64Array::from_iter_values(changed.iter().map(|(_, session)| session.end));
        let mut columns = vec![Arc::new(ends) as ArrayRef];
        columns.extend(states.iter().cloned());
        let values = self.states.encode(&columns)?;
        let mut updates = Updates::default();
        let store_key = |key: usize, start: i64, end: i64| {
            let mut bytes = keys.key(key).to_vec();
            push_bounds(&mut bytes, start, end);
            bytes
        };
        for (number, (key, session)) in changed.iter().enumerate() {
            let new_bounds = (session.start, session.end);
            for old in session.replaces.iter().map(|replaced| &stored[*replaced as usize]) {
                let old_bounds = (old.start, old.end);
                if old_bounds != new_bounds {
                    let old_key = store_key(*key, old.start, old.end);
                    self.store.delete(&old_key);
                    self.store.abandon(&old_key);
                }
                updates.push(-1, *key, old_bounds, old.result, old.end, session.stream_time);
            }
            let new_key = store_key(*key, session.start, session.end);
            self.store.put(&new_key, values.row(number).as_ref());
            self.store.open(&new_key);
            updates.push(1, *key, new_bounds, At { source: 0, row: number as u32 }, session.end, session.stream_time);
        }
        if self.emit != Emit::Final {
            let mut all = vec![self.calls.evaluate(&states, changed.len())?];
            all.extend(sources);
            let groups = self.keys.decode(keys.iter().map(|key| &key[1..]))?;
            context.forward(updates.into_batch(&self.output, true, &groups, &all)?);
        }
        Ok(())
    }

    /// `EMIT FINAL`: gives the sessions that end at or before `end`. They stay until they expire.
    fn close(&mut self, end: i64, stream_time: i64, context: &mut Context<'_>) -> Result<()> {
        let keys = self.store.close_until(end)?;
        for keys in keys.chunks(HELD_GROUPS_MAX) {
            let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let found = self.store.get_many(&slices)?;
            let slices: Vec<&[u8]> = slices.iter().zip(&found).filter_map(|(key, value)| value.is_some().then_some(*key)).collect();
            if slices.is_empty() {
                continue;
            }
            let columns = self.states.decode(found.iter().flatten().map(Vec::as_slice))?;
            let sources = [self.calls.evaluate(&columns[1..], slices.len())?];
            let mut updates = Updates::default();
            for (row, key) in slices.iter().enumerate() {
                let (_, end) = bounds(key);
                let time = if stream_time == i64::MAX { end } else { stream_time };
                updates.push(1, row, bounds(key), At { source: 0, row: row as u32 }, end, time);
            }
            let groups = self.keys.decode(slices.iter().map(|key| &key[1..key.len() - SUFFIX_LEN]))?;
            context.forward(updates.into_batch(&self.output, true, &groups, &sources)?);
        }
        Ok(())
    }
}

impl Operator for SessionAggregate {
    fn layout(&self) -> Option<String> {
        Some(format!("{};{}", self.keys.layout(), self.states.layout()))
    }

    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let (batch, columns) = self.grouping.split(batch, context)?;
        let keys = self.keys.encode(&columns)?;
        let once = self.emit == Emit::EveryUpdate;
        let mut late = Late::default();
        let mut from = 0;
        while from < batch.num_rows() {
            from = self.accumulate(&batch, &keys, from, &mut late, context)?;
            if once || self.held.pieces > HELD_GROUPS_MAX {
                self.release(context)?;
            }
        }
        late.report(Of::Row, &batch, &columns, context)
    }

    fn advance(&mut self, stream_time_ms: i64, context: &mut Context<'_>) -> Result<()> {
        if self.emit == Emit::Final {
            // A session is closed when stream time is greater than its end, the gap and the grace.
            let end = match stream_time_ms {
                i64::MAX => i64::MAX,
                time => time.saturating_sub(self.gap_ms).saturating_sub(self.grace_ms).saturating_sub(1),
            };
            if self.held.earliest_end <= end {
                self.release(context)?;
            }
            if self.store.has_open_until(end) {
                self.close(end, stream_time_ms, context)?;
            }
        }
        if stream_time_ms < i64::MAX {
            self.store.expire(stream_time_ms.saturating_sub(self.retention_ms).saturating_sub(1));
        }
        Ok(())
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.release(context)
    }

    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        self.store.write(writes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
