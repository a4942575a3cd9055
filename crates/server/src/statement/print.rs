//! PRINT: the records of a topic as they are.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::temporal_conversions::timestamp_ms_to_datetime;
use futures::{StreamExt, stream};
use millpond_log::opaque::Columns;
use millpond_log::{FetchLimit, Fetched, Log, Payload, TopicPartition};
use tokio::sync::watch;

use super::{Given, Rows, Tag, table};
use crate::error::{Error, Result};
use crate::session::{Notice, Session};
use crate::wire::text;

const STEP: FetchLimit = FetchLimit::of(1_024, 4 << 20);
const NAMES: [&str; 5] = ["partition", "offset", "rowtime", "key", "value"];

pub fn schema() -> SchemaRef {
    table::schema(&NAMES)
}

pub fn print(session: &mut Session, topic: &str, from_beginning: bool, limit: Option<u64>, given: &Given<'_>) -> Result<Rows> {
    let log = Arc::clone(&session.engine().storage().log);
    let info = log.topic(topic)?;
    let mut positions = Vec::new();
    for partition in 0..info.config.partitions {
        let at = TopicPartition { topic: Arc::clone(&info.name), partition };
        let range = log.offsets(&at)?;
        positions.push((at, if from_beginning { range.start } else { range.end }));
    }
    if limit.is_none() && !given.portal {
        session.notices.push(Notice {
            severity: "NOTICE",
            sqlstate: "00000",
            message: "records come as they are written, until PRINT is cancelled".to_string(),
            hint: Some(
                "psql shows the records when PRINT has ended: add LIMIT n, or use COPY (SELECT … EMIT CHANGES) TO STDOUT to see a stream's rows as they come."
                    .to_string(),
            ),
        });
    }
    let reader = Reader { log, positions, left: limit.unwrap_or(u64::MAX), committed: session.shared.committed.clone() };
    let batches = stream::try_unfold(reader, |mut reader| async { Ok(reader.next().await?.map(|batch| (batch, reader))) });
    Ok(Rows { schema: schema(), batches: batches.boxed(), tag: Tag::Counted("PRINT") })
}

struct Reader {
    log: Arc<dyn Log>,
    positions: Vec<(TopicPartition, u64)>,
    left: u64,
    committed: watch::Receiver<u64>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            // Before reading, so that a commit that comes in between is not slept through.
            self.committed.mark_unchanged();
            let mut rows = Vec::new();
            for (at, next) in &mut self.positions {
                let fetch = self.log.fetch(at, *next, STEP)?;
                *next = fetch.next_offset;
                for fetched in &fetch.entries {
                    print_entry(at.partition, fetched, &mut rows)?;
                }
            }
            if rows.is_empty() {
                self.committed.changed().await.map_err(|_| Error::fatal("57P01", "the server is shutting down"))?;
                continue;
            }
            rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= rows.len() as u64;
            return Ok(Some(table::of(NAMES, rows)?));
        }
        Ok(None)
    }
}

fn print_entry(partition: u32, fetched: &Fetched, rows: &mut Vec<[Option<String>; 5]>) -> Result<()> {
    let time = |millis: i64| timestamp_ms_to_datetime(millis).map(|time| time.format("%Y-%m-%d %H:%M:%S%.3f").to_string());
    let mut push = |row: usize, millis: Option<i64>, key: Option<String>, value: Option<String>| {
        rows.push([Some(partition.to_string()), Some(fetched.offset(row).to_string()), millis.and_then(time), key, value]);
    };
    match &fetched.entry.payload {
        Payload::Opaque(batch) => {
            let records = Columns::of(batch)?;
            for row in 0..batch.num_rows() {
                push(row, Some(records.timestamps.value(row)), shown(records.keys, row), shown(records.values, row));
            }
        }
        Payload::Columns(batch) => {
            let times = fetched.entry.payload.timestamps();
            for row in 0..batch.num_rows() {
                push(row, times.map(|times| times.value(row)), None, Some(columns(batch, row)));
            }
        }
        Payload::Control(control) => push(0, Some(control.stream_time_ms), None, Some("stream time".to_string())),
    }
    Ok(())
}

/// Text as text, other bytes in hexadecimal.
fn shown(bytes: &BinaryArray, row: usize) -> Option<String> {
    if bytes.is_null(row) {
        return None;
    }
    let bytes = bytes.value(row);
    Some(match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => text.to_string(),
        _ => text::hexadecimal(bytes),
    })
}

/// `name: value` of all columns but the engine's.
fn columns(batch: &RecordBatch, row: usize) -> String {
    let mut line = String::new();
    let mut value = String::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if field.name().starts_with('$') {
            continue;
        }
        value.clear();
        let value = if text::write(column, row, &mut value) { value.as_str() } else { "NULL" };
        let separator = if line.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(line, "{separator}{}: {value}", field.name());
    }
    line
}
