//! Names of stores, and the ids their rows carry.

use std::collections::BTreeMap;

use hashbrown::HashSet;
use millpond_state::{Error, Result, StoreId};

use crate::Database;

const NAME_PREFIX: &[u8] = b"store/";
pub(crate) const NEXT_ID_KEY: &[u8] = b"next store";

/// An id is never given twice: rows of a dropped store that are still on disk must not come back as another store's.
#[derive(Debug, Default)]
pub(crate) struct Stores {
    pub ids: BTreeMap<String, StoreId>,
    /// The same ids.
    pub live: HashSet<StoreId>,
    pub next_id: u32,
    /// Stores whose rows are deleted and may still take room on disk.
    pub dropped: Vec<StoreId>,
}

impl Stores {
    pub(crate) fn insert(&mut self, name: String, id: StoreId) {
        self.ids.insert(name, id);
        self.live.insert(id);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(id) = self.ids.remove(name) {
            self.live.remove(&id);
            self.dropped.push(id);
        }
    }
}

pub(crate) fn name_key(name: &str) -> Vec<u8> {
    [NAME_PREFIX, name.as_bytes()].concat()
}

pub(crate) fn load(database: &Database) -> Result<Stores> {
    let broken = |key: &[u8]| Error::Storage(format!("the entry {:?} cannot be read", String::from_utf8_lossy(key)));
    let number = |key: &[u8], value: &[u8]| <[u8; 4]>::try_from(value).map(u32::from_be_bytes).map_err(|_| broken(key));
    let mut stores = Stores { next_id: 1, ..Stores::default() };
    for (key, value) in database.metas(NAME_PREFIX)? {
        let name = String::from_utf8(key[NAME_PREFIX.len()..].to_vec()).map_err(|_| broken(&key))?;
        stores.insert(name, StoreId(number(&key, &value)?));
    }
    if let Some(value) = database.meta(NEXT_ID_KEY)? {
        stores.next_id = number(NEXT_ID_KEY, &value)?;
    }
    Ok(stores)
}
