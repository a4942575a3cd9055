//! Streams, tables and queries: what has been declared.
//!
//! The catalog is what `apply` makes of the command log: [`Command`]s, in order, each giving the next [`Snapshot`]. A snapshot is
//! immutable and cheap to hold; whoever plans a statement plans it against one.

pub mod command;
pub mod dead_letters;
pub mod error;
pub mod properties;
pub mod snapshot;
pub mod source;
pub mod types;

pub use command::Command;
pub use error::{Error, Result};
pub use snapshot::Snapshot;
pub use source::{
    Column, Format, Header, OnDataLoss, OnError, Query, QueryState, Reset, Source, SourceKind, Start, TimestampColumn, WindowType,
};
