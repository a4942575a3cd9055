//! Moves rows to where their key belongs: a sink and the source behind it, with a topic of native columns between them.
//!
//! ```text
//!  task 0 ─┐  rows by murmur2(key)   ┌─► partition 0 ─► task 0
//!  task 1 ─┼─────────────────────────┼─► partition 1 ─► task 1      at a commit, to every partition: how far this task is
//!  task 2 ─┘                         └─► partition 2 ─► task 2
//! ```
//!
//! REP-1  an announcement stands behind all rows that were judged before it, in every partition.
//! REP-2  a row keeps the stream time it was read at: lateness is not judged anew by what else has arrived here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, Schema, SchemaRef};
use millpond_formats::Format;
use millpond_log::entry::{CHANGE, STREAM_TIME, TIMESTAMP, TOMBSTONE};
use millpond_log::{Control, Fetched, Payload};

use super::outbox::Outbox;
use super::source::{Arrival, Content, Records, Source};
use super::{Context, Counters, Operator, nullable, partition, record_batch};
use crate::batch::tombstones;
use crate::time::StreamTime;
use crate::topology::RepartitionSpec;
use crate::{Batch, Error, Result};

pub struct RepartitionSink {
    key: Vec<usize>,
    key_format: Format,
    outbox: Outbox,
    announced: Option<Control>,
}

impl RepartitionSink {
    /// `restored` is the stream time of the task's last commit.
    pub fn new(spec: &RepartitionSpec, partition: u32, restored: StreamTime) -> RepartitionSink {
        let outbox = Outbox::new(spec.topic.clone(), spec.partitions, false, partition);
        let key_format = match &spec.key_format {
            // A topic without keys hashes nothing, so there is nothing to agree with.
            Format::None => Format::Native,
            format => format.clone(),
        };
        RepartitionSink { key: spec.key.clone(), key_format, outbox, announced: restored.announcement() }
    }
}

impl Operator for RepartitionSink {
    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let keys: Vec<ArrayRef> = self.key.iter().map(|column| batch.rows.column(*column).clone()).collect();
        let partitions = partition::partitions(&self.key_format, &keys, self.outbox.partitions(), 0)?;
        for (partition, rows) in partition::split(&entry_rows(&batch)?, &partitions, self.outbox.partitions())? {
            self.outbox.push(partition, rows, context)?;
        }
        Ok(())
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Result<()> {
        self.outbox.flush(context)?;
        let announcement = context.stream_time.announcement();
        if let Some(control) = announcement
            && announcement != self.announced
        {
            self.outbox.announce(control, context)?;
            self.announced = announcement;
        }
        Ok(())
    }
}

/// Columns are named by their place, since a plan's names need not differ.
fn entry_rows(batch: &Batch) -> Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (index, column) in batch.rows.columns().iter().enumerate() {
        fields.push(Field::new(format!("c{index}"), column.data_type().clone(), true));
        columns.push(column.clone());
    }
    fields.push(Field::new(TIMESTAMP, DataType::Int64, false));
    columns.push(Arc::new(batch.timestamps.clone()));
    fields.push(Field::new(STREAM_TIME, DataType::Int64, false));
    columns.push(Arc::new(batch.stream_times.clone()));
    if let Some(changes) = &batch.changes {
        fields.push(Field::new(CHANGE, DataType::Int8, false));
        columns.push(Arc::new(changes.clone()));
    }
    if let Some(tombstones) = &batch.tombstones {
        fields.push(Field::new(TOMBSTONE, DataType::Boolean, false));
        columns.push(Arc::new(tombstones.clone()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

pub struct RepartitionSource {
    schema: SchemaRef,
    table: bool,
}

impl RepartitionSource {
    pub fn new(schema: &SchemaRef, table: bool) -> RepartitionSource {
        RepartitionSource { schema: nullable(schema), table }
    }

    fn records(&self, fetched: &Fetched, rows: &RecordBatch) -> Result<Records> {
        let declared = self.schema.fields().len();
        let columns: Vec<ArrayRef> = rows.columns().iter().take(declared).cloned().collect();
        if columns.len() < declared {
            return Err(foreign("too few columns"));
        }
        let times = |name| rows.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>()).cloned();
        let changes = rows.column_by_name(CHANGE).and_then(|column| column.as_primitive_opt::<Int8Type>()).cloned();
        let batch = Batch {
            rows: record_batch(&self.schema, columns, rows.num_rows())?,
            timestamps: times(TIMESTAMP).ok_or_else(|| foreign("no timestamps"))?,
            stream_times: times(STREAM_TIME).ok_or_else(|| foreign("no stream times"))?,
            changes: self.table.then(|| changes.unwrap_or_else(|| Int8Array::from(vec![1; rows.num_rows()]))),
            tombstones: rows.column_by_name(TOMBSTONE).and_then(|column| tombstones(column.as_boolean_opt()?.clone())),
        };
        let offsets = Int64Array::from_iter_values((0..rows.num_rows()).map(|row| fetched.offset(row) as i64));
        Ok(Records { batch, offsets, keys: None })
    }
}

impl Source for RepartitionSource {
    fn decode(&mut self, fetched: &Fetched) -> Result<Arrival> {
        let content = match &fetched.entry.payload {
            Payload::Columns(rows) => Content::Records(self.records(fetched, rows)?),
            Payload::Control(control) => Content::Control { channel: fetched.entry.channel as usize, control: *control },
            Payload::Opaque(_) => return Err(foreign("opaque records")),
        };
        let counters = match &content {
            Content::Records(records) => Counters { rows_in: records.num_rows() as u64, ..Counters::default() },
            Content::Control { .. } => Counters::default(),
        };
        Ok(Arrival { content, incidents: Vec::new(), counters, next_offset: fetched.next_offset, fault: None })
    }

    fn process(&mut self, records: Records, context: &mut Context<'_>) -> Result<()> {
        context.forward(records.batch);
        Ok(())
    }
}

fn foreign(what: &str) -> Error {
    Error::Log(millpond_log::Error::Corrupt(format!("an entry of a repartition topic has {what}")))
}
