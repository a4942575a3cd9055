//! What one append carries.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::compute::max;
use arrow::datatypes::Int64Type;

pub use crate::opaque::opaque_schema;

/// Column of [`Payload::Columns`] with each row's timestamp: Int64, milliseconds since the epoch, not null.
pub const TIMESTAMP: &str = "$timestamp";
/// Column of [`Payload::Columns`]: Boolean, true where there is no value: of a table, such a row deletes its key. Absent: all have one.
pub const TOMBSTONE: &str = "$tombstone";
/// Column of [`Payload::Columns`] in repartition topics of tables: Int8, +1 for a row that came and -1 for one that went.
pub const CHANGE: &str = "$change";
/// Column of [`Payload::Columns`] in repartition topics: Int64, the stream time (ms) of the row's channel at its place.
pub const STREAM_TIME: &str = "$stream_time";

/// A batch of records, appended and read as one.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub payload: Payload,
    /// In repartition topics: the upstream task's partition. 0 elsewhere.
    pub channel: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Columns `key` Binary, `value` Binary, `timestamp` Int64 (ms, not null), `headers` List<Struct<key Utf8, value Binary>>;
    /// a null value is a tombstone. See [`opaque_schema`].
    Opaque(RecordBatch),
    /// Columns as the topic's owner defines them, and those named above. Embedded log only.
    Columns(RecordBatch),
    /// In repartition topics: how far the entry's channel has come. Takes one offset.
    Control(Control),
}

/// A channel's announcement (design D16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// The channel's running maximum of timestamps, ms.
    pub stream_time_ms: i64,
    /// Caught up and silent for `idle_timeout`: stream time does not wait for it.
    pub idle: bool,
}

impl Entry {
    /// A batch of [`opaque_schema`]; see [`crate::opaque::batch`].
    pub fn opaque(rows: RecordBatch) -> Entry {
        Entry { payload: Payload::Opaque(rows), channel: 0 }
    }

    pub fn columns(rows: RecordBatch) -> Entry {
        Entry { payload: Payload::Columns(rows), channel: 0 }
    }

    pub fn control(channel: u32, control: Control) -> Entry {
        Entry { payload: Payload::Control(control), channel }
    }

    pub fn with_channel(self, channel: u32) -> Entry {
        Entry { channel, ..self }
    }

    pub fn rows(&self) -> usize {
        self.payload.rows()
    }

    /// `length` rows from row `offset` on, sharing the columns.
    pub fn slice(&self, offset: usize, length: usize) -> Entry {
        Entry { payload: self.payload.slice(offset, length), channel: self.channel }
    }

    /// What it takes in memory, about: only the rows it has, even when they are a slice of a larger batch.
    pub fn bytes(&self) -> usize {
        const FIXED: usize = 64;
        FIXED + self.payload.batch().map_or(0, |rows| rows.columns().iter().map(column_bytes).sum())
    }
}

fn column_bytes(column: &arrow::array::ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

impl Payload {
    /// How many offsets it takes.
    pub fn rows(&self) -> usize {
        match self {
            Payload::Opaque(rows) | Payload::Columns(rows) => rows.num_rows(),
            Payload::Control(_) => 1,
        }
    }

    /// The rows; none for a control entry.
    pub fn batch(&self) -> Option<&RecordBatch> {
        match self {
            Payload::Opaque(rows) | Payload::Columns(rows) => Some(rows),
            Payload::Control(_) => None,
        }
    }

    /// The same kind of payload with other rows; a control entry stays as it is.
    pub fn with_batch(&self, rows: RecordBatch) -> Payload {
        match self {
            Payload::Opaque(_) => Payload::Opaque(rows),
            Payload::Columns(_) => Payload::Columns(rows),
            Payload::Control(control) => Payload::Control(*control),
        }
    }

    /// `length` rows from row `offset` on, sharing the columns.
    pub fn slice(&self, offset: usize, length: usize) -> Payload {
        match self.batch() {
            Some(rows) => self.with_batch(rows.slice(offset, length)),
            None => self.clone(),
        }
    }

    /// The rows' timestamps (ms); `None` for a control entry and for columns without [`TIMESTAMP`].
    pub fn timestamps(&self) -> Option<&Int64Array> {
        match self {
            Payload::Opaque(rows) => rows.column_by_name("timestamp"),
            Payload::Columns(rows) => rows.column_by_name(TIMESTAMP),
            Payload::Control(_) => None,
        }
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
    }

    /// The newest timestamp (ms) in it: what retention judges by.
    pub fn max_timestamp_ms(&self) -> Option<i64> {
        match self {
            Payload::Control(control) => Some(control.stream_time_ms),
            _ => self.timestamps().and_then(max),
        }
    }
}
