//! Where groups lie between commits, and which windows are to be emitted when they close.
//!
//! ```text
//!  1 ++ group ++ end ++ start                         the group's state       (no end, no start without windows)
//!  2 ++ end ++ start ++ group ++ end ++ start         EMIT FINAL: open windows in the order they close
//!  0 ++ max ++ max                                    with windows: until when they are closed for good
//!  0 ++ max ++ max - 1                                with windows: when the last of them ends
//! ```
//! All keys of a windowed store end in a window, as [`millpond_state::Expiry`] wants it.

use std::ops::ControlFlow;

use millpond_state::window_key::{SUFFIX_LEN, encode_ms};
use millpond_state::{Expiry, KeyRange, Overlay, WriteSet};

use crate::operator::store::StoreHandle;
use crate::operator::window::{bounds, push_bounds};
use crate::{Error, Result};

/// The first byte of a group's key.
pub(crate) const GROUP: u8 = 1;
const OPEN: u8 = 2;

/// What a scan shows keys and values to.
type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

pub(crate) struct GroupStore {
    overlay: Overlay,
    /// Windows that ended at or before this take no more rows: they are emitted, or beyond what is retained.
    closed_end: i64,
    emits_final: bool,
    /// Groups stay when their window is closed.
    keeps_groups: bool,
    /// No open window in the store ends before this; `None`: there is none.
    earliest_open: Option<i64>,
    /// No group in the store has a window that ends after this; `None`: without windows.
    last_end: Option<i64>,
    last_end_moved: bool,
}

impl GroupStore {
    pub(crate) fn new(handle: StoreHandle, windowed: bool, emits_final: bool) -> Result<GroupStore> {
        let mut store = GroupStore {
            overlay: handle.overlay(),
            closed_end: i64::MIN,
            emits_final,
            keeps_groups: false,
            earliest_open: None,
            last_end: None,
            last_end_moved: false,
        };
        if windowed {
            store.closed_end = store.time(&closed_end_key())?.unwrap_or(i64::MIN);
            store.last_end = Some(match store.time(&last_end_key())? {
                Some(last_end) => last_end,
                None if store.has_groups()? => i64::MAX,
                None => i64::MIN,
            });
        }
        if emits_final {
            store.earliest_open = store.find_earliest_open()?;
        }
        Ok(store)
    }

    pub(crate) fn keep_groups(&mut self) {
        self.keeps_groups = true;
    }

