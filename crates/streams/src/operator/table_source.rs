//! Reads a table's topic, keeps the last row of each key, gives changes.
//!
//! ```text
//!  records ─► last of each key ─► store[key] ─► -old +new
//! ```
//!
//! TBL-1  a change's -1 row has exactly the values its key's last +1 row had.
//! TBL-2  a key gives one change per batch of records taken, at the place of its last record.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int8Array, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, interleave, take};
use arrow::datatypes::{FieldRef, Int64Type, SchemaRef};
use hashbrown::HashSet;
use millpond_log::Fetched;
use millpond_state::{Overlay, WriteSet};

use super::record::{Decodings, RecordDecoder};
use super::source::{Arrival, Keys, Records, Source};
use super::table_key::TableCodec;
use super::{Context, nullable, record_batch};
use crate::topology::SourceSpec;
use crate::{Batch, Result};

pub struct TableSource {
    decoder: RecordDecoder,
    running_max_ms: i64,
    codec: TableCodec,
    rows: Overlay,
    schema: SchemaRef,
}

impl TableSource {
    /// `rows` is the store of the keys' last rows.
    pub fn new(
        spec: &SourceSpec,
        node: &str,
        schema: &SchemaRef,
        partition: u32,
        decodings: &Decodings,
        rows: Overlay,
    ) -> Result<TableSource> {
        let layout = &spec.layout;
        let keys: Vec<FieldRef> = layout.columns[..layout.key_columns].to_vec();
        Ok(TableSource {
            decoder: RecordDecoder::new(spec, node, schema, partition, true, decodings)?,
            running_max_ms: i64::MIN,
            codec: TableCodec::of(keys, schema.fields().to_vec(), layout.windowed.is_some())?,
            rows,
            schema: nullable(schema),
        })
    }

    fn changes(&mut self, batch: &Batch, keys: &Keys) -> Result<Option<Batch>> {
        let windows = keys.windows.as_ref().map(|(starts, ends)| (&starts.values()[..], &ends.values()[..]));
        let encoded = self.codec.encode_keys(&keys.columns, windows)?;
        let last = last_of_each((0..encoded.len()).map(|row| encoded.value(row)));
        let last_keys: Vec<&[u8]> = last.iter().map(|row| encoded.value(*row as usize)).collect();
        let before = self.rows.get_many(&last_keys)?;

        let indices = UInt32Array::from(last);
        let batch = batch.take(&indices)?;
        let tombstones = take(&keys.tombstones, &indices, None)?.as_boolean().clone();
        let values = self.codec.encode_values(&batch.timestamps, batch.rows.columns())?;
        let old = before.iter().flatten().map(|value| value.as_ref());
        let (_, old_columns) = self.codec.decode_values(old)?;

        let mut plan = Plan::default();
        let mut old_row = 0;
        for (row, key) in last_keys.iter().enumerate() {
            if before[row].is_some() {
                plan.push((0, old_row), row, -1);
                old_row += 1;
            }
            if tombstones.value(row) {
                self.rows.delete(key);
            } else {
                plan.push((1, row), row, 1);
                self.rows.put(key, values.value(row));
            }
        }
        plan.rows(&batch, &old_columns, &self.schema)
    }
}

impl Source for TableSource {
    fn decode(&mut self, fetched: &Fetched) -> Result<Arrival> {
        self.decoder.decode(fetched, &mut self.running_max_ms)
    }

    fn process(&mut self, records: Records, context: &mut Context<'_>) -> Result<()> {
        if records.num_rows() == 0 {
            return Ok(());
        }
        let Records { mut batch, keys, .. } = records;
        let mut keys = keys.expect("a table's decoder gives keys");
        let keyed = keyed(&keys.columns);
        let missing = keyed.false_count();
        if missing > 0 {
            context.counters.null_key += missing as u64;
            batch = batch.filter(&keyed)?;
            keys = keys.filter(&keyed)?;
        }
        if let Some(changes) = self.changes(&batch, &keys)? {
            context.forward(changes);
        }
        Ok(())
    }

    fn write(&mut self, writes: &mut WriteSet) -> Result<()> {
        self.rows.drain(writes);
        Ok(())
    }

    fn restore(&mut self, time_ms: Option<i64>) {
        self.running_max_ms = time_ms.unwrap_or(i64::MIN);
    }
}

/// The changes of a batch: which rows, old or new, in which order.
#[derive(Default)]
struct Plan {
    /// Of the old rows (0) or the new ones (1).
    rows: Vec<(usize, usize)>,
    /// The record that made the change.
    records: Vec<u32>,
    signs: Vec<i8>,
}

impl Plan {
    fn push(&mut self, row: (usize, usize), record: usize, sign: i8) {
        self.rows.push(row);
        self.records.push(record as u32);
        self.signs.push(sign);
    }

    /// Both halves of a change have the time of the record that made it, as in Kafka Streams.
    fn rows(self, new: &Batch, old: &[ArrayRef], schema: &SchemaRef) -> Result<Option<Batch>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        let columns = old.iter().zip(new.rows.columns());
        let columns = columns.map(|(old, new)| interleave(&[old.as_ref(), new.as_ref()], &self.rows)).collect::<Result<_, _>>()?;
        let records = UInt32Array::from(self.records);
        Ok(Some(Batch {
            rows: record_batch(schema, columns, self.rows.len())?,
            timestamps: take(&new.timestamps, &records, None)?.as_primitive::<Int64Type>().clone(),
            stream_times: take(&new.stream_times, &records, None)?.as_primitive::<Int64Type>().clone(),
            changes: Some(Int8Array::from(self.signs)),
            tombstones: None,
        }))
    }
}

impl Keys {
    pub(super) fn filter(&self, mask: &BooleanArray) -> Result<Keys> {
        let mut columns = self.columns.clone();
        columns.push(Arc::new(self.tombstones.clone()));
        if let Some((starts, ends)) = &self.windows {
            columns.push(Arc::new(starts.clone()));
            columns.push(Arc::new(ends.clone()));
        }
        let named = columns.into_iter().map(|column| ("", column, true));
        let mut columns = filter_record_batch(&RecordBatch::try_from_iter_with_nullable(named)?, mask)?.columns().to_vec();
        let rest = columns.split_off(self.columns.len());
        let times = |column: &ArrayRef| column.as_primitive::<Int64Type>().clone();
        let windows: Option<(Int64Array, Int64Array)> = self.windows.is_some().then(|| (times(&rest[1]), times(&rest[2])));
        Ok(Keys { columns, windows, tombstones: rest[0].as_boolean().clone() })
    }
}

/// True where there is a key: a column of it that is not null.
fn keyed(columns: &[ArrayRef]) -> BooleanArray {
    let rows = columns.first().map_or(0, |column| column.len());
    if columns.iter().any(|column| column.null_count() == 0) {
        return BooleanArray::from(vec![true; rows]);
    }
    (0..rows).map(|row| Some(columns.iter().any(|column| column.is_valid(row)))).collect()
}

/// The rows at which each key stands for the last time, ascending.
pub(crate) fn last_of_each<'a>(keys: impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator) -> Vec<u32> {
    let mut seen = HashSet::with_capacity(keys.len());
    let mut last: Vec<u32> = keys.enumerate().rev().filter(|(_, key)| seen.insert(*key)).map(|(row, _)| row as u32).collect();
    last.reverse();
    last
}
