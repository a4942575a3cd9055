//! The RocksDB store.
