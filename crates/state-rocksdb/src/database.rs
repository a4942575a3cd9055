//! The database: opened once per node, written in batches that are applied whole or not at all.

use std::path::Path;
use std::sync::Arc;

use millpond_state::{Error, Expiry, KeyRange, Reader, Result, StoreId, Visit, WriteSet, prefix_end};
use parking_lot::RwLock;
use rocksdb::{BottommostLevelCompaction, ColumnFamily, CompactOptions, DB, ErrorKind, Range, ReadOptions, WriteBatch, WriteOptions};

use crate::horizon::{Horizons, Pinned};
use crate::rows::{Rows, prefix, split_key};
use crate::stores::{self, Stores};
use crate::{Family, Moment, families, format};

const EXPIRY_PREFIX: &[u8] = b"expiry/";
/// Below this the living values of `blobs` are not moved to give room back.
const BLOB_GARBAGE_BYTES_MIN: u64 = 64 << 20;

#[derive(Debug, Clone)]
pub struct Options {
    /// For block cache and write buffers together.
    pub memory_bytes: usize,
    /// Whether a commit is on the disk itself when it returns. Without it a commit survives the end of the process, however hard, but not
    /// the loss of power.
    pub sync: bool,
    /// Whose data it is. A directory that was made for another service is refused.
    pub service_id: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { memory_bytes: 256 << 20, sync: true, service_id: None }
    }
}

/// See the crate's documentation for what is in it.
pub struct Database {
    db: DB,
    write_options: WriteOptions,
    horizons: Arc<Horizons>,
    /// Held for reading while rows are written, so that no row of a store comes after the store was dropped.
    stores: RwLock<Stores>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

pub(crate) fn storage(error: rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Corruption => Error::Damaged(error.into_string()),
        _ => Error::Storage(error.into_string()),
    }
}

impl Database {
    /// [`Error::Foreign`] when the directory is not ours, has another format or is in use; [`Error::Damaged`] when its files cannot be read.
    pub fn open(path: &Path, options: &Options) -> Result<Arc<Database>> {
        format::check_directory(path)?;
        let horizons = Arc::new(Horizons::default());
        let (database_options, families) = families::tune(options.memory_bytes, &horizons);
        let db = DB::open_cf_descriptors(&database_options, path, families).map_err(|error| format::opening_failed(path, error))?;
        let mut write_options = WriteOptions::default();
        write_options.set_sync(options.sync);
        let mut database = Database { db, write_options, horizons, stores: RwLock::default() };
        format::check_contents(&database, path, options.service_id.as_deref())?;
        database.stores = RwLock::new(stores::load(&database)?);
        for (key, value) in database.metas(EXPIRY_PREFIX)? {
            if let (Some(((store, partition), [])), Ok(ms)) = (split_key(&key[EXPIRY_PREFIX.len()..]), value[..].try_into()) {
                database.horizons.advance(store, partition, Expiry { expired_before_ms: i64::from_be_bytes(ms) });
            }
        }
        Ok(Arc::new(database))
    }

    /// Deletes a database that nobody has open. Files that are not its own stay.
    pub fn destroy(path: &Path) -> Result<()> {
        DB::destroy(&rocksdb::Options::default(), path).map_err(storage)
    }

    pub fn rocks(&self) -> &DB {
        &self.db
    }

