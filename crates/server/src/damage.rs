//! A data directory whose files are damaged: over Kafka all that is in it can be made anew, so the process deletes it and starts again.
//!
//! ```text
//!   a read or a commit finds damage ─► stop ─► note ─► the same program again ─► delete, open anew ─► restore from the changelogs
//!                                      a start that cannot open the files ──────────┘
//! ```

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use millpond_state_rocksdb::{Database, Options};
use tracing::{error, warn};

use crate::instance;

/// In the data directory: it is to be made anew. Says why.
const NOTE: &str = "damaged";

/// Opens the state; makes it anew where its files are damaged.
pub fn open(data_dir: &Path, options: &Options) -> Result<Arc<Database>> {
    let note = data_dir.join(NOTE);
    let reason = match std::fs::read_to_string(&note) {
        Ok(reason) => reason,
        Err(_) => match Database::open(data_dir, options) {
            // Without a name it may be one that is not over Kafka: there is no other copy of that.
            Err(millpond_state::Error::Damaged(reason)) if instance::has_name(data_dir) => reason,
            opened => return Ok(opened?),
        },
    };
    error!(reason, data = %data_dir.display(), "the state's files are damaged: the state is made anew from its changelogs");
    let name = instance::take(data_dir)?;
    Database::destroy(data_dir)?;
    if note.exists() {
        std::fs::remove_file(&note).with_context(|| format!("cannot delete {}", note.display()))?;
    }
    let database = Database::open(data_dir, options)?;
    name.map_or(Ok(()), |name| instance::set(data_dir, &name))?;
    Ok(database)
}

/// Starts this process again, under the same id, for the state to be made anew. Returns when it cannot.
pub fn start_again(data_dir: &Path, reason: &str) -> Error {
    let again = || -> Result<Error> {
        std::fs::write(data_dir.join(NOTE), reason)?;
        warn!(reason, "starting again, to make the state anew");
        Ok(Command::new(std::env::current_exe()?).args(std::env::args_os().skip(1)).exec().into())
    };
    again().unwrap_or_else(|error| error).context("the state's files are damaged, and the server could not start again by itself")
}
