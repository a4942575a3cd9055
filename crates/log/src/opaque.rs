//! Batches of opaque records: keys, values, headers and timestamps as Arrow columns.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, ListArray, RecordBatch, StringBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};

use crate::{Error, Result};

static HEADER_FIELDS: LazyLock<Fields> =
    LazyLock::new(|| Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)]));

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("timestamp", DataType::Int64, false),
        Field::new("headers", DataType::List(header_item()), true),
    ]))
});

fn header_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(HEADER_FIELDS.clone()), false))
}

/// `key` Binary, `value` Binary, `timestamp` Int64 (ms since the epoch, not null), `headers` List<Struct<key Utf8, value Binary>>.
pub fn opaque_schema() -> SchemaRef {
    SCHEMA.clone()
}

/// One record, borrowed or to be copied into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    pub timestamp_ms: i64,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// A batch of [`opaque_schema`] with `records` in their order.
pub fn batch<'a>(records: impl IntoIterator<Item = Record<'a>>) -> RecordBatch {
    let mut builder = Builder::default();
    records.into_iter().for_each(|record| builder.push(record));
    builder.finish()
}

/// Makes batches of [`opaque_schema`], a record at a time.
#[derive(Debug, Default)]
pub struct Builder {
    keys: BinaryBuilder,
    values: BinaryBuilder,
    timestamps: Vec<i64>,
    header_names: StringBuilder,
    header_values: BinaryBuilder,
    header_counts: Vec<usize>,
}

/// Bytes of a record's key and value, on an average.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub key: usize,
    pub value: usize,
}

impl Sizes {
    /// Of the records of a batch.
    pub fn of(records: &Columns<'_>) -> Sizes {
        let rows = records.timestamps.len().max(1);
        let average = |column: &BinaryArray| {
            let offsets = column.value_offsets();
            let bytes = offsets.last().zip(offsets.first()).map_or(0, |(last, first)| last - first);
            usize::try_from(bytes).unwrap_or_default().div_ceil(rows)
        };
        Sizes { key: average(records.keys), value: average(records.values) }
    }
}

impl Builder {
    /// With room for so many records without headers.
    pub fn with_room(rows: usize, sizes: Sizes) -> Builder {
        Builder {
            keys: BinaryBuilder::with_capacity(rows, rows * sizes.key),
            values: BinaryBuilder::with_capacity(rows, rows * sizes.value),
            timestamps: Vec::with_capacity(rows),
            header_counts: Vec::with_capacity(rows),
            ..Builder::default()
        }
    }

    pub fn push(&mut self, record: Record<'_>) {
        self.keys.append_option(record.key);
        self.values.append_option(record.value);
        self.timestamps.push(record.timestamp_ms);
        for (name, value) in record.headers {
            self.header_names.append_value(name);
            self.header_values.append_option(*value);
        }
        self.header_counts.push(record.headers.len());
    }

    pub fn rows(&self) -> usize {
        self.timestamps.len()
    }

    /// Of keys and values.
    pub fn bytes(&self) -> usize {
        self.keys.values_slice().len() + self.values.values_slice().len()
    }

    /// What was pushed since the last call.
    pub fn finish(&mut self) -> RecordBatch {
        let names: ArrayRef = Arc::new(self.header_names.finish());
        let headers = StructArray::new(HEADER_FIELDS.clone(), vec![names, Arc::new(self.header_values.finish())], None);
        let offsets = OffsetBuffer::from_lengths(self.header_counts.drain(..));
        let headers = ListArray::new(header_item(), offsets, Arc::new(headers), None);
        let timestamps = Int64Array::from(std::mem::take(&mut self.timestamps));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish()), Arc::new(timestamps), Arc::new(headers)];
        RecordBatch::try_new(opaque_schema(), columns).expect("the columns are built after the schema")
    }
}

/// The columns of a batch of [`opaque_schema`].
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    pub keys: &'a BinaryArray,
    pub values: &'a BinaryArray,
    pub timestamps: &'a Int64Array,
    pub headers: &'a ListArray,
}

impl<'a> Columns<'a> {
    /// [`Error::Corrupt`] when the batch has other columns.
    pub fn of(batch: &'a RecordBatch) -> Result<Columns<'a>> {
        let wrong = || Error::Corrupt(format!("an opaque batch has columns {:?}", batch.schema_ref().fields()));
        if batch.num_columns() != 4 {
            return Err(wrong());
        }
        Ok(Columns {
            keys: batch.column(0).as_binary_opt().ok_or_else(wrong)?,
            values: batch.column(1).as_binary_opt().ok_or_else(wrong)?,
            timestamps: batch.column(2).as_primitive_opt::<Int64Type>().ok_or_else(wrong)?,
            headers: batch.column(3).as_list_opt().ok_or_else(wrong)?,
        })
    }

    pub fn key(&self, row: usize) -> Option<&'a [u8]> {
        self.keys.is_valid(row).then(|| self.keys.value(row))
    }

    pub fn value(&self, row: usize) -> Option<&'a [u8]> {
        self.values.is_valid(row).then(|| self.values.value(row))
    }

    pub fn headers(&self, row: usize) -> Vec<(String, Option<Vec<u8>>)> {
        let offsets = self.headers.value_offsets();
        // Of most records: cutting a slice out of the list costs more than all the rest.
        if self.headers.is_null(row) || offsets[row] == offsets[row + 1] {
            return Vec::new();
        }
        let headers = self.headers.value(row);
        let Some(headers) = headers.as_struct_opt() else { return Vec::new() };
        let (names, contents) = (headers.column(0).as_string::<i32>(), headers.column(1).as_binary::<i32>());
        (0..headers.len())
            .map(|header| (names.value(header).to_owned(), contents.is_valid(header).then(|| contents.value(header).to_vec())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let records = [
            Record { key: Some(b"k"), value: Some(b"v"), timestamp_ms: 7, headers: &[("h", Some(b"1")), ("n", None)] },
            Record { key: None, value: None, timestamp_ms: -1, headers: &[] },
        ];
        let batch = batch(records);
        let columns = Columns::of(&batch).unwrap();
        assert_eq!((columns.key(0), columns.value(0), columns.timestamps.value(0)), (Some(&b"k"[..]), Some(&b"v"[..]), 7));
        assert_eq!(columns.headers(0), vec![("h".to_owned(), Some(b"1".to_vec())), ("n".to_owned(), None)]);
        assert_eq!((columns.key(1), columns.value(1), columns.headers(1)), (None, None, vec![]));
    }
}
