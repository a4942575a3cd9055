//! `millpond.dead_letters`: records that could not be decoded, as they were, from the dead-letter topic.

use std::fmt::Write;

use arrow::array::{Array, AsArray};
use datafusion::error::Result;
use millpond_log::opaque::Columns as Records;
use millpond_log::{FetchLimit, Payload, TopicPartition};

use super::Sources;
use super::columns::Columns;
use crate::stream_table::external;

/// As many of the newest as one look shows.
const LETTERS_MAX: u64 = 10_000;

struct Letter {
    time_ms: i64,
    offset: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: String,
}

pub fn fill(sources: &Sources) -> Result<Columns> {
    let letters = letters(sources)?;
    let mut columns = Columns::new(letters.len());
    columns.time(letters.iter().map(|letter| Some(letter.time_ms)));
    columns.number(letters.iter().map(|letter| Some(letter.offset)));
    columns.bytes(letters.iter().map(|letter| letter.key.as_deref()));
    columns.bytes(letters.iter().map(|letter| letter.value.as_deref()));
    columns.text(letters.iter().map(|letter| Some(letter.headers.clone())));
    Ok(columns)
}

fn letters(sources: &Sources) -> Result<Vec<Letter>> {
    let at = TopicPartition { topic: sources.moment.engine.dead_letters_topic().into(), partition: 0 };
    // The topic is made with its first record.
    let Ok(range) = sources.moment.state.offsets(&at) else { return Ok(Vec::new()) };
    let mut next = range.start.max(range.end.saturating_sub(LETTERS_MAX));
    let mut letters = Vec::new();
    while next < range.end {
        let fetch = sources.moment.state.fetch(&at, next, FetchLimit::of(1_024, 4 << 20).with_headers()).map_err(external)?;
        next = fetch.next_offset;
        for entry in &fetch.entries {
            let Payload::Opaque(rows) = &entry.entry.payload else { continue };
            let records = Records::of(rows).map_err(external)?;
            for row in 0..rows.num_rows() {
                letters.push(Letter {
                    time_ms: records.timestamps.value(row),
                    offset: entry.offset(row) as i64,
                    key: records.keys.is_valid(row).then(|| records.keys.value(row).to_vec()),
                    value: records.values.is_valid(row).then(|| records.values.value(row).to_vec()),
                    headers: headers(&records, row),
                });
            }
        }
    }
    Ok(letters)
}

/// `name=value`, separated by commas.
fn headers(records: &Records<'_>, row: usize) -> String {
    let mut text = String::new();
    if records.headers.is_null(row) {
        return text;
    }
    let headers = records.headers.value(row);
    let headers = headers.as_struct();
    let (Some(names), Some(values)) = (headers.column(0).as_string_opt::<i32>(), headers.column(1).as_binary_opt::<i32>()) else {
        return text;
    };
    for (name, value) in names.iter().zip(values.iter()) {
        let separator = if text.is_empty() { "" } else { ", " };
        let value = value.map_or("".into(), String::from_utf8_lossy);
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{}={value}", name.unwrap_or_default());
    }
    text
}