    pub fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("the database is opened with all families")
    }

    /// A value of the family `meta`.
    pub fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family(Family::Meta), key).map_err(storage)
    }

    /// All keys and values of the family `meta` that start with `prefix`.
    pub fn metas(&self, prefix: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut options = ReadOptions::default();
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut found = Vec::new();
        let mut entries = self.db.raw_iterator_cf_opt(self.family(Family::Meta), options);
        entries.seek(prefix);
        while let Some((key, value)) = entries.item() {
            found.push((key.to_vec(), value.to_vec()));
            entries.next();
        }
        entries.status().map_err(storage)?;
        Ok(found)
    }

    /// All of it or nothing.
    pub fn write(&self, batch: WriteBatch) -> Result<()> {
        self.db.write_opt(batch, &self.write_options).map_err(storage)
    }

    /// Adds the rows and horizons to `batch` and writes it: all or nothing. Rows of stores that were dropped meanwhile are left out.
    pub fn commit(&self, mut batch: WriteBatch, writes: &[&WriteSet]) -> Result<()> {
        let stores = self.stores.read();
        let family = self.family(Family::State);
        let lives = |store: StoreId| stores.live.contains(&store);
        let mut full_key = Vec::new();
        for writes in writes.iter().flat_map(|writes| &writes.writes).filter(|writes| lives(writes.store)) {
            full_key.clear();
            full_key.extend_from_slice(&prefix(writes.store, writes.partition));
            let prefix_len = full_key.len();
            for (key, value) in writes.iter() {
                full_key.truncate(prefix_len);
                full_key.extend_from_slice(key);
                match value {
                    Some(value) => batch.put_cf(family, &full_key, value),
                    None => batch.delete_cf(family, &full_key),
                }
            }
        }
        let expiries: Vec<_> = writes.iter().flat_map(|writes| &writes.expiries).filter(|(store, ..)| lives(*store)).collect();
        for (store, partition, expiry) in &expiries {
            batch.put_cf(self.family(Family::Meta), expiry_key(*store, *partition), expiry.expired_before_ms.to_be_bytes());
        }
        if !batch.is_empty() {
            self.write(batch)?;
        }
        for (store, partition, expiry) in expiries {
            self.horizons.advance(*store, *partition, *expiry);
        }
        Ok(())
    }

    pub fn open_store(&self, name: &str) -> Result<StoreId> {
        if let Some(id) = self.stores.read().ids.get(name) {
            return Ok(*id);
        }
        let mut stores = self.stores.write();
        if let Some(id) = stores.ids.get(name) {
            return Ok(*id);
        }
        let id = StoreId(stores.next_id);
        let meta = self.family(Family::Meta);
        let mut batch = WriteBatch::default();
        batch.put_cf(meta, stores::name_key(name), id.0.to_be_bytes());
        batch.put_cf(meta, stores::NEXT_ID_KEY, (id.0 + 1).to_be_bytes());
        self.write(batch)?;
        stores.next_id += 1;
        stores.insert(name.to_owned(), id);
        Ok(id)
    }

    /// The id of a store that is there.
    pub fn find_store(&self, name: &str) -> Option<StoreId> {
        self.stores.read().ids.get(name).copied()
    }

    /// Nothing happens when there is none of that name.
    pub fn drop_store(&self, name: &str) -> Result<()> {
        let mut stores = self.stores.write();
        let Some(id) = stores.ids.get(name).copied() else { return Ok(()) };
        let mut batch = WriteBatch::default();
        let meta = self.family(Family::Meta);
        batch.delete_cf(meta, stores::name_key(name));
        let [start, end] = store_bounds(id);
        batch.delete_range_cf(meta, [EXPIRY_PREFIX, &start].concat(), [EXPIRY_PREFIX, &end].concat());
        batch.delete_range_cf(self.family(Family::State), start, end);
        self.write(batch)?;
        stores.remove(name);
        self.horizons.forget(id);
        Ok(())
    }

    /// Gives the room of dropped stores, and of values that were deleted from `blobs`, back to the disk. May take long.
    pub fn reclaim(&self) -> Result<()> {
        for store in std::mem::take(&mut self.stores.write().dropped) {
            let [start, end] = store_bounds(store);
            self.db.compact_range_cf(self.family(Family::State), Some(start), Some(end));
        }
        // The keys are few beside their values, so finding out which values are garbage is cheap; moving the living ones is not.
        let blobs = self.family(Family::Blobs);
        self.db.compact_range_cf(blobs, None::<&[u8]>, None::<&[u8]>);
        let size = |property: &str| self.db.property_int_value_cf(blobs, property).map_err(storage);
        let garbage = size("rocksdb.live-blob-file-garbage-size")?.unwrap_or(0);
        let total = size("rocksdb.live-blob-file-size")?.unwrap_or(0);
        if garbage >= BLOB_GARBAGE_BYTES_MIN && garbage >= total / 4 {
            let mut all = CompactOptions::default();
            all.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
            self.db.set_options_cf(blobs, &[("enable_blob_garbage_collection", "true")]).map_err(storage)?;
            self.db.compact_range_cf_opt(blobs, None::<&[u8]>, None::<&[u8]>, &all);
            self.db.set_options_cf(blobs, &[("enable_blob_garbage_collection", "false")]).map_err(storage)?;
        }
        Ok(())
    }

    pub fn stores(&self) -> Vec<(String, StoreId)> {
        self.stores.read().ids.iter().map(|(name, id)| (name.clone(), *id)).collect()
    }

    /// Moves the horizon for readers now; that it is found again after a restart is not promised (it is, with a commit's).
    pub fn set_expiry(&self, store: StoreId, partition: u32, expiry: Expiry) {
        if self.horizons.advance(store, partition, expiry) {
            let key = expiry_key(store, partition);
            if let Err(error) = self.db.put_cf(self.family(Family::Meta), key, expiry.expired_before_ms.to_be_bytes()) {
                tracing::warn!(%error, store = store.0, partition, "a store's horizon was not saved");
            }
        }
    }

    pub fn expiry(&self, store: StoreId, partition: u32) -> Option<Expiry> {
        self.horizons.get(store, partition)
    }

    /// Of what is in files; what came since the last flush does not count.
    pub fn size_bytes(&self, store: StoreId) -> u64 {
        let [start, end] = store_bounds(store);
        self.db.get_approximate_sizes_cf(self.family(Family::State), &[Range::new(&start, &end)]).into_iter().sum()
    }

    pub fn snapshot(self: &Arc<Self>) -> Moment {
        // Pinned first: a compaction that starts in between must not drop what the snapshot shows.
        let horizons: Pinned = self.horizons.pin();
        Moment::new(self.clone(), horizons)
    }

    pub(crate) fn rows(&self, store: StoreId, partition: u32, options: ReadOptions, expiry: Option<Expiry>) -> Rows<'_> {
        Rows { db: &self.db, family: self.family(Family::State), options, prefix: prefix(store, partition), expiry }
    }
}

