//! Which rows of a compacted topic stay: decided here, once for all logs.
//!
//! ```text
//!   oldest entry … a=1 b=1 | a=2 | b=∅ c=1 | a=3 … newest entry
//!                   ✗   ✗     ✗     ☠   ✓     ✓      entries are offered newest first; a key seen before makes a row superseded
//! ```
//! CMP-1  a row goes only when a newer row of its key stays, or was a tombstone that has gone after everything before it.
//! CMP-2  memory is bounded: past [`KEYS_MAX`] keys the older rows of keys not seen yet all stay.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};
use hashbrown::HashSet;

use crate::entry::TOMBSTONE;
use crate::opaque;
use crate::{Entry, Payload, Result};

/// How long a tombstone stays after the first cleaning that met it.
pub const TOMBSTONE_MS: i64 = 24 * 60 * 60 * 1000;
/// How many keys one cleaning of a partition remembers.
pub const KEYS_MAX: usize = 2_000_000;

/// One cleaning of one partition.
#[derive(Debug)]
pub struct Compaction<'a> {
    key_columns: &'a [String],
    now_ms: i64,
    seen: HashSet<Box<[u8]>>,
    /// A key was not remembered (CMP-2), so older rows of it will stay: from here on tombstones stay, too.
    overflown: bool,
    tombstones_gone: bool,
}

/// What becomes of an entry.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Keep,
    /// It stays and has tombstones that were met for the first time: remember `now_ms` with it.
    Mark,
    /// `entry` stays: the rows at the indexes `kept` of what it was. `marked`: see [`Outcome::Mark`].
    Rewrite {
        entry: Entry,
        kept: Vec<usize>,
        marked: bool,
    },
    Remove,
}

impl<'a> Compaction<'a> {
    pub fn new(key_columns: &'a [String], now_ms: i64) -> Compaction<'a> {
        Compaction { key_columns, now_ms, seen: HashSet::new(), overflown: false, tombstones_gone: false }
    }

    /// Takes the partition's newest entry, which is left alone.
    pub fn newest(&mut self, entry: &Entry) -> Result<()> {
        if let Some(rows) = keyed_rows(entry, self.key_columns)? {
            for key in rows.keys.into_iter().flatten() {
                self.see(key);
            }
        }
        Ok(())
    }

    /// Takes the next older entry. `met_ms` is the time of the cleaning that first met its tombstones.
    pub fn older(&mut self, entry: &Entry, met_ms: Option<i64>) -> Result<Outcome> {
        let Some(rows) = keyed_rows(entry, self.key_columns)? else { return Ok(Outcome::Keep) };
        let due = met_ms.is_some_and(|met| met.saturating_add(TOMBSTONE_MS) <= self.now_ms);
        let (mut kept, mut tombstones) = (Vec::new(), false);
        for (row, key) in rows.keys.into_iter().enumerate().rev() {
            let Some(key) = key else {
                kept.push(row);
                continue;
            };
            let superseded = self.seen.contains(&key);
            self.see(key);
            if superseded {
                continue;
            }
            if rows.tombstones[row] && due && !self.overflown {
                self.tombstones_gone = true;
                continue;
            }
            tombstones |= rows.tombstones[row];
            kept.push(row);
        }
        kept.reverse();
        let marked = tombstones && met_ms.is_none();
        if kept.is_empty() {
            return Ok(Outcome::Remove);
        }
        if kept.len() == entry.rows() {
            return Ok(if marked { Outcome::Mark } else { Outcome::Keep });
        }
        let Some(batch) = entry.payload.batch() else { return Ok(Outcome::Keep) };
        let mut mask = vec![false; entry.rows()];
        kept.iter().for_each(|row| mask[*row] = true);
        let batch = filter_record_batch(batch, &BooleanArray::from(mask))?;
        Ok(Outcome::Rewrite { entry: Entry { payload: entry.payload.with_batch(batch), channel: entry.channel }, kept, marked })
    }

    /// A tombstone has gone: what follows must become durable together with it, or a crash would bring older rows of its key back.
    pub fn tombstones_gone(&self) -> bool {
        self.tombstones_gone
    }

    fn see(&mut self, key: Box<[u8]>) {
        if self.seen.len() < KEYS_MAX {
            self.seen.insert(key);
        } else if !self.overflown {
            self.overflown = !self.seen.contains(&key);
        }
    }
}

struct KeyedRows {
    /// `None`: the row has no key, and stays.
    keys: Vec<Option<Box<[u8]>>>,
    tombstones: Vec<bool>,
}

/// `None` when the entry has nothing to compact by.
fn keyed_rows(entry: &Entry, key_columns: &[String]) -> Result<Option<KeyedRows>> {
    match &entry.payload {
        Payload::Control(_) => Ok(None),
        Payload::Opaque(batch) => {
            let columns = opaque::Columns::of(batch)?;
            Ok(Some(KeyedRows {
                keys: (0..batch.num_rows()).map(|row| columns.key(row).map(Box::from)).collect(),
                tombstones: (0..batch.num_rows()).map(|row| columns.values.is_null(row)).collect(),
            }))
        }
        Payload::Columns(batch) => {
            let columns: Option<Vec<ArrayRef>> = key_columns.iter().map(|name| batch.column_by_name(name).cloned()).collect();
            let Some(columns) = columns.filter(|columns| !columns.is_empty()) else { return Ok(None) };
            let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
            let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
            let tombstones = batch.column_by_name(TOMBSTONE).and_then(|column| column.as_boolean_opt());
            Ok(Some(KeyedRows {
                keys: rows.iter().map(|row| Some(Box::from(row.as_ref()))).collect(),
                tombstones: (0..batch.num_rows())
                    .map(|row| tombstones.is_some_and(|tombstones| tombstones.is_valid(row) && tombstones.value(row)))
                    .collect(),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opaque::Record;

    fn entry(rows: &[(&str, Option<&str>)]) -> Entry {
        Entry::opaque(opaque::batch(rows.iter().map(|(key, value)| Record {
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
            timestamp_ms: 0,
            headers: &[],
        })))
    }

    #[test]
    fn a_superseded_row_goes_and_a_tombstone_stays_for_a_day() {
        let mut first = Compaction::new(&[], 5);
        first.newest(&entry(&[("a", Some("3"))])).unwrap();
        let with_tombstone = entry(&[("b", None), ("a", Some("2")), ("c", Some("1"))]);
        let Outcome::Rewrite { entry: rewritten, kept, marked: true } = first.older(&with_tombstone, None).unwrap() else { panic!() };
        assert_eq!((kept, &rewritten), (vec![0, 2], &entry(&[("b", None), ("c", Some("1"))])));
        assert_eq!(first.older(&entry(&[("a", Some("1")), ("b", Some("1"))]), None).unwrap(), Outcome::Remove);

        let mut early = Compaction::new(&[], 5 + TOMBSTONE_MS - 1);
        assert_eq!(early.older(&rewritten, Some(5)).unwrap(), Outcome::Keep);
        let mut late = Compaction::new(&[], 5 + TOMBSTONE_MS);
        let outcome = late.older(&rewritten, Some(5)).unwrap();
        assert_eq!(outcome, Outcome::Rewrite { entry: entry(&[("c", Some("1"))]), kept: vec![1], marked: false });
    }
}
