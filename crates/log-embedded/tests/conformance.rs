//! The suites that every log and every backend must pass, and what only this one promises.

use std::sync::Arc;

use millpond_log_embedded::{Embedded, Options};
use tempfile::TempDir;

fn open() -> (TempDir, Arc<Embedded>) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { memory_bytes: 32 << 20, sync: false, service_id: None };
    let embedded = Embedded::open(directory.path(), &options).unwrap();
    (directory, embedded)
}

mod log {
    millpond_log::log_conformance!(super::open());
    millpond_log::log_local_conformance!(super::open());
}

/// Nothing is cached, so every entry comes from the disk.
mod log_without_cache {
    use super::*;

    fn open() -> (TempDir, Arc<Embedded>) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { memory_bytes: 0, sync: false, service_id: None };
        let embedded = Embedded::open(directory.path(), &options).unwrap();
        (directory, embedded)
    }

    millpond_log::log_conformance!(open());
    millpond_log::log_local_conformance!(open());
}

mod state {
    use super::*;

    fn open() -> (TempDir, Arc<Embedded>, Arc<Embedded>) {
        let (directory, embedded) = super::open();
        (directory, embedded.clone(), embedded)
    }

    millpond_state::state_conformance!(open());
    millpond_state::state_moment_conformance!(open());
}
