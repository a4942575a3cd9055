//! Drives the real `millpond` binary over its real port: for `sql-tests/`, the README and the examples.
//!
//! The binary is not built from here: `scripts/test` builds it first, and [`binary`] says so when it is missing.

pub mod binary;
mod connection;
mod error;
pub mod kafka;
mod psql;
mod server;
mod slt;
mod variant;

use std::path::PathBuf;

pub use connection::{Connection, connect, copy_in};
pub use error::Error;
pub use kafka::Kafka;
pub use psql::{Psql, diff};
pub use server::{Addresses, Server};
pub use slt::{check_form, run_file};
pub use variant::Variant;

/// The root of the clone: where `sql-tests/`, `examples/` and the README are, and where psql is started. Cargo says at run time where that is:
/// what was compiled in is the clone that filled the target directory, which another one may have.
pub fn repository() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.join("../..").canonicalize().expect("the crate lies in crates/sqltest of a clone")
}
