//! How tables' rows lie in stores: written by sinks and sources, read by pull queries too.
//!
//! ```text
//!  key    row-encoded key columns │ for windowed tables: window end, window start (8 bytes each, see `millpond_state::Expiry`)
//!  value  row-encoded: rowtime (Int64 ms), value columns
//! ```
//!
//! KEY-1  byte order of keys is the order of the key columns, nulls first; within a key, windows lie in order of their end.
//! KEY-2  the encoding of the key columns is a prefix of no other key's, so a scan from it to its successor gives its windows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, RecordBatch, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::row::{RowConverter, SortField};

use super::record_batch;
use crate::topology::RecordLayout;
use crate::{Error, Result};

/// Name of the column with a windowed row's start.
pub const WINDOW_START: &str = "windowstart";
/// Name of the column with a windowed row's end.
pub const WINDOW_END: &str = "windowend";
/// Name of the column with a row's time.
pub const ROWTIME: &str = "rowtime";

/// Bytes that a window takes at the end of a key.
pub const WINDOW_BYTES: usize = 16;

/// The type of times: milliseconds since the epoch, UTC without saying so.
pub const MILLIS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

/// Encodes and decodes the rows of one table store.
#[derive(Debug)]
pub struct TableCodec {
    keys: RowConverter,
    /// Rowtime, then the value columns.
    values: RowConverter,
    key_fields: Vec<FieldRef>,
    value_fields: Vec<FieldRef>,
    windowed: bool,
    schema: SchemaRef,
}

impl TableCodec {
    /// Of the store a table's sink keeps.
    pub fn new(layout: &RecordLayout) -> Result<TableCodec> {
        let (keys, values) = layout.columns.split_at(layout.key_columns);
        TableCodec::of(keys.to_vec(), values.to_vec(), layout.windowed.is_some())
    }

    /// Of a store with these columns.
    pub fn of(key_fields: Vec<FieldRef>, value_fields: Vec<FieldRef>, windowed: bool) -> Result<TableCodec> {
        if key_fields.is_empty() {
            return Err(Error::Topology("a table has no key column".to_owned()));
        }
        let sort = |fields: &[FieldRef]| fields.iter().map(|field| SortField::new(field.data_type().clone())).collect::<Vec<_>>();
        let mut value_sort = vec![SortField::new(DataType::Int64)];
        value_sort.extend(sort(&value_fields));
        let columns = key_fields.iter().chain(&value_fields).map(|field| field.as_ref().clone().with_nullable(true));
        let mut fields: Vec<Field> = columns.collect();
        if windowed {
            fields.push(Field::new(WINDOW_START, MILLIS, true));
            fields.push(Field::new(WINDOW_END, MILLIS, true));
        }
        fields.push(Field::new(ROWTIME, MILLIS, true));
        Ok(TableCodec {
            keys: RowConverter::new(sort(&key_fields))?,
            values: RowConverter::new(value_sort)?,
            key_fields,
            value_fields,
            windowed,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// What [`TableCodec::decode`] gives: key columns, value columns, for windowed tables `windowstart` and `windowend`, `rowtime`.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn windowed(&self) -> bool {
        self.windowed
    }

    /// A key for each row. `windows` are starts and ends (ms); without them, a windowed table's keys are those its rows' keys begin with.
    pub fn encode_keys(&self, columns: &[ArrayRef], windows: Option<(&[i64], &[i64])>) -> Result<BinaryArray> {
        let rows = self.keys.convert_columns(&fitting(columns, &self.key_fields)?)?;
        let Some((starts, ends)) = windows else {
            return Ok(rows.try_into_binary()?);
        };
        let mut keys = BinaryBuilder::with_capacity(rows.num_rows(), rows.size() + rows.num_rows() * WINDOW_BYTES);
        let mut key = Vec::new();
        for (row, (start, end)) in rows.iter().zip(starts.iter().zip(ends)) {
            key.clear();
            key.extend_from_slice(row.as_ref());
            key.extend_from_slice(&window_suffix(*start, *end));
            keys.append_value(&key);
        }
        Ok(keys.finish())
    }

    /// A value for each row, of its time and its value columns.
    pub fn encode_values(&self, timestamps: &Int64Array, columns: &[ArrayRef]) -> Result<BinaryArray> {
        let mut all: Vec<ArrayRef> = vec![Arc::new(timestamps.clone())];
        all.extend(fitting(columns, &self.value_fields)?);
        Ok(self.values.convert_columns(&all)?.try_into_binary()?)
    }

    /// The rows' times and value columns.
    pub fn decode_values<'a>(&self, values: impl IntoIterator<Item = &'a [u8]>) -> Result<(Int64Array, Vec<ArrayRef>)> {
        let parser = self.values.parser();
        let mut columns = self.values.convert_rows(values.into_iter().map(|value| parser.parse(value)))?;
        let timestamps = columns.remove(0).as_primitive::<Int64Type>().clone();
        Ok((timestamps, columns))
    }

    /// The key columns.
    pub(crate) fn decode_keys(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let parser = self.keys.parser();
        let suffix = if self.windowed { WINDOW_BYTES } else { 0 };
        let bare = keys.iter().map(|key| parser.parse(&key[..key.len() - suffix]));
        Ok(self.keys.convert_rows(bare)?)
    }

    /// Keys and values as stored, into rows of [`TableCodec::schema`]. The bytes must be this table's: they are trusted.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<RecordBatch> {
        let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) = rows.into_iter().unzip();
        let mut columns = self.decode_keys(&keys)?;
        let (timestamps, value_columns) = self.decode_values(values.iter().copied())?;
        columns.extend(value_columns);
        if self.windowed {
            let (starts, ends): (Vec<i64>, Vec<i64>) = keys.iter().map(|key| window(key)).unzip();
            columns.push(Arc::new(TimestampMillisecondArray::from(starts)));
            columns.push(Arc::new(TimestampMillisecondArray::from(ends)));
        }
        columns.push(cast(&timestamps, &MILLIS)?);
        record_batch(&self.schema, columns, keys.len())
    }
}

