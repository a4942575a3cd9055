//! Statements → logical plans → topologies.
//!
//! ```text
//!  AST ─► rewrite (pseudo columns, `*`, windows as columns) ─► DataFusion binds ─► LogicalPlan ─► lower ─► Topology
//! ```
//!
//! A pull query takes the same rewrite and binding, and DataFusion runs it; a persistent or push query is lowered to operators. What
//! cannot stream yet is refused with the clause's name and what to write instead.

mod arithmetic;
mod bind;
mod create;
mod dead_letters;
mod doubles;
pub mod error;
mod explain;
mod expressions;
mod integers;
mod literals;
mod lower;
mod materialize;
mod names;
mod persistent;
mod pull;
mod push;
mod replace;
mod rewrite;
pub mod schema;
pub mod session;
pub mod settings;
mod table_store;

pub use create::create_source;
pub use error::{Error, Result};
pub use explain::explain;
pub use materialize::materialize;
pub use persistent::{Persistent, create_as, insert_select, topology_of};
pub use pull::pull_query;
pub use push::{Push, push};
pub use schema::source_schema;
pub use session::session_state;
pub use settings::Settings;
