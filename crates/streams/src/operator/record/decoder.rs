//! Keys and values as bytes into declared columns.

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, new_null_array};
use arrow::compute::is_null;
use arrow::datatypes::FieldRef;
use millpond_formats::{Decoder, Format, Options, windowed};
use millpond_log::opaque;

use super::{Decoded, headers, one_each, window_format};
use crate::Result;
use crate::topology::RecordLayout;

/// Decodes some of a layout's columns.
pub(super) struct OpaqueDecoder {
    layout: RecordLayout,
    /// Sorted; indexes into the layout's columns.
    wanted: Vec<usize>,
    key: Side,
    value: Side,
}

/// Half of a record.
struct Side {
    /// Declared columns that are wanted of it.
    wanted: Vec<usize>,
    /// `None`: the format has no bytes.
    decoder: Option<Decoder>,
}

impl OpaqueDecoder {
    /// `wanted` is sorted.
    pub fn new(layout: &RecordLayout, wanted: Vec<usize>) -> Result<OpaqueDecoder> {
        let before = |end: usize| wanted.partition_point(|column| *column < end);
        let (of_key, of_value) =
            (&wanted[..before(layout.key_columns)], &wanted[before(layout.key_columns)..before(layout.written_columns())]);
        let value_options = Options { wrap_single_value: layout.wrap_single_value };
        Ok(OpaqueDecoder {
            key: Side::new(&layout.key_format, layout.key_fields(), of_key.to_vec(), 0, Options::KEY)?,
            value: Side::new(&layout.value_format, layout.value_fields(), of_value.to_vec(), layout.key_columns, value_options)?,
            layout: layout.clone(),
            wanted,
        })
    }

    /// One for other columns of the same records; `wanted` is sorted.
    pub fn with(&self, wanted: Vec<usize>) -> Result<OpaqueDecoder> {
        OpaqueDecoder::new(&self.layout, wanted)
    }

    pub fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    pub fn decode(&self, rows: &RecordBatch) -> Result<Decoded> {
        let record = opaque::Columns::of(rows)?;
        let mut columns = vec![None; self.layout.columns.len()];
        let mut errors = Vec::new();
        let (keys, windows) = match self.layout.windowed {
            None => (record.keys.clone(), None),
            Some(kind) => {
                let split = windowed::split(record.keys, window_format(kind));
                errors.extend(split.errors);
                (split.keys, Some((split.starts, split.ends)))
            }
        };
        self.key.decode(&keys, &mut columns, &mut errors);
        self.value.decode(record.values, &mut columns, &mut errors);
        headers::read(&self.layout, &self.wanted, record.headers, &mut columns)?;
        for index in &self.wanted {
            columns[*index].get_or_insert_with(|| new_null_array(self.layout.columns[*index].data_type(), rows.num_rows()));
        }
        one_each(&mut errors);
        let tombstones = is_null(record.values)?;
        Ok(Decoded { columns, timestamps: record.timestamps.clone(), tombstones, windows, errors })
    }
}

impl Side {
    /// `first` is the index of the side's first declared column.
    fn new(format: &Format, fields: &[FieldRef], wanted: Vec<usize>, first: usize, options: Options) -> Result<Side> {
        let decoder = match format {
            Format::Native => None,
            // Made even when nothing is wanted: whether a record can be read must not depend on who reads it.
            _ => Some(Decoder::new(format, fields.to_vec(), wanted.iter().map(|index| index - first).collect(), options)?),
        };
        Ok(Side { wanted, decoder })
    }

    fn decode(&self, bytes: &BinaryArray, columns: &mut [Option<ArrayRef>], errors: &mut Vec<(usize, String)>) {
        match &self.decoder {
            Some(decoder) => {
                let decoded = decoder.decode(bytes);
                for (index, column) in self.wanted.iter().zip(decoded.columns) {
                    columns[*index] = Some(column);
                }
                errors.extend(decoded.errors);
            }
            None => errors.extend((0..bytes.len()).map(|row| (row, "the topic's format is native, and the record has bytes".to_owned()))),
        }
    }
}
