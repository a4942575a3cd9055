//! INSERT, COPY and DELETE: rows of declared columns to entries of topics, in one transaction.
//!
//! ```text
//!   keyed rows   ─► murmur2 of the key ─► a partition each
//!   keyless rows ─► runs of 8,192      ─► the partition with the fewest records so far
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, ListArray, RecordBatch, RecordBatchOptions, UInt32Array,
    new_null_array,
};
use arrow::compute::{cast, nullif, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use millpond_catalog::{Source, SourceKind};
use millpond_formats::timestamp::Pattern;
use millpond_formats::{Encoder, Format, Options, key_bytes};
use millpond_log::entry::{TIMESTAMP, TOMBSTONE};
use millpond_log::{Append, Entry, Log, TopicPartition, Transaction, opaque_schema};
use millpond_planner::schema::{layout, timestamp_column};
use millpond_streams::operator::partition::of_bytes;
use millpond_streams::topology::RecordLayout;

use crate::{Error, Result};

/// A run of keyless rows goes to one partition.
const KEYLESS_RUN_ROWS: usize = 8_192;
/// An entry is cut once it has so many rows.
const ENTRY_ROWS_MAX: usize = 65_536;

/// Rows for one source.
#[derive(Debug, Clone)]
pub struct SourceWrite {
    pub source: Arc<Source>,
    /// The declared columns, in their order.
    pub rows: RecordBatch,
    /// Rowtime, ms. Null, or `None`: the source's timestamp column, or now.
    pub rowtime: Option<Int64Array>,
    /// Tables: true deletes the row's key.
    pub tombstones: Option<BooleanArray>,
}

/// All rows or none.
pub(crate) fn append(log: &dyn Log, writes: &[SourceWrite], now_ms: i64) -> Result<()> {
    let mut appends = Vec::new();
    let mut filled = Filled { log, ends: HashMap::new() };
    for write in writes.iter().filter(|write| write.rows.num_rows() > 0) {
        let (entry, keys) = Rows::new(write, now_ms)?.entry()?;
        let native = layout(&write.source).value_format == Format::Native;
        let topic: Arc<str> = write.source.topic.as_str().into();
        for (partition, rows) in filled.place(&topic, write.source.partitions, entry, keys)? {
            for from in (0..rows.num_rows()).step_by(ENTRY_ROWS_MAX) {
                let rows = rows.slice(from, ENTRY_ROWS_MAX.min(rows.num_rows() - from));
                let entry = if native { Entry::columns(rows) } else { Entry::opaque(rows) };
                appends.push(Append { target: TopicPartition { topic: Arc::clone(&topic), partition }, entry });
            }
        }
    }
    if !appends.is_empty() {
        log.append(Transaction { appends })?;
    }
    Ok(())
}

/// How many records each partition has, those of this transaction included.
struct Filled<'a> {
    log: &'a dyn Log,
    ends: HashMap<Arc<str>, Vec<u64>>,
}

impl Filled<'_> {
    fn ends(&mut self, topic: &Arc<str>, partitions: u32) -> Result<&mut Vec<u64>> {
        if !self.ends.contains_key(topic) {
            let end = |partition| Ok(self.log.offsets(&TopicPartition { topic: Arc::clone(topic), partition })?.end);
            let ends = (0..partitions).map(end).collect::<Result<Vec<u64>>>()?;
            self.ends.insert(Arc::clone(topic), ends);
        }
        Ok(self.ends.get_mut(topic).expect("it was inserted"))
    }

    /// Each partition's rows, in their order.
    fn place(
        &mut self,
        topic: &Arc<str>,
        partitions: u32,
        rows: RecordBatch,
        keys: Option<BinaryArray>,
    ) -> Result<Vec<(u32, RecordBatch)>> {
        let ends = self.ends(topic, partitions)?;
        let fewest = |ends: &[u64]| (0..ends.len()).min_by_key(|partition| ends[*partition]).unwrap_or_default() as u32;
        let mut placed = Vec::new();
        match keys {
            Some(keys) => {
                let of_row = of_bytes(&keys, partitions, fewest(ends));
                for partition in 0..partitions {
                    let indices: UInt32Array = (0..of_row.len() as u32).filter(|row| of_row[*row as usize] == partition).collect();
                    if !indices.is_empty() {
                        placed.push((partition, take_record_batch(&rows, &indices)?));
                    }
                }
            }
            None => {
                // Rows that a batch shares with nobody else stay shared: a run is a slice.
                let mut end = ends.clone();
                for from in (0..rows.num_rows()).step_by(KEYLESS_RUN_ROWS) {
                    let run = rows.slice(from, KEYLESS_RUN_ROWS.min(rows.num_rows() - from));
                    let partition = fewest(&end);
                    end[partition as usize] += run.num_rows() as u64;
                    placed.push((partition, run));
                }
            }
        }
        for (partition, rows) in &placed {
            ends[*partition as usize] += rows.num_rows() as u64;
        }
        Ok(placed)
    }
}

