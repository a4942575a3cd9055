//! Writes a query's result to its topic and, of a table, to its table store.
//!
//! ```text
//!  stream  rows ─────────────────────────────────────► entries, by murmur2(key)
//!  table   changes ─► last of each key, at a commit ─┬► entries: the row, or a tombstone
//!                                                    └► the table's own store, if it has one
//! ```
//!
//! SNK-1  a key of a table gives at most one record per commit: its last change. With `emit_every_update`, one per change.
//! SNK-2  after a commit the table's store has exactly what a reader of the topic from its beginning would have.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, nullif, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use hashbrown::HashSet;
use millpond_formats::timestamp::Pattern;
use millpond_formats::{Encoder, Format, Options, key_bytes, windowed};
use millpond_log::entry::{TIMESTAMP, TOMBSTONE};
use millpond_log::opaque::opaque_schema;
use millpond_state::{Backend, Expiry, StoreConfig, WriteSet, Writes};

use super::outbox::Outbox;
use super::record::{millis, no_time, window_format};
use super::store::StoreHandle;
use super::table_key::{MILLIS, TableCodec, WINDOW_END, WINDOW_START};
use super::table_source::last_of_each;
use super::{Context, Incident, IncidentKind, Operator, partition};
use crate::expression::DESCRIBED_MAX;
use crate::topology::{SinkSpec, TableStore, Windowed};
use crate::{Batch, Error, Result};

/// So many rows of a table's changes wait for a commit before those that later ones replaced are dropped.
const WAITING_ROWS_MAX: usize = 262_144;

pub struct Sink {
    spec: SinkSpec,
    partition: u32,
    outbox: Outbox,
    writer: Writer,
    pattern: Option<Pattern>,
    table: Option<Table>,
}

/// How rows become an entry's rows.
enum Writer {
    Native {
        schema: SchemaRef,
        /// With a column that says where there is no value: a table's, and a stream's where it has some.
        with_tombstones: SchemaRef,
    },
    Opaque {
        key: Option<Encoder>,
        value: Encoder,
    },
}

struct Table {
    codec: TableCodec,
    /// Changes since the last commit.
    waiting: Vec<Batch>,
    waiting_rows: usize,
    /// `None`: others have its rows.
    kept: Option<Kept>,
}

/// The sink's own store of a table.
struct Kept {
    store: StoreHandle,
    /// Of windowed tables that forget.
    retention_ms: Option<i64>,
    /// Windows that ended at or before this go with the next commit.
    expired_before_ms: Option<i64>,
    writes: Writes,
}

/// Rows in the sink's columns.
struct Output {
    columns: Vec<ArrayRef>,
    windows: Option<(Int64Array, Int64Array)>,
    timestamps: Int64Array,
    /// True where there is no value. A table always has it.
    tombstones: Option<BooleanArray>,
}

impl Sink {
    /// `restored_ms` is the stream time of the task's last commit.
    pub fn new(spec: &SinkSpec, backend: &Arc<dyn Backend>, partition: u32, restored_ms: Option<i64>) -> Result<Sink> {
        let layout = &spec.layout;
        if spec.columns.len() != layout.columns.len() || layout.windowed.is_some() != spec.window.is_some() {
            return Err(Error::Topology(format!("sink {} has other columns than its topic", spec.sink)));
        }
        let native = layout.value_format == Format::Native;
        let kept = match &spec.table {
            Some(TableStore::Own(store)) => {
                let config = StoreConfig { partitions: spec.partitions, retention_ms: spec.retention_ms };
                Some(Kept::new(spec, StoreHandle::open(backend, store, partition, config)?, restored_ms))
            }
            Some(TableStore::Aggregate(_) | TableStore::Topic) | None => None,
        };
        let table = match spec.table {
            Some(_) => Some(Table { codec: TableCodec::new(layout)?, waiting: Vec::new(), waiting_rows: 0, kept }),
            None => None,
        };
        let pattern = match &spec.timestamp {
            Some((_, Some(pattern))) => Some(Pattern::new(pattern)?),
            _ => None,
        };
        Ok(Sink {
            outbox: Outbox::new(spec.topic.clone(), spec.partitions, !native, 0),
            writer: if native { Writer::native(spec) } else { Writer::opaque(spec)? },
            spec: spec.clone(),
            partition,
            pattern,
            table,
        })
    }