fn expiry_key(store: StoreId, partition: u32) -> Vec<u8> {
    [EXPIRY_PREFIX, &prefix(store, partition)].concat()
}

/// Before and behind all rows of a store.
fn store_bounds(store: StoreId) -> [[u8; 8]; 2] {
    [prefix(store, 0), prefix(StoreId(store.0 + 1), 0)]
}

impl Reader for Database {
    fn get_many(&self, store: StoreId, partition: u32, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.rows(store, partition, ReadOptions::default(), self.expiry(store, partition)).get_many(keys)
    }

    fn scan(&self, store: StoreId, partition: u32, range: KeyRange<'_>, visit: Visit<'_>) -> Result<()> {
        self.rows(store, partition, ReadOptions::default(), self.expiry(store, partition)).scan(range, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_state::{Writes, window_key};

    fn open(path: &Path) -> Result<Arc<Database>> {
        Database::open(path, &Options { memory_bytes: 16 << 20, sync: false, service_id: Some("mill".to_owned()) })
    }

    fn put(database: &Database, store: StoreId, keys: &[Vec<u8>]) {
        let mut writes = Writes::new(store, 0);
        keys.iter().for_each(|key| writes.put(key, b"value"));
        database.commit(WriteBatch::default(), &[&WriteSet { writes: vec![writes], expiries: Vec::new() }]).unwrap();
    }

    fn keys_on_disk(database: &Database) -> usize {
        let mut rows = database.rocks().raw_iterator_cf(database.family(Family::State));
        rows.seek_to_first();
        let mut count = 0;
        while rows.valid() {
            count += 1;
            rows.next();
        }
        count
    }

    #[test]
    fn a_directory_that_is_not_ours_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("letter.txt"), "dear").unwrap();
        let error = open(directory.path()).unwrap_err();
        assert!(matches!(&error, Error::Foreign(what) if what.contains("not millpond's")), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was written into it");

        let other = tempfile::tempdir().unwrap();
        drop(DB::open_default(other.path()).unwrap());
        assert!(matches!(open(other.path()), Err(Error::Foreign(what)) if what.contains("not millpond's")));
    }

    #[test]
    fn a_database_of_another_format_service_or_process_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/below");
        let database = open(&path).unwrap();
        let in_use = open(&path).unwrap_err();
        assert!(matches!(&in_use, Error::Foreign(what) if what.contains("another process is using it")), "{in_use}");
        drop(database);
        let other = Database::open(&path, &Options { service_id: Some("other".to_owned()), ..Options::default() });
        assert!(matches!(other, Err(Error::Foreign(what)) if what.contains("belongs to service \"mill\"")));
        let database = open(&path).unwrap();
        database.rocks().put_cf(database.family(Family::Meta), b"format", 2_u32.to_be_bytes()).unwrap();
        drop(database);
        assert!(matches!(open(&path), Err(Error::Foreign(what)) if what.contains("it has format 2")));
    }

