//! Batches as DataRow messages. Text is written by [`super::text`] as PostgreSQL writes it; binary by arrow-pg, but for NUMERIC (which
//! it holds in 96 bits) and json.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow_pg::encoder::encode_value;
use bytes::{BufMut, BytesMut};
use futures::{StreamExt, stream};
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, SendableRowStream};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::data::DataRow;

use super::{json, numeric, text, types};
use crate::error::Error;
use crate::statement::BatchStream;

/// What the client wants each column as.
pub enum Formats {
    Text,
    Asked(Format),
}

impl Formats {
    fn of(&self, column: usize) -> FieldFormat {
        match self {
            Formats::Text => FieldFormat::Text,
            Formats::Asked(Format::Individual(codes)) => codes.get(column).map_or(FieldFormat::Text, |code| FieldFormat::from(*code)),
            Formats::Asked(format) => format.format_for(column),
        }
    }
}

pub fn fields(schema: &Schema, formats: &Formats) -> PgWireResult<Arc<Vec<FieldInfo>>> {
    if let Formats::Asked(Format::Individual(codes)) = formats
        && codes.len() != schema.fields().len()
    {
        let message = format!("bind message has {} result formats but query has {} columns", codes.len(), schema.fields().len());
        return Err(Error::new("08P01", message).into());
    }
    let field = |(column, field): (usize, &arrow::datatypes::FieldRef)| {
        let pg_type = types::pg_type(field);
        let size = types::size(&pg_type);
        FieldInfo::new(field.name().clone(), None, None, pg_type, formats.of(column))
            .with_type_size(size)
            .with_type_modifier(types::modifier(field.data_type()))
    };
    Ok(Arc::new(schema.fields().iter().enumerate().map(field).collect()))
}

/// A message for each row.
pub fn rows(fields: Arc<Vec<FieldInfo>>, batches: BatchStream) -> SendableRowStream {
    batches
        .flat_map(move |batch| {
            let rows: Vec<PgWireResult<DataRow>> = match batch {
                Ok(batch) => encode(&fields, &batch),
                Err(error) => vec![Err(PgWireError::from(error))],
            };
            stream::iter(rows)
        })
        .boxed()
}

fn encode(fields: &Arc<Vec<FieldInfo>>, batch: &RecordBatch) -> Vec<PgWireResult<DataRow>> {
    let mut buffer = BytesMut::new();
    let mut scratch = String::new();
    let mut encoder = DataRowEncoder::new(Arc::clone(fields));
    (0..batch.num_rows())
        .map(|row| {
            for (column, field) in fields.iter().enumerate() {
                let array = batch.column(column);
                if field.format() == FieldFormat::Text {
                    put_text(array, row, &mut scratch, &mut buffer);
                } else {
                    let schema = batch.schema_ref();
                    put_binary(array, schema.field(column), row, field, &mut encoder, &mut scratch, &mut buffer)?;
                }
            }
            Ok(DataRow::new(buffer.split(), fields.len() as i16))
        })
        .collect()
}

fn put_text(array: &ArrayRef, row: usize, scratch: &mut String, buffer: &mut BytesMut) {
    scratch.clear();
    if text::write(array, row, scratch) { put(scratch.as_bytes(), buffer) } else { buffer.put_i32(-1) }
}

fn put_binary(
    array: &ArrayRef,
    field: &arrow::datatypes::Field,
    row: usize,
    pg_field: &FieldInfo,
    encoder: &mut DataRowEncoder,
    scratch: &mut String,
    buffer: &mut BytesMut,
) -> PgWireResult<()> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        buffer.put_i32(-1);
        return Ok(());
    }
    scratch.clear();
    match *pg_field.datatype() {
        Type::JSON => {
            json::write(array, row, scratch);
            put(scratch.as_bytes(), buffer);
        }
        Type::NUMERIC => {
            text::write(array, row, scratch);
            put(&numeric::binary(scratch), buffer);
        }
        _ => {
            encode_value(encoder, array, row, field, pg_field)?;
            buffer.put_slice(&encoder.take_row().data);
        }
    }
    Ok(())
}

fn put(bytes: &[u8], buffer: &mut BytesMut) {
    buffer.put_i32(bytes.len() as i32);
    buffer.put_slice(bytes);
}
