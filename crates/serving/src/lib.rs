//! Pull and push queries.
//!
//! ```text
//!  pull:  AST ─► DataFusion plan over providers ─► run with a Moment ─► rows, and an end
//!            StreamTable   retained rows of a topic
//!            TableTable    committed rows of a store: look-ups, bounded scans
//!            system        millpond.queries, millpond.tasks, …
//!            rows that are at another member of the service: asked for over the Postgres protocol
//!  push:  AST ─► topology ─► Engine::push ─► rows as they come, until dropped
//! ```
//!
//! **Invariants.** A statement reads one moment: all its tables at one commit, of each member that has some of their rows. A plan holds no
//! rows and no snapshot, so it can be kept and run again. Nothing here writes.

mod access;
mod bounds;
pub mod error;
mod existing;
mod gather;
mod member;
mod moment;
mod peers;
mod placeholders;
mod pull;
mod push;
mod remote;
mod scan;
mod scope;
mod store;
mod stream_table;
mod system;
mod table_read;
mod table_table;
mod warnings;

pub use error::{Elsewhere, Error, Result};
pub use member::Member;
pub use peers::{GroupMember, Owner, Peer, Peers};
pub use placeholders::types as parameter_types;
pub use pull::{Pull, Run, Serving};
pub use push::push;
pub use remote::INSTANCE_PARAMETER;
pub use scope::Scope;
pub use system::{Query, SCHEMA as SYSTEM_SCHEMA, Setting};
pub use warnings::Warnings;

use moment::Moment;
