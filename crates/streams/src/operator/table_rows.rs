//! The rows of a table, from the store that has them ([`TableStore`]).
//!
//! ```text
//!  the sink's         key, value ─────────────────────────────────────────► row
//!  an aggregate's     1 ++ group ++ window, state ─► HAVING, SELECT list ─► row, or none
//! ```
//!
//! TRW-1  of a group it gives what the aggregate's last change of it is in the table's topic.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use millpond_state::KeyRange;

use super::aggregate::accumulators::Calls;
use super::aggregate::group_store::GROUP;
use super::filter::Filter;
use super::project::Project;
use super::row_codec::RowCodec;
use super::table_key::{MILLIS, TableCodec, window};
use super::{Context, nullable, record_batch};
use crate::topology::{OperatorSpec, RecordLayout, SinkSpec, SubTopology, TableStore};
use crate::{Batch, Error, Result};

/// How a table's rows are read.
pub struct TableRows {
    codec: TableCodec,
    /// `None`: they are stored as they are.
    groups: Option<Groups>,
}

/// What makes rows of an aggregate's groups.
struct Groups {
    calls: Arc<Calls>,
    states: RowCodec,
    /// The aggregate's columns.
    schema: SchemaRef,
    /// From the aggregate to the sink.
    steps: Vec<Step>,
    /// Which of the last step's columns each of the table's is.
    columns: Vec<usize>,
}

enum Step {
    Filter(Filter),
    Project(Project),
}

impl std::fmt::Debug for TableRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableRows").field("codec", &self.codec).field("groups", &self.groups.is_some()).finish()
    }
}

impl TableRows {
    /// As a sink stores them.
    pub fn stored(layout: &RecordLayout) -> Result<TableRows> {
        Ok(TableRows { codec: TableCodec::new(layout)?, groups: None })
    }

    /// Those that the sub-topology makes, which has the table's sink.
    pub fn of(sub_topology: &SubTopology) -> Result<TableRows> {
        let sink = sub_topology.table_sink().ok_or_else(|| Error::Topology("it fills no table".to_owned()))?;
        let groups = match sink.table {
            Some(TableStore::Aggregate(node)) => Some(Groups::new(sub_topology, node, sink)?),
            _ => None,
        };
        Ok(TableRows { groups, ..TableRows::stored(&sink.layout)? })
    }

    /// What [`TableRows::decode`] gives; as [`TableCodec::schema`].
    pub fn schema(&self) -> &SchemaRef {
        self.codec.schema()
    }

    pub fn windowed(&self) -> bool {
        self.codec.windowed()
    }

    /// Where in its store the table's rows are.
    pub fn range(&self) -> KeyRange<'static> {
        if self.groups.is_some() { KeyRange { start: &[GROUP], end: Some(&[GROUP + 1]) } } else { KeyRange::ALL }
    }

    /// What all keys in that range begin with.
    pub fn prefix(&self) -> &'static [u8] {
        self.range().start
    }

    /// Keys as stored, without their windows.
    pub fn encode_keys(&self, columns: &[ArrayRef]) -> Result<BinaryArray> {
        let keys = self.codec.encode_keys(columns, None)?;
        if self.prefix().is_empty() {
            return Ok(keys);
        }
        Ok(keys.iter().map(|key| key.map(|key| [self.prefix(), key].concat())).collect())
    }

    /// Keys and values as stored, into rows; of groups that HAVING leaves out there are none. The bytes must be this table's: they are trusted.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<RecordBatch> {
        let Some(groups) = &self.groups else { return self.codec.decode(rows) };
        let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) = rows.into_iter().map(|(key, value)| (&key[1..], value)).unzip();
        if keys.is_empty() {
            return self.codec.decode(std::iter::empty());
        }
        let mut columns = self.codec.decode_keys(&keys)?;
        if self.windowed() {
            let (starts, ends): (Vec<i64>, Vec<i64>) = keys.iter().map(|key| window(key)).unzip();
            columns.push(Arc::new(TimestampMillisecondArray::from(starts)));
            columns.push(Arc::new(TimestampMillisecondArray::from(ends)));
        }
        groups.rows(columns, &values, self.schema())
    }
}

impl Groups {
    fn new(sub_topology: &SubTopology, node: usize, sink: &SinkSpec) -> Result<Groups> {
        let wrong = |what: &str| Error::Topology(format!("the rows of table {} are not those of an aggregate: {what}", sink.sink));
        let aggregate = sub_topology.nodes.get(node).ok_or_else(|| wrong("there is none"))?;
        let OperatorSpec::Aggregate(spec) = &aggregate.operator else { return Err(wrong(&aggregate.id)) };
        let mut steps = Vec::new();
        // Nodes stand behind those that they read.
        let mut last = node;
        for (index, behind) in sub_topology.nodes.iter().enumerate().skip(node + 1) {
            if behind.inputs != [last] {
                continue;
            }
            match &behind.operator {
                OperatorSpec::Filter { predicate } => steps.push(Step::Filter(Filter::new(predicate.clone()))),
                OperatorSpec::Project { expressions } => steps.push(Step::Project(Project::new(expressions, &behind.schema)?)),
                OperatorSpec::Sink(_) => break,
                _ => return Err(wrong(&behind.id)),
            }
            last = index;
        }
        let calls = Arc::new(Calls::new(&spec.aggregates)?);
        let state_types = std::iter::once(DataType::Int64).chain(calls.state_types().cloned());
        let states = RowCodec::new(state_types.collect())?;
        let (start, end) = sink.window.unzip();
        let columns = sink.columns.iter().copied().chain(start).chain(end).collect();
        Ok(Groups { states, calls, schema: nullable(&aggregate.schema), steps, columns })
    }

    /// `columns` are the group's; the result has `schema`.
    fn rows(&self, mut columns: Vec<ArrayRef>, values: &[&[u8]], schema: &SchemaRef) -> Result<RecordBatch> {
        let states = self.states.decode(values.iter().copied())?;
        let timestamps = states[0].as_primitive::<Int64Type>().clone();
        columns.extend(self.calls.evaluate(&states[1..], values.len())?);
        let rows = record_batch(&self.schema, columns, values.len())?;
        let mut batch = Batch { rows, stream_times: timestamps.clone(), timestamps, changes: None, tombstones: None };
        // What fails was told when the aggregate gave it.
        let mut context = Context::default();
        for step in &self.steps {
            batch = match step {
                Step::Filter(filter) => filter.apply(batch, &mut context)?,
                Step::Project(project) => project.apply(&batch, &mut context)?,
            };
        }
        let mut columns: Vec<ArrayRef> = self.columns.iter().map(|column| batch.rows.column(*column).clone()).collect();
        columns.push(cast(&batch.timestamps, &MILLIS)?);
        record_batch(schema, columns, batch.num_rows())
    }
}
