//! The column families and how RocksDB is to treat them.

use std::sync::Arc;

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, LogLevel, Options, WriteBufferManager};

use crate::horizon::{ExpiryFilterFactory, Horizons};

/// What is kept together. See the crate's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Meta,
    State,
    Log,
    Blobs,
}

impl Family {
    pub const ALL: [Family; 4] = [Family::Meta, Family::State, Family::Log, Family::Blobs];

    pub fn name(self) -> &'static str {
        match self {
            Family::Meta => "meta",
            Family::State => "state",
            Family::Log => "log",
            Family::Blobs => "blobs",
        }
    }
}

const MIB: usize = 1 << 20;
/// Bounds what is replayed after a crash: about a second of it.
const WAL_BYTES_MAX: u64 = 192 << 20;
const ZSTD_FAST: i32 = 1;
/// RocksDB's default; its other compressions have none.
const DEFAULT_WINDOW_BITS: i32 = -14;
const OPEN_FILES_MAX: i32 = 768;

/// The options of the database, and those of each family; they share one budget.
pub(crate) fn tune(memory_bytes: usize, horizons: &Arc<Horizons>) -> (Options, Vec<ColumnFamilyDescriptor>) {
    // RocksDB needs a few MiB in any case.
    let memory_bytes = memory_bytes.max(16 * MIB);
    let cache = Cache::new_lru_cache(memory_bytes);
    // It flushes early and does not stall: a stalled writer would wait for readers whose iterators hold on to flushed buffers.
    let buffers = WriteBufferManager::new_write_buffer_manager_with_cache(memory_bytes / 3, false, cache.clone());
    let buffer_bytes = (memory_bytes / 8).clamp(MIB, 32 * MIB);

    let mut database = Options::default();
    database.create_if_missing(true);
    database.create_missing_column_families(true);
    database.set_write_buffer_manager(&buffers);
    database.set_max_open_files(OPEN_FILES_MAX);
    database.set_max_total_wal_size(WAL_BYTES_MAX);
    database.set_max_background_jobs(std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8) as i32));
    database.set_bytes_per_sync(MIB as u64);
    database.set_log_level(LogLevel::Warn);
    database.set_keep_log_file_num(2);
    database.set_max_log_file_size(4 * MIB);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);

    let families = Family::ALL.map(|family| {
        let mut options = Options::default();
        options.set_write_buffer_size(if family == Family::Meta { MIB } else { buffer_bytes });
        options.set_compression_type(DBCompressionType::Lz4);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_block_size(16 << 10);
        match family {
            Family::Meta | Family::Log => {}
            Family::State => {
                blocks.set_bloom_filter(10.0, false);
                blocks.set_optimize_filters_for_memory(true);
                options.set_memtable_prefix_bloom_ratio(0.05);
                options.set_memtable_whole_key_filtering(true);
                // What is young is soon compacted, so that compressing it does not pay. The level below everything is compressed once for good, and
                // most of the time of compactions goes into it: with the level that is three times as fast as the default.
                options.set_compression_per_level(&[DBCompressionType::None, DBCompressionType::Lz4]);
                options.set_bottommost_compression_type(DBCompressionType::Zstd);
                options.set_bottommost_compression_options(DEFAULT_WINDOW_BITS, ZSTD_FAST, 0, 0, true);
                // Half as many compactions of a store that grows fast. Lookups go by the Bloom filters; scans merge up to so many files.
                options.set_level_zero_file_num_compaction_trigger(8);
                options.set_compaction_filter_factory(ExpiryFilterFactory::new(horizons.clone()));
            }
            Family::Blobs => {
                // The rows are compressed already, as columns.
                options.set_enable_blob_files(true);
                options.set_min_blob_size(1 << 10);
                options.set_blob_compression_type(DBCompressionType::None);
                // Not in every compaction: with so few keys beside so much data each would move a part of everything. See
                // `Database::reclaim`.
                options.set_enable_blob_gc(false);
                options.set_blob_gc_age_cutoff(1.0);
            }
        }
        options.set_block_based_table_factory(&blocks);
        ColumnFamilyDescriptor::new(family.name(), options)
    });
    // RocksDB insists on this one. Its buffer is small because a full disk is written to again only once the largest buffer would fit.
    let mut unused = Options::default();
    unused.set_write_buffer_size(MIB);
    (database, std::iter::once(ColumnFamilyDescriptor::new("default", unused)).chain(families).collect())
}
