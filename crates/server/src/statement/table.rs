//! Small result sets that a statement makes up itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::Result;

/// Columns of text.
pub fn schema(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// Rows of text; `None` is NULL.
pub fn of<const N: usize>(names: [&str; N], rows: Vec<[Option<String>; N]>) -> Result<RecordBatch> {
    let columns = (0..N).map(|column| {
        let values: StringArray = rows.iter().map(|row| row[column].as_deref()).collect();
        Arc::new(values) as ArrayRef
    });
    Ok(RecordBatch::try_new(schema(&names), columns.collect())?)
}

/// One column of lines.
pub fn lines(name: &str, lines: Vec<String>) -> Result<RecordBatch> {
    of([name], lines.into_iter().map(|line| [Some(line)]).collect())
}