/// A write's columns in their declared types, and its rows' times.
struct Rows<'a> {
    source: &'a Source,
    layout: RecordLayout,
    columns: Vec<ArrayRef>,
    timestamps: Int64Array,
    tombstones: Option<BooleanArray>,
}

impl<'a> Rows<'a> {
    fn new(write: &'a SourceWrite, now_ms: i64) -> Result<Rows<'a>> {
        let source = &*write.source;
        let layout = layout(source);
        if write.source.window.is_some() {
            return Err(refused(source, "its keys have windows, which only queries write"));
        }
        if write.rows.num_columns() != layout.columns.len() {
            return Err(refused(source, format!("{} columns were given, not {}", write.rows.num_columns(), layout.columns.len())));
        }
        let typed = |(column, field): (&ArrayRef, &Arc<Field>)| -> Result<ArrayRef> {
            Ok(if column.data_type() == field.data_type() { Arc::clone(column) } else { cast(column, field.data_type())? })
        };
        let written = write.rows.columns().iter().zip(&layout.columns).take(layout.written_columns());
        let mut columns = written.map(typed).collect::<Result<Vec<_>>>()?;
        let tombstones = (source.kind == SourceKind::Table).then(|| {
            let flags = write.tombstones.as_ref().map(|flags| flags.iter().map(|flag| flag == Some(true)).collect::<Vec<bool>>());
            BooleanArray::from(flags.unwrap_or_else(|| vec![false; write.rows.num_rows()]))
        });
        if let Some(tombstones) = &tombstones {
            let keys = columns[..layout.key_columns].iter().zip(&layout.columns);
            if let Some((_, field)) = keys.into_iter().find(|(key, _)| key.null_count() > 0) {
                return Err(refused(source, format!("null in column \"{}\" of the primary key", field.name())));
            }
            for column in &mut columns[layout.key_columns..] {
                *column = nullif(column, tombstones)?;
            }
        }
        let timestamps = timestamps(write, &columns, tombstones.as_ref(), now_ms)?;
        Ok(Rows { source, layout, columns, timestamps, tombstones })
    }

    /// What the topic holds, and the key that decides each row's partition; no keys where the source has none.
    fn entry(self) -> Result<(RecordBatch, Option<BinaryArray>)> {
        let keyed = self.layout.key_columns > 0 && self.layout.key_format != Format::None;
        if self.layout.value_format == Format::Native {
            let keys = &self.columns[..self.layout.key_columns];
            let keys = if keyed { Some(key_bytes(&Format::Native, keys)?) } else { None };
            return Ok((self.native()?, keys));
        }
        let (keys, values) = self.columns.split_at(self.layout.key_columns);
        let (key_fields, value_fields) = (self.layout.key_fields(), self.layout.value_fields());
        let rows = self.timestamps.len();
        let keys = match keyed {
            true => self.encode(&self.layout.key_format, key_fields, keys, Options::KEY)?,
            false => BinaryArray::new_null(rows),
        };
        let mut values = match values.is_empty() {
            true => BinaryArray::from_iter_values(std::iter::repeat_n(b"", rows)),
            false => {
                let options = Options { wrap_single_value: self.layout.wrap_single_value };
                self.encode(&self.layout.value_format, value_fields, values, options)?
            }
        };
        if let Some(tombstones) = &self.tombstones {
            values = nullif(&values, tombstones)?.as_binary::<i32>().clone();
        }
        let schema = opaque_schema();
        let headers: ListArray = new_null_array(schema.field(3).data_type(), rows).as_list().clone();
        let columns: Vec<ArrayRef> = vec![Arc::new(keys.clone()), Arc::new(values), Arc::new(self.timestamps), Arc::new(headers)];
        Ok((RecordBatch::try_new(schema, columns)?, keyed.then_some(keys)))
    }

    fn encode(&self, format: &Format, fields: &[Arc<Field>], columns: &[ArrayRef], options: Options) -> Result<BinaryArray> {
        let (bytes, failed) = Encoder::new(format, fields.to_vec(), options)?.encode(columns);
        match failed.first() {
            Some((row, reason)) => Err(refused(self.source, format!("row {}: {reason}", row + 1))),
            None => Ok(bytes),
        }
    }

    fn native(self) -> Result<RecordBatch> {
        let written = self.layout.columns.iter().take(self.columns.len());
        let mut fields: Vec<Field> = written.map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let mut columns = self.columns;
        let rows = self.timestamps.len();
        fields.push(Field::new(TIMESTAMP, DataType::Int64, false));
        columns.push(Arc::new(self.timestamps));
        if let Some(tombstones) = self.tombstones {
            fields.push(Field::new(TOMBSTONE, DataType::Boolean, false));
            columns.push(Arc::new(tombstones));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}

/// The time of each row: as given, else of the timestamp column, else now.
fn timestamps(write: &SourceWrite, columns: &[ArrayRef], tombstones: Option<&BooleanArray>, now_ms: i64) -> Result<Int64Array> {
    let given = |row: usize| write.rowtime.as_ref().filter(|rowtime| rowtime.is_valid(row)).map(|rowtime| rowtime.value(row));
    let own = match timestamp_column(&write.source) {
        Some((index, pattern)) => Some((write.source.columns[index].name.as_str(), millis(&columns[index], pattern.as_deref())?)),
        None => None,
    };
    let time = |row: usize| {
        let time_ms = match (&own, given(row)) {
            (_, Some(given)) => given,
            (None, None) => now_ms,
            (Some(_), None) if tombstones.is_some_and(|tombstones| tombstones.value(row)) => now_ms,
            (Some((_, own)), None) if own.is_valid(row) => own.value(row),
            (Some((column, _)), None) => {
                return Err(refused(&write.source, format!("row {}: column \"{column}\" gives no timestamp", row + 1)));
            }
        };
        if time_ms < 0 {
            return Err(refused(&write.source, format!("row {}: its timestamp is before 1970", row + 1)));
        }
        Ok(time_ms)
    };
    (0..write.rows.num_rows()).map(time).collect::<Result<Vec<i64>>>().map(Int64Array::from)
}

/// Milliseconds since the epoch; null where a text does not follow the pattern.
fn millis(column: &ArrayRef, pattern: Option<&str>) -> Result<Int64Array> {
    let as_millis = |column: &ArrayRef| -> Result<Int64Array> {
        let column = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
        Ok(cast(&column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    };
    match (column.data_type(), pattern) {
        (DataType::Utf8, Some(pattern)) => {
            let pattern = Pattern::new(pattern)?;
            Ok(column.as_string::<i32>().iter().map(|text| text.and_then(|text| pattern.parse(text).ok())).collect())
        }
        (data_type, _) if data_type.is_integer() => Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone()),
        _ => as_millis(column),
    }
}

fn refused(source: &Source, reason: impl Into<String>) -> Error {
    Error::Rows { source_name: source.name.clone(), reason: reason.into() }
}
