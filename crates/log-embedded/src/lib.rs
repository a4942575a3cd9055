//! The embedded log: topics in the data directory's RocksDB.
