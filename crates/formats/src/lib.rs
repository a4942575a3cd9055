//! Bytes ↔ Arrow: how records' keys and values are written in topics.
//!
//! ```text
//!   BinaryArray ──Decoder──► columns (one builder each, filled record by record) ──Encoder──► BinaryArray
//! ```
//!
//! A decoder or encoder is built once for one side (key or value) of a topic; construction says whether the format can hold the
//! columns at all. A record that cannot be read becomes a row of nulls and a reason: it never fails its batch.
//!
//! [`text`] reads what people type (COPY, INSERT), [`timestamp`] knows Java's date patterns and ISO texts.

mod column;
pub mod decimal;
mod decoder;
mod delimited;
pub mod double;
mod encoder;
mod error;
mod integer;
mod json;
mod kafka;
mod partition;
pub mod text;
pub mod timestamp;
pub mod windowed;

use arrow::datatypes::{DataType, FieldRef};

pub use decoder::{Decoded, Decoder};
pub use encoder::Encoder;
pub use error::{Error, Result};
pub use json::JsonPath;
pub use partition::key_bytes;

/// How a key or a value is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Format {
    /// Columns, not bytes: embedded log only.
    Native,
    Json,
    Delimited {
        delimiter: char,
    },
    /// Kafka's primitive serializers: INT, BIGINT and DOUBLE big-endian, VARCHAR and BYTES as they are.
    Kafka,
    /// No key.
    None,
}

/// What a side's columns do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// A single column is a field of an object (`{"a": 1}`), not the whole document (`1`). Only JSON has the choice.
    pub wrap_single_value: bool,
}

impl Options {
    /// For keys: a single key column is never wrapped (dialect §15).
    pub const KEY: Options = Options { wrap_single_value: false };
    /// For values, unless the WITH clause says otherwise.
    pub const VALUE: Options = Options { wrap_single_value: true };
}

impl Format {
    /// As the WITH clause calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Format::Native => "native",
            Format::Json => "json",
            Format::Delimited { .. } => "delimited",
            Format::Kafka => "kafka",
            Format::None => "none",
        }
    }

    /// Whether the format can hold these columns on one side of a record. Native holds everything but has no bytes: see
    /// [`Error::NoBytes`].
    pub fn check(&self, fields: &[FieldRef]) -> Result<()> {
        match self {
            Format::Native => return Ok(()),
            Format::None if !fields.is_empty() => return Err(Error::NoColumns { columns: fields.len() }),
            Format::Kafka if fields.len() > 1 => return Err(Error::OneColumn { columns: fields.len() }),
            _ => {}
        }
        match fields.iter().find(|field| !self.holds(field.data_type())) {
            Some(field) => Err(Error::Type {
                format: self.name(),
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                holds: self.types(),
            }),
            None => Ok(()),
        }
    }

    fn holds(&self, data_type: &DataType) -> bool {
        match self {
            Format::Native => true,
            Format::None => false,
            Format::Kafka => {
                matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Utf8 | DataType::Binary)
            }
            Format::Delimited { .. } => column::is_scalar(data_type),
            Format::Json => match data_type {
                DataType::List(item) => self.holds(item.data_type()),
                DataType::Struct(fields) => fields.iter().all(|field| self.holds(field.data_type())),
                DataType::Map(entries, _) => match column::map_fields(entries) {
                    Some((key, value)) => *key.data_type() == DataType::Utf8 && self.holds(value.data_type()),
                    None => false,
                },
                scalar => column::is_scalar(scalar),
            },
        }
    }

    fn types(&self) -> &'static str {
        match self {
            Format::Native => "every type",
            Format::None => "no column",
            Format::Kafka => "INT, BIGINT, DOUBLE, VARCHAR and BYTES",
            Format::Delimited { .. } => "every type but ARRAY, MAP and STRUCT",
            Format::Json => "every type, and of maps those with VARCHAR keys",
        }
    }
}
