//! What a commit changes.

use millpond_log::opaque::Sizes;

use crate::rows::Rows;
use crate::{Expiry, StoreId};

/// The changes of one store's partition. In the order of keys ([`Writes::sort`]) a backend applies them fastest.
#[derive(Debug, Clone)]
pub struct Writes {
    pub store: StoreId,
    pub partition: u32,
    rows: Rows,
}

/// The changes of several stores and partitions.
#[derive(Debug, Clone, Default)]
pub struct WriteSet {
    pub writes: Vec<Writes>,
    /// Horizons that move with this commit, as [`crate::Backend::set_expiry`] would move them.
    pub expiries: Vec<(StoreId, u32, Expiry)>,
}

impl Writes {
    pub fn new(store: StoreId, partition: u32) -> Writes {
        Writes { store, partition, rows: Rows::default() }
    }

    pub(crate) fn of(store: StoreId, partition: u32, rows: Rows) -> Writes {
        Writes { store, partition, rows }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As records of a log.
    pub fn sizes(&self) -> Sizes {
        let sum = |sizes: Sizes, (key, value): (&[u8], Option<&[u8]>)| Sizes {
            key: sizes.key + key.len(),
            value: sizes.value + value.map_or(0, <[u8]>::len),
        };
        let Sizes { key, value } = self.iter().fold(Sizes::default(), sum);
        Sizes { key: key.div_ceil(self.len().max(1)), value: value.div_ceil(self.len().max(1)) }
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.rows.push(key, Some(value));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.rows.push(key, None);
    }

    /// Into the order of keys; of changes of the same key the last one still counts.
    pub fn sort(&mut self) {
        self.rows.sort();
    }

    /// Keys and values, where a value that is not there deletes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter()
    }
}

impl WriteSet {
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.expiries.is_empty()
    }

    /// Adds the writes, if there are any.
    pub fn push(&mut self, writes: Writes) {
        if !writes.is_empty() {
            self.writes.push(writes);
        }
    }

    /// Adds what another task writes in the same commit.
    pub fn append(&mut self, mut other: WriteSet) {
        self.writes.append(&mut other.writes);
        self.expiries.append(&mut other.expiries);
    }
}
