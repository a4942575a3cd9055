//! A map from bytes to bytes, or to the knowledge that there are none, in one arena.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::rows::Rows;

/// Keys that are removed, and values that are replaced by longer ones, keep their room until the map is dropped.
#[derive(Debug, Default)]
pub(crate) struct ByteMap {
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    hashes: Vec<u64>,
    rows: Rows,
}

impl ByteMap {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// What all that was put takes, about.
    pub fn bytes(&self) -> usize {
        const PER_ROW: usize = 40;
        self.rows.bytes() + self.rows.len() * PER_ROW
    }

    /// `Some(None)`: known to have no value.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.find(key).map(|row| self.value(row))
    }

    /// The row of `key`, until the map changes.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.find_hashed(key, self.hasher.hash_one(key))
    }

    pub fn value(&self, row: usize) -> Option<&[u8]> {
        self.rows.value(row)
    }

    /// True: the key is new.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let hash = self.hasher.hash_one(key);
        if let Some(row) = self.find_hashed(key, hash) {
            self.rows.replace(row, value);
            return false;
        }
        let row = u32::try_from(self.rows.len()).expect("fewer rows than bytes in memory");
        self.rows.push(key, value);
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.table.insert_unique(hash, row, |row| hashes[*row as usize]);
        true
    }

    pub fn remove(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.table.find_entry(hash, |row| self.rows.key(*row as usize) == key) {
            entry.remove();
        }
    }

    /// In no order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.table.iter().map(|row| self.rows.key(*row as usize))
    }

    /// The rows whose keys are to be kept, in the order of keys.
    pub fn into_sorted(self, keep: impl Fn(&[u8]) -> bool) -> Rows {
        let ByteMap { table, mut rows, .. } = self;
        let mut kept: Vec<usize> = table.into_iter().map(|row| row as usize).filter(|row| keep(rows.key(*row))).collect();
        kept.sort_unstable();
        rows.select(kept.into_iter());
        rows.sort();
        rows
    }

    fn find_hashed(&self, key: &[u8], hash: u64) -> Option<usize> {
        self.table.find(hash, |row| self.rows.key(*row as usize) == key).map(|row| *row as usize)
    }
}
