//! Messages of a partition become entries.

use std::sync::Arc;

use millpond_log::opaque::{self, Builder, Sizes};
use millpond_log::{Entry, FetchLimit, Fetched, Placed, Result};

use crate::columns::{decode, first_row};
use crate::queue::Record;

/// An entry of more bytes or rows is followed by another.
const ENTRY_BYTES_MAX: usize = 16 << 20;
const ENTRY_ROWS_MAX: usize = 65_536;

/// Entries in the making.
pub(crate) enum Entries {
    /// Of ordinary records.
    Opaque { done: Vec<Fetched>, rows: Builder, offsets: Vec<u64>, headers: bool },
    /// Of records that are entries; rows before offset `from` are not wanted.
    Columns { done: Vec<Fetched>, from: u64 },
}

impl Entries {
    /// So many records of about such sizes, as far as the limit lets them come. There is room for some more, and for somewhat larger ones: growing
    /// copies everything.
    pub fn opaque(records: usize, sizes: Sizes, limit: FetchLimit) -> Entries {
        let (rows_max, bytes_max) = (limit.rows_max.min(ENTRY_ROWS_MAX), limit.bytes_max.min(ENTRY_BYTES_MAX));
        let sizes = Sizes { key: with_slack(sizes.key), value: with_slack(sizes.value) };
        let expected = with_slack(records).min(rows_max).min(bytes_max / (sizes.key + sizes.value).max(1));
        Entries::Opaque {
            done: Vec::new(),
            rows: Builder::with_room(expected, sizes),
            offsets: Vec::with_capacity(expected),
            headers: limit.headers,
        }
    }

    pub fn columns(from: u64) -> Entries {
        Entries::Columns { done: Vec::new(), from }
    }

    /// Rows and bytes that the record adds.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(usize, usize)> {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        match self {
            Entries::Opaque { done, rows, offsets, headers } => {
                let headers = if *headers { record.headers() } else { Vec::new() };
                let headers: Vec<(&str, Option<&[u8]>)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
                rows.push(opaque::Record { key: record.key, value: record.value, timestamp_ms: record.timestamp_ms, headers: &headers });
                offsets.push(record.offset);
                if rows.rows() >= ENTRY_ROWS_MAX || rows.bytes() >= ENTRY_BYTES_MAX {
                    done.extend(cut(rows, offsets));
                }
                Ok((1, bytes))
            }
            Entries::Columns { done, from } => {
                let entry = Arc::new(decode(record.value)?);
                let rows = entry.rows();
                let (base_offset, next_offset) = (first_row(record.offset), first_row(record.offset + 1));
                done.extend(Placed { base_offset, next_offset, offsets: None, entry }.fetch(*from));
                Ok((rows, bytes))
            }
        }
    }

    pub fn finish(self) -> Vec<Fetched> {
        match self {
            Entries::Opaque { mut done, mut rows, mut offsets, .. } => {
                done.extend(cut(&mut rows, &mut offsets));
                done
            }
            Entries::Columns { done, .. } => done,
        }
    }
}

fn with_slack(number: usize) -> usize {
    number + number / 8
}

fn cut(rows: &mut Builder, offsets: &mut Vec<u64>) -> Option<Fetched> {
    let (base_offset, last) = (*offsets.first()?, *offsets.last()?);
    let dense = last - base_offset == offsets.len() as u64 - 1;
    let offsets = std::mem::take(offsets);
    Some(Fetched {
        base_offset,
        offsets: (!dense).then(|| offsets.into()),
        next_offset: last + 1,
        entry: Arc::new(Entry::opaque(rows.finish())),
    })
}