    pub(crate) fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        Ok(self.overlay.get_many(keys)?)
    }

    /// The same for groups. Those of windows that are later than all in the store are not looked for.
    pub(crate) fn get_groups(&self, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let Some(last_end) = self.last_end else { return self.get_many(keys) };
        let old: Vec<&[u8]> = keys.iter().filter(|key| bounds(key).1 <= last_end).copied().collect();
        if old.len() == keys.len() {
            return self.get_many(keys);
        }
        let mut found = self.get_many(&old)?.into_iter();
        Ok(keys.iter().map(|key| if bounds(key).1 <= last_end { found.next().flatten() } else { None }).collect())
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.overlay.put(key, value);
    }

    /// Puts a group's state.
    pub(crate) fn put_group(&mut self, key: &[u8], value: &[u8]) {
        if let Some(last_end) = &mut self.last_end
            && bounds(key).1 > *last_end
        {
            (*last_end, self.last_end_moved) = (bounds(key).1, true);
        }
        self.put(key, value);
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.overlay.delete(key);
    }

    pub(crate) fn scan(&self, range: KeyRange<'_>, visit: &mut Visit<'_>) -> Result<()> {
        Ok(self.overlay.scan(range, visit)?)
    }

    /// The group's window is to be emitted when it closes.
    pub(crate) fn open(&mut self, key: &[u8]) {
        if self.emits_final {
            let (_, end) = bounds(key);
            self.earliest_open = Some(self.earliest_open.map_or(end, |earliest| earliest.min(end)));
            self.overlay.put(&open_key(key), &[]);
        }
    }

    /// The window has become another one.
    pub(crate) fn abandon(&mut self, key: &[u8]) {
        if self.emits_final {
            self.overlay.delete(&open_key(key));
        }
    }

    pub(crate) fn closed_end(&self) -> i64 {
        self.closed_end
    }

    /// Whether an open window in the store may end at or before `end`.
    pub(crate) fn has_open_until(&self, end: i64) -> bool {
        self.earliest_open.is_some_and(|earliest| earliest <= end)
    }

    /// Closes the windows that end at or before `end` and gives their groups' keys, in the order of windows, then keys.
    pub(crate) fn close_until(&mut self, end: i64) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        let mut last = i64::MIN;
        let (start, after) = ([OPEN], after_end(end));
        self.overlay.scan(KeyRange { start: &start, end: Some(&after) }, &mut |key, _| {
            let mut group = vec![GROUP];
            group.extend_from_slice(&key[1 + SUFFIX_LEN..]);
            last = last.max(bounds(key).1);
            keys.push(group);
            ControlFlow::Continue(())
        })?;
        for key in &keys {
            self.overlay.delete(&open_key(key));
        }
        self.earliest_open = self.find_earliest_open()?;
        self.closed(last);
        Ok(keys)
    }

    fn find_earliest_open(&self) -> Result<Option<i64>> {
        let mut earliest = None;
        self.overlay.scan(KeyRange { start: &[OPEN], end: Some(&[OPEN + 1]) }, &mut |key, _| {
            earliest = Some(bounds(key).1);
            ControlFlow::Break(())
        })?;
        Ok(earliest)
    }

    /// Closes the windows that ended at or before `expired_before_ms`, and forgets them unless groups stay.
    pub(crate) fn expire(&mut self, expired_before_ms: i64) {
        if !self.keeps_groups {
            self.overlay.set_expiry(Expiry { expired_before_ms });
        }
        self.closed(expired_before_ms);
    }

    fn closed(&mut self, end: i64) {
        if end > self.closed_end {
            self.closed_end = end;
            self.overlay.put(&closed_end_key(), &end.to_be_bytes());
        }
    }

    pub(crate) fn write(&mut self, writes: &mut WriteSet) {
        if let Some(last_end) = self.last_end.filter(|_| std::mem::take(&mut self.last_end_moved)) {
            self.overlay.put(&last_end_key(), &last_end.to_be_bytes());
        }
        self.overlay.drain(writes);
    }

    fn has_groups(&self) -> Result<bool> {
        let mut any = false;
        self.overlay.scan(KeyRange { start: &[GROUP], end: Some(&[GROUP + 1]) }, &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        })?;
        Ok(any)
    }

    fn time(&self, key: &[u8]) -> Result<Option<i64>> {
        let Some(value) = self.overlay.get(key)? else { return Ok(None) };
        Ok(Some(i64::from_be_bytes(value.as_slice().try_into().map_err(|_| damaged("a time"))?)))
    }
}

fn damaged(what: &str) -> Error {
    Error::State(millpond_state::Error::Storage(format!("{what} is not as it was written")))
}

fn closed_end_key() -> Vec<u8> {
    let mut key = vec![0];
    push_bounds(&mut key, i64::MAX, i64::MAX);
    key
}

fn last_end_key() -> Vec<u8> {
    let mut key = vec![0];
    push_bounds(&mut key, i64::MAX - 1, i64::MAX);
    key
}

fn open_key(key: &[u8]) -> Vec<u8> {
    let mut open = Vec::with_capacity(key.len() + SUFFIX_LEN);
    open.push(OPEN);
    open.extend_from_slice(&key[key.len() - SUFFIX_LEN..]);
    open.extend_from_slice(&key[1..]);
    open
}

/// Greater than the keys of all windows that end at `end`, and than no key of a later one.
fn after_end(end: i64) -> Vec<u8> {
    let mut key = vec![OPEN];
    match end.checked_add(1) {
        Some(next) => key.extend_from_slice(&encode_ms(next)),
        None => key[0] += 1,
    }
    key
}
