//! Rows of stores in the family `state`.

use millpond_state::{Expiry, KeyRange, Result, StoreId, Visit, prefix_end};
use rocksdb::{ColumnFamily, DB, ReadOptions};

use crate::database::storage;
use crate::horizon::is_visible;

const PREFIX_LEN: usize = 8;

pub(crate) fn prefix(store: StoreId, partition: u32) -> [u8; PREFIX_LEN] {
    let mut prefix = [0; PREFIX_LEN];
    prefix[..4].copy_from_slice(&store.0.to_be_bytes());
    prefix[4..].copy_from_slice(&partition.to_be_bytes());
    prefix
}

/// The store and the partition of a row, and its key in there.
pub(crate) fn split_key(key: &[u8]) -> Option<((StoreId, u32), &[u8])> {
    let (store, rest) = key.split_first_chunk::<4>()?;
    let (partition, key) = rest.split_first_chunk::<4>()?;
    Some(((StoreId(u32::from_be_bytes(*store)), u32::from_be_bytes(*partition)), key))
}

/// Where one reader reads: a store's partition, now or at a snapshot (which `options` then has).
pub(crate) struct Rows<'a> {
    pub db: &'a DB,
    pub family: &'a ColumnFamily,
    pub options: ReadOptions,
    pub prefix: [u8; PREFIX_LEN],
    pub expiry: Option<Expiry>,
}

impl Rows<'_> {
    pub(crate) fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut bytes = Vec::with_capacity(keys.iter().map(|key| PREFIX_LEN + key.len()).sum());
        let mut ends = Vec::with_capacity(keys.len());
        for key in keys {
            bytes.extend_from_slice(&self.prefix);
            bytes.extend_from_slice(key);
            ends.push(bytes.len());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let full = starts.zip(&ends).map(|(start, end)| &bytes[start..*end]);
        let found = self.db.batched_multi_get_cf_opt(self.family, full, false, &self.options);
        let visible = |key: &[u8]| is_visible(self.expiry, key);
        found
            .into_iter()
            .zip(keys)
            .map(|(value, key)| Ok(value.map_err(storage)?.filter(|_| visible(key)).map(|value| value.to_vec())))
            .collect()
    }

    pub(crate) fn scan(mut self, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let start = [&self.prefix[..], range.start].concat();
        let end = match range.end {
            Some(end) => Some([&self.prefix[..], end].concat()),
            None => prefix_end(&self.prefix),
        };
        if let Some(end) = end {
            self.options.set_iterate_upper_bound(end);
        }
        let mut rows = self.db.raw_iterator_cf_opt(self.family, self.options);
        rows.seek(&start);
        while let Some((key, value)) = rows.item() {
            let key = &key[PREFIX_LEN..];
            if is_visible(self.expiry, key) && visit(key, value).is_break() {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(storage)
    }
}