    #[test]
    fn compaction_drops_what_has_expired_once_no_snapshot_sees_it() {
        let directory = tempfile::tempdir().unwrap();
        let database = open(directory.path()).unwrap();
        let store = database.open_store("windows").unwrap();
        let keys: Vec<Vec<u8>> = (0..10).map(|end| [&b"g"[..], &window_key::encode_suffix(end, end - 1)].concat()).collect();
        put(&database, store, &keys);
        let moment = database.snapshot();
        database.set_expiry(store, 0, Expiry { expired_before_ms: 6 });
        let wanted: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
        let seen = |reader: &dyn Reader| reader.get_many(store, 0, &wanted).unwrap().into_iter().flatten().count();
        let compact = || {
            database.rocks().flush_cf(database.family(Family::State)).unwrap();
            let mut options = CompactOptions::default();
            options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
            database.rocks().compact_range_cf_opt(database.family(Family::State), None::<&[u8]>, None::<&[u8]>, &options);
        };
        compact();
        assert_eq!((seen(&*database), seen(&moment), keys_on_disk(&database)), (3, 10, 10));
        drop(moment);
        compact();
        assert_eq!((seen(&*database), keys_on_disk(&database)), (3, 3));
    }

    #[test]
    fn stores_and_horizons_outlive_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let database = open(directory.path()).unwrap();
        let (gone, kept) = (database.open_store("gone").unwrap(), database.open_store("kept").unwrap());
        put(&database, gone, &[b"k".to_vec()]);
        put(&database, kept, &[b"k".to_vec()]);
        let expiries = [gone, kept].map(|store| (store, 3, Expiry { expired_before_ms: -9 }));
        database.commit(WriteBatch::default(), &[&WriteSet { writes: Vec::new(), expiries: expiries.into() }]).unwrap();
        database.drop_store("gone").unwrap();
        put(&database, gone, &[b"late".to_vec()]);
        assert_eq!(keys_on_disk(&database), 1);
        drop(database);
        let database = open(directory.path()).unwrap();
        assert_eq!(database.stores(), [("kept".to_owned(), kept)]);
        assert_eq!(database.get_many(kept, 0, &[b"k"]).unwrap(), [Some(b"value".to_vec())]);
        assert_eq!((database.expiry(kept, 3), database.expiry(gone, 3)), (Some(Expiry { expired_before_ms: -9 }), None));
        let again = database.open_store("gone").unwrap();
        assert!(again != gone && again != kept);
    }
}
