//! What one append carries.

use arrow::array::RecordBatch;

/// Column of [`Payload::Columns`] with each row's timestamp: Int64, milliseconds since the epoch, not null.
pub const TIMESTAMP: &str = "$timestamp";
/// Column of [`Payload::Columns`] in table topics: Boolean, true where the row deletes its key. Absent: no row does.
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

impl Payload {
    /// How many offsets it takes.
    pub fn rows(&self) -> usize {
        match self {
            Payload::Opaque(rows) | Payload::Columns(rows) => rows.num_rows(),
            Payload::Control(_) => 1,
        }
    }
}
