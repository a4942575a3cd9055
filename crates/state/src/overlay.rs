//! A task's uncommitted changes of one store partition, over what is committed.
//!
//! ```text
//!   put, delete ─► changes ──drain──► WriteSet          get_many: changes, then cache, then one multi-get for the rest
//!                     └──copies──► cache ◄── committed   scan:     changes merged with the committed rows, in key order
//! ```
//! OVL-1  a read sees the last put or delete of its key, also between `drain` and the commit, as far as the cache reaches.
//! OVL-2  the cache holds what the committed store has, or will have with the commit under way; it can forget at any time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use crate::byte_map::ByteMap;
use crate::{Expiry, KeyRange, Reader, Result, StoreId, Visit, WriteSet, Writes, window_key};

/// What the cache of committed rows may take when nothing else is said.
const CACHE_BYTES_MAX: usize = 4 << 20;
/// Reads see the overlay first, then the committed rows.
pub struct Overlay {
    store: StoreId,
    partition: u32,
    committed: Arc<dyn Reader>,
    changes: ByteMap,
    /// The keys of `changes` in order: from the first scan after a drain on, so that stores that are never scanned do not pay for it.
    order: RefCell<Option<BTreeSet<Box<[u8]>>>>,
    cache: RefCell<Cache>,
    expiry: Option<Expiry>,
    expiry_moved: bool,
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay")
            .field("store", &self.store)
            .field("partition", &self.partition)
            .field("changes", &self.changes.len())
            .finish_non_exhaustive()
    }
}

impl Overlay {
    pub fn new(store: StoreId, partition: u32, committed: Arc<dyn Reader>) -> Overlay {
        Overlay {
            store,
            partition,
            committed,
            changes: ByteMap::default(),
            order: RefCell::new(None),
            cache: RefCell::new(Cache::new(CACHE_BYTES_MAX)),
            expiry: None,
            expiry_moved: false,
        }
    }