/// What a windowed key ends in: the window's end, then its start, so that byte order is time order.
pub fn window_suffix(start_ms: i64, end_ms: i64) -> [u8; WINDOW_BYTES] {
    let mut suffix = [0; WINDOW_BYTES];
    suffix[..8].copy_from_slice(&sortable(end_ms));
    suffix[8..].copy_from_slice(&sortable(start_ms));
    suffix
}

/// Start and end (ms) of the window at the end of a key.
pub fn window(key: &[u8]) -> (i64, i64) {
    let suffix = &key[key.len() - WINDOW_BYTES..];
    let millis = |bytes: &[u8]| {
        let bytes: [u8; 8] = bytes.try_into().expect("a window has two halves of 8 bytes");
        (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
    };
    (millis(&suffix[8..]), millis(&suffix[..8]))
}

/// The first key behind all that begin with `prefix`; `None` when there is none.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut successor = prefix[..=last].to_vec();
    successor[last] += 1;
    Some(successor)
}

fn sortable(millis: i64) -> [u8; 8] {
    (millis as u64 ^ (1 << 63)).to_be_bytes()
}

fn fitting(columns: &[ArrayRef], fields: &[FieldRef]) -> Result<Vec<ArrayRef>> {
    let fit = |(column, field): (&ArrayRef, &FieldRef)| {
        Ok(if column.data_type() == field.data_type() { column.clone() } else { cast(column, field.data_type())? })
    };
    columns.iter().zip(fields).map(fit).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn field(name: &str, data_type: DataType) -> FieldRef {
        Arc::new(Field::new(name, data_type, true))
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let codec = TableCodec::of(vec![field("k", DataType::Utf8)], vec![field("v", DataType::Int32)], true).unwrap();
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![None, Some(-7)]));
        let keys = codec.encode_keys(std::slice::from_ref(&names), Some((&[-5, 10], &[5, 20]))).unwrap();
        let values = codec.encode_values(&Int64Array::from(vec![1, 2]), std::slice::from_ref(&numbers)).unwrap();
        let rows = codec.decode(keys.iter().flatten().zip(values.iter().flatten())).unwrap();
        let names_of: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names_of, ["k", "v", "windowstart", "windowend", "rowtime"]);
        assert_eq!((rows.column(0), rows.column(1)), (&names, &numbers));
        let times = |column: usize| cast(rows.column(column), &DataType::Int64).unwrap().as_primitive::<Int64Type>().values().to_vec();
        assert_eq!((times(2), times(3), times(4)), (vec![-5, 10], vec![5, 20], vec![1, 2]));
        assert_eq!(codec.decode(std::iter::empty()).unwrap().num_rows(), 0);
    }

    #[test]
    fn byte_order_is_key_order_then_window_order() {
        let codec = TableCodec::of(vec![field("k", DataType::Int32)], vec![], true).unwrap();
        let column: ArrayRef = Arc::new(Int32Array::from(vec![-1, 2, 2, 2, 3]));
        let keys = codec.encode_keys(&[column], Some((&[90, -9, 0, 1, 0], &[99, -1, 5, 6, 1]))).unwrap();
        let keys: Vec<&[u8]> = keys.iter().flatten().collect();
        assert!(keys.is_sorted());
        let two: ArrayRef = Arc::new(Int32Array::from(vec![2]));
        let prefix = codec.encode_keys(&[two], None).unwrap();
        let end = successor(prefix.value(0)).unwrap();
        let within: Vec<_> = keys.iter().filter(|key| **key >= prefix.value(0) && **key < end.as_slice()).map(|key| window(key)).collect();
        assert_eq!(within, [(-9, -1), (0, 5), (1, 6)]);
        assert_eq!(successor(&[255, 255]), None);
    }
}
