//! The database as it was at one moment.

use std::sync::Arc;

use millpond_state::{KeyRange, Reader, Result, StoreId, Visit};
use rocksdb::{ReadOptions, Snapshot};

use crate::Database;
use crate::horizon::Pinned;

self_cell::self_cell!(
    /// A RocksDB snapshot borrows its database; together they can be handed on.
    struct Held {
        owner: Arc<Database>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// Committed state at one moment. While it lives its rows stay, on disk, too.
pub struct Moment {
    held: Held,
    horizons: Pinned,
}

impl Moment {
    pub(crate) fn new(database: Arc<Database>, horizons: Pinned) -> Moment {
        Moment { held: Held::new(database, |database| database.rocks().snapshot()), horizons }
    }

    pub fn database(&self) -> &Arc<Database> {
        self.held.borrow_owner()
    }

    /// To read any family as it was.
    pub fn read_options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(self.held.borrow_dependent());
        options
    }
}

impl std::fmt::Debug for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment").field("sequence_number", &self.held.borrow_dependent().sequence_number()).finish()
    }
}

impl Reader for Moment {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let expiry = self.horizons.get(&(store, partition)).copied();
        self.database().rows(store, partition, self.read_options(), expiry).get_many(keys)
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        let expiry = self.horizons.get(&(store, partition)).copied();
        self.database().rows(store, partition, self.read_options(), expiry).scan(range, visit)
    }
}