    fn output(&self, batch: &Batch, context: &mut Context<'_>) -> Result<Output> {
        let layout = &self.spec.layout;
        let mut columns = Vec::with_capacity(layout.columns.len());
        for (index, field) in self.spec.columns.iter().zip(&layout.columns) {
            let column = batch.rows.column(*index);
            columns.push(if column.data_type() == field.data_type() { column.clone() } else { cast(column, field.data_type())? });
        }
        let bound = |index: usize| -> Result<Int64Array> {
            let column = cast(batch.rows.column(index), &MILLIS)?;
            Ok(cast(&column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        let windows = match self.spec.window {
            Some((start, end)) => Some((bound(start)?, bound(end)?)),
            None => None,
        };
        let mut output = Output { columns, windows, timestamps: batch.timestamps.clone(), tombstones: batch.tombstones.clone() };
        if self.table.is_some() {
            let gone = |sign: &i8| *sign < 0;
            let tombstones = batch.changes.as_ref().map(|changes| changes.values().iter().map(gone).collect::<Vec<bool>>());
            output.tombstones = Some(BooleanArray::from(tombstones.unwrap_or_else(|| vec![false; batch.num_rows()])));
        }
        if let Some(tombstones) = &output.tombstones {
            for column in &mut output.columns[layout.key_columns..] {
                *column = nullif(column, tombstones)?;
            }
        }
        self.timed(output, context)
    }

    /// With the times of the sink's timestamp column, where it has one. A stream's row without a time is left out; what has no value
    /// keeps the time it came with, and so does a table's change, which must not be left out.
    fn timed(&self, mut output: Output, context: &mut Context<'_>) -> Result<Output> {
        let Some((index, _)) = &self.spec.timestamp else { return Ok(output) };
        let own = millis(&output.columns[*index], self.pattern.as_ref())?;
        let own: Int64Array = own.iter().map(|time_ms| time_ms.filter(|time_ms| *time_ms >= 0)).collect();
        if own.null_count() == 0 {
            output.timestamps = own;
            return Ok(output);
        }
        let tombstones = output.tombstones.clone();
        let is_untimed = |row: &usize| own.is_null(*row) && tombstones.as_ref().is_none_or(|tombstones| !tombstones.value(*row));
        let (untimed, timed): (Vec<usize>, Vec<usize>) = (0..own.len()).partition(is_untimed);
        context.counters.bad_timestamp += untimed.len() as u64;
        self.report_untimed(&untimed, *index, &output, context)?;
        output.timestamps = own.iter().zip(output.timestamps.values()).map(|(own, came)| own.or(Some(*came))).collect();
        if self.table.is_none() && !untimed.is_empty() {
            output = output.take(&UInt32Array::from_iter_values(timed.into_iter().map(|row| row as u32)))?;
        }
        Ok(output)
    }

    /// `index` is the timestamp column; the rows still have the times they came with.
    fn report_untimed(&self, rows: &[usize], index: usize, output: &Output, context: &mut Context<'_>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let column = &output.columns[index];
        let read = millis(column, self.pattern.as_ref())?;
        for row in rows.iter().copied().take(DESCRIBED_MAX) {
            let time_ms = read.is_valid(row).then(|| read.value(row));
            let reason = no_time(self.spec.layout.columns[index].name(), column, row, time_ms)?;
            context.incidents.push(Incident {
                topic: Some(self.spec.topic.to_string()),
                partition: Some(context.partition),
                rowtime_ms: Some(output.timestamps.value(row)),
                ..Incident::new(IncidentKind::Serialization, context.node, reason)
            });
        }
        Ok(())
    }

    /// Appends the rows and puts them into the table store.
    fn emit(&mut self, batch: &Batch, context: &mut Context<'_>) -> Result<()> {
        let output = self.output(batch, context)?;
        let rows = output.timestamps.len();
        if rows == 0 {
            return Ok(());
        }
        if let Some(Table { codec, kept: Some(kept), .. }) = &mut self.table {
            kept.put(&output, self.spec.layout.key_columns, codec)?;
        }
        if self.spec.store_only {
            return Ok(());
        }
        context.counters.rows_out += rows as u64;
        let (entry, partitions) = self.entry(&output, context)?;
        for (partition, rows) in partition::split(&entry, &partitions, self.spec.partitions)? {
            self.outbox.push(partition, rows, context)?;
        }
        Ok(())
    }

    /// The rows as the topic has them, and the partition of each.
    fn entry(&self, output: &Output, context: &mut Context<'_>) -> Result<(RecordBatch, Vec<u32>)> {
        let layout = &self.spec.layout;
        let (keys, values) = output.columns.split_at(layout.key_columns);
        let own = self.partition % self.spec.partitions;
        let rows = output.timestamps.len();
        match &self.writer {
            Writer::Native { schema, with_tombstones } => {
                let schema = if output.tombstones.is_some() { with_tombstones } else { schema };
                let partitions = if keys.is_empty() || self.spec.partitions == 1 {
                    vec![own; rows]
                } else {
                    partition::of_bytes(&key_bytes(&Format::Native, keys)?, self.spec.partitions, own)
                };
                Ok((output.columns_entry(keys, values, schema)?, partitions))
            }
            Writer::Opaque { key, value } => {
                let mut failed = Vec::new();
                let keys = match key {
                    Some(encoder) => {
                        let (bytes, errors) = encoder.encode(keys);
                        failed.extend(errors);
                        bytes
                    }
                    None => BinaryArray::new_null(rows),
                };
                let partitions = partition::of_bytes(&keys, self.spec.partitions, own);
                let mut values = if values.is_empty() {
                    BinaryArray::from_iter_values(std::iter::repeat_n(b"", rows))
                } else {
                    let (bytes, errors) = value.encode(values);
                    failed.extend(errors);
                    bytes
                };
                if let Some(tombstones) = &output.tombstones {
                    values = nullif(&values, tombstones)?.as_binary::<i32>().clone();
                }
                let entry = output.opaque_entry(keys, values, layout.windowed)?;
                if failed.is_empty() { Ok((entry, partitions)) } else { without(&failed, entry, partitions, output, context) }
            }
        }
    }
}

impl Operator for Sink {
    fn process(&mut self, _port: usize, batch: Batch, context: &mut Context<'_>) -> Result<()> {
        let Some(table) = &mut self.table else { return self.emit(&batch, context) };
        if self.spec.emit_every_update {
            let batch = match &batch.changes {
                Some(changes) => batch.take(&every_update(&table.keys(&self.spec, &batch)?, changes.values()))?,
                None => batch,
            };
            return self.emit(&batch, context);
        }
        table.waiting_rows += batch.num_rows();
        table.waiting.push(batch);
        if table.waiting_rows > WAITING_ROWS_MAX {
            let batch = table.coalesce(&self.spec)?;
            // When most of the keys differ there is nothing to drop: they go out as they are, in order.
            if batch.num_rows() > WAITING_ROWS_MAX / 2 {
                return self.emit(&batch, context);
            }
            table.waiting_rows = batch.num_rows();
            table.waiting.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, _stream_time_ms: i64, context: &mut Context<'_>) -> Result<()> {
        if let (Some(Table { kept: Some(kept), .. }), Some(stream_time_ms)) = (&mut self.table, context.stream_time.millis()) {
            kept.expired_before_ms = kept.retention_ms.map(|retention_ms| stream_time_ms.saturating_sub(retention_ms));
        }
        Ok(())
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Result<()> {
        if let Some(table) = &mut self.table
            && !table.waiting.is_empty()
        {
            let batch = table.coalesce(&self.spec)?;
            self.emit(&batch, context)?;
        }
        self.outbox.flush(context)
    }

    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        if let Some(Table { kept: Some(kept), .. }) = &mut self.table {
            let mut own = kept.store.writes();
            std::mem::swap(&mut own, &mut kept.writes);
            own.sort();
            writes.push(own);
            if let Some(expired_before_ms) = kept.expired_before_ms.take() {
                writes.expiries.push((kept.store.id, kept.store.partition, Expiry { expired_before_ms }));
            }
        }
        Ok(())
    }
}

impl Table {
    /// The store keys of a batch's rows.
    fn keys(&self, spec: &SinkSpec, batch: &Batch) -> Result<BinaryArray> {
        let columns: Vec<ArrayRef> =
            spec.columns[..spec.layout.key_columns].iter().map(|column| batch.rows.column(*column).clone()).collect();
        let bound = |column: usize| -> Result<Int64Array> {
            let bound = cast(batch.rows.column(column), &MILLIS)?;
            Ok(cast(&bound, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        match spec.window {
            Some((start, end)) => {
                let (starts, ends) = (bound(start)?, bound(end)?);
                self.codec.encode_keys(&columns, Some((starts.values(), ends.values())))
            }
            None => self.codec.encode_keys(&columns, None),
        }
    }

    /// The last change of each key that waits.
    fn coalesce(&mut self, spec: &SinkSpec) -> Result<Batch> {
        let batch = Batch::concat(&std::mem::take(&mut self.waiting))?;
        self.waiting_rows = 0;
        let keys = self.keys(spec, &batch)?;
        let last = last_of_each((0..keys.len()).map(|row| keys.value(row)));
        if last.len() == batch.num_rows() { Ok(batch) } else { batch.take(&UInt32Array::from(last)) }
    }
}

impl Kept {
    fn new(spec: &SinkSpec, store: StoreHandle, restored_ms: Option<i64>) -> Kept {
        let retention_ms = spec.kept_after_window_ms();
        if let (Some(retention_ms), Some(restored_ms)) = (retention_ms, restored_ms) {
            // The backend may not know any more what was committed before a restart.
            let expired_before_ms = restored_ms.saturating_sub(retention_ms);
            store.backend.set_expiry(store.id, store.partition, Expiry { expired_before_ms });
        }
        let writes = store.writes();
        Kept { store, retention_ms, expired_before_ms: None, writes }
    }

    fn put(&mut self, output: &Output, key_columns: usize, codec: &TableCodec) -> Result<()> {
        let (keys, values) = output.columns.split_at(key_columns);
        let windows = output.windows.as_ref().map(|(starts, ends)| (&starts.values()[..], &ends.values()[..]));
        let keys = codec.encode_keys(keys, windows)?;
        let values = codec.encode_values(&output.timestamps, values)?;
        let gone = output.tombstones.as_ref().expect("a table's rows say which are gone");
        for row in 0..keys.len() {
            if gone.value(row) {
                self.writes.delete(keys.value(row));
            } else {
                self.writes.put(keys.value(row), values.value(row));
            }
        }
        Ok(())
    }
}

impl Writer {
    fn native(spec: &SinkSpec) -> Writer {
        let layout = &spec.layout;
        let declared = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let mut fields: Vec<Field> = layout.key_fields().iter().map(declared).collect();
        if layout.windowed.is_some() {
            fields.push(Field::new(WINDOW_START, MILLIS, true));
            fields.push(Field::new(WINDOW_END, MILLIS, true));
        }
        fields.extend(layout.value_fields().iter().map(declared));
        fields.push(Field::new(TIMESTAMP, DataType::Int64, false));
        let schema = Arc::new(Schema::new(fields.clone()));
        fields.push(Field::new(TOMBSTONE, DataType::Boolean, false));
        Writer::Native { schema, with_tombstones: Arc::new(Schema::new(fields)) }
    }

    fn opaque(spec: &SinkSpec) -> Result<Writer> {
        let layout = &spec.layout;
        let (keys, values) = (layout.key_fields(), layout.value_fields());
        let key = match &layout.key_format {
            _ if keys.is_empty() => None,
            Format::None => None,
            format => Some(Encoder::new(format, keys.to_vec(), Options::KEY)?),
        };
        let options = Options { wrap_single_value: layout.wrap_single_value };
        Ok(Writer::Opaque { key, value: Encoder::new(&layout.value_format, values.to_vec(), options)? })
    }
}

impl Output {
    fn take(&self, rows: &UInt32Array) -> Result<Output> {
        let times = |values: &Int64Array| -> Result<Int64Array> { Ok(take(values, rows, None)?.as_primitive::<Int64Type>().clone()) };
        Ok(Output {
            columns: self.columns.iter().map(|column| Ok(take(column, rows, None)?)).collect::<Result<_>>()?,
            windows: match &self.windows {
                Some((starts, ends)) => Some((times(starts)?, times(ends)?)),
                None => None,
            },
            timestamps: times(&self.timestamps)?,
            tombstones: match &self.tombstones {
                Some(tombstones) => Some(take(tombstones, rows, None)?.as_boolean().clone()),
                None => None,
            },
        })
    }

    fn columns_entry(&self, keys: &[ArrayRef], values: &[ArrayRef], schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns = keys.to_vec();
        if let Some((starts, ends)) = &self.windows {
            columns.push(cast(starts, &MILLIS)?);
            columns.push(cast(ends, &MILLIS)?);
        }
        columns.extend_from_slice(values);
        columns.push(Arc::new(self.timestamps.clone()));
        if let Some(tombstones) = &self.tombstones {
            columns.push(Arc::new(tombstones.clone()));
        }
        Ok(RecordBatch::try_new(schema.clone(), columns)?)
    }

    fn opaque_entry(&self, keys: BinaryArray, values: BinaryArray, windowed: Option<Windowed>) -> Result<RecordBatch> {
        let keys = match (&self.windows, windowed) {
            (Some((starts, ends)), Some(windowed)) => windowed::append(&keys, window_format(windowed), starts, ends),
            _ => keys,
        };
        let schema = opaque_schema();
        let headers = arrow::array::new_null_array(schema.field(3).data_type(), keys.len());
        let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(values), Arc::new(self.timestamps.clone()), headers];
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

/// Rows without those that their own change replaces: a -1 goes where its +1, of the same key, directly follows.
fn every_update(keys: &BinaryArray, changes: &[i8]) -> UInt32Array {
    let replaced = |row: usize| {
        let next = row + 1;
        changes[row] < 0 && next < changes.len() && changes[next] > 0 && keys.value(row) == keys.value(next)
    };
    UInt32Array::from_iter_values((0..changes.len()).filter(|row| !replaced(*row)).map(|row| row as u32))
}

/// A row that cannot be written is left out: a null in its place would be a tombstone.
fn without(
    failed: &[(usize, String)],
    entry: RecordBatch,
    partitions: Vec<u32>,
    output: &Output,
    context: &mut Context<'_>,
) -> Result<(RecordBatch, Vec<u32>)> {
    for (row, message) in failed.iter().take(DESCRIBED_MAX) {
        let rowtime_ms = Some(output.timestamps.value(*row));
        context.incidents.push(Incident { rowtime_ms, ..Incident::new(IncidentKind::Serialization, context.node, message.clone()) });
    }
    let failed: HashSet<usize> = failed.iter().map(|(row, _)| *row).collect();
    context.counters.rows_out -= failed.len() as u64;
    let kept: Vec<u32> = (0..partitions.len()).filter(|row| !failed.contains(row)).map(|row| row as u32).collect();
    let partitions = kept.iter().map(|row| partitions[*row as usize]).collect();
    Ok((take_record_batch(&entry, &UInt32Array::from(kept))?, partitions))
}
