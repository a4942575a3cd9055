//! The columns of the system tables, and how they are filled.

use std::sync::Arc;

use arrow::array::TimestampMillisecondArray;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::error::Result;
use millpond_sql::Dialect;

const TEXT: DataType = DataType::Utf8;
const NUMBER: DataType = DataType::Int64;
const DOUBLE: DataType = DataType::Float64;
const TIME: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);
const TRUTH: DataType = DataType::Boolean;

fn declared(table: &str) -> &'static [(&'static str, DataType)] {
    match table {
        "queries" => &[
            ("id", TEXT),
            ("state", TEXT),
            ("reason", TEXT),
            ("sink", TEXT),
            ("rows_in", NUMBER),
            ("rows_out", NUMBER),
            ("late", NUMBER),
            ("undecodable", NUMBER),
            ("null_key", NUMBER),
            ("bad_timestamp", NUMBER),
            ("failed_expressions", NUMBER),
            ("lost", NUMBER),
            ("failures", NUMBER),
            ("progress_percent", DOUBLE),
            ("rows_per_second", DOUBLE),
            ("lag", NUMBER),
            ("tasks", NUMBER),
            ("statement", TEXT),
        ],
        "tasks" => &[
            ("id", TEXT),
            ("query", TEXT),
            ("sub_topology", NUMBER),
            ("partition", NUMBER),
            ("worker", NUMBER),
            ("rows_in", NUMBER),
            ("rows_out", NUMBER),
            ("lag", NUMBER),
            ("progress_percent", DOUBLE),
            ("restored_percent", DOUBLE),
            ("rows_per_second", DOUBLE),
            ("stream_time", TIME),
            ("last_commit", TIME),
            ("member", TEXT),
        ],
        "members" => &[
            ("instance", TEXT),
            ("service", TEXT),
            ("address", TEXT),
            ("http", TEXT),
            ("version", TEXT),
            ("started", TIME),
            ("workers", NUMBER),
            ("tasks", NUMBER),
            ("member_id", TEXT),
            ("leader", TRUTH),
            ("here", TRUTH),
        ],
        "processing_log" => &[
            ("time", TIME),
            ("query", TEXT),
            ("task", TEXT),
            ("kind", TEXT),
            ("message", TEXT),
            ("topic", TEXT),
            ("partition", NUMBER),
            ("record_offset", NUMBER),
            ("rowtime", TIME),
        ],
        "topics" => {
            &[("name", TEXT), ("partitions", NUMBER), ("cleanup", TEXT), ("retention_ms", NUMBER), ("rows", NUMBER), ("internal", TRUTH)]
        }
        "settings" => &[("name", TEXT), ("value", TEXT), ("description", TEXT)],
        "stores" => &[("name", TEXT), ("size_bytes", NUMBER)],
        _ => &[],
    }
}

pub fn schema(table: &str, dialect: Dialect) -> SchemaRef {
    let fields = declared(table).iter().map(|(name, data_type)| Field::new(dialect.fold(name), data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Columns in the order they are declared.
pub struct Columns {
    rows: usize,
    columns: Vec<ArrayRef>,
}

impl Columns {
    pub fn new(rows: usize) -> Columns {
        Columns { rows, columns: Vec::new() }
    }

    pub fn text(&mut self, values: impl Iterator<Item = Option<String>>) {
        self.columns.push(Arc::new(values.collect::<StringArray>()));
    }

    pub fn number(&mut self, values: impl Iterator<Item = Option<i64>>) {
        self.columns.push(Arc::new(values.collect::<Int64Array>()));
    }

    pub fn double(&mut self, values: impl Iterator<Item = Option<f64>>) {
        self.columns.push(Arc::new(values.collect::<Float64Array>()));
    }

    /// Milliseconds.
    pub fn time(&mut self, values: impl Iterator<Item = Option<i64>>) {
        self.columns.push(Arc::new(values.collect::<TimestampMillisecondArray>()));
    }

    pub fn truth(&mut self, values: impl Iterator<Item = Option<bool>>) {
        self.columns.push(Arc::new(values.collect::<BooleanArray>()));
    }

    pub fn finish(self, schema: SchemaRef) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(schema, self.columns, &options)?)
    }
}
