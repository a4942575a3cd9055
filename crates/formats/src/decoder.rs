//! Bytes to columns.

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::datatypes::{DataType, FieldRef};

use crate::column::{Column, Names, Reason, Shape};
use crate::{Error, Format, Options, Result, delimited, json, kafka};

/// Reads one side (key or value) of records. See [`Decoder::decode`].
pub struct Decoder {
    reader: Reader,
    names: Vec<String>,
    /// For each field of the side the column it fills. `None`: the field is not wanted, and every value of the format will do for it.
    slots: Vec<Option<usize>>,
    /// Empty columns: each wanted field once, then those that are only checked.
    columns: Vec<Column>,
    /// How many of `columns` are wanted.
    kept: usize,
    /// For each wanted column the one of `columns` that it is.
    output: Vec<usize>,
}

enum Reader {
    Nothing,
    /// An object of fields.
    Object(Names),
    /// A single field that is the whole document.
    Document,
    Delimited(char),
    Kafka,
}

/// What [`Decoder::decode`] makes of a batch.
#[derive(Debug)]
pub struct Decoded {
    /// The wanted columns, as many rows as there were records; null where the record is null or cannot be read.
    pub columns: Vec<ArrayRef>,
    /// Rows that cannot be read, and why.
    pub errors: Vec<(usize, String)>,
}

impl Decoder {
    /// `fields` are all columns of the side, `wanted` the indexes of those to be read. Fields that are not wanted are checked all the
    /// same: whether a record can be read does not depend on what is read of it.
    pub fn new(format: &Format, fields: Vec<FieldRef>, wanted: Vec<usize>, options: Options) -> Result<Decoder> {
        format.check(&fields)?;
        let reader = match format {
            Format::Native => return Err(Error::NoBytes),
            _ if fields.is_empty() => Reader::Nothing,
            Format::Json if fields.len() == 1 && !options.wrap_single_value => Reader::Document,
            Format::Json => Reader::Object(Names::new(fields.iter().map(|field| field.name().as_str()))),
            Format::Delimited { delimiter } => Reader::Delimited(*delimiter),
            Format::Kafka => Reader::Kafka,
            Format::None => Reader::Nothing,
        };
        let mut slots = vec![None; fields.len()];
        let mut columns = Vec::new();
        let mut output = Vec::with_capacity(wanted.len());
        for index in wanted {
            let field = fields.get(index).ok_or(Error::Wanted { index, columns: fields.len() })?;
            if slots[index].is_none() {
                slots[index] = Some(columns.len());
                columns.push(column(format, field)?);
            }
            output.extend(slots[index]);
        }
        let kept = columns.len();
        for (slot, field) in slots.iter_mut().zip(&fields) {
            if slot.is_none() && !takes_everything(format, field.data_type()) {
                *slot = Some(columns.len());
                columns.push(column(format, field)?);
            }
        }
        let names = fields.iter().map(|field| field.name().clone()).collect();
        Ok(Decoder { reader, names, slots, columns, kept, output })
    }

    /// One row for each record. A null record gives nulls and is no error; one bad field fails its record.
    pub fn decode(&self, bytes: &BinaryArray) -> Decoded {
        let capacity = |index: usize| if index < self.kept { bytes.len() } else { 1 };
        let mut columns: Vec<Column> = self.columns.iter().enumerate().map(|(index, column)| column.fresh(capacity(index))).collect();
        let (mut shape, mut errors) = (Shape::default(), Vec::new());
        for row in 0..bytes.len() {
            if bytes.is_null(row) {
                columns.iter_mut().for_each(Column::append_null);
            } else if let Err(reason) = self.record(bytes.value(row), row, &mut shape, &mut columns) {
                for column in &mut columns {
                    column.truncate(row);
                    column.append_null();
                }
                errors.push((row, reason));
            }
            // What was only checked leaves nothing behind but its room, which the next record uses again.
            columns[self.kept..].iter_mut().for_each(|column| column.truncate(0));
        }
        columns.truncate(self.kept);
        let columns: Vec<ArrayRef> = columns.into_iter().map(Column::finish).collect();
        Decoded { columns: self.output.iter().map(|slot| ArrayRef::clone(&columns[*slot])).collect(), errors }
    }

    fn record(&self, bytes: &[u8], row: usize, shape: &mut Shape, columns: &mut [Column]) -> Result<(), Reason> {
        match &self.reader {
            Reader::Nothing => Ok(()),
            Reader::Object(names) => json::read_record(bytes, row, shape.in_turn(names), &self.slots, columns),
            Reader::Document => {
                json::read_document(bytes, columns.first_mut()).map_err(|reason| format!("column \"{}\": {reason}", self.names[0]))
            }
            Reader::Delimited(delimiter) => delimited::read_record(bytes, *delimiter, &self.names, &self.slots, columns),
            Reader::Kafka => match columns.first_mut() {
                Some(column) => kafka::read(bytes, column).map_err(|reason| format!("column \"{}\": {reason}", self.names[0])),
                None => Ok(()),
            },
        }
    }
}

fn column(format: &Format, field: &FieldRef) -> Result<Column> {
    Column::new(field.data_type(), true, 0).ok_or_else(|| Error::Type {
        format: format.name(),
        column: field.name().clone(),
        data_type: field.data_type().to_string(),
        holds: "SQL's types",
    })
}

/// Whether no field of the type can be wrong in a record that is sound as a whole.
fn takes_everything(format: &Format, data_type: &DataType) -> bool {
    matches!(format, Format::Json | Format::Delimited { .. }) && *data_type == DataType::Utf8
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("names", &self.names).field("slots", &self.slots).finish_non_exhaustive()
    }
}
