//! Columns to bytes.

use arrow::array::{Array, ArrayRef, BinaryArray, NullBufferBuilder};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::FieldRef;

use crate::json::{Cells, object_prefixes};
use crate::{Error, Format, Options, Result, delimited, kafka};

/// Writes one side (key or value) of records. See [`Encoder::encode`].
#[derive(Debug)]
pub struct Encoder {
    writer: Writer,
    fields: Vec<FieldRef>,
}

#[derive(Debug)]
enum Writer {
    Nothing,
    /// What stands before each field: `{"a":`, `,"b":`.
    Object(Vec<Vec<u8>>),
    Document,
    Delimited(char),
    Kafka,
}

impl Encoder {
    pub fn new(format: &Format, fields: Vec<FieldRef>, options: Options) -> Result<Encoder> {
        format.check(&fields)?;
        let writer = match format {
            Format::Native => return Err(Error::NoBytes),
            _ if fields.is_empty() => Writer::Nothing,
            Format::Json if fields.len() == 1 && !options.wrap_single_value => Writer::Document,
            Format::Json => Writer::Object(object_prefixes(fields.iter().map(|field| field.name().as_str()))),
            Format::Delimited { delimiter } => Writer::Delimited(*delimiter),
            Format::Kafka => Writer::Kafka,
            Format::None => Writer::Nothing,
        };
        Ok(Encoder { writer, fields })
    }

    /// One record for each row, and the rows that cannot be written, which are null. `columns` are those the encoder was made for, in
    /// their types or in ones that Arrow casts to them. A single unwrapped null is a null record; a row of nulls is not. Without
    /// columns there are no rows to count: the result is empty.
    pub fn encode(&self, columns: &[ArrayRef]) -> (BinaryArray, Vec<(usize, String)>) {
        let rows = columns.first().map_or(0, |column| column.len());
        let failed = |reason: String| (BinaryArray::new_null(rows), (0..rows).map(|row| (row, reason.clone())).collect());
        let columns = match self.typed(columns) {
            Ok(columns) => columns,
            Err(reason) => return failed(reason),
        };
        let Some(cells) = columns.iter().map(|column| Cells::new(column.as_ref())).collect::<Option<Vec<_>>>() else {
            return failed("a column has a type that formats do not know".to_string());
        };
        let mut records = Records::new(rows);
        for row in 0..rows {
            let out = &mut records.bytes;
            match &self.writer {
                Writer::Nothing => {}
                Writer::Object(prefixes) => {
                    for (prefix, cells) in prefixes.iter().zip(&cells) {
                        out.extend_from_slice(prefix);
                        cells.write_json(row, out);
                    }
                    out.push(b'}');
                }
                Writer::Document | Writer::Delimited(_) | Writer::Kafka if cells.len() == 1 && cells[0].is_null(row) => {
                    records.null();
                    continue;
                }
                Writer::Document => cells[0].write_json(row, out),
                Writer::Delimited(delimiter) => delimited::write_record(&cells, row, *delimiter, out),
                Writer::Kafka => kafka::write(&cells[0], row, out),
            }
            records.end();
        }
        records.finish()
    }

    fn typed(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, String> {
        if columns.len() != self.fields.len() {
            return Err(format!("{} columns are to be written where the format has {}", columns.len(), self.fields.len()));
        }
        let typed = columns.iter().zip(&self.fields).map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(ArrayRef::clone(column));
            }
            cast(column, field.data_type()).map_err(|error| format!("column \"{}\": {error}", field.name()))
        });
        typed.collect()
    }
}

/// A binary array while it is written.
pub(crate) struct Records {
    pub(crate) bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
    errors: Vec<(usize, String)>,
}

impl Records {
    pub(crate) fn new(capacity: usize) -> Records {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Records { bytes: Vec::with_capacity(capacity * 16), offsets, nulls: NullBufferBuilder::new(capacity), errors: Vec::new() }
    }

    /// What was put into `bytes` since the last record is the next one.
    pub(crate) fn end(&mut self) {
        match i32::try_from(self.bytes.len()) {
            Ok(end) => {
                self.offsets.push(end);
                self.nulls.append_non_null();
            }
            Err(_) => {
                self.errors.push((self.nulls.len(), "the batch is larger than 2 GiB".to_string()));
                self.null();
            }
        }
    }

    pub(crate) fn null(&mut self) {
        let start = *self.offsets.last().expect("offsets begin with 0");
        self.bytes.truncate(start as usize);
        self.offsets.push(start);
        self.nulls.append_null();
    }

    pub(crate) fn finish(mut self) -> (BinaryArray, Vec<(usize, String)>) {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        (BinaryArray::new(offsets, Buffer::from_vec(self.bytes), self.nulls.finish()), self.errors)
    }
}
