//! How far the rows of windowed stores have expired, for readers and for compaction.
//!
//! HZN-1  a horizon never moves backwards.
//! HZN-2  a compaction drops no row that a living snapshot may still see: it goes by the oldest horizons that are pinned.

use std::ffi::CStr;
use std::sync::{Arc, Weak};

use hashbrown::HashMap;
use millpond_state::{Expiry, StoreId, window_key};
use parking_lot::Mutex;
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

use crate::rows::split_key;

/// The horizons at one moment.
pub(crate) type Pinned = Arc<HashMap<(StoreId, u32), Expiry>>;

/// Copied when it changes while somebody holds on to it.
#[derive(Debug, Default)]
pub(crate) struct Horizons(Mutex<Moments>);

#[derive(Debug, Default)]
struct Moments {
    now: Pinned,
    /// What snapshots hold, oldest first.
    pinned: Vec<Weak<HashMap<(StoreId, u32), Expiry>>>,
}

impl Horizons {
    /// Tells whether it has moved.
    pub(crate) fn advance(&self, store: StoreId, partition: u32, expiry: Expiry) -> bool {
        let mut moments = self.0.lock();
        let before = moments.now.get(&(store, partition)).copied();
        if before.is_some_and(|before| before.expired_before_ms >= expiry.expired_before_ms) {
            return false;
        }
        Arc::make_mut(&mut moments.now).insert((store, partition), expiry);
        true
    }

    pub(crate) fn get(&self, store: StoreId, partition: u32) -> Option<Expiry> {
        self.0.lock().now.get(&(store, partition)).copied()
    }

    pub(crate) fn forget(&self, store: StoreId) {
        Arc::make_mut(&mut self.0.lock().now).retain(|(kept, _), _| *kept != store);
    }

    /// For a snapshot, before it is taken.
    pub(crate) fn pin(&self) -> Pinned {
        let mut moments = self.0.lock();
        let now = moments.now.clone();
        if moments.pinned.last().is_none_or(|last| !std::ptr::eq(last.as_ptr(), Arc::as_ptr(&now))) {
            moments.pinned.retain(|pinned| pinned.strong_count() > 0);
            moments.pinned.push(Arc::downgrade(&now));
        }
        now
    }

    fn oldest(&self) -> Pinned {
        let moments = self.0.lock();
        moments.pinned.iter().find_map(Weak::upgrade).unwrap_or_else(|| moments.now.clone())
    }
}

/// Whether readers see a row of this (store, partition).
pub(crate) fn is_visible(expiry: Option<Expiry>, key: &[u8]) -> bool {
    expiry.is_none_or(|expiry| !window_key::is_expired(key, expiry))
}

/// Makes a filter for each compaction, so that the horizons are looked up without a lock.
pub(crate) struct ExpiryFilterFactory(Arc<Horizons>);

impl ExpiryFilterFactory {
    pub(crate) fn new(horizons: Arc<Horizons>) -> ExpiryFilterFactory {
        ExpiryFilterFactory(horizons)
    }
}

impl CompactionFilterFactory for ExpiryFilterFactory {
    type Filter = ExpiryFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> ExpiryFilter {
        ExpiryFilter { horizons: self.0.oldest(), last: None }
    }

    fn name(&self) -> &CStr {
        c"millpond expiry"
    }
}

pub(crate) struct ExpiryFilter {
    horizons: Pinned,
    /// Rows come in key order, so the partition is mostly the one before.
    last: Option<((StoreId, u32), Option<Expiry>)>,
}

impl CompactionFilter for ExpiryFilter {
    fn filter(&mut self, _level: u32, key: &[u8], _value: &[u8]) -> CompactionDecision {
        let Some((place, key)) = split_key(key) else { return CompactionDecision::Keep };
        let expiry = match self.last {
            Some((last, expiry)) if last == place => expiry,
            _ => self.horizons.get(&place).copied(),
        };
        self.last = Some((place, expiry));
        if is_visible(expiry, key) { CompactionDecision::Keep } else { CompactionDecision::Remove }
    }

    fn name(&self) -> &CStr {
        c"millpond expiry"
    }
}
