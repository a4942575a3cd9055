//! Entries of topics that Millpond keeps for itself: a Kafka record of theirs is a whole entry.
//!
//! ```text
//!   value = kind (1) channel (4, little-endian) body
//!     kind 1, columns:  Arrow IPC stream of one batch
//!     kind 2, control:  stream time, ms (8, little-endian) idle (1)
//! ```
//! Rows are told apart by their place in the entry: offset of a row = record offset × 65,536 + row.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use millpond_log::{Control, Entry, Error, Payload, Result, is_repartition};

const COLUMNS: u8 = 1;
const CONTROL: u8 = 2;
/// Rows of one record, so that their places fit into an offset.
const ROWS_MAX: u64 = 1 << ROW_BITS;
const ROW_BITS: u32 = 16;
/// A record is not to be larger than this, unless one row is.
const BYTES_MAX: usize = 512 << 10;

/// The log's offset of a record of the topic.
pub(crate) fn offset_of(topic: &str, record: u64) -> u64 {
    if is_repartition(topic) { first_row(record) } else { record }
}

/// The record of the topic at the log's offset.
pub(crate) fn record_at(topic: &str, offset: u64) -> u64 {
    if is_repartition(topic) { record_of(offset) } else { offset }
}

/// The offset of a record's first row.
pub(crate) fn first_row(record_offset: u64) -> u64 {
    record_offset << ROW_BITS
}

/// The record in which the row is.
fn record_of(row_offset: u64) -> u64 {
    row_offset >> ROW_BITS
}

/// How many records lie between two of the log's offsets; one that is read in part counts.
pub(crate) fn records_between(topic: &str, from: u64, to: u64) -> u64 {
    let to = if is_repartition(topic) { to.saturating_add(ROWS_MAX - 1) } else { to };
    record_at(topic, to).saturating_sub(record_at(topic, from))
}

/// The values of the records that the entry becomes.
pub(crate) fn encode(entry: &Entry) -> Result<Vec<Vec<u8>>> {
    match &entry.payload {
        Payload::Control(control) => {
            let mut value = head(CONTROL, entry.channel);
            value.extend_from_slice(&control.stream_time_ms.to_le_bytes());
            value.push(u8::from(control.idle));
            Ok(vec![value])
        }
        Payload::Columns(rows) => {
            let count = rows.num_rows();
            let at_once = (count * BYTES_MAX / entry.bytes().max(1)).clamp(1, ROWS_MAX as usize);
            let piece = |from: usize| encode_rows(&rows.slice(from, at_once.min(count - from)), entry.channel);
            (0..count).step_by(at_once).map(piece).collect()
        }
        Payload::Opaque(_) => Err(Error::Setting("a topic of columns takes no opaque records".into())),
    }
}

fn head(kind: u8, channel: u32) -> Vec<u8> {
    let mut value = vec![kind];
    value.extend_from_slice(&channel.to_le_bytes());
    value
}

fn encode_rows(rows: &RecordBatch, channel: u32) -> Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(head(COLUMNS, channel), rows.schema_ref())?;
    writer.write(rows)?;
    writer.finish()?;
    Ok(writer.into_inner()?)
}

pub(crate) fn decode(value: Option<&[u8]>) -> Result<Entry> {
    let corrupt = |what: &str| Error::Corrupt(format!("a record of a topic of columns {what}"));
    let (head, body) = value.and_then(|value| value.split_first_chunk::<5>()).ok_or_else(|| corrupt("is too short"))?;
    let channel = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
    match head[0] {
        COLUMNS => {
            let mut reader = StreamReader::try_new(Cursor::new(body), None)?;
            let rows = reader.next().ok_or_else(|| corrupt("has no rows"))??;
            if rows.num_rows() as u64 > ROWS_MAX {
                return Err(corrupt("has too many rows"));
            }
            Ok(Entry::columns(rows).with_channel(channel))
        }
        CONTROL => {
            let (time, idle) = body.split_first_chunk::<8>().ok_or_else(|| corrupt("is too short"))?;
            let idle = *idle.first().ok_or_else(|| corrupt("is too short"))? != 0;
            Ok(Entry::control(channel, Control { stream_time_ms: i64::from_le_bytes(*time), idle }))
        }
        kind => Err(corrupt(&format!("is of kind {kind}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn numbers(count: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    #[test]
    fn entries_come_back() {
        for entry in [Entry::columns(numbers(5)).with_channel(7), Entry::control(3, Control { stream_time_ms: -17, idle: true })] {
            let values = encode(&entry).unwrap();
            assert_eq!((values.len(), decode(Some(&values[0])).unwrap()), (1, entry));
        }
    }

    #[test]
    fn large_entries_become_several_records() {
        let values = encode(&Entry::columns(numbers(300_000))).unwrap();
        let rows: usize = values.iter().map(|value| decode(Some(value)).unwrap().rows()).sum();
        assert!(rows == 300_000 && values.iter().all(|value| value.len() < BYTES_MAX + 1_000));
        let wide: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(BYTES_MAX); 3]));
        assert_eq!(encode(&Entry::columns(RecordBatch::try_from_iter([("s", wide)]).unwrap())).unwrap().len(), 3);
    }

    #[test]
    fn what_is_not_an_entry_is_refused() {
        for value in [None, Some(&b""[..]), Some(b"\x01\0\0\0\0junk"), Some(b"\x02\0\0\0\0\0"), Some(b"\x09\0\0\0\0")] {
            assert!(decode(value).is_err());
        }
    }

    #[test]
    fn rows_have_offsets_of_their_own() {
        assert_eq!((first_row(3), record_of(first_row(3) + 65_535), record_of(first_row(4))), (196_608, 3, 4));
    }
}
