//! An entry at its place in a partition: what both logs keep, and cut to what a fetch wants.

use std::sync::Arc;

use crate::{Entry, Fetched};

/// Covers the offsets `base_offset..next_offset`; after compaction some of them have no row.
#[derive(Debug, Clone)]
pub struct Placed {
    pub base_offset: u64,
    pub next_offset: u64,
    /// The rows' offsets when rows are missing; ascending.
    pub offsets: Option<Arc<[u64]>>,
    pub entry: Arc<Entry>,
}

impl Placed {
    /// The same place after compaction has left the rows `kept` in it.
    pub fn rewritten(&self, entry: Entry, kept: &[usize]) -> Placed {
        let offset = |row: usize| self.offsets.as_ref().map_or(self.base_offset + row as u64, |offsets| offsets[row]);
        let offsets = Some(kept.iter().map(|row| offset(*row)).collect());
        Placed { base_offset: self.base_offset, next_offset: self.next_offset, offsets, entry: Arc::new(entry) }
    }

    /// The entry's rows from offset `from` on; `None` when there are none.
    pub fn fetch(&self, from: u64) -> Option<Fetched> {
        let rows = self.entry.payload.rows();
        let skipped = match &self.offsets {
            Some(offsets) => offsets.partition_point(|offset| *offset < from),
            None => from.saturating_sub(self.base_offset).min(rows as u64) as usize,
        };
        if skipped == rows {
            return None;
        }
        let offsets = match &self.offsets {
            Some(offsets) if skipped > 0 => Some(Arc::from(&offsets[skipped..])),
            offsets => offsets.clone(),
        };
        let base_offset = offsets.as_ref().map_or(self.base_offset + skipped as u64, |offsets| offsets[0]);
        let entry = if skipped == 0 { self.entry.clone() } else { Arc::new(self.entry.slice(skipped, rows - skipped)) };
        Some(Fetched { base_offset, offsets, next_offset: self.next_offset, entry })
    }
}
