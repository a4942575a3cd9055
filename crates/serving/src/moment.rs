//! What one statement reads.

use std::sync::Arc;

use millpond_executor::Engine;

use crate::Result;

/// One snapshot of committed state and of the log: every table and stream of a statement is read from it.
///
/// Plans do not hold it. It comes with the task context when a plan is run, so that a plan can be kept and run again later.
pub struct Moment {
    pub engine: Engine,
    pub catalog: Arc<millpond_catalog::Snapshot>,
    pub state: Arc<dyn millpond_state::Snapshot>,
}

impl Moment {
    pub fn now(engine: &Engine) -> Result<Moment> {
        Ok(Moment { engine: engine.clone(), catalog: engine.catalog(), state: engine.storage().state.snapshot()? })
    }
}
