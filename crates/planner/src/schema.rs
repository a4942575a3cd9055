//! The columns that queries see of a source, and how its records are laid out.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use millpond_catalog::{self as catalog, Column, Format, Source, WindowType, types};
use millpond_sql::Dialect;
use millpond_streams::topology::{Header, RecordLayout, SourceColumn, Windowed};

use crate::dead_letters;

/// The pseudo columns of every source, in the order they follow its own.
pub const ROWTIME: &str = "rowtime";
pub const ROWPARTITION: &str = "rowpartition";
pub const ROWOFFSET: &str = "rowoffset";
/// Those of windowed ones.
pub const WINDOWSTART: &str = "windowstart";
pub const WINDOWEND: &str = "windowend";

/// The type of `rowtime`, `windowstart` and `windowend` in `dialect`.
pub fn pseudo_time_type(dialect: Dialect) -> DataType {
    match dialect {
        Dialect::Millpond => DataType::Timestamp(TimeUnit::Millisecond, None),
        Dialect::Ksqldb => DataType::Int64,
    }
}

/// The declared columns, `windowstart` and `windowend` when `windowed`, then `rowtime`, `rowpartition`, `rowoffset`, with what each is.
pub fn source_columns(source: &Source, dialect: Dialect, windowed: bool) -> Vec<(FieldRef, SourceColumn)> {
    let time = |name: &str| Arc::new(Field::new(dialect.fold(name), pseudo_time_type(dialect), true));
    let mut columns: Vec<(FieldRef, SourceColumn)> = if source.is_dead_letters() {
        declared_fields(source).into_iter().zip(dead_letters::columns(source)).collect()
    } else {
        declared_fields(source).into_iter().enumerate().map(|(i, field)| (field, SourceColumn::Declared(i))).collect()
    };
    if windowed {
        columns.push((time(WINDOWSTART), SourceColumn::WindowStart));
        columns.push((time(WINDOWEND), SourceColumn::WindowEnd));
    }
    columns.push((time(ROWTIME), SourceColumn::Rowtime));
    columns.push((Arc::new(Field::new(dialect.fold(ROWPARTITION), DataType::Int32, true)), SourceColumn::RowPartition));
    columns.push((Arc::new(Field::new(dialect.fold(ROWOFFSET), DataType::Int64, true)), SourceColumn::RowOffset));
    columns
}

/// What a query can name of `source`: see [`source_columns`].
pub fn source_schema(source: &Source, dialect: Dialect) -> SchemaRef {
    let fields: Vec<FieldRef> = source_columns(source, dialect, source.window.is_some()).into_iter().map(|(field, _)| field).collect();
    Arc::new(Schema::new(fields))
}

fn declared_fields(source: &Source) -> Vec<FieldRef> {
    source.columns.iter().map(field).collect()
}

pub(crate) fn field(column: &Column) -> FieldRef {
    Arc::new(Field::new(&column.name, types::to_arrow(&column.sql_type), true))
}

/// What the header columns are.
pub(crate) fn headers(source: &Source) -> Vec<Header> {
    source.header_columns().filter_map(|column| column.header.as_ref()).map(header).collect()
}

/// How the source's records are written.
pub fn layout(source: &Source) -> RecordLayout {
    if source.is_dead_letters() {
        return dead_letters::layout(source);
    }
    RecordLayout {
        columns: declared_fields(source),
        key_columns: source.key_columns().count(),
        headers: headers(source),
        key_format: format(&source.key_format),
        value_format: format(&source.value_format),
        windowed: source.window.map(|window| match window {
            WindowType::Time { size_ms } => Windowed::Time { size_ms },
            WindowType::Session => Windowed::Session,
        }),
        wrap_single_value: source.wrap_single_value.unwrap_or(true),
    }
}

fn header(header: &catalog::Header) -> Header {
    match header {
        catalog::Header::All => Header::All,
        catalog::Header::Last(key) => Header::Last(key.clone()),
    }
}

pub fn format(format: &Format) -> millpond_formats::Format {
    match format {
        Format::Native => millpond_formats::Format::Native,
        Format::Json => millpond_formats::Format::Json,
        Format::Delimited { delimiter } => millpond_formats::Format::Delimited { delimiter: *delimiter },
        Format::Kafka => millpond_formats::Format::Kafka,
        Format::None => millpond_formats::Format::None,
    }
}

/// The index of the timestamp column and its pattern.
pub fn timestamp_column(source: &Source) -> Option<(usize, Option<String>)> {
    let timestamp = source.timestamp.as_ref()?;
    let index = source.columns.iter().position(|column| column.name == timestamp.column)?;
    Some((index, timestamp.format.clone()))
}

/// Whether the two formats give the same bytes to hash for the same single key: then they partition alike.
pub fn partition_alike(a: &Format, b: &Format, key_columns: usize) -> bool {
    a == b || (key_columns == 1 && matches!((a, b), (Format::Native, Format::Kafka) | (Format::Kafka, Format::Native)))
}
