//! Pull and push queries.
//!
//! ```text
//!  pull:  AST ─► DataFusion plan over providers ─► run with a Moment ─► rows, and an end
//!            StreamTable   retained rows of a topic
//!            TableTable    committed rows of a store: look-ups, bounded scans
//!            system        millpond.queries, millpond.tasks, …
//!  push:  AST ─► topology ─► Engine::push ─► rows as they come, until dropped
//! ```
//!
//! **Invariants.** A statement reads one [`Moment`]: all its tables at one commit. A plan holds no rows and no snapshot, so it can be
//! kept and run again. Nothing here writes.

mod access;
mod bounds;
pub mod error;
mod member;
mod moment;
mod placeholders;
mod pull;
mod push;
mod scan;
mod store;
mod stream_table;
mod system;
mod table_table;

pub use error::{Error, Result};
pub use member::Member;
pub use moment::Moment;
pub use placeholders::types as parameter_types;
pub use pull::{Pull, Serving};
pub use push::push;
pub use system::{SCHEMA as SYSTEM_SCHEMA, Setting};

use arrow::array::ArrayRef;
use millpond_catalog::Source;

/// Which of `keys` (one array for each key column) the table has a row for.
pub fn existing(source: &Source, keys: &[ArrayRef], moment: &Moment) -> Result<Vec<bool>> {
    Ok(store::existing(source, keys, moment)?)
}
