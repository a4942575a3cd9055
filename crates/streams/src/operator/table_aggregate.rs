//! Aggregate over a table: `GROUP BY` over changes, each of which takes a row from a group or adds one.
//!
//! ```text
//!  −old +new ─► groups ─┬► invertible: store[k] = state                ─┐ flush
//!                       └► else: store[k, arguments] = how many of them ┴──────► changes −old +new of the groups
//! ```
//! COUNT, SUM and AVG of exact numbers can take a row back; if one of the aggregates cannot, all are computed anew from what is kept.
//!
//! TAG-1  the result of a group is that of its present rows, in whatever order they came and went.
//! TAG-2  a group whose rows are all gone stays, with the result of no rows.
//! TAG-3  a change within a group gives one update; one from a group to another gives the old group's first.

mod invertible;
mod multiset;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::row::Rows;
use millpond_state::WriteSet;

use self::invertible::Invertible;
use self::multiset::Multiset;
use super::aggregate::HELD_GROUPS_MAX;
use super::aggregate::group_store::{GROUP, GroupStore};
use super::aggregate::groups::Groups;
use super::aggregate::input::{Arguments, Grouping};
use super::aggregate::output::{At, Updates};
use super::aggregate::shape::Shape;
use super::row_codec::RowCodec;
use super::store::StoreHandle;
use super::{Context, Operator, nullable};
use crate::topology::{AggregateSpec, Emit, Phase};
use crate::{Batch, Error, Result};

pub struct TableAggregate {
    emit: Emit,
    grouping: Grouping,
    arguments: Arguments,
    method: Method,
    keys: RowCodec,
    /// Greatest rowtime, then states (invertible) or results.
    values: RowCodec,
    output: SchemaRef,
    store: GroupStore,
    held: Held,
}

enum Method {
    Invertible(Invertible),
    Multiset(Multiset),
}

/// The groups touched since the last flush.
#[derive(Default)]
struct Held {
    groups: Groups,
    timestamps: Vec<i64>,
    stream_times: Vec<i64>,
    /// Where the result is that was given last, of groups that had one.
    old: Vec<Option<At>>,
    /// What `old` points into, from 1 on: 0 is for the new results.
    sources: Vec<Vec<ArrayRef>>,
}

impl TableAggregate {
    pub fn new(spec: &AggregateSpec, input: &SchemaRef, output: &SchemaRef, store: StoreHandle) -> Result<TableAggregate> {
        if spec.phase != Phase::Single || spec.window.is_some() || spec.emit == Emit::Final {
            return Err(Error::Topology("an aggregate over a table has one phase and no windows".into()));
        }
        let shape = Shape::of(spec, output, false, 0)?;
        let arguments = Arguments::new(&spec.aggregates, input)?;
        let method = match Invertible::new(&spec.aggregates, input)? {
            Some(invertible) => Method::Invertible(invertible),
            None => Method::Multiset(Multiset::new(&spec.aggregates, arguments.types(input)?)?),
        };
        let kept = match &method {
            Method::Invertible(invertible) => invertible.state_types(),
            Method::Multiset(multiset) => multiset.result_types(),
        };
        Ok(TableAggregate {
            emit: spec.emit,
            grouping: Grouping::new(&spec.group, &shape.group_types)?,
            arguments,
            method,
            keys: RowCodec::new(shape.group_types)?,
            values: RowCodec::new(std::iter::once(DataType::Int64).chain(kept).collect())?,
            output: nullable(output),
            store: GroupStore::new(store, false, false)?,
            held: Held::default(),
        })
    }

    /// Takes the changes `from..` in: all, or with `once` those before a group comes again in another change. Gives where it stopped.
    fn accumulate(&mut self, batch: &Batch, keys: &Rows, from: usize, once: bool, context: &mut Context<'_>) -> Result<usize> {
        let changes = batch.changes.as_ref().map(|changes| changes.values().as_ref()).unwrap_or_default();
        let first_new = self.held.groups.len();
        let mut groups = Vec::with_capacity(batch.num_rows() - from);
        let mut key = vec![GROUP];
        for row in from..batch.num_rows() {
            key.truncate(1);
            key.extend_from_slice(keys.row(row).as_ref());
            let (timestamp, stream_time) = (batch.timestamps.value(row), batch.stream_times.value(row));
            let (group, new) = self.held.groups.intern(&key);
            // A row's new half behind its old one, in the same group, belongs to the same change.
            let same_change = row > from && changes[row - 1] < 0 && changes[row] > 0 && groups.last() == Some(&group);
            if new {
                self.held.timestamps.push(timestamp);
                self.held.stream_times.push(stream_time);
            } else if once && !same_change {
                break;
            } else {
                self.held.timestamps[group] = self.held.timestamps[group].max(timestamp);
                self.held.stream_times[group] = self.held.stream_times[group].max(stream_time);
            }
            groups.push(group);
        }
        let to = from + groups.len();
        self.load(first_new)?;
        let values = self.arguments.evaluate(&batch.slice(from, groups.len()), context)?;
        match &mut self.method {
            Method::Invertible(invertible) => invertible.apply(&values, &groups, &changes[from..to])?,
            Method::Multiset(multiset) => multiset.apply(&values, keys, from, &changes[from..to])?,
        }
        Ok(to)
    }