    /// Bounds the cache of committed rows; 0 switches it off.
    pub fn with_cache_bytes(mut self, bytes_max: usize) -> Overlay {
        self.cache = RefCell::new(Cache::new(bytes_max));
        self
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.get_many(&[key])?.pop().flatten())
    }

    /// The values of `keys`, in their order.
    pub fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = vec![None; keys.len()];
        let mut missing = Vec::new();
        let mut cache = self.cache.borrow_mut();
        for (place, key) in keys.iter().enumerate() {
            if self.is_expired(key) {
                continue;
            }
            match self.changes.get(key).or_else(|| cache.get(key)) {
                Some(value) => values[place] = value.map(<[u8]>::to_vec),
                None => missing.push(place),
            }
        }
        if !missing.is_empty() {
            let wanted: Vec<&[u8]> = missing.iter().map(|place| keys[*place]).collect();
            let found = self.committed.get_many(self.store, self.partition, &wanted)?;
            for (place, value) in missing.into_iter().zip(found) {
                cache.put(keys[place], value.as_deref());
                values[place] = value;
            }
        }
        Ok(values)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.change(key, Some(value));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.change(key, None);
    }

    fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        if self.changes.put(key, value)
            && let Some(order) = self.order.get_mut()
        {
            order.insert(key.into());
        }
    }

    /// Calls `visit(key, value)` in key order until it breaks.
    pub fn scan(&self, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if self.order.borrow().is_none() {
            *self.order.borrow_mut() = Some(self.changes.keys().map(Box::from).collect());
        }
        let order = self.order.borrow();
        let bounds = (Bound::Included(range.start), range.end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut changed = order.iter().flat_map(|order| order.range::<[u8], _>(bounds)).peekable();
        let stopped = Cell::new(false);
        let mut show = |key: &[u8], value: Option<&[u8]>| match value {
            Some(value) if !self.is_expired(key) => {
                let flow = visit(key, value);
                stopped.set(flow.is_break());
                flow
            }
            _ => ControlFlow::Continue(()),
        };
        let value_of = |key: &[u8]| self.changes.get(key).flatten();
        self.committed.scan(self.store, self.partition, range, &mut |key, value| {
            while let Some(before) = changed.next_if(|changed| changed.as_ref() < key) {
                show(before, value_of(before))?;
            }
            match changed.next_if(|changed| changed.as_ref() == key) {
                Some(changed) => show(changed, value_of(changed)),
                None => show(key, Some(value)),
            }
        })?;
        if !stopped.get() {
            for key in changed {
                if show(key, value_of(key)).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Hides the rows of a windowed store whose window ended by then; the committed ones follow with the next [`Overlay::drain`]. Never
    /// backwards.
    pub fn set_expiry(&mut self, expiry: Expiry) {
        if self.expiry.is_none_or(|before| before.expired_before_ms < expiry.expired_before_ms) {
            self.expiry = Some(expiry);
            self.expiry_moved = true;
        }
    }

    fn is_expired(&self, key: &[u8]) -> bool {
        self.expiry.is_some_and(|expiry| window_key::is_expired(key, expiry))
    }

    /// Moves the changes out, and the horizon if it has moved. What has come and expired since the last drain is not written at all.
    pub fn drain(&mut self, writes: &mut WriteSet) {
        *self.order.get_mut() = None;
        let expiry = self.expiry;
        if let Some(expiry) = expiry.filter(|_| std::mem::take(&mut self.expiry_moved)) {
            writes.expiries.push((self.store, self.partition, expiry));
        }
        if self.changes.len() == 0 {
            return;
        }
        let is_kept = |key: &[u8]| expiry.is_none_or(|expiry| !window_key::is_expired(key, expiry));
        let rows = std::mem::take(&mut self.changes).into_sorted(is_kept);
        let cache = self.cache.get_mut();
        rows.iter().for_each(|(key, value)| cache.put(key, value));
        writes.push(Writes::of(self.store, self.partition, rows));
    }

    /// What the changes take in memory, about.
    pub fn dirty_bytes(&self) -> usize {
        self.changes.bytes()
    }

    /// Forgets all cached rows: after somebody else has changed the committed ones.
    pub fn clear_cache(&mut self) {
        self.cache.get_mut().clear();
    }
}

/// Two generations: when the young one has half of the bytes it becomes the old one, and the old one is forgotten.
#[derive(Debug)]
struct Cache {
    bytes_max: usize,
    young: ByteMap,
    old: ByteMap,
}

impl Cache {
    fn new(bytes_max: usize) -> Cache {
        Cache { bytes_max, young: ByteMap::default(), old: ByteMap::default() }
    }

    /// `Some(None)`: known to be missing.
    fn get(&mut self, key: &[u8]) -> Option<Option<&[u8]>> {
        let row = match self.young.find(key) {
            Some(row) => row,
            None => {
                let value = self.old.get(key)?.map(<[u8]>::to_vec);
                self.put(key, value.as_deref());
                self.young.find(key)?
            }
        };
        Some(self.young.value(row))
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        if key.len() + value.map_or(0, <[u8]>::len) > self.bytes_max / 2 {
            self.young.remove(key);
            self.old.remove(key);
            return;
        }
        if self.young.bytes() >= self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.put(key, value);
    }

    fn clear(&mut self) {
        self.young = ByteMap::default();
        self.old = ByteMap::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window_key::encode_suffix;
    use crate::{Backend, MemoryBackend, StoreConfig};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    fn all(overlay: &Overlay, range: KeyRange<'_>, rows_max: usize) -> Rows {
        let mut rows = Rows::new();
        overlay
            .scan(range, &mut |key, value| {
                rows.push((key.to_vec(), value.to_vec()));
                if rows.len() == rows_max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        rows
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, u8),
        Delete(u8),
        Get(Vec<u8>),
        Scan(u8, u8, usize),
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..20_u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            2 => (0..20_u8).prop_map(Step::Delete),
            3 => proptest::collection::vec(0..20_u8, 0..5).prop_map(Step::Get),
            2 => (0..20_u8, 0..22_u8, 1..30_usize).prop_map(|(start, end, rows)| Step::Scan(start, end, rows)),
            1 => Just(Step::Commit),
        ]
    }

    proptest! {
        #[test]
        fn reads_as_one_map(steps in proptest::collection::vec(step(), 0..80), cache_bytes in prop_oneof![Just(0), Just(600), Just(1 << 20)]) {
            let backend = Arc::new(MemoryBackend::new());
            let store = backend.open_store("s", StoreConfig::keep(1)).unwrap();
            let mut overlay = Overlay::new(store, 3, backend.clone()).with_cache_bytes(cache_bytes);
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        overlay.put(&[key], &[value]);
                        model.insert(vec![key], vec![value]);
                    }
                    Step::Delete(key) => {
                        overlay.delete(&[key]);
                        model.remove(&vec![key]);
                    }
                    Step::Get(keys) => {
                        let keys: Vec<[u8; 1]> = keys.into_iter().map(|key| [key]).collect();
                        let wanted: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                        let expected: Vec<_> = wanted.iter().map(|key| model.get(*key).cloned()).collect();
                        prop_assert_eq!(overlay.get_many(&wanted).unwrap(), expected);
                    }
                    Step::Scan(start, end, rows) => {
                        let (start, end) = ([start], [end]);
                        let range = KeyRange { start: &start, end: (end[0] < 21).then_some(&end[..]) };
                        let expected: Rows = model.iter().filter(|(key, _)| range.contains(key)).take(rows)
                            .map(|(key, value)| (key.clone(), value.clone())).collect();
                        prop_assert_eq!(all(&overlay, range, rows), expected);
                    }
                    Step::Commit => {
                        let mut writes = WriteSet::default();
                        overlay.drain(&mut writes);
                        prop_assert_eq!(overlay.dirty_bytes(), 0);
                        backend.commit(Default::default(), writes).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn expired_rows_are_hidden_and_not_written() {
        let backend = Arc::new(MemoryBackend::new());
        let store = backend.open_store("s", StoreConfig::keep(1)).unwrap();
        let mut overlay = Overlay::new(store, 0, backend.clone());
        let key = |end| [&b"g"[..], &encode_suffix(end, end - 10)].concat();
        overlay.put(&key(10), b"1");
        let mut writes = WriteSet::default();
        overlay.drain(&mut writes);
        backend.commit(Default::default(), writes).unwrap();
        overlay.put(&key(20), b"2");
        overlay.put(&key(30), b"3");
        overlay.set_expiry(Expiry { expired_before_ms: 20 });
        assert_eq!(overlay.get_many(&[&key(10), &key(20), &key(30)]).unwrap(), [None, None, Some(b"3".to_vec())]);
        assert_eq!(all(&overlay, KeyRange::ALL, 9), [(key(30), b"3".to_vec())]);
        let mut writes = WriteSet::default();
        overlay.drain(&mut writes);
        assert_eq!((writes.writes.len(), writes.expiries.len()), (1, 1));
        backend.commit(Default::default(), writes).unwrap();
        assert_eq!(backend.get_many(store, 0, &[&key(10), &key(30)]).unwrap(), [None, Some(b"3".to_vec())]);
    }
}
