//! What one statement reads.

use std::collections::HashMap;
use std::sync::Arc;

use millpond_catalog::Source;
use millpond_executor::{Engine, StoredTable};
use millpond_state::Snapshot;
use parking_lot::Mutex;

use crate::peers::{Owner, Peers, owner};
use crate::stream_table::external;
use crate::{Elsewhere, Error, Result};

/// One snapshot of committed state and of the log: every table and stream of a statement is read from it.
///
/// Plans do not hold it. It comes with the task context when a plan is run, so that a plan can be kept and run again later.
pub struct Moment {
    pub engine: Engine,
    pub state: Arc<dyn Snapshot>,
    /// What [`Peers::version`] was before `state` was taken.
    version: u64,
    /// All parts of a scan share a table's partitions out by the same owners.
    places: Mutex<HashMap<String, Places>>,
    /// And read them from the same store, whatever statements do meanwhile.
    tables: Mutex<HashMap<String, StoredTable>>,
}

/// Who had the partitions of a table when the statement first looked.
#[derive(Clone)]
pub struct Places {
    pub owners: Arc<[Owner]>,
    /// The moment's state has the current rows of those that are here.
    pub as_of_state: bool,
}

impl Moment {
    pub fn now(engine: &Engine, peers: Option<&dyn Peers>) -> Result<Moment> {
        let version = peers.map_or(0, Peers::version);
        let state = engine.storage().state.snapshot()?;
        Ok(Moment { engine: engine.clone(), state, version, places: Mutex::default(), tables: Mutex::default() })
    }

    pub fn places(&self, peers: &dyn Peers, source: &Source) -> Places {
        let look = || {
            let owners = peers.owners(source).into();
            Places { owners, as_of_state: peers.version() == self.version }
        };
        self.places.lock().entry(source.name.clone()).or_insert_with(look).clone()
    }

    pub fn stored_table(&self, source: &Source) -> datafusion::error::Result<StoredTable> {
        let mut tables = self.tables.lock();
        if let Some(table) = tables.get(&source.name) {
            return Ok(table.clone());
        }
        let not_started = || external(Elsewhere::NotStarted { table: source.name.clone() });
        let table = self.engine.stored_table(source).map_err(external)?.ok_or_else(not_started)?;
        tables.insert(source.name.clone(), table.clone());
        Ok(table)
    }

    /// State that has the current rows of `partitions`: this moment's, unless something has moved since it was taken. Fails with
    /// [`Elsewhere::NotHere`] when one of them is not here.
    pub fn state_with(&self, peers: &dyn Peers, source: &Source, partitions: &[u32]) -> Result<Arc<dyn Snapshot>> {
        let (mut version, mut state) = (self.version, Arc::clone(&self.state));
        loop {
            let owners = peers.owners(source);
            if let Some(gone) = partitions.iter().find(|partition| *owner(&owners, **partition) != Owner::Here) {
                return Err(Error::from(Elsewhere::NotHere { table: source.name.clone(), partition: *gone }));
            }
            let now = peers.version();
            if now == version {
                return Ok(state);
            }
            version = now;
            state = self.engine.storage().state.snapshot()?;
        }
    }
}