    /// Looks up what is stored of the groups from `first_new` on.
    fn load(&mut self, first_new: usize) -> Result<()> {
        let held = &mut self.held;
        let keys: Vec<&[u8]> = (first_new..held.groups.len()).map(|group| held.groups.key(group)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let found = self.store.get_many(&keys)?;
        let columns = self.values.decode(found.iter().flatten().map(Vec::as_slice))?;
        let timestamps = columns[0].as_primitive::<Int64Type>();
        let source = held.sources.len() as u32 + 1;
        let mut row = 0;
        for (offset, value) in found.iter().enumerate() {
            let group = first_new + offset;
            let known = value.is_some();
            if known {
                held.timestamps[group] = held.timestamps[group].max(timestamps.value(row));
            }
            match &mut self.method {
                Method::Invertible(invertible) => {
                    invertible.add(known.then_some((&columns[1..], row)))?;
                    // Results are there of all new groups, in their order.
                    held.old.push(known.then_some(At { source, row: offset as u32 }));
                }
                Method::Multiset(_) => held.old.push(known.then_some(At { source, row: row as u32 })),
            }
            row += usize::from(known);
        }
        held.sources.push(match &mut self.method {
            Method::Invertible(invertible) => invertible.results(first_new)?,
            Method::Multiset(_) => columns[1..].to_vec(),
        });
        Ok(())
    }

    /// Stores and forwards what has changed.
    fn release(&mut self, context: &mut Context<'_>) -> Result<()> {
        let Held { groups, timestamps, stream_times, old, mut sources } = std::mem::take(&mut self.held);
        if groups.len() == 0 {
            return Ok(());
        }
        let (results, kept) = match &mut self.method {
            Method::Invertible(invertible) => {
                let (results, states) = (invertible.results(0)?, invertible.states()?);
                invertible.clear();
                (results, states)
            }
            Method::Multiset(multiset) => {
                let results = multiset.release(&groups, &self.arguments, &mut self.store)?;
                (results.clone(), results)
            }
        };
        let mut columns = vec![Arc::new(Int64Array::from(timestamps.clone())) as ArrayRef];
        columns.extend(kept);
        let values = self.values.encode(&columns)?;
        sources.insert(0, results);
        let mut updates = Updates::default();
        for group in 0..groups.len() {
            self.store.put(groups.key(group), values.row(group).as_ref());
            let (timestamp, stream_time) = (timestamps[group], stream_times[group]);
            if let Some(at) = old[group] {
                updates.push(-1, group, (0, 0), at, timestamp, stream_time);
            }
            updates.push(1, group, (0, 0), At { source: 0, row: group as u32 }, timestamp, stream_time);
        }
        let columns = self.keys.decode(groups.iter().map(|key| &key[1..]))?;
        context.forward(updates.into_batch(&self.output, false, &columns, &sources)?);
        Ok(())
    }

    fn held_count(&self) -> usize {
        match &self.method {
            Method::Invertible(_) => self.held.groups.len(),
            Method::Multiset(multiset) => multiset.len(),
        }
    }
}

impl Operator for TableAggregate {
    fn layout(&self) -> Option<String> {
        let method = match &self.method {
            Method::Invertible(_) => "invertible".to_owned(),
            Method::Multiset(multiset) => multiset.layout(),
        };
        Some(format!("{};{};{method}", self.keys.layout(), self.values.layout()))
    }

    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        if batch.changes.is_none() {
            return Err(Error::Topology("an aggregate over a table was given a stream".into()));
        }
        let (batch, columns) = self.grouping.split(batch, context)?;
        let keys = self.keys.encode(&columns)?;
        let once = self.emit == Emit::EveryUpdate;
        let mut from = 0;
        while from < batch.num_rows() {
            from = self.accumulate(&batch, &keys, from, once, context)?;
            if once || self.held_count() > HELD_GROUPS_MAX {
                self.release(context)?;
            }
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
